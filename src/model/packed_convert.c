/* packed_convert.c - a published folder becomes a packed one, part by part. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checksum.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/progress.h"
#include "model/packed_file.h"
#include "model/packed_folder.h"
#include "model/packed_team.h"

enum { PART_BYTES = 32 << 20, SYNC_BYTES = 512 << 20 }; /* of a large weight at a time; between notes of what is done */

typedef struct conversion {
    const model_checkpoint *checkpoint;
    packed_file *file;
    packed_team *team;
    int fd;
    const char *path;
    char *buffer; /* of the largest part */
    size_t buffer_bytes;
    size_t unsaved_bytes; /* written since the header was */
    const volatile sig_atomic_t *stop;
    struct progress *bar;
} conversion;

static bool is_stopped(const conversion *c)
{
    return c->stop != NULL && *c->stop != 0;
}

static dsv4_status fail_errno(const conversion *c, const char *what, dsv4_error *err)
{
    return dsv4_fail(err, DSV4_E_IO, "%.300s: cannot %s: %s", c->path, what, strerror(errno));
}

static dsv4_status write_all(const conversion *c, const char *bytes, size_t n, size_t offset, dsv4_error *err)
{
    while (n > 0) {
        const ssize_t written = pwrite(c->fd, bytes, n, (off_t)offset);
        if (written < 0 && errno != EINTR) {
            return fail_errno(c, "write", err);
        }
        const size_t step = written > 0 ? (size_t)written : 0;
        bytes += step;
        n -= step;
        offset += step;
    }
    return DSV4_OK;
}

/* What is done reaches the disk before the header that says so. The system's cache then forgets it, as it keeps what is written in
 * small pages: a mapping that finds none of them gets huge ones. */
static dsv4_status save_header(conversion *c, dsv4_error *err)
{
    if (fdatasync(c->fd) != 0) {
        return fail_errno(c, "write", err);
    }
    char *header = packed_file_header(c->file);
    if (header == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "%.300s: no memory for its header", c->path);
    }
    dsv4_status status = write_all(c, header, c->file->header_bytes, 0, err);
    free(header);
    if (status == DSV4_OK && fdatasync(c->fd) != 0) {
        status = fail_errno(c, "write", err);
    }
    (void)posix_fadvise(c->fd, 0, 0, POSIX_FADV_DONTNEED);
    c->unsaved_bytes = 0;
    return status;
}

/* ---- parts ------------------------------------------------------------------------------------------------------------------------ */

/* The part of a piece that begins there: all of a small or scaled weight. */
static packed_part part_from(const packed_piece *piece, int64_t e, int64_t begin)
{
    packed_part part = {piece, e, begin, packed_part_count(piece)};
    const bool is_scaled = piece->form != MODEL_FORM_BF16 && piece->form != MODEL_FORM_F32 && piece->form != MODEL_FORM_NONE;
    if (!is_scaled) {
        const packed_part one = {piece, e, 0, 1};
        const int64_t units = (int64_t)(PART_BYTES / packed_part_bytes(&one)), step = units > 0 ? units : 1;
        part.end = part.end - begin > step ? begin + step : part.end;
    }
    return part;
}

typedef struct part_job {
    const conversion *conversion;
    packed_part part;
} part_job;

static dsv4_status pack_share(void *context, const packed_team *t, int worker, packed_packer *packer, dsv4_error *err)
{
    const part_job *job = context;
    return packed_team_part(t, worker, packer, job->conversion->checkpoint, &job->part, job->conversion->buffer, err);
}

