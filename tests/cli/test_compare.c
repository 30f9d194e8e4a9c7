/* What `run` and `check` do with the tensors of an operator: state that is updated in place, inputs that may be missing, rows of
 * valid tokens, lists of chosen rows. The operator is made up; it is never built. */
#include "require.h"

#include <math.h>
#include <string.h>

#include "cli/compare.h"
#include "cli/launch.h"

enum { N_TOKENS = 3, N_PAGES = 2, N_SCORES = 4, N_CHOSEN = 2, WINDOW = 16 };

static const op_tensor tensors[] = {
    {"x", DSV4_F32, OP_IN, "T,2", "rows", {0}, NULL, {0}},
    {"table", DSV4_F32, OP_IN | OP_OPTIONAL, "IP,2", "may be missing", {0}, NULL, {0}},
    {"state", DSV4_F32, OP_INOUT, "SP,2", "updated in place", {0}, NULL, {CMP_EXACT, 0, 0, 0, 0}},
    {"spare", DSV4_F32, OP_INOUT | OP_OPTIONAL, "JP,2", "state that may be missing", {0}, NULL, {CMP_EXACT, 0, 0, 0, 0}},
    {"y", DSV4_F32, OP_OUT, "T,2", "a row for each token", {0}, NULL, {CMP_EXACT, 0, 0, 0, 0}},
    {"score", DSV4_F32, OP_OUT, "T,SL", "scores", {0}, NULL, {CMP_RATIO, 1e-4, 1.0 / 128, 0.5, 0}},
    {"topk", DSV4_I32, OP_OUT, "T,KL", "chosen rows", {0}, NULL, {CMP_TOPK, 1e-4, 1.0 / 128, 0, 0}},
    {"n", DSV4_I32, OP_IN, "", "valid tokens", {0}, NULL, {0}},
    {"offset", DSV4_I32, OP_IN, "", "added to the rows", {0}, NULL, {0}},
    {"cache", DSV4_F32, OP_OUT | OP_OR_I8, "WP,2", "or quantised", {0}, NULL, {CMP_RATIO, 1e-4, 1.0 / 128, 0.25, 0}},
};

static const dsv4_op plain = {.name = "plain",
                              .tensors = tensors,
                              .n_tensors = sizeof tensors / sizeof *tensors,
                              .topk_scores = "score",
                              .topk_offset = "offset"};

static dsv4_op changed(const char *valid_tokens, const char *offset)
{
    dsv4_op op = plain;
    op.valid_tokens = valid_tokens;
    op.topk_offset = offset;
    return op;
}

/* ---- tensors ------------------------------------------------------------------------------------------------------------ */

static void *add(dsv4_tensor_list *list, const char *name, dsv4_dtype dtype, int n_dims, int64_t rows, int64_t cols)
{
    dsv4_tensor t;
    dsv4_error err = {0};
    require_ok(dsv4_tensor_list_alloc(list, name, dtype, n_dims, (const int64_t[]){rows, cols}, &t, &err), &err);
    return t.data;
}

static void *data_of(const dsv4_tensor_list *list, const char *name)
{
    return dsv4_tensor_list_find(list, name)->data;
}

static dsv4_tensor_list make_inputs(int32_t n, int32_t offset)
{
    dsv4_tensor_list list = {0};
    float *state = add(&list, "state", DSV4_F32, 2, N_PAGES, 2);
    add(&list, "x", DSV4_F32, 2, N_TOKENS, 2);
    *(int32_t *)add(&list, "n", DSV4_I32, 0, 0, 0) = n;
    *(int32_t *)add(&list, "offset", DSV4_I32, 0, 0, 0) = offset;
    for (int i = 0; i < 2 * N_PAGES; i++) {
        state[i] = (float)(i + 1);
    }
    return list;
}

static const float scores[N_SCORES] = {3, 9, 5, 5};

/* Outputs as an operator leaves them; the two best rows are 1 and then 2 or 3. */
static void add_outputs(dsv4_tensor_list *list, int32_t offset)
{
    float *score = add(list, "score", DSV4_F32, 2, N_TOKENS, N_SCORES);
    int32_t *topk = add(list, "topk", DSV4_I32, 2, N_TOKENS, N_CHOSEN);
    add(list, "y", DSV4_F32, 2, N_TOKENS, 2);
    for (int t = 0; t < N_TOKENS; t++) {
        memcpy(score + t * N_SCORES, scores, sizeof scores);
        topk[t * N_CHOSEN] = offset + 1;
        topk[t * N_CHOSEN + 1] = offset + 2;
    }
}

/* A call after its run, and what is expected of it: the same. */
typedef struct call {
    dsv4_tensor_list io, expected;
} call;

static call make_call(int32_t n, int32_t offset, int32_t added)
{
    call c = {make_inputs(n, offset), make_inputs(n, offset)};
    add_outputs(&c.io, added);
    add_outputs(&c.expected, added);
    return c;
}

