/* safetensors_read.c - maps a file, checks its header, and hands out views of its data. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dsv4/safetensors.h"
#include "tensor/internal.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "data is used as it lies in the file, little-endian");

struct dsv4_safetensors {
    char *name;
    void *map; /* NULL when the bytes are the caller's */
    size_t map_bytes;
    json_t *metadata; /* object of texts, or NULL */
    dsv4_tensor_list tensors;
};

/* The file being checked: what messages start with, and its data. */
typedef struct source {
    const char *name;
    const unsigned char *data;
    size_t data_bytes;
} source;

/* One tensor of the header. */
typedef struct entry {
    const char *name;
    dsv4_tensor tensor;
    size_t begin, end; /* bytes of the data */
    size_t rank;       /* place in the header */
} entry;

static const char *json_kind(const json_t *value)
{
    static const char *const kinds[] = {
        [JSON_OBJECT] = "an object", [JSON_ARRAY] = "an array", [JSON_STRING] = "a text", [JSON_INTEGER] = "an integer",
        [JSON_REAL] = "a real",      [JSON_TRUE] = "true",      [JSON_FALSE] = "false",   [JSON_NULL] = "null",
    };
    return value == NULL ? "nothing" : kinds[json_typeof(value)];
}

static dsv4_status parse_dtype(const source *src, const char *name, const json_t *value, dsv4_dtype *out, dsv4_error *err)
{
    if (!json_is_string(value)) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%s: tensor '%s': dtype is %s, expected a text", src->name, name, json_kind(value));
    }
    const char *text = json_string_value(value);
    for (dsv4_dtype dtype = 0; dtype < DSV4_N_DTYPES; dtype++) {
        if (strcmp(text, dsv4_dtype_name(dtype)) == 0) {
            *out = dtype;
            return DSV4_OK;
        }
    }
#define DTYPE_NAME(code, dtype_name, bytes) " " dtype_name
    return dsv4_fail(err, DSV4_E_FORMAT, "%s: tensor '%s': dtype '%.40s' unknown, expected one of" DSV4_DTYPE_LIST(DTYPE_NAME),
                     src->name, name, text);
#undef DTYPE_NAME
}

static dsv4_status parse_shape(const source *src, const char *name, const json_t *value, int *n_dims, int64_t shape[DSV4_MAX_DIMS],
                               dsv4_error *err)
{
    if (!json_is_array(value)) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%s: tensor '%s': shape is %s, expected an array", src->name, name, json_kind(value));
    }
    const size_t n = json_array_size(value);
    if (n > DSV4_MAX_DIMS) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%s: tensor '%s': %zu dimensions, at most %d allowed", src->name, name, n,
                         DSV4_MAX_DIMS);
    }
    for (size_t d = 0; d < n; d++) {
        const json_t *extent = json_array_get(value, d);
        if (!json_is_integer(extent)) {
            return dsv4_fail(err, DSV4_E_FORMAT, "%s: tensor '%s': shape[%zu] is %s, expected an integer", src->name, name, d,
                             json_kind(extent));
        }
        shape[d] = json_integer_value(extent);
        if (shape[d] < 0) {
            return dsv4_fail(err, DSV4_E_FORMAT, "%s: tensor '%s': shape[%zu] is %" PRId64 ", expected at least 0", src->name, name,
                             d, shape[d]);
        }
    }
    *n_dims = (int)n;
    return DSV4_OK;
}

static dsv4_status parse_offsets(const source *src, const char *name, const json_t *value, size_t *begin, size_t *end,
                                 dsv4_error *err)
{
    if (!json_is_array(value) || json_array_size(value) != 2) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%s: tensor '%s': data_offsets is %s, expected an array of 2 integers", src->name,
                         name, json_is_array(value) ? "an array of another size" : json_kind(value));
    }
    const json_t *first = json_array_get(value, 0), *last = json_array_get(value, 1);
    if (!json_is_integer(first) || !json_is_integer(last)) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%s: tensor '%s': data_offsets holds %s, expected integers", src->name, name,
                         json_kind(json_is_integer(first) ? last : first));
    }
    const int64_t a = json_integer_value(first), b = json_integer_value(last);
    if (a < 0 || b < a || (uint64_t)b > src->data_bytes) {
        return dsv4_fail(err, DSV4_E_FORMAT,
                         "%s: tensor '%s': data_offsets [%" PRId64 ", %" PRId64 ") not within the %zu data bytes of the file",
                         src->name, name, a, b, src->data_bytes);
    }
    *begin = (size_t)a;
    *end = (size_t)b;
    return DSV4_OK;
}

