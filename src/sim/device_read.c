/* sim/device_read.c - a description from JSON. Every member is known, of its kind and in range, or the file is refused. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/fields.h"

enum { MAX_FILE_BYTES = 1 << 20, MAX_NAME_BYTES = 32, MAX_NOTE_BYTES = 4096, PATH_BYTES = 256 };

/* Where the reader is: the file, and the path of the object within it, for messages. */
typedef struct reader {
    const char *source;
    sim_device *device;
    dsv4_error *err;
} reader;

static dsv4_status fail(const reader *r, const char *path, const char *member, const char *expected)
{
    return dsv4_fail(r->err, DSV4_E_FORMAT, "%s: %s%s%s: expected %s", r->source, path, path[0] != '\0' ? "." : "", member,
                     expected);
}

/* ---- texts ----------------------------------------------------------------------------------------------------------------- */

static dsv4_status read_text(const reader *r, json_t *object, const char *path, const char *member, size_t most_bytes,
                             const char **out)
{
    json_t *value = json_object_get(object, member);
    if (!json_is_string(value) || json_string_length(value) == 0 || json_string_length(value) > most_bytes ||
        strlen(json_string_value(value)) != json_string_length(value)) {
        char expected[64];
        snprintf(expected, sizeof expected, "a text of 1 to %zu bytes", most_bytes);
        return fail(r, path, member, expected);
    }
    *out = arena_copy_text(&r->device->memory, json_string_value(value));
    return *out != NULL ? DSV4_OK : dsv4_fail(r->err, DSV4_E_NO_MEMORY, "%s: no memory for its names", r->source);
}

/* A name is part of the paths that sim_device_set takes. */
static dsv4_status read_name(const reader *r, json_t *object, const char *path, const char **out)
{
    dsv4_status status = read_text(r, object, path, "name", MAX_NAME_BYTES, out);
    if (status == DSV4_OK && strpbrk(*out, ".=") != NULL) {
        return fail(r, path, "name", "a text without \".\" and \"=\"");
    }
    return status;
}

/* ---- numbers --------------------------------------------------------------------------------------------------------------- */

static bool is_listed(const char *member, const sim_field *fields, const char *const *others)
{
    for (; fields != NULL && fields->name != NULL; fields++) {
        if (strcmp(fields->name, member) == 0) {
            return true;
        }
    }
    for (; *others != NULL; others++) {
        if (strcmp(*others, member) == 0) {
            return true;
        }
    }
    return false;
}

static dsv4_status check_object(const reader *r, json_t *value, const char *path, const sim_field *fields,
                                const char *const *others)
{
    const char *member;
    json_t *ignored;
    if (!json_is_object(value)) {
        return dsv4_fail(r->err, DSV4_E_FORMAT, "%s: %s: expected an object", r->source, path[0] != '\0' ? path : "the file");
    }
    json_object_foreach(value, member, ignored)
    {
        if (!is_listed(member, fields, others)) {
            return dsv4_fail(r->err, DSV4_E_FORMAT, "%s: %s%s\"%.40s\" is no member of a description", r->source, path,
                             path[0] != '\0' ? ": " : "", member);
        }
    }
    return DSV4_OK;
}

static dsv4_status read_field(const reader *r, json_t *object, const char *path, const sim_field *f, void *out)
{
    json_t *value = json_object_get(object, f->name);
    if (value == NULL && !f->required) {
        sim_field_put(f, out, f->absent);
        return DSV4_OK;
    }
    bool is_kind = f->type == SIM_BOOL  ? json_is_boolean(value)
                   : f->type == SIM_INT ? json_is_integer(value)
                                        : json_is_number(value);
    double number = f->type == SIM_BOOL ? (double)json_is_true(value) : json_number_value(value);
    if (is_kind && sim_field_put(f, out, number)) {
        return DSV4_OK;
    }
    char expected[96];
    if (f->type == SIM_BOOL) {
        snprintf(expected, sizeof expected, "true or false");
    } else {
        snprintf(expected, sizeof expected, "a %s from %g to %g", f->type == SIM_INT ? "whole number" : "number", f->low, f->high);
    }
    return fail(r, path, f->name, expected);
}

/* The numbers of an object, whose other members are `others`. */
static dsv4_status read_fields(const reader *r, json_t *object, const char *path, const sim_field *fields,
                               const char *const *others, void *out)
{
    dsv4_status status = check_object(r, object, path, fields, others);
    for (; fields->name != NULL && status == DSV4_OK; fields++) {
        status = read_field(r, object, path, fields, out);
    }
    return status;
}

/* ---- lists ----------------------------------------------------------------------------------------------------------------- */

typedef dsv4_status read_item_fn(const reader *r, json_t *value, const char *path, void *out);

