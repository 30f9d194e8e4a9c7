/* ops/draw.c - the inputs of a call, drawn from the fixture distributions of its operator (SPEC 8). */
#include "ops/draw.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "ops/bind.h"

/* ---- recipes ------------------------------------------------------------------------------------------------------------ */

typedef struct recipe {
    const char *name;
    dsv4_dtype dtype;
    bool is_table; /* slots and histories of other tensors go through it */
    op_recipe *fill;
} recipe;

static const recipe recipes[] = {
    {"positions", DSV4_I32, false, op_draw_positions},
    {"lengths", DSV4_I32, false, op_draw_lengths},
    {"tokens", DSV4_I32, false, op_draw_tokens},
    {"window", DSV4_I32, false, op_draw_window},
    {"table", DSV4_I32, true, op_draw_table},
    {"table_permuted", DSV4_I32, true, op_draw_table_permuted},
    {"table_swapped", DSV4_I32, true, op_draw_table_swapped},
    {"state_slots", DSV4_I64, false, op_draw_state_slots},
    {"cache_slots", DSV4_I64, false, op_draw_cache_slots},
    {"ring_slots", DSV4_I64, false, op_draw_ring_slots},
    {"empty_state", DSV4_F32, false, op_draw_empty_state},
    {"history", DSV4_F32, false, op_draw_history},
    {"history_decode", DSV4_F32, false, op_draw_history_decode},
    {"cache_rows", DSV4_BF16, false, op_draw_cache_rows},
    {"ring_rows", DSV4_BF16, false, op_draw_ring_rows},
    {"rope_rows", DSV4_BF16, false, op_draw_rope_rows},
    {"rope_first", DSV4_BF16, false, op_draw_rope_first},
    {"rope_table", DSV4_BF16, false, op_draw_rope_first},
    {"rope_request", DSV4_F32, false, op_draw_rope_request},
    {"rope_token", DSV4_F32, false, op_draw_rope_rows},
    {"list_csa", DSV4_I32, false, op_draw_list_csa},
    {"list_hca", DSV4_I32, false, op_draw_list_hca},
    {"list_swa", DSV4_I32, false, op_draw_list_swa},
    {"list_prefill", DSV4_I32, false, op_draw_list_prefill},
    {"lens", DSV4_I32, false, op_draw_lens},
    {"block_mask", DSV4_I32, false, op_draw_block_mask},
    {"win_bias", DSV4_F32, false, op_draw_win_bias},
    {"hadamard", DSV4_BF16, false, op_draw_hadamard},
    {"random_matrix", DSV4_BF16, false, op_draw_random_matrix},
    {"uniform_fan_in", DSV4_BF16, false, op_draw_uniform_fan_in},
    {"normal_fan_in", DSV4_BF16, false, op_draw_normal_fan_in},
    {"wq", DSV4_I8, false, op_draw_wq},
    {"mx8", DSV4_I8, false, op_draw_mx8},
    {"mx4", DSV4_I8, false, op_draw_mx4},
    {"mx4_codes", DSV4_U8, false, op_draw_mx4_codes},
    {"rq", DSV4_I8, false, op_draw_rq},
    {"unit_rows", DSV4_BF16, false, op_draw_unit_rows},
    {"router", DSV4_F32, false, op_draw_normal_fan_in},
    {"token_ids", DSV4_I64, false, op_draw_token_ids},
    {"hash_experts", DSV4_I32, false, op_draw_hash_experts},
    {"expert_tokens", DSV4_I32, false, op_draw_expert_tokens},
    {"expert_counts", DSV4_I32, false, op_draw_expert_counts},
    {"hc", DSV4_F32, false, op_draw_hc},
    {"hc_post", DSV4_F32, false, op_draw_hc_post},
    {"hc_comb", DSV4_F32, false, op_draw_hc_comb},
};

enum { N_RECIPES = sizeof recipes / sizeof *recipes };

/* The recipe of a fixture, whose name may have an argument behind a colon; NULL if it is none. */
static const recipe *find_recipe(const fix_rule *rule)
{
    const size_t n = rule->kind == FIX_CALL && rule->name != NULL ? strcspn(rule->name, ":") : 0;
    for (size_t i = 0; i < N_RECIPES && n > 0; i++) {
        if (strlen(recipes[i].name) == n && memcmp(recipes[i].name, rule->name, n) == 0) {
            return &recipes[i];
        }
    }
    return NULL;
}

static dsv4_status follow_recipe(const op_drawing *d, const op_tensor *row, dsv4_tensor *t, dsv4_error *err)
{
    const recipe *found = find_recipe(&row->fixture);
    if (found == NULL) {
        return dsv4_fail(err, DSV4_E_NOT_FOUND, "tensor %s: no recipe \"%s\" for its fixture", row->name,
                         row->fixture.name != NULL ? row->fixture.name : "");
    }
    if (t->dtype != found->dtype) {
        return dsv4_fail(err, DSV4_E_SHAPE, "tensor %s: got %s, expected %s for the fixture %s", row->name,
                         dsv4_dtype_name(t->dtype), dsv4_dtype_name(found->dtype), found->name);
    }
    const char *colon = strchr(row->fixture.name, ':');
    const op_target x = {.d = d, .row = row, .argument = colon != NULL ? colon + 1 : "", .t = t};
    return found->fill(&x, err);
}

