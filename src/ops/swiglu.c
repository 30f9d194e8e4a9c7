#include "ops/swiglu.h"

void op_swiglu(const uk_table *uk, int64_t n, float limit, float *g, const float *u, float *rest)
{
    for (int64_t i = 0; i < n; i++) {
        g[i] = limit > 0 && g[i] > limit ? limit : g[i];
        rest[i] = -g[i];
    }
    uk->exp(n, rest, rest);
    for (int64_t i = 0; i < n; i++) {
        float up = limit > 0 && u[i] > limit ? limit : u[i];
        up = limit > 0 && up < -limit ? -limit : up;
        g[i] = (g[i] * (1.0f / (1.0f + rest[i]))) * up;
    }
}
