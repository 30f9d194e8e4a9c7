/* Every row of the kernel table against the scalar one, bit for bit, on operands that end at a forbidden page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "kernels/check_attention.h"
#include "kernels/check_fp.h"
#include "kernels/check_gemm.h"
#include "kernels/check_keys.h"
#include "kernels/check_round.h"
#include "kernels/check_tile.h"

/* ---- one check per kernel ------------------------------------------------------------------------------------------------- */

static void check_add_scaled(const uk_table *row, test_case *t)
{
    while (next_case(t)) {
        const float *x = input_f32(0, t->n, t);
        float a = draw_f32(&t->random, t->f);
        outputs y = place_updated(t->n, t);
        ref->add_scaled(t->n, a, x, y.want);
        row->add_scaled(t->n, a, x, y.got);
        expect_same_f32(y, t);
    }
}

static void check_weigh_rows(const uk_table *row, test_case *t)
{
    enum { MAX_WEIGHED = 5 };
    while (next_case(t)) {
        int64_t n_rows = 1 + (int64_t)(t->step % MAX_WEIGHED);
        const uint16_t *rows[MAX_WEIGHED], *first = input_bf16(0, n_rows * t->n, t);
        const float *a = input_f32(1, n_rows, t);
        for (int64_t r = 0; r < n_rows; r++) {
            rows[r] = first + r * t->n;
        }
        outputs y = place_outputs(t->n, sizeof(uint16_t), t);
        ref->weigh_rows(t->n, n_rows, rows, a, y.want);
        row->weigh_rows(t->n, n_rows, rows, a, y.got);
        expect_same_bf16(y, t);
    }
}

static void check_blend(const uk_table *row, test_case *t)
{
    while (next_case(t)) {
        int64_t n_rows = t->n / UK_PANEL, n = n_rows * UK_PANEL;
        const float *x = input_f32(0, n, t), *a = input_f32(1, n_rows, t), *b = input_f32(2, n_rows, t);
        outputs y = place_updated(n, t);
        ref->blend(n_rows, a, b, x, y.want);
        row->blend(n_rows, a, b, x, y.got);
        expect_same_f32(y, t);
    }
}

static void check_divide(const uk_table *row, test_case *t)
{
    while (next_case(t)) {
        int64_t n_rows = t->n / UK_PANEL;
        const float *d = input_f32(0, n_rows, t), *x = input_f32(1, n_rows * UK_PANEL, t);
        int64_t ldy = UK_PANEL + t->gap;
        outputs y = place_updated(n_rows > 0 ? (n_rows - 1) * ldy + UK_PANEL : 0, t);
        ref->divide(n_rows, d, x, y.want, ldy);
        row->divide(n_rows, d, x, y.got, ldy);
        expect_same_f32(y, t);
    }
}

static void check_add_dequant(const uk_table *row, test_case *t)
{
    while (next_case(t)) {
        const int32_t *acc = input_i32(0, t->n, t);
        float scale = (t->f == ORDINARY ? 0x1p-31f : 1.0f) * draw_f32(&t->random, t->f);
        outputs y = place_updated(t->n, t);
        ref->add_dequant(t->n, acc, scale, y.want);
        row->add_dequant(t->n, acc, scale, y.got);
        expect_same_f32(y, t);
    }
}

static void check_scale_cols(const uk_table *row, test_case *t)
{
    while (next_case(t)) {
        const float *x = input_f32(0, t->n, t), *col_scale = input_f32(1, t->n, t);
        outputs y = place_outputs(t->n, sizeof(float), t);
        ref->scale_cols(t->n, x, col_scale, y.want);
        row->scale_cols(t->n, x, col_scale, y.got);
        expect_same_f32(y, t);

        outputs in_place = place_updated(t->n, t);
        ref->scale_cols(t->n, in_place.want, col_scale, in_place.want);
        row->scale_cols(t->n, in_place.got, col_scale, in_place.got);
        expect_same_f32(in_place, t);
    }
}

static void check_sum_squares(const uk_table *row, test_case *t)
{
    while (next_case(t)) {
        const float *x = input_f32(0, t->n, t);
        expect_same_value(row->sum_squares(t->n, x), ref->sum_squares(t->n, x), RETURNED, t);
    }
}

static void check_amax(const uk_table *row, test_case *t)
{
    while (next_case(t)) {
        const float *x = input_f32(0, t->n, t);
        expect_same_value(row->amax(t->n, x), ref->amax(t->n, x), RETURNED, t);
    }
}

static void check_scale_gamma(const uk_table *row, test_case *t)
{
    while (next_case(t)) {
        const float *x = input_f32(0, t->n, t);
        const uint16_t *gamma = input_bf16(1, t->n, t);
        float inv = draw_f32(&t->random, t->f);
        outputs y = place_outputs(t->n, sizeof(float), t);
        float max = ref->scale_gamma(t->n, x, inv, gamma, y.want);
        expect_same_value(row->scale_gamma(t->n, x, inv, gamma, y.got), max, RETURNED, t);
        expect_same_f32(y, t);

        outputs in_place = place_updated(t->n, t);
        max = ref->scale_gamma(t->n, in_place.want, inv, gamma, in_place.want);
        expect_same_value(row->scale_gamma(t->n, in_place.got, inv, gamma, in_place.got), max, RETURNED, t);
        expect_same_f32(in_place, t);
    }
}

