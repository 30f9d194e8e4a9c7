/* Every row of the kernel table against the scalar one, bit for bit, on operands that end at a forbidden page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>

#include "kernels/guarded.h"
#include "kernels/kernels.h"
#include "kernels/values.h"

enum { N_SHORT = 71, N_LONG = 5, MAX_LENGTH = 1000, MAX_K = 512, LDC = UK_PANEL + 5, CAPACITY = 64 * 1024 };
enum { RETURNED = -1 /* element index that stands for the returned value */ };

static const int64_t long_lengths[N_LONG] = {127, 128, 129, 512, MAX_LENGTH};

static const uk_table *ref;
static guarded inputs[3], want_memory, got_memory;

typedef struct test_case {
    const char *kernel;
    int64_t n;
    flavour f;
    size_t gap; /* bytes between an output's end and the forbidden page */
    uint64_t step, random;
} test_case;

/* Steps through lengths 0 .. 70 and some above, every flavour, outputs at the page's end and before it; false at the end. */
static bool next_case(test_case *t)
{
    uint64_t length = t->step / 2 / N_FLAVOURS;
    if (length >= N_SHORT + N_LONG) {
        return false;
    }
    t->n = length < N_SHORT ? (int64_t)length : long_lengths[length - N_SHORT];
    t->f = (flavour)(t->step / 2 % N_FLAVOURS);
    t->gap = t->step % 2 ? 64 : 0;
    t->step++;
    return true;
}

static float *input_f32(int which, int64_t n, test_case *t)
{
    float *x = guarded_place(&inputs[which], (size_t)n * sizeof *x, 0);
    for (int64_t i = 0; i < n; i++) {
        x[i] = draw_f32(&t->random, t->f);
    }
    return x;
}

static uint16_t *input_bf16(int which, int64_t n, test_case *t)
{
    uint16_t *x = guarded_place(&inputs[which], (size_t)n * sizeof *x, 0);
    for (int64_t i = 0; i < n; i++) {
        x[i] = draw_bf16(&t->random, t->f);
    }
    return x;
}

static void *input_bytes(int which, int64_t n, test_case *t)
{
    int8_t *x = guarded_place(&inputs[which], (size_t)n, 0);
    for (int64_t i = 0; i < n; i++) {
        x[i] = draw_i8(&t->random);
    }
    return x;
}

/* The same place for the expected and the actual output. */
typedef struct outputs {
    void *want, *got;
    size_t bytes;
} outputs;

static outputs place_outputs(int64_t n, size_t element_bytes, const test_case *t)
{
    size_t bytes = (size_t)n * element_bytes;
    return (outputs){guarded_place(&want_memory, bytes, t->gap), guarded_place(&got_memory, bytes, t->gap), bytes};
}

/* Outputs that start as n drawn values: operands that are updated. */
static outputs place_updated(int64_t n, test_case *t)
{
    outputs o = place_outputs(n, sizeof(float), t);
    float *x = o.want;
    for (int64_t i = 0; i < n; i++) {
        x[i] = draw_f32(&t->random, t->f);
    }
    memcpy(o.got, o.want, o.bytes);
    return o;
}

static void expect_same_value(float got, float want, int64_t i, const test_case *t)
{
    if (num_bits_from_f32(got) != num_bits_from_f32(want) && !(isnan(got) && isnan(want))) {
        fail_msg("%s: n %lld flavour %d: element %lld is %a, expected %a", t->kernel, (long long)t->n, (int)t->f, (long long)i,
                 (double)got, (double)want);
    }
}

static void expect_intact(outputs o, const test_case *t)
{
    if (!guarded_is_intact(&got_memory, o.got, o.bytes)) {
        fail_msg("%s: n %lld: written outside its output", t->kernel, (long long)t->n);
    }
}

static void expect_same_f32(outputs o, const test_case *t)
{
    const float *want = o.want, *got = o.got;
    for (size_t i = 0; i < o.bytes / sizeof *got; i++) {
        expect_same_value(got[i], want[i], (int64_t)i, t);
    }
    expect_intact(o, t);
}

