/* base/memory_limits.h - how much memory this process may still take. */
#ifndef BASE_MEMORY_LIMITS_H
#define BASE_MEMORY_LIMITS_H

#include <stddef.h>

typedef struct memory_limits {
    size_t machine; /* bytes that the system can give without swapping; SIZE_MAX: unknown */
    size_t
        group; /* that the tightest control group around the process still allows, pages of files counted as free; SIZE_MAX: none */
    size_t available; /* the smaller */
} memory_limits;

/* proc: "/proc", groups: "/sys/fs/cgroup" (version 1 or 2), or folders that look like them. What cannot be read is no limit. */
memory_limits memory_limits_read(const char *proc, const char *groups);

#endif
