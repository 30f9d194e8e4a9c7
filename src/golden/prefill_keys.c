/* golden/prefill_keys.c - the keys of a prefill chunk of an attention layer (SPEC 5.5).
 *
 * MATH      composition.c, composition_cache.c
 *           keys of a token: the last W positions; then in CSA the rows that the indexer chose, in HCA all complete rows of 128
 *           tokens
 * SHAPES    composition.c, composition_cache.c;  position_ids i32[T]  num_tokens i32[], if given
 *           SWA and HCA, if given: cmp_sparse_indices i32[T,W+KT]  cmp_sparse_lens i32[T]
 * NUMERICS  DSV4_REFERENCE attends to what fits golden_prefill_slots (SPEC 12.12); so do given lists. */
#include "golden/composition.h"

/* The lists of the input; lists->indices is NULL where there are none. */
static dsv4_status bind_lists(const golden_composition *c, golden_lists *lists, dsv4_error *err)
{
    enum { INDICES, LENS, N_IN };
    const int64_t width = c->space.W + c->config->index_topk;
    const golden_tensor want[N_IN] = {
        [INDICES] = {"cmp_sparse_indices", DSV4_I32, 2, {c->T, width}},
        [LENS] = {"cmp_sparse_lens", DSV4_I32, 1, {c->T}},
    };
    const void *data[N_IN];
    golden_extents none = {0};
    dsv4_status status = golden_need_if_given(c->in, want, N_IN, data, &none, err);
    if (status == DSV4_OK && (data[INDICES] == NULL) != (data[LENS] == NULL)) {
        status = golden_need(c->in, want, N_IN, data, &none, err);
    }
    *lists = (golden_lists){.name = want[INDICES].name, .width = width, .indices = data[INDICES], .lens = data[LENS]};
    return status;
}

/* Compressed rows that a list has room for. */
static int64_t max_rows(const golden_composition *c)
{
    if (c->ratio == 0) {
        return 0;
    }
    if (c->numerics->compat == DSV4_REFERENCE) {
        return golden_prefill_slots(c->config) - c->space.W;
    }
    return c->ratio == 4 ? c->config->index_topk : golden_max_rows(&c->tokens, c->ratio);
}

static dsv4_status build_lists(golden_composition *c, const golden_chosen *chosen, golden_lists *lists, dsv4_error *err)
{
    return golden_lists_prefill(&c->tokens, c->space.W, c->ratio, max_rows(c), chosen, &c->memory, lists, err);
}

dsv4_status golden_prefill_keys(golden_composition *c, golden_keys *keys, dsv4_error *err)
{
    golden_lists lists;
    golden_chosen chosen;
    dsv4_status status = DSV4_OK;
    if (c->ratio == 4) {
        status = golden_composition_index(c, &chosen, err);
        if (status == DSV4_OK) {
            status = build_lists(c, &chosen, &lists, err);
        }
    } else {
        status = bind_lists(c, &lists, err);
        if (status == DSV4_OK && lists.indices == NULL) {
            status = build_lists(c, NULL, &lists, err);
        }
    }
    if (status != DSV4_OK) {
        return status;
    }
    const int64_t slots = lists.name != NULL ? golden_prefill_slots(c->config) : lists.width;
    return golden_keys_prefill(&c->space, &lists, slots, &c->memory, keys, err);
}
