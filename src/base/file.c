#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_ATTEMPTS = 100 };

/* A long path is cut so that the reason fits the line. */
static dsv4_status fail_errno(const file_writer *w, int code, dsv4_error *err)
{
    const char *name = strcmp(w->path, "-") == 0 ? "stdout" : w->path;
    return dsv4_fail(err, DSV4_E_IO, "%.400s: cannot write: %s", name, code ? strerror(code) : "is the disk full?");
}

/* S_IFREG, S_IFDIR, ...; 0 if there is no such file. Symbolic links are followed. */
static mode_t file_type(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 ? info.st_mode & S_IFMT : 0;
}

/* Creates w->temporary beside the target, with the permissions that a plain new file gets; -1 and errno on failure. */
static int create_temporary(file_writer *w)
{
    static atomic_uint serial;
    for (int i = 0; i < MAX_ATTEMPTS; i++) {
        unsigned tag = (unsigned)getpid() * 4096 + atomic_fetch_add(&serial, 1);
        snprintf(w->temporary, sizeof w->temporary, "%s.%08x.tmp", w->path, tag);
        int fd = open(w->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0) {
            return fd;
        }
        w->temporary[0] = '\0';
        if (errno != EEXIST) {
            return -1;
        }
    }
    return -1;
}

dsv4_status file_join(const char *folder, const char *name, char path[FILE_PATH_BYTES], dsv4_error *err)
{
    const int n = snprintf(path, FILE_PATH_BYTES, "%s/%s", folder, name);
    return n > 0 && n < FILE_PATH_BYTES ? DSV4_OK : dsv4_fail(err, DSV4_E_VALUE, "%.400s: the path is too long", folder);
}

bool file_is_temporary_end(const char *end)
{
    return end[0] == '.' && strspn(end + 1, "0123456789abcdef") == 8 && strcmp(end + 9, ".tmp") == 0;
}

static bool is_special(mode_t type)
{
    return type != 0 && type != S_IFREG && type != S_IFDIR;
}

static int open_target(file_writer *w)
{
    mode_t type = file_type(w->path);
    if (type == S_IFDIR) {
        errno = EISDIR;
        return -1;
    }
    return is_special(type) ? open(w->path, O_WRONLY | O_CLOEXEC) : create_temporary(w);
}

dsv4_status file_writer_open(file_writer *w, const char *path, dsv4_error *err)
{
    w->stream = NULL;
    w->temporary[0] = '\0';
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof w->path) {
        return dsv4_fail(err, DSV4_E_IO, "path of %zu bytes, expected 1 to %zu", length, sizeof w->path - 1);
    }
    memcpy(w->path, path, length + 1);
    if (strcmp(path, "-") == 0) {
        w->stream = stdout;
        return DSV4_OK;
    }
    int fd = open_target(w);
    if (fd < 0) {
        return fail_errno(w, errno, err);
    }
    w->stream = fdopen(fd, "wb");
    if (!w->stream) {
        int code = errno;
        close(fd);
        file_writer_abort(w);
        return fail_errno(w, code, err);
    }
    return DSV4_OK;
}

/* What stdio still holds reaches the file, and a file that will be renamed reaches the disk. */
static bool flush_and_sync(const file_writer *w)
{
    errno = 0; /* the stream remembers the error of an earlier write, but not its errno */
    if (fflush(w->stream) != 0 || ferror(w->stream)) {
        return false;
    }
    return !w->temporary[0] || fsync(fileno(w->stream)) == 0;
}

static bool close_stream(file_writer *w)
{
    FILE *stream = w->stream;
    w->stream = NULL;
    return !stream || stream == stdout || fclose(stream) == 0;
}

dsv4_status file_writer_commit(file_writer *w, dsv4_error *err)
{
    if (!flush_and_sync(w) || !close_stream(w) || (w->temporary[0] && rename(w->temporary, w->path) != 0)) {
        int code = errno;
        file_writer_abort(w);
        return fail_errno(w, code, err);
    }
    w->temporary[0] = '\0';
    return DSV4_OK;
}

void file_writer_abort(file_writer *w)
{
    close_stream(w);
    if (w->temporary[0]) {
        unlink(w->temporary);
        w->temporary[0] = '\0';
    }
}

dsv4_status file_check_writable(const char *path, dsv4_error *err)
{
    file_writer w;
    if (is_special(file_type(path))) { /* opening a pipe would wait for its reader */
        return access(path, W_OK) == 0 ? DSV4_OK : dsv4_fail(err, DSV4_E_IO, "%.400s: cannot write: %s", path, strerror(errno));
    }
    const dsv4_status status = file_writer_open(&w, path, err);
    if (status == DSV4_OK) {
        file_writer_abort(&w);
    }
    return status;
}
