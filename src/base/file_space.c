#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/file.h"
#include "base/size_text.h"

dsv4_status file_check_space(const char *path, size_t n_bytes, dsv4_error *err)
{
    struct statvfs disk;
    if (statvfs(path, &disk) != 0) {
        return dsv4_fail(err, DSV4_E_IO, "%.300s: cannot stat: %s", path, strerror(errno));
    }
    const double available = (double)disk.f_bavail * (double)disk.f_frsize;
    return (double)n_bytes <= available ? DSV4_OK
                                        : dsv4_fail(err, DSV4_E_IO, "%.300s: needs %s, the disk has %s left", path,
                                                    size_text_of((double)n_bytes).text, size_text_of(available).text);
}
