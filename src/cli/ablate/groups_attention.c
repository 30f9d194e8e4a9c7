#include <math.h>
#include <string.h>

#include "cli/ablate/groups.h"

enum { GATHER_TOKENS = 4, ROPE_ROWS = 64, ROPE_HEADS = 4 };

/* Pieces that vector stages load at a time. */
enum { MERGE_HEADS = 16, SOFTMAX_HEADS = 32, ROPE_PIECE = 32 };

/* The row that a token's slot names; NULL: none. */
static const uint16_t *key_of(const groups *o, int64_t t, int64_t slot)
{
    int64_t raw = slot < o->lens[t] && slot < o->lists.cols ? *ablate_i32(&o->lists, t, slot) : -1, row = raw - o->W - o->T;
    if (raw < 0) {
        return NULL;
    }
    if (raw < o->W) {
        return ablate_bf16(&o->ring, o->ring_table[raw / o->page] * o->page + raw % o->page, 0);
    }
    return raw < o->W + o->T ? ablate_bf16(&o->overlay, raw - o->W, 0)
                             : ablate_bf16(&o->compressed, o->compressed_table[row / o->page] * o->page + row % o->page, 0);
}

static void run_gather(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const groups *o = s->arg;
    (void)scratch;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        for (int64_t slot = tile->col.begin * o->tile; slot < tile->col.end * o->tile; slot++) {
            const uint16_t *key = key_of(o, t, slot);
            uint16_t *to = ablate_bf16(&o->keys, t, slot * o->hd);
            if (key != NULL) {
                memcpy(to, key, (size_t)o->hd * sizeof *to);
            } else {
                memset(to, 0, (size_t)o->hd * sizeof *to);
            }
        }
    }
}

static void run_qk(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const groups *o = s->arg;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        for (int64_t b = 0; b < o->blocks; b++) {
            ablate_matmul_run(s->uk,
                              &(ablate_matmul){.dtype = DSV4_BF16,
                                               .m = o->H,
                                               .k = o->hd,
                                               .n = o->tile,
                                               .x = ablate_bf16(&o->q, t, 0),
                                               .ldx = o->hd,
                                               .w = ablate_bf16(&o->keys, t, b * o->tile * o->hd),
                                               .stride_k = 1,
                                               .stride_n = o->hd,
                                               .y = op_matrix_f32(&o->scores, t, b * o->tile),
                                               .ldy = o->slots},
                              scratch);
        }
    }
}

/* One head's scores of a key block: weights, their largest score and their sum. */
static void softmax_block(const ablate_stage *s, const groups *o, int64_t t, int64_t h, int64_t b, float *e)
{
    const float *score = op_matrix_f32(&o->scores, t, h * o->slots + b * o->tile), scale = 1 / sqrtf((float)o->hd);
    float m = -INFINITY, l = 0;
    for (int64_t i = 0; i < o->tile; i++) {
        e[i] = key_of(o, t, b * o->tile + i) != NULL ? score[i] * scale : -INFINITY;
        m = fmaxf(m, e[i]);
    }
    for (int64_t i = 0; i < o->tile; i++) {
        e[i] = isinf(m) ? -INFINITY : e[i] - m;
    }
    s->uk->exp(o->tile, e, e);
    for (int64_t i = 0; i < o->tile; i++) {
        l += e[i];
    }
    s->uk->narrow_bf16(o->tile, e, ablate_bf16(&o->p, t, h * o->slots + b * o->tile));
    *op_matrix_f32(&o->m, t, b * o->H + h) = m;
    *op_matrix_f32(&o->l, t, b * o->H + h) = l;
}

static void run_softmax(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const groups *o = s->arg;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        for (int64_t i = 0; i < o->H * o->blocks; i++) {
            softmax_block(s, o, t, i / o->blocks, i % o->blocks, scratch);
        }
    }
}

static void run_pv(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const groups *o = s->arg;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        for (int64_t b = 0; b < o->blocks; b++) {
            ablate_matmul_run(s->uk,
                              &(ablate_matmul){.dtype = DSV4_BF16,
                                               .m = o->H,
                                               .k = o->tile,
                                               .n = o->hd,
                                               .x = ablate_bf16(&o->p, t, b * o->tile),
                                               .ldx = o->slots,
                                               .w = ablate_bf16(&o->keys, t, b * o->tile * o->hd),
                                               .stride_k = o->hd,
                                               .stride_n = 1,
                                               .y = op_matrix_f32(&o->o_blocks, t, b * o->H * o->hd),
                                               .ldy = o->hd},
                              scratch);
        }
    }
}

