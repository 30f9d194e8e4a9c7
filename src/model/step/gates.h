/* model/step/gates.h - the gates of a token's hyper-connections in double (SPEC 6.1, 6.3): a gate's error would show in a whole row, and
 * rows are rounded right behind it. */
#ifndef MODEL_STEP_GATES_H
#define MODEL_STEP_GATES_H

#include <stdint.h>

enum { STEP_MAX_STREAMS = 16 };

typedef struct step_gate_rule {
    int64_t M, n_iterations; /* streams; column normalisations */
    double eps;
} step_gate_rule;

/* mix [(2+M)*M] is hc_fn of a token's streams times their inverse RMS; scale [3], base [(2+M)*M]. Sets pre [M], post [M] and the doubly
 * stochastic comb [M][M]. post NULL: a head, mix [M], scale [1], base [M]. */
void step_gates(const step_gate_rule *rule, const float *scale, const float *base, const double *mix, double *pre, double *post,
                double *comb);

#endif
