/* ops/draw.h - the parts of op_draw_inputs. An input whose fixture is of kind FIX_CALL is made by a recipe: a function named in the
 * table of draw.c, which gets the call and the inputs that are there already. */
#ifndef OPS_DRAW_H
#define OPS_DRAW_H

#include "ops/op.h"

typedef struct op_drawing {
    const dsv4_config *config;
    const op_call *call;
    op_dims dims;
    int64_t *start;         /* [B]: first position of each request */
    dsv4_tensor_list *list; /* every input, allocated and zeroed; tables are filled first */
} op_drawing;

/* One input to make. */
typedef struct op_target {
    const op_drawing *d;
    const op_tensor *row;
    const char *argument; /* what the recipe has behind its colon; "": nothing */
    dsv4_tensor *t;
} op_target;

typedef dsv4_status op_recipe(const op_target *x, dsv4_error *err);

/* ---- the call (draw_call.c) ------------------------------------------------------------------------------------------------ */

/* DSV4_E_VALUE names the field of a call that cannot be: dimensions of such a call stay unknown. */
DSV4_MUST_CHECK dsv4_status op_check_call(const op_call *call, dsv4_error *err);

/* First position of request b. */
int64_t op_call_start(const dsv4_op *op, const dsv4_config *config, const op_call *call, int64_t b);

/* Position of token t, counted through all requests. */
int64_t op_position(const op_drawing *d, int64_t t);

/* The compress ratio that the fixture has as its a; OP_ANY: that of the layer or call. */
int64_t op_target_ratio(const op_target *x);

/* ---- pages (draw_pages.c) -------------------------------------------------------------------------------------------------- */

/* A page table: page table[b, j] holds rows j*page, ... of request b. Without entries: page b*n_cols + j. */
typedef struct op_page_map {
    const int32_t *table;
    int64_t n_requests, n_cols, page;
} op_page_map;

/* The pages of a cache, or of a compressor's state, through the table named by the argument of the recipe; "" for a cache: pages in
 * order. DSV4_E_NOT_FOUND if there is no such I32 table. */
DSV4_MUST_CHECK dsv4_status op_cache_pages(const op_target *x, op_page_map *out, dsv4_error *err);
DSV4_MUST_CHECK dsv4_status op_state_pages(const op_target *x, op_page_map *out, dsv4_error *err);

/* Flat row of logical row i of request b; -1 where the table ends before it. */
int64_t op_page_map_row(const op_page_map *pages, int64_t b, int64_t i);

/* ---- recipes --------------------------------------------------------------------------------------------------------------- */

/* draw_call.c */
op_recipe op_draw_positions, op_draw_lengths, op_draw_tokens, op_draw_window;

/* draw_pages.c: tables, and slots through them */
op_recipe op_draw_table, op_draw_table_permuted, op_draw_table_swapped;
op_recipe op_draw_state_slots, op_draw_cache_slots, op_draw_ring_slots;

/* draw_history.c: states and caches as earlier steps left them */
op_recipe op_draw_empty_state, op_draw_history, op_draw_history_decode, op_draw_cache_rows, op_draw_ring_rows;

/* draw_rope.c */
op_recipe op_draw_rope_rows, op_draw_rope_first, op_draw_rope_request;

/* draw_lists.c */
op_recipe op_draw_list_csa, op_draw_list_hca, op_draw_list_swa, op_draw_list_prefill;
op_recipe op_draw_lens, op_draw_block_mask, op_draw_win_bias;

/* draw_values.c: fixtures that do not depend on the call */
op_recipe op_draw_hadamard, op_draw_random_matrix, op_draw_uniform_fan_in, op_draw_normal_fan_in, op_draw_wq, op_draw_mx8,
    op_draw_mx4, op_draw_mx4_codes, op_draw_rq, op_draw_unit_rows, op_draw_hc, op_draw_hc_post, op_draw_hc_comb;

/* draw_experts.c: token ids, and the experts of tokens */
op_recipe op_draw_token_ids, op_draw_hash_experts, op_draw_expert_counts, op_draw_expert_tokens;

#endif
