/* model/table.h - the tensors that a checkpoint of a configuration consists of: names, dtypes, shapes.
 *
 *   FP8 [N, K]   X.weight F8_E4M3 [N, K],   X.scale F8_E8M0 [ceil(N/128), ceil(K/128)]
 *   FP4 [N, K]   X.weight I8 [N, K/2],      X.scale F8_E8M0 [N, K/32]; column 2j is the low half of byte j */
#ifndef MODEL_TABLE_H
#define MODEL_TABLE_H

#include "dsv4/tensor.h"
#include "model/config.h"

enum { MODEL_NAME_BYTES = 64, MODEL_FP8_BLOCK = 128, MODEL_FP4_BLOCK = 32 };

/* code, what it is called */
#define MODEL_GROUP_LIST(X)                   \
    X(MODEL_EMBEDDING, "embedding")           \
    X(MODEL_HEAD, "head")                     \
    X(MODEL_NORMS, "norms")                   \
    X(MODEL_STREAMS, "hyper-connections")     \
    X(MODEL_ATTENTION, "attention")           \
    X(MODEL_COMPRESSOR, "compressor")         \
    X(MODEL_INDEXER, "indexer")               \
    X(MODEL_ROUTER, "router")                 \
    X(MODEL_SHARED_EXPERT, "shared experts")  \
    X(MODEL_ROUTED_EXPERTS, "routed experts") \
    X(MODEL_DRAFT_PARTS, "draft projections")

typedef enum model_group {
#define MODEL_GROUP_CODE(code, name) code,
    MODEL_GROUP_LIST(MODEL_GROUP_CODE)
#undef MODEL_GROUP_CODE
        MODEL_N_GROUPS
} model_group;

const char *model_group_name(model_group group);

enum { MODEL_OUTSIDE_BLOCKS = -1 };

typedef struct model_tensor {
    char name[MODEL_NAME_BYTES];
    model_group group;
    int block; /* layer, or num_hidden_layers + i for draft block i, or MODEL_OUTSIDE_BLOCKS */
    dsv4_dtype dtype;
    int n_dims; /* 1 or 2 */
    int64_t shape[2];
} model_tensor;

typedef struct model_table {
    size_t n, capacity;
    model_tensor *items; /* embedding, blocks in order, head */
} model_table;

/* The table of a configuration; expert_dtype must be known (asserted). End with model_table_deinit. DSV4_E_NO_MEMORY. */
DSV4_MUST_CHECK dsv4_status model_table_make(const model_config *config, model_table *out, dsv4_error *err);
void model_table_deinit(model_table *table);

size_t model_tensor_bytes(const model_tensor *t);

/* How many of a tensor's bytes one token reads in one step: a row of the embedding and of a hash table, the chosen experts' share
 * of the routed ones (an average over the experts), all of the rest. */
double model_tensor_active_bytes(const model_config *config, const model_tensor *t);

/* "[32768, 1024]", cut to size; returns text. */
char *model_tensor_shape_text(const model_tensor *t, char *text, size_t size);

#endif