static void expect_same_bytes(outputs o, const test_case *t)
{
    const uint8_t *want = o.want, *got = o.got;
    for (size_t i = 0; i < o.bytes; i++) {
        if (got[i] != want[i]) {
            fail_msg("%s: n %lld flavour %d: byte %zu is %u, expected %u", t->kernel, (long long)t->n, (int)t->f, i, got[i],
                     want[i]);
        }
    }
    expect_intact(o, t);
}

/* ---- one check per kernel ------------------------------------------------------------------------------------------------- */

static const int64_t depths[] = {0, 1, 2, 3, 5, 16, 127, MAX_K};
enum { N_DEPTHS = sizeof depths / sizeof *depths };

static void check_gemm_bf16_shape(const uk_table *row, int m, int64_t k, bool add, test_case *t)
{
    t->n = k;
    int64_t lda = k + 3;
    const float *a = input_f32(0, (m - 1) * lda + k, t);
    const uint16_t *panel = input_bf16(1, k * UK_PANEL, t);
    outputs c = place_updated((m - 1) * LDC + UK_PANEL, t);
    ref->gemm_bf16(m, k, a, lda, panel, c.want, LDC, add);
    row->gemm_bf16(m, k, a, lda, panel, c.got, LDC, add);
    expect_same_f32(c, t);
}

static void check_gemm_bf16(const uk_table *row, test_case *t)
{
    for (int m = 1; m <= UK_MAX_ROWS; m++) {
        for (int d = 0; d < N_DEPTHS; d++) {
            for (int f = 0; f < N_FLAVOURS; f++) {
                t->f = (flavour)f;
                t->gap = d % 2 ? 0 : 64;
                check_gemm_bf16_shape(row, m, depths[d], false, t);
                check_gemm_bf16_shape(row, m, depths[d], true, t);
            }
        }
    }
}

static void check_gemm_i8_shape(const uk_table *row, int m, int64_t k4, test_case *t)
{
    t->n = 4 * k4;
    int64_t lda = 4 * k4 + 3;
    const uint8_t *a = input_bytes(0, (m - 1) * lda + 4 * k4, t);
    const int8_t *panel = input_bytes(1, k4 * 4 * UK_PANEL, t);
    int32_t *correction = guarded_place(&inputs[2], UK_PANEL * sizeof *correction, 0);
    for (int j = 0; j < UK_PANEL; j++) {
        correction[j] = 128 * draw_i8(&t->random);
    }
    outputs c = place_outputs((m - 1) * LDC + UK_PANEL, sizeof(int32_t), t);
    ref->gemm_i8(m, k4, a, lda, panel, correction, c.want, LDC);
    row->gemm_i8(m, k4, a, lda, panel, correction, c.got, LDC);
    expect_same_bytes(c, t);
}

static void check_gemm_i8(const uk_table *row, test_case *t)
{
    for (int m = 1; m <= UK_MAX_ROWS; m++) {
        for (int d = 0; d < N_DEPTHS; d++) {
            t->gap = d % 2 ? 0 : 64;
            check_gemm_i8_shape(row, m, depths[d], t);
        }
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

static void check_dequant_i32(const uk_table *row, test_case *t)
{
    while (next_case(t)) {
        int32_t *acc = guarded_place(&inputs[0], (size_t)t->n * sizeof *acc, 0);
        for (int64_t i = 0; i < t->n; i++) {
            acc[i] = (int32_t)(uint32_t)draw_u64(&t->random);
        }
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

static void check_bias_i8(const uk_table *row, test_case *t)
{
    while (next_case(t)) {
        const int8_t *x = input_bytes(0, t->n, t);
        outputs y = place_outputs(t->n, sizeof(uint8_t), t);
        ref->bias_i8(t->n, x, y.want);
        row->bias_i8(t->n, x, y.got);
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

static int create_memory(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        inputs[i] = guarded_create(CAPACITY);
    }
    want_memory = guarded_create(CAPACITY);
    got_memory = guarded_create(CAPACITY);
    dsv4_error err = {0};
    return uk_find("scalar", &ref, &err) == DSV4_OK ? 0 : -1;
}

static int destroy_memory(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        guarded_destroy(&inputs[i]);
    }
    guarded_destroy(&want_memory);
    guarded_destroy(&got_memory);
    return 0;
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
    return cmocka_run_group_tests_name("kernels.rows", tests, create_memory, destroy_memory);
}
