/* ops/tile_table_read.c - a tile table from untrusted bytes. Every member of the format must be there, and no other. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ops/tile_table.h"

static const char format_name[] = "dsv4 tiles";
enum { FORMAT_VERSION = 1 };

/* Where in the file a message points to. */
typedef struct reader {
    const char *source, *cpu;
    size_t entry;
    dsv4_error *err;
} reader;

static dsv4_status refuse(const reader *r, dsv4_status status, const char *member, const char *expected)
{
    return dsv4_fail(r->err, status, "%.200s: tile table: entry %zu of \"%.60s\": member %.40s: expected %s", r->source, r->entry,
                     r->cpu, member, expected);
}

/* Text of 1 .. size - 1 bytes. */
static dsv4_status read_text(const reader *r, const json_t *entry, const char *member, char *out, size_t size)
{
    const json_t *value = json_object_get(entry, member);
    size_t n = json_string_length(value);
    if (!json_is_string(value) || n == 0 || n >= size) {
        char expected[64];
        snprintf(expected, sizeof expected, "a text of 1 to %zu bytes", size - 1);
        return refuse(r, DSV4_E_FORMAT, member, expected);
    }
    memcpy(out, json_string_value(value), n + 1);
    return DSV4_OK;
}

static dsv4_status read_count(const reader *r, const json_t *object, const char *member, int64_t *out)
{
    const json_t *value = json_object_get(object, member);
    if (!json_is_integer(value) || json_integer_value(value) < 1 || json_integer_value(value) > INT32_MAX) {
        return refuse(r, DSV4_E_VALUE, member, "a whole number from 1 to 2147483647");
    }
    *out = json_integer_value(value);
    return DSV4_OK;
}

static dsv4_status read_seconds(const reader *r, const json_t *entry, const char *member, double *out)
{
    const json_t *value = json_object_get(entry, member);
    double seconds = json_number_value(value);
    if (!json_is_number(value) || !(seconds > 0) || !isfinite(seconds)) {
        return refuse(r, DSV4_E_VALUE, member, "seconds above 0");
    }
    *out = seconds;
    return DSV4_OK;
}

static dsv4_status read_mode(const reader *r, const json_t *entry, dsv4_mode *out)
{
    char word[16];
    dsv4_status status = read_text(r, entry, "mode", word, sizeof word);
    if (status == DSV4_OK && strcmp(word, "decode") != 0 && strcmp(word, "prefill") != 0) {
        status = refuse(r, DSV4_E_VALUE, "mode", "decode or prefill");
    }
    *out = status == DSV4_OK && word[0] == 'p' ? DSV4_PREFILL : DSV4_DECODE;
    return status;
}

static dsv4_status read_tiles(const reader *r, const json_t *entry, op_tile_entry *out)
{
    json_t *tiles = json_object_get(entry, "tiles");
    if (!json_is_object(tiles) || json_object_size(tiles) > OP_MAX_TILES) {
        return refuse(r, DSV4_E_FORMAT, "tiles", "an object with no more tiles than an operator has");
    }
    dsv4_status status = DSV4_OK;
    for (void *i = json_object_iter(tiles); i != NULL && status == DSV4_OK; i = json_object_iter_next(tiles, i)) {
        const char *name = json_object_iter_key(i);
        op_tile_value *tile = &out->tiles[out->n_tiles++];
        if (strlen(name) == 0 || strlen(name) >= sizeof tile->name) {
            return refuse(r, DSV4_E_FORMAT, "tiles", "names of 1 to 31 bytes");
        }
        memcpy(tile->name, name, strlen(name) + 1);
        status = read_count(r, tiles, name, &tile->value);
    }
    return status;
}

static dsv4_status read_entry(const reader *r, const json_t *entry, op_tile_entry *out)
{
    enum { N_MEMBERS = 10 };
    op_tile_entry e = {0};
    snprintf(e.cpu, sizeof e.cpu, "%s", r->cpu);
    dsv4_status status = json_is_object(entry) && json_object_size(entry) <= N_MEMBERS
                             ? DSV4_OK
                             : refuse(r, DSV4_E_FORMAT, "(entry)", "an object with the 10 members of the format");
    const struct {
        const char *member;
        char *out;
        size_t size;
    } texts[] = {{"op", e.key.op, sizeof e.key.op},
                 {"dims", e.key.dims, sizeof e.key.dims},
                 {"isa", e.key.isa, sizeof e.key.isa},
                 {"commit", e.commit, sizeof e.commit}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts && status == DSV4_OK; i++) {
        status = read_text(r, entry, texts[i].member, texts[i].out, texts[i].size);
    }
    status = status == DSV4_OK ? read_mode(r, entry, &e.key.mode) : status;
    status = status == DSV4_OK ? read_count(r, entry, "tokens", &e.key.tokens) : status;
    status = status == DSV4_OK ? read_count(r, entry, "threads", &e.key.n_threads) : status;
    status = status == DSV4_OK ? read_seconds(r, entry, "default_s", &e.default_s) : status;
    status = status == DSV4_OK ? read_seconds(r, entry, "chosen_s", &e.chosen_s) : status;
    status = status == DSV4_OK ? read_tiles(r, entry, &e) : status;
    *out = e;
    return status;
}

