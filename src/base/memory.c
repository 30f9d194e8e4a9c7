#include "base/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ALIGNMENT = 64, HUGE_PAGE = 2 << 20, LARGE = HUGE_PAGE };

void memory_prefer_huge(void *start, size_t n_bytes)
{
    if (n_bytes < LARGE) {
        return;
    }
    uintptr_t first = ((uintptr_t)start + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE,
              end = ((uintptr_t)start + n_bytes) / HUGE_PAGE * HUGE_PAGE;
    madvise((void *)first, end - first, MADV_HUGEPAGE);
}

void *memory_array(size_t n, size_t item_bytes)
{
    size_t n_bytes;
    if (__builtin_mul_overflow(n, item_bytes, &n_bytes) || n_bytes > SIZE_MAX / 2) {
        return NULL;
    }
    size_t alignment = n_bytes < LARGE ? ALIGNMENT : HUGE_PAGE;
    void *block = aligned_alloc(alignment, n_bytes == 0 ? alignment : (n_bytes + alignment - 1) / alignment * alignment);
    if (block != NULL) {
        memory_prefer_huge(block, n_bytes); /* but for the last, which may not be used whole */
    }
    return block;
}

void *memory_zeroed_array(size_t n, size_t item_bytes)
{
    void *block = memory_array(n, item_bytes);
    return block == NULL ? NULL : memset(block, 0, n * item_bytes);
}

static size_t whole_pages(size_t n_bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (n_bytes + page - 1) / page * page;
}

static void *map(size_t n_bytes, int flags)
{
    if (n_bytes > SIZE_MAX / 2) {
        return NULL;
    }
    size_t slack = n_bytes < LARGE ? 0 : HUGE_PAGE, size = whole_pages(n_bytes);
    char *start = mmap(NULL, size + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    if (start == MAP_FAILED) {
        return NULL;
    }
    if (slack > 0) { /* begins with a huge page */
        size_t front = (HUGE_PAGE - (uintptr_t)start % HUGE_PAGE) % HUGE_PAGE;
        if (front > 0) {
            munmap(start, front);
        }
        start += front;
        munmap(start + size, slack - front);
        memory_prefer_huge(start, size);
    }
    return start;
}

void *memory_map(size_t n_bytes)
{
    return map(n_bytes, 0);
}

void *memory_reserve(size_t n_bytes)
{
    return map(n_bytes, MAP_NORESERVE);
}

void memory_unmap(void *start, size_t n_bytes)
{
    munmap(start, whole_pages(n_bytes));
}
