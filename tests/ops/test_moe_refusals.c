/* Steps that the operators of the mixture of experts refuse, and calls that cannot be built. */
#include "ops/pool.h"

static int32_t *scalar_of(const dsv4_tensor_list *list, const char *name)
{
    return get_tensor(list, name).data;
}

typedef struct bad_step {
    const char *tensor;
    int64_t i, value;
    const char *line;
} bad_step;

static void set_element(const dsv4_tensor_list *list, const bad_step *bad, int64_t value)
{
    const dsv4_tensor t = get_tensor(list, bad->tensor);
    if (t.dtype == DSV4_I64) {
        ((int64_t *)t.data)[bad->i] = value;
    } else {
        ((int32_t *)t.data)[bad->i] = (int32_t)value;
    }
}

/* The step is refused with that line; set right, the same graph runs it. */
static void refuse(const dsv4_op *op, const dsv4_tensor_list *in, const bad_step *bad)
{
    const dsv4_config config = preset("tiny");
    const dsv4_tensor t = get_tensor(in, bad->tensor);
    const int64_t before = (int64_t)dsv4_tensor_get(&t, bad->i);
    dsv4_error err = {0};
    sealed s = seal_rows(op, &config, in, 0, 0, (dsv4_op_options){0}, DSV4_DEPS_BLOCK);
    set_element(in, bad, bad->value);
    assert_int_equal(replay(&s, pool, 0, &err), DSV4_E_VALUE);
    if (strstr(err.text, bad->line) == NULL || strncmp(err.text, op->name, strlen(op->name)) != 0) {
        fail_msg("\"%s\", expected %s and \"%s\"", err.text, op->name, bad->line);
    }
    set_element(in, bad, before);
    require_ok(replay(&s, pool, 0, &err), &err);
    sealed_deinit(&s);
}

static void check_route_refusals(const char *name)
{
    const dsv4_op *op = find_op(name);
    const dsv4_config config = preset("tiny");
    dsv4_tensor_list in = draw_inputs(op, &config, 3, 0);
    const bad_step steps[] = {
        {"num_tokens", 0, -1, "num_tokens is -1, expected 0 to 3"},
        {"num_tokens", 0, 4, "num_tokens is 4, expected 0 to 3"},
        {"num_tokens", 0, INT32_MAX, "num_tokens is 2147483647"},
        {"input_ids", 1, -1, "input_ids of token 1 is -1, expected an id in [0, 512)"},
        {"input_ids", 2, 512, "input_ids of token 2 is 512"},
        {"input_ids", 0, INT64_MIN, "input_ids of token 0 is -9223372036854775808"},
        {"tid2eid", 7 * 2 + 1, 8, "tid2eid[7, 1] is 8, expected an expert in [0, 8)"},
        {"tid2eid", 7 * 2, -1, "tid2eid[7, 0] is -1"},
    };
    *scalar_of(&in, "layer_id") = 1;
    ((int64_t *)get_tensor(&in, "input_ids").data)[1] = 7;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        refuse(op, &in, &steps[i]);
    }
    dsv4_tensor_list_deinit(&in);
}

static void test_gate_refusals(void **state)
{
    (void)state;
    check_route_refusals("gate");
}

static void check_expert_refusals(const char *name)
{
    const dsv4_op *op = find_op(name);
    const dsv4_config config = preset("tiny");
    dsv4_tensor_list in = draw_inputs(op, &config, 3, 0);
    const bad_step steps[] = {
        {"recv_expert_count", 2, -1, "recv_expert_count of expert 2 is -1, expected 0 to 3"},
        {"recv_expert_count", 7, 4, "recv_expert_count of expert 7 is 4, expected 0 to 3"},
        {"recv_expert_count", 0, INT32_MAX, "recv_expert_count of expert 0 is 2147483647"},
    };
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        refuse(op, &in, &steps[i]);
    }
    dsv4_tensor_list_deinit(&in);
}

static void test_expert_refusals(void **state)
{
    (void)state;
    check_expert_refusals("expert_routed");
    check_expert_refusals("expert_routed_fp4");
}