/* items: most structures of item_bytes each, filled in the order of the file. */
static dsv4_status read_list(const reader *r, json_t *list, const char *path, int least, int most, read_item_fn *read_item,
                             void *items, size_t item_bytes, int *n)
{
    if (!json_is_array(list) || json_array_size(list) < (size_t)least || json_array_size(list) > (size_t)most) {
        return dsv4_fail(r->err, DSV4_E_FORMAT, "%s: %s: expected a list of %d to %d", r->source, path, least, most);
    }
    dsv4_status status = DSV4_OK;
    for (*n = 0; (size_t)*n < json_array_size(list) && status == DSV4_OK; ++*n) {
        char at[PATH_BYTES];
        snprintf(at, sizeof at, "%.200s[%d]", path, *n);
        status = read_item(r, json_array_get(list, (size_t)*n), at, (char *)items + (size_t)*n * item_bytes);
    }
    return status;
}

/* ---- cores ----------------------------------------------------------------------------------------------------------------- */

static const char *const no_others[] = {NULL};

static dsv4_status read_curve(const reader *r, json_t *points, const char *path, sim_curve *out)
{
    size_t n = json_array_size(points);
    if (!json_is_array(points) || n < 1 || n > SIM_MAX_POINTS) {
        return fail(r, path, "by_rows", "a list of 1 to 16 points [rows, share]");
    }
    for (size_t i = 0; i < n; i++) {
        json_t *point = json_array_get(points, i), *at = json_array_get(point, 0), *share = json_array_get(point, 1);
        if (json_array_size(point) != 2 || !json_is_number(at) || !json_is_number(share)) {
            return fail(r, path, "by_rows", "points [rows, share]");
        }
        out->at[i] = json_number_value(at);
        out->share[i] = json_number_value(share);
        bool ascends = i == 0 || out->at[i] > out->at[i - 1];
        if (!(out->at[i] >= 1 && out->at[i] <= 1e9 && ascends && out->share[i] >= 1e-6 && out->share[i] <= 1)) {
            return fail(r, path, "by_rows", "ascending rows from 1 to 1e9 with shares from 1e-6 to 1");
        }
    }
    out->n = (int)n;
    return DSV4_OK;
}

static dsv4_status read_rate(const reader *r, json_t *core, const char *core_path, const sim_rate_name *name, sim_rate *out)
{
    static const char *const others[] = {"by_rows", NULL};
    json_t *value = json_object_get(core, name->name), *curve = json_object_get(value, "by_rows");
    char path[PATH_BYTES];
    if (value == NULL) {
        return DSV4_OK;
    }
    snprintf(path, sizeof path, "%.200s.%s", core_path, name->name);
    dsv4_status status = read_fields(r, value, path, sim_rate_fields, others, out);
    return status == DSV4_OK && curve != NULL ? read_curve(r, curve, path, &out->by_rows) : status;
}

static dsv4_status read_buffer(const reader *r, json_t *value, const char *path, void *out)
{
    static const char *const others[] = {"name", "use", NULL};
    sim_buffer *b = out;
    dsv4_status status = read_fields(r, value, path, sim_buffer_fields, others, b);
    if (status == DSV4_OK) {
        status = read_name(r, value, path, &b->name);
    }
    const char *use = json_string_value(json_object_get(value, "use"));
    for (int i = 0; i < SIM_N_BUFFER_USES && use != NULL; i++) {
        if (strcmp(sim_buffer_use_names[i], use) == 0) {
            b->use = (sim_buffer_use)i;
            return status;
        }
    }
    return status == DSV4_OK ? fail(r, path, "use", "a, b, c, staging or vector") : status;
}

static dsv4_status read_core(const reader *r, json_t *value, const char *path, void *out)
{
    static const char *const others[] = {"name", "bf16", "i8", "vector", "buffers", NULL};
    sim_core_kind *c = out;
    dsv4_status status = read_fields(r, value, path, sim_core_fields, others, c);
    if (status == DSV4_OK) {
        status = read_name(r, value, path, &c->name);
    }
    for (const sim_rate_name *n = sim_rate_names; n->name != NULL && status == DSV4_OK; n++) {
        status = read_rate(r, value, path, n, (sim_rate *)((char *)out + n->offset));
    }
    json_t *buffers = json_object_get(value, "buffers");
    if (status == DSV4_OK && buffers != NULL) {
        char at[PATH_BYTES];
        snprintf(at, sizeof at, "%.200s.buffers", path);
        status = read_list(r, buffers, at, 0, SIM_MAX_BUFFERS, read_buffer, c->buffers, sizeof *c->buffers, &c->n_buffers);
    }
    return status;
}

/* ---- the whole ------------------------------------------------------------------------------------------------------------- */

static dsv4_status read_level(const reader *r, json_t *value, const char *path, void *out)
{
    static const char *const others[] = {"name", NULL};
    sim_level *l = out;
    dsv4_status status = read_fields(r, value, path, sim_level_fields, others, l);
    return status == DSV4_OK ? read_name(r, value, path, &l->name) : status;
}

