/* model/kv.c - memory of sequences: how it is laid out, and who has which slot and page. */
#include "model/kv.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/memory.h"

enum { ALIGNMENT = 4096 }; /* of slots and pages: a slot that is given up goes back to the system */

static size_t aligned(size_t n, size_t alignment)
{
    return (n + alignment - 1) / alignment * alignment;
}

/* ---- layout -------------------------------------------------------------------------------------------------------------- */

/* Takes n bytes, 64-byte aligned, and returns where they begin. */
static size_t take(size_t *at, size_t n)
{
    size_t begin = *at;
    *at += aligned(n, 64);
    return begin;
}

static void lay_out_block(model_kv *kv, int ratio, model_kv_block *b)
{
    const dsv4_config *d = &kv->config.dims;
    *b = (model_kv_block){.ratio = ratio};
    b->window = take(&kv->slot_bytes, (size_t)(kv->window_rows * d->head_dim) * kv->elem);
    if (ratio == 0) {
        return;
    }
    b->out = ratio == 4 ? 2 * d->head_dim : d->head_dim;
    b->state_rows = (ratio == 4 ? 2 * ratio : ratio) + MODEL_ROLLBACK;
    b->kv = take(&kv->slot_bytes, (size_t)(b->state_rows * b->out) * sizeof(float));
    b->score = take(&kv->slot_bytes, (size_t)(b->state_rows * b->out) * sizeof(float));
    b->entries = take(&kv->page_bytes, (size_t)(MODEL_PAGE_TOKENS / ratio * d->head_dim) * kv->elem);
    if (ratio == 4) {
        b->index_out = 2 * d->index_head_dim;
        b->index_kv = take(&kv->slot_bytes, (size_t)(b->state_rows * b->index_out) * sizeof(float));
        b->index_score = take(&kv->slot_bytes, (size_t)(b->state_rows * b->index_out) * sizeof(float));
        b->index_entries = take(&kv->page_bytes, (size_t)(MODEL_PAGE_TOKENS / ratio * d->index_head_dim) * kv->elem);
    }
}

/* Offsets and sizes; blocks: as many as the model has, or one that is used again and again. */
static void lay_out(model_kv *kv, const model_config *config, const model_numerics *numerics, model_kv_block *blocks, bool keeps)
{
    kv->config = *config;
    kv->dtype = numerics->dtype;
    kv->elem = dsv4_dtype_bytes(numerics->dtype);
    kv->window_rows = config->dims.sliding_window + MODEL_ROLLBACK;
    for (int i = 0; i < model_config_n_blocks(config); i++) {
        lay_out_block(kv, config->compress_ratio[i], &blocks[keeps ? i : 0]);
    }
    kv->slot_bytes = aligned(kv->slot_bytes, ALIGNMENT);
    kv->page_bytes = aligned(kv->page_bytes, ALIGNMENT);
}

static int64_t pages_of(int64_t n_tokens)
{
    return (n_tokens + MODEL_PAGE_TOKENS - 1) / MODEL_PAGE_TOKENS;
}

size_t model_kv_bytes(const model_config *config, const model_numerics *numerics, int64_t n_slots, int64_t n_tokens)
{
    model_kv kv = {0};
    model_kv_block block;
    lay_out(&kv, config, numerics, &block, false);
    return (size_t)n_slots * kv.slot_bytes + (size_t)(pages_of(n_tokens) + n_slots) * kv.page_bytes;
}

/* ---- creation ------------------------------------------------------------------------------------------------------------ */

static void *reserve(size_t n_bytes)
{
    void *start = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return start == MAP_FAILED ? NULL : start;
}

static void give_back(void *start, size_t n_bytes)
{
    (void)madvise(start, n_bytes, MADV_DONTNEED); /* zeros at the next use */
}

dsv4_status model_kv_create(const model_config *config, const model_numerics *numerics, int64_t n_slots, int64_t max_tokens,
                            int64_t n_tokens, model_kv **out, dsv4_error *err)
{
    model_kv *kv = calloc(1, sizeof *kv);
    model_kv_block *blocks = calloc((size_t)model_config_n_blocks(config), sizeof *blocks);
    if (kv == NULL || blocks == NULL) {
        free(kv);
        free(blocks);
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "memory of sequences: no memory");
    }
    kv->blocks = blocks;
    lay_out(kv, config, numerics, blocks, true);
    kv->n_slots = n_slots;
    kv->table_pages = pages_of(max_tokens);
    kv->n_pages = pages_of(n_tokens) + n_slots; /* the last page of a sequence is partly used */
    kv->tables = calloc((size_t)(n_slots * kv->table_pages), sizeof *kv->tables);
    kv->page_users = calloc((size_t)kv->n_pages, sizeof *kv->page_users);
    kv->sequences = calloc((size_t)n_slots, sizeof *kv->sequences);
    kv->slots = reserve((size_t)n_slots * kv->slot_bytes);
    kv->pages = kv->page_bytes == 0 ? NULL : reserve((size_t)kv->n_pages * kv->page_bytes);
    if (kv->tables == NULL || kv->page_users == NULL || kv->sequences == NULL || kv->slots == NULL ||
        (kv->pages == NULL && kv->page_bytes > 0)) {
        model_kv_destroy(kv);
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "memory of sequences: no memory for %lld sequences of %lld tokens",
                         (long long)n_slots, (long long)max_tokens);
    }
    for (int64_t i = 0; i < n_slots; i++) {
        kv->sequences[i].slot = -1;
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
        munmap(kv->slots, (size_t)kv->n_slots * kv->slot_bytes);
    }
    if (kv->pages != NULL) {
        munmap(kv->pages, (size_t)kv->n_pages * kv->page_bytes);
    }
    free(kv->sequences);
    free(kv->page_users);
    free(kv->tables);
    free(kv->blocks);
    free(kv);
}

