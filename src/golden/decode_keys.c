/* golden/decode_keys.c - the keys of a decode step of an attention layer (SPEC 5.5).
 *
 * MATH      composition.c, composition_cache.c
 *           keys of a token: SWA ring and step; CSA these and the KT rows that the indexer chose; HCA these and all complete rows
 *           of 128 tokens
 * SHAPES    composition.c, composition_cache.c;  position_ids i32[T], kv_seq_lens i32[B]: either, or both
 * NUMERICS  DSV4_REFERENCE attends to the first min(NMAX/128, KT) rows in HCA (SPEC 12.12). */
#include "golden/composition.h"
#include "golden/primitives.h"

dsv4_status golden_decode_keys(golden_composition *c, golden_keys *keys, dsv4_error *err)
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
