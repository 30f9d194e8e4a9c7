#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/file.h"

dsv4_status file_check_space(const char *path, size_t n_bytes, dsv4_error *err)
{
    struct statvfs disk;
    if (statvfs(path, &disk) != 0) {
        return dsv4_fail(err, DSV4_E_IO, "%.300s: cannot stat: %s", path, strerror(errno));
    }
    const double available = (double)disk.f_bavail * (double)disk.f_frsize, mib = 1 << 20;
    return (double)n_bytes <= available ? DSV4_OK
                                        : dsv4_fail(err, DSV4_E_IO, "%.300s: needs %.1f MiB, the disk has %.1f MiB left", path,
                                                    (double)n_bytes / mib, available / mib);
}
