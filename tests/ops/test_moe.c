/* The operators of the mixture of experts and of the head against their references, and the same bits for any threads, order,
 * dependencies, tiles, instruction set and company of a token. */
#include "ops/pool.h"

#include <math.h>
#include <stdio.h>

#include "golden/golden.h"
#include "sanitized.h"
#include "vector_file.h"

/* Sanitizers see every kind of access in fewer cases. */
enum { N_TOKENS = 13, N_ORDERS = SANITIZED ? 1 : 4, N_CONFIGS = SANITIZED ? 2 : 4, COMPANY_STEP = SANITIZED ? 5 : 1 };

/* ---- inputs --------------------------------------------------------------------------------------------------------------- */

static int32_t *scalar_of(const dsv4_tensor_list *list, const char *name)
{
    return get_tensor(list, name).data;
}

static bool has_token_rows(const op_tensor *row)
{
    return row->shape[0] == 'T' && (row->shape[1] == ',' || row->shape[1] == '\0');
}

/* The call with tokens [t0, t0 + n) of another alone; ends with dsv4_tensor_list_deinit. */
static dsv4_tensor_list tokens_of(const dsv4_op *op, const dsv4_tensor_list *in, int64_t t0, int64_t n)
{
    dsv4_tensor_list part = {0};
    for (size_t i = 0; i < op->n_tensors; i++) {
        const dsv4_tensor *t = dsv4_tensor_list_find(in, op->tensors[i].name);
        if (t == NULL) {
            continue;
        }
        put_copy(&part, op->tensors[i].name, has_token_rows(&op->tensors[i]) ? rows_of(*t, t0, n) : *t);
    }
    if (dsv4_tensor_list_find(&part, "num_tokens") != NULL) {
        *scalar_of(&part, "num_tokens") = (int32_t)n;
    }
    return part;
}

/* ---- references ----------------------------------------------------------------------------------------------------------- */

static dsv4_tensor_list run_golden(const dsv4_op *op, const dsv4_config *config, const dsv4_tensor_list *in, dsv4_compat compat)
{
    dsv4_tensor_list out = {0};
    dsv4_error err = {0};
    const golden *g = golden_find(op->name);
    assert_non_null(g);
    require_ok(g->run(config, &(dsv4_numerics){.compat = compat}, in, &out, NULL, &err), &err);
    return out;
}

/* By the operator's own rules; and of BF16 and integer outputs one element in 50 may differ in a bit. */
static void compare(const sealed *s, const dsv4_tensor_list *expected, const char *what)
{
    for (size_t i = 0; i < s->op->n_tensors; i++) {
        const op_tensor *row = &s->op->tensors[i];
        if (!op_is_output(row)) {
            continue;
        }
        const dsv4_tensor a = get_tensor(&s->io, row->name), e = get_tensor(expected, row->name);
        dsv4_error err = {0};
        cmp_result result;
        require_ok(cmp_tensors(row->name, &a, &e, &row->rule, &result, &err), &err);
        if (!result.pass) {
            fail_msg("%s, %s: %lld of %lld elements of %s over tolerance, the worst is %.9g, expected %.9g", s->op->name, what,
                     (long long)result.n_bad, (long long)result.n, row->name, result.worst_actual, result.worst_expected);
        }
        if (a.dtype != DSV4_F32) {
            assert_in_range(count_bit_mismatches(&a, &e), 0, dsv4_tensor_count(&a) / 50);
        }
    }
}

/* ---- the same bits ---------------------------------------------------------------------------------------------------------- */

static void check_run(const dsv4_op *op, const dsv4_config *config, const dsv4_tensor_list *in, const sealed *reference,
                      dsv4_op_options options, const char *what)
{
    sealed s = run_rows(op, config, in, 0, 0, options, pool);
    assert_same_rows(&s, reference, 0, what);
    sealed_deinit(&s);
}