static dsv4_status check_name(const source *src, const char *name, dsv4_error *err)
{
    const size_t length = strlen(name);
    if (length == 0) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%s: a tensor has an empty name", src->name);
    }
    if (length >= DSV4_NAME_BYTES) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%s: tensor '%.40s...': name of %zu bytes, at most %d allowed", src->name, name,
                         length, DSV4_NAME_BYTES - 1);
    }
    return DSV4_OK;
}

static dsv4_status parse_entry(const source *src, const char *name, const json_t *value, entry *out, dsv4_error *err)
{
    entry e = {.name = name};
    int64_t shape[DSV4_MAX_DIMS] = {0};
    size_t n_bytes = 0;
    dsv4_status status = check_name(src, name, err);
    if (status != DSV4_OK) {
        return status;
    }
    if (!json_is_object(value)) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%s: tensor '%s' is %s, expected an object", src->name, name, json_kind(value));
    }
    if ((status = parse_dtype(src, name, json_object_get(value, "dtype"), &e.tensor.dtype, err)) != DSV4_OK ||
        (status = parse_shape(src, name, json_object_get(value, "shape"), &e.tensor.n_dims, shape, err)) != DSV4_OK ||
        (status = parse_offsets(src, name, json_object_get(value, "data_offsets"), &e.begin, &e.end, err)) != DSV4_OK) {
        return status;
    }
    if (!tensor_shape_bytes(e.tensor.dtype, e.tensor.n_dims, shape, &n_bytes)) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%s: tensor '%s': the size of its shape overflows", src->name, name);
    }
    if (e.end - e.begin != n_bytes) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%s: tensor '%s': data_offsets span %zu bytes, dtype and shape need %zu", src->name,
                         name, e.end - e.begin, n_bytes);
    }
    void *data = (void *)(uintptr_t)(src->data + e.begin); /* writable in type only: dsv4_tensor has one pointer for both */
    e.tensor = dsv4_tensor_make(e.tensor.dtype, e.tensor.n_dims, shape, data);
    *out = e;
    return DSV4_OK;
}

/* Data order; empty tensors before the one that starts where they lie, then as in the header. */
static int compare_entries(const void *left, const void *right)
{
    const entry *l = left, *r = right;
    if (l->begin != r->begin) {
        return l->begin < r->begin ? -1 : 1;
    }
    if (l->end != r->end) {
        return l->end < r->end ? -1 : 1;
    }
    return l->rank < r->rank ? -1 : 1;
}

/* Sorted entries must follow each other without overlap or gap, from the first data byte to the last. */
static dsv4_status check_cover(const source *src, const entry *entries, size_t n, dsv4_error *err)
{
    size_t covered = 0;
    for (size_t i = 0; i < n; i++) {
        const entry *e = &entries[i];
        if (e->begin < covered) {
            return dsv4_fail(err, DSV4_E_FORMAT, "%s: tensor '%s' [%zu, %zu) overlaps tensor '%s' [%zu, %zu)", src->name, e->name,
                             e->begin, e->end, entries[i - 1].name, entries[i - 1].begin, entries[i - 1].end);
        }
        if (e->begin > covered) {
            return dsv4_fail(err, DSV4_E_FORMAT, "%s: data bytes [%zu, %zu) before tensor '%s' belong to no tensor", src->name,
                             covered, e->begin, e->name);
        }
        covered = e->end;
    }
    if (covered != src->data_bytes) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%s: data bytes [%zu, %zu) after the last tensor belong to no tensor", src->name,
                         covered, src->data_bytes);
    }
    return DSV4_OK;
}

static dsv4_status check_metadata(const source *src, json_t *metadata, dsv4_error *err)
{
    if (!json_is_object(metadata)) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%s: __metadata__ is %s, expected an object", src->name, json_kind(metadata));
    }
    const char *key;
    json_t *value;
    json_object_foreach(metadata, key, value)
    {
        if (!json_is_string(value)) {
            return dsv4_fail(err, DSV4_E_FORMAT, "%s: __metadata__ '%.80s' is %s, expected a text", src->name, key,
                             json_kind(value));
        }
    }
    return DSV4_OK;
}

