/* ops/index_query.c - the indexer's queries: heads, multiplied by the Hadamard matrix, quantised (see index.c). */
#include "ops/heads.h"
#include "ops/index_stages.h"
#include "ops/rms.h"

enum { HADAMARD_ROWS = 64 };

/* ---- quantise and pack: a block is a token ----------------------------------------------------------------------------------- */

static void describe_quant(const void *arg, int64_t t, dsv4_describe *d)
{
    const index_stages *o = arg;
    op_product_reads(d, &o->turned, t * o->IH, (t + 1) * o->IH, 0, o->ID);
    dsv4_writes(d, o->q_panels.view, t, t + 1, 0, o->q_panels.cols);
    dsv4_writes(d, o->q_packed.view, t, t + 1, 0, 1);
    dsv4_writes(d, o->q_scale.view, t, t + 1, 0, o->IH);
    dsv4_costs(d, (dsv4_work){.vector_ops = (double)((o->turned.n_partials + OP_Q8_OPS) * o->IH * o->ID)});
}

static void run_quant(const void *arg, int64_t t, void *scratch)
{
    const index_stages *o = arg;
    float *row = scratch, *scale = (float *)o->q_scale.data + t * o->IH;
    int8_t *q = (int8_t *)(row + o->ID);
    for (int64_t h = 0; h < o->IH; h++) {
        op_product_row(o->uk, &o->turned, t * o->IH + h, 0, o->ID, row);
        float multiplier = op_q8_multiplier(o->uk->amax(o->ID, row));
        o->uk->quantize_i8(o->ID, row, multiplier, q + h * o->ID);
        scale[h] = 1.0f / multiplier;
    }
    ((uk_packed *)o->q_packed.data)[t] =
        uk_pack_i8(o->uk, q, o->ID, o->IH, 1, o->ID, (int8_t *)o->q_panels.data + t * o->q_panels.ld);
}

/* ---- graph ------------------------------------------------------------------------------------------------------------------- */

static op_matrix new_packed(const op_context *c, int64_t rows)
{
    op_matrix m = {.rows = rows, .cols = 1, .ld = 1};
    m.view = dsv4_graph_alloc(c->g, "index.q_packed", rows, 1, sizeof(uk_packed), &m.data);
    return m;
}

void index_add_query(const op_context *c, index_stages *o)
{
    op_weight hadamard = op_weight_pack(c, "hadamard", op_weight_of(&o->a.hadamard));
    op_project_tiles tiles = {HADAMARD_ROWS, tile_count(o->ID, UK_PANEL) * UK_PANEL, 1};
    o->q = op_matrix_new(c, "index.q", o->T * o->IH, o->ID, DSV4_BF16);
    op_matrix heads = {o->q.data, o->T, o->IH * o->ID, o->IH * o->ID, 0};
    heads.view =
        dsv4_graph_view(c->g, "index.q", o->q.data, o->T, heads.cols, sizeof(uint16_t), (size_t)heads.ld * sizeof(uint16_t));
    o->q_panels = op_matrix_new(c, "index.q_panels", o->T, (int64_t)uk_pack_i8_bytes(o->ID, o->IH), DSV4_I8);
    o->q_packed = new_packed(c, o->T);
    o->q_scale = op_matrix_new(c, "index.q_scale", o->T, o->IH, DSV4_F32);

    size_t quant_bytes = (size_t)o->ID * sizeof(float) + (size_t)(o->IH * o->ID);
    op_heads_add(c, "index.q_proj",
                 &(op_heads){.x = o->a.qr,
                             .w = op_weight_pack(c, "wq_b", op_weight_of(&o->a.wq_b)),
                             .row_scale = o->a.qr_scale,
                             .col_scale = o->a.wq_b_scale,
                             .turns = o->a.turns,
                             .turn_rows = o->a.turn_rows,
                             .y = heads,
                             .n_heads = o->IH,
                             .t_tile = o->a.proj_t_tile,
                             .head_group = o->a.head_group});
    o->turned = op_project_bf16(c, "index.hadamard", op_acts_tile(c, "index.q_tile", o->q, DSV4_BF16), hadamard, tiles);
    dsv4_graph_stage(c->g, &(dsv4_stage_desc){"index.q_quant", o->T, run_quant, describe_quant, o, quant_bytes, DSV4_VECTOR});
}
