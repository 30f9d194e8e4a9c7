/* tensor/fixture.h - tensors drawn from the fixture distributions of SPEC 8.
 *
 * Values come from counter-based streams named after the tensor: the same (seed, name, shape) gives the same tensor everywhere,
 * whatever else is drawn. */
#ifndef TENSOR_FIXTURE_H
#define TENSOR_FIXTURE_H

#include "dsv4/tensor.h"

typedef enum fix_kind {
    FIX_NONE,       /* zeros (outputs) */
    FIX_CONSTANT,   /* a */
    FIX_UNIFORM,    /* U(a, b) */
    FIX_NORMAL,     /* N(mean a; sd b) */
    FIX_WQ_UNIFORM, /* WQ(U(a, b)): BF16 weight, then INT8 per output channel (SPEC 0.3); fills the I8 tensor and its F32 scales */
} fix_kind;

typedef struct fix_rule {
    fix_kind kind;
    double a, b;
    const char *scale_name; /* WQ: the tensor that receives the scales */
} fix_rule;

/* Fills t, which is row-major without gaps: FIX_NONE any dtype; the others F32, BF16 or I32, cast from the draw with one
 * rounding, ties to even (I32 also clamps). Element i is value i of the stream `name` of this seed. WQ instead needs t I8 [K, N],
 * whose output channels are its columns, and scale F32 [N]; scale may be NULL for every other kind. DSV4_E_SHAPE names what does
 * not fit. */
DSV4_MUST_CHECK dsv4_status fix_fill(const char *name, const fix_rule *rule, uint64_t seed, dsv4_tensor *t, dsv4_tensor *scale,
                                     dsv4_error *err);

#endif
