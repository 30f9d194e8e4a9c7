/* safetensors_write.c - writes a file: the header padded with blanks to a multiple of 8 bytes, then the data, tensors of wider
 * elements first, so that every tensor is aligned to its dtype without gaps. */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "dsv4/safetensors.h"
#include "tensor/internal.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "data is written as it lies in memory, little-endian");

/* A tensor under its name in the file. */
typedef struct piece {
    char name[DSV4_NAME_BYTES];
    const dsv4_tensor *tensor;
    size_t rank; /* place among the parts */
} piece;

/* Wider elements first, then as given. */
static int compare_pieces(const void *left, const void *right)
{
    const piece *l = left, *r = right;
    const size_t l_bytes = dsv4_dtype_bytes(l->tensor->dtype), r_bytes = dsv4_dtype_bytes(r->tensor->dtype);
    if (l_bytes != r_bytes) {
        return l_bytes > r_bytes ? -1 : 1;
    }
    return l->rank < r->rank ? -1 : 1;
}

static dsv4_status name_piece(const char *path, const char *prefix, const char *name, piece *out, dsv4_error *err)
{
    const size_t length = strlen(prefix) + strlen(name);
    if (length == 0 || length >= DSV4_NAME_BYTES) {
        return dsv4_fail(err, DSV4_E_VALUE, "%s: tensor '%s%s': name of %zu bytes, expected 1 to %d", path, prefix, name, length,
                         DSV4_NAME_BYTES - 1);
    }
    strcpy(out->name, prefix);
    strcat(out->name, name);
    return DSV4_OK;
}

static dsv4_status collect_pieces(const char *path, const dsv4_safetensors_part *parts, size_t n_parts, piece *pieces,
                                  dsv4_error *err)
{
    size_t n = 0;
    for (size_t p = 0; p < n_parts; p++) {
        for (size_t i = 0; i < parts[p].list->n; i++) {
            const dsv4_named_tensor *item = &parts[p].list->items[i];
            const dsv4_status status = name_piece(path, parts[p].prefix, item->name, &pieces[n], err);
            if (status != DSV4_OK) {
                return status;
            }
            pieces[n].tensor = &item->tensor;
            pieces[n].rank = n;
            n++;
        }
    }
    qsort(pieces, n, sizeof *pieces, compare_pieces);
    return DSV4_OK;
}

/* Adds value, which it takes over, to object under a new key. what: "tensor" or "metadata". */
static dsv4_status add_json(const char *path, const char *what, json_t *object, const char *key, json_t *value, dsv4_error *err)
{
    if (json_object_get(object, key) != NULL) {
        json_decref(value);
        return dsv4_fail(err, DSV4_E_VALUE, "%s: %s '%s' given twice", path, what, key);
    }
    if (json_object_set_new(object, key, value) != 0) {
        return dsv4_fail(err, DSV4_E_VALUE, "%s: %s '%s' cannot be stored as JSON: not UTF-8, or out of memory", path, what, key);
    }
    return DSV4_OK;
}

static dsv4_status add_metadata(const char *path, json_t *header, const char *const (*metadata)[2], size_t n, dsv4_error *err)
{
    json_t *object = json_object();
    dsv4_status status = add_json(path, "metadata", header, "__metadata__", object, err);
    for (size_t i = 0; status == DSV4_OK && i < n; i++) {
        status = add_json(path, "metadata", object, metadata[i][0], json_string(metadata[i][1]), err);
    }
    return status;
}

/* {dtype, shape, data_offsets}; NULL without memory. */
static json_t *describe_tensor(const dsv4_tensor *t, size_t begin, size_t end)
{
    json_t *shape = json_array();
    for (int d = 0; d < t->n_dims; d++) {
        if (json_array_append_new(shape, json_integer(t->shape[d])) != 0) {
            json_decref(shape);
            return NULL;
        }
    }
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", dsv4_dtype_name(t->dtype), "shape", shape, "data_offsets", (json_int_t)begin,
                     (json_int_t)end);
}