static void call_deinit(call *c)
{
    dsv4_tensor_list_deinit(&c->io);
    dsv4_tensor_list_deinit(&c->expected);
}

static dsv4_status compare(const dsv4_op *op, const call *c, bool *pass, dsv4_error *err)
{
    dsv4_config config = preset("tiny");
    assert_int_equal(config.sliding_window, WINDOW);
    json_t *outputs = json_array();
    dsv4_status status = compare_outputs(op, &config, &c->io, &c->expected, outputs, pass, err);
    json_decref(outputs);
    return status;
}

static bool agrees(const dsv4_op *op, const call *c)
{
    bool pass = false;
    dsv4_error err = {0};
    require_ok(compare(op, c, &pass, &err), &err);
    return pass;
}

static void assert_refused(const dsv4_op *op, const call *c, dsv4_status expected, const char *text)
{
    bool pass;
    dsv4_error err = {0};
    assert_int_equal(compare(op, c, &pass, &err), expected);
    if (strstr(err.text, text) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err.text, text);
    }
}

/* ---- state --------------------------------------------------------------------------------------------------------------- */

static void test_state_is_isolated(void **state)
{
    (void)state;
    dsv4_tensor_list pristine = make_inputs(1, 0), io = {0};
    dsv4_error err = {0};
    require_ok(launch_isolate(&plain, &pristine, &io, &err), &err);
    assert_ptr_equal(data_of(&io, "x"), data_of(&pristine, "x"));
    assert_null(dsv4_tensor_list_find(&io, "table"));
    assert_null(dsv4_tensor_list_find(&io, "spare"));
    assert_memory_equal(data_of(&io, "state"), data_of(&pristine, "state"), 2 * N_PAGES * sizeof(float));
    ((float *)data_of(&io, "state"))[3] = 77;
    assert_true(((float *)data_of(&pristine, "state"))[3] == 4);

    add_outputs(&io, 0);
    launch_restore(&plain, &pristine, &io);
    assert_memory_equal(data_of(&io, "state"), data_of(&pristine, "state"), 2 * N_PAGES * sizeof(float));
    assert_int_equal(((int32_t *)data_of(&io, "topk"))[0], 0);
    assert_int_equal(*(int32_t *)data_of(&io, "n"), 1);
    dsv4_tensor_list_deinit(&io);
    dsv4_tensor_list_deinit(&pristine);
}

static void test_state_is_compared(void **state)
{
    (void)state;
    call c = make_call(1, 0, 0);
    assert_true(agrees(&plain, &c));
    ((float *)data_of(&c.io, "state"))[3] = 5;
    assert_false(agrees(&plain, &c));
    call_deinit(&c);
}

/* ---- rows of valid tokens ------------------------------------------------------------------------------------------------ */

static void test_valid_tokens(void **state)
{
    (void)state;
    const dsv4_op op = changed("n", "offset");
    call c = make_call(2, 0, 0);
    ((float *)data_of(&c.io, "y"))[2 * 2] = 1; /* the row behind the valid ones */
    ((int32_t *)data_of(&c.io, "topk"))[2 * 2] = -5;
    assert_true(agrees(&op, &c));
    assert_false(agrees(&plain, &c));
    ((float *)data_of(&c.io, "y"))[2 * 2 - 1] = 1; /* the last valid row */
    assert_false(agrees(&op, &c));
    ((float *)data_of(&c.io, "y"))[2 * 2 - 1] = 0;
    ((float *)data_of(&c.io, "state"))[3] = 5; /* state has no rows of tokens */
    assert_false(agrees(&op, &c));
    call_deinit(&c);
}

static void test_number_of_valid_tokens(void **state)
{
    (void)state;
    const dsv4_op op = changed("n", "offset");
    call c = make_call(0, 0, 0);
    ((float *)data_of(&c.io, "y"))[0] = 1;
    assert_true(agrees(&op, &c)); /* nothing to compare */
    *(int32_t *)data_of(&c.io, "n") = N_TOKENS + 1;
    assert_refused(&op, &c, DSV4_E_VALUE, "tensor n: got 4, expected 0 to 3");
    *(int32_t *)data_of(&c.io, "n") = -1;
    assert_refused(&op, &c, DSV4_E_VALUE, "tensor n: got -1, expected 0 to 3");
    const dsv4_op silent = changed("not there", "offset"); /* then all rows count */
    assert_false(agrees(&silent, &c));
    ((float *)data_of(&c.io, "y"))[0] = 0;
    assert_true(agrees(&silent, &c));
    call_deinit(&c);
}

/* ---- the quantised form of a tensor --------------------------------------------------------------------------------------- */

