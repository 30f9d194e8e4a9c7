/* What a memory plan says is what a run holds: resident memory at its end, less what the process had before, within 5 %. */
#include "model_files.h"
#include "resident.h"
#include "sanitized.h"

#include <ftw.h>
#include <malloc.h>

#include "model/generate.h"
#include "model/packed.h"
#include "model/plan.h"
#include "model/synth.h"

enum { N_THREADS = 2, MIB = 1 << 20 };

static char folder[] = TEST_TEMPORARY "/memory_plan.XXXXXX";

enum { PACKED = 1, DRAFT = 2, SPECULATE = 4, FP8 = 8 };

typedef struct scene {
    const char *what;
    int64_t n_layers, n_experts; /* of dimensions "tiny"; 0 experts: the preset's */
    int how;                     /* packed file; model with a draft block, which is used or not; FP8 experts */
    const char *numerics;
    int64_t n_prompt, n_generated, chunk; /* n_generated 0: logits of all tokens of the prompt instead */
} scene;

/* Tokens enough that all experts are used, so that of a mapped file all is read. */
static const scene scenes[] = {
    {"published", 4, 384, 0, "w8a8", 500, 20, 256},
    {"packed", 4, 384, PACKED, "w8a8", 800, 20, 512},
    {"drafts", 3, 384, PACKED | DRAFT | SPECULATE, "bf16", 600, 20, 128},
    {"drafts that are not used", 3, 384, PACKED | DRAFT, "official", 800, 10, 256},
    {"FP8 experts, a short prompt", 3, 256, FP8, "official", 37, 10, 256},
    {"large steps, few weights", 8, 0, 0, "exact", 1100, 10, 1024},
    {"a long context", 5, 64, PACKED, "exact", 4000, 10, 256},
    {"logits of all tokens", 4, 256, 0, "w8a8", 500, 0, 300},
};