static dsv4_status add_tensors(const char *path, json_t *header, const piece *pieces, size_t n, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    size_t begin = 0;
    for (size_t i = 0; status == DSV4_OK && i < n; i++) {
        const size_t end = begin + dsv4_tensor_bytes(pieces[i].tensor);
        status = strcmp(pieces[i].name, "__metadata__") == 0
                     ? dsv4_fail(err, DSV4_E_VALUE, "%s: tensor '__metadata__': the name is reserved", path)
                     : add_json(path, "tensor", header, pieces[i].name, describe_tensor(pieces[i].tensor, begin, end), err);
        begin = end;
    }
    return status;
}

/* The header's text; the caller frees it. */
static dsv4_status format_header(const char *path, const char *const (*metadata)[2], size_t n_metadata, const piece *pieces,
                                 size_t n_pieces, char **out, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    char *text = NULL;
    json_t *header = json_object();
    if (header == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "%s: no memory for the header", path);
    }
    if (n_metadata > 0) {
        status = add_metadata(path, header, metadata, n_metadata, err);
    }
    if (status == DSV4_OK) {
        status = add_tensors(path, header, pieces, n_pieces, err);
    }
    if (status == DSV4_OK && (text = json_dumps(header, JSON_COMPACT)) == NULL) {
        status = dsv4_fail(err, DSV4_E_NO_MEMORY, "%s: no memory for the header", path);
    }
    json_decref(header);
    *out = text;
    return status;
}

static void write_tensor(FILE *stream, const dsv4_tensor *t)
{
    const int64_t count = dsv4_tensor_count(t);
    if (count == 0) {
        return;
    }
    if (dsv4_tensor_is_contiguous(t)) {
        fwrite(t->data, 1, dsv4_tensor_bytes(t), stream);
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        fwrite(tensor_at(t, tensor_offset(t, i)), 1, dsv4_dtype_bytes(t->dtype), stream);
    }
}

static dsv4_status write_file(const char *path, const char *header, const piece *pieces, size_t n, dsv4_error *err)
{
    const size_t n_text = strlen(header);
    const uint64_t n_header = (n_text + 7) / 8 * 8;
    if (n_header > TENSOR_HEADER_BYTES_MAX) {
        return dsv4_fail(err, DSV4_E_VALUE, "%s: header of %" PRIu64 " bytes, at most %zu allowed", path, n_header,
                         TENSOR_HEADER_BYTES_MAX);
    }
    file_writer w;
    const dsv4_status status = file_writer_open(&w, path, err);
    if (status != DSV4_OK) {
        return status;
    }
    fwrite(&n_header, 1, sizeof n_header, w.stream);
    fprintf(w.stream, "%s%*s", header, (int)(n_header - n_text), "");
    for (size_t i = 0; i < n; i++) {
        write_tensor(w.stream, pieces[i].tensor);
    }
    return file_writer_commit(&w, err);
}

dsv4_status dsv4_safetensors_write(const char *path, const char *const (*metadata)[2], size_t n_metadata,
                                   const dsv4_safetensors_part *parts, size_t n_parts, dsv4_error *err)
{
    size_t n = 0;
    for (size_t p = 0; p < n_parts; p++) {
        n += parts[p].list->n;
    }
    char *header = NULL;
    piece *pieces = malloc((n + 1) * sizeof *pieces);
    if (pieces == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "%s: no memory for %zu tensors", path, n);
    }
    dsv4_status status = collect_pieces(path, parts, n_parts, pieces, err);
    if (status == DSV4_OK) {
        status = format_header(path, metadata, n_metadata, pieces, n, &header, err);
    }
    if (status == DSV4_OK) {
        status = write_file(path, header, pieces, n, err);
    }
    free(header);
    free(pieces);
    return status;
}
