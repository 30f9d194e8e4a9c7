/* golden/decode_attention.c - the attention layers of decode (SPEC 6.10, 5.5).
 *
 * MATH      composition.c, composition_cache.c
 *           keys of a token: SWA ring and step; CSA these and the KT rows that the indexer chose; HCA these and all complete rows
 *           of 128 tokens
 * SHAPES    composition.c, composition_cache.c;  position_ids i32[T], kv_seq_lens i32[B]: either, or both
 * NUMERICS  DSV4_REFERENCE attends to the first min(NMAX/128, KT) rows in HCA (SPEC 12.12). */
#include "golden/composition.h"
#include "golden/primitives.h"

static dsv4_status find_keys(golden_composition *c, golden_keys *keys, dsv4_error *err)
{
    const int64_t W = c->space.W, KT = c->config->index_topk;
    golden_lists lists;
    golden_chosen chosen;
    dsv4_status status = DSV4_OK;
    if (c->ratio == 0) {
        status = golden_lists_swa(&c->tokens, W, &c->memory, &lists, err);
        return status == DSV4_OK ? golden_keys_swa(&c->space, &lists, c->attention.tile, &c->memory, keys, err) : status;
    }
    if (c->ratio == 4) {
        status = golden_composition_index(c, &chosen, err);
        if (status == DSV4_OK) {
            status = golden_lists_csa(&c->tokens, W, c->ratio, KT, &chosen, &c->memory, &lists, err);
        }
    } else {
        const bool capped = c->numerics->compat == DSV4_REFERENCE;
        const int64_t cap = golden_min(c->config->max_position_embeddings / c->ratio, KT);
        const int64_t max_rows = capped ? cap : golden_max_rows(&c->tokens, c->ratio);
        status = golden_lists_hca(&c->tokens, W, c->ratio, max_rows, &c->memory, &lists, err);
    }
    return status == DSV4_OK ? golden_keys_decode(&c->space, &lists, &c->memory, keys, err) : status;
}

static dsv4_status run(const dsv4_config *config, const dsv4_numerics *numerics, int64_t ratio, const dsv4_tensor_list *in,
                       dsv4_tensor_list *out, progress *p, dsv4_error *err)
{
    golden_composition c;
    golden_keys keys;
    dsv4_status status = golden_composition_begin(&c, config, numerics, false, ratio, in, err);
    if (status == DSV4_OK) {
        status = golden_composition_front(&c, err);
    }
    if (status == DSV4_OK && ratio > 0) {
        status = golden_composition_compress(&c, err);
    }
    if (status == DSV4_OK) {
        status = find_keys(&c, &keys, err);
    }
    if (status == DSV4_OK) {
        status = golden_composition_finish(&c, &keys, out, p, err);
    }
    golden_composition_end(&c);
    return status;
}

dsv4_status golden_decode_attention_swa(const dsv4_config *config, const dsv4_numerics *numerics, const dsv4_tensor_list *in,
                                        dsv4_tensor_list *out, progress *p, dsv4_error *err)
{
    return run(config, numerics, 0, in, out, p, err);
}

dsv4_status golden_decode_attention_hca(const dsv4_config *config, const dsv4_numerics *numerics, const dsv4_tensor_list *in,
                                        dsv4_tensor_list *out, progress *p, dsv4_error *err)
{
    return run(config, numerics, 128, in, out, p, err);
}

dsv4_status golden_decode_attention_csa(const dsv4_config *config, const dsv4_numerics *numerics, const dsv4_tensor_list *in,
                                        dsv4_tensor_list *out, progress *p, dsv4_error *err)
{
    return run(config, numerics, 4, in, out, p, err);
}