/* One step of the quantisation is within the tolerance, whatever the value; two are not, but for the rule's budget of 1 in 4. */
static void test_quantised_form(void **state)
{
    (void)state;
    call c = make_call(1, 0, 0);
    int8_t *a = add(&c.io, "cache", DSV4_I8, 2, 2, 2), *e = add(&c.expected, "cache", DSV4_I8, 2, 2, 2);
    memcpy(e, (const int8_t[]){0, 1, -127, 64}, 4);
    memcpy(a, (const int8_t[]){1, 0, -126, 65}, 4);
    assert_true(agrees(&plain, &c));
    a[0] = 2;
    assert_true(agrees(&plain, &c));
    a[3] = 66;
    assert_false(agrees(&plain, &c));
    call_deinit(&c);
}

/* ---- chosen rows --------------------------------------------------------------------------------------------------------- */

static void test_chosen_rows(void **state)
{
    (void)state;
    call c = make_call(1, 40, 40);
    int32_t *topk = data_of(&c.io, "topk");
    topk[3] = 40 + 3; /* a tie */
    assert_true(agrees(&plain, &c));
    topk[3] = 40; /* descends, but another row is better */
    assert_false(agrees(&plain, &c));
    topk[3] = 40 + 2;
    *(int32_t *)data_of(&c.io, "offset") = 41; /* then the rows are others */
    topk[3] = 40 + 3;
    assert_false(agrees(&plain, &c));
    call_deinit(&c);
}

static void test_offset_of_dimensions(void **state)
{
    (void)state;
    const dsv4_op op = changed(NULL, "W+T");
    call c = make_call(1, 40, WINDOW + N_TOKENS);
    ((int32_t *)data_of(&c.io, "topk"))[3] = WINDOW + N_TOKENS + 3;
    assert_true(agrees(&op, &c));
    call_deinit(&c);
    c = make_call(1, 40, 1); /* all below the offset: no row at all, as -1 */
    ((int32_t *)data_of(&c.io, "topk"))[3] = -1;
    assert_true(agrees(&op, &c));
    call_deinit(&c);
}

/* Where no scores are expected, the order by its own scores is all that can be judged. */
static void test_chosen_rows_without_scores(void **state)
{
    (void)state;
    call c = make_call(1, 0, 0);
    dsv4_tensor_list expected = {0};
    dsv4_error err = {0};
    require_ok(dsv4_tensor_list_put(&expected, "topk", dsv4_tensor_list_find(&c.expected, "topk"), &err), &err);
    const call order = {c.io, expected};
    int32_t *topk = data_of(&c.io, "topk");
    topk[3] = 0;
    assert_true(agrees(&plain, &order));
    topk[2] = 0, topk[3] = 1;
    assert_false(agrees(&plain, &order));
    dsv4_tensor_list_deinit(&expected);
    call_deinit(&c);
}

static void test_expected_lists_of_other_forms(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        dsv4_dtype dtype;
        int64_t rows, cols;
    } cases[] = {{"topk", DSV4_F32, N_TOKENS, N_CHOSEN},
                 {"topk", DSV4_I32, N_TOKENS, N_CHOSEN + 1},
                 {"topk", DSV4_I32, 1, N_CHOSEN},
                 {"score", DSV4_I32, N_TOKENS, N_SCORES},
                 {"score", DSV4_F32, N_TOKENS, N_SCORES - 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        call c = make_call(1, 0, 0);
        dsv4_tensor_list expected = {0};
        const char *other = strcmp(cases[i].name, "topk") == 0 ? "score" : "topk";
        dsv4_error err = {0};
        add(&expected, cases[i].name, cases[i].dtype, 2, cases[i].rows, cases[i].cols);
        require_ok(dsv4_tensor_list_put(&expected, other, dsv4_tensor_list_find(&c.expected, other), &err), &err);
        dsv4_op op = plain; /* the list alone: plain comparison refuses other shapes by itself */
        op.tensors = &tensors[6];
        op.n_tensors = 1;
        assert_refused(&op, &(call){c.io, expected}, DSV4_E_SHAPE, "topk");
        dsv4_tensor_list_deinit(&expected);
        call_deinit(&c);
    }
}

static void test_rule_text(void **state)
{
    (void)state;
    const dsv4_op op = changed("n", "offset");
    char text[160];
    assert_string_equal(compare_rule_text(&op, &tensors[4], text, sizeof text), "same bits; the first n rows");
    assert_string_equal(compare_rule_text(&op, &tensors[2], text, sizeof text), "same bits");
    assert_string_equal(compare_rule_text(&plain, &tensors[6], text, sizeof text),
                        "scores descend and are those of e within 0.0001 + 0.0078125*|score|");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_state_is_isolated),
        cmocka_unit_test(test_state_is_compared),
        cmocka_unit_test(test_valid_tokens),
        cmocka_unit_test(test_number_of_valid_tokens),
        cmocka_unit_test(test_quantised_form),
        cmocka_unit_test(test_chosen_rows),
        cmocka_unit_test(test_offset_of_dimensions),
        cmocka_unit_test(test_chosen_rows_without_scores),
        cmocka_unit_test(test_expected_lists_of_other_forms),
        cmocka_unit_test(test_rule_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