/* row = the head's key blocks merged, with the sink in the denominator. */
static void merge_head(const ablate_stage *s, const groups *o, int64_t t, int64_t h, float *row)
{
    float m = *op_matrix_f32(&o->m, t, h), l = *op_matrix_f32(&o->l, t, h);
    memcpy(row, op_matrix_f32(&o->o_blocks, t, h * o->hd), (size_t)o->hd * sizeof *row);
    for (int64_t b = 1; b < o->blocks; b++) {
        float m_b = *op_matrix_f32(&o->m, t, b * o->H + h), larger = fmaxf(m, m_b);
        float alpha = isinf(m) ? 0 : expf(m - larger), beta = isinf(m_b) ? 0 : expf(m_b - larger);
        l = alpha * l + beta * *op_matrix_f32(&o->l, t, b * o->H + h);
        s->uk->scale(o->hd, row, alpha, row);
        s->uk->add_scaled(o->hd, beta, op_matrix_f32(&o->o_blocks, t, (b * o->H + h) * o->hd), row);
        m = larger;
    }
    float denominator = l + expf(*op_matrix_f32(&o->sink, 0, h) - m);
    for (int64_t i = 0; i < o->hd; i++) {
        row[i] /= denominator;
    }
}

static void run_merge(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const groups *o = s->arg;
    int64_t nope = o->hd - o->R;
    float *row = scratch;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        for (int64_t h = 0; h < o->H; h++) {
            merge_head(s, o, t, h, row);
            s->uk->narrow_bf16(nope, row, ablate_bf16(&o->o, t, h * o->hd));
            memcpy(op_matrix_f32(&o->o_rope, t, h * o->R), row + nope, (size_t)o->R * sizeof *row);
        }
    }
}

/* The rotation undone: by the negative sine. */
static void run_rope(const ablate_stage *s, const ablate_tile *tile, void *scratch)
{
    const groups *o = s->arg;
    float *cos = scratch, *sin = cos + o->R / 2, *row = sin + o->R / 2;
    for (int64_t t = tile->row.begin; t < tile->row.end; t++) {
        s->uk->widen_bf16(o->R / 2, ablate_bf16(&o->cos, t, 0), cos);
        s->uk->widen_bf16(o->R / 2, ablate_bf16(&o->sin, t, 0), sin);
        s->uk->scale(o->R / 2, sin, -1.0f, sin);
        for (int64_t h = tile->col.begin; h < tile->col.end; h++) {
            memcpy(row, op_matrix_f32(&o->o_rope, t, h * o->R), (size_t)o->R * sizeof *row);
            s->uk->rotate(o->R / 2, cos, sin, row);
            s->uk->narrow_bf16(o->R, row, ablate_bf16(&o->o, t, h * o->hd + o->hd - o->R));
        }
    }
}

static ablate_stage token_stage(const groups *o, const char *name, dsv4_core_kind kind, ablate_body *run)
{
    return (ablate_stage){.name = name,
                          .kind = kind,
                          .grid = {o->T, 1, 1, 1, 0},
                          .run = run,
                          .arg = o,
                          .scratch_bytes = (size_t)(tile_max(o->hd, o->tile) + o->R) * sizeof(float)};
}

static void add_products(const op_context *ctx, const groups *o)
{
    double products = 2.0 * (double)(o->H * o->slots * o->hd);
    ablate_stage qk = token_stage(o, "qk", DSV4_CUBE, run_qk);
    qk.uses[0] = (ablate_use){DSV4_READ, &o->q, ablate_rows, ablate_all};
    qk.uses[1] = (ablate_use){DSV4_READ, &o->keys, ablate_rows, ablate_all};
    qk.uses[2] = (ablate_use){DSV4_WRITE, &o->scores, ablate_rows, ablate_all};
    qk.flops_bf16 = products;
    qk.product = (dsv4_product){o->H, o->tile, o->hd * o->blocks, o->hd / 2, 2};
    qk.scratch_bytes = ablate_matmul_bytes(ctx->uk, DSV4_BF16, o->H, o->hd, o->tile);
    ablate_stage_add(ctx, &qk);

    ablate_stage softmax = token_stage(o, "softmax", DSV4_VECTOR, run_softmax);
    softmax.uses[0] = (ablate_use){DSV4_READ, &o->scores, ablate_rows, ablate_all};
    softmax.uses[1] = (ablate_use){DSV4_READ, &o->lists, ablate_rows, ablate_all};
    softmax.uses[2] = (ablate_use){DSV4_WRITE, &o->p, ablate_rows, ablate_all};
    softmax.uses[3] = (ablate_use){DSV4_WRITE, &o->m, ablate_rows, ablate_all};
    softmax.uses[4] = (ablate_use){DSV4_WRITE, &o->l, ablate_rows, ablate_all};
    softmax.vector_ops = 7.0 * (double)(o->H * o->slots);
    softmax.loads = tile_count(o->H, SOFTMAX_HEADS) * o->blocks;
    ablate_stage_add(ctx, &softmax);

    ablate_stage pv = token_stage(o, "pv", DSV4_CUBE, run_pv);
    pv.uses[0] = (ablate_use){DSV4_READ, &o->p, ablate_rows, ablate_all};
    pv.uses[1] = (ablate_use){DSV4_READ, &o->keys, ablate_rows, ablate_all};
    pv.uses[2] = (ablate_use){DSV4_WRITE, &o->o_blocks, ablate_rows, ablate_all};
    pv.flops_bf16 = products;
    pv.product = (dsv4_product){o->H, o->hd, o->tile * o->blocks, o->tile, 2};
    pv.scratch_bytes = ablate_matmul_bytes(ctx->uk, DSV4_BF16, o->H, o->tile, o->hd);
    ablate_stage_add(ctx, &pv);
}

