/* text/detokenizer.c - ids to UTF-8, whole characters at a time. */
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer_parts.h"
#include "text/utf8.h"

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

enum { REPLACEMENT_BYTES = sizeof replacement - 1 };

dsv4_status detokenizer_init(detokenizer *d, const tokenizer *t, bool skip_special, dsv4_error *err)
{
    size_t n = t->longest + sizeof d->waiting;
    detokenizer made = {.t = t, .skip_special = skip_special, .bytes = malloc(n), .text = malloc(n * REPLACEMENT_BYTES)};
    if (made.bytes == NULL || made.text == NULL) {
        detokenizer_deinit(&made);
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "tokenizer: no memory to decode tokens of up to %zu bytes", t->longest);
    }
    *d = made;
    return DSV4_OK;
}

void detokenizer_deinit(detokenizer *d)
{
    free(d->bytes);
    free(d->text);
    *d = (detokenizer){0};
}

dsv4_status detokenizer_next(detokenizer *d, int32_t id, const char **text, size_t *n_bytes, dsv4_error *err)
{
    size_t n = 0, n_text = 0, step = 0;
    const char *token = tokenizer_bytes(d->t, id, &n);
    if (token == NULL) {
        return dsv4_fail(err, DSV4_E_VALUE, "tokenizer: got id %d, which names no token; ids are below %d", (int)id,
                         (int)d->t->n_ids);
    }
    n = d->skip_special && tokenizer_is_special(d->t, id) ? 0 : n;
    memcpy(d->bytes, d->waiting, d->n_waiting);
    memcpy(d->bytes + d->n_waiting, token, n);
    n += d->n_waiting;
    d->n_waiting = 0;
    for (size_t at = 0; at < n; at += step) {
        utf8_kind kind = UTF8_CHARACTER;
        step = utf8_step(d->bytes + at, n - at, &kind);
        if (kind == UTF8_CUT) {
            memcpy(d->waiting, d->bytes + at, step);
            d->n_waiting = step;
        } else {
            size_t n_out = kind == UTF8_CHARACTER ? step : REPLACEMENT_BYTES;
            memcpy(d->text + n_text, kind == UTF8_CHARACTER ? d->bytes + at : replacement, n_out);
            n_text += n_out;
        }
    }
    *text = d->text;
    *n_bytes = n_text;
    return DSV4_OK;
}

const char *detokenizer_end(detokenizer *d, size_t *n_bytes)
{
    *n_bytes = d->n_waiting > 0 ? REPLACEMENT_BYTES : 0;
    d->n_waiting = 0;
    return replacement;
}

/* Appends to a text with room for n + 1 bytes kept; false without memory. */
static bool append(char **text, size_t *n_text, size_t *size, const char *bytes, size_t n)
{
    if (*n_text + n + 1 > *size) {
        size_t larger = 2 * (*n_text + n + 1);
        char *moved = realloc(*text, larger);
        if (moved == NULL) {
            return false;
        }
        *text = moved;
        *size = larger;
    }
    if (n > 0) {
        memcpy(*text + *n_text, bytes, n);
    }
    *n_text += n;
    (*text)[*n_text] = '\0';
    return true;
}

dsv4_status tokenizer_decode(const tokenizer *t, const int32_t *ids, size_t n, bool skip_special, char **text, size_t *n_bytes,
                             dsv4_error *err)
{
    detokenizer d;
    char *out = NULL;
    const char *piece = "";
    size_t n_out = 0, size = 0, n_piece = 0;
    dsv4_status status = detokenizer_init(&d, t, skip_special, err);
    if (status != DSV4_OK) {
        return status;
    }
    bool has_memory = append(&out, &n_out, &size, "", 0);
    for (size_t i = 0; i < n && status == DSV4_OK && has_memory; i++) {
        status = detokenizer_next(&d, ids[i], &piece, &n_piece, err);
        has_memory = status != DSV4_OK || append(&out, &n_out, &size, piece, n_piece);
    }
    piece = detokenizer_end(&d, &n_piece);
    detokenizer_deinit(&d);
    if (status == DSV4_OK && !(has_memory && append(&out, &n_out, &size, piece, n_piece))) {
        status = dsv4_fail(err, DSV4_E_NO_MEMORY, "tokenizer: no memory for the text of %zu ids", n);
    }
    if (status != DSV4_OK) {
        free(out);
        return status;
    }
    *text = out;
    *n_bytes = n_out;
    return DSV4_OK;
}
