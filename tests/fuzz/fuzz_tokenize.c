/* Any bytes as a text: refused where they are not UTF-8, else they come back from their ids, also id by id. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer.h"
#include "text/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

static const tokenizer *small_tokenizer(void)
{
    static tokenizer *t;
    dsv4_error err = {0};
    if (t == NULL && tokenizer_read(TEST_DATA "/text/data/tokenizer.json", &t, &err) != DSV4_OK) {
        abort();
    }
    return t;
}

/* The pieces of a detokenizer are the text from its front to its end. */
static void check_pieces(const tokenizer *t, const tokenizer_ids *ids, const char *text, size_t n)
{
    detokenizer d;
    dsv4_error err = {0};
    const char *piece = NULL;
    size_t n_piece = 0, at = 0;
    if (detokenizer_init(&d, t, false, &err) != DSV4_OK) {
        abort();
    }
    for (size_t i = 0; i < ids->n; i++) {
        if (detokenizer_next(&d, ids->items[i], &piece, &n_piece, &err) != DSV4_OK || n_piece > n - at ||
            memcmp(piece, text + at, n_piece) != 0 || utf8_valid_bytes(piece, n_piece) != n_piece) {
            abort();
        }
        at += n_piece;
    }
    detokenizer_end(&d, &n_piece);
    if (n_piece != 0 || at != n) {
        abort();
    }
    detokenizer_deinit(&d);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    const tokenizer *t = small_tokenizer();
    const char *text = (const char *)bytes;
    tokenizer_ids ids = {0};
    dsv4_error err = {0};
    char *decoded = NULL;
    size_t n_decoded = 0;
    if (tokenizer_encode(t, text, n_bytes, &ids, &err) != DSV4_OK) {
        if (err.text[0] == '\0' || ids.n != 0 || utf8_valid_bytes(text, n_bytes) == n_bytes) {
            abort();
        }
        free(ids.items);
        return 0;
    }
    if (tokenizer_decode(t, ids.items, ids.n, false, &decoded, &n_decoded, &err) != DSV4_OK || n_decoded != n_bytes ||
        memcmp(decoded, text, n_bytes) != 0) {
        abort();
    }
    check_pieces(t, &ids, text, n_bytes);
    free(decoded);
    free(ids.items);
    return 0;
}
