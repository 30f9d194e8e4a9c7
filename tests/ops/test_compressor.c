/* The compressors: against the vectors of the reference implementation and against the goldens, and the same bits from every way to
 * run them. */
#include <math.h>
#include <stdio.h>

#include "ops/compressor.h"

#include "golden/golden.h"
#include "vector_file.h"

static const char *const all_ops[] = {
    "decode_compressor_ratio4",  "decode_compressor_ratio128",  "decode_indexer_compressor",
    "prefill_compressor_ratio4", "prefill_compressor_ratio128", "prefill_indexer_compressor",
};

enum { N_OPS = sizeof all_ops / sizeof *all_ops };

/* ---- expected values -------------------------------------------------------------------------------------------------------- */

/* By the rules of the operator's table; but for FP32 rows at most max_bits elements may differ in a bit. */
static void compare(const updating *u, const dsv4_tensor_list *expected, int64_t max_bits, const char *what)
{
    dsv4_error err = {0};
    cmp_result result;
    for (size_t i = 0; i < u->c->op->n_tensors; i++) {
        const op_tensor *row = &u->c->op->tensors[i];
        const dsv4_tensor *want = dsv4_tensor_list_find(expected, row->name);
        if (!op_is_output(row) || want == NULL) {
            continue;
        }
        const dsv4_tensor got = get_tensor(&u->io, row->name);
        require_ok(cmp_tensors(row->name, &got, want, &row->rule, &result, &err), &err);
        if (!result.pass) {
            fail_msg("%s, %s: %lld of %lld elements of %s over tolerance, the worst at %lld is %.9g, expected %.9g", u->c->op->name,
                     what, (long long)result.n_bad, (long long)result.n, row->name, (long long)result.worst_index,
                     result.worst_actual, result.worst_expected);
        }
        if (got.dtype != DSV4_F32 && count_bit_mismatches(&got, want) > max_bits) {
            fail_msg("%s, %s: %lld of %lld elements of %s differ in a bit", u->c->op->name, what,
                     (long long)count_bit_mismatches(&got, want), (long long)result.n, row->name);
        }
    }
}

/* Each row of microkernels. */
static void check_everywhere(const call *c, const dsv4_tensor_list *expected, int64_t max_bits, const char *what)
{
    for (const uk_table *const *uk = uk_all(); *uk != NULL; uk++) {
        if (!uk_is_supported(*uk)) {
            continue;
        }
        updating u = make_updating(c, (dsv4_op_options){.mode = (dsv4_mode)c->op->mode, .isa = (*uk)->isa});
        must_run(&u, pool, 0);
        compare(&u, expected, max_bits, what);
        updating_deinit(&u);
    }
}

static void test_vector_file(void **state)
{
    vector_file v = vector_file_open(*state);
    const call c = {.op = find_op(v.kernel), .config = v.config, .in = v.in};
    check_everywhere(&c, &v.expected, 0, *state);
    vector_file_close(&v);
}

static void check_against_golden(const call *c, const char *what)
{
    dsv4_tensor_list expected = {0};
    dsv4_error err = {0};
    require_ok(golden_find(c->op->name)->run(&c->config, &(dsv4_numerics){0}, &c->in, &expected, NULL, &err), &err);
    check_everywhere(c, &expected, 3, what);
    dsv4_tensor_list_deinit(&expected);
}

static void test_decode_at_all_phases(void **state)
{
    const int32_t starts[] = {0, 1, 2, 3, 7, 126, 254, 127, 255};
    (void)state;
    for (int i = 0; i < 3; i++) {
        for (int64_t S = 1; S <= 4; S++) {
            call c = make_call(all_ops[i], preset("tiny"), 9, S, starts, 300);
            check_against_golden(&c, "nine requests");
            call_deinit(&c);
        }
    }
}

/* Some tokens go nowhere; what their rows hold already is pooled. */
static void test_decode_with_dropped_slots(void **state)
{
    const int32_t starts[] = {5, 126, 13, 255};
    (void)state;
    for (int i = 0; i < 3; i++) {
        call c = make_call(all_ops[i], preset("tiny"), 4, 3, starts, 300);
        for (int t = 0; t < 12; t += 2) {
            i64_of(&c, state_slots_name(c.op))[t] = -1;
        }
        for (int t = 0; t < 6; t++) {
            i64_of(&c, cache_slots_name(c.op))[t] = -1;
        }
        check_against_golden(&c, "dropped slots");
        call_deinit(&c);
    }
}

static void test_prefill_at_all_phases(void **state)
{
    static const int64_t lengths[] = {1, 2, 5, 16, 130};
    static const int32_t starts[] = {0, 1, 3, 4, 63, 126, 128, 250};
    (void)state;
    for (int i = 3; i < N_OPS; i++) {
        for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
            for (size_t s = 0; s < sizeof starts / sizeof *starts; s += SANITIZED ? 3 : 1) {
                call c = make_call(all_ops[i], preset("tiny"), 1, lengths[l], &starts[s], 400);
                check_against_golden(&c, "a chunk");
                call_deinit(&c);
            }
        }
    }
}