static dsv4_status read_cpu(reader *r, const json_t *list, op_tile_table *out)
{
    if (!json_is_array(list) || strlen(r->cpu) == 0 || strlen(r->cpu) >= sizeof out->entries->cpu) {
        return dsv4_fail(r->err, DSV4_E_FORMAT, "%.200s: tile table: cpus: \"%.60s\": expected a name of 1 to %zu bytes and a list",
                         r->source, r->cpu, sizeof out->entries->cpu - 1);
    }
    dsv4_status status = DSV4_OK;
    for (r->entry = 0; r->entry < json_array_size(list) && status == DSV4_OK; r->entry++) {
        op_tile_entry e;
        status = read_entry(r, json_array_get(list, r->entry), &e);
        if (status == DSV4_OK && op_tile_table_find(out, e.cpu, &e.key) != NULL) {
            status = refuse(r, DSV4_E_VALUE, "(entry)", "calls that no entry before it is for");
        }
        status = status == DSV4_OK ? op_tile_table_put(out, &e, r->err) : status;
    }
    return status;
}

static dsv4_status read_root(reader *r, const json_t *root, op_tile_table *out)
{
    const char *format = json_string_value(json_object_get(root, "format"));
    json_t *cpus = json_object_get(root, "cpus");
    if (format == NULL || strcmp(format, format_name) != 0) {
        return dsv4_fail(r->err, DSV4_E_FORMAT, "%.200s: no tile table: member format: expected \"%s\"", r->source, format_name);
    }
    if (json_integer_value(json_object_get(root, "version")) != FORMAT_VERSION || json_object_size(root) > 3) {
        return dsv4_fail(r->err, DSV4_E_FORMAT, "%.200s: tile table: expected version %d and its members", r->source,
                         FORMAT_VERSION);
    }
    if (!json_is_object(cpus)) {
        return dsv4_fail(r->err, DSV4_E_FORMAT, "%.200s: tile table: member cpus: expected an object", r->source);
    }
    dsv4_status status = DSV4_OK;
    for (void *i = json_object_iter(cpus); i != NULL && status == DSV4_OK; i = json_object_iter_next(cpus, i)) {
        r->cpu = json_object_iter_key(i);
        status = read_cpu(r, json_object_iter_value(i), out);
    }
    return status;
}

dsv4_status op_tile_table_parse(const char *source, const char *json, size_t n_bytes, op_tile_table *out, dsv4_error *err)
{
    json_error_t at;
    op_tile_table t = {0};
    reader r = {.source = source, .cpu = "", .err = err};
    json_t *root = n_bytes > OP_MAX_TILE_TABLE_BYTES ? NULL : json_loadb(json, n_bytes, JSON_REJECT_DUPLICATES, &at);
    if (root == NULL && n_bytes > OP_MAX_TILE_TABLE_BYTES) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%.200s: tile table: more than %d bytes", source, (int)OP_MAX_TILE_TABLE_BYTES);
    }
    if (root == NULL) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%.200s: tile table: no valid JSON: line %d, column %d: %s", source, at.line,
                         at.column, at.text);
    }
    dsv4_status status = read_root(&r, root, &t);
    json_decref(root);
    if (status != DSV4_OK) {
        op_tile_table_deinit(&t);
        return status;
    }
    *out = t;
    return DSV4_OK;
}

/* NULL and an error where it is no regular file: a pipe would let the program wait. */
static FILE *open_regular(const char *path, dsv4_error *err)
{
    struct stat info = {0};
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC), code = errno;
    if (fd < 0) {
        bool missing = code == ENOENT || code == ENOTDIR;
        dsv4_fail(err, missing ? DSV4_E_NOT_FOUND : DSV4_E_IO, "%.400s: cannot open: %s", path, strerror(code));
        return NULL;
    }
    bool regular = fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
    FILE *f = regular ? fdopen(fd, "rb") : NULL;
    if (f == NULL) {
        dsv4_fail(err, DSV4_E_IO, "%.400s: %s", path, regular ? "cannot open" : "not a regular file");
        close(fd);
    }
    return f;
}

dsv4_status op_tile_table_read(const char *path, op_tile_table *out, dsv4_error *err)
{
    size_t size = OP_MAX_TILE_TABLE_BYTES + 1;
    dsv4_error at_fault = {0};
    FILE *f = open_regular(path, &at_fault);
    if (f == NULL) {
        return dsv4_fail(err, at_fault.status, "%s", at_fault.text);
    }
    char *bytes = malloc(size);
    dsv4_status status = bytes == NULL ? dsv4_fail(err, DSV4_E_NO_MEMORY, "%.400s: no memory for it", path) : DSV4_OK;
    size_t n = status == DSV4_OK ? fread(bytes, 1, size, f) : 0;
    if (status == DSV4_OK && ferror(f)) {
        status = dsv4_fail(err, DSV4_E_IO, "%.400s: cannot read", path);
    }
    fclose(f);
    status = status == DSV4_OK ? op_tile_table_parse(path, bytes, n, out, err) : status;
    free(bytes);
    return status;
}
