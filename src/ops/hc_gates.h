/* ops/hc_gates.h - from the mixed-down streams of a token to the gates of its hyper-connections (SPEC 6.1, 6.3). */
#ifndef OPS_HC_GATES_H
#define OPS_HC_GATES_H

#include "kernels/kernels.h"

typedef struct op_hc_rule {
    int64_t M, n_iterations; /* streams; column normalisations */
    float hc_eps;
} op_hc_rule;

/* mix [(2+M)*M] is hc_fn of a token's streams times their inverse RMS; scale [3], base [(2+M)*M]. Sets pre [M], post [M] and the
 * doubly stochastic comb [M][M]. post and comb NULL: a head, mix [M], scale [1], base [M]. */
void op_hc_gates(const uk_table *uk, const op_hc_rule *o, const float *scale, const float *base, const float *mix, float *pre,
                 float *post, float *comb);

#endif
