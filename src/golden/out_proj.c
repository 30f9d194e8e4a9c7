/* golden/out_proj.c - output projection of attention through two low-rank factors (SPEC 5.2).
 *
 * MATH      r[t,g] = o[g,t] wo_a[g]^T;  (ri, rs) = Q8(r) over the values that share a scale
 *           acc = acc + float(ri wo_b^T over those values of one group) rs, groups and their blocks ascending
 *           attn_out[t,d] = bf(acc[t,d] wo_b_scale[d])
 *           one scale: GROUP for r[t,g]; ROW for r[t] whole; BLOCK for 128 consecutive values of r[t,g], the last of a group fewer
 * SHAPES    o bf16[G,T,GI]  wo_a bf16[G,OL,GI]  wo_b i8[D,G*OL]  wo_b_scale f32[D]  ->  attn_out bf16[T,D]
 * NUMERICS  r is not rounded below FP32; the product with wo_b is exact. */
#include <inttypes.h>
#include <string.h>

#include "base/arena.h"
#include "base/numbers.h"
#include "golden/attention.h"
#include "golden/primitives.h"

/* Values that share a scale under DSV4_SCALE_BLOCK. */
enum { SCALE_BLOCK = 128 };

/* Edge of the squares in which a matrix is transposed: both sides stay in the cache. */
enum { SQUARE = 32 };

typedef struct out_proj {
    const golden_attention *a;
    int64_t piece, n_pieces; /* values of a group that are scaled and added at once; such pieces of a token */
    uint16_t *wo_a_t;        /* [GI, OL]: one group's */
    float *r_group;          /* [T, OL] */
    float *r;                /* [T, G*OL] */
    int8_t *ri;              /* [T, G*OL] */
    float *rs;               /* [T, n_pieces] */
} out_proj;

/* y[cols, rows] = x[rows, cols] transposed. */
static void transpose(const uint16_t *x, int64_t rows, int64_t cols, uint16_t *y)
{
    for (int64_t r0 = 0; r0 < rows; r0 += SQUARE) {
        for (int64_t c0 = 0; c0 < cols; c0 += SQUARE) {
            for (int64_t r = r0; r < golden_min(r0 + SQUARE, rows); r++) {
                for (int64_t c = c0; c < golden_min(c0 + SQUARE, cols); c++) {
                    y[c * rows + r] = x[r * cols + c];
                }
            }
        }
    }
}

static void project_group(const out_proj *op, const uint16_t *o, int64_t g)
{
    const golden_attention *a = op->a;
    transpose(a->wo_a + g * a->OL * a->GI, a->OL, a->GI, op->wo_a_t);
    golden_matmul_bf16(o + g * a->T * a->GI, op->wo_a_t, a->T, a->GI, a->OL, op->r_group);
    for (int64_t t = 0; t < a->T; t++) {
        memcpy(op->r + (t * a->G + g) * a->OL, op->r_group + t * a->OL, (size_t)a->OL * sizeof *op->r);
    }
}

/* First value of piece i within r[t], and its end. */
static int64_t piece_begin(const out_proj *op, int64_t i)
{
    const int64_t per_group = op->n_pieces / op->a->G;
    return i / per_group * op->a->OL + i % per_group * op->piece;
}

static int64_t piece_end(const out_proj *op, int64_t i)
{
    const int64_t begin = piece_begin(op, i), group_end = (begin / op->a->OL + 1) * op->a->OL;
    return golden_min(begin + op->piece, group_end);
}

static void quantize_token(const out_proj *op, int64_t t)
{
    const int64_t width = op->a->G * op->a->OL;
    const float *r = op->r + t * width;
    int8_t *ri = op->ri + t * width;
    const float row_scale = op->a->act_scale == DSV4_SCALE_ROW ? golden_q8(r, width, ri) : 0.0f;
    for (int64_t i = 0; i < op->n_pieces; i++) {
        const int64_t begin = piece_begin(op, i), n = piece_end(op, i) - begin;
        op->rs[t * op->n_pieces + i] = op->a->act_scale == DSV4_SCALE_ROW ? row_scale : golden_q8(r + begin, n, ri + begin);
    }
}

static int32_t dot_i8(const int8_t *x, const int8_t *y, int64_t n)
{
    int32_t sum = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += (int16_t)x[i] * (int16_t)y[i];
    }
    return sum;
}

/* attn_out[:, d]. */
static void project_channel(const out_proj *op, int64_t d)
{
    const golden_attention *a = op->a;
    const int64_t width = a->G * a->OL;
    for (int64_t t = 0; t < a->T; t++) {
        float acc = 0.0f;
        for (int64_t i = 0; i < op->n_pieces; i++) {
            const int64_t begin = piece_begin(op, i), n = piece_end(op, i) - begin;
            const int32_t sum = dot_i8(op->ri + t * width + begin, a->wo_b + d * width + begin, n);
            acc = acc + (float)sum * op->rs[t * op->n_pieces + i];
        }
        a->attn_out[t * a->D + d] = num_bf16_from_f32(acc * a->wo_b_scale[d]);
    }
}

static void run(const out_proj *op, const uint16_t *o, progress *p)
{
    const golden_attention *a = op->a;
    for (int64_t g = 0; g < a->G; g++) {
        project_group(op, o, g);
        progress_report(p, 0.5 + 0.25 * (double)(g + 1) / (double)a->G);
    }
    for (int64_t t = 0; t < a->T; t++) {
        quantize_token(op, t);
    }
    for (int64_t d = 0; d < a->D; d++) {
        project_channel(op, d);
        progress_report(p, 0.75 + 0.25 * (double)(d + 1) / (double)a->D);
    }
}

dsv4_status golden_out_proj(const golden_attention *a, const uint16_t *o, progress *p, dsv4_error *err)
{
    const int64_t piece = a->act_scale == DSV4_SCALE_BLOCK ? golden_min(SCALE_BLOCK, a->OL) : a->OL;
    out_proj op = {.a = a, .piece = piece, .n_pieces = a->G * ((a->OL + piece - 1) / piece)};
    arena memory = {0};
    dsv4_status status = DSV4_OK;
    const size_t T = (size_t)a->T, OL = (size_t)a->OL, width = (size_t)(a->G * a->OL);
    op.wo_a_t = arena_alloc(&memory, (size_t)a->GI * OL * sizeof *op.wo_a_t);
    op.r_group = arena_alloc(&memory, T * OL * sizeof *op.r_group);
    op.r = arena_alloc(&memory, T * width * sizeof *op.r);
    op.ri = arena_alloc(&memory, T * width * sizeof *op.ri);
    op.rs = arena_alloc(&memory, T * (size_t)op.n_pieces * sizeof *op.rs);
    if (op.wo_a_t != NULL && op.r_group != NULL && op.r != NULL && op.ri != NULL && op.rs != NULL) {
        run(&op, o, p);
    } else {
        status = dsv4_fail(err, DSV4_E_NO_MEMORY, "output projection: no memory for %" PRId64 " tokens", a->T);
    }
    arena_deinit(&memory);
    return status;
}
