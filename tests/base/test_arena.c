#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <string.h>

#include "base/arena.h"

enum { N_BLOCKS = 2000 };

static bool all_bytes_are(const unsigned char *block, size_t n_bytes, unsigned char expected)
{
    for (size_t i = 0; i < n_bytes; i++) {
        if (block[i] != expected) {
            return false;
        }
    }
    return true;
}

/* Small ones, and every 100th larger than a chunk. */
static size_t size_of_block(int i)
{
    return i % 100 == 99 ? 200000 : (size_t)i % 300;
}

/* Blocks are zeroed and aligned, and filling one leaves all others as they are. */
static void test_blocks_are_zeroed_aligned_disjoint(void **state)
{
    (void)state;
    arena a = {0};
    unsigned char *blocks[N_BLOCKS];
    for (int i = 0; i < N_BLOCKS; i++) {
        size_t n_bytes = size_of_block(i);
        blocks[i] = arena_alloc(&a, n_bytes);
        assert_non_null(blocks[i]);
        assert_true((uintptr_t)blocks[i] % 64 == 0);
        assert_true(all_bytes_are(blocks[i], n_bytes ? n_bytes : 1, 0));
        memset(blocks[i], i % 255 + 1, n_bytes);
    }
    for (int i = 0; i < N_BLOCKS; i++) {
        assert_true(all_bytes_are(blocks[i], size_of_block(i), (unsigned char)(i % 255 + 1)));
    }
    arena_deinit(&a);
}

static void test_empty_blocks_are_distinct(void **state)
{
    (void)state;
    arena a = {0};
    unsigned char *first = arena_alloc(&a, 0), *second = arena_alloc(&a, 0);
    assert_non_null(first);
    assert_non_null(second);
    assert_ptr_not_equal(first, second);
    *first = 1;
    assert_int_equal(*second, 0);
    arena_deinit(&a);
}

static void test_impossible_sizes(void **state)
{
    (void)state;
    arena a = {0};
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_alloc(&a, SIZE_MAX - 63));
    assert_null(arena_alloc(&a, SIZE_MAX / 2 + 1));
    assert_non_null(arena_alloc(&a, 10));
    arena_deinit(&a);
}

/* A chunk's free space stays in use when a large block comes between two small ones. */
static void test_large_block_keeps_chunk_in_use(void **state)
{
    (void)state;
    arena a = {0};
    char *first = arena_alloc(&a, 64);
    assert_non_null(first);
    assert_non_null(arena_alloc(&a, 10000000));
    char *second = arena_alloc(&a, 64);
    assert_ptr_equal(second, first + 64);
    arena_deinit(&a);
}

static void test_copy_text(void **state)
{
    (void)state;
    arena a = {0};
    char text[] = "hc_pre";
    char *copy = arena_copy_text(&a, text), *empty = arena_copy_text(&a, "");
    text[0] = 'x';
    assert_string_equal(copy, "hc_pre");
    assert_string_equal(empty, "");
    arena_deinit(&a);
}

static void test_use_after_deinit_starts_anew(void **state)
{
    (void)state;
    arena a = {0};
    arena_deinit(&a);
    assert_non_null(arena_alloc(&a, 100));
    arena_deinit(&a);
    assert_null(a.newest);
    unsigned char *block = arena_alloc(&a, 100);
    assert_true(all_bytes_are(block, 100, 0));
    arena_deinit(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_are_zeroed_aligned_disjoint),
        cmocka_unit_test(test_empty_blocks_are_distinct),
        cmocka_unit_test(test_impossible_sizes),
        cmocka_unit_test(test_large_block_keeps_chunk_in_use),
        cmocka_unit_test(test_copy_text),
        cmocka_unit_test(test_use_after_deinit_starts_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
