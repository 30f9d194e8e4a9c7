/* kernels/row_case.h - what the checks of a row of the kernel table share: shapes, operands that end at a forbidden page, and the
 * comparison with the scalar row, bit for bit. */
#ifndef TESTS_KERNELS_ROW_CASE_H
#define TESTS_KERNELS_ROW_CASE_H

#include <math.h>
#include <stdbool.h>

#include "kernels/guarded.h"
#include "kernels/kernels.h"
#include "kernels/values.h"

enum { N_SHORT = 71, N_LONG = 5, MAX_LENGTH = 1000, MAX_K = 512, LONG_K = 2300, LDC = UK_PANEL + 5, CAPACITY = 512 * 1024 };
enum { RETURNED = -1 /* element index that stands for the returned value */ };
enum { N_INPUTS = 4, N_OUTPUTS = 3 };

static const int64_t long_lengths[N_LONG] = {127, 128, 129, 512, MAX_LENGTH};

static const uk_table *ref;
static guarded inputs[N_INPUTS], want_memory[N_OUTPUTS], got_memory[N_OUTPUTS];

typedef struct test_case {
    const char *kernel;
    int64_t n;
    flavour f;
    size_t gap; /* bytes between an output's end and the forbidden page */
    uint64_t step, random;
} test_case;

/* Steps through lengths 0 .. 70 and some above, every flavour, outputs at the page's end and before it; false at the end. */
static inline bool next_case(test_case *t)
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

static inline float *input_f32(int which, int64_t n, test_case *t)
{
    float *x = guarded_place(&inputs[which], (size_t)n * sizeof *x, 0);
    for (int64_t i = 0; i < n; i++) {
        x[i] = draw_f32(&t->random, t->f);
    }
    return x;
}

static inline uint16_t *input_bf16(int which, int64_t n, test_case *t)
{
    uint16_t *x = guarded_place(&inputs[which], (size_t)n * sizeof *x, 0);
    for (int64_t i = 0; i < n; i++) {
        x[i] = draw_bf16(&t->random, t->f);
    }
    return x;
}

static inline int32_t *input_i32(int which, int64_t n, test_case *t)
{
    int32_t *x = guarded_place(&inputs[which], (size_t)n * sizeof *x, 0);
    for (int64_t i = 0; i < n; i++) {
        x[i] = (int32_t)(uint32_t)draw_u64(&t->random);
    }
    return x;
}

static inline void *input_bytes(int which, int64_t n, test_case *t)
{
    int8_t *x = guarded_place(&inputs[which], (size_t)n, 0);
    for (int64_t i = 0; i < n; i++) {
        x[i] = draw_i8(&t->random);
    }
    return x;
}

/* The same place for the expected and the actual output. */
typedef struct outputs {
    int which;
    void *want, *got;
    size_t bytes;
} outputs;

/* Output `which` of a kernel that has several. */
static inline outputs place_nth_outputs(int which, int64_t n, size_t element_bytes, const test_case *t)
{
    size_t bytes = (size_t)n * element_bytes;
    void *want = guarded_place(&want_memory[which], bytes, t->gap), *got = guarded_place(&got_memory[which], bytes, t->gap);
    return (outputs){which, want, got, bytes};
}

static inline outputs place_outputs(int64_t n, size_t element_bytes, const test_case *t)
{
    return place_nth_outputs(0, n, element_bytes, t);
}

/* Outputs that start as n drawn values: operands that are updated. */
static inline outputs place_updated(int64_t n, test_case *t)
{
    outputs o = place_outputs(n, sizeof(float), t);
    float *x = o.want;
    for (int64_t i = 0; i < n; i++) {
        x[i] = draw_f32(&t->random, t->f);
    }
    memcpy(o.got, o.want, o.bytes);
    return o;
}

static inline void expect_same_value(float got, float want, int64_t i, const test_case *t)
{
    if (num_bits_from_f32(got) != num_bits_from_f32(want) && !(isnan(got) && isnan(want))) {
        fail_msg("%s: n %lld flavour %d: element %lld is %a, expected %a", t->kernel, (long long)t->n, (int)t->f, (long long)i,
                 (double)got, (double)want);
    }
}

static inline void expect_intact(outputs o, const test_case *t)
{
    if (!guarded_is_intact(&got_memory[o.which], o.got, o.bytes)) {
        fail_msg("%s: n %lld: written outside its output", t->kernel, (long long)t->n);
    }
}

static inline void expect_same_f32(outputs o, const test_case *t)
{
    const float *want = o.want, *got = o.got;
    for (size_t i = 0; i < o.bytes / sizeof *got; i++) {
        expect_same_value(got[i], want[i], (int64_t)i, t);
    }
    expect_intact(o, t);
}

static inline void expect_same_bytes(outputs o, const test_case *t)
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

static inline int create_operands(void **state)
{
    (void)state;
    for (int i = 0; i < N_INPUTS; i++) {
        inputs[i] = guarded_create(CAPACITY);
    }
    for (int i = 0; i < N_OUTPUTS; i++) {
        want_memory[i] = guarded_create(CAPACITY);
        got_memory[i] = guarded_create(CAPACITY);
    }
    dsv4_error err = {0};
    return uk_find("scalar", &ref, &err) == DSV4_OK ? 0 : -1;
}

static inline int destroy_operands(void **state)
{
    (void)state;
    for (int i = 0; i < N_INPUTS; i++) {
        guarded_destroy(&inputs[i]);
    }
    for (int i = 0; i < N_OUTPUTS; i++) {
        guarded_destroy(&want_memory[i]);
        guarded_destroy(&got_memory[i]);
    }
    return 0;
}

#endif
