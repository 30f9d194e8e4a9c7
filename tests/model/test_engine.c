/* The whole model: tiny-random against the reference's results (tests/model/data/README.md), and the same bits however a prompt is
 * cut into steps, whatever else is in a step, on any number of threads. */
#include "model_files.h"

#include <math.h>

#include "dsv4/safetensors.h"
#include "model/engine.h"

#define TINY_RANDOM TEST_VECTORS "/../model/data/tiny-random"
#define EXPECTED TEST_VECTORS "/../model/data/expected"

enum { PROMPT = 200, V = 512, N_GREEDY = 40, STEP_TOKENS = 200, CONTEXT = 640 };

/* ---- the reference's results ------------------------------------------------------------------------------------------------- */

static dsv4_tensor_list expected_of(const char *name)
{
    char path[FILE_PATH_BYTES];
    dsv4_safetensors *st = NULL;
    dsv4_tensor_list list = {0};
    dsv4_error err = {0};
    snprintf(path, sizeof path, EXPECTED "/%s.safetensors", name);
    require_ok(dsv4_safetensors_open(path, &st, &err), &err);
    const dsv4_tensor_list *all = dsv4_safetensors_tensors(st);
    for (size_t i = 0; i < all->n; i++) {
        const dsv4_tensor *t = &all->items[i].tensor;
        dsv4_tensor copy;
        require_ok(dsv4_tensor_list_alloc(&list, all->items[i].name, t->dtype, t->n_dims, t->shape, &copy, &err), &err);
        memcpy(copy.data, t->data, (size_t)dsv4_tensor_count(t) * dsv4_dtype_bytes(t->dtype));
    }
    dsv4_safetensors_close(st);
    return list;
}

static const float *rows_of(const dsv4_tensor_list *list, const char *name, int64_t *n)
{
    const dsv4_tensor *t = dsv4_tensor_list_find(list, name);
    assert_non_null(t);
    *n = t->shape[0];
    return t->data;
}

/* ---- a model that runs ------------------------------------------------------------------------------------------------------- */

typedef struct running {
    model_weights *weights;
    dsv4_pool *pool;
    model_engine *engine;
} running;

static running start(const char *numerics, int n_threads, int64_t n_sequences)
{
    running r = {0};
    model_checkpoint *c = NULL;
    model_engine_options options = {.n_sequences = n_sequences, .context = CONTEXT, .step_tokens = STEP_TOKENS};
    dsv4_error err = {0};
    require_ok(model_numerics_find(numerics, &options.numerics, &err), &err);
    require_ok(dsv4_pool_create(n_threads, &r.pool, &err), &err);
    require_ok(model_checkpoint_open(TINY_RANDOM, &c, &err), &err);
    require_ok(model_weights_pack(c, options.numerics->rows == MODEL_ROWS_I8, r.pool, NULL, &r.weights, &err), &err);
    model_checkpoint_close(c);
    require_ok(model_engine_create(r.weights, r.pool, &options, &r.engine, &err), &err);
    return r;
}

static void stop(running *r)
{
    model_engine_destroy(r->engine);
    model_weights_free(r->weights);
    dsv4_pool_destroy(r->pool);
}

static model_sequence *open_sequence(running *r)
{
    model_sequence *s = NULL;
    dsv4_error err = {0};
    require_ok(model_sequence_open(model_engine_kv(r->engine), &s, &err), &err);
    return s;
}

static void feed(running *r, model_sequence *s, const int32_t *tokens, int64_t n, float *logits)
{
    dsv4_error err = {0};
    model_feed f = {s, tokens, n, logits != NULL ? n : 0, logits};
    require_ok(model_engine_step(r->engine, &f, 1, &err), &err);
}

/* Logits of all tokens, cut into chunks of the given sizes, over and over. */
static void feed_in_chunks(running *r, const int32_t *tokens, int64_t n, const int64_t *sizes, size_t n_sizes, float *logits)
{
    model_sequence *s = open_sequence(r);
    int64_t at = 0;
    for (size_t i = 0; at < n; i++) {
        int64_t size = sizes[i % n_sizes] < n - at ? sizes[i % n_sizes] : n - at;
        feed(r, s, tokens + at, size, logits + at * V);
        at += size;
    }
    assert_int_equal(s->length, n);
    model_sequence_close(model_engine_kv(r->engine), s);
}

static int64_t argmax(const float *row)
{
    int64_t best = 0;
    for (int64_t i = 1; i < V; i++) {
        best = row[i] > row[best] ? i : best;
    }
    return best;
}

/* Root mean square of the difference over that of the expected values; how many rows have the same largest value. */
static double difference(const float *got, const float *expected, int64_t n_rows, int64_t *n_same)
{
    double squares = 0, all = 0;
    *n_same = 0;
    for (int64_t i = 0; i < n_rows * V; i++) {
        double d = (double)got[i] - (double)expected[i];
        squares += d * d;
        all += (double)expected[i] * (double)expected[i];
    }
    for (int64_t row = 0; row < n_rows; row++) {
        *n_same += argmax(got + row * V) == argmax(expected + row * V);
    }
    return sqrt(squares / all);
}

static const int32_t *prompt_of(const dsv4_tensor_list *list)
{
    return dsv4_tensor_list_find(list, "tokens")->data;
}

/* ---- exact ------------------------------------------------------------------------------------------------------------------- */

static float *logits_new(int64_t n_rows)
{
    float *logits = malloc((size_t)(n_rows * V) * sizeof *logits);
    assert_non_null(logits);
    return logits;
}

static void test_exact(void **state)
{
    (void)state;
    dsv4_tensor_list exact = expected_of("exact"), prompt = expected_of("long");
    int64_t n, n_same;
    const float *expected = rows_of(&exact, "prefill_logits", &n);
    float *logits = logits_new(PROMPT);
    running r = start("exact", 2, 1);
    feed_in_chunks(&r, prompt_of(&prompt), PROMPT, (int64_t[]){PROMPT}, 1, logits);
    double rms = difference(logits, expected, n, &n_same);
    print_message("exact: prefill: rms relative %.3g, top-1 equal %lld of %lld\n", rms, (long long)n_same, (long long)n);
    assert_true(rms < 1e-5);
    assert_int_equal(n_same, n);
    stop(&r);
    free(logits);
    dsv4_tensor_list_deinit(&exact);
    dsv4_tensor_list_deinit(&prompt);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
