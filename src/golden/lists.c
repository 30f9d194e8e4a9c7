/* golden/lists.c - see lists.h. */
#include "golden/lists.h"
#include "golden/primitives.h"

#include <inttypes.h>

/* T lists of holes. */
static dsv4_status alloc_lists(const golden_tokens *tokens, int64_t width, arena *memory, int32_t **indices, int32_t **lens,
                               golden_lists *lists, dsv4_error *err)
{
    *indices = arena_alloc(memory, (size_t)tokens->T * (size_t)width * sizeof **indices);
    *lens = arena_alloc(memory, (size_t)tokens->T * sizeof **lens);
    if (*indices == NULL || *lens == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "index lists: no memory for %" PRId64 " lists of %" PRId64 " keys", tokens->T,
                         width);
    }
    for (int64_t i = 0; i < tokens->T * width; i++) {
        (*indices)[i] = -1;
    }
    *lists = (golden_lists){.width = width, .indices = *indices, .lens = *lens};
    return DSV4_OK;
}

int64_t golden_max_rows(const golden_tokens *tokens, int64_t ratio)
{
    int64_t most = 0;
    for (int64_t b = 0; b < tokens->B; b++) {
        const int64_t rows = tokens->kv_seq_lens[b] / ratio;
        most = rows > most ? rows : most;
    }
    return most;
}

/* Ring part of token t's list: row k holds position k or its latest successor modulo W. Rows of later tokens of the step still hold
 * what stood there a window before, which the token sees. */
static void list_ring(const golden_tokens *tokens, int64_t W, int64_t t, int32_t *list)
{
    const int64_t s = t % tokens->S;
    for (int64_t k = 0; k < W; k++) {
        list[k] = k <= tokens->positions[t] ? (int32_t)k : -1;
    }
    for (int64_t o = 0; o <= s; o++) {
        list[tokens->positions[t - s + o] % W] = (int32_t)(W + o);
    }
}

dsv4_status golden_lists_swa(const golden_tokens *tokens, int64_t W, arena *memory, golden_lists *lists, dsv4_error *err)
{
    int32_t *indices, *lens;
    const dsv4_status status = alloc_lists(tokens, W, memory, &indices, &lens, lists, err);
    for (int64_t t = 0; status == DSV4_OK && t < tokens->T; t++) {
        list_ring(tokens, W, t, indices + t * W);
    }
    return status;
}

dsv4_status golden_lists_csa(const golden_tokens *tokens, int64_t W, int64_t ratio, int64_t n_chosen, const golden_chosen *chosen,
                             arena *memory, golden_lists *lists, dsv4_error *err)
{
    const int64_t first = W + tokens->S;
    int32_t *indices, *lens;
    const dsv4_status status = alloc_lists(tokens, W + n_chosen, memory, &indices, &lens, lists, err);
    for (int64_t t = 0; status == DSV4_OK && t < tokens->T; t++) {
        int32_t *list = indices + t * lists->width;
        list_ring(tokens, W, t, list);
        for (int64_t j = 0; j < golden_min(n_chosen, chosen->columns); j++) {
            const int32_t index = chosen->indices[t * chosen->columns + j];
            if (index >= first && index < first + (tokens->positions[t] + 1) / ratio) {
                list[W + j] = index;
            }
        }
    }
    return status;
}

dsv4_status golden_lists_hca(const golden_tokens *tokens, int64_t W, int64_t ratio, int64_t max_rows, arena *memory,
                             golden_lists *lists, dsv4_error *err)
{
    const int64_t first = W + tokens->S;
    int32_t *indices, *lens;
    const dsv4_status status = alloc_lists(tokens, first + max_rows, memory, &indices, &lens, lists, err);
    for (int64_t t = 0; status == DSV4_OK && t < tokens->T; t++) {
        int32_t *list = indices + t * lists->width;
        list_ring(tokens, W, t, list);
        for (int64_t k = 0; k < W; k++) {
            list[k] = list[k] >= W ? -1 : list[k];
        }
        for (int64_t o = 0; o <= t % tokens->S; o++) {
            list[W + o] = (int32_t)(W + o);
        }
        for (int64_t c = 0; c < golden_min(max_rows, (tokens->positions[t] + 1) / ratio); c++) {
            list[first + c] = (int32_t)(first + c);
        }
    }
    return status;
}

/* Appends the compressed rows of token t to its list of *n keys. */
static void append_rows(const golden_tokens *tokens, int64_t W, int64_t ratio, int64_t max_rows, const golden_chosen *chosen,
                        int64_t t, int32_t *list, int32_t *n)
{
    const int64_t first = W + tokens->T, complete = (tokens->positions[t] + 1) / ratio;
    const int64_t candidates = golden_min(max_rows, chosen != NULL ? chosen->columns : complete);
    for (int64_t j = 0; j < candidates; j++) {
        const int64_t index = chosen != NULL ? chosen->indices[t * chosen->columns + j] : first + j;
        if (index >= first && index < first + complete) {
            list[(*n)++] = (int32_t)index;
        }
    }
}

dsv4_status golden_lists_prefill(const golden_tokens *tokens, int64_t W, int64_t ratio, int64_t max_rows,
                                 const golden_chosen *chosen, arena *memory, golden_lists *lists, dsv4_error *err)
{
    int32_t *indices, *lens;
    const dsv4_status status = alloc_lists(tokens, W + max_rows, memory, &indices, &lens, lists, err);
    for (int64_t t = 0; status == DSV4_OK && t < tokens->n; t++) {
        int32_t *list = indices + t * lists->width;
        const int64_t pos = tokens->positions[t], start = tokens->positions[0];
        for (int64_t key = pos < W ? 0 : pos - W + 1; key <= pos; key++) {
            list[lens[t]++] = (int32_t)(key >= start ? W + key - start : key % W);
        }
        if (ratio > 0) {
            append_rows(tokens, W, ratio, max_rows, chosen, t, list, &lens[t]);
        }
    }
    return status;
}
