/* ops/sparse_case.h - calls of the sparse attention operators: every input drawn, index lists with holes and repeated keys. */
#ifndef OPS_SPARSE_CASE_H
#define OPS_SPARSE_CASE_H

#include "ops/pool.h"

#include <math.h>

#include "base/numbers.h"
#include "base/rng.h"
#include "golden/golden.h"
#include "ops/attend.h"

typedef struct sparse_case {
    const dsv4_op *op;
    dsv4_config config;
    int64_t B, S; /* requests, tokens of each */
    dsv4_tensor_list in;
    rng random;
    uint64_t n_draws;
} sparse_case;

static inline bool is_prefill(const sparse_case *c)
{
    return c->op == &op_prefill_sparse_attn;
}

static inline int64_t draw_below(sparse_case *c, int64_t n)
{
    return (int64_t)rng_below(&c->random, c->n_draws++, (uint64_t)n);
}

static inline int64_t token_count(const sparse_case *c)
{
    return c->B * c->S;
}

/* Pages of 8 rows: those that a window needs, and 3 compressed ones of a request; one page of each cache belongs to nobody. */
enum { CASE_PAGE = 8, CASE_COMPRESSED_PAGES = 3 };

static inline op_dims case_dims(const sparse_case *c)
{
    op_dims dims = op_dims_of_config(&c->config);
    int64_t W = c->config.sliding_window, tile = c->config.attn_tile;
    dims.of[OP_T] = token_count(c);
    dims.of[OP_B] = c->B;
    dims.of[OP_BS] = CASE_PAGE;
    dims.of[OP_WPR] = (W + CASE_PAGE - 1) / CASE_PAGE;
    dims.of[OP_WP] = c->B * dims.of[OP_WPR] + 1;
    dims.of[OP_CPR] = CASE_COMPRESSED_PAGES;
    dims.of[OP_CP] = c->B * CASE_COMPRESSED_PAGES + 1;
    dims.of[OP_KB] = (W + c->config.index_topk + tile - 1) / tile;
    dims.of[OP_KL] = c->op == &op_decode_sparse_attn_swa ? op_win_bias_cols(W, token_count(c), tile) : W + c->S + 9;
    return dims;
}

/* ---- values ------------------------------------------------------------------------------------------------------------- */

/* Large tensors repeat their first values, with a period that no extent has. */
enum { CASE_PERIOD = 65521 };

/* U(-1, 1)*scale + offset in the tensor's dtype. */
static inline void fill_values(sparse_case *c, const char *name, double scale, double offset)
{
    dsv4_tensor t = get_tensor(&c->in, name);
    rng stream = {c->random.seed, rng_stream(name)};
    const int64_t n = dsv4_tensor_count(&t), n_drawn = n < CASE_PERIOD ? n : CASE_PERIOD;
    for (int64_t i = 0; i < n_drawn; i++) {
        double value = rng_uniform(&stream, (uint64_t)i, -1, 1) * scale + offset;
        if (t.dtype == DSV4_BF16) {
            ((uint16_t *)t.data)[i] = num_bf16_from_f64(value);
        } else if (t.dtype == DSV4_F32) {
            ((float *)t.data)[i] = (float)value;
        } else {
            ((int8_t *)t.data)[i] = (int8_t)rint(value);
        }
    }
    const size_t size = dsv4_dtype_bytes(t.dtype);
    for (int64_t i = n_drawn; i < n; i += n_drawn) {
        memcpy((char *)t.data + (size_t)i * size, t.data, (size_t)(n - i < n_drawn ? n - i : n_drawn) * size);
    }
}

/* Every page at most once, in a mixed order. */
static inline void fill_table(sparse_case *c, const char *name, int64_t n_pages)
{
    dsv4_tensor t = get_tensor(&c->in, name);
    int32_t *pages = t.data;
    for (int64_t i = 0; i < dsv4_tensor_count(&t); i++) {
        pages[i] = (int32_t)(n_pages - 1 - i);
    }
    for (int64_t i = dsv4_tensor_count(&t) - 1; i > 0; i--) {
        int64_t j = draw_below(c, i + 1);
        int32_t page = pages[i];
        pages[i] = pages[j];
        pages[j] = page;
    }
}

/* ---- lists -------------------------------------------------------------------------------------------------------------- */

/* An index that names a row, of the ring with probability 1/2; -1 one time in five. */
static inline int32_t draw_index(sparse_case *c, int64_t slot)
{
    int64_t W = c->config.sliding_window, beyond = c->op == &op_decode_sparse_attn_swa ? 0 : CASE_COMPRESSED_PAGES * CASE_PAGE;
    if (draw_below(c, 5) == 0) {
        return -1;
    }
    if (c->op == &op_decode_sparse_attn_hca && slot < W) {
        return (int32_t)slot;
    }
    return (int32_t)(draw_below(c, 2) == 0 ? draw_below(c, W) : W + draw_below(c, c->S + beyond));
}

