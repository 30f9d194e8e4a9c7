#include "cli/bench/vectors.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/rng.h"
#include "cli/bench/team.h"

enum { N = 4096 /* values of a row: the hidden size of FLASH */, ROWS = 64, HEADS = 64, KEYS = 128, HEAD_DIM = 512 };
static const double turn_s = 100e-6;

/* What a kernel works on. Inputs are drawn once, outputs lie behind them. */
typedef struct vector_data {
    float x[N], z[N], gamma[N], cosine[N], sine[N];
    float scores[KEYS * HEADS];
    int32_t acc[KEYS * HEADS];
    uint16_t half[N];
    _Alignas(64) uint16_t heads[HEADS * HEAD_DIM]; /* as panels */
    uint16_t key_values[KEYS * HEAD_DIM];
    const uint16_t *keys[KEYS];
    float acts[KEYS * HEADS];                                               /* an output in a form of the row's own */
    _Alignas(64) float y[N], out[KEYS * HEADS], maxima[HEADS], sums[HEADS]; /* y is the first output */
    _Alignas(64) uint16_t half_out[N];
    int8_t bytes_out[N];
} vector_data;

/* ---- calls ---------------------------------------------------------------------------------------------------------------- */

static void call_exp(const uk_table *uk, vector_data *d)
{
    uk->exp(N, d->x, d->y);
}

static void call_sum_squares(const uk_table *uk, vector_data *d)
{
    d->y[0] = uk->sum_squares(N, d->x);
}

static void call_amax(const uk_table *uk, vector_data *d)
{
    d->y[0] = uk->amax(N, d->x);
}

static void call_scale_gamma(const uk_table *uk, vector_data *d)
{
    d->out[0] = uk->scale_gamma(N, d->x, 0.5f, d->half, d->y);
}

static void call_quantize_i8(const uk_table *uk, vector_data *d)
{
    uk->quantize_i8(N, d->x, 31.0f, d->bytes_out);
}

static void call_dequant_i32(const uk_table *uk, vector_data *d)
{
    uk->dequant_i32(N, d->acc, 0.5f, d->gamma, d->y);
}

static void call_widen_bf16(const uk_table *uk, vector_data *d)
{
    uk->widen_bf16(N, d->half, d->y);
}

static void call_narrow_bf16(const uk_table *uk, vector_data *d)
{
    uk->narrow_bf16(N, d->x, d->half_out);
}

static void call_blend(const uk_table *uk, vector_data *d)
{
    uk->blend(N / UK_PANEL, d->gamma, d->gamma, d->x, d->y);
}

static void call_divide(const uk_table *uk, vector_data *d)
{
    uk->divide(N / UK_PANEL, d->gamma, d->x, d->y, UK_PANEL);
}

/* Turning back and forth would round away; a turn of a copy stays what it is. */
static void call_rotate(const uk_table *uk, vector_data *d)
{
    memcpy(d->y, d->x, sizeof d->x);
    uk->rotate(N / 2, d->cosine, d->sine, d->y);
}

static void call_softmax(const uk_table *uk, vector_data *d)
{
    uk->softmax(KEYS, HEADS, 0.5f, d->scores, HEADS, d->maxima, d->sums, d->acts);
}

static void call_gemm_keys(const uk_table *uk, vector_data *d)
{
    uk->gemm_keys(KEYS, HEAD_DIM, d->keys, HEADS / UK_PANEL, d->heads, d->out, HEADS);
}

static void call_panel_keys(const uk_table *uk, vector_data *d)
{
    uk->panel_keys(KEYS, UK_PANEL, d->keys, UK_PANEL, d->half_out);
}

static void call_pool(const uk_table *uk, vector_data *d)
{
    const float *k[8], *s[8];
    for (int i = 0; i < 8; i++) {
        k[i] = d->x + i * 512;
        s[i] = d->z + i * 512;
    }
    uk->pool(512, 8, k, s, d->y);
}

static void call_index_score(const uk_table *uk, vector_data *d)
{
    uk->index_score(KEYS, HEADS, d->acc, HEADS, d->x, d->z, d->gamma, d->y);
}

/* ---- the table ------------------------------------------------------------------------------------------------------------ */

/* bytes: read and written by a call. ops: additions, multiplications, comparisons, conversions; an EXP counts 12. */
static const struct {
    const char *name, *shape;
    double bytes, ops;
    void (*call)(const uk_table *uk, vector_data *d);
} calls[] = {
    {"gemm_keys", "128x64x512", 2.0 * KEYS *HEAD_DIM + 4.0 * KEYS *HEADS, 2.0 * KEYS *HEADS *HEAD_DIM, call_gemm_keys},
    {"panel_keys", "128x32", 4.0 * KEYS *UK_PANEL, 0, call_panel_keys},
    {"softmax", "128x64", 8.0 * KEYS *HEADS, 18.0 * KEYS *HEADS, call_softmax},
    {"index_score", "128x64", 4.0 * KEYS *HEADS, 6.0 * KEYS *HEADS, call_index_score},
    {"pool", "8x512", 8.0 * 8 * 512, 18.0 * 8 * 512, call_pool},
    {"exp", "4096", 8.0 * N, 12.0 * N, call_exp},
    {"rotate", "4096", 16.0 * N, 3.0 * N, call_rotate},
    {"sum_squares", "4096", 4.0 * N, 2.0 * N, call_sum_squares},
    {"amax", "4096", 4.0 * N, 1.0 * N, call_amax},
    {"scale_gamma", "4096", 10.0 * N, 3.0 * N, call_scale_gamma},
    {"quantize_i8", "4096", 5.0 * N, 2.0 * N, call_quantize_i8},
    {"dequant_i32", "4096", 12.0 * N, 3.0 * N, call_dequant_i32},
    {"widen_bf16", "4096", 6.0 * N, 1.0 * N, call_widen_bf16},
    {"narrow_bf16", "4096", 6.0 * N, 1.0 * N, call_narrow_bf16},
    {"blend", "128x32", 12.0 * N, 3.0 * N, call_blend},
    {"divide", "128x32", 8.0 * N, 1.0 * N, call_divide},
};

