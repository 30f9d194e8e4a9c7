#include "ops/turn.h"

#include <string.h>

op_turns op_turns_named(const op_context *c, const char *cos, const char *sin)
{
    return (op_turns){op_matrix_named(c, cos, 1), op_matrix_named(c, sin, 1), op_tensor_named(c, cos).dtype == DSV4_F32};
}

void op_turns_reads(dsv4_describe *d, const op_turns *turns, int64_t begin, int64_t end, int64_t R)
{
    dsv4_reads(d, turns->cos.view, begin, end, 0, R / 2);
    dsv4_reads(d, turns->sin.view, begin, end, 0, R / 2);
}

void op_turns_reads_by(dsv4_describe *d, const op_turns *turns, const op_matrix *rows, int64_t begin, int64_t end, int64_t R)
{
    if (rows->data == NULL) {
        op_turns_reads(d, turns, begin, end, R);
        return;
    }
    const dsv4_box all = {0, turns->cos.rows, 0, R / 2};
    dsv4_reads(d, rows->view, 0, 1, begin, end);
    dsv4_touch(d, DSV4_READ | DSV4_UNTRACKED, turns->cos.view, all);
    dsv4_touch(d, DSV4_READ | DSV4_UNTRACKED, turns->sin.view, all);
}

int64_t op_turns_row(const op_matrix *rows, int64_t token)
{
    return rows->data == NULL ? token : ((const int32_t *)rows->data)[token];
}

static void load(const uk_table *uk, const op_matrix *m, bool is_f32, int64_t row, int64_t n, float *values)
{
    if (is_f32) {
        memcpy(values, (const float *)m->data + row * m->ld, (size_t)n * sizeof *values);
    } else {
        uk->widen_bf16(n, (const uint16_t *)m->data + row * m->ld, values);
    }
}

void op_turns_load(const uk_table *uk, const op_turns *turns, int64_t row, int64_t R, float *turn)
{
    load(uk, &turns->cos, turns->is_f32, row, R / 2, turn);
    load(uk, &turns->sin, turns->is_f32, row, R / 2, turn + R / 2);
}

void op_turn_row(const uk_table *uk, const float *turn, int64_t R, int64_t n, float *row)
{
    uk->rotate(R / 2, turn, turn + R / 2, row + n - R);
}
