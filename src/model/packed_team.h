/* model/packed_team.h - workers that pack, each with what it needs for it. */
#ifndef MODEL_PACKED_TEAM_H
#define MODEL_PACKED_TEAM_H

#include "model/packed_plan.h"

typedef struct packed_team packed_team;

/* The workers of the pool; NULL: the caller alone. */
DSV4_MUST_CHECK dsv4_status packed_team_create(const packed_plan *plan, dsv4_pool *pool, packed_team **out, dsv4_error *err);
void packed_team_destroy(packed_team *t);

/* The share of a worker of n panels or rows begins here: that of a stage whose blocks are these in ascending order. */
int64_t packed_team_share(const packed_team *t, int worker, int64_t n);

typedef dsv4_status packed_team_work(void *context, const packed_team *t, int worker, packed_packer *packer, dsv4_error *err);

/* Calls work once on each worker. The failure of the first worker that failed. */
DSV4_MUST_CHECK dsv4_status packed_team_run(packed_team *t, packed_team_work *work, void *context, dsv4_error *err);

/* A worker's share of the panels of one weight, expert e of the piece (0 where it is no bank), into its memory. The pages of the
 * checkpoint that it has read are given back. */
DSV4_MUST_CHECK dsv4_status packed_team_weight(const packed_team *t, int worker, packed_packer *packer, const model_checkpoint *c,
                                               const packed_piece *piece, int64_t e, void *memory, dsv4_error *err);

#endif
