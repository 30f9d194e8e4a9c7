/* Attention layers far into a context: states in rings of pages, key lists longer than one round of attention, and memory between
 * stages that does not follow the context. The model is TINY: key blocks of 16. */
#include "ops/pool.h"

#include "golden/golden.h"

enum { B = 2, S = 2 };

/* A drawn decode step at the end of a context. */
typedef struct step {
    const dsv4_op *op;
    dsv4_config config;
    dsv4_tensor_list in;
} step;

static step draw_step(const char *name, int64_t context)
{
    step x = {.op = find_op(name), .config = preset("tiny")};
    const op_call call = {
        .mode = DSV4_DECODE, .n_requests = B, .n_tokens = S, .start_pos = context - S, .ratio = x.op->ratio, .seed = 3};
    dsv4_error err = {0};
    x.config.max_position_embeddings = context;
    require_ok(op_draw_inputs(x.op, &x.config, &call, &x.in, &err), &err);
    return x;
}

/* The second request is where the first one was long ago. */
static void move_back(const step *x, int32_t context)
{
    ((int32_t *)get_tensor(&x->in, "kv_seq_lens").data)[1] = context;
    for (int32_t s = 0; s < S; s++) {
        ((int32_t *)get_tensor(&x->in, "position_ids").data)[S + s] = context - S + s;
    }
}

static dsv4_op_options with_key_blocks(const char **setting)
{
    return (dsv4_op_options){.mode = DSV4_DECODE, .sets = setting, .n_sets = 1};
}

static void expect_golden(const step *x, const sealed *s)
{
    dsv4_tensor_list expected = {0};
    dsv4_error err = {0};
    require_ok(golden_find(x->op->name)->run(&x->config, &(dsv4_numerics){0}, &x->in, &expected, NULL, &err), &err);
    for (size_t i = 0; i < x->op->n_tensors; i++) {
        const op_tensor *row = &x->op->tensors[i];
        const dsv4_tensor *e = dsv4_tensor_list_find(&expected, row->name);
        if (op_is_output(row) && e != NULL) {
            const dsv4_tensor a = get_tensor(&s->io, row->name);
            cmp_result result;
            require_ok(cmp_tensors(row->name, &a, e, &row->rule, &result, &err), &err);
            if (!result.pass) {
                fail_msg("%s: %lld of %lld elements over tolerance", row->name, (long long)result.n_bad, (long long)result.n);
            }
        }
    }
    dsv4_tensor_list_deinit(&expected);
}

static int64_t count_stages(const sealed *s, const char *name)
{
    dsv4_exec *exec;
    dsv4_error err = {0};
    dsv4_stage_time stages[128];
    const int64_t n = dsv4_graph_get_info(s->graph).n_stages;
    int64_t count = 0;
    assert_true(n <= 128);
    require_ok(dsv4_exec_create(s->graph, pool, 1, &exec, &err), &err);
    require_ok(dsv4_exec_stage_times(exec, stages, &err), &err);
    for (int64_t i = 0; i < n; i++) {
        count += strcmp(stages[i].name, name) == 0;
    }
    dsv4_exec_destroy(exec);
    return count;
}

/* 16 ring rows, 2 tokens and 391 windows on 26 key blocks: in rounds of 8, in rounds of 8 times 1, in one of 13 times 2, by one. */
static void rounds_do_not_change_a_bit(void **state)
{
    static const struct {
        const char *setting;
        int64_t n_core, n_merge;
    } cases[] = {{"key_blocks=1", 4, 4}, {"key_blocks=2", 1, 1}, {"key_blocks=26", 1, 0}};
    step x = draw_step("decode_attention_hca", 50048);
    (void)state;
    move_back(&x, 101);
    const char *setting = cases[0].setting;
    sealed first = run_rows(x.op, &x.config, &x.in, 0, 0, with_key_blocks(&setting), pool);
    expect_golden(&x, &first);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        setting = cases[i].setting;
        sealed s = run_rows(x.op, &x.config, &x.in, 0, 0, with_key_blocks(&setting), pool);
        assert_int_equal(count_stages(&s, "attn.core"), cases[i].n_core);
        assert_int_equal(count_stages(&s, "attn.merge"), cases[i].n_merge);
        assert_same_rows(&s, &first, 0, setting);
        sealed_deinit(&s);
    }
    sealed_deinit(&first);
    dsv4_tensor_list_deinit(&x.in);
}

static void rounds_declare_what_they_touch(void **state)
{
    (void)state;
    if (SANITIZED) { /* every block runs twice; other tests show its accesses */
        skip();
    }
    step x = draw_step("decode_attention_hca", 50048);
    dsv4_error err = {0};
    const char *setting = "core_heads=4";
    move_back(&x, 101);
    sealed s = seal_rows(x.op, &x.config, &x.in, 0, 0, with_key_blocks(&setting), DSV4_DEPS_BLOCK);
    require_ok(dsv4_graph_verify(s.graph, 5, NULL, &err), &err);
    expect_golden(&x, &s);
    sealed_deinit(&s);
    dsv4_tensor_list_deinit(&x.in);
}

static void csa_is_right_far_out(void **state)
{
    step x = draw_step("decode_attention_csa", 20000);
    (void)state;
    move_back(&x, 7001);
    sealed s = run_rows(x.op, &x.config, &x.in, 0, 0, (dsv4_op_options){.mode = DSV4_DECODE}, pool);
    expect_golden(&x, &s);
    sealed_deinit(&s);
    dsv4_tensor_list_deinit(&x.in);
}

static int64_t between_bytes(const char *name, int64_t context)
{
    step x = draw_step(name, context);
    sealed s = seal_rows(x.op, &x.config, &x.in, 0, 0, (dsv4_op_options){.mode = DSV4_DECODE}, DSV4_DEPS_BLOCK);
    const int64_t bytes = dsv4_graph_get_info(s.graph).between_bytes;
    sealed_deinit(&s);
    dsv4_tensor_list_deinit(&x.in);
    return bytes;
}

/* CSA: the same at any context. HCA: but for two lists of four bytes per window and token, and a key block to round up. */
static void memory_does_not_follow_the_context(void **state)
{
    const int64_t n_windows = (100352 - 50048) / 128;
    (void)state;
    assert_int_equal(between_bytes("decode_attention_csa", 100352), between_bytes("decode_attention_csa", 20096));
    const int64_t growth = between_bytes("decode_attention_hca", 100352) - between_bytes("decode_attention_hca", 50048);
    assert_true(growth >= B * S * n_windows * 8 && growth <= B * S * (n_windows + 16) * 8 + 128);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounds_do_not_change_a_bit),
        cmocka_unit_test(rounds_declare_what_they_touch),
        cmocka_unit_test(csa_is_right_far_out),
        cmocka_unit_test(memory_does_not_follow_the_context),
    };
    return cmocka_run_group_tests(tests, create_pool, destroy_pool);
}
