#include <stdlib.h>
#include <string.h>

#include "text/tokenizer_parts.h"
#include "text/utf8.h"

void tokenizer_free(tokenizer *t)
{
    if (t != NULL) {
        splitter_deinit(&t->split);
        arena_deinit(&t->memory);
        free(t);
    }
}

int32_t tokenizer_n_ids(const tokenizer *t)
{
    return t->n_ids;
}

const char *tokenizer_bytes(const tokenizer *t, int32_t id, size_t *n_bytes)
{
    if (id < 0 || id >= t->n_ids || t->tokens[id].bytes == NULL) {
        return NULL;
    }
    *n_bytes = t->tokens[id].n_bytes;
    return t->tokens[id].bytes;
}

bool tokenizer_is_special(const tokenizer *t, int32_t id)
{
    return id >= 0 && id < t->n_ids && t->tokens[id].is_special;
}

/* ---- added tokens ------------------------------------------------------------------------------------------------------- */

/* The first of added[low..high), which agree in their bytes before `depth`, whose byte there is not below `byte`. */
static size_t narrow(const tokenizer *t, size_t low, size_t high, size_t depth, int byte)
{
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const tokenizer_added *a = &t->added[middle];
        int there = depth < a->n_bytes ? (unsigned char)a->bytes[depth] : -1;
        if (there < byte) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The longest added token that the text begins with; NULL if none. */
static const tokenizer_added *match_added(const tokenizer *t, const char *text, size_t n)
{
    const tokenizer_added *longest = NULL;
    if (!t->begins_added[(unsigned char)text[0]]) {
        return NULL;
    }
    size_t low = 0, high = t->n_added;
    for (size_t depth = 0; depth < n && low < high; depth++) {
        int byte = (unsigned char)text[depth];
        low = narrow(t, low, high, depth, byte);
        high = narrow(t, low, high, depth, byte + 1);
        if (low < high && t->added[low].n_bytes == depth + 1) {
            longest = &t->added[low];
        }
    }
    return longest;
}

int32_t tokenizer_find(const tokenizer *t, const char *content)
{
    size_t n = strlen(content);
    const tokenizer_added *a = n > 0 ? match_added(t, content, n) : NULL;
    return a != NULL && a->n_bytes == n ? a->id : -1;
}

/* ---- encoding ----------------------------------------------------------------------------------------------------------- */

typedef struct encoding {
    const tokenizer *t;
    tokenizer_ids *ids;
    merge_work work;
} encoding;

static bool reserve(tokenizer_ids *ids, size_t n_more)
{
    if (n_more > ids->size - ids->n) {
        size_t size = 2 * ids->size > ids->n + n_more ? 2 * ids->size : ids->n + n_more;
        int32_t *moved = realloc(ids->items, size * sizeof *moved);
        if (moved == NULL) {
            return false;
        }
        ids->items = moved;
        ids->size = size;
    }
    return true;
}

static dsv4_status encode_word(void *context, const char *word, size_t n, dsv4_error *err)
{
    encoding *e = context;
    size_t n_ids = reserve(e->ids, n) ? merge_word(&e->t->merges, &e->work, word, n, e->ids->items + e->ids->n) : 0;
    if (n_ids == 0) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "tokenizer: no memory to encode a word of %zu bytes", n);
    }
    e->ids->n += n_ids;
    return DSV4_OK;
}

static dsv4_status encode_added(encoding *e, int32_t id, dsv4_error *err)
{
    if (!reserve(e->ids, 1)) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "tokenizer: no memory for %zu ids", e->ids->n + 1);
    }
    e->ids->items[e->ids->n++] = id;
    return DSV4_OK;
}

static dsv4_status encode_text(encoding *e, const char *text, size_t n, dsv4_error *err)
{
    size_t begin = 0, at = 0; /* of the text since the last added token; where one is looked for */
    dsv4_status status = DSV4_OK;
    while (at < n && status == DSV4_OK) {
        const tokenizer_added *a = match_added(e->t, text + at, n - at);
        if (a == NULL) {
            at++;
            continue;
        }
        status = at > begin ? splitter_run(&e->t->split, text + begin, at - begin, encode_word, e, err) : DSV4_OK;
        status = status == DSV4_OK ? encode_added(e, a->id, err) : status;
        begin = at += a->n_bytes;
    }
    return status == DSV4_OK && n > begin ? splitter_run(&e->t->split, text + begin, n - begin, encode_word, e, err) : status;
}

dsv4_status tokenizer_encode(const tokenizer *t, const char *text, size_t n_bytes, tokenizer_ids *ids, dsv4_error *err)
{
    size_t n_before = ids->n, n_valid = n_bytes > TOKENIZER_MAX_TEXT_BYTES ? 0 : utf8_valid_bytes(text, n_bytes);
    if (n_bytes > TOKENIZER_MAX_TEXT_BYTES) {
        return dsv4_fail(err, DSV4_E_VALUE, "tokenizer: got a text of %zu bytes, expected at most %d", n_bytes,
                         (int)TOKENIZER_MAX_TEXT_BYTES);
    }
    if (n_valid < n_bytes) {
        return dsv4_fail(err, DSV4_E_VALUE, "tokenizer: text: byte %zu is not UTF-8", n_valid);
    }
    encoding e = {.t = t, .ids = ids};
    dsv4_status status = encode_text(&e, text, n_bytes, err);
    merge_work_deinit(&e.work);
    ids->n = status == DSV4_OK ? ids->n : n_before;
    return status;
}
