/* model/packed_plan.h - where each weight of a model lies in its packed memory or file, which follows from the configuration alone. */
#ifndef MODEL_PACKED_PLAN_H
#define MODEL_PACKED_PLAN_H

#include "model/packed.h"
#include "model/weights.h"

enum { PACKED_PAGE = 4096, PACKED_HUGE_PAGE = 2 << 20 };

/* What a piece is: weights that products stream, and vectors as they are. */
typedef enum packed_kind { PACKED_WEIGHT, PACKED_BANK, PACKED_BF16, PACKED_F32, PACKED_ROUTES } packed_kind;

typedef struct packed_piece {
    char name[MODEL_NAME_BYTES]; /* of the tensor, without ".weight"; of a bank with '*' for the expert */
    packed_kind kind;
    bool is_draft;   /* of a draft block */
    model_form form; /* WEIGHT, BANK */
    int64_t k, n;    /* inputs, outputs; a vector has k rows of n values */
    int64_t count;   /* 1; of a bank its experts */
    size_t bytes;    /* of one, without what fills up to stride */
    size_t stride;   /* a multiple of 64 */
    size_t offset;   /* of the first, from the beginning of the data */
    union {
        model_weight *weight;
        model_expert_bank *bank;
        const uint16_t **bf16;
        const float **f32;
        const int32_t **routes;
    } target; /* in the model_weights that the plan is of */
} packed_piece;

typedef struct packed_plan {
    size_t n, capacity;
    packed_piece *pieces; /* by offset: blocks in order, then what is outside of them */
    size_t bytes;         /* of all data */
} packed_plan;

/* Weights without memory, and their plan. config.expert_dtype is known. Both are the caller's: model_weights_free,
 * packed_plan_deinit. DSV4_E_VALUE: a dimension that cannot be packed. */
DSV4_MUST_CHECK dsv4_status packed_plan_make(const model_config *config, bool int8, model_weights **weights, packed_plan *plan,
                                             dsv4_error *err);
void packed_plan_deinit(packed_plan *plan);

/* Lets the weights point into data of plan->bytes bytes, 64-byte aligned. */
void packed_plan_bind(const packed_plan *plan, void *data);

size_t packed_piece_bytes(const packed_piece *p); /* of all of it */

/* ---- one weight (packed_form.c) ---------------------------------------------------------------------------------------------- */

/* Bytes that a weight takes, scales included; 0: cannot be packed. */
size_t packed_form_bytes(model_form form, int64_t k, int64_t n);

/* The weight that lies in memory of that many bytes. */
model_weight packed_form_in(model_form form, int64_t k, int64_t n, void *memory);

typedef struct packed_packer packed_packer; /* of one thread */

DSV4_MUST_CHECK dsv4_status packed_packer_create(const packed_plan *plan, packed_packer **out, dsv4_error *err);
void packed_packer_destroy(packed_packer *p);

/* Packs the panels [begin, end) of a stored matrix; w is packed_form_in of m->columns inputs and m->rows outputs. `name` appears in
 * messages. Threads may pack different panels at once, each with its packer. */
DSV4_MUST_CHECK dsv4_status packed_panels(packed_packer *p, const char *name, const model_matrix *m, const model_weight *w,
                                          int64_t begin, int64_t end, dsv4_error *err);

/* ---- from a checkpoint (packed_source.c) --------------------------------------------------------------------------------------- */

/* The matrix of a WEIGHT, or of expert e of a BANK; its full name in name. DSV4_E_NOT_FOUND. */
DSV4_MUST_CHECK dsv4_status packed_source_find(const model_checkpoint *c, const packed_piece *p, int64_t e,
                                               char name[MODEL_NAME_BYTES], model_matrix *out, dsv4_error *err);

/* Rows [begin, end) of a vector's data, as the packed form has them. ROUTES are checked to be within the experts, the others to be
 * finite. */
DSV4_MUST_CHECK dsv4_status packed_source_rows(const model_checkpoint *c, const packed_piece *p, int64_t begin, int64_t end,
                                               void *dst, dsv4_error *err);

/* Rows of a matrix were read and are not needed soon: their pages need no memory of this process. */
void packed_source_drop(const model_matrix *m, int64_t begin, int64_t end);

/* DSV4_OK if every expert's number in a table of n is below n_experts. */
DSV4_MUST_CHECK dsv4_status packed_routes_check(const char *name, const int32_t *routes, int64_t n, int64_t n_experts,
                                                dsv4_error *err);

#endif
