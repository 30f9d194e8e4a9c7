/* cli/generate/model.c - from a folder to a model that runs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/size_text.h"
#include "cli/generate/generate.h"
#include "model/checkpoint.h"
#include "model/packed_plan.h"
#include "model/plan.h"

static const char default_name[] = "tiny-english";

static bool takes_int8(const generate_model *m)
{
    return m->numerics->rows == MODEL_ROWS_I8;
}

/* ---- finding it ---------------------------------------------------------------------------------------------------------------- */

static bool has_config(const char *folder, const char *name, char *path, size_t size)
{
    char config[FILE_PATH_BYTES];
    const int n = snprintf(path, size, "%s%s%s", folder, name[0] != '\0' ? "/" : "", name);
    const int n_config = snprintf(config, sizeof config, "%s/config.json", path);
    return n > 0 && (size_t)n < size && (size_t)n_config < sizeof config && access(config, R_OK) == 0;
}

/* --model, else $DSV4_MODEL, else the model that comes along: of the source tree, or installed. */
static dsv4_status find_folder(const generate_options *o, char **folder, dsv4_error *err)
{
    char path[FILE_PATH_BYTES];
    const char *chosen = o->model != NULL ? o->model : getenv("DSV4_MODEL");
    if (o->model != NULL && o->model[0] == '\0') {
        return dsv4_fail(err, DSV4_E_USAGE, "--model: got \"\", expected a folder");
    }
    if (chosen == NULL || chosen[0] == '\0') {
        if (!has_config(DSV4_SOURCE_MODELS, default_name, path, sizeof path) &&
            !has_config(DSV4_INSTALLED_MODELS, default_name, path, sizeof path)) {
            return dsv4_fail(err, DSV4_E_NOT_FOUND, "got no model: no --model, no $DSV4_MODEL, no %s in %s or %s", default_name,
                             DSV4_SOURCE_MODELS, DSV4_INSTALLED_MODELS);
        }
        chosen = path;
    }
    *folder = strdup(chosen);
    return *folder != NULL ? DSV4_OK : dsv4_fail(err, DSV4_E_NO_MEMORY, "no memory for a name");
}

dsv4_status generate_model_find(const generate_options *o, generate_model *m, dsv4_error *err)
{
    char path[FILE_PATH_BYTES];
    dsv4_status status = model_numerics_find(o->numerics, &m->numerics, err);
    if (status == DSV4_OK) {
        status = find_folder(o, &m->folder, err);
    }
    if (status == DSV4_OK) {
        status = model_folder_require_finished(m->folder, err);
    }
    if (status != DSV4_OK) {
        return status;
    }
    const int n = snprintf(path, sizeof path, "%s/config.json", m->folder);
    if (n < 0 || (size_t)n >= sizeof path - strlen("tokenizer.json")) {
        return dsv4_fail(err, DSV4_E_IO, "%s: name is too long", m->folder);
    }
    status = model_config_read(path, &m->config, err);
    if (status == DSV4_OK) {
        snprintf(path, sizeof path, "%s/tokenizer.json", m->folder);
        status = tokenizer_read(path, &m->words, err);
    }
    if (status == DSV4_OK && tokenizer_n_ids(m->words) > m->config.vocab_size) {
        status = dsv4_fail(err, DSV4_E_VALUE, "%s: has ids up to %d, expected fewer than %lld, vocab_size of config.json", path,
                           tokenizer_n_ids(m->words) - 1, (long long)m->config.vocab_size);
    }
    return status;
}

/* ---- memory -------------------------------------------------------------------------------------------------------------------- */

static model_engine_options engine_options(const generate_options *o, const generate_model *m)
{
    return (model_engine_options){.numerics = m->numerics,
                                  .n_sequences = 1,
                                  .context = m->context,
                                  .step_tokens = m->chunk,
                                  .step_logits = m->step_logits,
                                  .drafts = o->speculate};
}

static void print_plan(const generate_model *m, const model_plan *plan, bool is_mapped)
{
    fprintf(stderr, "memory: %s: weights %s%s, %lld tokens of context %s, steps %s; free %s\n",
            size_text_of((double)plan->total).text, size_text_of((double)plan->weights).text, is_mapped ? " as they are read" : "",
            (long long)m->context, size_text_of((double)plan->sequences).text, size_text_of((double)plan->steps).text,
            size_text_of((double)plan->limits.available).text);
}

/* What is going to be taken, before it is. Of weights only the shape is looked at. */
static dsv4_status plan_memory(const generate_options *o, const generate_model *m, const model_weights *weights, bool is_mapped,
                               dsv4_error *err)
{
    const model_engine_options options = engine_options(o, m);
    model_plan_request request = {.numerics = m->numerics, .n_sequences = 1, .total_tokens = m->context};
    model_plan plan;
    dsv4_error cause = {0};
    request.mapped = is_mapped;
    request.drafts = o->speculate;
    dsv4_status status = model_engine_bytes(weights, m->pool, &options, m->prompt_tokens, &request.step_bytes, err);
    request.step_bytes += (size_t)(m->step_logits * m->config.vocab_size) * sizeof(float);
    if (status == DSV4_OK) {
        status = model_plan_make(&weights->config, &request, memory_limits_read("/proc", "/sys/fs/cgroup"), &plan, err);
    }
    if (status != DSV4_OK) {
        return status;
    }
    if (!o->quiet) {
        print_plan(m, &plan, is_mapped);
    }
    status = model_plan_check(&plan, &cause);
    return status == DSV4_OK ? status : dsv4_fail(err, status, "%.300s: %s", m->folder, cause.text);
}