int vectors_n(void)
{
    return sizeof calls / sizeof *calls;
}

/* ---- turns ---------------------------------------------------------------------------------------------------------------- */

typedef struct turn {
    const vectors *v;
    int call;
    int64_t n_calls;
} turn;

static void run_part(void *context, int worker, int n_workers)
{
    (void)n_workers;
    const turn *t = context;
    vector_data *d = (vector_data *)t->v->data + worker;
    for (int64_t i = 0; i < t->n_calls; i++) {
        calls[t->call].call(t->v->uk, d);
    }
}

static double run(vectors *v, int i, int64_t n_calls)
{
    return bench_team_run(v->pool, run_part, &(turn){v, i, n_calls});
}

double vectors_take_turn(vectors *v, int i)
{
    run(v, i, v->n_calls[i] / 4 + 1);
    return run(v, i, v->n_calls[i]) / (double)v->n_calls[i];
}

uint64_t vectors_checksum(vectors *v, int i)
{
    vector_data *d = (vector_data *)v->data;
    memset(d->y, 0, sizeof *d - offsetof(vector_data, y));
    calls[i].call(v->uk, d);
    return bench_checksum_bytes(BENCH_CHECKSUM_OF_NOTHING, d->y, sizeof *d - offsetof(vector_data, y));
}

static void draw_data(vector_data *d)
{
    rng r = {1, rng_stream("vectors")};
    for (int i = 0; i < N; i++) {
        d->x[i] = (float)rng_uniform(&r, (uint64_t)i, -4, 4);
        d->z[i] = (float)rng_uniform(&r, (uint64_t)i + N, -4, 4);
        d->gamma[i] = (float)rng_uniform(&r, (uint64_t)i + 2 * N, 0, 1);
        d->cosine[i] = d->gamma[i];
        d->sine[i] = 1 - d->gamma[i];
        d->half[i] = (uint16_t)(0x3c00 | (rng_u64(&r, (uint64_t)i) & 0x83ff));
    }
    for (int i = 0; i < KEYS * HEAD_DIM; i++) {
        d->key_values[i] = (uint16_t)(0x3c00 | (rng_u64(&r, (uint64_t)i + 4 * N) & 0x83ff));
        d->keys[i / HEAD_DIM] = d->key_values + i / HEAD_DIM * HEAD_DIM;
    }
    for (int i = 0; i < HEADS * HEAD_DIM; i++) {
        d->heads[i] = (uint16_t)(0x3c00 | (rng_u64(&r, (uint64_t)i + 5 * N) & 0x83ff));
    }
    for (int i = 0; i < KEYS * HEADS; i++) {
        d->scores[i] = (float)rng_uniform(&r, (uint64_t)i + 3 * N, -8, 8);
        d->acc[i] = (int32_t)(rng_u64(&r, (uint64_t)i) >> 44) - (1 << 19);
    }
}

dsv4_status vectors_open(vectors *v, dsv4_pool *pool, const uk_table *uk, dsv4_error *err)
{
    size_t n_workers = (size_t)dsv4_pool_n_threads(pool);
    *v = (vectors){.pool = pool,
                   .uk = uk,
                   .data = memory_zeroed_array(n_workers, sizeof(vector_data)),
                   .n_calls = calloc((size_t)vectors_n(), sizeof *v->n_calls)};
    if (v->data == NULL || v->n_calls == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "bench kernels: no memory for vectors");
    }
    for (size_t i = 0; i < n_workers; i++) {
        draw_data((vector_data *)v->data + i);
    }
    for (int i = 0; i < vectors_n(); i++) {
        v->n_calls[i] = 1;
        while (run(v, i, v->n_calls[i]) < turn_s) {
            v->n_calls[i] *= 2;
        }
    }
    return DSV4_OK;
}

void vectors_close(vectors *v)
{
    free(v->data);
    free(v->n_calls);
}

/* Bytes and operations of all workers, of which each makes a call in that time. */
void vectors_describe(const vectors *v, int i, bench_row *row)
{
    int n_workers = dsv4_pool_n_threads(v->pool);
    row->name = calls[i].name;
    row->by = v->uk->isa;
    row->weights = "cached";
    strcpy(row->shape, calls[i].shape);
    row->bytes = calls[i].bytes * n_workers;
    row->ops = calls[i].ops * n_workers;
}
