/* jsonl.h - files of one JSON object a line. */
#ifndef JSONL_H
#define JSONL_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "require.h"

#include <jansson.h>

#include "base/file.h"

typedef void jsonl_fn(void *context, const json_t *row, int line);

/* Returns the number of lines. */
static inline int jsonl_each(const char *path, jsonl_fn *each, void *context)
{
    char *text = NULL;
    size_t n = 0;
    dsv4_error err = {0};
    require_ok(file_read(path, 64 << 20, &text, &n, &err), &err);
    int line = 0;
    for (char *at = text, *end = NULL; at < text + n; at = end + 1) {
        end = memchr(at, '\n', (size_t)(text + n - at));
        end = end != NULL ? end : text + n;
        json_error_t where;
        json_t *row = json_loadb(at, (size_t)(end - at), JSON_ALLOW_NUL, &where);
        if (row == NULL) {
            fail_msg("%s: line %d: %s", path, line + 1, where.text);
        }
        each(context, row, ++line);
        json_decref(row);
    }
    free(text);
    return line;
}

#endif
