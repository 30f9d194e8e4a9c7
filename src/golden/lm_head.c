/* golden/lm_head.c - logits (SPEC 6.8).
 *
 * MATH      logits[o,t,r*V/TP + v] = sum_d hidden_states[o,t,d] lm_head_weight[r,v,d]
 * SHAPES    hidden_states bf16[TP,T,D]  lm_head_weight bf16[TP,V/TP,D]  ->  logits f32[TP,T,V] */
#include <inttypes.h>

#include "base/arena.h"
#include "golden/operators.h"
#include "golden/primitives.h"

dsv4_status golden_lm_head(const dsv4_config *config, const dsv4_numerics *numerics, const dsv4_tensor_list *in,
                           dsv4_tensor_list *out, progress *p, dsv4_error *err)
{
    (void)numerics;
    const int64_t D = config->hidden_size, V = config->vocab_size;
    const golden_tensor want[] = {
        {"hidden_states", DSV4_BF16, 3, {GOLDEN_RANKS, GOLDEN_T, D}},
        {"lm_head_weight", DSV4_BF16, 3, {GOLDEN_RANKS, GOLDEN_SHARD, D}},
    };
    const golden_tensor make = {"logits", DSV4_F32, 3, {GOLDEN_RANKS, GOLDEN_T, V}};
    const void *data[2];
    void *made;
    golden_extents extents = {0};
    dsv4_status status = golden_need(in, want, 2, data, &extents, err);
    if (status == DSV4_OK && extents.ranks * extents.shard != V) {
        status = dsv4_fail(err, DSV4_E_SHAPE,
                           "input lm_head_weight: got %" PRId64 " shards of %" PRId64 " rows, expected %" PRId64 " in all",
                           extents.ranks, extents.shard, V);
    }
    if (status == DSV4_OK) {
        status = golden_make(out, &make, 1, &extents, &made, err);
    }
    if (status != DSV4_OK) {
        return status;
    }
    arena scratch = {0};
    const int64_t rows = extents.ranks * extents.T, n = extents.shard;
    float *y = arena_alloc(&scratch, (size_t)n * sizeof *y), *logits = made;
    if (y == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "lm_head: no memory for %" PRId64 " logits", n);
    }
    for (int64_t t = 0; t < rows; t++) {
        for (int64_t r = 0; r < extents.ranks; r++) {
            golden_matmul_bf16_transposed((const uint16_t *)data[0] + t * D, (const uint16_t *)data[1] + r * n * D, 1, D, n, y);
            for (int64_t v = 0; v < n; v++) {
                logits[t * V + r * n + v] = y[v];
            }
        }
        progress_report(p, (double)(t + 1) / (double)rows);
    }
    arena_deinit(&scratch);
    return DSV4_OK;
}
