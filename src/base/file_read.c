#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

/* Reads until n_bytes are there, the file ends or an error; returns how many are there. */
static size_t read_all(int fd, char *bytes, size_t n_bytes, int *code)
{
    size_t n = 0;
    *code = 0;
    while (n < n_bytes) {
        ssize_t got = read(fd, bytes + n, n_bytes - n);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            *code = got < 0 ? errno : 0;
            break;
        }
        n += (size_t)got;
    }
    return n;
}

static dsv4_status read_open(int fd, const char *path, size_t max_bytes, char **bytes, size_t *n_bytes, dsv4_error *err)
{
    struct stat info = {0};
    int code = 0;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        return dsv4_fail(err, DSV4_E_IO, "%.400s: not a regular file", path);
    }
    if ((uintmax_t)info.st_size > max_bytes) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%.400s: got %lld bytes, expected at most %zu", path, (long long)info.st_size,
                         max_bytes);
    }
    size_t size = (size_t)info.st_size;
    char *text = malloc(size + 1);
    if (text == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "%.400s: no memory for %zu bytes", path, size);
    }
    size_t n = read_all(fd, text, size, &code);
    if (code != 0) {
        free(text);
        return dsv4_fail(err, DSV4_E_IO, "%.400s: cannot read: %s", path, strerror(code));
    }
    text[n] = '\0';
    *bytes = text;
    *n_bytes = n;
    return DSV4_OK;
}

dsv4_status file_read(const char *path, size_t max_bytes, char **bytes, size_t *n_bytes, dsv4_error *err)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* opening a pipe does not wait */
    if (fd < 0) {
        bool missing = errno == ENOENT || errno == ENOTDIR;
        return dsv4_fail(err, missing ? DSV4_E_NOT_FOUND : DSV4_E_IO, "%.400s: cannot open: %s", path, strerror(errno));
    }
    dsv4_status status = read_open(fd, path, max_bytes, bytes, n_bytes, err);
    close(fd);
    return status;
}