/* Fills entries, one per tensor of the header, in data order. */
static dsv4_status parse_entries(const source *src, json_t *header, entry *entries, size_t *n_entries, dsv4_error *err)
{
    size_t n = 0;
    const char *name;
    json_t *value;
    json_object_foreach(header, name, value)
    {
        if (strcmp(name, "__metadata__") == 0) {
            continue;
        }
        const dsv4_status status = parse_entry(src, name, value, &entries[n], err);
        if (status != DSV4_OK) {
            return status;
        }
        entries[n].rank = n;
        n++;
    }
    qsort(entries, n, sizeof *entries, compare_entries);
    *n_entries = n;
    return check_cover(src, entries, n, err);
}

static dsv4_status list_tensors(const source *src, json_t *header, dsv4_tensor_list *tensors, dsv4_error *err)
{
    size_t n = 0;
    entry *entries = malloc((json_object_size(header) + 1) * sizeof *entries);
    if (entries == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "%s: no memory for %zu tensors", src->name, json_object_size(header));
    }
    dsv4_status status = parse_entries(src, header, entries, &n, err);
    for (size_t i = 0; status == DSV4_OK && i < n; i++) {
        status = dsv4_tensor_list_put(tensors, entries[i].name, &entries[i].tensor, err);
    }
    free(entries);
    return status;
}

/* Splits bytes into the header, parsed, and the data. The caller releases *header. */
static dsv4_status parse_header(const char *name, const unsigned char *bytes, size_t n_bytes, source *src, json_t **header,
                                dsv4_error *err)
{
    uint64_t header_bytes;
    if (n_bytes < sizeof header_bytes) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%s: %zu bytes, too short for a header length of 8", name, n_bytes);
    }
    memcpy(&header_bytes, bytes, sizeof header_bytes);
    if (header_bytes > TENSOR_HEADER_BYTES_MAX) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%s: header of %" PRIu64 " bytes, at most %zu allowed", name, header_bytes,
                         TENSOR_HEADER_BYTES_MAX);
    }
    if (header_bytes > n_bytes - sizeof header_bytes) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%s: header of %" PRIu64 " bytes, but only %zu follow its length", name, header_bytes,
                         n_bytes - sizeof header_bytes);
    }
    const unsigned char *text = bytes + sizeof header_bytes;
    if (header_bytes == 0 || text[0] != '{') {
        return dsv4_fail(err, DSV4_E_FORMAT, "%s: header is not a JSON object", name);
    }
    json_error_t error;
    *header = json_loadb((const char *)text, (size_t)header_bytes, JSON_REJECT_DUPLICATES, &error);
    if (*header == NULL) {
        return dsv4_fail(err, json_error_code(&error) == json_error_out_of_memory ? DSV4_E_NO_MEMORY : DSV4_E_FORMAT,
                         "%s: header byte %d: %s", name, error.position, error.text);
    }
    *src = (source){name, text + header_bytes, n_bytes - sizeof header_bytes - (size_t)header_bytes};
    return DSV4_OK;
}

static dsv4_status parse_file(dsv4_safetensors *st, const unsigned char *bytes, size_t n_bytes, dsv4_error *err)
{
    source src = {0};
    json_t *header = NULL;
    dsv4_status status = parse_header(st->name, bytes, n_bytes, &src, &header, err);
    if (status != DSV4_OK) {
        return status;
    }
    st->metadata = json_incref(json_object_get(header, "__metadata__"));
    if (st->metadata != NULL) {
        status = check_metadata(&src, st->metadata, err);
    }
    if (status == DSV4_OK) {
        status = list_tensors(&src, header, &st->tensors, err);
    }
    json_decref(header);
    return status;
}

dsv4_status dsv4_safetensors_open_memory(const char *name, const void *bytes, size_t n_bytes, dsv4_safetensors **out,
                                         dsv4_error *err)
{
    dsv4_status status = DSV4_E_NO_MEMORY;
    dsv4_safetensors *st = calloc(1, sizeof *st);
    if (st == NULL || (st->name = strdup(name)) == NULL) {
        dsv4_fail(err, status, "%s: no memory for a reader", name);
        goto fail;
    }
    status = parse_file(st, bytes, n_bytes, err);
    if (status != DSV4_OK) {
        goto fail;
    }
    *out = st;
    return DSV4_OK;
fail:
    dsv4_safetensors_close(st);
    return status;
}