static void check_orders(const dsv4_op *op, const dsv4_config *config, const dsv4_tensor_list *in, const sealed *reference)
{
    for (int deps = DSV4_DEPS_BLOCK; deps <= DSV4_DEPS_TENSOR; deps++) {
        sealed s = seal_rows(op, config, in, 0, 0, (dsv4_op_options){0}, (dsv4_deps)deps);
        for (uint64_t order = 0; order < N_ORDERS; order++) {
            dsv4_error err = {0};
            require_ok(replay(&s, pool, order, &err), &err);
            assert_same_rows(&s, reference, 0, "an order");
        }
        int64_t n_findings = 0;
        dsv4_error err = {0};
        if (deps == DSV4_DEPS_BLOCK) { /* coarser ones have all of its edges */
            require_ok(dsv4_graph_verify(s.graph, 3, &n_findings, &err), &err);
        }
        assert_int_equal(n_findings, 0);
        sealed_deinit(&s);
    }
}

static void check_instruction_sets(const dsv4_op *op, const dsv4_config *config, const dsv4_tensor_list *in,
                                   const sealed *reference)
{
    for (const uk_table *const *uk = uk_all(); *uk != NULL; uk++) {
        if (uk_is_supported(*uk)) {
            check_run(op, config, in, reference, (dsv4_op_options){.isa = (*uk)->isa}, (*uk)->isa);
        }
    }
}

/* Every tile at its least, at some more and at a large value. */
static void check_tiles(const dsv4_op *op, const dsv4_config *config, const dsv4_tensor_list *in, const sealed *reference)
{
    for (int64_t scale = 1; scale <= 64; scale *= 4) {
        char texts[OP_MAX_TILES][64];
        const char *sets[OP_MAX_TILES];
        for (size_t i = 0; i < op->n_tiles; i++) {
            const op_tile *tile = &op->tiles[i];
            snprintf(texts[i], sizeof texts[i], "%s=%lld", tile->name,
                     (long long)(tile->chunks_of != NULL ? 1 : tile->multiple_of * scale));
            sets[i] = texts[i];
        }
        check_run(op, config, in, reference, (dsv4_op_options){.sets = sets, .n_sets = op->n_tiles}, texts[0]);
    }
}

/* Each token alone, and some together. */
static void check_company(const dsv4_op *op, const dsv4_config *config, const dsv4_tensor_list *in, const sealed *reference)
{
    for (int64_t t = 0; t < N_TOKENS; t += COMPANY_STEP) {
        const int64_t n = t % 3 == 2 && t + 4 <= N_TOKENS ? 4 : 1;
        dsv4_tensor_list part = tokens_of(op, in, t, n);
        sealed s = run_rows(op, config, &part, 0, 0, (dsv4_op_options){.mode = DSV4_PREFILL}, pool);
        assert_same_rows(&s, reference, t, "a token in other company");
        sealed_deinit(&s);
        dsv4_tensor_list_deinit(&part);
    }
}

static bool is_by_token(const dsv4_op *op)
{
    bool by_token = has_token_rows(&op->tensors[0]);
    for (size_t i = 0; i < op->n_tensors; i++) {
        by_token = by_token && (!op_is_output(&op->tensors[i]) || has_token_rows(&op->tensors[i]));
    }
    return by_token;
}

/* Everything for one call. */
static void check_call(const dsv4_op *op, const dsv4_config *config, const dsv4_tensor_list *in)
{
    dsv4_tensor_list expected = run_golden(op, config, in, DSV4_CORRECT);
    sealed reference = run_rows(op, config, in, 0, 0, (dsv4_op_options){0}, pool);
    compare(&reference, &expected, "the reference");
    check_run(op, config, in, &reference, (dsv4_op_options){.mode = DSV4_PREFILL}, "prefill");
    check_orders(op, config, in, &reference);
    check_instruction_sets(op, config, in, &reference);
    check_tiles(op, config, in, &reference);
    if (is_by_token(op)) {
        check_company(op, config, in, &reference);
    }
    sealed_deinit(&reference);
    dsv4_tensor_list_deinit(&expected);
}

/* Extents beside multiples of panels, groups and chunks. */
static dsv4_config strange(int64_t hidden, int64_t inner, int64_t experts, int64_t per_token, int64_t vocabulary)
{
    dsv4_config config = preset("tiny");
    config.hidden_size = hidden;
    config.moe_intermediate_size = inner;
    config.n_routed_experts = experts;
    config.num_experts_per_tok = per_token;
    config.vocab_size = vocabulary;
    return config;
}