/* ---- sequences ----------------------------------------------------------------------------------------------------------- */

static int32_t *table_of(const model_kv *kv, const model_sequence *s)
{
    return kv->tables + s->slot * kv->table_pages;
}

static char *page_at(const model_kv *kv, int32_t page)
{
    return kv->pages + (size_t)page * kv->page_bytes;
}

dsv4_status model_sequence_open(model_kv *kv, model_sequence **out, dsv4_error *err)
{
    for (int64_t slot = 0; slot < kv->n_slots; slot++) {
        model_sequence *s = &kv->sequences[slot];
        if (s->slot < 0) {
            *s = (model_sequence){.slot = (int)slot};
            for (int64_t i = 0; i < kv->table_pages; i++) {
                table_of(kv, s)[i] = -1;
            }
            *out = s;
            return DSV4_OK;
        }
    }
    return dsv4_fail(err, DSV4_E_VALUE, "got one more sequence, expected at most %lld at once", (long long)kv->n_slots);
}

static void release_page(model_kv *kv, int32_t *entry)
{
    if (*entry >= 0 && --kv->page_users[*entry] == 0) {
        give_back(page_at(kv, *entry), kv->page_bytes);
    }
    *entry = -1;
}

void model_sequence_close(model_kv *kv, model_sequence *s)
{
    if (s == NULL) {
        return;
    }
    for (int64_t i = 0; i < kv->table_pages; i++) {
        release_page(kv, &table_of(kv, s)[i]);
    }
    give_back(kv->slots + (size_t)s->slot * kv->slot_bytes, kv->slot_bytes);
    s->slot = -1;
}

/* ---- pages --------------------------------------------------------------------------------------------------------------- */

/* Whether the sequence cannot write its page i as it is. */
static bool needs_page(const model_kv *kv, const model_sequence *s, int64_t i)
{
    int32_t page = table_of(kv, s)[i];
    return page < 0 || kv->page_users[page] > 1;
}

/* A free page at or behind `from`, or -1. */
static int64_t free_page(const model_kv *kv, int64_t from)
{
    while (from < kv->n_pages && kv->page_users[from] > 0) {
        from++;
    }
    return from < kv->n_pages ? from : -1;
}

dsv4_status model_sequence_reserve(model_kv *kv, model_sequence *s, int64_t n, dsv4_error *err)
{
    int64_t end = s->length + n, first = s->length / MODEL_PAGE_TOKENS, last = pages_of(end), missing = 0, found = 0;
    if (end > kv->table_pages * MODEL_PAGE_TOKENS) {
        return dsv4_fail(err, DSV4_E_VALUE, "sequence: got %lld tokens, expected at most %lld", (long long)end,
                         (long long)(kv->table_pages * MODEL_PAGE_TOKENS));
    }
    for (int64_t i = first; i < last; i++) {
        missing += needs_page(kv, s, i);
    }
    for (int64_t page = free_page(kv, 0); page >= 0 && found < missing; page = free_page(kv, page + 1)) {
        found++;
    }
    if (found < missing) {
        return dsv4_fail(
            err, DSV4_E_NO_MEMORY,
            "sequence: no pages left for %lld more tokens (%lld pages of %d tokens in all); close a sequence, or create the "
            "engine for more tokens",
            (long long)n, (long long)kv->n_pages, MODEL_PAGE_TOKENS);
    }
    for (int64_t i = first; i < last; i++) {
        if (needs_page(kv, s, i)) {
            int32_t *entry = &table_of(kv, s)[i], page = (int32_t)free_page(kv, 0);
            kv->page_users[page] = 1;
            if (*entry >= 0) { /* shared: this sequence goes on in a copy */
                memcpy(page_at(kv, page), page_at(kv, *entry), kv->page_bytes);
                release_page(kv, entry);
            }
            *entry = page;
        }
    }
    return DSV4_OK;
}

dsv4_status model_sequence_fork(model_kv *kv, const model_sequence *s, model_sequence **out, dsv4_error *err)
{
    model_sequence *made = NULL;
    dsv4_status status = model_sequence_open(kv, &made, err);
    if (status != DSV4_OK) {
        return status;
    }
    int slot = made->slot;
    *made = *s;
    made->slot = slot;
    for (int64_t i = 0; i < pages_of(s->length); i++) {
        int32_t page = table_of(kv, s)[i];
        table_of(kv, made)[i] = page;
        if (page >= 0) {
            kv->page_users[page]++;
        }
    }
    memcpy(kv->slots + (size_t)slot * kv->slot_bytes, kv->slots + (size_t)s->slot * kv->slot_bytes, kv->slot_bytes);
    *out = made;
    return DSV4_OK;
}

dsv4_status model_sequence_truncate(model_kv *kv, model_sequence *s, int64_t length, dsv4_error *err)
{
    bool is_near = length >= s->oldest && length <= s->length;
    if (length != 0 && !is_near) {
        return dsv4_fail(err, DSV4_E_VALUE,
                         "sequence: cannot be cut to %lld tokens; it has %lld and remembers what it needs back to %lld",
                         (long long)length, (long long)s->length, (long long)s->oldest);
    }
    for (int64_t i = pages_of(length); i < pages_of(s->length); i++) {
        release_page(kv, &table_of(kv, s)[i]);
    }
    s->length = length;
    s->drafted = s->drafted < length ? s->drafted : length;
    s->oldest = length == 0 ? 0 : s->oldest;
    return DSV4_OK;
}

void model_sequence_append(model_sequence *s, int64_t n)
{
    int64_t reach = s->length + n - MODEL_ROLLBACK;
    s->length += n;
    s->oldest = reach > s->oldest ? reach : s->oldest;
}
