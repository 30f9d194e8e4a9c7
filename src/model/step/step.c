#include "model/step/step.h"

#include <string.h>

enum { ROUND_AT_ONCE = 512, SUM_LANES = 8 };

static step_matrix matrix_new(const step *s, const char *name, int64_t rows, int64_t cols, dsv4_dtype dtype)
{
    return (step_matrix){op_matrix_new(&s->op, name, rows, cols, dtype), dtype};
}

step_matrix step_matrix_new(const step *s, const char *name, int64_t rows, int64_t cols)
{
    return matrix_new(s, name, rows, cols, s->numerics->dtype);
}

step_matrix step_matrix_new_f32(const step *s, const char *name, int64_t rows, int64_t cols)
{
    return matrix_new(s, name, rows, cols, DSV4_F32);
}

void step_load(const uk_table *uk, const step_matrix *m, int64_t row, int64_t col, int64_t n, float *dst)
{
    if (m->dtype == DSV4_BF16) {
        uk->widen_bf16(n, (const uint16_t *)m->m.data + row * m->m.ld + col, dst);
    } else {
        memcpy(dst, op_matrix_f32(&m->m, row, col), (size_t)n * sizeof *dst);
    }
}

void step_store(const uk_table *uk, const step_matrix *m, int64_t row, int64_t col, int64_t n, const float *src)
{
    if (m->dtype == DSV4_BF16) {
        uk->narrow_bf16(n, src, (uint16_t *)m->m.data + row * m->m.ld + col);
    } else {
        memcpy(op_matrix_f32(&m->m, row, col), src, (size_t)n * sizeof *src);
    }
}

void step_round_bf16(const uk_table *uk, int64_t n, float *x)
{
    uint16_t rounded[ROUND_AT_ONCE];
    for (int64_t i = 0; i < n; i += ROUND_AT_ONCE) {
        int64_t count = tile_min(n - i, ROUND_AT_ONCE);
        uk->narrow_bf16(count, x + i, rounded);
        uk->widen_bf16(count, rounded, x + i);
    }
}

void step_round(const step *s, int64_t n, float *x)
{
    if (s->numerics->dtype == DSV4_BF16) {
        step_round_bf16(s->op.uk, n, x);
    }
}

float step_sum(int64_t n, const float *x)
{
    float lane[SUM_LANES] = {0}, sum = 0;
    int64_t whole = n / SUM_LANES * SUM_LANES;
    for (int64_t i = 0; i < whole; i += SUM_LANES) {
        for (int64_t l = 0; l < SUM_LANES; l++) {
            lane[l] += x[i + l];
        }
    }
    for (int64_t l = 0; l < SUM_LANES; l++) {
        sum += lane[l];
    }
    for (int64_t i = whole; i < n; i++) {
        sum += x[i];
    }
    return sum;
}
