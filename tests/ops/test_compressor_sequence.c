/* However a sequence is cut, into prefill chunks or decode steps, state and cache end with the same bits (SPEC 4.3). */
#include "ops/compressor.h"

enum { LENGTH = 270 };

static void run_list(const dsv4_op *op, const dsv4_config *config, dsv4_tensor_list *io)
{
    dsv4_graph *g = dsv4_graph_create(op->name);
    dsv4_exec *exec;
    dsv4_error err = {0};
    require_ok(dsv4_op_build(op, config, &(dsv4_op_options){0}, io, g, &err), &err);
    require_ok(dsv4_graph_seal(g, DSV4_DEPS_BLOCK, &err), &err);
    require_ok(dsv4_exec_create(g, pool, 0, &exec, &err), &err);
    require_ok(dsv4_exec_run(exec, 1, &err), &err);
    dsv4_exec_destroy(exec);
    dsv4_graph_destroy(g);
}

/* Tokens [first, first + n) of the sequence as a chunk of `padded` tokens, on state and cache of memory. */
static void run_chunk(const call *whole, const dsv4_tensor_list *memory, int64_t first, int64_t n, int64_t padded)
{
    const dsv4_op *op = whole->op;
    int32_t num_tokens = (int32_t)n;
    dsv4_tensor_list io = {0};
    for (size_t i = 0; i < op->n_tensors; i++) {
        const op_tensor *row = &op->tensors[i];
        const dsv4_tensor *t = dsv4_tensor_list_find(op_is_output(row) ? memory : &whole->in, row->name);
        if (strcmp(row->name, "num_tokens") == 0) {
            put_tensor(&io, row->name, dsv4_tensor_make(DSV4_I32, 0, NULL, &num_tokens));
        } else if (t != NULL && row->shape[0] == 'T') {
            put_tensor(&io, row->name, rows_of(*t, first, padded));
        } else if (t != NULL) {
            put_tensor(&io, row->name, *t);
        }
    }
    run_list(op, &whole->config, &io);
    dsv4_tensor_list_deinit(&io);
}

/* The whole sequence in chunks of these lengths, cyclically, each with some tokens behind it that are not valid. */
static dsv4_tensor_list prefill_in_chunks(const call *whole, const int64_t *lengths, size_t n_lengths)
{
    dsv4_tensor_list memory = {0};
    dsv4_error err = {0};
    for (size_t i = 0; i < whole->op->n_tensors; i++) {
        const op_tensor *row = &whole->op->tensors[i];
        if (op_is_output(row) && dsv4_tensor_list_find(&whole->in, row->name) != NULL) {
            const dsv4_tensor from = get_tensor(&whole->in, row->name);
            dsv4_tensor t;
            require_ok(dsv4_tensor_list_alloc(&memory, row->name, from.dtype, from.n_dims, from.shape, &t, &err), &err);
            memcpy(t.data, from.data, dsv4_tensor_bytes(&t));
        }
    }
    for (int64_t first = 0, i = 0, n; first < LENGTH; first += n, i++) {
        n = lengths[(size_t)i % n_lengths];
        n = n < LENGTH - first ? n : LENGTH - first;
        const int64_t padded = n + i % 3 < LENGTH - first ? n + i % 3 : n;
        run_chunk(whole, &memory, first, n, padded);
    }
    return memory;
}

/* A decode step's form of a tensor of the sequence. */
static dsv4_tensor reshaped(dsv4_tensor t, int n_dims, const int64_t *shape)
{
    return dsv4_tensor_make(t.dtype, n_dims, shape, t.data);
}

/* The tensors that decode and prefill name or shape alike, of tokens [first, first + S). */
static void put_decode_inputs(dsv4_tensor_list *io, const dsv4_op *decode, const call *whole, int64_t first, int64_t S)
{
    for (size_t i = 0; i < decode->n_tensors; i++) {
        const op_tensor *row = &decode->tensors[i];
        const dsv4_tensor *t = dsv4_tensor_list_find(&whole->in, row->name);
        if (strcmp(row->name, table_name(decode)) == 0) {
            const dsv4_tensor table = get_tensor(&whole->in, table_name(whole->op));
            put_tensor(io, row->name, reshaped(table, 2, (const int64_t[]){1, table.shape[0]}));
        } else if (t != NULL && strncmp(row->shape, "B,S", 3) == 0) {
            const dsv4_tensor part = rows_of(*t, first, S);
            put_tensor(io, row->name, reshaped(part, part.n_dims + 1, (const int64_t[]){1, S, part.shape[1]}));
        } else if (t != NULL && !op_is_output(row)) {
            put_tensor(io, row->name, *t);
        }
    }
}