/* The same of weights that are not there: they lie in addresses without memory. */
static dsv4_status plan_shape(const generate_options *o, const generate_model *m, const model_config *config, dsv4_error *err)
{
    packed_plan plan = {0};
    model_weights *shape = NULL;
    dsv4_status status = packed_plan_make(config, takes_int8(m), &shape, &plan, err);
    if (status != DSV4_OK) {
        return status;
    }
    void *addresses = memory_reserve(plan.bytes);
    if (addresses == NULL) {
        status = dsv4_fail(err, DSV4_E_NO_MEMORY, "%.300s: no address space for %zu bytes of weights", m->folder, plan.bytes);
    } else {
        packed_plan_bind(&plan, addresses);
        status = plan_memory(o, m, shape, false, err);
        memory_unmap(addresses, plan.bytes);
    }
    packed_plan_deinit(&plan);
    model_weights_free(shape);
    return status;
}

/* Of a published folder, which must be complete. */
static dsv4_status plan_published(const generate_options *o, const generate_model *m, dsv4_error *err)
{
    model_checkpoint *c = NULL;
    dsv4_status status = model_checkpoint_open(m->folder, &c, err);
    if (status != DSV4_OK) {
        return status;
    }
    status = model_checkpoint_require(c, err);
    if (status == DSV4_OK) {
        status = plan_shape(o, m, &c->config, err);
    }
    model_checkpoint_close(c);
    return status;
}

/* ---- loading it ---------------------------------------------------------------------------------------------------------------- */

/* Prints the plan, then packs published weights; packed ones are mapped, which takes no memory yet. */
static dsv4_status open_weights(const generate_options *o, generate_model *m, dsv4_error *err)
{
    const bool is_packed = model_folder_is_packed(m->folder);
    dsv4_status status = is_packed ? DSV4_OK : plan_published(o, m, err);
    if (status == DSV4_OK) {
        progress bar = progress_begin("loading the model");
        status = model_weights_open(m->folder, takes_int8(m), m->pool, o->quiet ? NULL : &bar, &m->weights, err);
        progress_end(&bar);
    }
    return status == DSV4_OK && is_packed ? plan_memory(o, m, m->weights, true, err) : status;
}

/* Of all norms, which no two trainings share: FNV-1a. */
static void name_weights(generate_model *m)
{
    const model_weights *w = m->weights;
    const size_t n_bytes = (size_t)w->config.dims.hidden_size * sizeof *w->norm;
    uint64_t hash = 0xcbf29ce484222325;
    for (int b = -1; b < w->n_blocks; b++) {
        const uint8_t *bytes = (const uint8_t *)(b < 0 ? w->norm : w->blocks[b].attn_norm);
        for (size_t i = 0; i < n_bytes; i++) {
            hash = (hash ^ bytes[i]) * 0x100000001b3;
        }
    }
    snprintf(m->name, sizeof m->name, "%016llx", (unsigned long long)hash);
}

static dsv4_status create_engine(const generate_options *o, generate_model *m, dsv4_error *err)
{
    const model_engine_options options = engine_options(o, m);
    return model_engine_create(m->weights, m->pool, &options, &m->engine, err);
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* A prompt that is shorter than a chunk is one. Drafts need steps of two. */
static void take_use(generate_model *m, const generate_use *use)
{
    const int64_t prompt = use->prompt_tokens > 2 ? use->prompt_tokens : 2;
    m->context = least(use->context, m->config.dims.max_position_embeddings);
    m->chunk = least(least(use->step_tokens, m->context), use->prompt_tokens == 0 ? m->context : prompt);
    m->prompt_tokens = use->prompt_tokens;
    m->step_logits = least(use->step_logits, m->chunk);
}

dsv4_status generate_model_load(const generate_options *o, const generate_use *use, generate_model *m, dsv4_error *err)
{
    const model_sampler_options sampler = generate_sampler_options(o);
    const double started_s = clock_s();
    take_use(m, use);
    if (o->speculate && m->config.draft != MODEL_DRAFT_MTP) {
        return dsv4_fail(err, DSV4_E_UNSUPPORTED, "%s: has no block that drafts a token, --speculate needs one", m->folder);
    }
    dsv4_status status = model_sampler_create(m->config.vocab_size, &sampler, &m->sampler, err);
    if (status == DSV4_OK) {
        status = dsv4_pool_create((int)o->n_threads, &m->pool, err);
    }
    if (status == DSV4_OK) {
        status = open_weights(o, m, err);
    }
    if (status == DSV4_OK) {
        name_weights(m);
        status = create_engine(o, m, err);
    }
    m->load_s = clock_s() - started_s;
    return status;
}

void generate_model_close(generate_model *m)
{
    model_sampler_destroy(m->sampler);
    model_engine_destroy(m->engine);
    model_weights_free(m->weights);
    dsv4_pool_destroy(m->pool);
    tokenizer_free(m->words);
    free(m->folder);
}
