/* Mappings: zeroed, aligned, and backed with memory only where they are touched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/memory.h"

enum { MIB = 1 << 20, HUGE_PAGE = 2 * MIB };

/* Pages of [start, start + n_bytes) that memory backs. */
static size_t count_backed(void *start, size_t n_bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), n = (n_bytes + page - 1) / page, n_backed = 0;
    unsigned char *backed = malloc(n);
    assert_non_null(backed);
    assert_int_equal(mincore(start, n_bytes, backed), 0);
    for (size_t i = 0; i < n; i++) {
        n_backed += backed[i] & 1;
    }
    free(backed);
    return n_backed;
}

static void mappings_are_backed_where_touched(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 100000, 4 * MIB - 1, 4 * MIB, 9 * MIB + 12345};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        unsigned char *start = memory_map(sizes[i]);
        assert_non_null(start);
        assert_int_equal((uintptr_t)start % (size_t)sysconf(_SC_PAGESIZE), 0);
        assert_int_equal(count_backed(start, sizes[i]), 0);
        start[sizes[i] - 1] = 1;
        assert_true(count_backed(start, sizes[i]) > 0);
        if (sizes[i] > 2 * HUGE_PAGE) {
            assert_int_equal(count_backed(start, HUGE_PAGE), 0);
        }
        for (size_t b = 0; b + 1 < sizes[i]; b++) {
            assert_int_equal(start[b], 0);
        }
        memory_unmap(start, sizes[i]);
    }
}

static void large_mappings_begin_with_a_huge_page(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        size_t n_bytes = (size_t)(4 + i) * MIB + (size_t)i * 4097;
        void *start = memory_map(n_bytes);
        assert_non_null(start);
        assert_int_equal((uintptr_t)start % HUGE_PAGE, 0);
        memory_unmap(start, n_bytes);
    }
}

static void sizes_beyond_memory_are_refused(void **state)
{
    (void)state;
    assert_null(memory_map(SIZE_MAX));
    assert_null(memory_map(SIZE_MAX / 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mappings_are_backed_where_touched),
        cmocka_unit_test(large_mappings_begin_with_a_huge_page),
        cmocka_unit_test(sizes_beyond_memory_are_refused),
    };
    return cmocka_run_group_tests_name("base.memory", tests, NULL, NULL);
}
