/* ops/attention_lists.c - which keys a token has, as raw lists (SPEC 5.5).
 *
 * DECODE    slots 0..W-1: ring row k; W + o where the o-th token of this step will overwrite it (HCA: a hole); a hole where nothing
 *           was written yet. CSA: then the chosen windows. HCA: then the tokens of this step up to this one, then all windows.
 * PREFILL   the sliding window in ascending position, keys of this chunk as W + t', older ones as ring rows; then the windows.
 * STAGES    attention.lists  [t_tile]  positions, topk -> raw, lens */
#include "ops/attention.h"
#include "ops/tile.h"

enum { LIST_T_TILE = 8 };

typedef struct lists {
    attention_lists a;
    int64_t T, window;
} lists;

/* Appends the windows of token t, whose raw indices begin at first. A chosen one that the token cannot see leaves a hole in decode
 * and nothing in prefill. */
static int32_t *put_windows(const lists *o, int64_t t, int64_t first, int32_t *slot, const int32_t *end)
{
    int64_t n = op_matrix_ints(&o->a.step->n_windows)[t], n_listed = tile_min(n, o->a.max_windows);
    if (o->a.topk.data == NULL) {
        for (int64_t c = 0; c < n_listed && slot < end; c++) {
            *slot++ = (int32_t)(first + c);
        }
        return slot;
    }
    const int32_t *chosen = op_matrix_ints(&o->a.topk) + t * o->a.topk.ld;
    for (int64_t i = 0; i < o->a.max_windows && i < o->a.topk.cols && slot < end; i++) {
        bool is_visible = chosen[i] >= first && chosen[i] < first + n;
        if (is_visible || o->a.step->is_decode) {
            *slot++ = is_visible ? chosen[i] : -1;
        }
    }
    return slot;
}

static void list_decode(const lists *o, int64_t t, int32_t *raw)
{
    int64_t S = o->a.step->tokens_per_request, W = o->window, s = t % S, position = op_matrix_ints(&o->a.step->positions)[t];
    bool is_hca = o->a.step->ratio > 0 && o->a.topk.data == NULL;
    int32_t *slot = raw + W, *end = raw + o->a.raw.cols;
    for (int64_t k = 0; k < W; k++) {
        raw[k] = k > position ? -1 : (int32_t)k;
    }
    for (int64_t i = 0; i <= s; i++) {
        raw[(position - s + i) % W] = is_hca ? -1 : (int32_t)(W + i);
    }
    for (int64_t i = 0; i < S && is_hca; i++) {
        *slot++ = i <= s ? (int32_t)(W + i) : -1;
    }
    slot = o->a.step->ratio > 0 ? put_windows(o, t, W + S, slot, end) : slot;
    while (slot < end) {
        *slot++ = -1;
    }
}

static void list_prefill(const lists *o, int64_t t, int32_t *raw)
{
    int64_t W = o->window, position = op_matrix_ints(&o->a.step->positions)[t], start = position - t;
    int32_t *slot = raw, *end = raw + o->a.raw.cols;
    for (int64_t p = position >= W ? position - W + 1 : 0; p <= position; p++) {
        *slot++ = (int32_t)(p >= start ? W + p - start : p % W);
    }
    slot = o->a.step->ratio > 0 ? put_windows(o, t, W + o->T, slot, end) : slot;
    ((int32_t *)o->a.lens.data)[t] = (int32_t)(slot - raw);
    while (slot < end) {
        *slot++ = -1;
    }
}

static void list_nothing(const lists *o, int64_t t, int32_t *raw)
{
    for (int64_t i = 0; i < o->a.raw.cols; i++) {
        raw[i] = -1;
    }
    if (o->a.lens.data != NULL) {
        ((int32_t *)o->a.lens.data)[t] = 0;
    }
}

static void describe_lists(const void *arg, int64_t block, dsv4_describe *d)
{
    const lists *o = arg;
    tile_range t = tile_at(block, LIST_T_TILE, o->T);
    dsv4_reads(d, o->a.step->positions.view, 0, 1, t.begin, t.end);
    dsv4_reads(d, o->a.step->n_windows.view, 0, 1, t.begin, t.end);
    dsv4_reads(d, o->a.step->n_tokens.view, 0, 1, 0, 1);
    if (o->a.topk.data != NULL) {
        dsv4_reads(d, o->a.topk.view, t.begin, t.end, 0, o->a.topk.cols);
    }
    if (o->a.lens.data != NULL) {
        dsv4_writes(d, o->a.lens.view, 0, 1, t.begin, t.end);
    }
    dsv4_writes(d, o->a.raw.view, t.begin, t.end, 0, o->a.raw.cols);
    dsv4_costs(d, (dsv4_work){.vector_ops = (double)((t.end - t.begin) * o->a.raw.cols)});
}

static void run_lists(const void *arg, int64_t block, void *scratch)
{
    const lists *o = arg;
    tile_range tile = tile_at(block, LIST_T_TILE, o->T);
    (void)scratch;
    for (int64_t t = tile.begin; t < tile.end; t++) {
        int32_t *raw = (int32_t *)o->a.raw.data + t * o->a.raw.ld;
        if (t >= op_matrix_ints(&o->a.step->n_tokens)[0]) {
            list_nothing(o, t, raw);
        } else if (o->a.step->is_decode) {
            list_decode(o, t, raw);
        } else {
            list_prefill(o, t, raw);
        }
    }
}

void attention_lists_add(const op_context *c, attention_lists *a)
{
    const op_step *s = a->step;
    int64_t T = s->n_requests * s->tokens_per_request, W = c->dims.of[OP_W];
    bool is_hca = s->is_decode && s->ratio > 0 && a->topk.data == NULL;
    int64_t width = W + (is_hca ? s->tokens_per_request : 0) + (s->ratio > 0 ? a->max_windows : 0);
    a->raw = op_matrix_new(c, "attention.raw", T, width, DSV4_I32);
    if (!s->is_decode) {
        a->lens = op_matrix_new(c, "attention.lens", 1, T, DSV4_I32);
    }
    lists *o = dsv4_graph_memory(c->g, sizeof *o);
    op_step *step = dsv4_graph_memory(c->g, sizeof *step);
    if (o == NULL || step == NULL) {
        return;
    }
    *step = *s;
    *o = (lists){*a, T, W};
    o->a.step = step;
    dsv4_graph_stage(c->g, &(dsv4_stage_desc){.name = "attention.lists",
                                              .n_blocks = tile_count(T, LIST_T_TILE),
                                              .run = run_lists,
                                              .describe = describe_lists,
                                              .arg = o});
}
