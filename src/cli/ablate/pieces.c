#include "cli/ablate/pieces.h"

#include <string.h>

#include "ops/rms.h"
#include "ops/tile.h"

/* ---- products --------------------------------------------------------------------------------------------------------------- */

int64_t ablate_group_bytes(const uk_table *uk, dsv4_dtype dtype, int64_t k)
{
    enum { LINE = 64 };
    int64_t bytes = dtype == DSV4_I8 ? uk_acts_bytes_i8(uk, UK_ROWS, k) : uk_acts_bytes_bf16(uk, UK_ROWS, k);
    return tile_count(bytes, LINE) * LINE;
}

uk_acts ablate_pack_rows(const uk_table *uk, dsv4_dtype dtype, const void *x, int64_t ldx, int64_t n_rows, int64_t k, void *memory)
{
    int64_t bytes = ablate_group_bytes(uk, dtype, k);
    for (int64_t row = 0; row < n_rows; row += UK_ROWS) {
        char *group = (char *)memory + row / UK_ROWS * bytes;
        if (dtype == DSV4_I8) {
            uk->tile_i8(tile_min(n_rows - row, UK_ROWS), UK_ROWS, k, (const int8_t *)x + row * ldx, ldx, group);
        } else {
            uk->tile_bf16(tile_min(n_rows - row, UK_ROWS), UK_ROWS, k, (const uint16_t *)x + row * ldx, ldx, group);
        }
    }
    return (uk_acts){memory, n_rows, UK_ROWS, bytes};
}

void ablate_multiply(const uk_table *uk, dsv4_dtype dtype, uk_acts x, const uk_packed *w, void *y, int64_t ldy)
{
    for (int64_t panel = 0; panel < w->n_panels; panel++) {
        if (dtype == DSV4_I8) {
            uk->gemm_i8(x, tile_count(w->k, 4), uk_panel_i8(w, panel, 0), w->correction + panel * UK_PANEL,
                        (int32_t *)y + panel * UK_PANEL, ldy);
        } else {
            uk->gemm_bf16(x, w->k, uk_panel_bf16(w, panel, 0), (float *)y + panel * UK_PANEL, ldy);
        }
    }
}

void ablate_copy_sums(int64_t n_rows, int64_t n_cols, const void *from, int64_t ld_from, void *to, int64_t ld_to)
{
    enum { BYTES = 4 }; /* of an F32, of an I32 */
    for (int64_t row = 0; row < n_rows; row++) {
        memcpy((char *)to + row * ld_to * BYTES, (const char *)from + row * ld_from * BYTES, (size_t)n_cols * BYTES);
    }
}

static int64_t whole_panels(int64_t n)
{
    return tile_count(n, UK_PANEL) * UK_PANEL;
}

size_t ablate_matmul_bytes(const uk_table *uk, dsv4_dtype dtype, int64_t m, int64_t k, int64_t n)
{
    return (size_t)(tile_count(m, UK_ROWS) * ablate_group_bytes(uk, dtype, k)) + (size_t)(m * whole_panels(n)) * sizeof(float) +
           (dtype == DSV4_I8 ? uk_pack_i8_bytes(k, n) : uk_pack_bf16_bytes(k, n));
}

/* Where y has no room for whole panels, they go to scratch first. */
void ablate_matmul_run(const uk_table *uk, const ablate_matmul *p, void *scratch)
{
    uk_acts x = ablate_pack_rows(uk, p->dtype, p->x, p->ldx, p->m, p->k, scratch);
    float *sums = (float *)((char *)scratch + tile_count(p->m, UK_ROWS) * x.group_bytes);
    int64_t padded = whole_panels(p->n);
    void *panels = sums + p->m * padded;
    uk_packed w = p->dtype == DSV4_I8 ? uk_pack_i8(uk, p->w, p->k, p->n, p->stride_k, p->stride_n, panels)
                                      : uk_pack_bf16(uk, p->w, p->k, p->n, p->stride_k, p->stride_n, panels);
    if (p->n == padded) {
        ablate_multiply(uk, p->dtype, x, &w, p->y, p->ldy);
    } else {
        ablate_multiply(uk, p->dtype, x, &w, sums, padded);
        ablate_copy_sums(p->m, p->n, sums, padded, p->y, p->ldy);
    }
}

/* ---- rows ------------------------------------------------------------------------------------------------------------------- */

float ablate_q8(const uk_table *uk, int64_t n, const float *x, int8_t *q)
{
    float multiplier = op_q8_multiplier(uk->amax(n, x));
    uk->quantize_i8(n, x, multiplier, q);
    return 1.0f / multiplier;
}

void ablate_rotate(const uk_table *uk, int64_t n_pairs, const uint16_t *cos, const uint16_t *sin, float *work, float *x)
{
    uk->widen_bf16(n_pairs, cos, work);
    uk->widen_bf16(n_pairs, sin, work + n_pairs);
    uk->rotate(n_pairs, work, work + n_pairs, x);
}
