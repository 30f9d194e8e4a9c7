#include "trace/reading.h"

#include <float.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"

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
