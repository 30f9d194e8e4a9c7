#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Reads until the end of the file or max_bytes + 1 bytes; -1 with errno. */
static ssize_t read_up_to(int fd, char *bytes, size_t max_bytes)
{
    size_t n = 0;
    while (n <= max_bytes) {
        const ssize_t got = read(fd, bytes + n, max_bytes + 1 - n);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return got < 0 ? got : (ssize_t)n;
        }
        n += (size_t)got;
    }
    return (ssize_t)n;
}

static dsv4_status read_descriptor(const char *path, int fd, size_t max_bytes, char **bytes, size_t *n_bytes, dsv4_error *err)
{
    struct stat info;
    if (fstat(fd, &info) != 0) {
        return dsv4_fail(err, DSV4_E_IO, "%.400s: cannot stat: %s", path, strerror(errno));
    }
    if (!S_ISREG(info.st_mode)) {
        return dsv4_fail(err, DSV4_E_IO, "%.400s: not a regular file", path);
    }
    if ((uintmax_t)info.st_size > max_bytes) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%.400s: got %jd bytes, expected at most %zu", path, (intmax_t)info.st_size,
                         max_bytes);
    }
    char *text = malloc((size_t)info.st_size + 2);
    if (text == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "%.400s: no memory for %jd bytes", path, (intmax_t)info.st_size);
    }
    const ssize_t n = read_up_to(fd, text, (size_t)info.st_size);
    if (n != (ssize_t)info.st_size) {
        free(text);
        return dsv4_fail(err, DSV4_E_IO, "%.400s: cannot read: %s", path, n < 0 ? strerror(errno) : "its size changed meanwhile");
    }
    text[n] = '\0';
    *bytes = text;
    *n_bytes = (size_t)n;
    return DSV4_OK;
}

dsv4_status file_read(const char *path, size_t max_bytes, char **bytes, size_t *n_bytes, dsv4_error *err)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* not to wait for the writer of a pipe */
    if (fd < 0) {
        const bool missing = errno == ENOENT || errno == ENOTDIR;
        return dsv4_fail(err, missing ? DSV4_E_NOT_FOUND : DSV4_E_IO, "%.400s: cannot open: %s", path, strerror(errno));
    }
    const dsv4_status status = read_descriptor(path, fd, max_bytes, bytes, n_bytes, err);
    close(fd);
    return status;
}
