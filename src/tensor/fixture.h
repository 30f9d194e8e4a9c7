/* tensor/fixture.h - tensors drawn from the fixture distributions of SPEC 8.
 *
 * Values come from counter-based streams named after the tensor: the same (seed, name, shape) gives the same tensor everywhere,
 * whatever else is drawn. Every tensor is row-major without gaps. DSV4_E_SHAPE names what does not fit. */
#ifndef TENSOR_FIXTURE_H
#define TENSOR_FIXTURE_H

#include <string.h>

#include "dsv4/tensor.h"

typedef enum fix_kind {
    FIX_NONE,       /* zeros (outputs) */
    FIX_CONSTANT,   /* a */
    FIX_UNIFORM,    /* U(a, b) */
    FIX_NORMAL,     /* N(mean a; sd b) */
    FIX_WQ_UNIFORM, /* WQ(U(a, b)): BF16 weight, then INT8 per output channel (SPEC 0.3); fills the I8 tensor and its F32 scales */
    FIX_CALL,       /* made from the call by the recipe that `name` names (ops/draw.c) */
} fix_kind;

typedef struct fix_rule {
    fix_kind kind;
    double a, b;
    const char *name; /* WQ: the tensor that receives the scales; CALL: the recipe */
} fix_rule;

/* Elements of a row: the last extent. */
static inline int64_t fix_columns(const dsv4_tensor *t)
{
    return t->n_dims > 0 ? t->shape[t->n_dims - 1] : 1;
}

/* Tensors whose names differ in their ends alone are parts of one thing. */
static inline bool fix_name_ends(const char *name, const char *end)
{
    const size_t n = strlen(name), n_end = strlen(end);
    return n >= n_end && strcmp(name + n - n_end, end) == 0;
}

/* Values [first, first + n) of the stream `name`: FIX_UNIFORM within [a, b], FIX_NORMAL up to 6.8 deviations from a. */
void fix_draw(const char *name, const fix_rule *rule, uint64_t seed, int64_t first, int64_t n, float *values);

/* Fills elements [first, first + n) of t, F32, BF16 or I32, with FIX_NONE, FIX_CONSTANT, FIX_UNIFORM or FIX_NORMAL: element i is
 * value i of the stream, rounded once, ties to even (I32 also clamps). */
DSV4_MUST_CHECK dsv4_status fix_fill_range(const char *name, const fix_rule *rule, uint64_t seed, dsv4_tensor *t, int64_t first,
                                           int64_t n, dsv4_error *err);

/* Fills t: FIX_NONE any dtype; WQ needs t I8 [K, N], whose output channels are its columns, and scale F32 [N]; the others as
 * fix_fill_range. scale may be NULL for every kind but WQ. */
DSV4_MUST_CHECK dsv4_status fix_fill(const char *name, const fix_rule *rule, uint64_t seed, dsv4_tensor *t, dsv4_tensor *scale,
                                     dsv4_error *err);

/* ---- INT8 (fixture_int8.c) ------------------------------------------------------------------------------------------------ */

/* What shares a scale. A row is the last extent. */
typedef enum fix_channel { FIX_PER_COLUMN, FIX_PER_ROW } fix_channel;

/* Q8 of SPEC 0.3: values F32 or BF16 -> q I8 of the same count, scale F32 with one element per channel. */
DSV4_MUST_CHECK dsv4_status fix_quantise(const char *name, const dsv4_tensor *values, fix_channel channel, dsv4_tensor *q,
                                         dsv4_tensor *scale, dsv4_error *err);

/* WQ of SPEC 8: a BF16 tensor of `rule`, quantised. */
DSV4_MUST_CHECK dsv4_status fix_fill_weight(const char *name, const fix_rule *rule, fix_channel channel, uint64_t seed,
                                            dsv4_tensor *q, dsv4_tensor *scale, dsv4_error *err);

/* RQ of SPEC 8: F32 rows of `rule`, quantised per row. */
DSV4_MUST_CHECK dsv4_status fix_fill_quantised_rows(const char *name, const fix_rule *rule, uint64_t seed, dsv4_tensor *q,
                                                    dsv4_tensor *scale, dsv4_error *err);

/* MX8(sd, spread) of SPEC 8, transposed: q I8 [in, out], scale F32 [out]. Its elements are the stream `name`, the magnitudes of its
 * channels the stream of scale_name. */
DSV4_MUST_CHECK dsv4_status fix_fill_mx8(const char *name, const char *scale_name, double sd, double spread, uint64_t seed,
                                         dsv4_tensor *q, dsv4_tensor *scale, dsv4_error *err);

/* Multiplies all scales by one factor, so that q * scale has the deviation sd. */
void fix_set_deviation(const dsv4_tensor *q, fix_channel channel, double sd, dsv4_tensor *scale);

/* ---- FP4 (fixture_mx4.c) -------------------------------------------------------------------------------------------------- */

/* MX4(sd) of SPEC 8: q I8 [.., out, in], scale F32 [.., out]. Its elements are the stream `name`, a group 32 inputs of an output. */
DSV4_MUST_CHECK dsv4_status fix_fill_mx4(const char *name, double sd, uint64_t seed, dsv4_tensor *q, dsv4_tensor *scale,
                                         dsv4_error *err);

/* Its e2m1 form: codes U8 [.., out, in / 2], an even input in the low nibble, scale F8_E8M0 [.., out, in / 32 rounded up]. Since
 * its scales are powers of two, sd is that of the values before they are rounded. */
DSV4_MUST_CHECK dsv4_status fix_fill_mx4_codes(const char *name, double sd, uint64_t seed, dsv4_tensor *codes, dsv4_tensor *scale,
                                               dsv4_error *err);

/* ---- forms (fixture_forms.c) ---------------------------------------------------------------------------------------------- */

/* BF16 rows of N(1), each divided by its RMS. */
DSV4_MUST_CHECK dsv4_status fix_fill_unit_rows(const char *name, uint64_t seed, dsv4_tensor *t, dsv4_error *err);

/* BF16 [n, n]: Sylvester's Hadamard matrix / sqrt(n), n a power of two. */
DSV4_MUST_CHECK dsv4_status fix_fill_hadamard(const char *name, dsv4_tensor *t, dsv4_error *err);

/* F32 parameters of a hyper-connection of n_streams streams: the set "swa", "hca", "csa" or "head", the part by the end of the
 * tensor's name: _fn, _scale or _base. The sets are those of four streams; others repeat them. */
DSV4_MUST_CHECK dsv4_status fix_fill_hc(const char *name, const char *set, int64_t n_streams, uint64_t seed, dsv4_tensor *t,
                                        dsv4_error *err);

/* F32: 2 * sigmoid(N(1)). */
DSV4_MUST_CHECK dsv4_status fix_fill_hc_post(const char *name, uint64_t seed, dsv4_tensor *t, dsv4_error *err);

/* F32 groups of n_streams values of U(.1, 1.1), each group normalised to sum 1. */
DSV4_MUST_CHECK dsv4_status fix_fill_hc_comb(const char *name, int64_t n_streams, uint64_t seed, dsv4_tensor *t, dsv4_error *err);

#endif
