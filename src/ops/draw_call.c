/* ops/draw_call.c - a call to draw: where its tokens stand, and the dimensions that follow (SPEC 1.3, 8). */
#include <assert.h>
#include <string.h>

#include "ops/draw.h"
#include "ops/rope.h"
#include "ops/tile.h"

/* ---- positions ---------------------------------------------------------------------------------------------------------- */

enum { MAX_STARTS = 9 };

/* The default decode positions of SPEC 8: n given ones, then some counted from the window's length W. Requests take them in turn.
 * Operators not named here start at 0, as prefill does. */
static const struct {
    const char *op;
    int64_t n, at[MAX_STARTS], n_from_window, from_window[3];
} default_starts[] = {
    {"decode_indexer_compressor", 7, {0, 1, 2, 3, 6, 7, 127}, 0, {0}},
    {"decode_compressor_ratio4", 7, {0, 1, 2, 3, 6, 7, 127}, 0, {0}},
    {"decode_compressor_ratio128", 6, {7, 10, 126, 127, 254, 255}, 0, {0}},
    {"decode_indexer", 9, {0, 1, 2, 3, 6, 7, 127, 126, 254}, 0, {0}},
    {"decode_attention_swa", 3, {9, 31, 62}, 1, {-1}},
    {"decode_attention_hca", 6, {10, 126, 127, 128, 254, 383}, 0, {0}},
    {"decode_attention_csa", 6, {10, 2, 3, 4, 6, 11}, 3, {-2, -1, 0}},
};

enum { N_DEFAULT_STARTS = sizeof default_starts / sizeof *default_starts };

int64_t op_call_start(const dsv4_op *op, const dsv4_config *config, const op_call *call, int64_t b)
{
    size_t i = 0;
    if (call->start_pos != OP_UNKNOWN) {
        return call->start_pos;
    }
    while (i < N_DEFAULT_STARTS && strcmp(default_starts[i].op, op->name) != 0) {
        i++;
    }
    if (i == N_DEFAULT_STARTS) {
        return 0;
    }
    const int64_t n = default_starts[i].n, turn = b % (n + default_starts[i].n_from_window);
    return turn < n ? default_starts[i].at[turn] : tile_max(config->sliding_window + default_starts[i].from_window[turn - n], 0);
}

int64_t op_position(const op_drawing *d, int64_t t)
{
    const int64_t S = d->dims.of[OP_S];
    assert(t < d->dims.of[OP_T]);
    return d->start[t / S] + t % S;
}

int64_t op_target_ratio(const op_target *x)
{
    return x->row->fixture.a == OP_ANY ? x->d->dims.of[OP_ratio] : (int64_t)x->row->fixture.a;
}

/* ---- dimensions --------------------------------------------------------------------------------------------------------- */

static dsv4_status check_range(const char *name, int64_t value, int64_t least, int64_t most, dsv4_error *err)
{
    return value >= least && value <= most ? DSV4_OK
                                           : dsv4_fail(err, DSV4_E_VALUE, "%s: got %lld, expected %lld to %lld", name,
                                                       (long long)value, (long long)least, (long long)most);
}

dsv4_status op_check_call(const op_call *call, dsv4_error *err)
{
    const int64_t most = OP_ROPE_MAX_POSITIONS, n_requests = call->mode == DSV4_PREFILL ? call->n_requests : 1;
    dsv4_status status = check_range("requests of the call", call->n_requests, 1, most, err);
    if (status == DSV4_OK) {
        status = check_range("tokens of a request", call->n_tokens, 1, most, err);
    }
    if (status == DSV4_OK) {
        status = check_range("tokens of a request", n_requests * call->n_tokens, 1, most, err);
    }
    if (status == DSV4_OK && call->start_pos != OP_UNKNOWN) {
        status = check_range("first position", call->start_pos, 0, most - n_requests * call->n_tokens, err);
    }
    return status;
}

/* compress_ratio of the layer that the operator belongs to, else of the call; 0: no compression. */
static int64_t ratio_of(const dsv4_op *op, const op_call *call)
{
    const bool has_own = op->family != NULL && op->ratio != OP_ANY;
    return tile_max(has_own ? op->ratio : call->ratio, 0);
}

/* One past the last position of any request. */
static int64_t end_of_call(const dsv4_op *op, const dsv4_config *config, const op_call *call, int64_t S)
{
    int64_t end = 0;
    for (int64_t b = 0; b < tile_min(call->n_requests, MAX_STARTS); b++) {
        end = tile_max(end, op_call_start(op, config, call, b) + S);
    }
    return end;
}

/* The widths of the key lists (SPEC 1.3); of SWA's its bias: whole blocks of ring rows, then of the tokens of the call. */
static void set_lists(const dsv4_config *config, dsv4_mode mode, op_dims *d)
{
    const int64_t W = d->of[OP_W], KT = d->of[OP_KT], tile = tile_max(d->of[OP_tile], 1);
    if (mode == DSV4_PREFILL) {
        d->of[OP_KL] = W + KT;
        d->of[OP_KB] = tile_count(tile_min(W + KT, W + config->prefill_max_compressed), tile);
        return;
    }
    const int64_t hca_keys = W + d->of[OP_S] + tile_min(d->of[OP_N] / 128, KT);
    const int64_t swa_keys = (tile_count(W, tile) + tile_count(d->of[OP_T], tile)) * tile;
    const int64_t n_keys = d->of[OP_ratio] == 4 ? W + KT : d->of[OP_ratio] == 128 ? hca_keys : swa_keys;
    d->of[OP_KB] = tile_max(tile_count(n_keys, tile), 2);
    d->of[OP_KL] = d->of[OP_ratio] == 4 ? n_keys : d->of[OP_KB] * tile;
}