/* Stopped within: the piece is not done. */
static dsv4_status convert_piece(conversion *c, size_t i, dsv4_error *err)
{
    const packed_piece *piece = &c->file->plan.pieces[i];
    packed_state state = {true, 0};
    for (int64_t e = 0; e < piece->count; e++) {
        for (int64_t begin = 0; begin < packed_part_count(piece);) {
            if (is_stopped(c)) {
                return DSV4_OK;
            }
            part_job job = {c, part_from(piece, e, begin)};
            const size_t n = packed_part_bytes(&job.part), offset = packed_part_offset(&job.part);
            memset(c->buffer + (n >= 64 ? n - 64 : 0), 0, n >= 64 ? 64 : n); /* what fills up */
            dsv4_error cause = {0};
            dsv4_status status = packed_team_run(c->team, pack_share, &job, &cause);
            if (status != DSV4_OK) {
                return dsv4_fail(err, status, "%.200s: %s", c->checkpoint->folder, cause.text);
            }
            if ((status = write_all(c, c->buffer, n, c->file->data_offset + offset, err)) != DSV4_OK) {
                return status;
            }
            state.checksum = checksum_add(state.checksum, c->buffer, n);
            begin = job.part.end;
            progress_report(c->bar, (double)(offset + n) / (double)c->file->plan.bytes);
        }
    }
    c->file->states[i] = state;
    c->unsaved_bytes += packed_piece_bytes(piece);
    return c->unsaved_bytes >= SYNC_BYTES ? save_header(c, err) : DSV4_OK;
}

static size_t largest_part(const packed_plan *plan)
{
    size_t largest = 64;
    for (size_t i = 0; i < plan->n; i++) {
        for (int64_t begin = 0; begin < packed_part_count(&plan->pieces[i]);) {
            const packed_part part = part_from(&plan->pieces[i], 0, begin);
            const size_t n = packed_part_bytes(&part);
            largest = n > largest ? n : largest;
            begin = part.end;
        }
    }
    return largest;
}

static size_t count_done(const conversion *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->file->plan.n; i++) {
        n += c->file->states[i].is_done;
    }
    return n;
}

static dsv4_status convert_pieces(conversion *c, dsv4_pool *pool, dsv4_error *err)
{
    dsv4_status status = packed_team_create(&c->file->plan, pool, &c->team, err);
    if (status != DSV4_OK) {
        return status;
    }
    c->buffer_bytes = largest_part(&c->file->plan);
    c->buffer = memory_map(c->buffer_bytes);
    if (c->buffer == NULL) {
        status = dsv4_fail(err, DSV4_E_NO_MEMORY, "%.300s: no memory for a weight of %zu bytes", c->path, c->buffer_bytes);
    }
    for (size_t i = 0; status == DSV4_OK && i < c->file->plan.n; i++) {
        status = c->file->states[i].is_done ? DSV4_OK : convert_piece(c, i, err);
    }
    if (c->buffer != NULL) {
        memory_unmap(c->buffer, c->buffer_bytes);
    }
    packed_team_destroy(c->team);
    return status;
}

/* ---- the file that is being made --------------------------------------------------------------------------------------------------- */

/* Takes over what an earlier conversion of the same left: the states of its pieces. */
static void take_over(const conversion *c)
{
    struct stat info;
    packed_file *earlier = NULL;
    char *header = malloc(c->file->header_bytes);
    if (header != NULL && fstat(c->fd, &info) == 0 && (size_t)info.st_size == c->file->file_bytes &&
        pread(c->fd, header, c->file->header_bytes, 0) == (ssize_t)c->file->header_bytes &&
        packed_file_parse(c->path, header, c->file->header_bytes, (size_t)info.st_size, &earlier, NULL) == DSV4_OK &&
        earlier->source == c->file->source && earlier->int8 == c->file->int8 && earlier->config_bytes == c->file->config_bytes &&
        memcmp(earlier->config, c->file->config, c->file->config_bytes) == 0) {
        memcpy(c->file->states, earlier->states, c->file->plan.n * sizeof *c->file->states);
    }
    packed_file_destroy(earlier);
    free(header);
}