static void test_fp4_groups_are_whole(void **state)
{
    const dsv4_op *op = find_op("expert_routed_fp4");
    dsv4_config config = preset("tiny");
    config.moe_intermediate_size = 80;
    dsv4_tensor_list in = draw_inputs(op, &config, 3, 0);
    dsv4_graph *g = dsv4_graph_create("refused");
    dsv4_error err = {0};
    (void)state;
    assert_int_equal(dsv4_op_build(op, &config, &(dsv4_op_options){0}, &in, g, &err), DSV4_E_VALUE);
    assert_non_null(strstr(err.text, "moe_intermediate_size=80, rule: multiples of 32"));
    dsv4_graph_destroy(g);
    dsv4_tensor_list_deinit(&in);
}

static void test_dispatch_refusals(void **state)
{
    const dsv4_config config = preset("tiny");
    const bad_step dispatch = {"indices", 3, 8, "indices[1, 1] is 8, expected an expert in [0, 8)"};
    const bad_step combine[] = {
        {"recv_expert_count", 7, 4, "recv_expert_count of expert 7 is 4, expected 0 to 3"},
        {"recv_token", 0, 3, "recv_token[0, 0] is 3, expected a token in [0, 3)"},
        {"recv_token", 0, -1, "recv_token[0, 0] is -1"},
    };
    (void)state;
    dsv4_tensor_list in = draw_inputs(find_op("dispatch"), &config, 3, 0);
    refuse(find_op("dispatch"), &in, &dispatch);
    dsv4_tensor_list_deinit(&in);
    in = draw_inputs(find_op("combine"), &config, 3, 0);
    *scalar_of(&in, "recv_expert_count") = 1;
    for (size_t i = 0; i < sizeof combine / sizeof *combine; i++) {
        refuse(find_op("combine"), &in, &combine[i]);
    }
    dsv4_tensor_list_deinit(&in);
}

/* Seventeen tokens that want one expert twice, whose room is four times its share of the routes. */
static void test_dispatch_overflow(void **state)
{
    const dsv4_op *op = find_op("dispatch");
    const dsv4_config config = preset("tiny");
    dsv4_tensor_list in = draw_inputs(op, &config, 17, 0);
    const dsv4_tensor indices = get_tensor(&in, "indices");
    dsv4_error err = {0};
    (void)state;
    for (int64_t i = 0; i < dsv4_tensor_count(&indices); i++) {
        ((int32_t *)indices.data)[i] = 5;
    }
    sealed s = seal_rows(op, &config, &in, 0, 0, (dsv4_op_options){0}, DSV4_DEPS_BLOCK);
    assert_int_equal(replay(&s, pool, 0, &err), DSV4_E_VALUE);
    assert_string_equal(err.text, "dispatch: expert 5 has more than the 17 rows that there is room for");
    sealed_deinit(&s);
    dsv4_tensor_list_deinit(&in);
}

static void test_moe_refusals(void **state)
{
    (void)state;
    check_route_refusals("moe");
}

static void test_hash_layers_need_their_table(void **state)
{
    const dsv4_op *op = find_op("gate");
    const dsv4_config config = preset("tiny");
    dsv4_tensor_list in = draw_inputs(op, &config, 3, 0), without = {0};
    dsv4_graph *g = dsv4_graph_create("refused");
    dsv4_error err = {0};
    (void)state;
    *scalar_of(&in, "layer_id") = 0;
    for (size_t i = 0; i < in.n; i++) {
        if (strcmp(in.items[i].name, "tid2eid") != 0) {
            put_tensor(&without, in.items[i].name, in.items[i].tensor);
        }
    }
    assert_int_equal(dsv4_op_build(op, &config, &(dsv4_op_options){0}, &without, g, &err), DSV4_E_NOT_FOUND);
    assert_non_null(strstr(err.text, "gate: input tid2eid is missing, layer 0 routes by hash"));
    dsv4_graph_destroy(g);
    dsv4_tensor_list_deinit(&without);
    dsv4_tensor_list_deinit(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gate_refusals),        cmocka_unit_test(test_expert_refusals),
        cmocka_unit_test(test_dispatch_refusals),    cmocka_unit_test(test_dispatch_overflow),
        cmocka_unit_test(test_moe_refusals),         cmocka_unit_test(test_hash_layers_need_their_table),
        cmocka_unit_test(test_fp4_groups_are_whole),
    };
    return cmocka_run_group_tests(tests, create_pool, destroy_pool);
}
