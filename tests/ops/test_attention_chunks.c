/* A prompt gives the same in one chunk, in chunks of other sizes and with padding, bit for bit; and token by token through
 * decode, where other keys share a block, nearly the same results, and the same caches and states. */
#include "ops/layer.h"

#include <math.h>

#define CORRECT ((dsv4_numerics){DSV4_CORRECT, DSV4_SCALE_GROUP})

/* What other keys in a block make of values up to 8: a step of INT8 in front of wo_b, and the rounding to BF16. */
#define OTHER_BLOCKS (1.0 / 32)

/* A sequence of tokens as it is worked off: caches and states so far, and what the tokens gave. */
typedef struct sequence {
    layer l;
    dsv4_tensor_list results;
    dsv4_tensor y; /* BF16 [tokens, M, D] */
    int64_t n;     /* tokens so far */
} sequence;

static sequence begin(const layer *prompt)
{
    sequence q = {.l = clone_layer(prompt)};
    const dsv4_tensor x = get_tensor(&prompt->in, "x_hc");
    q.y = add_tensor(&q.results, "y", DSV4_BF16, x.n_dims, x.shape);
    return q;
}

static void end(sequence *q)
{
    dsv4_tensor_list_deinit(&q->results);
    layer_deinit(&q->l);
}

/* The next n tokens in a call that has n_padding more. */
static void advance(sequence *q, int64_t n, int64_t n_padding)
{
    layer part = part_of(&q->l, q->n, n + n_padding);
    if (!is_decode(&part)) {
        set_valid(&part, n);
    }
    sealed s = run_layer(&part, CORRECT);
    const dsv4_tensor to = rows_of(q->y, q->n, n);
    memcpy(to.data, get_tensor(&s.io, "x_out").data, dsv4_tensor_bytes(&to));
    take_state(&q->l, &s);
    sealed_deinit(&s);
    layer_deinit(&part);
    q->n += n;
}

/* ---- chunks ------------------------------------------------------------------------------------------------------------- */

static void assert_same_tensor(const dsv4_tensor *got, const dsv4_tensor *want, const char *name, const char *what)
{
    const int64_t n = count_bit_mismatches(got, want);
    if (n > 0) {
        fail_msg("%s: %lld of %lld elements of %s differ", what, (long long)n, (long long)dsv4_tensor_count(got), name);
    }
}

/* Everything that outlives the prompt. */
static void assert_same_memory(const sequence *got, const sequence *want, const char *what)
{
    for (size_t i = 0; i < got->l.op->n_tensors; i++) {
        const op_tensor *row = &got->l.op->tensors[i];
        if (op_is_input(row) && op_is_output(row) && has_tensor(&want->l, row->name)) {
            const dsv4_tensor a = get_tensor(&got->l.in, row->name), b = get_tensor(&want->l.in, row->name);
            assert_same_tensor(&a, &b, row->name, what);
        }
    }
}

typedef struct chunk {
    int64_t n, n_padding;
} chunk;

/* The prompt in these chunks, and what remains in a last one. */
static void check_chunks(const layer *prompt, const sequence *whole, const chunk *chunks, size_t n_chunks, const char *what)
{
    const int64_t T = n_tokens(prompt);
    sequence q = begin(prompt);
    for (size_t i = 0; i < n_chunks && q.n + chunks[i].n + chunks[i].n_padding <= T; i++) {
        advance(&q, chunks[i].n, chunks[i].n_padding);
    }
    if (q.n < T) {
        advance(&q, T - q.n, 0);
    }
    assert_same_tensor(&q.y, &whole->y, "x_out", what);
    assert_same_memory(&q, whole, what);
    end(&q);
}

static sequence run_whole(const layer *prompt)
{
    sequence q = begin(prompt);
    advance(&q, n_tokens(prompt), 0);
    return q;
}

static void test_chunks(void **state)
{
    static const chunk ones[] = {{1, 0}, {1, 0}, {1, 0}, {1, 0}, {1, 0}, {1, 0}, {1, 0}, {1, 0}, {1, 0}, {1, 0}, {1, 0}};
    static const chunk odd[] = {{13, 0}, {3, 5}, {0, 4}, {21, 0}, {1, 11}, {16, 0}, {7, 1}};
    static const chunk even[] = {{16, 0}, {16, 0}, {16, 0}, {16, 0}, {16, 0}, {16, 0}};
    static const chunk uneven[] = {{2, 0}, {129, 1}};
    static const int64_t starts[] = {0, 5, 118};
    const int ratio = *(const int *)*state;
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        layer prompt = draw_prefill(ratio, preset("tiny"), 145, starts[i]);
        sequence whole = run_whole(&prompt);
        check_chunks(&prompt, &whole, ones, sizeof ones / sizeof *ones, "chunks of 1");
        check_chunks(&prompt, &whole, odd, sizeof odd / sizeof *odd, "odd chunks");
        check_chunks(&prompt, &whole, even, sizeof even / sizeof *even, "chunks of 16");
        check_chunks(&prompt, &whole, uneven, sizeof uneven / sizeof *uneven, "chunks of 2 and 129");
        end(&whole);
        layer_deinit(&prompt);
    }
}

static void test_chunks_of_flash(void **state)
{
    static const chunk chunks[][4] = {{{128, 0}, {128, 0}, {128, 0}, {128, 0}}, {{129, 0}, {129, 0}, {129, 0}, {125, 0}}};
    (void)state;
    if (SANITIZED) {
        skip();
    }
    layer prompt = draw_prefill(4, preset("flash"), 512, 0);
    sequence whole = run_whole(&prompt);
    check_chunks(&prompt, &whole, chunks[0], 4, "FLASH in chunks of 128");
    check_chunks(&prompt, &whole, chunks[1], 4, "FLASH in chunks of 129");
    end(&whole);
    layer_deinit(&prompt);
}

