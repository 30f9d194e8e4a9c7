/* model/summary.h - how many bytes the parts of a model have, and how many of them one token reads. */
#ifndef MODEL_SUMMARY_H
#define MODEL_SUMMARY_H

#include "model/table.h"

typedef struct model_amount {
    size_t n_tensors;
    size_t bytes;
    double active_bytes; /* per token of a step of one token (model_tensor_active_bytes) */
    unsigned char has_dtype[DSV4_N_DTYPES];
} model_amount;

typedef struct model_summary {
    model_amount group[MODEL_N_GROUPS]; /* of the trunk, embedding and head */
    model_amount block[MODEL_MAX_BLOCKS];
    model_amount trunk, draft; /* trunk: with embedding and head. Draft blocks read the trunk's head once more; not counted */
} model_summary;

void model_summarise(const model_config *config, const model_table *table, model_summary *out);

#endif
