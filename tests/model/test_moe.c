/* The mixture of experts of a step: against the reference's results for tiny-random, and the same bits for any threads, order and
 * company of a token. */
#include "model_files.h"

#include <math.h>

#include "dsv4/graph.h"
#include "model/step/moe.h"

#define DATA TEST_VECTORS "/../model/data"

enum { N_TOKENS = 6, MANY = 70, MAX_LAYERS = 2 };

/* ---- weights and the reference ----------------------------------------------------------------------------------------------------- */

static model_weights *fp8_weights, *int8_weights;
static dsv4_tensor_list primitives, trace; /* the reference's results of a block; and of a model's blocks, with their inputs */
static dsv4_safetensors *files[2];

static const model_weights *weights_for(const char *numerics)
{
    return strcmp(numerics, "w8a8") == 0 ? int8_weights : fp8_weights;
}

static int set_up(void **state)
{
    dsv4_error err = {0};
    (void)state;
    model_checkpoint *checkpoint = NULL;
    require_ok(model_checkpoint_open(DATA "/tiny-random", &checkpoint, &err), &err);
    require_ok(model_weights_pack(checkpoint, false, NULL, NULL, &fp8_weights, &err), &err);
    require_ok(model_weights_pack(checkpoint, true, NULL, NULL, &int8_weights, &err), &err);
    model_checkpoint_close(checkpoint);
    require_ok(dsv4_safetensors_open(DATA "/primitives.safetensors", &files[0], &err), &err);
    require_ok(dsv4_safetensors_load(files[0], "moe.", &primitives, &err), &err);
    require_ok(dsv4_safetensors_open(DATA "/moe_official.safetensors", &files[1], &err), &err);
    require_ok(dsv4_safetensors_load(files[1], "moe_official.", &trace, &err), &err);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    dsv4_tensor_list_deinit(&primitives);
    dsv4_tensor_list_deinit(&trace);
    dsv4_safetensors_close(files[0]);
    dsv4_safetensors_close(files[1]);
    model_weights_free(fp8_weights);
    model_weights_free(int8_weights);
    return 0;
}

static const dsv4_tensor *named(const dsv4_tensor_list *list, const char *name)
{
    const dsv4_tensor *t = dsv4_tensor_list_find(list, name);
    assert_non_null(t);
    return t;
}

static int64_t width(void)
{
    return fp8_weights->config.dims.hidden_size;
}

/* ---- a step ------------------------------------------------------------------------------------------------------------------ */

/* Rows and their tokens, and the layers that they go through one after the other. */
typedef struct call {
    const char *numerics;
    int n_layers, layer;
    int64_t n, capacity;
    const float *x;
    const int32_t *tokens;
} call;

typedef struct built {
    dsv4_graph *graph;
    step_rows rows;
    step_matrix out;
    const uk_table *uk;
} built;

static built build(const call *c, int n_threads)
{
    built b = {.graph = dsv4_graph_create("moe")};
    const model_weights *w = weights_for(c->numerics);
    dsv4_error err = {0};
    const model_numerics *numerics = NULL;
    require_ok(model_numerics_find(c->numerics, &numerics, &err), &err);
    require_ok(uk_find(NULL, &b.uk, &err), &err);
    step_rows *rows = dsv4_graph_memory(b.graph, sizeof *rows);
    int32_t *tokens = dsv4_graph_memory(b.graph, (size_t)c->capacity * sizeof *tokens);
    memcpy(tokens, c->tokens, (size_t)c->n * sizeof *tokens);
    *rows = (step_rows){.capacity = c->capacity, .n = c->n, .token = tokens};
    step s = {.op = {.g = b.graph, .uk = b.uk},
              .config = &fp8_weights->config,
              .numerics = numerics,
              .rows = rows,
              .T = c->capacity,
              .n_threads = n_threads};
    step_moe_room room = step_moe_room_new(&s, w);
    b.out = step_matrix_new(&s, "x", c->capacity, width());
    for (int64_t t = 0; t < c->n; t++) {
        step_store(b.uk, &b.out, t, 0, width(), c->x + t * width());
    }
    for (int i = 0; i < c->n_layers; i++) {
        b.out = step_moe_add(&s, &room, &w->blocks[c->layer + i], b.out);
    }
    require_ok(dsv4_graph_seal(b.graph, DSV4_DEPS_BLOCK, &err), &err);
    return b;
}

