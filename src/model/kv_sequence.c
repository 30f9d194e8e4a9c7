#include <stdbool.h>
#include <string.h>

#include "model/kv.h"

static int64_t pages_of(int64_t n_tokens)
{
    return (n_tokens + MODEL_PAGE_TOKENS - 1) / MODEL_PAGE_TOKENS;
}

static int32_t *table_of(const model_kv *kv, const model_sequence *s)
{
    return kv->tables + s->slot * kv->table_pages;
}

/* The first position whose rows in pages are not all written: where draft blocks have rows there, they may lag behind the trunk. */
static int64_t first_unwritten(const model_kv *kv, const model_sequence *s)
{
    for (int i = (int)kv->config.num_hidden_layers; i < model_config_n_blocks(&kv->config); i++) {
        if (kv->blocks[i].ratio > 0 && s->drafted < s->length) {
            return s->drafted;
        }
    }
    return s->length;
}

static char *page_start(const model_kv *kv, int32_t page)
{
    return kv->pages + (size_t)page * kv->page_bytes;
}

/* The free page from *next on, which moves behind it. There must be one. */
static int32_t take_page(model_kv *kv, int32_t *next)
{
    while (kv->page_users[*next] > 0) {
        ++*next;
    }
    kv->page_users[*next] = 1;
    return (*next)++;
}

static bool is_own(const model_kv *kv, int32_t page)
{
    return page >= 0 && kv->page_users[page] == 1;
}

static void release_pages(model_kv *kv, const model_sequence *s, int64_t first)
{
    int32_t *table = table_of(kv, s);
    for (int64_t i = first; i < kv->table_pages && table[i] >= 0; i++) {
        kv->page_users[table[i]]--;
        table[i] = -1;
    }
}

static bool has_free_pages(const model_kv *kv, int64_t n)
{
    for (int64_t i = 0; i < kv->n_pages && n > 0; i++) {
        n -= kv->page_users[i] == 0;
    }
    return n <= 0;
}

dsv4_status model_sequence_open(model_kv *kv, model_sequence **out, dsv4_error *err)
{
    for (int64_t i = 0; i < kv->n_slots; i++) {
        if (kv->sequences[i].slot < 0) {
            kv->sequences[i] = (model_sequence){.slot = (int)i, .id = ++kv->n_opened};
            *out = &kv->sequences[i];
            return DSV4_OK;
        }
    }
    return dsv4_fail(err, DSV4_E_VALUE, "sequences: all %lld are open, close one or make room for more", (long long)kv->n_slots);
}

void model_sequence_close(model_kv *kv, model_sequence *s)
{
    if (s == NULL || s->slot < 0) {
        return;
    }
    release_pages(kv, s, 0);
    s->slot = -1;
}

dsv4_status model_sequence_reserve(model_kv *kv, model_sequence *s, int64_t n, dsv4_error *err)
{
    const int64_t room = kv->table_pages * MODEL_PAGE_TOKENS - s->length;
    if (n < 0 || n > room) {
        return dsv4_fail(err, DSV4_E_VALUE, "sequence of %lld tokens: got %lld more, expected at most %lld", (long long)s->length,
                         (long long)n, (long long)room);
    }
    int32_t *table = table_of(kv, s);
    const int64_t first = first_unwritten(kv, s) / MODEL_PAGE_TOKENS, end = pages_of(s->length + n);
    int64_t n_wanted = 0;
    for (int64_t i = first; i < end; i++) {
        n_wanted += !is_own(kv, table[i]);
    }
    if (!has_free_pages(kv, n_wanted)) {
        return dsv4_fail(err, DSV4_E_VALUE,
                         "sequence of %lld tokens: no memory for %lld more, all sequences together have %lld pages of %d",
                         (long long)s->length, (long long)n, (long long)kv->n_pages, MODEL_PAGE_TOKENS);
    }
    int32_t next = 0;
    for (int64_t i = first; i < end; i++) {
        if (is_own(kv, table[i])) {
            continue;
        }
        const int32_t page = take_page(kv, &next), shared = table[i];
        if (shared >= 0) {
            memcpy(page_start(kv, page), page_start(kv, shared), kv->page_bytes);
            kv->page_users[shared]--;
        }
        table[i] = page;
    }
    return DSV4_OK;
}

dsv4_status model_sequence_fork(model_kv *kv, const model_sequence *s, model_sequence **out, dsv4_error *err)
{
    model_sequence *copy = NULL;
    dsv4_status status = model_sequence_open(kv, &copy, err);
    if (status != DSV4_OK) {
        return status;
    }
    const int slot = copy->slot;
    const uint64_t id = copy->id;
    *copy = *s;
    copy->slot = slot;
    copy->id = id;
    memcpy(kv->slots + (size_t)slot * kv->slot_bytes, kv->slots + (size_t)s->slot * kv->slot_bytes, kv->slot_bytes);
    for (int64_t i = 0; i < pages_of(s->length); i++) {
        const int32_t page = table_of(kv, s)[i];
        table_of(kv, copy)[i] = page;
        kv->page_users[page]++;
    }
    *out = copy;
    return DSV4_OK;
}

dsv4_status model_sequence_truncate(model_kv *kv, model_sequence *s, int64_t length, dsv4_error *err)
{
    if (length != 0 && (length < s->oldest || length > s->length)) {
        return dsv4_fail(err, DSV4_E_VALUE, "sequence of %lld tokens: cannot be cut to %lld, expected 0 or %lld to %lld",
                         (long long)s->length, (long long)length, (long long)s->oldest, (long long)s->length);
    }
    s->length = length;
    s->drafted = s->drafted < length ? s->drafted : length;
    s->oldest = s->oldest < length ? s->oldest : length;
    release_pages(kv, s, pages_of(length));
    return DSV4_OK;
}