/* ---- decode ------------------------------------------------------------------------------------------------------------- */

/* Rows [kv | score] of a decode state, of the two states of prefill. */
static void join_states(const layer *prefill, layer *decode, const char *name, const char *kv_name, const char *score_name)
{
    const dsv4_tensor kv = get_tensor(&prefill->in, kv_name), score = get_tensor(&prefill->in, score_name);
    const int64_t out = kv.shape[2], rows = dsv4_tensor_count(&kv) / out;
    const size_t row_bytes = (size_t)out * sizeof(float);
    char *to = add_tensor(&decode->in, name, DSV4_F32, 3, (int64_t[]){kv.shape[0], kv.shape[1], 2 * out}).data;
    for (int64_t r = 0; r < rows; r++) {
        memcpy(to + (size_t)(2 * r) * row_bytes, (const char *)kv.data + (size_t)r * row_bytes, row_bytes);
        memcpy(to + (size_t)(2 * r + 1) * row_bytes, (const char *)score.data + (size_t)r * row_bytes, row_bytes);
    }
}

/* The decode step of one request that goes on where a prompt's caches and states are, with its weights. */
static layer decode_of(const layer *prefill)
{
    layer l = {.config = prefill->config, .call = {.mode = DSV4_DECODE, .n_requests = 1}};
    dsv4_error err = {0};
    require_ok(op_choose("attention", DSV4_DECODE, prefill->op->ratio, &l.op, &err), &err);
    for (size_t i = 0; i < l.op->n_tensors; i++) {
        const char *name = l.op->tensors[i].name, *from = strcmp(name, "weights_proj") == 0 ? "idx_weights_proj" : name;
        if (!has_tensor(prefill, from)) {
            continue;
        }
        dsv4_tensor t = get_tensor(&prefill->in, from);
        if (strstr(name, "block_table") != NULL) {
            t = dsv4_tensor_make(DSV4_I32, 2, (int64_t[]){1, t.shape[0]}, t.data);
        }
        put_tensor(&l.in, name, t);
    }
    if (l.op->ratio > 0) {
        join_states(prefill, &l, "compress_state", "cmp_kv_state", "cmp_score_state");
    }
    if (l.op->ratio == 4) {
        join_states(prefill, &l, "inner_compress_state", "inner_kv_state", "inner_score_state");
    }
    return l;
}

/* The first n_prefilled tokens in one chunk, the others S at a time. */
static sequence decode_rest(const layer *prompt, int64_t n_prefilled, int64_t S)
{
    sequence p = begin(prompt);
    if (n_prefilled > 0) {
        advance(&p, n_prefilled, 0);
    }
    layer step = decode_of(&p.l);
    sequence q = begin(&step);
    q.n = n_prefilled;
    memcpy(q.y.data, p.y.data, dsv4_tensor_bytes(&p.y));
    while (q.n + S <= n_tokens(prompt)) {
        advance(&q, S, 0);
    }
    layer_deinit(&step);
    end(&p);
    return q;
}

static double worst_difference(const dsv4_tensor *a, const dsv4_tensor *b)
{
    double worst = 0;
    for (int64_t i = 0; i < dsv4_tensor_count(a); i++) {
        worst = fmax(worst, fabs(dsv4_tensor_get(a, i) - dsv4_tensor_get(b, i)));
    }
    return worst;
}

static void check_decode(const layer *prompt, const sequence *whole, int64_t n_prefilled, int64_t S)
{
    sequence q = decode_rest(prompt, n_prefilled, S);
    layer joined = decode_of(&whole->l);
    sequence want = {.l = joined};
    assert_int_equal(q.n, n_tokens(prompt));
    const double worst = worst_difference(&q.y, &whole->y);
    print_message("  %s from token %lld on, %lld at a time: x_out differs by up to %.3g\n", q.l.op->name, (long long)n_prefilled,
                  (long long)S, worst);
    assert_true(worst <= OTHER_BLOCKS);
    assert_same_memory(&q, &want, "decode");
    layer_deinit(&joined);
    end(&q);
}

static void test_decode_after_prefill(void **state)
{
    static const int64_t starts[] = {0, 118};
    const int ratio = *(const int *)*state;
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        layer prompt = draw_prefill(ratio, preset("tiny"), 37, starts[i]);
        sequence whole = run_whole(&prompt);
        check_decode(&prompt, &whole, 0, 1);
        check_decode(&prompt, &whole, 1, 2);
        check_decode(&prompt, &whole, 7, 3);
        end(&whole);
        layer_deinit(&prompt);
    }
}

#define LAYER(test, ratio)                                  \
    {                                                       \
#test "_of_ratio_" #ratio, test, NULL, NULL, &(int) \
        {                                                   \
            ratio                                           \
        }                                                   \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        LAYER(test_chunks, 0),
        LAYER(test_chunks, 4),
        LAYER(test_chunks, 128),
        cmocka_unit_test(test_chunks_of_flash),
        LAYER(test_decode_after_prefill, 0),
        LAYER(test_decode_after_prefill, 4),
        LAYER(test_decode_after_prefill, 128),
    };
    return cmocka_run_group_tests(tests, create_pool, destroy_pool);
}
