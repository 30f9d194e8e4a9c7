#include "cli/bench/families.h"

#include <stddef.h>

#include "ops/chunk.h"

/* ---- BF16: chunks of k into scratch, then their sum, as op_project_bf16 does ----------------------------------------------------
 * */

static int64_t panel_bytes_bf16(int64_t k)
{
    return tile_count(k, 2) * 2 * UK_PANEL * (int64_t)sizeof(uint16_t);
}

static size_t scratch_bytes_bf16(int64_t k)
{
    return (size_t)(op_chunks(k) * FAMILY_BLOCK_ROWS * UK_PANEL) * sizeof(float);
}

static void tile_bf16(const uk_table *uk, int64_t rows, int64_t group_rows, int64_t k, const void *values, void *dst)
{
    uk->tile_bf16(rows, group_rows, k, values, k, dst);
}

static void run_bf16(const family_product *p)
{
    int64_t n_chunks = op_chunks(p->k), part = p->x.rows * UK_PANEL;
    float *sums = p->scratch;
    for (int64_t chunk = 0; chunk < n_chunks; chunk++) {
        tile_range k = tile_at(chunk, OP_SUM_CHUNK, p->k);
        uk_acts x = p->x;
        x.data = (const char *)x.data + k.begin * x.group_rows * p->uk->act_bytes_bf16;
        p->uk->gemm_bf16(x, k.end - k.begin, (const uint16_t *)p->panel + k.begin * UK_PANEL, sums + chunk * part, UK_PANEL);
    }
    for (int64_t i = 0; i < p->x.rows; i++) {
        p->uk->sum_parts(UK_PANEL, n_chunks, sums + i * UK_PANEL, part, (float *)p->y + i * p->ld);
    }
}

/* ---- INT8 ---------------------------------------------------------------------------------------------------------------- */

static int64_t panel_bytes_i8(int64_t k)
{
    return tile_count(k, 4) * 4 * UK_PANEL;
}

static int64_t acts_bytes_i8(const uk_table *uk, int64_t group_rows, int64_t k)
{
    return uk_acts_bytes_i8(uk, group_rows, k);
}

static size_t no_scratch(int64_t k)
{
    (void)k;
    return 0;
}

static void tile_i8(const uk_table *uk, int64_t rows, int64_t group_rows, int64_t k, const void *values, void *dst)
{
    uk->tile_i8(rows, group_rows, k, values, k, dst);
}

/* Each pair of weights sums to -1. */
static void run_i8(const family_product *p)
{
    int32_t correction[UK_PANEL];
    int64_t k4 = tile_count(p->k, 4);
    for (int j = 0; j < UK_PANEL; j++) {
        correction[j] = (int32_t)(128 * 2 * k4);
    }
    p->uk->gemm_i8(p->x, k4, p->panel, correction, p->y, p->ld);
}

/* ---- INT8 and BF16 x FP4 ------------------------------------------------------------------------------------------------- */

static int64_t panel_bytes_fp4(int64_t k)
{
    return tile_count(k, UK_BLOCK_FP4) * UK_BLOCK_BYTES_FP4;
}

static int64_t acts_bytes_fp4(const uk_table *uk, int64_t group_rows, int64_t k)
{
    (void)uk;
    return uk_acts_bytes_fp4(group_rows, k);
}

static void tile_fp4(const uk_table *uk, int64_t rows, int64_t group_rows, int64_t k, const void *values, void *dst)
{
    uk->tile_fp4(rows, group_rows, k, values, k, dst);
}

static void run_fp4(const family_product *p)
{
    p->uk->gemm_fp4(p->x, tile_count(p->k, UK_BLOCK_FP4), p->panel, p->y, p->ld);
}

static void run_fp4_bf16(const family_product *p)
{
    p->uk->gemm_fp4_bf16(p->x, p->k, p->panel, p->y, p->ld);
}

/* ---- BF16 x FP8 ---------------------------------------------------------------------------------------------------------- */

enum { MAX_CHUNKS_FP8 = 64 };

static int64_t panel_bytes_fp8(int64_t k)
{
    return tile_count(k, 2) * 2 * UK_PANEL;
}

