/* ops/draw_rope.c - rows of the rope table of a layer (SPEC 1.4): cosines, or sines where the tensor's name ends with "sin". */
#include <stdlib.h>

#include "base/memory.h"
#include "ops/draw.h"
#include "ops/rope.h"

typedef int64_t position_of_row(const op_target *x, int64_t row);

/* The R/2 values of a position; a row of R has them twice. BF16 values, widened in FP32 tensors. */
static void fill_row(const op_target *x, const float *frequency, int64_t position, int64_t row, int64_t cols)
{
    const int64_t half = x->d->dims.of[OP_R] / 2;
    const bool sine = fix_name_ends(x->row->name, "sin");
    for (int64_t j = 0; j < cols && j < half; j++) {
        const uint16_t value = sine ? op_rope_sin(position, frequency[j]) : op_rope_cos(position, frequency[j]);
        for (int64_t c = j; c < cols; c += half) {
            if (x->t->dtype == DSV4_F32) {
                ((float *)x->t->data)[row * cols + c] = num_f32_from_bf16(value);
            } else {
                ((uint16_t *)x->t->data)[row * cols + c] = value;
            }
        }
    }
}

static dsv4_status fill_rows(const op_target *x, position_of_row *position, dsv4_error *err)
{
    const int64_t half = x->d->dims.of[OP_R] / 2;
    const int64_t cols = fix_columns(x->t);
    if (half < 1 || cols % half != 0) {
        return dsv4_fail(err, DSV4_E_SHAPE, "tensor %s: got %lld columns, expected a multiple of half of qk_rope_head_dim=%lld",
                         x->row->name, (long long)cols, (long long)x->d->dims.of[OP_R]);
    }
    float *frequency = memory_array((size_t)half, sizeof *frequency);
    if (frequency == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "tensor %s: no memory for %lld frequencies", x->row->name, (long long)half);
    }
    op_rope_frequencies(x->d->config, op_target_ratio(x), frequency);
    for (int64_t row = 0; cols > 0 && row < dsv4_tensor_count(x->t) / cols; row++) {
        fill_row(x, frequency, position(x, row), row, cols);
    }
    free(frequency);
    return DSV4_OK;
}

static int64_t position_of_token(const op_target *x, int64_t t)
{
    return op_position(x->d, t);
}

static int64_t position_itself(const op_target *x, int64_t p)
{
    (void)x;
    return p;
}

static int64_t start_of_window(const op_target *x, int64_t b)
{
    const int64_t window = (int64_t)x->row->fixture.b;
    return x->d->start[b] / window * window;
}

/* Rows of the tokens' positions. */
dsv4_status op_draw_rope_rows(const op_target *x, dsv4_error *err)
{
    return fill_rows(x, position_of_token, err);
}

/* The rows from 0 on. */
dsv4_status op_draw_rope_first(const op_target *x, dsv4_error *err)
{
    return fill_rows(x, position_itself, err);
}

/* Per request, the row of the first position of the window of b positions that its first token lies in. */
dsv4_status op_draw_rope_request(const op_target *x, dsv4_error *err)
{
    return fill_rows(x, start_of_window, err);
}
