/* golden/compress.c - the pieces of a compressor: projections, pooling, finish (SPEC 4).
 *
 * MATH      kv = x wkv^T;  score = x wgate^T + ape[position % ratio]
 *           p_i = exp(s_i - max s) / sum_i exp(s_i - max s);  pooled = sum_i k_i p_i   per channel
 *           y = (pooled inv(pooled)) norm_w, its last R elements rotated;  indexer: y <- bf(y) hadamard
 * NUMERICS  FP32, floating sums in double rounded once. */
#include "golden/compress.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "golden/primitives.h"

/* Tokens between two reports of progress. */
enum { GROUP_TOKENS = 16 };

bool compress_overlaps(const golden_compressor *c)
{
    return c->ratio == 4;
}

int64_t golden_compressor_width(const golden_compressor *c)
{
    return compress_overlaps(c) ? 2 * c->hd : c->hd;
}

dsv4_status compress_scratch_init(const golden_compressor *c, int64_t n_tokens, compress_scratch *scratch, dsv4_error *err)
{
    const size_t hd = (size_t)c->hd, half = (size_t)(c->R / 2);
    const size_t projected = (size_t)n_tokens * (size_t)golden_compressor_width(c);
    *scratch = (compress_scratch){0};
    arena *memory = &scratch->memory;
    scratch->kv = arena_alloc(memory, projected * sizeof(float));
    scratch->score = arena_alloc(memory, projected * sizeof(float));
    scratch->rows = arena_alloc(memory, 2 * (size_t)c->ratio * sizeof *scratch->rows);
    scratch->zeros = arena_alloc(memory, hd * sizeof(float));
    scratch->no_score = arena_alloc(memory, hd * sizeof(float));
    scratch->y = arena_alloc(memory, hd * sizeof(float));
    scratch->rounded = arena_alloc(memory, hd * sizeof(uint16_t));
    scratch->cos = arena_alloc(memory, half * sizeof(float));
    scratch->sin = arena_alloc(memory, half * sizeof(float));
    if (scratch->kv == NULL || scratch->score == NULL || scratch->rows == NULL || scratch->zeros == NULL ||
        scratch->no_score == NULL || scratch->y == NULL || scratch->rounded == NULL || scratch->cos == NULL ||
        scratch->sin == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "compressor: no memory for the projections of %" PRId64 " tokens", n_tokens);
    }
    for (int64_t d = 0; d < c->hd; d++) {
        scratch->no_score[d] = GOLDEN_NO_SCORE;
    }
    return DSV4_OK;
}

void compress_scratch_deinit(compress_scratch *scratch)
{
    arena_deinit(&scratch->memory);
}

void compress_project(const golden_compressor *c, const uint16_t *x, const int32_t *position_ids, int64_t n_tokens,
                      compress_scratch *s, progress *p)
{
    const int64_t width = golden_compressor_width(c);
    for (int64_t t = 0; t < n_tokens; t += GROUP_TOKENS) {
        const int64_t n = n_tokens - t < GROUP_TOKENS ? n_tokens - t : GROUP_TOKENS;
        golden_matmul_bf16_transposed(x + t * c->D, c->wkv, n, c->D, width, s->kv + t * width);
        golden_matmul_bf16_transposed(x + t * c->D, c->wgate, n, c->D, width, s->score + t * width);
        progress_report(p, (double)t / (double)n_tokens);
    }
    for (int64_t t = 0; t < n_tokens; t++) {
        const float *ape = c->ape + position_ids[t] % c->ratio * width;
        for (int64_t d = 0; d < width; d++) {
            s->score[t * width + d] = s->score[t * width + d] + ape[d];
        }
    }
}

void compress_store(const golden_compressor *c, const compress_scratch *s, int64_t i, const golden_state *state, int64_t row)
{
    const int64_t width = golden_compressor_width(c);
    memcpy(state->kv + row * state->stride, s->kv + i * width, (size_t)width * sizeof(float));
    memcpy(state->score + row * state->stride, s->score + i * width, (size_t)width * sizeof(float));
}

static float largest_score(const golden_pool_row *rows, int64_t n, int64_t d)
{
    float largest = GOLDEN_NO_SCORE;
    for (int64_t i = 0; i < n; i++) {
        largest = rows[i].score[d] > largest ? rows[i].score[d] : largest;
    }
    return largest;
}

static float weight(float score, float largest)
{
    return score <= GOLDEN_NO_SCORE ? 0.0f : golden_exp(score - largest);
}

void golden_pool(const golden_pool_row *rows, int64_t n, int64_t hd, float *pooled)
{
    for (int64_t d = 0; d < hd; d++) {
        const float largest = largest_score(rows, n, d);
        double total = 0.0, sum = 0.0;
        for (int64_t i = 0; i < n; i++) {
            total += weight(rows[i].score[d], largest);
        }
        for (int64_t i = 0; i < n && total != 0.0; i++) {
            const float share = weight(rows[i].score[d], largest) / (float)total;
            const float term = rows[i].kv[d] * share;
            sum += term;
        }
        pooled[d] = (float)sum;
    }
}

void compress_finish(const golden_compressor *c, int64_t n, compress_scratch *s)
{
    golden_pool(s->rows, n, c->hd, s->y);
    golden_rms_gamma(s->y, c->norm_w, c->hd, c->eps);
    golden_rotate_f32(s->y + c->hd - c->R, c->R, s->cos, s->sin);
    if (c->hadamard != NULL) {
        golden_round(s->y, c->hd, s->rounded);
        golden_matmul_bf16(s->rounded, c->hadamard, 1, c->hd, c->hd, s->y);
    }
}
