/* ops/draw_experts.c - token ids, the hash table of experts, and how many rows each expert receives (SPEC 8.9 to 8.12). */
#include <stdlib.h>

#include "base/memory.h"
#include "base/rng.h"
#include "ops/draw.h"

/* Uniform in the vocabulary. */
dsv4_status op_draw_token_ids(const op_target *x, dsv4_error *err)
{
    const rng random = {.seed = x->d->call->seed, .stream = rng_stream(x->row->name)};
    int64_t *ids = x->t->data;
    (void)err;
    for (int64_t t = 0; t < dsv4_tensor_count(x->t); t++) {
        ids[t] = (int64_t)rng_below(&random, (uint64_t)t, (uint64_t)x->d->dims.of[OP_V]);
    }
    return DSV4_OK;
}

/* [V, K]: expert (v*K + k) mod E, so K experts of their own for each id where K <= E. */
dsv4_status op_draw_hash_experts(const op_target *x, dsv4_error *err)
{
    int32_t *experts = x->t->data;
    (void)err;
    for (int64_t i = 0; i < dsv4_tensor_count(x->t); i++) {
        experts[i] = (int32_t)(i % x->d->dims.of[OP_E]);
    }
    return DSV4_OK;
}

/* Each of T tokens goes to K neighbouring experts, the first of which is random; no expert gets more than its room. counts [EL] are
 * raised from 0, tokens [EL, RM], unless NULL, set. */
static void send_tokens(const op_target *x, int32_t *counts, int32_t *tokens)
{
    const rng random = {.seed = x->d->call->seed, .stream = rng_stream("recv_expert_count")};
    const int64_t *dims = x->d->dims.of, n_experts = dims[OP_EL], room = dims[OP_RM];
    for (int64_t t = 0; t < dims[OP_T]; t++) {
        const int64_t first = (int64_t)rng_below(&random, (uint64_t)t, (uint64_t)n_experts);
        for (int64_t k = 0; k < dims[OP_K] && k < n_experts; k++) {
            const int64_t e = (first + k) % n_experts;
            if (counts[e] == room) {
                continue;
            }
            if (tokens != NULL) {
                tokens[e * room + counts[e]] = (int32_t)t;
            }
            counts[e]++;
        }
    }
}

/* [EL, 1]. */
dsv4_status op_draw_expert_counts(const op_target *x, dsv4_error *err)
{
    (void)err;
    send_tokens(x, x->t->data, NULL);
    return DSV4_OK;
}

/* [EL, RM]. */
dsv4_status op_draw_expert_tokens(const op_target *x, dsv4_error *err)
{
    int32_t *counts = memory_zeroed_array((size_t)x->d->dims.of[OP_EL], sizeof *counts);
    if (counts == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "%s: no memory for %lld experts", x->row->name, (long long)x->d->dims.of[OP_EL]);
    }
    send_tokens(x, counts, x->t->data);
    free(counts);
    return DSV4_OK;
}
