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

/* A part of a piece: of one weight (of expert e of a bank) the panels [begin, end), which are all but for BF16 and F32; of a vector the
 * rows [begin, end). */
typedef struct packed_part {
    const packed_piece *piece;
    int64_t e, begin, end;
} packed_part;

/* Panels of a weight, or rows of a vector, that there are. */
int64_t packed_part_count(const packed_piece *piece);

/* Bytes that the part takes in the piece, and from where on; the last part of a weight has its scales, and fills up to the stride. */
size_t packed_part_bytes(const packed_part *part);
size_t packed_part_offset(const packed_part *part);

/* A worker's share of a part, into memory for the part. The pages of the checkpoint that were read are given back. */
DSV4_MUST_CHECK dsv4_status packed_team_part(const packed_team *t, int worker, packed_packer *packer, const model_checkpoint *c,
                                             const packed_part *part, char *memory, dsv4_error *err);

#endif
