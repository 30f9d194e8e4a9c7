/* golden/index.c - queries, keys, scores and selection of the indexer (SPEC 3.2).
 *
 * MATH      q[t,h] = (float(qr wq_b[h]) qr_scale) wq_b_scale[h], its last R elements rotated;  q <- bf(q) hadamard
 *           (qi, qs) = Q8(q[t,h]);  w = (x weights_proj) (ID^(-1/2) IH^(-1/2))
 *           (ki, ks) = Q8(cache row c);  score[c] = sum_h max((float(qi[h] ki) qs[h]) ks, 0) w[h]
 * NUMERICS  INT8 products are exact; the sum over heads in double, its terms rounded to FP32. */
#include "golden/index.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "golden/primitives.h"

/* Tokens that share one pass over wq_b, and columns of one step of the scores. */
enum { GROUP_TOKENS = 16, GROUP_COLUMNS = 256 };

/* Scratch of golden_index_queries. */
typedef struct query_scratch {
    int32_t *sums;     /* [GROUP_TOKENS, ID] */
    float *head;       /* [ID] */
    uint16_t *rounded; /* [ID] */
} query_scratch;

/* q, q_scale of one head of tokens [t0, t0 + n). */
static void head_queries(const golden_index *ix, int64_t h, int64_t t0, int64_t n, const query_scratch *s, int8_t *q,
                         float *q_scale)
{
    const int64_t ID = ix->ID, column = h * ID;
    golden_matmul_i8(ix->qr + t0 * ix->QL, ix->wq_b + column, ix->IH * ID, n, ix->QL, ID, s->sums);
    for (int64_t i = 0; i < n; i++) {
        const int64_t t = t0 + i, angle = t / ix->tokens_per_angle * (ix->R / 2);
        for (int64_t d = 0; d < ID; d++) {
            s->head[d] = ((float)s->sums[i * ID + d] * ix->qr_scale[t]) * ix->wq_b_scale[column + d];
        }
        golden_rotate_f32(s->head + ID - ix->R, ix->R, ix->cos + angle, ix->sin + angle);
        golden_round(s->head, ID, s->rounded);
        golden_matmul_bf16(s->rounded, ix->hadamard, 1, ID, ID, s->head);
        q_scale[t * ix->IH + h] = golden_q8(s->head, ID, q + (t * ix->IH + h) * ID);
    }
}

static dsv4_status make_queries(const golden_index *ix, arena *memory, int8_t *q, float *q_scale, progress *p, dsv4_error *err)
{
    const size_t ID = (size_t)ix->ID;
    const query_scratch scratch = {
        .sums = arena_alloc(memory, GROUP_TOKENS * ID * sizeof(int32_t)),
        .head = arena_alloc(memory, ID * sizeof(float)),
        .rounded = arena_alloc(memory, ID * sizeof(uint16_t)),
    };
    if (scratch.sums == NULL || scratch.head == NULL || scratch.rounded == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "indexer: no memory for %d queries of %zu elements", GROUP_TOKENS, ID);
    }
    for (int64_t t = 0; t < ix->T; t += GROUP_TOKENS) {
        const int64_t n = ix->T - t < GROUP_TOKENS ? ix->T - t : GROUP_TOKENS;
        for (int64_t h = 0; h < ix->IH; h++) {
            head_queries(ix, h, t, n, &scratch, q, q_scale);
        }
        progress_report(p, (double)t / (double)ix->T);
    }
    return DSV4_OK;
}

dsv4_status golden_index_queries(const golden_index *ix, int8_t *q, float *q_scale, progress *p, dsv4_error *err)
{
    arena memory = {0};
    const dsv4_status status = make_queries(ix, &memory, q, q_scale, p, err);
    arena_deinit(&memory);
    return status;
}

void golden_index_head_weights(const golden_index *ix, float *head_weights)
{
    const float scale = (float)((1.0 / sqrt((double)ix->ID)) * (1.0 / sqrt((double)ix->IH)));
    golden_matmul_bf16(ix->x, ix->weights_proj, ix->T, ix->D, ix->IH, head_weights);
    for (int64_t i = 0; i < ix->T * ix->IH; i++) {
        head_weights[i] = head_weights[i] * scale;
    }
}

