#include "model/graph.h"

#include <stdio.h>
#include <string.h>

#include "base/numbers.h"
#include "model/step/attention.h"
#include "model/step/moe.h"
#include "model/step/streams.h"
#include "rt/exec.h"

/* ---- embedding ------------------------------------------------------------------------------------------------------------- */

typedef struct row_stage {
    const step *s;
    const uint16_t *embedding, *norm;
    step_matrix from, to; /* [T or rows, M*D] */
    step_product e, h;    /* draft: of a token's embedding, and of each of its streams */
    int64_t M, D;
} row_stage;

static void embed_describe(const void *arg, int64_t t, dsv4_describe *d)
{
    const row_stage *o = arg;
    dsv4_writes(d, o->to.m.view, t, t + 1, 0, o->to.m.cols);
    dsv4_costs(d, (dsv4_work){.vector_ops = (double)o->to.m.cols});
}

/* All streams begin as the token's embedding. */
static void embed_run(const void *arg, int64_t t, void *scratch)
{
    const row_stage *o = arg;
    const uk_table *uk = o->s->op.uk;
    if (t >= o->s->rows->n) {
        return;
    }
    uk->widen_bf16(o->D, o->embedding + o->s->rows->token[t] * o->D, scratch);
    for (int64_t i = 0; i < o->to.m.cols / o->D; i++) {
        step_store(uk, &o->to, t, i * o->D, o->D, scratch);
    }
}

static row_stage *new_rows(const step *s, const model_weights *w, step_matrix from, step_matrix to)
{
    row_stage *o = dsv4_graph_memory(s->op.g, sizeof *o);
    if (o != NULL) {
        *o = (row_stage){.s = s, .embedding = w->embedding, .from = from, .to = to};
        o->M = s->config->dims.hc_mult;
        o->D = s->config->dims.hidden_size;
    }
    return o;
}

static void add_row_stage(const step *s, const char *name, int64_t n_blocks, dsv4_block_fn *run, dsv4_describe_fn *describe,
                          const row_stage *o, int64_t n_floats)
{
    if (o != NULL) {
        dsv4_graph_stage(s->op.g,
                         &(dsv4_stage_desc){name, n_blocks, run, describe, o, (size_t)n_floats * sizeof(float), DSV4_VECTOR});
    }
}

static step_matrix embed(const step *s, const model_weights *w, int64_t n_streams)
{
    step_matrix h = step_matrix_new(s, "embed", s->T, n_streams * s->config->dims.hidden_size);
    add_row_stage(s, "embed", s->T, embed_run, embed_describe, new_rows(s, w, h, h), s->config->dims.hidden_size);
    return h;
}

/* ---- rows copied ------------------------------------------------------------------------------------------------------------ */

static void copy_row(const row_stage *o, int64_t from, int64_t to)
{
    size_t elem = dsv4_dtype_bytes(o->from.dtype);
    memcpy((char *)o->to.m.data + (size_t)(to * o->to.m.ld) * elem,
           (const char *)o->from.m.data + (size_t)(from * o->from.m.ld) * elem, (size_t)o->from.m.cols * elem);
}

static void keep_describe(const void *arg, int64_t t, dsv4_describe *d)
{
    const row_stage *o = arg;
    dsv4_reads(d, o->from.m.view, t, t + 1, 0, o->from.m.cols);
    dsv4_writes(d, o->to.m.view, t, t + 1, 0, o->to.m.cols);
    dsv4_costs(d, (dsv4_work){.vector_ops = (double)o->to.m.cols});
}

static void keep_run(const void *arg, int64_t t, void *scratch)
{
    const row_stage *o = arg;
    (void)scratch;
    copy_row(o, t, t);
}

/* The streams in memory of the caller. */
static step_matrix kept_streams(const step *s, void *streams)
{
    int64_t cols = s->config->dims.hc_mult * s->config->dims.hidden_size;
    size_t elem = dsv4_dtype_bytes(s->numerics->dtype);
    step_matrix m = {{streams, s->T, cols, cols, 0}, s->numerics->dtype};
    m.m.view = dsv4_graph_view(s->op.g, "streams", streams, s->T, cols, elem, (size_t)cols * elem);
    return m;
}