/* Cosines or sines of a row of the table, widened. */
static void widen_turn(const call *whole, const char *table, int64_t row, float *out)
{
    const dsv4_tensor t = get_tensor(&whole->in, table);
    for (int64_t j = 0; j < t.shape[1] / 2; j++) {
        out[j] = (float)dsv4_tensor_get(&t, row * t.shape[1] + j);
    }
}

static void run_decode_step(const dsv4_op *decode, const call *whole, dsv4_tensor compress_state, dsv4_tensor cache, int64_t first,
                            int64_t S)
{
    float cos[64], sin[64];
    const int64_t half = whole->config.qk_rope_head_dim / 2, window = first / ratio_of(decode) * ratio_of(decode);
    dsv4_tensor_list io = {0};
    put_decode_inputs(&io, decode, whole, first, S);
    widen_turn(whole, "freqs_cos", window, cos);
    widen_turn(whole, "freqs_sin", window, sin);
    put_tensor(&io, "cos", dsv4_tensor_make(DSV4_F32, 2, (const int64_t[]){1, half}, cos));
    put_tensor(&io, "sin", dsv4_tensor_make(DSV4_F32, 2, (const int64_t[]){1, half}, sin));
    put_tensor(&io, "compress_state", compress_state);
    put_tensor(&io, is_index(decode) ? "idx_kv_cache" : "cmp_kv_cache", cache);
    run_list(decode, &whole->config, &io);
    dsv4_tensor_list_deinit(&io);
}

/* Rows of kv and score beside each other, as decode has them. */
static dsv4_tensor join_states(const dsv4_tensor_list *memory, dsv4_tensor_list *owner, const char *name)
{
    const dsv4_tensor kv = get_tensor(memory, "kv_state"), score = get_tensor(memory, "score_state");
    const int64_t out = kv.shape[2], shape[] = {kv.shape[0], kv.shape[1], 2 * out};
    dsv4_tensor t;
    dsv4_error err = {0};
    require_ok(dsv4_tensor_list_alloc(owner, name, DSV4_F32, 3, shape, &t, &err), &err);
    for (int64_t row = 0; row < shape[0] * shape[1]; row++) {
        memcpy((float *)t.data + row * 2 * out, (const float *)kv.data + row * out, (size_t)out * sizeof(float));
        memcpy((float *)t.data + row * 2 * out + out, (const float *)score.data + row * out, (size_t)out * sizeof(float));
    }
    return t;
}

static void check_sequence(const char *prefill, const char *decode)
{
    static const int64_t odd[] = {7, 1, 64, 2, 13}, even[] = {128}, one[] = {LENGTH};
    const int32_t start = 0;
    const dsv4_op *op = find_op(decode);
    dsv4_config config = preset("tiny");
    call whole = make_call(prefill, config, 1, LENGTH, &start, LENGTH);
    const char *cache_name = is_index(op) ? "idx_kv_cache" : "cmp_kv";
    dsv4_tensor_list a = prefill_in_chunks(&whole, one, 1), b = prefill_in_chunks(&whole, odd, 5),
                     c = prefill_in_chunks(&whole, even, 1), owner = {0};
    for (size_t i = 0; i < a.n; i++) {
        const dsv4_tensor tb = get_tensor(&b, a.items[i].name), tc = get_tensor(&c, a.items[i].name);
        assert_int_equal(count_bit_mismatches(&a.items[i].tensor, &tb), 0);
        assert_int_equal(count_bit_mismatches(&a.items[i].tensor, &tc), 0);
    }
    const dsv4_tensor state = join_states(&whole.in, &owner, "stepwise"), cache = get_tensor(&whole.in, cache_name);
    for (int64_t first = 0, S; first < LENGTH; first += S) {
        S = first % 4 + 1 < LENGTH - first ? first % 4 + 1 : LENGTH - first;
        run_decode_step(op, &whole, state, cache, first, S);
    }
    const dsv4_tensor chunked = join_states(&a, &owner, "chunked"), chunked_cache = get_tensor(&a, cache_name);
    assert_int_equal(count_bit_mismatches(&state, &chunked), 0);
    assert_int_equal(count_bit_mismatches(&cache, &chunked_cache), 0);
    dsv4_tensor_list_deinit(&owner);
    dsv4_tensor_list_deinit(&a);
    dsv4_tensor_list_deinit(&b);
    dsv4_tensor_list_deinit(&c);
    call_deinit(&whole);
}

static void test_ratio4(void **state)
{
    (void)state;
    check_sequence("prefill_compressor_ratio4", "decode_compressor_ratio4");
}

static void test_ratio128(void **state)
{
    (void)state;
    check_sequence("prefill_compressor_ratio128", "decode_compressor_ratio128");
}

static void test_index(void **state)
{
    (void)state;
    check_sequence("prefill_indexer_compressor", "decode_indexer_compressor");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ratio4),
        cmocka_unit_test(test_ratio128),
        cmocka_unit_test(test_index),
    };
    return cmocka_run_group_tests(tests, create_pool, destroy_pool);
}
