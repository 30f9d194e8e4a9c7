/* resident.h - how much memory this process holds. */
#ifndef RESIDENT_H
#define RESIDENT_H

#include <unistd.h>

#include "model_files.h"

static inline size_t resident_bytes(void)
{
    long long pages = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%lld %lld", &pages, &resident), 2);
    fclose(f);
    return (size_t)resident * (size_t)sysconf(_SC_PAGESIZE);
}

#endif