/* Row i of the result is the i-th row of which logits are wanted; which one that is, only the run knows. */
static void gather_describe(const void *arg, int64_t i, dsv4_describe *d)
{
    const row_stage *o = arg;
    dsv4_reads(d, o->from.m.view, 0, o->from.m.rows, 0, o->from.m.cols);
    dsv4_writes(d, o->to.m.view, i, i + 1, 0, o->to.m.cols);
    dsv4_costs(d, (dsv4_work){.vector_ops = (double)o->to.m.cols});
}

static void gather_run(const void *arg, int64_t i, void *scratch)
{
    const row_stage *o = arg;
    (void)scratch;
    if (i < o->s->rows->n_logits) {
        copy_row(o, o->s->rows->logit_row[i], i);
    }
}

/* ---- head -------------------------------------------------------------------------------------------------------------------- */

static step_product add_head(const step *s, const model_weights *w, int64_t n_logits, step_matrix h,
                             const model_streams_weights *streams, const uint16_t *norm)
{
    step_matrix wanted = step_matrix_new(s, "head.rows", n_logits, h.m.cols);
    add_row_stage(s, "head.gather", n_logits, gather_run, gather_describe, new_rows(s, w, h, wanted), 0);
    step_streams mixed = step_streams_mix(s, "head.hc", wanted, streams, norm);
    step_operand x = step_operand_add(s, "head.pack", mixed.x, MODEL_FORM_BF16, 1);
    return step_linear_add(s, "head", &x, &w->head, false);
}

/* ---- blocks ------------------------------------------------------------------------------------------------------------------ */

static step_matrix add_block(const step *s, const step_moe_room *room, int block, const model_block_weights *w, step_matrix h)
{
    step_streams mixed = step_streams_mix(s, "attn.hc", h, &w->attn_streams, w->attn_norm);
    step_branch attended = {.product = step_attention_add(s, block, w, mixed.x)};
    h = step_streams_spread(s, "attn.hc", h, &mixed, &attended);
    mixed = step_streams_mix(s, "ffn.hc", h, &w->ffn_streams, w->ffn_norm);
    step_branch mixture = {.matrix = step_moe_add(s, room, w, mixed.x)};
    return step_streams_spread(s, "ffn.hc", h, &mixed, &mixture);
}

/* ---- what the draft block begins with ------------------------------------------------------------------------------------- */

static void norm_describe(const void *arg, int64_t row, dsv4_describe *d)
{
    const row_stage *o = arg;
    int64_t per = o->from.m.cols / o->D, t = row / per, col = row % per * o->D;
    dsv4_reads(d, o->from.m.view, t, t + 1, col, col + o->D);
    dsv4_writes(d, o->to.m.view, row, row + 1, 0, o->D);
    dsv4_costs(d, (dsv4_work){.vector_ops = 4.0 * (double)o->D});
}

static void norm_run(const void *arg, int64_t row, void *scratch)
{
    const row_stage *o = arg;
    const uk_table *uk = o->s->op.uk;
    int64_t per = o->from.m.cols / o->D;
    step_load(uk, &o->from, row / per, row % per * o->D, o->D, scratch);
    step_rms_norm(o->s, o->D, scratch, o->norm, scratch);
    step_store(uk, &o->to, row, 0, o->D, scratch);
}

/* [rows * pieces, D]: each piece of D columns normalised by itself. */
static step_matrix normalise(const step *s, const model_weights *w, const char *name, step_matrix x, const uint16_t *norm)
{
    int64_t D = s->config->dims.hidden_size, rows = x.m.rows * (x.m.cols / D);
    step_matrix y = step_matrix_new(s, name, rows, D);
    row_stage *o = new_rows(s, w, x, y);
    if (o != NULL) {
        o->norm = norm;
    }
    add_row_stage(s, name, rows, norm_run, norm_describe, o, D);
    return y;
}

