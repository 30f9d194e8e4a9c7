/* Sparse attention with its output projection: vectors of the reference implementation, the golden at presets and strange
 * dimensions, and the same bits whatever the schedule and the company. */
#include "ops/sparse_case.h"

#include <stdio.h>

#include "vector_file.h"

static const char *const names[] = {"decode_sparse_attn", "decode_sparse_attn_hca", "decode_sparse_attn_swa",
                                    "prefill_sparse_attn"};

enum { N_FORMS = sizeof names / sizeof *names };

/* ---- vectors ------------------------------------------------------------------------------------------------------------ */

/* The operator's rule, and at most so many elements that differ in a bit. */
static void compare_out(const char *what, const dsv4_tensor *actual, const dsv4_tensor *expected, int64_t max_mismatches)
{
    const op_tensor *row = &op_prefill_sparse_attn.tensors[op_prefill_sparse_attn.n_tensors - 1];
    dsv4_error err = {0};
    cmp_result result;
    require_ok(cmp_tensors("attn_out", actual, expected, &row->rule, &result, &err), &err);
    const int64_t mismatches = count_bit_mismatches(actual, expected);
    if (!result.pass || mismatches > max_mismatches) {
        fail_msg("%s: %lld of %lld elements over tolerance, %lld differ in a bit, the worst is %.9g, expected %.9g", what,
                 (long long)result.n_bad, (long long)result.n, (long long)mismatches, result.worst_actual, result.worst_expected);
    }
}

static void test_vector_file(void **state)
{
    vector_file v = vector_file_open(*state);
    const dsv4_tensor want = get_tensor(&v.expected, "attn_out");
    for (int mode = DSV4_DECODE; mode <= DSV4_PREFILL; mode++) {
        sealed s = run_rows(find_op(v.kernel), &v.config, &v.in, 0, 0, (dsv4_op_options){.mode = (dsv4_mode)mode}, pool);
        const dsv4_tensor got = get_tensor(&s.io, "attn_out");
        compare_out(*state, &got, &want, 2);
        sealed_deinit(&s);
    }
    vector_file_close(&v);
}

/* ---- golden ------------------------------------------------------------------------------------------------------------- */

/* RMS of the difference as a share of the RMS of what is expected. */
static double relative_error(const dsv4_tensor *actual, const dsv4_tensor *expected)
{
    double difference = 0, total = 0;
    for (int64_t i = 0; i < dsv4_tensor_count(actual); i++) {
        const double a = dsv4_tensor_get(actual, i), e = dsv4_tensor_get(expected, i);
        difference += (a - e) * (a - e);
        total += e * e;
    }
    return total > 0 ? sqrt(difference / total) : difference;
}

/* Both sides round the same formula and sum in another order. Now and then an INT8 value rounds the other way; that moves a token's
 * whole row by less than a BF16 step, so that a share of it rounds otherwise. */
static void check_golden(const sparse_case *c, dsv4_numerics numerics)
{
    dsv4_tensor_list out = {0};
    dsv4_error err = {0};
    char what[128];
    snprintf(what, sizeof what, "%s, D=%lld, %lld requests of %lld tokens, act_scale %d", c->op->name,
             (long long)c->config.hidden_size, (long long)c->B, (long long)c->S, numerics.act_scale);
    require_ok(golden_find(c->op->name)->run(&c->config, &numerics, &c->in, &out, NULL, &err), &err);
    sealed s = run_case(c, (dsv4_op_options){.mode = is_prefill(c) ? DSV4_PREFILL : DSV4_DECODE, .numerics = numerics});
    const dsv4_tensor got = get_tensor(&s.io, "attn_out"), want = get_tensor(&out, "attn_out");
    compare_out(what, &got, &want, dsv4_tensor_count(&got) / 4 + got.shape[1]);
    const double error = relative_error(&got, &want);
    if (error > 3e-3) {
        fail_msg("%s: relative error %.2g", what, error);
    }
    sealed_deinit(&s);
    dsv4_tensor_list_deinit(&out);
}

static void check_form(const char *name, const dsv4_config *config, int64_t B, int64_t S)
{
    sparse_case c = make_case(name, config, B, S, (uint64_t)(7 * B + S));
    check_golden(&c, (dsv4_numerics){0});
    dsv4_tensor_list_deinit(&c.in);
}

