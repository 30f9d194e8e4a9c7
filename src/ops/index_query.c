/* ops/index_query.c - the indexer's queries: dequantised, rotated, multiplied by the Hadamard matrix, quantised (see index.c). */
#include "ops/index_stages.h"
#include "ops/rms.h"

enum { HEAD_GROUP = 4, ROPE_T_TILE = 8, HADAMARD_ROWS = 64 };

/* ---- dequantise and rotate --------------------------------------------------------------------------------------------------- */

typedef struct rope_tile {
    tile_range t, head;
} rope_tile;

static int64_t rope_blocks(const index_stages *o)
{
    return tile_count(o->T, ROPE_T_TILE) * tile_count(o->IH, HEAD_GROUP);
}

static rope_tile rope_tile_of(const index_stages *o, int64_t block)
{
    int64_t n_t = tile_count(o->T, ROPE_T_TILE);
    return (rope_tile){tile_at(block % n_t, ROPE_T_TILE, o->T), tile_at(block / n_t, HEAD_GROUP, o->IH)};
}

static void describe_rope(const void *arg, int64_t block, dsv4_describe *d)
{
    const index_stages *o = arg;
    rope_tile tile = rope_tile_of(o, block);
    int64_t begin = tile.head.begin * o->ID, end = tile.head.end * o->ID;
    op_product_reads(d, &o->acc, tile.t.begin, tile.t.end, begin, end);
    dsv4_reads(d, o->a.qr_scale.view, tile.t.begin, tile.t.end, 0, 1);
    dsv4_reads(d, o->a.wq_b_scale.view, 0, 1, begin, end);
    op_turns_reads_by(d, &o->a.turns, &o->a.turn_rows, tile.t.begin, tile.t.end, o->R);
    dsv4_writes(d, o->q_heads.view, tile.t.begin, tile.t.end, begin, end);
    dsv4_costs(d, (dsv4_work){.vector_ops = 4.0 * (double)((tile.t.end - tile.t.begin) * (end - begin))});
}

static void run_rope(const void *arg, int64_t block, void *scratch)
{
    const index_stages *o = arg;
    rope_tile tile = rope_tile_of(o, block);
    float *turn = scratch, *row = turn + o->R;
    const float *col_scale = o->a.wq_b_scale.data, *row_scale = o->a.qr_scale.data;
    for (int64_t t = tile.t.begin; t < tile.t.end; t++) {
        const int32_t *acc = (const int32_t *)o->acc.sums.data + t * o->acc.sums.ld;
        uint16_t *q = (uint16_t *)o->q_heads.data + t * o->q_heads.ld;
        op_turns_load(o->uk, &o->a.turns, op_turns_row(&o->a.turn_rows, t), o->R, turn);
        for (int64_t col = tile.head.begin * o->ID; col < tile.head.end * o->ID; col += o->ID) {
            o->uk->dequant_i32(o->ID, acc + col, row_scale[t * o->a.qr_scale.ld], col_scale + col, row);
            op_turn_row(o->uk, turn, o->R, o->ID, row);
            o->uk->narrow_bf16(o->ID, row, q + col);
        }
    }
}

/* ---- quantise and pack: a block is a token ----------------------------------------------------------------------------------- */

static void describe_quant(const void *arg, int64_t t, dsv4_describe *d)
{
    const index_stages *o = arg;
    op_product_reads(d, &o->turned, t * o->IH, (t + 1) * o->IH, 0, o->ID);
    dsv4_writes(d, o->q_panels.view, t, t + 1, 0, o->q_panels.cols);
    dsv4_writes(d, o->q_packed.view, t, t + 1, 0, 1);
    dsv4_writes(d, o->q_scale.view, t, t + 1, 0, o->IH);
    dsv4_costs(d, (dsv4_work){.vector_ops = 3.0 * (double)(o->IH * o->ID)});
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
    op_project_tiles tiles = {HADAMARD_ROWS, o->a.proj_n_tile, 1};
    o->q = op_matrix_new(c, "index.q", o->T * o->IH, o->ID, DSV4_BF16);
    o->q_heads = (op_matrix){o->q.data, o->T, o->IH * o->ID, o->IH * o->ID, 0};
    o->q_heads.view = dsv4_graph_view(c->g, "index.q", o->q.data, o->T, o->q_heads.cols, sizeof(uint16_t),
                                      (size_t)o->q_heads.ld * sizeof(uint16_t));
    o->q_panels = op_matrix_new(c, "index.q_panels", o->T, (int64_t)uk_pack_i8_bytes(o->ID, o->IH), DSV4_I8);
    o->q_packed = new_packed(c, o->T);
    o->q_scale = op_matrix_new(c, "index.q_scale", o->T, o->IH, DSV4_F32);

    size_t rope_bytes = (size_t)(o->R + o->ID) * sizeof(float);
    size_t quant_bytes = (size_t)o->ID * sizeof(float) + (size_t)(o->IH * o->ID);
    dsv4_graph_stage(c->g, &(dsv4_stage_desc){"index.q_rope", rope_blocks(o), run_rope, describe_rope, o, rope_bytes, DSV4_VECTOR});
    o->turned = op_project_bf16(c, "index.hadamard", op_acts_tile(c, "index.q_tile", o->q, DSV4_BF16), hadamard, tiles);
    dsv4_graph_stage(c->g, &(dsv4_stage_desc){"index.q_quant", o->T, run_quant, describe_quant, o, quant_bytes, DSV4_VECTOR});
}
