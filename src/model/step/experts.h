/* model/step/experts.h - the routed experts of a step (moe.h): stages from routes to a row per route. */
#ifndef MODEL_STEP_EXPERTS_H
#define MODEL_STEP_EXPERTS_H

#include "model/step/moe.h"

/* Rows by route, and how their readers wait for them. */
typedef struct step_expert_rows {
    step_matrix y;       /* [T*K, D], untracked: readers read `ready` */
    op_matrix ready;     /* I8 [slots, column tiles] */
    int64_t column_tile; /* of D */
} step_expert_rows;

/* experts I32 [T, K], weights FP32 [T, K]; x [T, D]. */
step_expert_rows step_experts_add(const step *s, const step_moe_room *room, const model_block_weights *w, step_matrix x,
                                  op_matrix experts, op_matrix weights);

/* Declares that a block reads columns [c0, c1) of n_rows rows. */
void step_expert_rows_reads(dsv4_describe *d, const step_expert_rows *r, int64_t c0, int64_t c1);

#endif
