/* packed_folder.c - the folder that a conversion writes. */
#include "model/packed_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checksum.h"

enum { SMALL_FILE_BYTES = 64 << 20 };

/* The first must be there. */
static const char *const small_files[] = {"config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"};
enum { N_SMALL_FILES = sizeof small_files / sizeof *small_files };

dsv4_status packed_folder_create(const char *path, packed_folder **out, dsv4_error *err)
{
    packed_folder *f = calloc(1, sizeof *f);
    if (f == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "%.400s: no memory for a folder", path);
    }
    const int n = snprintf(f->path, sizeof f->path, "%s", path);
    dsv4_status status = DSV4_OK;
    if (n <= 0 || n >= FILE_PATH_BYTES) {
        status = dsv4_fail(err, DSV4_E_VALUE, "'%.400s' is no path of a folder", path);
    } else if ((status = file_join(path, PACKED_PART_NAME, f->part, err)) == DSV4_OK) {
        status = file_join(path, PACKED_FILE_NAME, f->whole, err);
    }
    if (status != DSV4_OK) {
        free(f);
        return status;
    }
    *out = f;
    return DSV4_OK;
}

dsv4_status packed_folder_source(const model_checkpoint *c, char **config, size_t *config_bytes, uint32_t *source, dsv4_error *err)
{
    char path[FILE_PATH_BYTES];
    uint32_t sum = 0;
    for (size_t i = 0; i < c->n_shards; i++) {
        struct stat info;
        const dsv4_status status = file_join(c->folder, c->shards[i].name, path, err);
        if (status != DSV4_OK) {
            return status;
        }
        if (stat(path, &info) != 0) {
            return dsv4_fail(err, DSV4_E_IO, "%.300s: cannot stat: %s", path, strerror(errno));
        }
        const int64_t numbers[] = {info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec};
        sum = checksum_add(checksum_add(sum, c->shards[i].name, strlen(c->shards[i].name) + 1), numbers, sizeof numbers);
    }
    *source = sum;
    const dsv4_status status = file_join(c->folder, small_files[0], path, err);
    return status == DSV4_OK ? file_read(path, MODEL_MAX_CONFIG_BYTES, config, config_bytes, err) : status;
}

/* ---- what is there ------------------------------------------------------------------------------------------------------------------ */

/* A regular file that begins as packed weights do; an empty one is a conversion that has just begun. */
static bool is_ours(const char *path)
{
    char magic[PACKED_MAGIC_BYTES];
    struct stat info;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    const bool is_file = fd >= 0 && fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
    const bool ours = is_file && (info.st_size == 0 || (read(fd, magic, sizeof magic) == (ssize_t)sizeof magic &&
                                                        memcmp(magic, PACKED_MAGIC, sizeof magic) == 0));
    if (fd >= 0) {
        close(fd);
    }
    return ours;
}

