/* The attention layers against their goldens, at the positions where windows, rings and pages begin and end: inputs of SPEC 8 by
 * the rules of SPEC 7, sharper ones by an absolute tolerance, and both nearly bit for bit. */
#include "ops/layer.h"

#include "golden/golden.h"

static const int64_t starts[] = {0, 1, 2, 3, 4, 5, 63, 64, 127, 128, 4095, 8192};

enum { N_STARTS = sizeof starts / sizeof *starts, FAR = 4095, N_FORMS = 2 };

/* Sharp streams reach 8 and cancel: a step of INT8 in front of wo_b moves every value of a token by a few 1/1000. One token of a
 * long chunk may choose the other one of two rows whose scores nearly tie. */
static const cmp_rule sharp_rule = {CMP_RATIO, 1.0 / 32, 1.0 / 64, 0.01, 0};

/* Elements of BF16 and INT8 outputs, and those whose bits are not the golden's. */
typedef struct tally {
    int64_t n, n_differ;
} tally;

/* ---- one step ------------------------------------------------------------------------------------------------------------- */

static void check_output(const layer *l, form how, const op_tensor *row, const dsv4_tensor *actual, const dsv4_tensor *expected,
                         tally *sum)
{
    const cmp_rule *rule = how == SHARP && !op_is_input(row) ? &sharp_rule : &row->rule;
    cmp_result result;
    dsv4_error err = {0};
    require_ok(cmp_tensors(row->name, actual, expected, rule, &result, &err), &err);
    if (!result.pass) {
        fail_msg("%s, %lld requests, %lld tokens from %lld on: %lld of %lld elements of %s over tolerance, %lld allowed; worst %g, "
                 "expected %g",
                 l->op->name, (long long)n_requests(l), (long long)n_tokens(l), (long long)l->call.start_pos,
                 (long long)result.n_bad, (long long)result.n, row->name, (long long)result.n_allowed, result.worst_actual,
                 result.worst_expected);
    }
    if (actual->dtype != DSV4_F32) {
        sum->n += result.n;
        sum->n_differ += count_bit_mismatches(actual, expected);
    }
}

static void check_layer(const layer *l, form how, dsv4_numerics numerics, tally *sum)
{
    dsv4_tensor_list expected = {0};
    dsv4_error err = {0};
    sealed s = run_layer(l, numerics);
    require_ok(golden_find(l->op->name)->run(&l->config, &numerics, &l->in, &expected, NULL, &err), &err);
    for (size_t i = 0; i < l->op->n_tensors; i++) {
        const op_tensor *row = &l->op->tensors[i];
        if (op_is_output(row) && dsv4_tensor_list_find(&s.io, row->name) != NULL) {
            const dsv4_tensor a = get_tensor(&s.io, row->name), e = get_tensor(&expected, row->name);
            const int64_t n = op_is_input(row) ? a.shape[0] : n_valid(l);
            const dsv4_tensor actual = rows_of(a, 0, n), wanted = rows_of(e, 0, n);
            check_output(l, how, row, &actual, &wanted, sum);
        }
    }
    dsv4_tensor_list_deinit(&expected);
    sealed_deinit(&s);
}

/* At most one element in `one_in` differs. */
static void assert_nearly_the_same_bits(const tally *sum, int64_t one_in)
{
    print_message("  bits of %lld of %lld elements differ\n", (long long)sum->n_differ, (long long)sum->n);
    assert_true(sum->n > 0 && sum->n_differ * one_in <= sum->n);
}

/* ---- the steps of the preset tiny ------------------------------------------------------------------------------------------- */

/* Far cases have long caches: one form of the inputs is enough. */
static bool skips(int64_t start_pos, int64_t i)
{
    return SANITIZED ? start_pos >= FAR || i % 11 != 0 : start_pos >= FAR && i % 2 != 0;
}

