/* jsonl.h - files of one JSON object a line, and the folder of the full expectations. */
#ifndef JSONL_H
#define JSONL_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "require.h"

#include <jansson.h>

#include "base/file.h"

typedef void jsonl_fn(void *context, const json_t *row, int line);

static inline void jsonl_each(const char *path, jsonl_fn *each, void *context)
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
    assert_true(line > 0);
}

/* The path of a file below the folder DSV4_ORACLE or ../shared/oracle; the test is skipped where it is not. */
static inline void find_oracle(const char *name, char *path, size_t size)
{
    const char *folder = getenv("DSV4_ORACLE");
    snprintf(path, size, "%s/%s", folder != NULL ? folder : TEST_VECTORS "/../../../shared/oracle", name);
    if (access(path, R_OK) != 0) {
        print_message("%s is not there: skipped\n", path);
        skip();
    }
}

#endif
