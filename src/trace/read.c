#include <errno.h>
#include <float.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "trace/out.h"
#include "trace/reading.h"

enum { MAX_FILE_BYTES = 1 << 28 };

/* ---- errors ---------------------------------------------------------------------------------------------------------------- */

/* "dsv4.graph.views[3].rows" */
static void place_text(const reading *r, const char *name, char *text, size_t size)
{
    int n = snprintf(text, size, "dsv4");
    if (r->section != NULL) {
        n += snprintf(text + n, size - (size_t)n, ".%s", r->section);
    }
    if (r->table != NULL) {
        n += snprintf(text + n, size - (size_t)n, ".%s", r->table);
    }
    if (r->table != NULL && r->row >= 0) {
        n += snprintf(text + n, size - (size_t)n, "[%lld]", (long long)r->row);
    }
    if (name != NULL) {
        snprintf(text + n, size - (size_t)n, ".%s", name);
    }
}

void reading_fail(reading *r, const char *format, ...)
{
    char place[160], what[256];
    va_list arguments;
    if (r->status != DSV4_OK) {
        return;
    }
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    place_text(r, NULL, place, sizeof place);
    r->status = dsv4_fail(r->err, DSV4_E_FORMAT, "%.400s: %s: %s", r->file, place, what);
}

/* `value` may be NULL: not there. */
static void fail_value(reading *r, const char *name, const json_t *value, const char *expected)
{
    char place[160], got[48] = "nothing";
    if (r->status != DSV4_OK) {
        return;
    }
    if (json_is_object(value) || json_is_array(value)) {
        snprintf(got, sizeof got, "%s", json_is_object(value) ? "an object" : "an array");
    } else if (json_is_real(value)) {
        snprintf(got, sizeof got, "%g", json_real_value(value));
    } else if (value != NULL) {
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
        snprintf(got, sizeof got, "%s", text != NULL ? text : "?");
        free(text);
    }
    place_text(r, name, place, sizeof place);
    r->status = dsv4_fail(r->err, DSV4_E_FORMAT, "%.400s: %s: got %s, expected %s", r->file, place, got, expected);
}

static void no_memory(reading *r)
{
    if (r->status == DSV4_OK) {
        r->status = dsv4_fail(r->err, DSV4_E_NO_MEMORY, "%.400s: no memory to read the trace", r->file);
    }
}

/* ---- sections and tables --------------------------------------------------------------------------------------------------- */

bool reading_section(reading *r, const json_t *root, const char *section)
{
    if (r->status != DSV4_OK) {
        return false;
    }
    r->section = r->table = NULL;
    const json_t *object = json_object_get(root, section);
    if (!json_is_object(object)) {
        fail_value(r, section, object, "an object");
        return false;
    }
    r->section = section;
    r->values = object;
    return true;
}

const json_t *reading_table(reading *r, const json_t *root, const char *table, int64_t max, int64_t *n)
{
    char expected[64];
    if (r->status != DSV4_OK) {
        return NULL;
    }
    r->table = NULL;
    const json_t *rows = json_object_get(json_object_get(root, r->section), table);
    if (!json_is_array(rows) || (int64_t)json_array_size(rows) > max) {
        snprintf(expected, sizeof expected, "an array of at most %lld rows", (long long)max);
        fail_value(r, table, rows, expected);
        return NULL;
    }
    r->table = table;
    r->row = -1;
    *n = (int64_t)json_array_size(rows);
    return rows;
}

bool reading_row(reading *r, const json_t *rows, int64_t i, int64_t n_values)
{
    if (r->status != DSV4_OK) {
        return false;
    }
    r->row = i;
    r->values = json_array_get(rows, (size_t)i);
    if (!json_is_array(r->values)) {
        fail_value(r, NULL, r->values, "an array");
    } else if ((int64_t)json_array_size(r->values) != n_values) {
        reading_fail(r, "got %zu values, expected %lld", json_array_size(r->values), (long long)n_values);
    }
    return r->status == DSV4_OK;
}

/* ---- values ---------------------------------------------------------------------------------------------------------------- */

static const json_t *value_of(const reading *r, int i, const char *name)
{
    if (r->status != DSV4_OK) {
        return NULL;
    }
    return r->table == NULL ? json_object_get(r->values, name) : json_array_get(r->values, (size_t)i);
}

int64_t reading_integer(reading *r, int i, const char *name, int64_t low, int64_t high)
{
    char expected[80];
    const json_t *value = value_of(r, i, name);
    if (r->status == DSV4_OK && json_is_integer(value) && json_integer_value(value) >= low && json_integer_value(value) <= high) {
        return json_integer_value(value);
    }
    snprintf(expected, sizeof expected, "an integer from %lld to %lld", (long long)low, (long long)high);
    fail_value(r, name, value, expected);
    return 0;
}

double reading_number(reading *r, int i, const char *name, double low, double high)
{
    char expected[80];
    const json_t *value = value_of(r, i, name);
    if (r->status == DSV4_OK && json_is_number(value) && json_number_value(value) >= low && json_number_value(value) <= high) {
        return json_number_value(value) + 0.0; /* no negative zero: times are ordered by their bits */
    }
    snprintf(expected, sizeof expected, "a number from %g to %g", low, high);
    fail_value(r, name, value, expected);
    return 0;
}

bool reading_bool(reading *r, int i, const char *name)
{
    const json_t *value = value_of(r, i, name);
    if (!json_is_boolean(value)) {
        fail_value(r, name, value, "true or false");
    }
    return json_is_true(value);
}

const char *reading_text(reading *r, int i, const char *name)
{
    const json_t *value = value_of(r, i, name);
    if (!json_is_string(value)) {
        fail_value(r, name, value, "a text");
        return NULL;
    }
    const char *text = arena_copy_text(&r->t->memory, json_string_value(value));
    if (text == NULL) {
        no_memory(r);
    }
    return text;
}

int reading_word(reading *r, int i, const char *name, const char *const *words, int n_words)
{
    char expected[80];
    const json_t *value = value_of(r, i, name);
    int n = 0;
    for (int w = 0; w < n_words; w++) {
        if (json_is_string(value) && strcmp(json_string_value(value), words[w]) == 0) {
            return w;
        }
        n += snprintf(expected + n, sizeof expected - (size_t)n, "%s\"%s\"", w == 0 ? "" : " or ", words[w]);
    }
    fail_value(r, name, value, expected);
    return 0;
}

void *reading_array(reading *r, int64_t n, size_t item_bytes)
{
    void *items = r->status == DSV4_OK ? memory_zeroed_array((size_t)n, item_bytes) : NULL;
    if (items == NULL) {
        no_memory(r);
    }
    return items;
}

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
