/* text/tokenizer_parts.h - what a tokenizer is made of, for the files that read and use it. */
#ifndef TEXT_TOKENIZER_PARTS_H
#define TEXT_TOKENIZER_PARTS_H

#include "base/arena.h"
#include "text/merge.h"
#include "text/split.h"
#include "text/tokenizer.h"

enum { TOKENIZER_MAX_ADDED_BYTES = 1024, TOKENIZER_MAX_TOKEN_BYTES = 1 << 16 };

typedef struct tokenizer_token {
    const char *bytes; /* NULL: no such id; a 0 follows them */
    uint32_t n_bytes;
    bool is_special;
} tokenizer_token;

typedef struct tokenizer_added {
    const char *bytes;
    size_t n_bytes;
    int32_t id;
} tokenizer_added;

struct tokenizer {
    arena memory;
    tokenizer_token *tokens; /* [n_ids] */
    int32_t n_ids;
    size_t longest;         /* token, in bytes */
    tokenizer_added *added; /* [n_added], in the order of their bytes, a beginning before what it begins */
    size_t n_added;
    bool begins_added[256]; /* by first byte */
    merge_table merges;
    splitter split;
};

#endif