/* Token 0 has a full list; token 1 none. */
static inline void fill_lists(sparse_case *c)
{
    dsv4_tensor t = get_tensor(&c->in, "cmp_sparse_indices");
    int32_t *indices = t.data;
    int64_t width = t.shape[1];
    for (int64_t i = 0; i < dsv4_tensor_count(&t); i++) {
        do {
            indices[i] = draw_index(c, i % width);
        } while (i / width == 0 && indices[i] == -1);
        indices[i] = i / width == 1 ? -1 : indices[i];
    }
}

/* win_bias of the sets that the lists name. */
static inline void fill_win_bias(sparse_case *c)
{
    dsv4_tensor lists = get_tensor(&c->in, "cmp_sparse_indices"), bias = get_tensor(&c->in, "win_bias");
    int64_t W = c->config.sliding_window, tile = c->config.attn_tile, overlay = (W + tile - 1) / tile * tile;
    for (int64_t i = 0; i < dsv4_tensor_count(&bias); i++) {
        ((float *)bias.data)[i] = -1e20f;
    }
    for (int64_t i = 0; i < dsv4_tensor_count(&lists); i++) {
        int64_t t = i / W, index = ((int32_t *)lists.data)[i];
        if (index >= 0) {
            ((float *)bias.data)[t * bias.shape[1] + (index < W ? index : overlay + t / c->S * c->S + index - W)] = 0.0f;
        }
    }
}

static inline void fill_lens(sparse_case *c)
{
    dsv4_tensor lens = get_tensor(&c->in, "cmp_sparse_lens");
    int64_t width = get_tensor(&c->in, "cmp_sparse_indices").shape[1];
    for (int64_t t = 0; t < token_count(c); t++) {
        ((int32_t *)lens.data)[t] = (int32_t)(t == 0 ? width : draw_below(c, width + 4) - 2);
    }
    *(int32_t *)get_tensor(&c->in, "num_tokens").data = (int32_t)(token_count(c) > 3 ? token_count(c) - 2 : token_count(c));
}

/* ---- calls -------------------------------------------------------------------------------------------------------------- */

static inline void fill_case(sparse_case *c, const op_dims *dims)
{
    double GI = (double)(c->config.num_attention_heads * c->config.head_dim / c->config.o_groups);
    double K = (double)(c->config.o_groups * c->config.o_lora_rank);
    static const char *const unit[] = {"q", "ori_kv", "freqs_cos", "freqs_sin", "attn_sink"};
    for (size_t i = 0; i < sizeof unit / sizeof *unit; i++) {
        fill_values(c, unit[i], 1, 0);
    }
    fill_values(c, is_prefill(c) ? "kv_overlay" : "mtp_kv_overlay", 1, 0);
    fill_values(c, "wo_a", 1 / sqrt(GI), 0);
    fill_values(c, "wo_b", 127.4, 0);
    fill_values(c, "wo_b_scale", 0.05 / (127 * sqrt(K)), 0.25 / (127 * sqrt(K)));
    fill_table(c, "ori_block_table", dims->of[OP_WP]);
    fill_lists(c);
    if (c->op != &op_decode_sparse_attn_swa) {
        fill_values(c, "cmp_kv", 1, 0);
        fill_table(c, "cmp_block_table", dims->of[OP_CP]);
    } else {
        fill_win_bias(c);
    }
    if (is_prefill(c)) {
        fill_lens(c);
    }
    if (c->op == &op_decode_sparse_attn) {
        dsv4_tensor mask = get_tensor(&c->in, "valid_block_mask");
        for (int64_t i = 0; i < dsv4_tensor_count(&mask); i++) {
            ((int32_t *)mask.data)[i] = 1;
        }
    }
}

/* A call of B requests of S tokens; prefill: B is 1. The caller ends it with dsv4_tensor_list_deinit(&in). */
static inline sparse_case make_case(const char *name, const dsv4_config *config, int64_t B, int64_t S, uint64_t seed)
{
    sparse_case c = {.op = find_op(name), .config = *config, .B = B, .S = S, .random = {seed, rng_stream("sparse_case")}};
    const op_dims dims = case_dims(&c);
    dsv4_error err = {0};
    for (size_t i = 0; i < c.op->n_tensors; i++) {
        const op_tensor *row = &c.op->tensors[i];
        int64_t extents[DSV4_MAX_DIMS];
        int n_dims = 0;
        if (op_is_input(row)) {
            require_ok(op_eval_shape(row->shape, &dims, &n_dims, extents, &err), &err);
            require_ok(dsv4_tensor_list_alloc(&c.in, row->name, row->dtype, n_dims, extents, NULL, &err), &err);
        }
    }
    fill_case(&c, &dims);
    return c;
}

/* The smallest interesting model: all sums are short, pages are half a window, a block is not a whole number of panels. */
static inline dsv4_config small_model(void)
{
    dsv4_config config = model(70, 16, 6, 40, 10);
    config.o_groups = 3;
    config.o_lora_rank = 50;
    config.sliding_window = 16;
    config.attn_tile = 12;
    config.index_topk = 20;
    config.prefill_max_compressed = 14;
    return config;
}

static inline sealed run_case(const sparse_case *c, dsv4_op_options options)
{
    return run_rows(c->op, &c->config, &c->in, 0, 0, options, pool);
}

#endif