dsv4_status index_scratch_init(const golden_index *ix, int64_t n_rows, index_scratch *s, progress *p, dsv4_error *err)
{
    const size_t queries = (size_t)ix->T * (size_t)ix->IH, ID = (size_t)ix->ID;
    *s = (index_scratch){0};
    s->q = arena_alloc(&s->memory, queries * ID);
    s->q_scale = arena_alloc(&s->memory, queries * sizeof(float));
    s->head_weights = arena_alloc(&s->memory, queries * sizeof(float));
    s->keys = arena_alloc(&s->memory, (size_t)n_rows * ID);
    s->key_scale = arena_alloc(&s->memory, (size_t)n_rows * sizeof(float));
    s->products = arena_alloc(&s->memory, (size_t)ix->IH * GROUP_COLUMNS * sizeof(int32_t));
    s->key = arena_alloc(&s->memory, ID);
    s->values = arena_alloc(&s->memory, ID * sizeof(float));
    if (s->q == NULL || s->q_scale == NULL || s->head_weights == NULL || s->keys == NULL || s->key_scale == NULL ||
        s->products == NULL || s->key == NULL || s->values == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "indexer: no memory for %zu queries and %" PRId64 " keys", queries, n_rows);
    }
    golden_index_head_weights(ix, s->head_weights);
    return golden_index_queries(ix, s->q, s->q_scale, p, err);
}

void index_scratch_deinit(index_scratch *s)
{
    arena_deinit(&s->memory);
}

void index_read_keys(const golden_cache *cache, const golden_pages *pages, int64_t request, int64_t n_rows, index_scratch *s)
{
    for (int64_t c = 0; c < n_rows; c++) {
        s->key_scale[c] = golden_cache_read(cache, golden_flat_row(pages, request, c), s->values, s->key);
        for (int64_t d = 0; d < cache->width; d++) {
            s->keys[d * n_rows + c] = s->key[d];
        }
    }
}

/* Score of one column, from its products with each head, which are n_columns apart. */
static float head_sum(const golden_index *ix, const index_scratch *s, int64_t t, const int32_t *products, int64_t n_columns,
                      float key_scale)
{
    double sum = 0.0;
    for (int64_t h = 0; h < ix->IH; h++) {
        const float scaled = ((float)products[h * n_columns] * s->q_scale[t * ix->IH + h]) * key_scale;
        const float term = (scaled < 0.0f ? 0.0f : scaled) * s->head_weights[t * ix->IH + h];
        sum += term;
    }
    return (float)sum;
}

void index_score_token(const golden_index *ix, const index_scratch *s, int64_t t, int64_t n_keys, int64_t n_rows, float *score)
{
    const int8_t *q = s->q + t * ix->IH * ix->ID;
    for (int64_t c0 = 0; c0 < n_rows; c0 += GROUP_COLUMNS) {
        const int64_t n = n_rows - c0 < GROUP_COLUMNS ? n_rows - c0 : GROUP_COLUMNS;
        golden_matmul_i8(q, s->keys + c0, n_keys, ix->IH, ix->ID, n, s->products);
        for (int64_t i = 0; i < n; i++) {
            score[c0 + i] = head_sum(ix, s, t, s->products + i, n, s->key_scale[c0 + i]);
        }
    }
}

typedef struct candidate {
    float score;
    int32_t index;
} candidate;

/* Larger scores first, equal scores by ascending index. */
static int compare_candidates(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->score != y->score) {
        return x->score > y->score ? -1 : 1;
    }
    return (x->index > y->index) - (x->index < y->index);
}

dsv4_status golden_topk(const float *score, int64_t n, int64_t k, int32_t *indices, dsv4_error *err)
{
    arena memory = {0};
    candidate *candidates = arena_alloc(&memory, (size_t)n * sizeof *candidates);
    if (candidates == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "indexer: no memory to sort %" PRId64 " scores", n);
    }
    for (int64_t i = 0; i < n; i++) {
        candidates[i] = (candidate){isnan(score[i]) ? -INFINITY : score[i], (int32_t)i};
    }
    qsort(candidates, (size_t)n, sizeof *candidates, compare_candidates);
    for (int64_t i = 0; i < k; i++) {
        indices[i] = candidates[i].index;
    }
    arena_deinit(&memory);
    return DSV4_OK;
}

dsv4_status index_select(float *score, int64_t n_columns, int64_t n_rows, int64_t k, int32_t offset, int32_t *topk_idxs,
                         int64_t n_topk_columns, dsv4_error *err)
{
    const int64_t n_selected = k < n_rows ? k : n_rows;
    for (int64_t c = n_rows; c < n_columns; c++) {
        score[c] = GOLDEN_NO_SCORE;
    }
    for (int64_t i = n_selected; i < n_topk_columns; i++) {
        topk_idxs[i] = -1;
    }
    const dsv4_status status = golden_topk(score, n_rows, n_selected, topk_idxs, err);
    for (int64_t i = 0; i < n_selected && status == DSV4_OK; i++) {
        topk_idxs[i] += offset;
    }
    return status;
}
