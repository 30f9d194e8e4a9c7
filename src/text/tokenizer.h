/* text/tokenizer.h - text to token ids and back, by a tokenizer.json: byte-level BPE.
 *
 *   text -> added tokens are cut out -> patterns split the rest into words -> bytes of a word are merged by rank -> ids
 *
 * Supported is what DeepSeek-V4 publishes: pre-tokenizers Split (a regular expression, Isolated) in a row and then ByteLevel, model
 * BPE without ignore_merges, decoder ByteLevel, no normalisation. What would change ids and is not supported is refused. A tokenizer
 * is constant once read: any thread may use it. */
#ifndef TEXT_TOKENIZER_H
#define TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dsv4/status.h"

enum { TOKENIZER_MAX_IDS = 1 << 20, TOKENIZER_MAX_FILE_BYTES = 64 << 20, TOKENIZER_MAX_TEXT_BYTES = 1 << 30 };

typedef struct tokenizer tokenizer;

/* Ids that grow. Zero-initialise; end with free(items). */
typedef struct tokenizer_ids {
    int32_t *items;
    size_t n, size;
} tokenizer_ids;

/* Reads tokenizer.json; tokenizer_parse takes its text, and `source` as its name in messages. End with tokenizer_free (NULL is
 * allowed). */
DSV4_MUST_CHECK dsv4_status tokenizer_read(const char *path, tokenizer **out, dsv4_error *err);
DSV4_MUST_CHECK dsv4_status tokenizer_parse(const char *source, const char *json, size_t n_bytes, tokenizer **out, dsv4_error *err);
void tokenizer_free(tokenizer *t);

/* One more than the largest id. */
int32_t tokenizer_n_ids(const tokenizer *t);

/* The id of an added token ("<think>"); -1 if there is none. */
int32_t tokenizer_find(const tokenizer *t, const char *content);

/* The bytes of a token, not a whole character perhaps, valid as long as t; NULL for an id that names none. */
const char *tokenizer_bytes(const tokenizer *t, int32_t id, size_t *n_bytes);

/* Whether decoding may skip the token: one marked "special". */
bool tokenizer_is_special(const tokenizer *t, int32_t id);

/* Appends the ids of a text; nothing is put before or behind them. The time grows as n log n at most. Fails on text that is not
 * UTF-8, naming the offset; then ids->n is as before. */
DSV4_MUST_CHECK dsv4_status tokenizer_encode(const tokenizer *t, const char *text, size_t n_bytes, tokenizer_ids *ids,
                                             dsv4_error *err);

/* The text of ids, with U+FFFD for what is not UTF-8; a 0 follows it. The caller frees it. */
DSV4_MUST_CHECK dsv4_status tokenizer_decode(const tokenizer *t, const int32_t *ids, size_t n, bool skip_special, char **text,
                                             size_t *n_bytes, dsv4_error *err);

/* ---- decoding id by id ------------------------------------------------------------------------------------------------ */

/* Gives whole characters only: the beginning of one waits for the next id. The pieces joined are what tokenizer_decode gives. */
typedef struct detokenizer {
    const tokenizer *t;
    bool skip_special;
    char waiting[4]; /* the beginning of a character */
    size_t n_waiting;
    char *bytes, *text; /* of one call */
} detokenizer;

/* t must outlive it. End with detokenizer_deinit. */
DSV4_MUST_CHECK dsv4_status detokenizer_init(detokenizer *d, const tokenizer *t, bool skip_special, dsv4_error *err);
void detokenizer_deinit(detokenizer *d);

/* What one more id completes: *n_bytes of UTF-8, perhaps 0, at *text until the next call. */
DSV4_MUST_CHECK dsv4_status detokenizer_next(detokenizer *d, int32_t id, const char **text, size_t *n_bytes, dsv4_error *err);

/* What still waits, as U+FFFD; d is then as after init. */
const char *detokenizer_end(detokenizer *d, size_t *n_bytes);

#endif
