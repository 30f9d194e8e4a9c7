/* ops/lm_head.c - logits of hidden rows (SPEC 6.8).
 *
 * MATH      logits[o,t,r*V/TP + v] = hidden_states[o,t] . lm_head_weight[r,v]
 * SHAPES    hidden_states bf16[TP,T,D]  lm_head_weight bf16[TP,V/TP,D]  ->  logits f32[TP,T,V]
 * STAGES    lm_head.tile     [8 x 2048]                 hidden_states as products take them
 *           lm_head.project  [shard x n_tile x t_tile]  -> logits; rows of all ranks pass a panel together
 * NUMERICS  f32; sums in chunks of 512 (ops/chunk.h). */
#include <string.h>

#include "ops/acts.h"
#include "ops/chunk.h"
#include "ops/table.h"
#include "ops/weight.h"

static const op_tensor tensors[] = {
    ROW_IN("hidden_states", DSV4_BF16, "TP,T,D", "normalised rows of each rank", DRAW_NORMAL(0, 0.1)),
    ROW_IN("lm_head_weight", DSV4_BF16, "TP,V/TP,D", "vocabulary shards", DRAW_BY("normal_fan_in", 1, 0)),
    ROW_OUT("logits", DSV4_F32, "TP,T,V", "logits", RULE_ALLCLOSE(1e-3, 1e-3, 0)),
};

enum { T_TILE, N_TILE };

static const op_tile tiles[] = {
    {"t_tile", "rows of a block", 128, 128, 1, NULL, NULL},
    {"n_tile", "columns of a block", 64, 64, UK_PANEL, NULL, NULL},
};

typedef struct head {
    const uk_table *uk;
    op_acts x;
    op_matrix logits; /* [TP*T, V] */
    op_weight *w;     /* [TP] */
    int64_t n_shards, shard, t_tile, panel_tile;
} head;

typedef struct head_tile {
    int64_t shard;
    tile_range panel, t, col; /* col: of the logits */
} head_tile;

static int64_t blocks_per_shard(const head *h)
{
    return tile_count(h->shard, h->panel_tile * UK_PANEL) * tile_count(h->x.rows, h->t_tile);
}

static head_tile tile_of(const head *h, int64_t block)
{
    int64_t n_t = tile_count(h->x.rows, h->t_tile), within = block % blocks_per_shard(h);
    head_tile tile = {.shard = block / blocks_per_shard(h)};
    tile.panel = tile_at(within / n_t, h->panel_tile, h->w[tile.shard].packed.n_panels);
    tile.t = tile_at(within % n_t, h->t_tile, h->x.rows);
    tile.col.begin = tile.shard * h->shard + tile.panel.begin * UK_PANEL;
    tile.col.end = tile.shard * h->shard + tile_min(tile.panel.end * UK_PANEL, h->shard);
    return tile;
}

static void describe(const void *arg, int64_t block, dsv4_describe *d)
{
    const head *h = arg;
    head_tile tile = tile_of(h, block);
    const op_weight *w = &h->w[tile.shard];
    op_acts_touch(d, DSV4_READ, &h->x, tile.t, (tile_range){0, h->x.cols});
    dsv4_reads(d, w->view, tile.panel.begin, tile.panel.end, 0, w->packed.panel_bytes);
    dsv4_writes(d, h->logits.view, tile.t.begin, tile.t.end, tile.col.begin, tile.col.end);
    dsv4_product product = {.m = tile.t.end - tile.t.begin, .n = (tile.panel.end - tile.panel.begin) * UK_PANEL, .k = h->x.cols};
    dsv4_costs(d, (dsv4_work){.flops_bf16 = 2.0 * (double)product.m * (double)product.n * (double)product.k, .product = product});
}

/* A panel chunk after chunk, [chunks][rows][UK_PANEL] in scratch, then the sums. */
static void run(const void *arg, int64_t block, void *scratch)
{
    const head *h = arg;
    head_tile tile = tile_of(h, block);
    int64_t rows = tile.t.end - tile.t.begin, n_chunks = op_chunks(h->x.cols), part = rows * UK_PANEL;
    float *sums = scratch;
    for (int64_t panel = tile.panel.begin; panel < tile.panel.end; panel++) {
        int64_t col = tile.shard * h->shard + panel * UK_PANEL, n_cols = tile_min(UK_PANEL, tile.col.end - col);
        for (int64_t chunk = 0; chunk < n_chunks; chunk++) {
            tile_range k = tile_at(chunk, OP_SUM_CHUNK, h->x.cols);
            h->uk->gemm_bf16(op_acts_at(&h->x, tile.t, k.begin), k.end - k.begin,
                             uk_panel_bf16(&h->w[tile.shard].packed, panel, k.begin), sums + chunk * part, UK_PANEL);
        }
        for (int64_t t = 0; t < rows; t++) {
            h->uk->sum_parts(n_cols, n_chunks, sums + t * UK_PANEL, part, op_matrix_f32(&h->logits, tile.t.begin + t, col));
        }
    }
}

static dsv4_status check(const op_context *c, dsv4_error *err)
{
    int64_t V = c->dims.of[OP_V], TP = c->dims.of[OP_TP];
    return V % TP == 0 ? DSV4_OK
                       : dsv4_fail(err, DSV4_E_VALUE, "%s: vocab_size=%lld, rule: a multiple of the %lld shards", c->op->name,
                                   (long long)V, (long long)TP);
}

static void build(const op_context *c)
{
    dsv4_tensor weight = op_tensor_named(c, "lm_head_weight");
    head *h = dsv4_graph_memory(c->g, sizeof *h);
    if (h == NULL) {
        return;
    }
    *h = (head){.uk = c->uk,
                .x = op_acts_tile(c, "lm_head.tile", op_matrix_named(c, "hidden_states", 1), DSV4_BF16),
                .logits = op_matrix_named(c, "logits", 1),
                .n_shards = weight.shape[0],
                .shard = weight.shape[1],
                .panel_tile = c->tile[N_TILE] / UK_PANEL};
    h->t_tile = tile_min(tile_count(c->tile[T_TILE], UK_ROWS) * UK_ROWS, h->x.rows);
    h->w = dsv4_graph_memory(c->g, (size_t)h->n_shards * sizeof *h->w);
    for (int64_t r = 0; h->w != NULL && r < h->n_shards; r++) {
        const uint16_t *first = (const uint16_t *)weight.data + r * h->shard * h->x.cols;
        h->w[r] = op_weight_pack(c, "lm_head_weight", (op_weight_source){first, DSV4_BF16, h->x.cols, h->shard, 1, h->x.cols});
    }
    size_t scratch_bytes = (size_t)(op_chunks(h->x.cols) * h->t_tile * UK_PANEL) * sizeof(float);
    dsv4_graph_stage(
        c->g, &(dsv4_stage_desc){"lm_head.project", h->n_shards * blocks_per_shard(h), run, describe, h, scratch_bytes, DSV4_CUBE});
}

const dsv4_op op_lm_head = {
    .name = "lm_head",
    .summary = "logits of hidden rows, by shards of the vocabulary",
    OP_TENSORS(tensors),
    OP_TILES(tiles),
    .check = check,
    .build = build,
};
