#include <math.h>
#include <string.h>

#include "cli/ablate/alias.h"

enum { HEAD_PIECE = 32 };

/* ---- scores ----------------------------------------------------------------------------------------------------------------- */

static void run_init(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const alias_indexer *o = s->arg;
    (void)scratch;
    for (int64_t t = tile->row.begin * o->S; t < tile->row.end * o->S; t++) {
        for (int64_t i = 0; i < o->score.cols; i++) {
            *op_matrix_f32(&o->score, t, i) = alias_no_score;
        }
    }
}

static void run_key_quant(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const alias_indexer *o = s->arg;
    (void)scratch;
    for (int64_t b = tile->row.begin; b < tile->row.end; b++) {
        for (int64_t i = tile->col.begin * ALIAS_KEYS; i < tile->col.end * ALIAS_KEYS; i++) {
            const uint16_t *key = alias_key_at(o, b, i);
            int8_t *out = ablate_i8(&o->keys, b, i * o->ID);
            memset(out, 0, (size_t)o->ID);
            *op_matrix_f32(&o->key_scale, b, i) = key == NULL ? 0 : 1.0f / s->uk->q8_bf16(o->ID, key, out);
        }
    }
}

static void run_dots(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const alias_indexer *o = s->arg;
    int64_t heads = o->S * o->IH;
    for (int64_t b = tile->row.begin; b < tile->row.end; b++) {
        ablate_matmul_run(s->uk,
                          &(ablate_matmul){.dtype = DSV4_I8,
                                           .m = ALIAS_KEYS,
                                           .k = o->ID,
                                           .n = heads,
                                           .x = ablate_i8(&o->keys, b, tile->col.begin * ALIAS_KEYS * o->ID),
                                           .ldx = o->ID,
                                           .w = ablate_i8(&o->q_i8, b * heads, 0),
                                           .stride_k = 1,
                                           .stride_n = o->ID,
                                           .y = ablate_i32(&o->dots, b, tile->col.begin * ALIAS_KEYS * heads),
                                           .ldy = heads},
                          scratch);
    }
}

static void run_store(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const alias_indexer *o = s->arg;
    int64_t heads = o->S * o->IH, first = tile->col.begin * ALIAS_KEYS, n = tile_min(o->n_keys - first, ALIAS_KEYS);
    float *y = scratch;
    for (int64_t b = tile->row.begin; b < tile->row.end; b++) {
        for (int64_t i = 0; i < o->S; i++) {
            int64_t t = b * o->S + i;
            s->uk->index_score(n, o->IH, ablate_i32(&o->dots, b, first * heads + i * o->IH), heads,
                               op_matrix_f32(&o->q_scale, t * o->IH, 0), op_matrix_f32(&o->key_scale, b, first),
                               op_matrix_f32(&o->weights, t, 0), y);
            memcpy(op_matrix_f32(&o->score, t, first), y, (size_t)n * sizeof *y);
        }
    }
}

static ablate_stage score_stage(const alias_indexer *o, const char *name, dsv4_core_kind kind, ablate_body *run)
{
    return (ablate_stage){.name = name,
                          .kind = kind,
                          .grid = {o->B, tile_min(o->choice.score_group, o->B), o->n_tiles, 1, 0},
                          .run = run,
                          .arg = o,
                          .scratch_bytes = ALIAS_KEYS * sizeof(float)};
}

