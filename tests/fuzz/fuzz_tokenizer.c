/* Any bytes: either a one-line error, or a tokenizer that gives a text and its own tokens back. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

/* A pattern of the file may be too costly for the text: then an error, and no ids. */
static void check_round_trip(const tokenizer *t, const char *text, size_t n)
{
    tokenizer_ids ids = {0};
    dsv4_error err = {0};
    char *decoded = NULL;
    size_t n_decoded = 0;
    if (tokenizer_encode(t, text, n, &ids, &err) != DSV4_OK) {
        if (err.text[0] == '\0' || ids.n != 0) {
            abort();
        }
    } else if (tokenizer_decode(t, ids.items, ids.n, false, &decoded, &n_decoded, &err) != DSV4_OK || n_decoded != n ||
               memcmp(decoded, text, n) != 0) {
        abort();
    }
    free(decoded);
    free(ids.items);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    static const char text[] = "The 1234 birds  sang,\r\n\t\"é中\xf0\x9f\x98\x80 <think>ththth</think>!!!";
    tokenizer *t = NULL;
    dsv4_error err = {0};
    if (tokenizer_parse("fuzz", (const char *)bytes, n_bytes, &t, &err) != DSV4_OK) {
        if (err.text[0] == '\0' || t != NULL) {
            abort();
        }
        return 0;
    }
    for (int32_t id = 0; id < tokenizer_n_ids(t); id++) {
        size_t n = 0;
        const char *token = tokenizer_bytes(t, id, &n);
        if (token != NULL && token[n] != '\0') {
            abort();
        }
    }
    check_round_trip(t, text, strlen(text));
    tokenizer_free(t);
    return 0;
}
