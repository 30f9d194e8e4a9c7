/* kernels/pack.h - weights in the order in which the microkernels stream them (layout: kernels.h). */
#ifndef KERNELS_PACK_H
#define KERNELS_PACK_H

#include "kernels/kernels.h"

/* A packed matrix of K inputs (rows) and N outputs (columns). Memory is the caller's. */
typedef struct uk_packed {
    int64_t k, n;
    int64_t n_panels;    /* ceil(n / 32) */
    int64_t panel_bytes; /* distance between panels, a multiple of 64 */
    void *panels;        /* 64-byte aligned */
    int32_t *correction; /* INT8: [n_panels * 32], see gemm_i8; NULL for BF16 and F32 */
} uk_packed;

/* Bytes that packing [k, n] takes, correction included; 0 if that overflows size_t, if k or n is below 1, or if an INT8 k is above
 * UK_MAX_K_I8. */
size_t uk_pack_bf16_bytes(int64_t k, int64_t n);
size_t uk_pack_f32_bytes(int64_t k, int64_t n);
size_t uk_pack_i8_bytes(int64_t k, int64_t n);

/* The packed form of w in memory of that many bytes, 64-byte aligned. Writes nothing. */
uk_packed uk_packed_in(const uk_source *w, void *memory);

/* Packs the panels [begin, end) of w, and their corrections, into out, which uk_packed_in made of w. Threads may pack different
 * panels at once. Fast where one of the strides is 1. */
void uk_pack_panels(const uk_table *uk, const uk_source *w, int64_t begin, int64_t end, const uk_packed *out);

/* Both at once: packs w, element (k, n) at w[k*stride_k + n*stride_n], into memory. */
uk_packed uk_pack_bf16(const uk_table *uk, const uint16_t *w, int64_t k, int64_t n, int64_t stride_k, int64_t stride_n,
                       void *memory);
uk_packed uk_pack_f32(const uk_table *uk, const float *w, int64_t k, int64_t n, int64_t stride_k, int64_t stride_n, void *memory);
uk_packed uk_pack_i8(const uk_table *uk, const int8_t *w, int64_t k, int64_t n, int64_t stride_k, int64_t stride_n, void *memory);

/* Panel p from input row k on; k is a multiple of 2 (BF16) or 4 (INT8). */
static inline const uint16_t *uk_panel_bf16(const uk_packed *w, int64_t panel, int64_t k)
{
    return (const uint16_t *)((const char *)w->panels + panel * w->panel_bytes) + k * UK_PANEL;
}
static inline const float *uk_panel_f32(const uk_packed *w, int64_t panel, int64_t k)
{
    return (const float *)((const char *)w->panels + panel * w->panel_bytes) + k * UK_PANEL;
}
static inline const int8_t *uk_panel_i8(const uk_packed *w, int64_t panel, int64_t k)
{
    return (const int8_t *)w->panels + panel * w->panel_bytes + k * UK_PANEL;
}

#endif