static void check_decode_sizes(const dsv4_config *config)
{
    for (int f = 0; f < N_FORMS - 1; f++) {
        for (int64_t S = 1; S <= 2; S++) {
            check_form(names[f], config, 1, S);
            check_form(names[f], config, 4, S);
            check_form(names[f], config, 7, S);
        }
    }
}

static void test_small_model(void **state)
{
    const dsv4_config config = small_model();
    (void)state;
    check_decode_sizes(&config);
    check_form("prefill_sparse_attn", &config, 1, 1);
    check_form("prefill_sparse_attn", &config, 1, 13);
    check_form("prefill_sparse_attn", &config, 1, 129);
}

static void test_tiny(void **state)
{
    const dsv4_config config = preset("tiny");
    (void)state;
    check_decode_sizes(&config);
    check_form("prefill_sparse_attn", &config, 1, 129);
}

static void check_every_form(const dsv4_config *config, int64_t B, int64_t S, int64_t T)
{
    for (int f = 0; f < N_FORMS; f++) {
        bool prefill = strcmp(names[f], "prefill_sparse_attn") == 0;
        check_form(names[f], config, prefill ? 1 : B, prefill ? T : S);
    }
}

/* One group; more groups than are heads in a panel; heads longer than a chunk; a head that is all rotated; blocks of one key; a
 * window of several blocks, and a step of several. */
static void test_strange_dims(void **state)
{
    dsv4_config config = small_model();
    (void)state;
    config.o_groups = 1;
    config.num_attention_heads = 5;
    check_every_form(&config, 2, 2, 7);
    config.num_attention_heads = config.o_groups = 37;
    config.o_lora_rank = 3;
    check_every_form(&config, 2, 2, 7);
    config = small_model();
    config.head_dim = 1030;
    check_every_form(&config, 2, 1, 5);
    config.head_dim = config.qk_rope_head_dim = 2;
    check_every_form(&config, 2, 1, 5);
    config = small_model();
    config.attn_tile = 1;
    check_every_form(&config, 2, 2, 7);
    config.attn_tile = 5;
    check_every_form(&config, 1, 13, 7);
}

static void test_flash(void **state)
{
    const dsv4_config config = preset("flash");
    (void)state;
    check_every_form(&config, SANITIZED ? 1 : 4, SANITIZED ? 1 : 2, SANITIZED ? 1 : 13);
}

static void test_pro(void **state)
{
    const dsv4_config config = preset("pro");
    (void)state;
    if (SANITIZED) {
        skip();
    }
    check_form("decode_sparse_attn", &config, 1, 2);
    check_form("prefill_sparse_attn", &config, 1, 3);
}

static void test_act_scales(void **state)
{
    dsv4_config config = small_model();
    (void)state;
    config.o_lora_rank = 300;
    for (dsv4_act_scale a = DSV4_SCALE_GROUP; a <= DSV4_SCALE_BLOCK; a++) {
        sparse_case c = make_case("prefill_sparse_attn", &config, 1, 13, 3);
        check_golden(&c, (dsv4_numerics){.act_scale = a});
        dsv4_tensor_list_deinit(&c.in);
    }
}

/* ---- same bits ---------------------------------------------------------------------------------------------------------- */

typedef struct setting {
    const char *what;
    dsv4_mode mode;
    const char *sets[4];
} setting;

static const setting settings[] = {
    {"prefill tiles", DSV4_PREFILL, {NULL}},
    {"one key block of three", DSV4_DECODE, {"key_blocks=1", "head_group=2"}},
    {"two key blocks of three", DSV4_PREFILL, {"key_blocks=2", "head_group=1"}},
    {"all key blocks", DSV4_DECODE, {"key_blocks=3", "head_group=3"}},
    {"small tiles", DSV4_DECODE, {"t_tile=3", "a_n_tile=32", "b_n_tile=32", "norm_t_tile=1"}},
    {"large tiles", DSV4_PREFILL, {"t_tile=2147483647", "a_n_tile=2147483616", "b_n_tile=2147483616", "norm_t_tile=2147483647"}},
    {"a shared sum", DSV4_PREFILL, {"a_k_split=2", "t_tile=8"}},
    {"more shares than chunks", DSV4_DECODE, {"a_k_split=99", "t_tile=1"}},
};

static dsv4_op_options options_of(const setting *s)
{
    dsv4_op_options options = {.mode = s->mode, .sets = s->sets};
    while (options.n_sets < 4 && s->sets[options.n_sets] != NULL) {
        options.n_sets++;
    }
    return options;
}

