#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checksum.h"
#include "base/file.h"
#include "base/memory.h"
#include "model/kv_saved.h"

typedef struct saved_stream {
    FILE *file;
    uint32_t crc;
    size_t elem;
    bool is_finite;
} saved_stream;

static bool write_bytes(void *context, void *bytes, size_t n_bytes, bool is_row)
{
    (void)is_row;
    saved_stream *s = context;
    s->crc = checksum_add(s->crc, bytes, n_bytes);
    return fwrite(bytes, 1, n_bytes, s->file) == n_bytes;
}

dsv4_status model_sequence_save(const model_kv *kv, const model_sequence *s, const char *model, const int32_t *tokens,
                                const char *path, dsv4_error *err)
{
    saved_header header;
    file_writer w;
    dsv4_status status = saved_header_make(kv, s, model, &header, err);
    if (status == DSV4_OK) {
        status = file_writer_open(&w, path, err);
    }
    if (status != DSV4_OK) {
        return status;
    }
    saved_stream stream = {.file = w.stream};
    bool is_written = write_bytes(&stream, &header, sizeof header, false);
    for (int64_t i = 0; i < s->length && is_written; i++) {
        int32_t token = tokens[i];
        is_written = write_bytes(&stream, &token, sizeof token, false);
    }
    is_written = is_written && saved_walk(kv, s, write_bytes, &stream);
    const uint32_t crc = stream.crc;
    if (is_written) {
        fwrite(&crc, sizeof crc, 1, w.stream);
    }
    return file_writer_commit(&w, err);
}

static bool are_finite(const void *bytes, size_t n_bytes, size_t elem)
{
    const uint32_t exponent = elem == 2 ? 0x7f80u : 0x7f800000u;
    for (size_t i = 0; i < n_bytes; i += elem) {
        uint32_t bits = 0;
        memcpy(&bits, (const char *)bytes + i, elem);
        if ((bits & exponent) == exponent) {
            return false;
        }
    }
    return true;
}

static bool read_bytes(saved_stream *s, void *bytes, size_t n_bytes)
{
    if (fread(bytes, 1, n_bytes, s->file) != n_bytes) {
        return false;
    }
    s->crc = checksum_add(s->crc, bytes, n_bytes);
    return true;
}

static bool read_values(void *context, void *bytes, size_t n_bytes, bool is_row)
{
    saved_stream *s = context;
    if (!read_bytes(s, bytes, n_bytes)) {
        return false;
    }
    s->is_finite = s->is_finite && are_finite(bytes, n_bytes, is_row ? s->elem : sizeof(float));
    return true;
}

static dsv4_status check_tokens(const char *path, const int32_t *tokens, int64_t n, int64_t vocab_size, dsv4_error *err)
{
    for (int64_t i = 0; i < n; i++) {
        if (tokens[i] < 0 || tokens[i] >= vocab_size) {
            return dsv4_fail(err, DSV4_E_FORMAT, "%.300s: token %lld is %d, expected 0 to %lld", path, (long long)i, tokens[i],
                             (long long)vocab_size - 1);
        }
    }
    return DSV4_OK;
}

/* What follows the header, into an open sequence of the header's lengths and its tokens. */
static dsv4_status read_body(const model_kv *kv, saved_stream *stream, const model_sequence *s, int32_t *tokens, const char *path,
                             dsv4_error *err)
{
    uint32_t crc = 0;
    if (!read_bytes(stream, tokens, (size_t)s->length * sizeof *tokens) || !saved_walk(kv, s, read_values, stream) ||
        fread(&crc, sizeof crc, 1, stream->file) != 1) {
        return dsv4_fail(err, DSV4_E_IO, "%.400s: cannot be read to its end", path);
    }
    if (crc != (uint32_t)stream->crc) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%.300s: damaged: checksum is %08x, expected %08x", path, (unsigned)stream->crc, crc);
    }
    if (!stream->is_finite) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%.400s: has values that are not finite", path);
    }
    return check_tokens(path, tokens, s->length, kv->config.vocab_size, err);
}

/* A sequence with pages for the header's length, or none. */
static dsv4_status open_for(model_kv *kv, const saved_header *header, model_sequence **out, dsv4_error *err)
{
    model_sequence *s = NULL;
    dsv4_status status = model_sequence_open(kv, &s, err);
    if (status != DSV4_OK) {
        return status;
    }
    status = model_sequence_reserve(kv, s, header->length, err);
    if (status != DSV4_OK) {
        model_sequence_close(kv, s);
        return status;
    }
    s->length = header->length;
    s->drafted = header->drafted;
    s->oldest = header->oldest;
    *out = s;
    return DSV4_OK;
}

static dsv4_status read_header(const model_kv *kv, saved_stream *stream, const char *model, const char *path, saved_header *header,
                               dsv4_error *err)
{
    struct stat info;
    if (fstat(fileno(stream->file), &info) != 0 || !S_ISREG(info.st_mode)) {
        return dsv4_fail(err, DSV4_E_IO, "%.400s: is no regular file", path);
    }
    if (!read_bytes(stream, header, sizeof *header)) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%.400s: no saved sequence: %lld bytes, expected more than %zu", path,
                         (long long)info.st_size, sizeof *header);
    }
    dsv4_status status = saved_header_check(kv, header, model, path, err);
    if (status != DSV4_OK) {
        return status;
    }
    const model_sequence lengths = {.length = header->length, .drafted = header->drafted, .oldest = header->oldest};
    const size_t expected = saved_file_bytes(kv, &lengths);
    if ((size_t)info.st_size != expected) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%.300s: has %lld bytes, expected %zu for %lld tokens", path, (long long)info.st_size,
                         expected, (long long)header->length);
    }
    return DSV4_OK;
}

static dsv4_status restore_from(model_kv *kv, saved_stream *stream, const char *model, const char *path, model_sequence **out,
                                int32_t **tokens, dsv4_error *err)
{
    saved_header header;
    model_sequence *s = NULL;
    dsv4_status status = read_header(kv, stream, model, path, &header, err);
    if (status == DSV4_OK) {
        status = open_for(kv, &header, &s, err);
    }
    if (status != DSV4_OK) {
        return status;
    }
    int32_t *ids = memory_array((size_t)s->length, sizeof *ids);
    status = ids == NULL ? dsv4_fail(err, DSV4_E_NO_MEMORY, "%.300s: no memory for %lld tokens", path, (long long)s->length)
                         : read_body(kv, stream, s, ids, path, err);
    if (status != DSV4_OK) {
        free(ids);
        model_sequence_close(kv, s);
        return status;
    }
    *out = s;
    *tokens = ids;
    return DSV4_OK;
}

dsv4_status model_sequence_restore(model_kv *kv, const char *model, const char *path, model_sequence **out, int32_t **tokens,
                                   dsv4_error *err)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe without a writer does not hold it up */
    saved_stream stream = {.file = fd < 0 ? NULL : fdopen(fd, "rb"), .elem = kv->elem, .is_finite = true};
    if (stream.file == NULL) {
        if (fd >= 0) {
            close(fd);
        }
        return dsv4_fail(err, errno == ENOENT ? DSV4_E_NOT_FOUND : DSV4_E_IO, "%.400s: cannot read: %s", path, strerror(errno));
    }
    dsv4_status status = restore_from(kv, &stream, model, path, out, tokens, err);
    fclose(stream.file);
    return status;
}