static void check_scale(const uk_table *row, test_case *t)
{
    while (next_case(t)) {
        const float *x = input_f32(0, t->n, t);
        float inv = draw_f32(&t->random, t->f);
        outputs y = place_outputs(t->n, sizeof(float), t);
        ref->scale(t->n, x, inv, y.want);
        row->scale(t->n, x, inv, y.got);
        expect_same_f32(y, t);

        outputs in_place = place_updated(t->n, t);
        ref->scale(t->n, in_place.want, inv, in_place.want);
        row->scale(t->n, in_place.got, inv, in_place.got);
        expect_same_f32(in_place, t);
    }
}

static void check_sum_parts(const uk_table *row, test_case *t)
{
    while (next_case(t)) {
        int64_t n_parts = 1 + (int64_t)(t->step % 6), stride = t->n + (int64_t)(t->step % 3);
        const float *x = input_f32(0, (n_parts - 1) * stride + t->n, t);
        outputs y = place_outputs(t->n, sizeof(float), t);
        ref->sum_parts(t->n, n_parts, x, stride, y.want);
        row->sum_parts(t->n, n_parts, x, stride, y.got);
        expect_same_f32(y, t);
    }
}

static void check_add(const uk_table *row, test_case *t)
{
    while (next_case(t)) {
        const float *x = input_f32(0, t->n, t);
        outputs y = place_updated(t->n, t);
        ref->add(t->n, x, y.want);
        row->add(t->n, x, y.got);
        expect_same_f32(y, t);
    }
}

static void check_quantize_i8(const uk_table *row, test_case *t)
{
    static const float scales[] = {63.5f, 1.0f, 0.5f, 1e9f};
    while (next_case(t)) {
        const float *x = input_f32(0, t->n, t);
        outputs q = place_outputs(t->n, sizeof(int8_t), t);
        ref->quantize_i8(t->n, x, scales[t->step % 4], q.want);
        row->quantize_i8(t->n, x, scales[t->step % 4], q.got);
        expect_same_bytes(q, t);
    }
}

static void check_q8_bf16(const uk_table *row, test_case *t)
{
    while (next_case(t)) {
        const uint16_t *x = input_bf16(0, t->n, t);
        outputs q = place_outputs(t->n, sizeof(int8_t), t);
        float sq = ref->q8_bf16(t->n, x, q.want);
        expect_same_value(row->q8_bf16(t->n, x, q.got), sq, RETURNED, t);
        expect_same_bytes(q, t);
    }
}

static void check_dequant_i32(const uk_table *row, test_case *t)
{
    while (next_case(t)) {
        const int32_t *acc = input_i32(0, t->n, t);
        const float *col_scale = input_f32(1, t->n, t);
        float row_scale = draw_f32(&t->random, t->f);
        outputs y = place_outputs(t->n, sizeof(float), t);
        ref->dequant_i32(t->n, acc, row_scale, col_scale, y.want);
        row->dequant_i32(t->n, acc, row_scale, col_scale, y.got);
        expect_same_f32(y, t);
    }
}

static void check_widen_bf16(const uk_table *row, test_case *t)
{
    while (next_case(t)) {
        const uint16_t *x = input_bf16(0, t->n, t);
        outputs y = place_outputs(t->n, sizeof(float), t);
        ref->widen_bf16(t->n, x, y.want);
        row->widen_bf16(t->n, x, y.got);
        expect_same_bytes(y, t);
    }
}

static void check_narrow_bf16(const uk_table *row, test_case *t)
{
    while (next_case(t)) {
        const float *x = input_f32(0, t->n, t);
        outputs y = place_outputs(t->n, sizeof(uint16_t), t);
        ref->narrow_bf16(t->n, x, y.want);
        row->narrow_bf16(t->n, x, y.got);
        expect_same_bytes(y, t);
    }
}

static void check_rotate(const uk_table *row, test_case *t)
{
    while (next_case(t)) {
        const float *c = input_f32(0, t->n, t), *s = input_f32(1, t->n, t);
        outputs x = place_updated(2 * t->n, t);
        ref->rotate(t->n, c, s, x.want);
        row->rotate(t->n, c, s, x.got);
        expect_same_f32(x, t);
    }
}

/* ---- rows x kernels -------------------------------------------------------------------------------------------------------- */

typedef struct check {
    const char *kernel;
    void (*run)(const uk_table *row, test_case *t);
} check;

#define CHECK_ENTRY(name, result, parameters) {#name, check_##name},
static const check checks[] = {UK_KERNELS(CHECK_ENTRY)};
enum { N_CHECKS = sizeof checks / sizeof *checks, MAX_ROWS_OF_TABLE = 8 };

typedef struct subject {
    const uk_table *row;
    const check *what;
    char name[64];
} subject;

static void row_agrees_with_scalar(void **state)
{
    const subject *s = *state;
    const char *missing = uk_missing_feature(s->row);
    if (missing) {
        printf("skipped: %s (machine lacks %s)\n", s->name, missing);
        skip();
    }
    test_case t = {.kernel = s->name, .random = 1};
    s->what->run(s->row, &t);
}

int main(void)
{
    static subject subjects[MAX_ROWS_OF_TABLE * N_CHECKS];
    struct CMUnitTest tests[MAX_ROWS_OF_TABLE * N_CHECKS] = {{0}};
    int n = 0;
    for (const uk_table *const *row = uk_all(); *row && n < MAX_ROWS_OF_TABLE * N_CHECKS; row++) {
        for (int i = 0; i < N_CHECKS; i++, n++) {
            subjects[n] = (subject){.row = *row, .what = &checks[i]};
            snprintf(subjects[n].name, sizeof subjects[n].name, "%s.%s", (*row)->isa, checks[i].kernel);
            tests[n] = (struct CMUnitTest){subjects[n].name, row_agrees_with_scalar, NULL, NULL, &subjects[n]};
        }
    }
    return cmocka_run_group_tests_name("kernels.rows", tests, create_operands, destroy_operands);
}
