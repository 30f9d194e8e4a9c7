#include "model/kv.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base/memory.h"

enum { ALIGNMENT = 64, SYSTEM_PAGE = 4096, MAX_SLOTS = 1 << 20 };

static const int64_t max_tokens_together = (int64_t)1 << 38; /* pages are counted in int32_t */

/* Appends n bytes to a layout; their offset. */
static size_t place(size_t *end, int64_t n)
{
    size_t offset = *end;
    *end += ((size_t)n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return offset;
}

/* The ratio 4 pools two groups of tokens at a time, each with columns of its own. */
static void place_block(model_kv *kv, int block)
{
    const int64_t hd = kv->config.dims.head_dim, id = kv->config.dims.index_head_dim, elem = (int64_t)kv->elem;
    const int ratio = kv->config.compress_ratio[block];
    model_kv_block *b = &kv->blocks[block];
    *b = (model_kv_block){.ratio = ratio, .window = place(&kv->slot_bytes, kv->window_rows * hd * elem)};
    if (ratio == 0) {
        return;
    }
    const bool has_index = ratio == 4;
    b->state_rows = (has_index ? 2 * ratio : ratio) + MODEL_ROLLBACK;
    b->out = has_index ? 2 * hd : hd;
    b->index_out = has_index ? 2 * id : 0;
    b->kv = place(&kv->slot_bytes, b->state_rows * b->out * (int64_t)sizeof(float));
    b->score = place(&kv->slot_bytes, b->state_rows * b->out * (int64_t)sizeof(float));
    b->index_kv = place(&kv->slot_bytes, b->state_rows * b->index_out * (int64_t)sizeof(float));
    b->index_score = place(&kv->slot_bytes, b->state_rows * b->index_out * (int64_t)sizeof(float));
    b->entries = place(&kv->page_bytes, MODEL_PAGE_TOKENS / ratio * hd * elem);
    b->index_entries = place(&kv->page_bytes, has_index ? MODEL_PAGE_TOKENS / ratio * id * elem : 0);
}

/* Pages that n_slots sequences of n_tokens tokens together have at most. */
static int64_t count_pages(int64_t n_slots, int64_t n_tokens)
{
    return n_tokens <= n_slots ? n_tokens : (n_tokens - n_slots) / MODEL_PAGE_TOKENS + n_slots;
}

/* The dimensions, and where rows lie. blocks has an item for each block. */
static void lay_out(model_kv *kv, const model_config *config, const model_numerics *numerics, model_kv_block *blocks)
{
    *kv = (model_kv){.config = *config,
                     .numerics = *numerics,
                     .dtype = numerics->dtype,
                     .elem = numerics->dtype == DSV4_BF16 ? 2 : 4,
                     .window_rows = config->dims.sliding_window + MODEL_ROLLBACK,
                     .blocks = blocks};
    for (int i = 0; i < model_config_n_blocks(config); i++) {
        place_block(kv, i);
    }
    kv->slot_bytes = (kv->slot_bytes + SYSTEM_PAGE - 1) / SYSTEM_PAGE * SYSTEM_PAGE;
    kv->page_bytes = (kv->page_bytes + SYSTEM_PAGE - 1) / SYSTEM_PAGE * SYSTEM_PAGE;
}

size_t model_kv_bytes(const model_config *config, const model_numerics *numerics, int64_t n_slots, int64_t n_tokens)
{
    model_kv kv;
    model_kv_block blocks[MODEL_MAX_BLOCKS];
    size_t slots, pages, sum;
    lay_out(&kv, config, numerics, blocks);
    bool is_huge = n_slots < 0 || n_tokens < 0 || __builtin_mul_overflow((size_t)n_slots, kv.slot_bytes, &slots) ||
                   __builtin_mul_overflow((size_t)count_pages(n_slots, n_tokens), kv.page_bytes, &pages) ||
                   __builtin_add_overflow(slots, pages, &sum);
    return is_huge ? SIZE_MAX : sum;
}

static dsv4_status allocate(model_kv *kv, dsv4_error *err)
{
    size_t n_tables, slots, pages;
    if (__builtin_mul_overflow((size_t)kv->n_slots, (size_t)kv->table_pages, &n_tables) ||
        __builtin_mul_overflow((size_t)kv->n_slots, kv->slot_bytes, &slots) ||
        __builtin_mul_overflow((size_t)kv->n_pages, kv->page_bytes, &pages)) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY,
                         "memory of sequences: %lld sequences and %lld pages have more bytes than can be counted",
                         (long long)kv->n_slots, (long long)kv->n_pages);
    }
    kv->sequences = memory_zeroed_array((size_t)kv->n_slots, sizeof *kv->sequences);
    kv->tables = memory_array(n_tables, sizeof *kv->tables);
    kv->page_users = memory_zeroed_array((size_t)kv->n_pages, sizeof *kv->page_users);
    kv->slots = memory_reserve(slots);
    kv->pages = pages == 0 ? NULL : memory_reserve(pages);
    if (kv->sequences == NULL || kv->tables == NULL || kv->page_users == NULL || kv->slots == NULL ||
        (pages > 0 && kv->pages == NULL)) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "memory of sequences: no address space for %zu bytes in slots and %zu in pages",
                         slots, pages);
    }
    for (size_t i = 0; i < n_tables; i++) {
        kv->tables[i] = -1;
    }
    for (int64_t i = 0; i < kv->n_slots; i++) {
        kv->sequences[i].slot = -1;
    }
    return DSV4_OK;
}

dsv4_status model_kv_create(const model_config *config, const model_numerics *numerics, int64_t n_slots, int64_t max_tokens,
                            int64_t n_tokens, model_kv **out, dsv4_error *err)
{
    if (n_slots < 1 || n_slots > MAX_SLOTS || max_tokens < 1 || max_tokens > INT32_MAX || n_tokens < 1 ||
        n_tokens > max_tokens_together) {
        return dsv4_fail(
            err, DSV4_E_VALUE,
            "memory of sequences: got %lld sequences of %lld tokens, %lld together, expected 1 to %d of 1 to %d, 1 to %lld",
            (long long)n_slots, (long long)max_tokens, (long long)n_tokens, MAX_SLOTS, INT32_MAX, (long long)max_tokens_together);
    }
    model_kv *kv = memory_zeroed_array(1, sizeof *kv);
    model_kv_block *blocks = memory_zeroed_array((size_t)model_config_n_blocks(config), sizeof *blocks);
    if (kv == NULL || blocks == NULL) {
        free(kv);
        free(blocks);
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "memory of sequences: out of memory");
    }
    lay_out(kv, config, numerics, blocks);
    kv->n_slots = n_slots;
    kv->table_pages = (max_tokens + MODEL_PAGE_TOKENS - 1) / MODEL_PAGE_TOKENS;
    kv->n_pages = count_pages(n_slots, n_tokens);
    dsv4_status status = allocate(kv, err);
    if (status != DSV4_OK) {
        model_kv_destroy(kv);
        return status;
    }
    *out = kv;
    return DSV4_OK;
}

void model_kv_destroy(model_kv *kv)
{
    if (kv == NULL) {
        return;
    }
    if (kv->slots != NULL) {
        memory_unmap(kv->slots, (size_t)kv->n_slots * kv->slot_bytes);
    }
    if (kv->pages != NULL) {
        memory_unmap(kv->pages, (size_t)kv->n_pages * kv->page_bytes);
    }
    free(kv->page_users);
    free(kv->tables);
    free(kv->sequences);
    free(kv->blocks);
    free(kv);
}