static void check_configs(const char *name, const dsv4_config *configs)
{
    const dsv4_op *op = find_op(name);
    for (size_t i = 0; i < N_CONFIGS; i++) {
        dsv4_tensor_list in = draw_inputs(op, &configs[i], N_TOKENS, 0);
        check_call(op, &configs[i], &in);
        dsv4_tensor_list_deinit(&in);
    }
}

static void check_op(const char *name)
{
    const dsv4_config configs[] = {strange(3, 1, 1, 1, 2), strange(100, 70, 5, 3, 37), preset("tiny"),
                                   strange(515, 33, 40, 6, 101)};
    check_configs(name, configs);
}

/* ---- routing -------------------------------------------------------------------------------------------------------------- */

static void check_routing(const char *name)
{
    const dsv4_op *op = find_op(name);
    const dsv4_config config = preset("tiny");
    check_op(name);
    dsv4_tensor_list in = draw_inputs(op, &config, N_TOKENS, 0);
    *scalar_of(&in, "layer_id") = 0; /* by hash */
    check_call(op, &config, &in);
    *scalar_of(&in, "num_tokens") = 5;
    ((int64_t *)get_tensor(&in, "input_ids").data)[5] = -1;
    dsv4_tensor_list expected = run_golden(op, &config, &in, DSV4_CORRECT);
    sealed s = run_rows(op, &config, &in, 0, 0, (dsv4_op_options){0}, pool);
    compare(&s, &expected, "five of the tokens");
    sealed_deinit(&s);
    dsv4_tensor_list_deinit(&expected);
    dsv4_tensor_list_deinit(&in);
}

static void test_gate(void **state)
{
    (void)state;
    check_routing("gate");
}

/* A score has the first of equals first, and the bias chooses without weighing. */
static void test_gate_choice(void **state)
{
    const dsv4_op *op = find_op("gate");
    const dsv4_config config = preset("tiny");
    dsv4_tensor_list in = draw_inputs(op, &config, 2, 0);
    const dsv4_tensor w = get_tensor(&in, "gate_w");
    float *bias = get_tensor(&in, "gate_bias").data;
    (void)state;
    memset(w.data, 0, dsv4_tensor_bytes(&w));
    for (int e = 0; e < 8; e++) {
        bias[e] = e == 5 ? 1 : 0;
    }
    sealed s = run_rows(op, &config, &in, 0, 0, (dsv4_op_options){0}, pool);
    const int32_t *indices = get_tensor(&s.io, "indices").data;
    const float *weights = get_tensor(&s.io, "weights").data;
    for (int t = 0; t < 2; t++) {
        assert_int_equal(indices[2 * t], 5);
        assert_int_equal(indices[2 * t + 1], 0);
        assert_true(weights[2 * t] == 0.75f && weights[2 * t + 1] == 0.75f);
    }
    sealed_deinit(&s);
    dsv4_tensor_list_deinit(&in);
}

static void test_experts(void **state)
{
    (void)state;
    check_op("expert_shared");
    check_op("expert_routed");
}

static void test_fp4_experts(void **state)
{
    const dsv4_config configs[] = {strange(32, 64, 1, 1, 2), strange(96, 32, 5, 3, 37), preset("tiny"),
                                   strange(544, 160, 40, 6, 101)};
    (void)state;
    check_configs("expert_routed_fp4", configs);
}

/* A row's result does not depend on how many rows its expert received beside it. */
static void test_fp4_rows_in_other_company(void **state)
{
    const dsv4_op *op = find_op("expert_routed_fp4");
    const dsv4_config config = preset("tiny");
    dsv4_tensor_list in = draw_inputs(op, &config, N_TOKENS, 0);
    const dsv4_tensor counts = get_tensor(&in, "recv_expert_count"), x = get_tensor(&in, "recv_x");
    const int64_t E = x.shape[0], room = x.shape[1], row_bytes = config.hidden_size * (int64_t)sizeof(uint16_t);
    (void)state;
    for (int64_t e = 0; e < E; e++) {
        ((int32_t *)counts.data)[e] = (int32_t)room;
    }
    sealed full = run_rows(op, &config, &in, 0, 0, (dsv4_op_options){0}, pool);
    for (int64_t n = 0; n < room; n += 3) {
        for (int64_t e = 0; e < E; e++) {
            ((int32_t *)counts.data)[e] = (int32_t)n;
        }
        sealed part = run_rows(op, &config, &in, 0, 0, (dsv4_op_options){0}, pool);
        const char *a = get_tensor(&part.io, "recv_y").data, *b = get_tensor(&full.io, "recv_y").data;
        for (int64_t e = 0; e < E; e++) {
            assert_memory_equal(a + e * room * row_bytes, b + e * room * row_bytes, (size_t)(n * row_bytes));
        }
        sealed_deinit(&part);
    }
    sealed_deinit(&full);
    dsv4_tensor_list_deinit(&in);
}