void alias_add_scores(const op_context *ctx, const alias_indexer *o)
{
    int64_t heads = o->S * o->IH, group = tile_min(o->choice.score_group, o->B);
    const ablate_axis keys = {.source = ABLATE_COLS, .scale = ALIAS_KEYS},
                      values = {.source = ABLATE_COLS, .scale = ALIAS_KEYS * o->ID},
                      products = {.source = ABLATE_COLS, .scale = ALIAS_KEYS * heads},
                      tokens = {.source = ABLATE_ROWS, .scale = o->S}, queries = {.source = ABLATE_ROWS, .scale = heads},
                      columns = {ABLATE_COLS, ALIAS_KEYS, 0, tile_min(ALIAS_KEYS, o->n_keys)};

    ablate_stage init = score_stage(o, "score_init", DSV4_VECTOR, run_init);
    init.grid.cols = 1;
    init.uses[0] = (ablate_use){DSV4_WRITE, &o->score, tokens, ablate_all};
    init.vector_ops = (double)(o->S * o->score.cols);
    ablate_stage_add(ctx, &init);

    ablate_stage quant = score_stage(o, "score_quant", DSV4_VECTOR, run_key_quant);
    quant.uses[0] = (ablate_use){DSV4_READ | DSV4_UNTRACKED, &o->cache, ablate_all, ablate_all};
    quant.uses[1] = (ablate_use){DSV4_WRITE, &o->keys, ablate_rows, values};
    quant.uses[2] = (ablate_use){DSV4_WRITE, &o->key_scale, ablate_rows, keys};
    quant.gathered_bytes = (double)(ALIAS_KEYS * o->ID) * sizeof(uint16_t);
    quant.vector_ops = 8.0 * (double)(ALIAS_KEYS * o->ID);
    quant.loads = 2 * group * tile_count(o->ID, HEAD_PIECE);
    ablate_stage_add(ctx, &quant);

    ablate_stage dots = score_stage(o, "score_accum", DSV4_CUBE, run_dots);
    dots.uses[0] = (ablate_use){DSV4_READ, &o->keys, ablate_rows, values};
    dots.uses[1] = (ablate_use){DSV4_READ, &o->q_i8, queries, ablate_all};
    dots.uses[2] = (ablate_use){DSV4_WRITE, &o->dots, ablate_rows, products};
    dots.ops_i8 = 2.0 * (double)(ALIAS_KEYS * heads * o->ID);
    dots.product = (dsv4_product){ALIAS_KEYS, heads, o->ID * group, o->ID, 2};
    dots.scratch_bytes = ablate_matmul_bytes(ctx->uk, DSV4_I8, ALIAS_KEYS, o->ID, heads);
    ablate_stage_add(ctx, &dots);

    ablate_stage store = score_stage(o, "score_store", DSV4_VECTOR, run_store);
    store.uses[0] = (ablate_use){DSV4_READ, &o->dots, ablate_rows, products};
    store.uses[1] = (ablate_use){DSV4_READ, &o->key_scale, ablate_rows, keys};
    store.uses[2] = (ablate_use){DSV4_READ, &o->q_scale, queries, ablate_all};
    store.uses[3] = (ablate_use){DSV4_READ, &o->weights, tokens, ablate_all};
    store.uses[4] = (ablate_use){DSV4_WRITE, &o->score, tokens, columns};
    store.vector_ops = 7.0 * (double)(ALIAS_KEYS * heads);
    store.loads = group * (3 + o->S);
    ablate_stage_add(ctx, &store);
}

/* ---- choice ----------------------------------------------------------------------------------------------------------------- */

/* Larger scores first, of equal ones the earlier: every candidate is put into its place. */
static void run_topk(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const alias_indexer *o = s->arg;
    (void)scratch;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        const float *score = op_matrix_f32(&o->score, t, 0);
        int32_t *out = ablate_i32(&o->topk, t, 0);
        for (int64_t i = 0; i < o->topk.cols; i++) {
            out[i] = -1;
        }
        for (int64_t i = 0, n = 0; i < o->n_keys; i++) {
            int64_t at = n < o->k ? n++ : o->k;
            for (; at > 0 && score[i] > score[out[at - 1] - o->offset]; at--) {
                if (at < o->k) {
                    out[at] = out[at - 1];
                }
            }
            if (at < o->k) {
                out[at] = (int32_t)(i + o->offset);
            }
        }
    }
}

void alias_add_topk(const op_context *ctx, const alias_indexer *o)
{
    double n = (double)o->score.cols; /* sorted whole: blocks of 32, then merges of four */
    ablate_stage_add(ctx, &(ablate_stage){.name = "topk",
                                          .grid = {o->T, 1, 1, 1, 0},
                                          .uses = {{DSV4_READ, &o->score, ablate_rows, ablate_all},
                                                   {DSV4_WRITE, &o->topk, ablate_rows, ablate_all}},
                                          .run = run_topk,
                                          .arg = o,
                                          .vector_ops = 2 * n * log2(n)});
}