/* All scales are 1. */
static void run_fp8(const family_product *p)
{
    float scales[MAX_CHUNKS_FP8];
    for (int64_t i = 0; i < tile_count(p->k, UK_CHUNK); i++) {
        scales[i] = 1.0f;
    }
    p->uk->gemm_fp8(p->x, p->k, p->panel, scales, p->y, p->ld);
}

/* ---- the table ------------------------------------------------------------------------------------------------------------ */

const family families[] = {
    {.name = "bf16",
     .peak = offsetof(bench_ceilings, flops_bf16_s),
     .keep = 0x83ff, /* sizes from 2^-7 to 2 */
     .set = 0x3c00,
     .panel_bytes = panel_bytes_bf16,
     .acts_bytes = uk_acts_bytes_bf16,
     .scratch_bytes = scratch_bytes_bf16,
     .tile = tile_bf16,
     .run = run_bf16,
     .flash = {{1, 4096, 512}, {1, 4096, 1024}, {1, 4096, 2048}, {8, 4096, 1024}, {1, 4096, FAMILY_CACHED}},
     .tiny = {{1, 96, 40}, {2, 640, 64}, {1, 64, FAMILY_CACHED}}},
    {.name = "i8",
     .peak = offsetof(bench_ceilings, ops_i8_s),
     .keep = 0xffff,
     .is_paired = true,
     .panel_bytes = panel_bytes_i8,
     .acts_bytes = acts_bytes_i8,
     .scratch_bytes = no_scratch,
     .tile = tile_i8,
     .run = run_i8,
     .flash =
         {{1, 1024, 8192}, {1, 1024, 32768}, {1, 8192, 4096}, {8, 1024, 4096}, {1, 1024, FAMILY_CACHED}, {1, 8192, FAMILY_CACHED}},
     .tiny = {{1, 96, 40}, {2, 640, 64}, {1, 64, FAMILY_CACHED}}},
    {.name = "fp4",
     .peak = offsetof(bench_ceilings, ops_i8_s),
     .keep = 0x3f3f, /* scales from 2^-63 to 1 */
     .set = 0x4040,
     .panel_bytes = panel_bytes_fp4,
     .acts_bytes = acts_bytes_fp4,
     .scratch_bytes = no_scratch,
     .tile = tile_fp4,
     .run = run_fp4,
     .flash = {{1, 4096, 2048}, {8, 4096, 2048}, {8, 2048, 4096}, {1, 4096, FAMILY_CACHED}},
     .tiny = {{1, 128, 40}, {2, 640, 64}, {1, 64, FAMILY_CACHED}}},
    {.name = "fp4bf16",
     .peak = offsetof(bench_ceilings, flops_bf16_s),
     .keep = 0x833f, /* scales up to 2^64, no NaN; BF16 sizes from 2^-7 to 2 */
     .set = 0x3c40,
     .panel_bytes = panel_bytes_fp4,
     .acts_bytes = uk_acts_bytes_bf16,
     .scratch_bytes = no_scratch,
     .tile = tile_bf16,
     .run = run_fp4_bf16,
     .flash = {{1, 4096, 2048}, {8, 4096, 2048}, {8, 2048, 4096}, {1, 4096, FAMILY_CACHED}},
     .tiny = {{1, 128, 40}, {2, 640, 64}, {1, 64, FAMILY_CACHED}}},
    {.name = "fp8",
     .peak = offsetof(bench_ceilings, flops_bf16_s),
     .keep = 0x83f7, /* no NaN; BF16 sizes from 2^-7 to 2 */
     .set = 0x3c00,
     .panel_bytes = panel_bytes_fp8,
     .acts_bytes = uk_acts_bytes_bf16,
     .scratch_bytes = no_scratch,
     .tile = tile_bf16,
     .run = run_fp8,
     .flash = {{1, 1024, 32768}, {1, 4096, 1024}, {1, 8192, 4096}, {1, 4096, FAMILY_CACHED}},
     .tiny = {{1, 128, 40}, {2, 640, 64}, {1, 64, FAMILY_CACHED}}},
    {.name = NULL},
};
