/* kernels/pack_fp.h - FP4 and FP8 weights as checkpoints hold them, in the order in which the microkernels stream them (layouts:
 * kernels.h). A checkpoint's matrix [N, K] has the K inputs of an output together. */
#ifndef KERNELS_PACK_FP_H
#define KERNELS_PACK_FP_H

#include "kernels/pack.h"

/* FP8 weights; scales belong to the same memory. */
typedef struct uk_packed_fp8 {
    uk_packed weights;
    int64_t n_chunks; /* ceil(k / UK_CHUNK) */
    float *scales;    /* [n_panels][n_chunks], 2^(e - 127), NaN of 255 */
} uk_packed_fp8;

/* Bytes that packing takes; 0 if that overflows size_t, if k or n is below 1, or if an FP4 k is no multiple of UK_GROUP_FP4. */
size_t uk_pack_fp4_bytes(int64_t k, int64_t n);
size_t uk_pack_fp8_bytes(int64_t k, int64_t n);

/* The packed form in memory of that many bytes, 64-byte aligned. Writes nothing. */
uk_packed uk_packed_fp4_in(int64_t k, int64_t n, void *memory);
uk_packed_fp8 uk_packed_fp8_in(int64_t k, int64_t n, void *memory);

/* Pack the panels [begin, end) of w, and their scales, into out, which the above made. Threads may pack different panels at once.
 *   FP4  w [n][k/2]: two E2M1 codes a byte, the low nibble is the even input; e8m0 [n][k/32]
 *   FP8  w [n][k] E4M3; e8m0 [ceil(n/128)][ceil(k/128)] */
void uk_pack_panels_fp4(const uint8_t *w, const uint8_t *e8m0, int64_t begin, int64_t end, const uk_packed *out);
void uk_pack_panels_fp8(const uint8_t *w, const uint8_t *e8m0, int64_t begin, int64_t end, const uk_packed_fp8 *out);

/* Both at once. */
uk_packed uk_pack_fp4(const uint8_t *w, const uint8_t *e8m0, int64_t k, int64_t n, void *memory);
uk_packed_fp8 uk_pack_fp8(const uint8_t *w, const uint8_t *e8m0, int64_t k, int64_t n, void *memory);

/* Panel p from input row k on; k is a multiple of UK_BLOCK_FP4 or UK_CHUNK. */
static inline const uint8_t *uk_panel_fp4(const uk_packed *w, int64_t panel, int64_t k)
{
    return (const uint8_t *)w->panels + panel * w->panel_bytes + k / UK_BLOCK_FP4 * UK_BLOCK_BYTES_FP4;
}
static inline const uint8_t *uk_panel_fp8(const uk_packed_fp8 *w, int64_t panel, int64_t k)
{
    return (const uint8_t *)w->weights.panels + panel * w->weights.panel_bytes + k * UK_PANEL;
}
static inline const float *uk_scales_fp8(const uk_packed_fp8 *w, int64_t panel, int64_t k)
{
    return w->scales + panel * w->n_chunks + k / UK_CHUNK;
}

#endif
