/* golden/hc.h - what the mixing before a block and at the head share. Internal to hc*.c. */
#ifndef GOLDEN_HC_H
#define GOLDEN_HC_H

#include "golden/parts.h"

/* row[M * D] = the streams x[M, D] of a token, widened; mix[n] = (row fn^T) * inv(row), fn [n, M * D]. */
void hc_mix(const golden_hc *hc, const uint16_t *x, int64_t n, const float *fn, float *row, float *mix);

/* sigmoid(mix * scale + base) + hc_eps. */
float hc_gate(const golden_hc *hc, float mix, float scale, float base);

/* bf, or bfA where ties go away from zero. */
uint16_t hc_round(const golden_hc *hc, float value);

#endif
