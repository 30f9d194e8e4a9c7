/* trace/read.c - a trace file into a trace: finds the member "dsv4", reads graph and run out of it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "trace/out.h"
#include "trace/reading.h"

enum { MAX_FILE_BYTES = 1 << 28 };

/* ---- the member "dsv4" ----------------------------------------------------------------------------------------------------- */

/* Trace events are many times larger than what they are drawn from and nothing here reads them, so only the member's own text is
 * parsed; of the rest, quotes and brackets have to close. */
typedef struct member {
    const char *text;
    size_t n_bytes;
    int n_found;
} member;

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static size_t skip_space(const char *text, size_t n, size_t i)
{
    while (i < n && is_space(text[i])) {
        i++;
    }
    return i;
}

/* Behind the closing quote of the text that begins at i; n where there is none. */
static size_t skip_quoted(const char *text, size_t n, size_t i)
{
    for (i++; i < n && text[i] != '"'; i++) {
        i += text[i] == '\\';
    }
    return i < n ? i + 1 : n;
}

/* Finds the values of the members `name` of the object that text holds; false if text is not one whole object. */
static bool find_member(const char *text, size_t n, const char *name, member *out)
{
    size_t i = skip_space(text, n, 0), name_bytes = strlen(name), value = 0;
    if (i == n || text[i] != '{') {
        return false;
    }
    int64_t depth = 1;
    bool names_next = true; /* a quoted text would be the name of a member */
    for (i++; i < n && depth > 0;) {
        size_t at = i;
        i = text[at] == '"' ? skip_quoted(text, n, at) : at + 1;
        if (depth == 1 && value != 0 && (text[at] == ',' || text[at] == '}')) {
            *out = (member){text + value, at - value, out->n_found + 1};
            value = 0;
        }
        if (text[at] == '"' && names_next) {
            size_t colon = skip_space(text, n, i);
            bool is_it = i - at == name_bytes + 2 && memcmp(text + at + 1, name, name_bytes) == 0;
            value = is_it && colon < n && text[colon] == ':' ? colon + 1 : 0;
        }
        depth += (text[at] == '{' || text[at] == '[') - (text[at] == '}' || text[at] == ']');
        names_next = is_space(text[at]) ? names_next : depth == 1 && text[at] == ',';
    }
    return depth == 0 && skip_space(text, n, i) == n;
}

static dsv4_status read_root(const char *file, const json_t *root, trace *t, dsv4_error *err)
{
    reading r = {.file = file, .t = t, .err = err, .values = root};
    reading_integer(&r, 0, "version", TRACE_VERSION, TRACE_VERSION);
    reading_graph(&r, root);
    reading_run(&r, root);
    if (r.status != DSV4_OK) {
        trace_deinit(t);
    }
    return r.status;
}

dsv4_status trace_read_memory(const char *name, const void *bytes, size_t n_bytes, trace *t, dsv4_error *err)
{
    json_error_t json_err;
    member found = {0};
    if (!find_member(bytes, n_bytes, "dsv4", &found)) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%.400s: cut off or no JSON object: got %zu bytes, expected a trace", name, n_bytes);
    }
    if (found.n_found != 1) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%.400s: got %d members \"dsv4\", expected one: a trace that dsv4 wrote", name,
                         found.n_found);
    }
    json_t *root = json_loadb(found.text, found.n_bytes, JSON_REJECT_DUPLICATES, &json_err);
    if (root == NULL && json_error_code(&json_err) == json_error_out_of_memory) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "%.400s: no memory to read the trace", name);
    }
    if (root == NULL) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%.400s: dsv4: no valid JSON: line %d, column %d of the member: %s", name,
                         json_err.line, json_err.column, json_err.text);
    }
    dsv4_status status = read_root(name, root, t, err);
    json_decref(root);
    return status;
}

/* ---- files ----------------------------------------------------------------------------------------------------------------- */

/* The whole file; freed by the caller. */
static dsv4_status load(const char *path, FILE *f, char **bytes, size_t *n_bytes, dsv4_error *err)
{
    struct stat info;
    if (fstat(fileno(f), &info) != 0 || !S_ISREG(info.st_mode) || info.st_size > MAX_FILE_BYTES) {
        return dsv4_fail(err, DSV4_E_IO, "%.400s: cannot read: expected a file of at most %d bytes", path, MAX_FILE_BYTES);
    }
    *bytes = memory_array((size_t)info.st_size, 1);
    if (*bytes == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "%.400s: no memory to read %lld bytes", path, (long long)info.st_size);
    }
    *n_bytes = fread(*bytes, 1, (size_t)info.st_size, f);
    return ferror(f) == 0 ? DSV4_OK : dsv4_fail(err, DSV4_E_IO, "%.400s: cannot read: %s", path, strerror(errno));
}

dsv4_status trace_read(const char *path, trace *t, dsv4_error *err)
{
    char *bytes = NULL;
    size_t n_bytes = 0;
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        return dsv4_fail(err, DSV4_E_IO, "%.400s: cannot read: %s", path, strerror(errno));
    }
    dsv4_status status = load(path, f, &bytes, &n_bytes, err);
    fclose(f);
    if (status == DSV4_OK) {
        status = trace_read_memory(path, bytes, n_bytes, t, err);
    }
    free(bytes);
    return status;
}