static void join_describe(const void *arg, int64_t t, dsv4_describe *d)
{
    const row_stage *o = arg;
    step_product_reads(d, &o->e, t, t + 1, 0, o->D);
    step_product_reads(d, &o->h, t * o->M, (t + 1) * o->M, 0, o->D);
    dsv4_writes(d, o->to.m.view, t, t + 1, 0, o->to.m.cols);
    dsv4_costs(d, (dsv4_work){.vector_ops = 2.0 * (double)o->to.m.cols});
}

static void join_run(const void *arg, int64_t t, void *scratch)
{
    const row_stage *o = arg;
    const uk_table *uk = o->s->op.uk;
    float *e = scratch, *h = e + o->D;
    step_product_row(uk, &o->e, t, 0, o->D, e);
    for (int64_t i = 0; i < o->M; i++) {
        step_product_row(uk, &o->h, t * o->M + i, 0, o->D, h);
        uk->add(o->D, e, h);
        step_store(uk, &o->to, t, i * o->D, o->D, h);
    }
}

static step_matrix add_draft_input(const step *s, const model_weights *w, const model_block_weights *b, void *streams)
{
    step_matrix e = normalise(s, w, "draft.enorm", embed(s, w, 1), b->enorm);
    step_matrix h = normalise(s, w, "draft.hnorm", kept_streams(s, streams), b->hnorm);
    step_operand e_packed = step_operand_add(s, "draft.e_pack", e, b->e_proj.form, 1);
    step_operand h_packed = step_operand_add(s, "draft.h_pack", h, b->h_proj.form, 1);
    step_matrix x = step_matrix_new(s, "draft.x", s->T, s->config->dims.hc_mult * s->config->dims.hidden_size);
    row_stage *o = new_rows(s, w, x, x);
    if (o != NULL) {
        o->e = step_linear_add(s, "draft.e", &e_packed, &b->e_proj, true);
        o->h = step_linear_add(s, "draft.h", &h_packed, &b->h_proj, true);
    }
    add_row_stage(s, "draft.join", s->T, join_run, join_describe, o, 2 * s->config->dims.hidden_size);
    return x;
}

/* ---- whole graphs --------------------------------------------------------------------------------------------------------- */

static step_product build_trunk(const step *s, const model_graph_options *o)
{
    const model_weights *w = o->weights;
    step_moe_room room = step_moe_room_new(s, w);
    step_matrix h = embed(s, w, s->config->dims.hc_mult);
    for (int block = 0; block < w->config.num_hidden_layers; block++) {
        dsv4_graph_reuse(s->op.g, block % 2);
        h = add_block(s, &room, block, &w->blocks[block], h);
    }
    dsv4_graph_reuse(s->op.g, -1);
    if (o->streams != NULL) {
        step_matrix kept = kept_streams(s, o->streams);
        add_row_stage(s, "keep", s->T, keep_run, keep_describe, new_rows(s, w, h, kept), 0);
    }
    return o->n_logits > 0 ? add_head(s, w, o->n_logits, h, &w->head_streams, w->norm) : (step_product){0};
}

static step_product build_draft(const step *s, const model_graph_options *o)
{
    const model_weights *w = o->weights;
    int block = (int)w->config.num_hidden_layers;
    const model_block_weights *b = &w->blocks[block];
    step_moe_room room = step_moe_room_new(s, w);
    step_matrix h = add_block(s, &room, block, b, add_draft_input(s, w, b, o->streams));
    return o->n_logits > 0 ? add_head(s, w, o->n_logits, h, &b->head_streams, b->norm) : (step_product){0};
}

static step_product build_block(const step *s, const model_graph_options *o)
{
    const model_weights *w = o->weights;
    step_moe_room room = step_moe_room_new(s, w);
    step_matrix streams = kept_streams(s, o->streams);
    step_matrix h = add_block(s, &room, o->block, &w->blocks[o->block], streams);
    add_row_stage(s, "keep", s->T, keep_run, keep_describe, new_rows(s, w, h, streams), 0);
    return (step_product){0};
}

