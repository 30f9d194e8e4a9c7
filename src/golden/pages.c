/* golden/pages.c - rows of paged memory, and the two forms of a compressed row in a cache. */
#include <string.h>

#include "base/numbers.h"
#include "golden/parts.h"
#include "golden/primitives.h"

int64_t golden_flat_row(const golden_pages *pages, int64_t request, int64_t p)
{
    if (p < 0 || p / pages->page_rows >= pages->n_entries) {
        return -1;
    }
    const int64_t page = pages->table[request * pages->n_entries + p / pages->page_rows];
    return page < 0 ? -1 : page * pages->page_rows + p % pages->page_rows;
}

void golden_cache_write(const golden_cache *cache, int64_t row, float *y)
{
    const int64_t width = cache->width;
    if (cache->bf16 != NULL) {
        golden_round(y, width, cache->bf16 + row * width);
        return;
    }
    for (int64_t i = 0; i < width; i++) {
        y[i] = num_f32_from_bf16(num_bf16_from_f32(y[i]));
    }
    cache->scale[row] = golden_q8(y, width, cache->i8 + row * width);
}

float golden_cache_read(const golden_cache *cache, int64_t row, float *values, int8_t *q)
{
    const int64_t width = cache->width;
    if (cache->bf16 != NULL) {
        golden_widen(cache->bf16 + row * width, width, values);
        return golden_q8(values, width, q);
    }
    memcpy(q, cache->i8 + row * width, (size_t)width);
    return cache->scale[row];
}