void groups_add_attention(const op_context *ctx, const groups *o)
{
    const ablate_axis block = {.source = ABLATE_COLS, .scale = o->tile * o->hd};
    ablate_stage gather = token_stage(o, "gather_kv", DSV4_VECTOR, run_gather);
    gather.grid = (ablate_grid){o->T, GATHER_TOKENS, o->blocks, 1, 0};
    gather.uses[0] = (ablate_use){DSV4_READ, &o->lists, ablate_rows, ablate_all};
    gather.uses[1] = (ablate_use){DSV4_READ | DSV4_UNTRACKED, &o->ring, ablate_all, ablate_all};
    gather.uses[2] = (ablate_use){DSV4_READ | DSV4_UNTRACKED, &o->overlay, ablate_all, ablate_all};
    gather.uses[3] = (ablate_use){DSV4_READ | DSV4_UNTRACKED, &o->compressed, ablate_all, ablate_all};
    gather.uses[4] = (ablate_use){DSV4_WRITE, &o->keys, ablate_rows, block};
    gather.gathered_bytes = (double)(o->tile * o->hd) * sizeof(uint16_t);
    gather.loads = GATHER_TOKENS * o->tile; /* a row each */
    ablate_stage_add(ctx, &gather);
    add_products(ctx, o);

    const ablate_axis heads_rope = {.source = ABLATE_COLS, .scale = o->R}, to_rope = {ABLATE_COLS, o->hd, o->hd - o->R, o->R};
    ablate_stage merge = token_stage(o, "merge_norm", DSV4_VECTOR, run_merge);
    merge.grid = (ablate_grid){o->T, 1, o->H, o->H, 0};
    merge.uses[0] = (ablate_use){DSV4_READ, &o->o_blocks, ablate_rows, ablate_all};
    merge.uses[1] = (ablate_use){DSV4_READ, &o->m, ablate_rows, ablate_all};
    merge.uses[2] = (ablate_use){DSV4_READ, &o->l, ablate_rows, ablate_all};
    merge.uses[3] = (ablate_use){DSV4_READ, &o->sink, ablate_all, ablate_all};
    merge.uses[4] = (ablate_use){DSV4_WRITE, &o->o_rope, ablate_rows, ablate_all};
    merge.uses[5] = (ablate_use){DSV4_WRITE, &o->o, ablate_rows, {ABLATE_COLS, o->hd, 0, o->hd - o->R}};
    merge.vector_ops = 3.0 * (double)(o->blocks * o->hd);
    merge.loads = tile_count(o->H, MERGE_HEADS) * 3 * o->blocks;
    ablate_stage_add(ctx, &merge);

    ablate_stage rope = token_stage(o, "rope", DSV4_VECTOR, run_rope);
    rope.grid = (ablate_grid){o->T, ROPE_ROWS, o->H, ROPE_HEADS, 0};
    rope.uses[0] = (ablate_use){DSV4_READ, &o->o_rope, ablate_rows, heads_rope};
    rope.uses[1] = (ablate_use){DSV4_READ, &o->cos, ablate_rows, ablate_all};
    rope.uses[2] = (ablate_use){DSV4_READ, &o->sin, ablate_rows, ablate_all};
    rope.uses[3] = (ablate_use){DSV4_WRITE, &o->o, ablate_rows, to_rope};
    rope.vector_ops = 5.0 * (double)o->R;
    rope.loads = ROPE_HEADS * 3 * tile_count(o->R, ROPE_PIECE);
    ablate_stage_add(ctx, &rope);
}