/* Maps a whole regular file read-only. An empty file has map NULL and 0 bytes. */
static dsv4_status map_file(const char *path, void **map, size_t *n_bytes, dsv4_error *err)
{
    dsv4_status status = DSV4_E_IO;
    struct stat info;
    void *bytes = NULL;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* not to wait for the writer of a pipe */
    if (fd < 0) {
        return dsv4_fail(err, DSV4_E_IO, "%s: cannot open: %s", path, strerror(errno));
    }
    if (fstat(fd, &info) != 0) {
        dsv4_fail(err, status, "%s: cannot stat: %s", path, strerror(errno));
        goto done;
    }
    if (!S_ISREG(info.st_mode)) {
        dsv4_fail(err, status, "%s: not a regular file", path);
        goto done;
    }
    if (info.st_size > 0) {
        bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    }
    if (bytes == MAP_FAILED) {
        dsv4_fail(err, status, "%s: cannot map %jd bytes: %s", path, (intmax_t)info.st_size, strerror(errno));
        goto done;
    }
    *map = bytes;
    *n_bytes = (size_t)info.st_size;
    status = DSV4_OK;
done:
    close(fd);
    return status;
}

static void unmap(void *map, size_t n_bytes)
{
    if (map != NULL) {
        munmap(map, n_bytes);
    }
}

dsv4_status dsv4_safetensors_open(const char *path, dsv4_safetensors **out, dsv4_error *err)
{
    void *map = NULL;
    size_t n_bytes = 0;
    dsv4_status status = map_file(path, &map, &n_bytes, err);
    if (status != DSV4_OK) {
        return status;
    }
    status = dsv4_safetensors_open_memory(path, map, n_bytes, out, err);
    if (status != DSV4_OK) {
        unmap(map, n_bytes);
        return status;
    }
    (*out)->map = map;
    (*out)->map_bytes = n_bytes;
    return DSV4_OK;
}

void dsv4_safetensors_close(dsv4_safetensors *st)
{
    if (st == NULL) {
        return;
    }
    dsv4_tensor_list_deinit(&st->tensors);
    json_decref(st->metadata);
    unmap(st->map, st->map_bytes);
    free(st->name);
    free(st);
}

const char *dsv4_safetensors_name(const dsv4_safetensors *st)
{
    return st->name;
}

const dsv4_tensor_list *dsv4_safetensors_tensors(const dsv4_safetensors *st)
{
    return &st->tensors;
}

const char *dsv4_safetensors_metadata(const dsv4_safetensors *st, const char *key)
{
    return json_string_value(json_object_get(st->metadata, key));
}

static bool is_floating(dsv4_dtype dtype)
{
    return dtype == DSV4_F32 || dtype == DSV4_F16 || dtype == DSV4_BF16 || dtype == DSV4_F8_E4M3 || dtype == DSV4_F8_E8M0;
}

/* Row-major index of the first NaN, or -1. t is contiguous. */
static int64_t find_nan(const dsv4_tensor *t)
{
    const int64_t n = is_floating(t->dtype) ? dsv4_tensor_count(t) : 0;
    for (int64_t i = 0; i < n; i++) {
        const double value = tensor_value(t, i);
        if (value != value) {
            return i;
        }
    }
    return -1;
}

static dsv4_status load_tensor(const char *file, const dsv4_named_tensor *item, const char *name, dsv4_tensor_list *list,
                               dsv4_error *err)
{
    const dsv4_tensor *t = &item->tensor;
    const int64_t nan_at = find_nan(t);
    if (nan_at >= 0) {
        return dsv4_fail(err, DSV4_E_VALUE, "%s: tensor '%s': element %" PRId64 " is NaN, expected numbers", file, item->name,
                         nan_at);
    }
    dsv4_tensor copy;
    const dsv4_status status = dsv4_tensor_list_alloc(list, name, t->dtype, t->n_dims, t->shape, &copy, err);
    if (status == DSV4_OK) {
        memcpy(copy.data, t->data, dsv4_tensor_bytes(t));
    }
    return status;
}

dsv4_status dsv4_safetensors_load(const dsv4_safetensors *st, const char *prefix, dsv4_tensor_list *list, dsv4_error *err)
{
    const size_t n_before = list->n, n_prefix = strlen(prefix);
    for (size_t i = 0; i < st->tensors.n; i++) {
        const dsv4_named_tensor *item = &st->tensors.items[i];
        if (strncmp(item->name, prefix, n_prefix) != 0) {
            continue;
        }
        const dsv4_status status = load_tensor(st->name, item, item->name + n_prefix, list, err);
        if (status != DSV4_OK) {
            tensor_list_truncate(list, n_before);
            return status;
        }
    }
    return DSV4_OK;
}