static void test_dispatch_and_combine(void **state)
{
    (void)state;
    check_op("dispatch");
    check_op("combine");
}

static void test_moe(void **state)
{
    (void)state;
    check_routing("moe");
}

static void test_lm_head(void **state)
{
    (void)state;
    check_op("lm_head");
}

static void test_mtp_projection(void **state)
{
    (void)state;
    check_op("mtp_projection");
}

/* ---- vectors -------------------------------------------------------------------------------------------------------------- */

static void test_vector_file(void **state)
{
    vector_file v = vector_file_open(*state);
    sealed s = run_rows(find_op(v.kernel), &v.config, &v.in, 0, 0, (dsv4_op_options){.numerics.compat = DSV4_REFERENCE}, pool);
    compare(&s, &v.expected, *state);
    sealed_deinit(&s);
    vector_file_close(&v);
}

/* Tensor t of several ranks as rank r has it: its own part, or of what the ranks share the whole, their parts behind each other. */
static dsv4_tensor of_rank(const dsv4_tensor *t, bool is_shared, int64_t r)
{
    const size_t part = dsv4_tensor_bytes(t) / (size_t)t->shape[0];
    int64_t shape[DSV4_MAX_DIMS];
    memcpy(shape, t->shape + 1, sizeof shape - sizeof *shape);
    shape[0] *= is_shared ? t->shape[0] : 1;
    return dsv4_tensor_make(t->dtype, t->n_dims - 1, shape, (char *)t->data + (is_shared ? 0 : (size_t)r * part));
}

/* Two ranks with tokens of their own and half of the experts each: as one rank that has all experts, for the tokens of each. */
static void test_two_ranks(void **state)
{
    vector_file v = vector_file_open("ranks/moe_ep2_hash_n5");
    const dsv4_op *op = find_op("moe");
    (void)state;
    for (int64_t r = 0; r < 2; r++) {
        dsv4_tensor_list in = {0}, expected = {0};
        for (size_t i = 0; i < v.in.n; i++) {
            const char *name = v.in.items[i].name;
            const dsv4_tensor *t = &v.in.items[i].tensor;
            put_copy(&in, name, t->n_dims == 0 ? *t : of_rank(t, strncmp(name, "routed", 6) == 0, r));
        }
        put_copy(&expected, "x_next", of_rank(dsv4_tensor_list_find(&v.expected, "x_next"), false, r));
        sealed s = run_rows(op, &v.config, &in, 0, 0, (dsv4_op_options){.numerics.compat = DSV4_REFERENCE}, pool);
        compare(&s, &expected, "a rank of two");
        sealed_deinit(&s);
        dsv4_tensor_list_deinit(&in);
        dsv4_tensor_list_deinit(&expected);
    }
    vector_file_close(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gate),
        cmocka_unit_test(test_gate_choice),
        cmocka_unit_test(test_experts),
        cmocka_unit_test(test_fp4_experts),
        cmocka_unit_test(test_fp4_rows_in_other_company),
        cmocka_unit_test(test_dispatch_and_combine),
        cmocka_unit_test(test_moe),
        cmocka_unit_test(test_two_ranks),
        cmocka_unit_test(test_lm_head),
        cmocka_unit_test(test_mtp_projection),
        VECTOR(gate_hash),
        VECTOR(gate_score),
        VECTOR(gate_score_n5),
        VECTOR(expert_shared),
        VECTOR(expert_routed),
        VECTOR(dispatch_ep1),
        VECTOR(combine_ep1),
        VECTOR(moe_ep1_score),
        VECTOR(lm_head_tp2),
        VECTOR(mtp_projection),
    };
    return cmocka_run_group_tests(tests, create_pool, destroy_pool);
}