static void run(const built *b, int n_threads, uint64_t order)
{
    dsv4_pool *pool = NULL;
    dsv4_exec *exec = NULL;
    dsv4_error err = {0};
    require_ok(dsv4_pool_create(n_threads, &pool, &err), &err);
    require_ok(dsv4_exec_create(b->graph, pool, 0, &exec, &err), &err);
    require_ok(dsv4_exec_run(exec, order, &err), &err);
    dsv4_exec_destroy(exec);
    dsv4_pool_destroy(pool);
}

/* y [n, D]: what the layers make of the call. */
static void compute(const call *c, int n_threads, uint64_t order, float *y)
{
    built b = build(c, n_threads);
    run(&b, n_threads, order);
    for (int64_t t = 0; t < c->n; t++) {
        step_load(b.uk, &b.out, t, 0, width(), y + t * width());
    }
    dsv4_graph_destroy(b.graph);
}

/* Rows and tokens of a list. */
static call call_of(const dsv4_tensor_list *list, const char *rows, const char *numerics, int layer)
{
    static float x[MANY * 1024];
    static int32_t tokens[MANY];
    const dsv4_tensor *in = named(list, rows), *ids = named(list, "tokens");
    const int64_t n = in->shape[0];
    assert_true(n <= MANY && in->shape[1] == width() && width() <= 1024);
    for (int64_t i = 0; i < dsv4_tensor_count(in); i++) {
        x[i] = (float)dsv4_tensor_get(in, i);
    }
    for (int64_t t = 0; t < n; t++) {
        tokens[t] = (int32_t)dsv4_tensor_get(ids, t);
    }
    return (call){numerics, 1, layer, n, n, x, tokens};
}

/* The reference's input, and MANY rows made of it. */
static call reference_call(const char *numerics, int layer)
{
    return call_of(&primitives, "in", numerics, layer);
}

static call many_call(const char *numerics, int layer)
{
    static float x[MANY * 1024];
    static int32_t tokens[MANY];
    call six = reference_call(numerics, layer);
    for (int64_t t = 0; t < MANY; t++) {
        tokens[t] = (six.tokens[t % N_TOKENS] + (int32_t)(t / N_TOKENS)) % (int32_t)fp8_weights->config.vocab_size;
        for (int64_t i = 0; i < width(); i++) {
            x[t * width() + i] = six.x[t % N_TOKENS * width() + (i + t / N_TOKENS) % width()];
        }
    }
    return (call){numerics, 1, layer, MANY, MANY, x, tokens};
}

/* ---- against the reference ---------------------------------------------------------------------------------------------------- */

static double rms_difference(const float *y, const dsv4_tensor *expected)
{
    double difference = 0, sum = 0;
    for (int64_t i = 0; i < dsv4_tensor_count(expected); i++) {
        double e = dsv4_tensor_get(expected, i), d = (double)y[i] - e;
        difference += d * d;
        sum += e * e;
    }
    return sqrt(difference / sum);
}

static void check_reference(const char *numerics, const char *expected, double tolerance)
{
    for (int layer = 0; layer < MAX_LAYERS; layer++) {
        static float y[N_TOKENS * 1024];
        char name[64];
        call c = reference_call(numerics, layer);
        compute(&c, 2, 0, y);
        snprintf(name, sizeof name, "layers.%d.%s", layer, expected);
        double difference = rms_difference(y, named(&primitives, name));
        if (!(difference <= tolerance)) {
            fail_msg("%s, layer %d: differs from the reference's %s by %.3g RMS, at most %.3g allowed", numerics, layer, expected,
                     difference, tolerance);
        }
    }
}

/* Without BF16 between operators nothing but the order of sums differs from the reference. */
static void is_the_reference(void **state)
{
    (void)state;
    check_reference("exact", "exact", 1e-6);
    check_reference("quant_f32", "quant", 1e-6);
}

/* Where BF16 and e4m3 round too, an FP32 sum on the edge of a step may fall either way: few elements differ, most by one bit. */
static void rounds_where_the_reference_does(void **state)
{
    (void)state;
    for (int layer = 0; layer < MAX_LAYERS; layer++) {
        static float y[MANY * 1024];
        char in[64], out[64];
        snprintf(in, sizeof in, "layers.%d.in", layer);
        snprintf(out, sizeof out, "layers.%d.out", layer);
        call c = call_of(&trace, in, "official", layer);
        const dsv4_tensor *expected = named(&trace, out);
        compute(&c, 2, 0, y);
        int64_t n_different = 0, n = dsv4_tensor_count(expected);
        for (int64_t i = 0; i < n; i++) {
            n_different += (double)y[i] != dsv4_tensor_get(expected, i);
        }
        double difference = rms_difference(y, expected);
        if (!(difference <= 1e-3) || n_different > n / 50) {
            fail_msg("official, layer %d: %lld of %lld elements differ, %.3g RMS", layer, (long long)n_different, (long long)n,
                     difference);
        }
    }
}

