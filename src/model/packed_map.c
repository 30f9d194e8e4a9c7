/* packed_map.c - weights from a packed file, and from whatever a folder holds. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checksum.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/progress.h"
#include "model/packed_file.h"
#include "model/packed_memory.h"
#include "model/plan.h"

/* A regular file, mapped; *bytes is its size, at least 1. */
static dsv4_status map_file(const char *path, void **start, size_t *bytes, dsv4_error *err)
{
    struct stat info;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return dsv4_fail(err, errno == ENOENT ? DSV4_E_NOT_FOUND : DSV4_E_IO, "%.400s: cannot open: %s", path, strerror(errno));
    }
    dsv4_status status = DSV4_OK;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        status = dsv4_fail(err, DSV4_E_IO, "%.400s: not a regular file", path);
    } else if (info.st_size < 1) {
        status = dsv4_fail(err, DSV4_E_FORMAT, "%.400s: is empty", path);
    } else {
        *bytes = (size_t)info.st_size;
        *start = mmap(NULL, *bytes, PROT_READ, MAP_SHARED, fd, 0);
        if (*start == MAP_FAILED) {
            status = dsv4_fail(err, DSV4_E_IO, "%.400s: cannot map: %s", path, strerror(errno));
        } else {
            memory_prefer_huge(*start, *bytes); /* file systems whose cache has such pages read them whole */
        }
    }
    close(fd);
    return status;
}

/* config.json of the folder is what the weights were packed with. */
static dsv4_status check_config(const char *folder, const packed_file *f, dsv4_error *err)
{
    char path[FILE_PATH_BYTES], *text = NULL;
    size_t n = 0;
    dsv4_status status = file_join(folder, "config.json", path, err);
    if (status == DSV4_OK && (status = file_read(path, MODEL_MAX_CONFIG_BYTES, &text, &n, err)) == DSV4_OK) {
        if (n != f->config_bytes || memcmp(text, f->config, n) != 0) {
            status = dsv4_fail(err, DSV4_E_FORMAT, "%.300s: is not the one that %s was packed with: convert the model again", path,
                               PACKED_FILE_NAME);
        }
        free(text);
    }
    return status;
}

/* The file of a folder, mapped, all of it done. */
static dsv4_status open_packed(const char *folder, char path[FILE_PATH_BYTES], void **start, size_t *bytes, packed_file **file,
                               dsv4_error *err)
{
    packed_file *f = NULL;
    dsv4_status status = file_join(folder, PACKED_FILE_NAME, path, err);
    if (status != DSV4_OK || (status = map_file(path, start, bytes, err)) != DSV4_OK) {
        return status;
    }
    status = packed_file_parse(path, *start, *bytes, *bytes, &f, err);
    for (size_t i = 0; status == DSV4_OK && i < f->plan.n; i++) {
        if (!f->states[i].is_done) {
            status =
                dsv4_fail(err, DSV4_E_FORMAT, "%.300s: has no '%s': its conversion was not finished", path, f->plan.pieces[i].name);
        }
    }
    if (status == DSV4_OK) {
        status = check_config(folder, f, err);
    }
    if (status != DSV4_OK) {
        packed_file_destroy(f);
        munmap(*start, *bytes);
        return status;
    }
    *file = f;
    return DSV4_OK;
}

/* Numbers that would lead elsewhere than to an expert. */
static dsv4_status check_routes(const char *path, const packed_file *f, const char *data, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    for (size_t i = 0; status == DSV4_OK && i < f->plan.n; i++) {
        const packed_piece *p = &f->plan.pieces[i];
        if (p->kind == PACKED_ROUTES) {
            dsv4_error cause = {0};
            status = packed_routes_check(p->name, (const int32_t *)(const void *)(data + p->offset), p->k * p->n,
                                         f->weights->config.n_routed_experts, &cause);
            if (status != DSV4_OK) {
                dsv4_fail(err, status, "%.300s: %s", path, cause.text);
            }
        }
    }
    return status;
}

dsv4_status model_weights_map(const char *folder, model_weights **out, dsv4_error *err)
{
    char path[FILE_PATH_BYTES];
    void *start = NULL;
    size_t bytes = 0;
    packed_file *f = NULL;
    dsv4_status status = open_packed(folder, path, &start, &bytes, &f, err);
    if (status != DSV4_OK) {
        return status;
    }
    char *data = (char *)start + f->data_offset;
    struct model_weights_memory *memory = malloc(sizeof *memory);
    status = memory == NULL ? dsv4_fail(err, DSV4_E_NO_MEMORY, "%.400s: no memory for its weights", path)
                            : check_routes(path, f, data, err);
    if (status != DSV4_OK) {
        free(memory);
        munmap(start, bytes);
        packed_file_destroy(f);
        return status;
    }
    *memory = (struct model_weights_memory){start, bytes};
    packed_plan_bind(&f->plan, data);
    f->weights->memory = memory;
    *out = f->weights;
    f->weights = NULL;
    packed_file_destroy(f);
    return DSV4_OK;
}