static bool is_small_file(const char *name)
{
    for (int i = 0; i < N_SMALL_FILES; i++) {
        if (strcmp(name, small_files[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* A copy of a small file that was not finished. */
static bool is_leftover(const char *name)
{
    for (int i = 0; i < N_SMALL_FILES; i++) {
        const size_t n = strlen(small_files[i]);
        if (strncmp(name, small_files[i], n) == 0 && file_is_temporary_end(name + n)) {
            return true;
        }
    }
    return false;
}

static void remove_leftovers(const packed_folder *f)
{
    DIR *directory = opendir(f->path);
    const struct dirent *entry;
    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        if (is_leftover(entry->d_name)) {
            unlinkat(dirfd(directory), entry->d_name, 0);
        }
    }
    if (directory != NULL) {
        closedir(directory);
    }
}

/* That of a conversion that was ended, beside the whole file: nothing goes on with it. */
static void remove_part(const packed_folder *f)
{
    const int fd = open(f->part, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0) {
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
            unlink(f->part);
        }
        close(fd);
    }
}

static dsv4_status check_entries(const packed_folder *f, DIR *directory, dsv4_error *err)
{
    bool has_weights = false, has_small = false;
    const struct dirent *entry;
    while ((entry = readdir(directory)) != NULL) {
        const bool is_part = strcmp(entry->d_name, PACKED_PART_NAME) == 0, is_whole = strcmp(entry->d_name, PACKED_FILE_NAME) == 0;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        if ((is_part && is_ours(f->part)) || (is_whole && is_ours(f->whole))) {
            has_weights = true;
        } else if (is_small_file(entry->d_name)) {
            has_small = true;
        } else if (!is_leftover(entry->d_name)) {
            return dsv4_fail(err, DSV4_E_VALUE, "%.200s: holds '%.80s', expected a new folder or one that a conversion made",
                             f->path, entry->d_name);
        }
    }
    return has_weights || !has_small
               ? DSV4_OK
               : dsv4_fail(err, DSV4_E_VALUE, "%.200s: holds files of a model but no packed weights, expected a new folder",
                           f->path);
}

/* weights.dsv4 is there: is it the same? */
static dsv4_status compare_whole(const packed_folder *f, const packed_file *file, bool *is_same, dsv4_error *err)
{
    char *head = malloc(file->header_bytes);
    packed_file *there = NULL;
    struct stat info;
    const int fd = open(f->whole, O_RDONLY | O_CLOEXEC);
    *is_same = head != NULL && fd >= 0 && fstat(fd, &info) == 0 && (size_t)info.st_size == file->file_bytes &&
               read(fd, head, file->header_bytes) == (ssize_t)file->header_bytes &&
               packed_file_parse(f->whole, head, file->header_bytes, (size_t)info.st_size, &there, NULL) == DSV4_OK &&
               there->source == file->source && there->int8 == file->int8 && there->config_bytes == file->config_bytes &&
               memcmp(there->config, file->config, file->config_bytes) == 0;
    for (size_t i = 0; *is_same && i < there->plan.n; i++) {
        *is_same = there->states[i].is_done;
    }
    packed_file_destroy(there);
    free(head);
    if (fd >= 0) {
        close(fd);
    }
    return *is_same ? DSV4_OK
                    : dsv4_fail(err, DSV4_E_VALUE,
                                "%.300s: is packed from other files or for other numerics: --restart replaces it", f->whole);
}

dsv4_status packed_folder_prepare(const packed_folder *f, const packed_file *file, bool restart, bool *is_complete, dsv4_error *err)
{
    *is_complete = false;
    if (mkdir(f->path, 0777) == 0) {
        return DSV4_OK;
    }
    DIR *directory = errno == EEXIST ? opendir(f->path) : NULL;
    if (directory == NULL) {
        return dsv4_fail(err, DSV4_E_IO, "%.300s: cannot make the folder: %s", f->path, strerror(errno));
    }
    dsv4_status status = check_entries(f, directory, err);
    closedir(directory);
    if (status == DSV4_OK && !restart && access(f->whole, F_OK) == 0) {
        status = compare_whole(f, file, is_complete, err);
    }
    if (*is_complete) {
        remove_leftovers(f);
        remove_part(f);
    }
    return status;
}

/* ---- at the end ---------------------------------------------------------------------------------------------------------------------- */

/* *bytes NULL: it is not there, and need not be. */
static dsv4_status read_small(const char *published, int i, char **bytes, size_t *n, dsv4_error *err)
{
    char path[FILE_PATH_BYTES];
    dsv4_error cause = {0};
    *bytes = NULL;
    dsv4_status status = file_join(published, small_files[i], path, &cause);
    if (status == DSV4_OK) {
        status = file_read(path, SMALL_FILE_BYTES, bytes, n, &cause);
    }
    return status == DSV4_OK || (status == DSV4_E_NOT_FOUND && i > 0) ? DSV4_OK : dsv4_fail(err, status, "%s", cause.text);
}

/* Does a file hold just that? */
static bool has_bytes(const char *path, const char *bytes, size_t n)
{
    char *there = NULL;
    size_t n_there = 0;
    const bool same =
        file_read(path, SMALL_FILE_BYTES, &there, &n_there, NULL) == DSV4_OK && n_there == n && memcmp(there, bytes, n) == 0;
    free(there);
    return same;
}

static dsv4_status write_small(const char *path, const char *bytes, size_t n, dsv4_error *err)
{
    file_writer w;
    dsv4_status status = file_writer_open(&w, path, err);
    if (status == DSV4_OK) {
        fwrite(bytes, 1, n, w.stream); /* commit finds errors */
        status = file_writer_commit(&w, err);
    }
    return status;
}

dsv4_status packed_folder_check_small(const char *published, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    for (int i = 0; status == DSV4_OK && i < N_SMALL_FILES; i++) {
        char *bytes = NULL;
        size_t n = 0;
        status = read_small(published, i, &bytes, &n, err);
        free(bytes);
    }
    return status;
}

dsv4_status packed_folder_copy_small(const packed_folder *f, const char *published, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    for (int i = 0; status == DSV4_OK && i < N_SMALL_FILES; i++) {
        char to[FILE_PATH_BYTES], *bytes = NULL;
        size_t n = 0;
        if ((status = file_join(f->path, small_files[i], to, err)) == DSV4_OK &&
            (status = read_small(published, i, &bytes, &n, err)) == DSV4_OK && bytes != NULL && !has_bytes(to, bytes, n)) {
            status = write_small(to, bytes, n, err);
        }
        free(bytes);
    }
    return status;
}

bool packed_folder_give_up(const packed_folder *f)
{
    const bool has_whole = access(f->whole, F_OK) == 0;
    if (has_whole) {
        remove_part(f);
    }
    return has_whole;
}

dsv4_status packed_folder_finish(const packed_folder *f, const char *published, dsv4_error *err)
{
    remove_leftovers(f);
    dsv4_status status = packed_folder_copy_small(f, published, err);
    if (status == DSV4_OK && rename(f->part, f->whole) != 0) {
        return dsv4_fail(err, DSV4_E_IO, "%.300s: cannot rename: %s", f->part, strerror(errno));
    }
    const int fd = status == DSV4_OK ? open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0) { /* the new name reaches the disk; nothing depends on it */
        fsync(fd);
        close(fd);
    }
    return status;
}