/* BF16 and INT8 err by their steps: 2^-9 and 1/254 of a row's largest value. */
static void is_near_the_reference(void **state)
{
    (void)state;
    check_reference("bf16", "exact", 6e-3);
    check_reference("official", "quant", 3e-2);
    check_reference("w8a8", "exact", 3e-2);
}

/* ---- the same bits ------------------------------------------------------------------------------------------------------------- */

static void assert_same(const float *a, const float *b, int64_t n, const char *numerics, const char *what)
{
    for (int64_t i = 0; i < n; i++) {
        if (memcmp(&a[i], &b[i], sizeof a[i]) != 0) {
            fail_msg("%s, %s: element %lld is %.9g, expected %.9g", numerics, what, (long long)i, (double)a[i], (double)b[i]);
        }
    }
}

static void threads_and_orders(void **state)
{
    (void)state;
    for (int i = 0; i < MODEL_N_NUMERICS; i++) {
        static float expected[MANY * 1024], y[MANY * 1024];
        call c = many_call(model_numerics_table[i].name, i % MAX_LAYERS);
        compute(&c, 1, 0, expected);
        for (int n_threads = 1; n_threads <= 3; n_threads++) {
            for (uint64_t order = 0; order < 3; order++) {
                compute(&c, n_threads, order, y);
                assert_same(y, expected, c.n * width(), c.numerics, "threads or order");
            }
        }
    }
}

static void check_alone(call c, int64_t every)
{
    static float together[MANY * 1024], alone[1024];
    compute(&c, 2, 0, together);
    for (int64_t t = 0; t < c.n; t += every) {
        call one = c;
        one.n = one.capacity = 1;
        one.x = c.x + t * width();
        one.tokens = c.tokens + t;
        compute(&one, 2, 0, alone);
        assert_same(alone, together + t * width(), width(), c.numerics, "a token alone");
    }
}

static void company_of_a_token(void **state)
{
    (void)state;
    for (int i = 0; i < MODEL_N_NUMERICS; i++) {
        for (int layer = 0; layer < MAX_LAYERS; layer++) {
            check_alone(reference_call(model_numerics_table[i].name, layer), 1);
            check_alone(many_call(model_numerics_table[i].name, layer), 7);
        }
    }
}

/* A graph for more tokens than a step has. */
static void steps_that_are_not_full(void **state)
{
    static float full[N_TOKENS * 1024], y[N_TOKENS * 1024];
    (void)state;
    call c = reference_call("official", 1);
    compute(&c, 2, 0, full);
    c.capacity = 24;
    for (c.n = 0; c.n <= N_TOKENS; c.n++) {
        compute(&c, 2, 0, y);
        assert_same(y, full, c.n * width(), c.numerics, "a step that is not full");
    }
}

/* Two blocks in one graph use the same room, one behind the other. */
static void blocks_share_room(void **state)
{
    static float first[MANY * 1024], second[MANY * 1024], y[MANY * 1024];
    (void)state;
    call c = many_call("quant_f32", 0), next;
    compute(&c, 2, 0, first);
    next = c;
    next.layer = 1;
    next.x = first;
    compute(&next, 2, 0, second);
    c.n_layers = 2;
    for (uint64_t order = 0; order < 4; order++) {
        compute(&c, 3, order, y);
        assert_same(y, second, c.n * width(), c.numerics, "two blocks");
    }
}

static void declares_what_it_touches(void **state)
{
    (void)state;
    for (int i = 0; i < MODEL_N_NUMERICS; i++) {
        call c = reference_call(model_numerics_table[i].name, 0);
        c.n_layers = 2;
        built b = build(&c, 3);
        dsv4_error err = {0};
        int64_t n_findings = 0;
        require_ok(dsv4_graph_verify(b.graph, 5, &n_findings, &err), &err);
        assert_int_equal(n_findings, 0);
        dsv4_graph_destroy(b.graph);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_the_reference),      cmocka_unit_test(rounds_where_the_reference_does),
        cmocka_unit_test(is_near_the_reference), cmocka_unit_test(threads_and_orders),
        cmocka_unit_test(company_of_a_token),    cmocka_unit_test(steps_that_are_not_full),
        cmocka_unit_test(blocks_share_room),     cmocka_unit_test(declares_what_it_touches),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