static step_rows *new_step_rows(dsv4_graph *g, int64_t T, int64_t n_logits)
{
    step_rows *r = dsv4_graph_memory(g, sizeof *r);
    int32_t *ints = dsv4_graph_memory(g, (size_t)(5 * T + n_logits + 1) * sizeof *ints);
    if (r == NULL || ints == NULL) {
        return NULL;
    }
    *r = (step_rows){.capacity = T, .logits_capacity = n_logits};
    int32_t **lists[] = {&r->token, &r->position, &r->slot, &r->end, &r->first};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        *lists[i] = ints + (int64_t)i * T;
    }
    r->logit_row = ints + 5 * T;
    return r;
}

/* The step, what it refers to, and its stages; a failure stays in the graph. */
static void build(const model_graph_options *o, const uk_table *uk, model_graph *out)
{
    step *s = dsv4_graph_memory(out->g, sizeof *s);
    step_product *logits = dsv4_graph_memory(out->g, sizeof *logits);
    out->rows = new_step_rows(out->g, o->T, o->n_logits);
    if (s == NULL || logits == NULL || out->rows == NULL) {
        return;
    }
    *s = (step){.config = &o->weights->config, .numerics = o->numerics, .kv = o->kv, .rows = out->rows, .T = o->T};
    s->op = (op_context){.config = &o->weights->config.dims, .uk = uk, .pool = o->pool, .g = out->g};
    s->context = o->context;
    s->n_threads = dsv4_pool_n_threads(o->pool);
    s->rope = step_rope_add(s);
    if (s->rope == NULL) {
        return;
    }
    *logits = o->kind == MODEL_GRAPH_DRAFT   ? build_draft(s, o)
              : o->kind == MODEL_GRAPH_BLOCK ? build_block(s, o)
                                             : build_trunk(s, o);
    out->logits = o->n_logits > 0 ? logits : NULL;
}

dsv4_status model_graph_init(const model_graph_options *o, model_graph *out, dsv4_error *err)
{
    const uk_table *uk = NULL;
    dsv4_status status = uk_find(NULL, &uk, err);
    if (status != DSV4_OK) {
        return status;
    }
    *out =
        (model_graph){.g = dsv4_graph_create(o->kind == MODEL_GRAPH_DRAFT ? "draft" : "step"), .T = o->T, .n_logits = o->n_logits};
    out->kind = o->kind;
    if (out->g == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "no memory for the graph of a step");
    }
    dsv4_graph_lend(out->g, o->room, o->room_bytes);
    build(o, uk, out);
    status = dsv4_graph_seal(out->g, DSV4_DEPS_BLOCK, err);
    status = status == DSV4_OK ? dsv4_exec_create(out->g, o->pool, o->trace_level, &out->exec, err) : status;
    if (status != DSV4_OK) {
        model_graph_deinit(out);
    }
    return status;
}

model_graph_size model_graph_measure(const model_graph_options *o)
{
    const uk_table *uk = NULL;
    model_graph graph = {.g = dsv4_graph_create("step")};
    model_graph_size size = {0, 0};
    if (graph.g != NULL && uk_find(NULL, &uk, NULL) == DSV4_OK) {
        build(o, uk, &graph);
        const dsv4_graph_info info = dsv4_graph_get_info(graph.g);
        size.room = (size_t)info.between_bytes;
        size.own = (size_t)(info.memory_bytes - info.between_bytes) + rt_exec_bytes(graph.g, dsv4_pool_n_threads(o->pool));
    }
    dsv4_graph_destroy(graph.g);
    return size;
}

void model_graph_deinit(model_graph *graph)
{
    dsv4_exec_destroy(graph->exec);
    dsv4_graph_destroy(graph->g);
    *graph = (model_graph){0};
}

void model_graph_logits(const model_graph *graph, int64_t i, float *logits)
{
    const uk_table *uk = NULL;
    if (uk_find(NULL, &uk, NULL) == DSV4_OK) {
        step_product_row(uk, graph->logits, i, 0, graph->logits->cols, logits);
    }
}