/* GI of 560 has two chunks. */
static sparse_case make_wide_case(const char *name)
{
    dsv4_config config = small_model();
    config.head_dim = 280;
    return make_case(name, &config, strcmp(name, "prefill_sparse_attn") == 0 ? 1 : 3, 3, 11);
}

static void test_same_bits_with_any_tiles(void **state)
{
    (void)state;
    for (int f = 0; f < N_FORMS; f++) {
        for (dsv4_act_scale a = DSV4_SCALE_GROUP; a <= DSV4_SCALE_BLOCK; a++) {
            sparse_case c = make_wide_case(names[f]);
            sealed reference = run_case(&c, (dsv4_op_options){.numerics = {.act_scale = a}});
            for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
                dsv4_op_options options = options_of(&settings[i]);
                options.numerics.act_scale = a;
                sealed s = run_case(&c, options);
                assert_same_rows(&s, &reference, 0, settings[i].what);
                sealed_deinit(&s);
            }
            sealed_deinit(&reference);
            dsv4_tensor_list_deinit(&c.in);
        }
    }
}

static void test_same_bits_on_any_machine(void **state)
{
    (void)state;
    for (int f = 0; f < N_FORMS; f++) {
        sparse_case c = make_wide_case(names[f]);
        sealed reference = run_case(&c, (dsv4_op_options){.isa = "scalar"});
        for (const uk_table *const *uk = uk_all(); *uk != NULL; uk++) {
            if (!uk_is_supported(*uk)) {
                print_message("  skipped: %s, which this machine lacks\n", (*uk)->isa);
                continue;
            }
            sealed s = run_case(&c, (dsv4_op_options){.isa = (*uk)->isa});
            assert_same_rows(&s, &reference, 0, (*uk)->isa);
            sealed_deinit(&s);
        }
        sealed_deinit(&reference);
        dsv4_tensor_list_deinit(&c.in);
    }
}

static void test_same_bits_in_any_order(void **state)
{
    (void)state;
    dsv4_pool *alone = make_pool(1);
    for (int f = 0; f < N_FORMS; f++) {
        sparse_case c = make_wide_case(names[f]);
        sealed reference = run_rows(c.op, &c.config, &c.in, 0, 0, (dsv4_op_options){0}, alone),
               s = run_case(&c, (dsv4_op_options){0});
        dsv4_exec *exec;
        dsv4_error err = {0};
        require_ok(dsv4_exec_create(s.graph, pool, 0, &exec, &err), &err);
        for (uint64_t shuffle = 0; shuffle < 12; shuffle++) {
            spoil_outputs(&s);
            require_ok(dsv4_exec_run(exec, shuffle, &err), &err);
            assert_same_rows(&s, &reference, 0, "shuffled");
        }
        dsv4_exec_destroy(exec);
        sealed_deinit(&s);
        sealed_deinit(&reference);
        dsv4_tensor_list_deinit(&c.in);
    }
    dsv4_pool_destroy(alone);
}

/* Gives token t the query, list and rotation that it has in another call, whose caches are the same. */
static void copy_token(const sparse_case *from, sparse_case *to, int64_t t)
{
    static const char *const own[] = {"q", "cmp_sparse_indices", "cmp_sparse_lens", "win_bias", "freqs_cos", "freqs_sin"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        const dsv4_tensor *a = dsv4_tensor_list_find(&from->in, own[i]), *b = dsv4_tensor_list_find(&to->in, own[i]);
        if (a != NULL) {
            size_t row_bytes = dsv4_tensor_bytes(a) / (size_t)a->shape[0];
            memcpy((char *)b->data + (size_t)t * row_bytes, (const char *)a->data + (size_t)t * row_bytes, row_bytes);
        }
    }
}

/* The same call but for the queries and lists of its tokens. */
static sparse_case with_other_tokens(const char *name)
{
    sparse_case c = make_wide_case(name);
    c.random.seed++;
    fill_values(&c, "q", 1, 0);
    fill_lists(&c);
    if (is_prefill(&c)) {
        fill_lens(&c);
    }
    if (dsv4_tensor_list_find(&c.in, "win_bias") != NULL) {
        fill_win_bias(&c);
    }
    return c;
}

