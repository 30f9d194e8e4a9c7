/* ops/rms.h - pieces of RMS normalisation and INT8 quantisation shared by operators (SPEC 0.3).
 *
 * A row of m values is cut into chunks (chunk.h). Its sum of squares is the sum of the chunks' lane sums in ascending order; a
 * stage can therefore leave chunk sums to another stage, in any number of parts, with the same result. */
#ifndef OPS_RMS_H
#define OPS_RMS_H

#include "kernels/kernels.h"

/* Vector operations that a value takes on its way into a packed INT8 product: widened, its size compared, scaled, rounded, narrowed,
 * and put in its place among the packed ones. */
enum { OP_Q8_OPS = 10 };

/* 1/sqrt(sum/m + eps) from the n chunk sums of a row of m values. */
float op_inverse_rms(const float *chunk_sums, int64_t n, int64_t m, float eps);

/* The same from the row itself. */
float op_row_inverse_rms(const uk_table *uk, const float *row, int64_t m, float eps);

/* Q8's multiplier 127/amax as the goldens evaluate it, 127*(1/max(amax, 1e-4)); the dequantisation scale is 1/multiplier. */
float op_q8_multiplier(float amax);

#endif