static dsv4_status read_source(const reader *r, json_t *value, const char *path, void *out)
{
    if (!json_is_string(value) || json_string_length(value) > MAX_NOTE_BYTES) {
        return dsv4_fail(r->err, DSV4_E_FORMAT, "%s: %s: expected a text of at most %d bytes", r->source, path, MAX_NOTE_BYTES);
    }
    char *text = arena_copy_text(&r->device->memory, json_string_value(value));
    *(const char **)out = text;
    return text != NULL ? DSV4_OK : dsv4_fail(r->err, DSV4_E_NO_MEMORY, "%s: no memory for its sources", r->source);
}

/* Two kinds, levels or buffers of one name would be one path. */
static dsv4_status check_names(const reader *r, const char *path, const void *items, size_t item_bytes, int n)
{
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < i; j++) {
            const char *a, *b; /* the first member of each structure */
            memcpy(&a, (const char *)items + (size_t)i * item_bytes, sizeof a);
            memcpy(&b, (const char *)items + (size_t)j * item_bytes, sizeof b);
            if (strcmp(a, b) == 0) {
                return dsv4_fail(r->err, DSV4_E_FORMAT, "%s: %s: two are called \"%s\"", r->source, path, a);
            }
        }
    }
    return DSV4_OK;
}

static dsv4_status check_all_names(const reader *r)
{
    const sim_device *d = r->device;
    dsv4_status status = check_names(r, "levels", d->levels, sizeof *d->levels, d->n_levels);
    if (status == DSV4_OK) {
        status = check_names(r, "cores", d->cores, sizeof *d->cores, d->n_core_kinds);
    }
    for (int i = 0; i < d->n_core_kinds && status == DSV4_OK; i++) {
        status = check_names(r, "buffers", d->cores[i].buffers, sizeof *d->cores[i].buffers, d->cores[i].n_buffers);
    }
    return status;
}

static dsv4_status read_parts(const reader *r, json_t *root)
{
    sim_device *d = r->device;
    json_t *sources = json_object_get(root, "sources");
    dsv4_status status = read_text(r, root, "", "name", MAX_NAME_BYTES, &d->name);
    if (status == DSV4_OK && json_object_get(root, "note") != NULL) {
        status = read_text(r, root, "", "note", MAX_NOTE_BYTES, &d->note);
    }
    if (status == DSV4_OK && sources != NULL) {
        status = read_list(r, sources, "sources", 0, SIM_MAX_SOURCES, read_source, (void *)d->sources, sizeof *d->sources,
                           &d->n_sources);
    }
    if (status == DSV4_OK) {
        status = read_list(r, json_object_get(root, "cores"), "cores", 1, SIM_MAX_CORE_KINDS, read_core, d->cores, sizeof *d->cores,
                           &d->n_core_kinds);
    }
    if (status == DSV4_OK) {
        status = read_list(r, json_object_get(root, "levels"), "levels", 1, SIM_MAX_LEVELS, read_level, d->levels,
                           sizeof *d->levels, &d->n_levels);
    }
    return status == DSV4_OK
               ? read_fields(r, json_object_get(root, "schedule"), "schedule", sim_schedule_fields, no_others, &d->schedule)
               : status;
}

dsv4_status sim_device_parse(const char *source, const char *text, size_t n_bytes, sim_device *d, dsv4_error *err)
{
    static const char *const others[] = {"name", "note", "sources", "cores", "levels", "schedule", NULL};
    json_error_t json_error;
    json_t *root = json_loadb(text, n_bytes, JSON_REJECT_DUPLICATES, &json_error);
    if (root == NULL) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%s: line %d: %s", source, json_error.line, json_error.text);
    }
    reader r = {source, d, err};
    dsv4_status status = read_fields(&r, root, "", sim_device_fields, others, d);
    if (status == DSV4_OK) {
        status = read_parts(&r, root);
    }
    if (status == DSV4_OK) {
        status = check_all_names(&r);
    }
    json_decref(root);
    return status == DSV4_OK ? sim_device_check(d, source, err) : status;
}

dsv4_status sim_device_read(const char *path, sim_device *d, dsv4_error *err)
{
    FILE *file = fopen(path, "rb");
    char *text = file == NULL ? NULL : malloc(MAX_FILE_BYTES + 1);
    if (text == NULL) {
        dsv4_status status = file == NULL ? dsv4_fail(err, DSV4_E_IO, "%s: cannot open: %s", path, strerror(errno))
                                          : dsv4_fail(err, DSV4_E_NO_MEMORY, "%s: no memory to read it", path);
        if (file != NULL) {
            fclose(file);
        }
        return status;
    }
    size_t n = fread(text, 1, MAX_FILE_BYTES + 1, file);
    dsv4_status status = DSV4_OK;
    if (ferror(file)) {
        status = dsv4_fail(err, DSV4_E_IO, "%s: cannot read: %s", path, strerror(errno));
    } else if (n > MAX_FILE_BYTES) {
        status = dsv4_fail(err, DSV4_E_FORMAT, "%s: is larger than %d bytes, too large for a description of a device", path,
                           MAX_FILE_BYTES);
    }
    fclose(file);
    if (status == DSV4_OK) {
        status = sim_device_parse(path, text, n, d, err);
    }
    free(text);
    return status;
}