/* ---- tensors ------------------------------------------------------------------------------------------------------------ */

static bool is_quantised(const op_drawing *d, const op_tensor *row)
{
    return (row->use & OP_OR_I8) != 0 && d->call->quantised_index;
}

/* Optional inputs without a fixture are left out, but for the scales of a quantised index. */
static bool is_drawn(const op_drawing *d, const op_tensor *row)
{
    if (!op_is_input(row)) {
        return false;
    }
    return strcmp(row->name, OP_SCALE_OF_I8) == 0 ? d->call->quantised_index
                                                  : (row->use & OP_OPTIONAL) == 0 || row->fixture.kind != FIX_NONE;
}

static dsv4_status allocate(const op_drawing *d, const op_tensor *row, dsv4_error *err)
{
    int n_dims = 0;
    int64_t extents[DSV4_MAX_DIMS];
    const dsv4_status status = op_eval_shape(row->shape, &d->dims, &n_dims, extents, err);
    return status == DSV4_OK
               ? dsv4_tensor_list_alloc(d->list, row->name, is_quantised(d, row) ? DSV4_I8 : row->dtype, n_dims, extents, NULL, err)
               : status;
}

static dsv4_status fill(const op_drawing *d, const op_tensor *row, dsv4_tensor *t, dsv4_error *err)
{
    fix_rule rule = row->fixture;
    if (rule.kind == FIX_NONE) {
        return DSV4_OK;
    }
    if (rule.kind == FIX_CALL) {
        return follow_recipe(d, row, t, err);
    }
    if (row->symbol != NULL) {
        rule.a = (double)d->dims.of[op_find_symbol(row->symbol, strlen(row->symbol))];
    }
    dsv4_tensor *scale = rule.name != NULL ? dsv4_tensor_list_find(d->list, rule.name) : NULL;
    return fix_fill(row->name, &rule, d->call->seed, t, scale, err);
}

/* Draws t's rows in the dtype of the operator's table, then Q8 row by row. */
static dsv4_status fill_quantised(const op_drawing *d, const op_tensor *row, dsv4_tensor *t, dsv4_error *err)
{
    dsv4_tensor_list draft = {0};
    dsv4_tensor values;
    dsv4_tensor *scale = dsv4_tensor_list_find(d->list, OP_SCALE_OF_I8);
    dsv4_status status = dsv4_tensor_list_alloc(&draft, row->name, row->dtype, t->n_dims, t->shape, &values, err);
    if (status == DSV4_OK) {
        status = fill(d, row, &values, err);
    }
    if (status == DSV4_OK) {
        status = fix_quantise(row->name, &values, FIX_PER_ROW, t, scale, err);
    }
    dsv4_tensor_list_deinit(&draft);
    return status;
}

/* Fills the tables, or all others. */
static dsv4_status fill_all(const op_drawing *d, const dsv4_op *op, bool tables, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    for (size_t i = 0; i < op->n_tensors && status == DSV4_OK; i++) {
        const op_tensor *row = &op->tensors[i];
        const recipe *found = find_recipe(&row->fixture);
        dsv4_tensor *t = dsv4_tensor_list_find(d->list, row->name);
        if (is_drawn(d, row) && (found != NULL && found->is_table) == tables) {
            status = is_quantised(d, row) ? fill_quantised(d, row, t, err) : fill(d, row, t, err);
        }
    }
    return status;
}

static dsv4_status draw(op_drawing *d, const dsv4_op *op, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    for (int64_t b = 0; b < d->dims.of[OP_B]; b++) {
        d->start[b] = op_call_start(op, d->config, d->call, b);
    }
    for (size_t i = 0; i < op->n_tensors && status == DSV4_OK; i++) {
        if (is_drawn(d, &op->tensors[i])) {
            status = allocate(d, &op->tensors[i], err);
        }
    }
    if (status == DSV4_OK) {
        status = fill_all(d, op, true, err);
    }
    return status == DSV4_OK ? fill_all(d, op, false, err) : status;
}

dsv4_status op_draw_inputs(const dsv4_op *op, const dsv4_config *config, const op_call *call, dsv4_tensor_list *list,
                           dsv4_error *err)
{
    op_drawing d = {.config = config, .call = call, .dims = op_dims_of_call(op, config, call), .list = list};
    dsv4_status status = op_check_call(call, err);
    if (status != DSV4_OK) {
        return status;
    }
    d.start = memory_array((size_t)d.dims.of[OP_B], sizeof *d.start);
    if (d.start == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "%s: no memory for %lld requests", op->name, (long long)d.dims.of[OP_B]);
    }
    status = draw(&d, op, err);
    free(d.start);
    return status;
}