/* Tokens behind num_tokens may hold anything. */
static void test_prefill_of_part_of_a_chunk(void **state)
{
    const int32_t start = 126;
    (void)state;
    for (int i = 3; i < N_OPS; i++) {
        for (int32_t n = 0; n <= 9; n++) {
            call c = make_call(all_ops[i], preset("tiny"), 1, 9, &start, 300);
            *i32_of(&c, "num_tokens") = n;
            for (int t = n; t < 9; t++) {
                i32_of(&c, "position_ids")[t] = t;
            }
            check_against_golden(&c, "part of a chunk");
            call_deinit(&c);
        }
    }
}

/* Windows without a cache row are not made, history without a page is absent. */
static void test_prefill_with_gaps(void **state)
{
    const int32_t start = 130;
    (void)state;
    for (int i = 3; i < N_OPS; i++) {
        call c = make_call(all_ops[i], preset("tiny"), 1, 40, &start, 300);
        int64_t *slots = i64_of(&c, cache_slots_name(c.op));
        for (int64_t t = 0, n = 0; t < 40; t++) {
            slots[t] = slots[t] >= 0 && n++ % 3 == 1 ? -1 : slots[t];
        }
        for (int64_t page = 0; page < 130 / c.dims.of[OP_SR]; page += 3) {
            i32_of(&c, table_name(c.op))[page] = -1;
        }
        check_against_golden(&c, "gaps");
        call_deinit(&c);
    }
}

/* The dimensions of the published models, and such as fit no tile. */
static void test_other_models(void **state)
{
    const int32_t starts[] = {2, 125, 7, 126}, start = 125;
    dsv4_config odd = model(515, 64, 2, 134, 6);
    (void)state;
    odd.index_head_dim = 46;
    for (int i = 0; i < N_OPS; i++) {
        call c = i < 3 ? make_call(all_ops[i], odd, 4, 2, starts, 300) : make_call(all_ops[i], odd, 1, 150, &start, 300);
        check_against_golden(&c, "odd dimensions");
        call_deinit(&c);
    }
    for (int i = 0; i < (SANITIZED ? 0 : N_OPS); i++) {
        call c = i < 3 ? make_call(all_ops[i], preset("flash"), 4, 2, starts, 300)
                       : make_call(all_ops[i], preset("pro"), 1, 5, &start, 300);
        check_against_golden(&c, c.config.name);
        call_deinit(&c);
    }
}

/* The INT8 form of a cache: what the golden quantises, and no BF16 row. */
static void test_int8_cache(void **state)
{
    const int32_t starts[] = {2, 3, 7, 9}, start = 3;
    const char *const ops[] = {"decode_indexer_compressor", "prefill_indexer_compressor"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        call c =
            i == 0 ? make_call(ops[i], preset("tiny"), 4, 2, starts, 64) : make_call(ops[i], preset("tiny"), 1, 21, &start, 64);
        const int64_t shape[] = {c.dims.of[OP_IP], c.dims.of[OP_BS], 1, 1};
        dsv4_tensor *cache = dsv4_tensor_list_find(&c.in, "idx_kv_cache");
        dsv4_error err = {0};
        *cache = dsv4_tensor_make(DSV4_I8, cache->n_dims, cache->shape, cache->data);
        require_ok(dsv4_tensor_list_alloc(&c.in, "idx_kv_scale", DSV4_F32, 4, shape, NULL, &err), &err);
        check_against_golden(&c, "INT8 cache");
        call_deinit(&c);
    }
}

/* Calls as `dsv4 run` draws them. */
static void test_drawn_calls(void **state)
{
    const int64_t start_positions[] = {OP_UNKNOWN, 125};
    (void)state;
    for (int i = 0; i < 2 * N_OPS; i++) {
        const dsv4_op *op = find_op(all_ops[i / 2]);
        for (int quantised = 0; quantised <= is_index(op); quantised++) {
            const op_call drawn = {(dsv4_mode)op->mode,
                                   is_decode(op) ? 4 : 1,
                                   is_decode(op) ? 2 : 16,
                                   start_positions[i % 2],
                                   ratio_of(op),
                                   quantised != 0,
                                   1};
            dsv4_error err = {0};
            call c = {.op = op, .config = preset("tiny")};
            require_ok(op_draw_inputs(op, &c.config, &drawn, &c.in, &err), &err);
            check_against_golden(&c, "a drawn call");
            call_deinit(&c);
        }
    }
}

/* ---- the same bits ---------------------------------------------------------------------------------------------------------- */