static dsv4_status open_part(conversion *c, const model_convert_options *options, dsv4_error *err)
{
    c->fd = open(c->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (c->fd < 0) {
        return fail_errno(c, "open", err);
    }
    if (flock(c->fd, LOCK_EX | LOCK_NB) != 0) {
        return dsv4_fail(err, DSV4_E_IO, "%.300s: another conversion writes it", c->path);
    }
    if (!options->restart) {
        take_over(c);
    }
    size_t to_write = 0;
    for (size_t i = 0; i < c->file->plan.n; i++) {
        to_write += c->file->states[i].is_done ? 0 : packed_piece_bytes(&c->file->plan.pieces[i]);
    }
    if (to_write == c->file->plan.bytes || options->restart) { /* nothing is kept: not to leave bytes of another file in it */
        if (ftruncate(c->fd, 0) != 0) {
            return fail_errno(c, "empty", err);
        }
    }
    const dsv4_status status = file_check_space(c->path, to_write, err);
    if (status != DSV4_OK) {
        return status;
    }
    return ftruncate(c->fd, (off_t)c->file->file_bytes) == 0 ? save_header(c, err) : fail_errno(c, "size", err);
}

static dsv4_status write_weights(conversion *c, const model_convert_options *options, dsv4_pool *pool, model_convert_result *result,
                                 dsv4_error *err)
{
    dsv4_status status = open_part(c, options, err);
    result->n_kept = count_done(c);
    if (status == DSV4_OK && (status = convert_pieces(c, pool, err)) == DSV4_OK) {
        status = save_header(c, err);
    }
    result->n_done = count_done(c);
    result->was_stopped = result->n_done < result->n_pieces;
    if (c->fd >= 0) {
        close(c->fd);
    }
    return status;
}

/* ---- the whole --------------------------------------------------------------------------------------------------------------------- */

static dsv4_status convert_into(const model_checkpoint *c, const packed_folder *out, packed_file *file,
                                const model_convert_options *options, dsv4_pool *pool, struct progress *bar,
                                model_convert_result *result, dsv4_error *err)
{
    conversion work = {.checkpoint = c, .file = file, .fd = -1, .path = out->part, .bar = bar, .stop = options->stop};
    dsv4_status status = DSV4_OK;
    result->file_bytes = file->file_bytes;
    result->n_pieces = file->plan.n;
    if ((status = packed_folder_check_small(c->folder, err)) != DSV4_OK ||
        (status = packed_folder_prepare(out, file, options->restart, &result->was_complete, err)) != DSV4_OK) {
        return status;
    }
    if (result->was_complete) {
        return packed_folder_copy_small(out, c->folder, err);
    }
    status = write_weights(&work, options, pool, result, err);
    if (status == DSV4_OK && !result->was_stopped) {
        status = packed_folder_finish(out, c->folder, err);
    } else if (status == DSV4_OK) {
        result->was_given_up = packed_folder_give_up(out);
    }
    return status;
}

dsv4_status model_convert(const char *folder, const char *out_folder, const model_convert_options *options, dsv4_pool *pool,
                          struct progress *bar, model_convert_result *result, dsv4_error *err)
{
    model_checkpoint *c = NULL;
    packed_file *file = NULL;
    packed_folder *out = NULL;
    char *config = NULL;
    size_t config_bytes = 0;
    uint32_t source = 0;
    *result = (model_convert_result){0};
    dsv4_status status = model_checkpoint_open(folder, &c, err);
    if (status == DSV4_OK && (status = model_checkpoint_require(c, err)) == DSV4_OK &&
        (status = packed_folder_create(out_folder, &out, err)) == DSV4_OK &&
        (status = packed_folder_source(c, &config, &config_bytes, &source, err)) == DSV4_OK &&
        (status = packed_file_create(folder, config, config_bytes, c->config.expert_dtype, options->int8, source, &file, err)) ==
            DSV4_OK) {
        status = convert_into(c, out, file, options, pool, bar, result, err);
    }
    free(config);
    free(out);
    packed_file_destroy(file);
    model_checkpoint_close(c);
    return status;
}