/* Case i of a test: numerics, form of inputs and of the index cache take turns that do not keep step with each other. */
static void check_case(int ratio, op_call call, int64_t n_padding, int64_t i, tally *sums)
{
    const dsv4_numerics numerics = {(dsv4_compat)(i % 2), (dsv4_act_scale)(i / 2 % 3)};
    for (int how = AS_SPECIFIED; how <= SHARP; how++) {
        if (skips(call.start_pos, i + how)) {
            continue;
        }
        call.quantised_index = (i / 3 + how) % 2 == 0;
        layer l = draw_layer(ratio, preset("tiny"), call, (form)how);
        if (!is_decode(&l)) {
            set_valid(&l, call.n_tokens - n_padding);
        }
        check_layer(&l, (form)how, numerics, &sums[how]);
        layer_deinit(&l);
    }
}

/* One key whose BF16 rounding falls the other way moves a step of INT8 in every token of its window, and so half of their
 * elements. */
static void check_tallies(const tally *sums)
{
    assert_nearly_the_same_bits(&sums[AS_SPECIFIED], 200);
    assert_nearly_the_same_bits(&sums[SHARP], 5);
}

static void test_decode(void **state)
{
    static const struct {
        int64_t B, S;
    } shapes[] = {{1, 2}, {1, 1}, {4, 1}, {4, 2}, {7, 1}, {7, 2}};
    enum { N_SHAPES = sizeof shapes / sizeof *shapes };
    const int ratio = *(const int *)*state;
    tally sums[N_FORMS] = {0};
    for (int64_t i = 0, n = 0; i < N_STARTS * N_SHAPES; i++) {
        const op_call call = {.mode = DSV4_DECODE,
                              .n_requests = shapes[i % N_SHAPES].B,
                              .n_tokens = shapes[i % N_SHAPES].S,
                              .start_pos = starts[i / N_SHAPES]};
        if (call.start_pos < FAR || call.n_requests == 1) {
            check_case(ratio, call, 0, n++ + i / N_SHAPES, sums);
        }
    }
    check_tallies(sums);
}

static void test_prefill(void **state)
{
    static const int64_t sizes[] = {1, 13, 128, 129, 512};
    enum { N_SIZES = sizeof sizes / sizeof *sizes };
    const int ratio = *(const int *)*state;
    tally sums[N_FORMS] = {0};
    for (int64_t i = 0; i < N_STARTS * N_SIZES; i++) {
        const int64_t T = sizes[i % N_SIZES];
        const op_call call = {.mode = DSV4_PREFILL, .n_requests = 1, .n_tokens = T, .start_pos = starts[i / N_SIZES]};
        if (T < 512 || i / N_SIZES % 4 == 2) {
            check_case(ratio, call, i % 2 == 0 ? T / 5 : 0, i, sums);
        }
    }
    check_tallies(sums);
}

/* ---- a few steps of the preset flash ------------------------------------------------------------------------------------- */

static void test_flash(void **state)
{
    static const struct {
        int ratio;
        op_call call;
    } cases[] = {
        {4, {.mode = DSV4_DECODE, .n_requests = 1, .n_tokens = 2, .start_pos = 8192}},
        {128, {.mode = DSV4_PREFILL, .n_requests = 1, .n_tokens = 13, .start_pos = 4095}},
    };
    (void)state;
    if (SANITIZED) {
        skip();
    }
    tally sum = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        layer l = draw_layer(cases[i].ratio, preset("flash"), cases[i].call, AS_SPECIFIED);
        check_layer(&l, AS_SPECIFIED, (dsv4_numerics){0}, &sum);
        layer_deinit(&l);
    }
    assert_nearly_the_same_bits(&sum, 100);
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
        LAYER(test_decode, 0),  LAYER(test_decode, 4),    LAYER(test_decode, 128),      LAYER(test_prefill, 0),
        LAYER(test_prefill, 4), LAYER(test_prefill, 128), cmocka_unit_test(test_flash),
    };
    return cmocka_run_group_tests(tests, create_pool, destroy_pool);
}