static void test_same_bits_in_any_company(void **state)
{
    (void)state;
    for (int f = 0; f < N_FORMS; f++) {
        sparse_case c = make_wide_case(names[f]);
        sealed reference = run_case(&c, (dsv4_op_options){0});
        for (int64_t t = 0; t < token_count(&c); t++) {
            sparse_case other = with_other_tokens(names[f]);
            copy_token(&c, &other, t);
            sealed s = run_case(&other, (dsv4_op_options){.mode = DSV4_PREFILL});
            const dsv4_tensor got = rows_of(get_tensor(&s.io, "attn_out"), t, 1);
            const dsv4_tensor want = rows_of(get_tensor(&reference.io, "attn_out"), t, 1);
            assert_int_equal(count_bit_mismatches(&got, &want), 0);
            sealed_deinit(&s);
            dsv4_tensor_list_deinit(&other.in);
        }
        sealed_deinit(&reference);
        dsv4_tensor_list_deinit(&c.in);
    }
}

/* A request alone: other tables, other numbers of rows. */
static void test_same_bits_without_company(void **state)
{
    (void)state;
    for (int f = 0; f < N_FORMS - 1; f++) {
        sparse_case c = make_wide_case(names[f]);
        sealed reference = run_case(&c, (dsv4_op_options){0});
        for (int64_t b = 0; b < c.B; b++) {
            dsv4_tensor_list one = {0};
            for (size_t i = 0; i < c.in.n; i++) {
                const dsv4_named_tensor *item = &c.in.items[i];
                bool per_token = item->tensor.shape[0] == token_count(&c), per_request = strstr(item->name, "_table") != NULL;
                if (strcmp(item->name, "win_bias") != 0) {
                    put_tensor(&one, item->name,
                               per_request ? rows_of(item->tensor, b, 1)
                               : per_token ? rows_of(item->tensor, b * c.S, c.S)
                                           : item->tensor);
                }
            }
            dsv4_graph *graph = dsv4_graph_create("one request");
            dsv4_error err = {0};
            require_ok(dsv4_op_build(c.op, &c.config, &(dsv4_op_options){0}, &one, graph, &err), &err);
            require_ok(dsv4_graph_seal(graph, DSV4_DEPS_BLOCK, &err), &err);
            sealed s = {c.op, one, graph};
            run_sealed(&s, pool);
            assert_same_rows(&s, &reference, b * c.S, "alone");
            sealed_deinit(&s);
        }
        sealed_deinit(&reference);
        dsv4_tensor_list_deinit(&c.in);
    }
}

/* ---- declarations ------------------------------------------------------------------------------------------------------- */

static void test_declarations(void **state)
{
    (void)state;
    for (int f = 0; f < N_FORMS; f++) {
        for (dsv4_act_scale a = DSV4_SCALE_GROUP; a <= DSV4_SCALE_BLOCK; a++) {
            const dsv4_config config = small_model();
            sparse_case c = make_case(names[f], &config, f == N_FORMS - 1 ? 1 : 2, 2, 5);
            setting split = {"", DSV4_DECODE, {"key_blocks=2", "head_group=3", "b_n_tile=32", "norm_t_tile=3"}};
            dsv4_op_options options = a == DSV4_SCALE_ROW ? options_of(&split) : (dsv4_op_options){.mode = DSV4_PREFILL};
            options.numerics.act_scale = a;
            sealed s = seal_rows(c.op, &c.config, &c.in, 0, 0, options, DSV4_DEPS_BLOCK);
            dsv4_error err = {0};
            require_ok(dsv4_graph_verify(s.graph, 1 + a, NULL, &err), &err);
            sealed_deinit(&s);
            dsv4_tensor_list_deinit(&c.in);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VECTOR(decode_sparse_attn_csa_fixture),
        VECTOR(decode_sparse_attn_csa_stress),
        VECTOR(decode_sparse_attn_hca_stress),
        VECTOR(decode_sparse_attn_swa_stress),
        VECTOR(prefill_sparse_attn_stress),
        cmocka_unit_test(test_small_model),
        cmocka_unit_test(test_tiny),
        cmocka_unit_test(test_strange_dims),
        cmocka_unit_test(test_flash),
        cmocka_unit_test(test_pro),
        cmocka_unit_test(test_act_scales),
        cmocka_unit_test(test_same_bits_with_any_tiles),
        cmocka_unit_test(test_same_bits_on_any_machine),
        cmocka_unit_test(test_same_bits_in_any_order),
        cmocka_unit_test(test_same_bits_in_any_company),
        cmocka_unit_test(test_same_bits_without_company),
        cmocka_unit_test(test_declarations),
    };
    return cmocka_run_group_tests(tests, create_pool, destroy_pool);
}