/* ---- models ------------------------------------------------------------------------------------------------------------------ */

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *ftw)
{
    (void)info;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int remove_folder(void **state)
{
    (void)state;
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static int make_folder(void **state)
{
    (void)state;
    memcpy(folder + sizeof folder - 7, "XXXXXX", 6);
    return mkdtemp(folder) != NULL ? 0 : -1;
}

/* The folder of the scene's model. */
static const char *make_model(const scene *c, bool int8)
{
    static char published[FILE_PATH_BYTES], packed[FILE_PATH_BYTES];
    model_synth_result result;
    model_convert_result converted;
    dsv4_error err = {0};
    snprintf(published, sizeof published, "%s/published", folder);
    snprintf(packed, sizeof packed, "%s/packed", folder);
    const model_synth_options synth = {.preset = "tiny",
                                       .n_layers = c->n_layers,
                                       .n_experts = c->n_experts,
                                       .draft = (c->how & DRAFT) != 0,
                                       .fp8 = (c->how & FP8) != 0,
                                       .seed = 1};
    require_ok(model_synth(published, &synth, NULL, NULL, &result, &err), &err);
    if ((c->how & PACKED) != 0) {
        require_ok(model_convert(published, packed, &(model_convert_options){.int8 = int8}, NULL, NULL, &converted, &err), &err);
    }
    return (c->how & PACKED) != 0 ? packed : published;
}

/* ---- a run ------------------------------------------------------------------------------------------------------------------- */

static model_engine_options engine_options(const scene *c, const model_numerics *numerics)
{
    return (model_engine_options){.numerics = numerics,
                                  .n_sequences = 1,
                                  .context = c->n_prompt + c->n_generated,
                                  .step_tokens = c->n_prompt < c->chunk ? c->n_prompt : c->chunk,
                                  .step_logits = c->n_generated > 0 ? 0 : c->chunk,
                                  .drafts = (c->how & SPECULATE) != 0};
}

static size_t planned_bytes(const scene *c, const char *path, const model_weights *w, dsv4_pool *pool)
{
    model_plan_request request = {.n_sequences = 1, .total_tokens = c->n_prompt + c->n_generated};
    model_config config;
    model_plan plan;
    dsv4_error err = {0};
    require_ok(model_numerics_find(c->numerics, &request.numerics, &err), &err);
    const model_engine_options options = engine_options(c, request.numerics);
    require_ok(model_engine_bytes(w, pool, &options, c->n_prompt, &request.step_bytes, &err), &err);
    request.step_bytes += (size_t)(options.step_logits * w->config.vocab_size) * sizeof(float);
    request.mapped = (c->how & PACKED) != 0;
    request.drafts = options.drafts;
    require_ok(model_folder_config(path, &config, &err), &err);
    require_ok(model_plan_make(&config, &request, (memory_limits){0}, &plan, &err), &err);
    return plan.total;
}

static void generate(const scene *c, model_engine *engine, model_sequence *s, int32_t *tokens)
{
    const model_sampler_options sampling = {.temperature = 1, .top_p = 1, .repetition = 1, .seed = 1};
    model_generation g = {.engine = engine,
                          .chunk = engine_options(c, NULL).step_tokens,
                          .context = c->n_prompt + c->n_generated,
                          .max_tokens = c->n_generated,
                          .end_token = -1,
                          .speculate = (c->how & SPECULATE) != 0};
    model_generated done;
    dsv4_error err = {0};
    int64_t n = c->n_prompt;
    require_ok(model_sampler_create(model_engine_weights(engine)->config.vocab_size, &sampling, &g.sampler, &err), &err);
    require_ok(model_generate(&g, s, tokens, &n, &done, &err), &err);
    assert_int_equal(n, c->n_prompt + c->n_generated);
    model_sampler_destroy(g.sampler);
}

/* With the logits of a step, as perplexity keeps them while it reads. */
static size_t read_all(const scene *c, model_engine *engine, model_sequence *s, const int32_t *tokens)
{
    const int64_t vocabulary = model_engine_weights(engine)->config.vocab_size;
    float *logits = malloc((size_t)(c->chunk * vocabulary) * sizeof *logits);
    dsv4_error err = {0};
    assert_non_null(logits);
    for (int64_t at = 0; at < c->n_prompt; at += c->chunk) {
        const int64_t n = c->chunk < c->n_prompt - at ? c->chunk : c->n_prompt - at;
        const model_feed feed = {s, tokens + at, n, n, logits};
        require_ok(model_engine_step(engine, &feed, 1, &err), &err);
    }
    const size_t resident = resident_bytes();
    free(logits);
    return resident;
}

/* Resident bytes at the end, before anything is given back. */
static size_t run(const scene *c, model_engine *engine)
{
    model_sequence *s = NULL;
    dsv4_error err = {0};
    int32_t *tokens = calloc((size_t)(c->n_prompt + c->n_generated), sizeof *tokens);
    assert_non_null(tokens);
    for (int64_t i = 0; i < c->n_prompt; i++) {
        tokens[i] = (int32_t)((i * 7919 + i * i % 101) % model_engine_weights(engine)->config.vocab_size);
    }
    require_ok(model_sequence_open(model_engine_kv(engine), &s, &err), &err);
    size_t resident;
    if (c->n_generated > 0) {
        generate(c, engine, s, tokens);
        resident = resident_bytes();
    } else {
        resident = read_all(c, engine, s, tokens);
    }
    free(tokens);
    return resident;
}

static void plan_is_held(const scene *c)
{
    dsv4_pool *pool = NULL;
    model_weights *w = NULL;
    model_engine *engine = NULL;
    const model_numerics *numerics;
    dsv4_error err = {0};
    require_ok(model_numerics_find(c->numerics, &numerics, &err), &err);
    const bool int8 = numerics->rows == MODEL_ROWS_I8;
    const char *path = make_model(c, int8);
    malloc_trim(0);
    const size_t before = resident_bytes();
    require_ok(dsv4_pool_create(N_THREADS, &pool, &err), &err);
    require_ok(model_weights_open(path, int8, pool, NULL, &w, &err), &err);
    const size_t planned = planned_bytes(c, path, w, pool);
    const model_engine_options options = engine_options(c, numerics);
    require_ok(model_engine_create(w, pool, &options, &engine, &err), &err);
    const size_t held = run(c, engine) - before;
    model_engine_destroy(engine);
    model_weights_free(w);
    dsv4_pool_destroy(pool);
    const double ratio = (double)planned / (double)held;
    print_message("%-28s planned %6.1f MiB, held %6.1f MiB: %.3f\n", c->what, (double)planned / MIB, (double)held / MIB, ratio);
    assert_true(ratio > 0.95 && ratio < 1.05);
}

static void plans_are_held(void **state)
{
    if (SANITIZED) { /* what they add to each access is resident too */
        skip();
    }
    for (size_t i = 0; i < sizeof scenes / sizeof *scenes; i++) {
        assert_int_equal(make_folder(state), 0);
        plan_is_held(&scenes[i]);
        assert_int_equal(remove_folder(state), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(plans_are_held)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