void model_weights_preload(const model_weights *w)
{
    enum { PAGE = 4096 };
    const char *start = w->memory->start;
    if (madvise(w->memory->start, w->memory->bytes, MADV_POPULATE_READ) == 0) {
        return;
    }
    volatile char last = 0; /* an older system */
    for (size_t at = 0; at < w->memory->bytes; at += PAGE) {
        last = start[at];
    }
    (void)last;
}

/* ---- every byte ---------------------------------------------------------------------------------------------------------------------- */

static uint32_t piece_checksum(const packed_piece *p, char *data, struct progress *bar, size_t all_bytes)
{
    enum { STEP = 16 << 20 };
    const size_t end = p->offset + packed_piece_bytes(p);
    uint32_t sum = 0;
    for (size_t at = p->offset; at < end; at += STEP) {
        const size_t n = end - at < STEP ? end - at : STEP;
        sum = checksum_add(sum, data + at, n);
        progress_report(bar, (double)(at + n) / (double)all_bytes);
        madvise(data + at / PACKED_PAGE * PACKED_PAGE, n, MADV_DONTNEED);
    }
    return sum;
}

dsv4_status model_packed_verify(const char *folder, struct progress *bar, dsv4_error *err)
{
    char path[FILE_PATH_BYTES];
    void *start = NULL;
    size_t bytes = 0;
    packed_file *f = NULL;
    dsv4_status status = open_packed(folder, path, &start, &bytes, &f, err);
    if (status != DSV4_OK) {
        return status;
    }
    char *data = (char *)start + f->data_offset;
    status = check_routes(path, f, data, err);
    for (size_t i = 0; status == DSV4_OK && i < f->plan.n; i++) {
        const uint32_t got = piece_checksum(&f->plan.pieces[i], data, bar, f->plan.bytes);
        if (got != f->states[i].checksum) {
            status = dsv4_fail(err, DSV4_E_FORMAT, "%.300s: '%s' is damaged: checksum %08x, expected %08x", path,
                               f->plan.pieces[i].name, got, f->states[i].checksum);
        }
    }
    munmap(start, bytes);
    packed_file_destroy(f);
    return status;
}

/* ---- a folder ------------------------------------------------------------------------------------------------------------------------ */

static bool holds(const char *folder, const char *name)
{
    char path[FILE_PATH_BYTES];
    return file_join(folder, name, path, NULL) == DSV4_OK && access(path, F_OK) == 0;
}

bool model_folder_is_packed(const char *folder)
{
    return holds(folder, PACKED_FILE_NAME);
}

dsv4_status model_folder_require_finished(const char *folder, dsv4_error *err)
{
    const bool is_finished =
        model_folder_is_packed(folder) || !holds(folder, PACKED_PART_NAME) || holds(folder, "model.safetensors.index.json");
    return is_finished
               ? DSV4_OK
               : dsv4_fail(err, DSV4_E_FORMAT, "%.300s: its conversion was not finished: dsv4 convert goes on with it", folder);
}

static dsv4_status open_packed_folder(const char *folder, bool int8, model_weights **out, dsv4_error *err)
{
    model_weights *w = NULL;
    const dsv4_status status = model_weights_map(folder, &w, err);
    if (status != DSV4_OK) {
        return status;
    }
    if (w->int8 != int8) {
        model_weights_free(w);
        return dsv4_fail(err, DSV4_E_UNSUPPORTED,
                         "%.300s: is packed for %s: run it with these, or convert the published files for %s", folder,
                         int8 ? "all numerics but w8a8 (FP8 weights)" : "the numerics w8a8 (INT8 weights)",
                         int8 ? "w8a8" : "others (--numerics official)");
    }
    *out = w;
    return DSV4_OK;
}

dsv4_status model_weights_open(const char *folder, bool int8, dsv4_pool *pool, struct progress *bar, model_weights **out,
                               dsv4_error *err)
{
    model_checkpoint *c = NULL;
    if (model_folder_is_packed(folder)) {
        return open_packed_folder(folder, int8, out, err);
    }
    dsv4_status status = model_folder_require_finished(folder, err);
    if (status == DSV4_OK) {
        status = model_checkpoint_open(folder, &c, err);
    }
    if (status == DSV4_OK) {
        status = model_weights_pack(c, int8, pool, bar, out, err);
    }
    model_checkpoint_close(c);
    return status;
}

static dsv4_status packed_config(const char *folder, model_config *out, dsv4_error *err)
{
    char path[FILE_PATH_BYTES];
    void *start = NULL;
    size_t bytes = 0;
    packed_file *f = NULL;
    const dsv4_status status = open_packed(folder, path, &start, &bytes, &f, err);
    if (status == DSV4_OK) {
        *out = f->weights->config;
        packed_file_destroy(f);
        munmap(start, bytes);
    }
    return status;
}

dsv4_status model_folder_config(const char *folder, model_config *out, dsv4_error *err)
{
    model_checkpoint *c = NULL;
    if (model_folder_is_packed(folder)) {
        return packed_config(folder, out, err);
    }
    const dsv4_status status = model_checkpoint_open(folder, &c, err);
    if (status == DSV4_OK) {
        *out = c->config;
    }
    model_checkpoint_close(c);
    return status;
}