/* The first window of a prefill ends at token 3 - phase (ratio 4), 7 - phase (128). */
static call long_call(int op, int32_t phase)
{
    const int32_t starts[] = {2, 127, 7, 254, 1, 0, 5}, start = 120 + phase;
    dsv4_config config = preset("tiny");
    config.hidden_size = 1100;
    return op < 3 ? make_call(all_ops[op], config, 7, 3, starts, 300) : make_call(all_ops[op], config, 1, 150, &start, 300);
}

static void test_threads_orders_and_tiles(void **state)
{
    static const char *const fine[] = {"t_tile=3", "n_tile=32", "k_split=3"}, *const coarse[] = {"t_tile=1000", "n_tile=96",
                                                                                                 "k_split=1"};
    const dsv4_op_options tilings[] = {{.sets = fine, .n_sets = 3}, {.sets = coarse, .n_sets = 3}, {.mode = DSV4_DECODE}};
    const int thread_counts[] = {1, 2, SANITIZED ? 3 : 7};
    (void)state;
    for (int i = 0; i < 2 * N_OPS; i++) {
        call c = long_call(i / 2, i % 2);
        updating reference = make_updating(&c, (dsv4_op_options){.mode = DSV4_PREFILL});
        must_run(&reference, pool, 0);
        for (size_t n = 0; n < 3; n++) {
            dsv4_pool *threads = make_pool(thread_counts[n]);
            updating u = make_updating(&c, tilings[n]);
            for (uint64_t shuffle = 0; shuffle < (SANITIZED ? 3 : 15); shuffle++) {
                must_run(&u, threads, shuffle);
                assert_same_outputs(&u, &reference.io, "another way to run it");
            }
            updating_deinit(&u);
            dsv4_pool_destroy(threads);
        }
        updating_deinit(&reference);
        call_deinit(&c);
    }
}

static void test_declarations(void **state)
{
    static const char *const fine[] = {"t_tile=3", "n_tile=32", "k_split=1"};
    const int32_t starts[] = {2, 127, 254}, start = 121;
    (void)state;
    for (int i = 0; i < N_OPS; i++) {
        call c = i < 3 ? make_call(all_ops[i], preset("tiny"), 3, 2, starts, 260)
                       : make_call(all_ops[i], preset("tiny"), 1, 11, &start, 260);
        for (size_t n_sets = SANITIZED ? 3 : 0; n_sets <= 3; n_sets += 3) {
            dsv4_error err = {0};
            updating u = make_updating(&c, (dsv4_op_options){.sets = fine, .n_sets = n_sets});
            reset(&u);
            require_ok(dsv4_graph_verify(u.graph, 5, NULL, &err), &err);
            updating_deinit(&u);
        }
        call_deinit(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VECTOR(decode_compressor_ratio128_pos254_long),
        VECTOR(decode_compressor_ratio128_pos7_10_126_127),
        VECTOR(decode_compressor_ratio4_pos0123),
        VECTOR(decode_compressor_ratio4_pos30_drop),
        VECTOR(decode_indexer_compressor_pos0123),
        VECTOR(decode_indexer_compressor_pos6),
        VECTOR(decode_indexer_compressor_pos7_drop),
        VECTOR(prefill_compressor_ratio128_pos112),
        VECTOR(prefill_compressor_ratio128_pos120),
        VECTOR(prefill_compressor_ratio4_pos0),
        VECTOR(prefill_compressor_ratio4_pos5),
        VECTOR(prefill_indexer_compressor_pos0),
        VECTOR(prefill_indexer_compressor_pos1),
        VECTOR(prefill_indexer_compressor_pos127),
        VECTOR(prefill_indexer_compressor_pos128),
        VECTOR(prefill_indexer_compressor_pos2),
        VECTOR(prefill_indexer_compressor_pos3),
        VECTOR(prefill_indexer_compressor_pos4),
        VECTOR(prefill_indexer_compressor_pos5),
        VECTOR(prefill_indexer_compressor_pos63),
        VECTOR(prefill_indexer_compressor_pos64),
        VECTOR(prefill_indexer_compressor_pos6_n11),
        cmocka_unit_test(test_decode_at_all_phases),
        cmocka_unit_test(test_decode_with_dropped_slots),
        cmocka_unit_test(test_prefill_at_all_phases),
        cmocka_unit_test(test_prefill_of_part_of_a_chunk),
        cmocka_unit_test(test_prefill_with_gaps),
        cmocka_unit_test(test_other_models),
        cmocka_unit_test(test_int8_cache),
        cmocka_unit_test(test_drawn_calls),
        cmocka_unit_test(test_threads_orders_and_tiles),
        cmocka_unit_test(test_declarations),
    };
    return cmocka_run_group_tests(tests, create_pool, destroy_pool);
}
