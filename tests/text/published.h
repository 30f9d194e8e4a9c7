/* published.h - the tokenizer of DeepSeek-V4 as it is published. */
#ifndef PUBLISHED_H
#define PUBLISHED_H

#include <zlib.h>

#include "jsonl.h"
#include "text/tokenizer.h"

#define DATA TEST_VECTORS "/../text/data"

static inline tokenizer *read_published_tokenizer(void)
{
    enum { ROOM = 8 << 20 };
    tokenizer *t = NULL;
    dsv4_error err = {0};
    char *json = malloc(ROOM);
    gzFile file = gzopen(DATA "/published_tokenizer.json.gz", "rb");
    assert_non_null(file);
    assert_non_null(json);
    assert_int_equal(gzread(file, json, ROOM), 6367146);
    gzclose(file);
    require_ok(tokenizer_parse("tokenizer.json", json, 6367146, &t, &err), &err);
    free(json);
    return t;
}

#endif
