/* kernels/guarded.h - test buffers that show every access outside a kernel's operands: they end at a page that cannot be touched,
 * and the bytes around an output are watched. */
#ifndef TESTS_KERNELS_GUARDED_H
#define TESTS_KERNELS_GUARDED_H

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { GUARD_BYTES = 128, GUARD_FILL = 0xa5 };

typedef struct guarded {
    uint8_t *pages;
    size_t capacity; /* bytes before the forbidden page */
} guarded;

static inline guarded guarded_create(size_t capacity)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    capacity = (capacity + GUARD_BYTES + page) / page * page;
    uint8_t *pages = mmap(NULL, capacity + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(pages != MAP_FAILED);
    assert_int_equal(mprotect(pages + capacity, page, PROT_NONE), 0);
    return (guarded){pages, capacity};
}

static inline void guarded_destroy(guarded *g)
{
    munmap(g->pages, g->capacity + (size_t)sysconf(_SC_PAGESIZE));
}

/* A place for bytes that ends gap bytes before the forbidden page, filled and surrounded by GUARD_FILL. */
static inline void *guarded_place(guarded *g, size_t bytes, size_t gap)
{
    assert_true(bytes + gap + GUARD_BYTES <= g->capacity);
    uint8_t *place = g->pages + g->capacity - gap - bytes;
    memset(place - GUARD_BYTES, GUARD_FILL, GUARD_BYTES + bytes + gap);
    return place;
}

/* True if nothing was written around a place of that many bytes. */
static inline int guarded_is_intact(const guarded *g, const void *place, size_t bytes)
{
    const uint8_t *begin = place, *end = begin + bytes, *limit = g->pages + g->capacity;
    for (const uint8_t *p = begin - GUARD_BYTES; p < begin; p++) {
        if (*p != GUARD_FILL) {
            return 0;
        }
    }
    for (const uint8_t *p = end; p < limit; p++) {
        if (*p != GUARD_FILL) {
            return 0;
        }
    }
    return 1;
}

#endif
