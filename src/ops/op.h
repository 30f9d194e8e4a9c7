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

/* Symbols of SPEC 0.1 and page counts, their smallest value, and what they count. */
#define OP_SYMBOLS(X)                               \
    X(T, 1, "tokens of the call")                   \
    X(B, 1, "requests of the call")                 \
    X(S, 1, "tokens of a request")                  \
    X(N, 1, "rows of a table")                      \
    X(ratio, 0, "compress_ratio of the layer")      \
    X(D, 1, "hidden_size")                          \
    X(H, 1, "num_attention_heads")                  \
    X(hd, 1, "head_dim")                            \
    X(R, 1, "qk_rope_head_dim")                     \
    X(QL, 1, "q_lora_rank")                         \
    X(OL, 1, "o_lora_rank")                         \
    X(G, 1, "o_groups")                             \
    X(W, 1, "sliding_window")                       \
    X(M, 1, "hc_mult")                              \
    X(IH, 1, "index_n_heads")                       \
    X(ID, 1, "index_head_dim")                      \
    X(KT, 1, "index_topk")                          \
    X(tile, 1, "ATTN_TILE, keys of a block")        \
    X(BS, 1, "rows of a cache page")                \
    X(WP, 0, "pages of the window cache")           \
    X(WPR, 1, "window pages of a request")          \
    X(CP, 0, "pages of the compressed cache")       \
    X(CPR, 1, "compressed pages of a request")      \
    X(IP, 0, "pages of the index cache")            \
    X(IPR, 1, "index pages of a request")           \
    X(SP, 0, "pages of compressor state")           \
    X(SPR, 1, "entries of a state table")           \
    X(SR, 1, "rows of a state page")                \
    X(JP, 0, "pages of the index compressor state") \
    X(JPR, 1, "entries of an index state table")    \
    X(JR, 1, "rows of an index state page")         \
    X(SL, 1, "columns of the index scores")         \
    X(KL, 1, "width of the key lists")              \
    X(KB, 1, "key blocks of a list")                \
    X(V, 1, "vocab_size")                           \
    X(F, 1, "moe_intermediate_size")                \
    X(E, 1, "n_routed_experts")                     \
    X(K, 1, "num_experts_per_tok")                  \
    X(layer, 0, "layer of the call")                \
    X(EL, 1, "experts that receive rows")           \
    X(RM, 1, "rows that an expert may receive")     \
    X(TP, 1, "shards of the vocabulary")

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

/* Name of the scales of an OP_OR_I8 tensor. */
#define OP_SCALE_OF_I8 "idx_kv_scale"

/* How a call uses a tensor. */
typedef enum op_use {
    OP_IN = 1,
    OP_OUT = 2,
    OP_INOUT = OP_IN | OP_OUT, /* updated in place: the caller's state */
    OP_OPTIONAL = 4,           /* an input that may be missing: its data is NULL then */
    OP_OR_I8 = 8               /* may be I8 instead of its dtype: the quantised form of a cache */
} op_use;

typedef struct op_tensor {
    const char *name;
    dsv4_dtype dtype;
    int use;           /* op_use, or-ed */
    const char *shape; /* "T,H*hd", "2*M+M*M,M*D", "T/4,ID": sums of products, / rounds up; "" is a scalar */
    const char *meaning;
    fix_rule fixture;
    const char *symbol; /* a scalar input that is the value of this dimension; NULL otherwise */
    cmp_rule rule;      /* outputs */
} op_tensor;

static inline bool op_is_input(const op_tensor *row)
{
    return (row->use & OP_IN) != 0;
}

static inline bool op_is_output(const op_tensor *row)
{
    return (row->use & OP_OUT) != 0;
}

typedef struct op_tile {
    const char *name, *meaning;
    int64_t decode, prefill; /* defaults; they shrink where a rule below needs it */
    int64_t multiple_of;     /* 1: any */
    const char *divides;     /* a symbol whose value it must divide; NULL: any */
    const char *chunks_of;   /* a symbol; at most as many as its value has chunks (chunk.h). NULL: any */
} op_tile;

enum { OP_MAX_TENSORS = 64, OP_MAX_TILES = 24 };

/* Everything a builder gets. Tensors and tiles stand in the order of the operator's tables; the data of an optional tensor that the
 * caller did not bring is NULL. */
typedef struct op_context {
    const dsv4_op *op;
    const dsv4_config *config;
    dsv4_numerics numerics;
    op_dims dims;
    dsv4_mode mode;
    int64_t tile[OP_MAX_TILES];
    dsv4_tensor tensor[OP_MAX_TENSORS];
    const uk_table *uk;
    dsv4_pool *pool; /* its workers pack the weights; NULL: the calling thread does */
    dsv4_graph *g;
} op_context;

enum { OP_ANY = -1 };

