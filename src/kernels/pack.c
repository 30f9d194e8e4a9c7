/* kernels/pack.c - packing of weights piece by piece: some rows of one panel.
 *
 * Pieces follow the direction in which the weights are contiguous. Where that is k, a panel is finished before the next. Where it
 * is n, the panels take turns: a cache line that two of them share is still near for the second. */
#include "kernels/pack.h"

#include <string.h>

#include "kernels/panels.h"

enum { PAIR = 2, GROUP = 4 /* consecutive k of one column: BF16, INT8 */ };
enum { PIECE_BYTES = 16 * 1024, PIECE_ROWS = 16 }; /* where k is contiguous, and elsewhere; multiples of GROUP rows */
_Static_assert(PIECE_BYTES / (GROUP * UK_PANEL) * 128 <= INT16_MAX, "INT16 holds the sums of a piece");

static int64_t min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

size_t uk_pack_bf16_bytes(int64_t k, int64_t n)
{
    if (k < 1 || n < 1) {
        return 0;
    }
    return panels_bytes(n, ceil_div(k, PAIR), PAIR * UK_PANEL * sizeof(uint16_t), 0);
}

size_t uk_pack_f32_bytes(int64_t k, int64_t n)
{
    return k < 1 || n < 1 ? 0 : panels_bytes(n, k, UK_PANEL * sizeof(float), 0);
}

size_t uk_pack_i8_bytes(int64_t k, int64_t n)
{
    if (k < 1 || k > UK_MAX_K_I8 || n < 1) {
        return 0;
    }
    return panels_bytes(n, ceil_div(k, GROUP) * GROUP, UK_PANEL, UK_PANEL * sizeof(int32_t));
}

/* ---- pieces -------------------------------------------------------------------------------------------------------------- */

/* Subtracts 128 times the column sums of n_steps packed steps of a piece, few enough for INT16; compilers make vectors of it. */
static void correct(const int8_t *steps, int64_t n_steps, int32_t *correction)
{
    int16_t sums[GROUP * UK_PANEL] = {0};
    for (int64_t s = 0; s < n_steps; s++, steps += GROUP * UK_PANEL) {
        for (int i = 0; i < GROUP * UK_PANEL; i++) {
            sums[i] = (int16_t)(sums[i] + steps[i]);
        }
    }
    for (int c = 0; c < UK_PANEL; c++) {
        for (int i = 0; i < GROUP; i++) {
            correction[c] -= 128 * sums[GROUP * c + i];
        }
    }
}

/* Packs n_rows rows of panel p from row k on, or those that w still has. What a correction is made of is packed nearby first: to
 * read it back from the panel would be to wait until the panel has come from memory. */
static void pack_piece(const uk_table *uk, const uk_source *w, int64_t k, int64_t n_rows, int64_t p, const uk_packed *out)
{
    const char *data = (const char *)w->data + (k * w->stride_k + p * UK_PANEL * w->stride_n) * w->elem_bytes;
    char *panel = (char *)out->panels + p * out->panel_bytes + k * UK_PANEL * w->elem_bytes;
    uk_source piece = {data,        w->elem_bytes, min_i64(n_rows, w->k - k), min_i64(UK_PANEL, w->n - p * UK_PANEL),
                       w->stride_k, w->stride_n};
    if (out->correction == NULL) {
        uk->pack(piece, panel);
        return;
    }
    _Alignas(64) char steps[PIECE_BYTES];
    int64_t n_steps = ceil_div(piece.k, GROUP);
    uk->pack(piece, steps);
    correct((const int8_t *)steps, n_steps, out->correction + p * UK_PANEL);
    memcpy(panel, steps, (size_t)(n_steps * GROUP * UK_PANEL));
}

void uk_pack_panels(const uk_table *uk, const uk_source *w, int64_t begin, int64_t end, const uk_packed *out)
{
    if (out->correction != NULL && begin < end) {
        memset(out->correction + begin * UK_PANEL, 0, (size_t)(end - begin) * UK_PANEL * sizeof *out->correction);
    }
    const int64_t n_rows = w->stride_k == 1 ? PIECE_BYTES / UK_PANEL / w->elem_bytes : PIECE_ROWS;
    if (w->stride_k == 1) {
        for (int64_t p = begin; p < end; p++) {
            for (int64_t k = 0; k < w->k; k += n_rows) {
                pack_piece(uk, w, k, n_rows, p, out);
            }
        }
        return;
    }
    for (int64_t k = 0; k < w->k; k += n_rows) {
        for (int64_t p = begin; p < end; p++) {
            pack_piece(uk, w, k, n_rows, p, out);
        }
    }
}

/* ---- whole weights ------------------------------------------------------------------------------------------------------- */

uk_packed uk_packed_in(const uk_source *w, void *memory)
{
    int64_t steps = ceil_div(w->k * w->elem_bytes, sizeof(uint32_t));
    uk_packed out = {w->k, w->n, ceil_div(w->n, UK_PANEL), steps * UK_PANEL * (int64_t)sizeof(uint32_t), memory, NULL};
    if (w->elem_bytes == sizeof(int8_t)) {
        out.correction = (int32_t *)((char *)memory + out.n_panels * out.panel_bytes);
    }
    return out;
}

static uk_packed pack(const uk_table *uk, uk_source w, void *memory)
{
    uk_packed out = uk_packed_in(&w, memory);
    uk_pack_panels(uk, &w, 0, out.n_panels, &out);
    return out;
}

uk_packed uk_pack_bf16(const uk_table *uk, const uint16_t *w, int64_t k, int64_t n, int64_t stride_k, int64_t stride_n,
                       void *memory)
{
    return pack(uk, (uk_source){w, sizeof *w, k, n, stride_k, stride_n}, memory);
}

uk_packed uk_pack_f32(const uk_table *uk, const float *w, int64_t k, int64_t n, int64_t stride_k, int64_t stride_n, void *memory)
{
    return pack(uk, (uk_source){w, sizeof *w, k, n, stride_k, stride_n}, memory);
}

uk_packed uk_pack_i8(const uk_table *uk, const int8_t *w, int64_t k, int64_t n, int64_t stride_k, int64_t stride_n, void *memory)
{
    return pack(uk, (uk_source){w, sizeof *w, k, n, stride_k, stride_n}, memory);
}