/* Pages of a request's compressed rows: all rows before `end`, and in prefill those that SPEC 1.3 reserves, in decode those that
 * the lists of SPEC 8.4 name, on two pages at least, so that tables have an order. */
static int64_t compressed_pages(const dsv4_config *config, dsv4_mode mode, const op_dims *d, int64_t ratio, int64_t end)
{
    const int64_t n_rows = ratio > 0 ? end / ratio : 0;
    if (mode == DSV4_PREFILL) {
        return tile_max(tile_count(tile_max(n_rows, config->prefill_max_compressed), d->of[OP_BS]), 1);
    }
    const int64_t n_listed = ratio == 128 ? tile_min(d->of[OP_N] / 128, d->of[OP_KT]) : d->of[OP_KT];
    return tile_max(tile_count(tile_max(n_rows, n_listed), d->of[OP_BS]), 2);
}

/* Pages of a request's compressor state: all positions before `end`; but no more than SPEC 1.3 gives a decode request, unless those
 * do not keep apart the rows of the last window and of the call (SPEC 12.13): the pages are then used in turn. */
static int64_t state_pages(int64_t end, int64_t span, int64_t page, int64_t S, int64_t most)
{
    return tile_min(tile_count(end, page), tile_max(most, tile_count(span + S, page)));
}

static void set_states(int64_t end, op_dims *d)
{
    const bool is_128 = d->of[OP_ratio] == 128;
    d->of[OP_SR] = is_128 ? 8 : 4;
    d->of[OP_JR] = 4;
    d->of[OP_SPR] = tile_count(end, d->of[OP_SR]);
    d->of[OP_JPR] = tile_count(end, d->of[OP_JR]);
    d->of[OP_SP] = d->of[OP_B] * state_pages(end, is_128 ? 128 : 8, d->of[OP_SR], d->of[OP_S], is_128 ? 64 : 65);
    d->of[OP_JP] = d->of[OP_B] * state_pages(end, 8, d->of[OP_JR], d->of[OP_S], 65);
}

static void set_pages(const dsv4_config *config, dsv4_mode mode, int64_t end, op_dims *d)
{
    const int64_t B = d->of[OP_B];
    d->of[OP_BS] = tile_max(d->of[OP_W], 1);
    d->of[OP_WPR] = tile_max(tile_count(d->of[OP_W], d->of[OP_BS]), 1);
    d->of[OP_CPR] = compressed_pages(config, mode, d, d->of[OP_ratio], end);
    d->of[OP_IPR] = compressed_pages(config, mode, d, 4, end);
    d->of[OP_WP] = B * d->of[OP_WPR];
    d->of[OP_CP] = B * d->of[OP_CPR];
    d->of[OP_IP] = B * d->of[OP_IPR];
    set_states(end, d);
}

op_dims op_dims_of_call(const dsv4_op *op, const dsv4_config *config, const op_call *call)
{
    op_dims d = op_dims_of_config(config);
    if (op_check_call(call, NULL) != DSV4_OK) {
        return d;
    }
    const bool decode = call->mode == DSV4_DECODE;
    d.of[OP_T] = call->n_requests * call->n_tokens;
    d.of[OP_B] = decode ? call->n_requests : 1;
    d.of[OP_S] = decode ? call->n_tokens : d.of[OP_T];
    d.of[OP_ratio] = ratio_of(op, call);
    const int64_t end = end_of_call(op, config, call, d.of[OP_S]);
    d.of[OP_N] = tile_max(config->max_position_embeddings, end);
    d.of[OP_layer] = config->num_hash_layers;
    d.of[OP_EL] = d.of[OP_E];
    d.of[OP_RM] = d.of[OP_T];
    d.of[OP_TP] = 1;
    set_pages(config, call->mode, end, &d);
    set_lists(config, call->mode, &d);
    d.of[OP_SL] = decode ? tile_max(d.of[OP_N] / 4, 1) : d.of[OP_IP] * d.of[OP_BS];
    return d;
}

/* ---- recipes ------------------------------------------------------------------------------------------------------------- */

dsv4_status op_draw_positions(const op_target *x, dsv4_error *err)
{
    int32_t *position = x->t->data;
    (void)err;
    for (int64_t t = 0; t < dsv4_tensor_count(x->t); t++) {
        position[t] = (int32_t)op_position(x->d, t);
    }
    return DSV4_OK;
}

dsv4_status op_draw_lengths(const op_target *x, dsv4_error *err)
{
    int32_t *length = x->t->data;
    (void)err;
    for (int64_t b = 0; b < dsv4_tensor_count(x->t); b++) {
        length[b] = (int32_t)(x->d->start[b] + x->d->dims.of[OP_S]);
    }
    return DSV4_OK;
}

static dsv4_status fill_dimension(const op_target *x, op_symbol symbol, dsv4_error *err)
{
    const fix_rule rule = {FIX_CONSTANT, (double)x->d->dims.of[symbol], 0, NULL};
    return fix_fill(x->row->name, &rule, x->d->call->seed, x->t, NULL, err);
}

dsv4_status op_draw_tokens(const op_target *x, dsv4_error *err)
{
    return fill_dimension(x, OP_T, err);
}

dsv4_status op_draw_window(const op_target *x, dsv4_error *err)
{
    return fill_dimension(x, OP_W, err);
}
