/* ops/draw_lists.c - raw key lists (SPEC 5.3-5.5, 8.4, 8.5) and what is derived from them. */
#include "ops/draw.h"

/* Slot k of token t's list: -1, ring row r < W, W + o for a token of the call, behind those compressed rows. */
typedef int64_t key_of_slot(const op_target *x, int64_t t, int64_t k);

/* ---- lists --------------------------------------------------------------------------------------------------------------- */

static int64_t csa_key(const op_target *x, int64_t t, int64_t k)
{
    const int64_t *dim = x->d->dims.of;
    (void)t;
    return k < dim[OP_W] ? k : k + dim[OP_S];
}

static int64_t hca_key(const op_target *x, int64_t t, int64_t k)
{
    const int64_t *dim = x->d->dims.of;
    const int64_t n_window = dim[OP_N] / 128, n_rows = n_window < dim[OP_KT] ? n_window : dim[OP_KT];
    (void)t;
    return k < dim[OP_W] ? k : k >= dim[OP_W] + dim[OP_S] && k < dim[OP_W] + dim[OP_S] + n_rows ? k : -1;
}

static int64_t swa_key(const op_target *x, int64_t t, int64_t k)
{
    (void)t;
    return k < x->d->dims.of[OP_W] ? k : -1;
}

/* The window in order of positions, then compressed rows as far as the list and the cache go. */
static int64_t prefill_key(const op_target *x, int64_t t, int64_t k)
{
    const int64_t *dim = x->d->dims.of, W = dim[OP_W], ratio = op_target_ratio(x);
    const int64_t start = x->d->start[0], position = start + t, first = position - W + 1 > 0 ? position - W + 1 : 0;
    const int64_t p = first + k, row = p - position - 1;
    if (p <= position) {
        return p >= start ? W + p - start : p % W;
    }
    const int64_t n_cached = dim[OP_CP] * dim[OP_BS], n_ended = ratio > 0 ? (position + 1) / ratio : 0;
    return row < n_ended && row < n_cached && k < dim[OP_KB] * dim[OP_tile] ? W + dim[OP_T] + row : -1;
}

static dsv4_status fill_list(const op_target *x, key_of_slot *key)
{
    const int64_t width = fix_columns(x->t);
    for (int64_t i = 0; i < dsv4_tensor_count(x->t); i++) {
        ((int32_t *)x->t->data)[i] = (int32_t)key(x, i / width, i % width);
    }
    return DSV4_OK;
}

dsv4_status op_draw_list_csa(const op_target *x, dsv4_error *err)
{
    (void)err;
    return fill_list(x, csa_key);
}

dsv4_status op_draw_list_hca(const op_target *x, dsv4_error *err)
{
    (void)err;
    return fill_list(x, hca_key);
}

dsv4_status op_draw_list_swa(const op_target *x, dsv4_error *err)
{
    (void)err;
    return fill_list(x, swa_key);
}

dsv4_status op_draw_list_prefill(const op_target *x, dsv4_error *err)
{
    (void)err;
    return fill_list(x, prefill_key);
}

/* ---- derived ------------------------------------------------------------------------------------------------------------- */

/* Of list_prefill: one past the last slot with a key. */
dsv4_status op_draw_lens(const op_target *x, dsv4_error *err)
{
    (void)err;
    for (int64_t t = 0; t < dsv4_tensor_count(x->t); t++) {
        int64_t n = x->d->dims.of[OP_KL];
        while (n > 0 && prefill_key(x, t, n - 1) < 0) {
            n--;
        }
        ((int32_t *)x->t->data)[t] = (int32_t)n;
    }
    return DSV4_OK;
}

/* Of list_csa: 1 for the blocks of `tile` slots that hold a key. */
dsv4_status op_draw_block_mask(const op_target *x, dsv4_error *err)
{
    const int64_t n_blocks = fix_columns(x->t), tile = x->d->dims.of[OP_tile];
    (void)err;
    for (int64_t i = 0; i < dsv4_tensor_count(x->t); i++) {
        const int64_t t = i / n_blocks, first = i % n_blocks * tile;
        bool has_key = false;
        for (int64_t k = first; k < first + tile && k < x->d->dims.of[OP_KL]; k++) {
            has_key = has_key || csa_key(x, t, k) >= 0;
        }
        ((int32_t *)x->t->data)[i] = has_key;
    }
    return DSV4_OK;
}

/* Of list_swa, which names every ring row and no token of the call: 0 for the former, -1e20 for all other columns. */
dsv4_status op_draw_win_bias(const op_target *x, dsv4_error *err)
{
    const int64_t cols = fix_columns(x->t);
    (void)err;
    for (int64_t i = 0; i < dsv4_tensor_count(x->t); i++) {
        ((float *)x->t->data)[i] = i % cols < x->d->dims.of[OP_W] ? 0 : -1e20f;
    }
    return DSV4_OK;
}
