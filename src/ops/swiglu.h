/* ops/swiglu.h - what an expert does between its products (SPEC 6.5). */
#ifndef OPS_SWIGLU_H
#define OPS_SWIGLU_H

#include "kernels/kernels.h"

/* Vector operations of an element. */
enum { OP_SWIGLU_OPS = 24 };

/* g[i] = (g * sigmoid(g)) * u with g = min(g[i], limit), u = clamp(u[i], -limit, limit); limit 0: no bounds. NaNs stay. rest [n] is
 * scratch. */
void op_swiglu(const uk_table *uk, int64_t n, float limit, float *g, const float *u, float *rest);

#endif