struct dsv4_op {
    const char *name, *summary;
    const char *family; /* the operator that this is a form of ("indexer"), chosen by mode and ratio; NULL: it has one form */
    int mode, ratio;    /* of the form: a dsv4_mode, a compress ratio; OP_ANY. Without a family unused */
    const op_tensor *tensors;
    size_t n_tensors;
    const op_tile *tiles;
    size_t n_tiles;
    const char *valid_tokens; /* a scalar input: of outputs "T,..." only that many rows are compared; NULL: all */
    const char *topk_scores;  /* CMP_TOPK outputs: the output with the scores that the rows were chosen by, */
    const char *topk_offset;  /* and what was added to the rows: a scalar input, or a sum of dimensions such as "W+T" */
    /* Checks rules that the tables cannot say. May be NULL. */
    dsv4_status (*check)(const op_context *c, dsv4_error *err);
    /* Adds the stages. Errors stay in the graph. */
    void (*build)(const op_context *c);
};

/* ---- finding ------------------------------------------------------------------------------------------------------------ */

enum { OP_DEFAULT_RATIO = 4 };

/* The operator of that name, or of the family of that name the form for a mode and a compress ratio. OP_ANY is decode and
 * OP_DEFAULT_RATIO for a family, and fits every operator called by its own name. DSV4_E_NOT_FOUND names the operators and families
 * that there are; DSV4_E_USAGE the forms of the family, where none fits. */
DSV4_MUST_CHECK dsv4_status op_choose(const char *name, int mode, int ratio, const dsv4_op **out, dsv4_error *err);

/* Whether an operator of that family exists. */
bool op_is_family(const char *name);

/* Mode and compress ratio of a call: those of the operator's form, where it has them, else the wanted ones; OP_ANY is decode, and
 * OP_DEFAULT_RATIO for a form, 0 for an operator without forms. */
dsv4_mode op_mode_of(const dsv4_op *op, int wanted);
int op_ratio_of(const dsv4_op *op, int wanted);

/* ---- calls ------------------------------------------------------------------------------------------------------------- */

/* Evaluates a shape such as "T,H*hd" into extents; DSV4_E_SHAPE if a symbol is unknown or a product overflows. */
DSV4_MUST_CHECK dsv4_status op_eval_shape(const char *shape, const op_dims *dims, int *n_dims, int64_t *extents, dsv4_error *err);

/* Checks the inputs in io against the tensor table and binds the dimensions of the call: T from shapes, others from
 * scalars; EL and RM where no input has them: all experts, and room as SPEC 1.3 has it. */
DSV4_MUST_CHECK dsv4_status op_bind(const dsv4_op *op, const dsv4_tensor_list *io, op_dims *dims, dsv4_error *err);

/* What dsv4_op_build would build: binds the call, chooses its tiles and checks all rules. out has no graph; it borrows what it is
 * made from. */
DSV4_MUST_CHECK dsv4_status op_plan(const dsv4_op *op, const dsv4_config *config, const dsv4_op_options *options,
                                    const dsv4_tensor_list *io, op_context *out, dsv4_error *err);

/* Whether the rules of the operator's tile table let a tile of the call have that value. */
bool op_tile_may_be(const op_context *c, size_t tile, int64_t value);

/* The tensor of that name in the operator's table; its data is NULL where it is optional and missing. */
dsv4_tensor op_tensor_named(const op_context *c, const char *name);

/* Whether the operator's table has that name and the caller brought the tensor. */
bool op_has_tensor(const op_context *c, const char *name);

/* A call to draw: how many tokens, and where they stand. */
typedef struct op_call {
    dsv4_mode mode;
    int64_t n_requests, n_tokens; /* requests; tokens of each (prefill: one request) */
    int64_t start_pos;            /* first position of every request; OP_UNKNOWN: the positions of SPEC 8 */
    int64_t ratio;                /* compress_ratio of rope_tables */
    bool quantised_index;         /* OP_OR_I8 tensors are I8, with their scales */
    uint64_t seed;
} op_call;

/* All dimensions of that call: those of config, tables and caches that hold every position up to the end of the call, and states
 * that hold at least the positions which the call still needs. */
op_dims op_dims_of_call(const dsv4_op *op, const dsv4_config *config, const op_call *call);

/* Draws every input from its fixture distribution into list; optional ones are left out where an operator can derive them. */
DSV4_MUST_CHECK dsv4_status op_draw_inputs(const dsv4_op *op, const dsv4_config *config, const op_call *call,
                                           dsv4_tensor_list *list, dsv4_error *err);

extern const dsv4_op op_rope_tables, op_rmsnorm, op_qkv_proj_rope;
extern const dsv4_op op_hc_pre, op_hc_post, op_hc_head;
extern const dsv4_op op_decode_attention_swa, op_decode_attention_csa, op_decode_attention_hca;
extern const dsv4_op op_prefill_attention_swa, op_prefill_attention_csa, op_prefill_attention_hca;
extern const dsv4_op op_decode_compressor_ratio4, op_decode_compressor_ratio128, op_decode_indexer_compressor;
extern const dsv4_op op_prefill_compressor_ratio4, op_prefill_compressor_ratio128, op_prefill_indexer_compressor;
extern const dsv4_op op_decode_indexer, op_prefill_indexer;
extern const dsv4_op op_moe_gate, op_expert_shared, op_expert_routed, op_expert_routed_fp4, op_dispatch, op_combine, op_moe,
    op_lm_head, op_mtp_projection;
extern const dsv4_op op_decode_sparse_attn, op_decode_sparse_attn_hca, op_decode_sparse_attn_swa, op_prefill_sparse_attn;

#endif
