/* ops/op.h - what an operator file fills in: a table of tensors, a table of tiles, and a builder.
 *
 * One row of the tensor table feeds the shape check, the fixture, the comparison and the listing; one row of the tile table feeds
 * the defaults, the guards and the listing. */
#ifndef OPS_OP_H
#define OPS_OP_H

#include "dsv4/ops.h"
#include "kernels/kernels.h"
#include "tensor/compare.h"
#include "tensor/fixture.h"

/* ---- dimensions -------------------------------------------------------------------------------------------------------- */

/* Symbols of SPEC 0.1, their smallest value, and what they count. */
#define OP_SYMBOLS(X)                          \
    X(T, 1, "tokens of the call")              \
    X(N, 1, "rows of a table")                 \
    X(ratio, 0, "compress_ratio of the layer") \
    X(D, 1, "hidden_size")                     \
    X(H, 1, "num_attention_heads")             \
    X(hd, 1, "head_dim")                       \
    X(R, 1, "qk_rope_head_dim")                \
    X(QL, 1, "q_lora_rank")

typedef enum op_symbol {
#define OP_SYMBOL_ENUM(symbol, least, meaning) OP_##symbol,
    OP_SYMBOLS(OP_SYMBOL_ENUM)
#undef OP_SYMBOL_ENUM
        OP_N_SYMBOLS
} op_symbol;

#define OP_UNKNOWN INT64_MIN

typedef struct op_dims {
    int64_t of[OP_N_SYMBOLS]; /* OP_UNKNOWN until bound */
} op_dims;

/* Dimensions of a model; those of the call are unknown. */
op_dims op_dims_of_config(const dsv4_config *config);

/* ---- tables ------------------------------------------------------------------------------------------------------------ */

typedef enum op_direction { OP_IN, OP_OUT } op_direction;

typedef struct op_tensor {
    const char *name;
    dsv4_dtype dtype;
    op_direction direction;
    const char *shape; /* "T,H*hd"; "" is a scalar */
    const char *meaning;
    fix_rule fixture;
    const char *symbol; /* a scalar input that is the value of this dimension; NULL otherwise */
    cmp_rule rule;      /* outputs */
} op_tensor;

typedef struct op_tile {
    const char *name, *meaning;
    int64_t decode, prefill; /* defaults; they shrink where a rule below needs it */
    int64_t multiple_of;     /* 1: any */
    const char *divides;     /* a symbol whose value it must divide; NULL: any */
    const char *chunks_of;   /* a symbol; at most as many as its value has chunks (chunk.h). NULL: any */
} op_tile;

enum { OP_MAX_TENSORS = 64, OP_MAX_TILES = 16 };

/* Everything a builder gets. Tensors and tiles stand in the order of the operator's tables. */
typedef struct op_context {
    const dsv4_config *config;
    op_dims dims;
    dsv4_mode mode;
    int64_t tile[OP_MAX_TILES];
    dsv4_tensor tensor[OP_MAX_TENSORS];
    const uk_table *uk;
    dsv4_graph *g;
} op_context;

struct dsv4_op {
    const char *name, *summary;
    const op_tensor *tensors;
    size_t n_tensors;
    const op_tile *tiles;
    size_t n_tiles;
    /* Checks rules that the tables cannot say. May be NULL. */
    dsv4_status (*check)(const op_context *c, dsv4_error *err);
    /* Adds the stages. Errors stay in the graph. */
    void (*build)(const op_context *c);
};

/* ---- calls ------------------------------------------------------------------------------------------------------------- */

/* Evaluates a shape such as "T,H*hd" into extents; DSV4_E_SHAPE if a symbol is unknown or a product overflows. */
DSV4_MUST_CHECK dsv4_status op_eval_shape(const char *shape, const op_dims *dims, int *n_dims, int64_t *extents, dsv4_error *err);

/* Checks the inputs in io against the tensor table and binds the dimensions of the call: T from shapes, others from scalars. */
DSV4_MUST_CHECK dsv4_status op_bind(const dsv4_op *op, const dsv4_tensor_list *io, op_dims *dims, dsv4_error *err);

/* Draws every input from its fixture distribution into list. All dimensions must be known. */
DSV4_MUST_CHECK dsv4_status op_draw_inputs(const dsv4_op *op, const op_dims *dims, uint64_t seed, dsv4_tensor_list *list,
                                           dsv4_error *err);

extern const dsv4_op op_rope_tables, op_rmsnorm, op_qkv_proj_rope;

#endif
