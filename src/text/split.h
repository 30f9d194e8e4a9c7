/* text/split.h - splits text by regular expressions: the pieces between and in the matches of the first go on to the second, and so
 * on; what the last leaves are the words. */
#ifndef TEXT_SPLIT_H
#define TEXT_SPLIT_H

#include <stddef.h>

#include "dsv4/status.h"

enum { SPLIT_MAX_PATTERNS = 8, SPLIT_MAX_PATTERN_BYTES = 1 << 14 };

/* Zero-initialise; end with splitter_deinit. */
typedef struct splitter {
    void *patterns[SPLIT_MAX_PATTERNS]; /* pcre2_code */
    int n_patterns;
} splitter;

/* Takes a word of n bytes, at least one. */
typedef dsv4_status split_word_fn(void *context, const char *word, size_t n, dsv4_error *err);

/* Adds the pattern that is applied to the pieces of those before. \s and \S mean the property White_Space, as the tokenizers library
 * has it. A message begins with `source`. */
DSV4_MUST_CHECK dsv4_status splitter_add(splitter *s, const char *source, const char *pattern, dsv4_error *err);

/* Calls word for each word of n bytes of UTF-8, in order; all bytes are in one. A status but DSV4_OK of word ends it. Fails where a
 * match takes more steps than a well-behaved pattern needs. */
DSV4_MUST_CHECK dsv4_status splitter_run(const splitter *s, const char *text, size_t n, split_word_fn *word, void *context,
                                         dsv4_error *err);

void splitter_deinit(splitter *s);

#endif
