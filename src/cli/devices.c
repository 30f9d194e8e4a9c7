#include "cli/devices.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/bench/device.h"

static bool is_name(const char *text)
{
    return strchr(text, '/') == NULL && strchr(text, '.') == NULL;
}

dsv4_status devices_read(const char *name_or_file, sim_device *d, dsv4_error *err)
{
    const char *folders[] = {getenv("DSV4_DEVICES"), DSV4_SOURCE_DEVICES, DSV4_INSTALLED_DEVICES};
    if (strcmp(name_or_file, "here") == 0) {
        return bench_device_measure(0, d, err);
    }
    if (!is_name(name_or_file)) {
        return sim_device_read(name_or_file, d, err);
    }
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char path[FILE_PATH_BYTES];
        int n = folders[i] == NULL ? -1 : snprintf(path, sizeof path, "%s/%s.json", folders[i], name_or_file);
        if (n > 0 && (size_t)n < sizeof path && access(path, R_OK) == 0) {
            return sim_device_read(path, d, err);
        }
    }
    return dsv4_fail(err, DSV4_E_NOT_FOUND,
                     "device \"%s\" is unknown: no %s.json in $DSV4_DEVICES, %s or %s; a file's name has a dot", name_or_file,
                     name_or_file, DSV4_SOURCE_DEVICES, DSV4_INSTALLED_DEVICES);
}
