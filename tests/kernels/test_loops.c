/* The loops that ceilings are measured with: streams are read whole and copied exactly, products depend on what goes in. How fast
 * they are, is not tested. */
#include "kernels/loops.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N_BYTES = 256 * 37 };

static void test_streams(void **state)
{
    (void)state;
    for (const uk_table *const *row = uk_all(); *row != NULL; row++) {
        const uk_loops *loops = uk_find_loops(*row);
        if (!uk_is_supported(*row)) {
            continue;
        }
        uint64_t *stream = aligned_alloc(64, N_BYTES), *copy = aligned_alloc(64, N_BYTES), sum = 0;
        assert_true(stream != NULL && copy != NULL);
        for (int i = 0; i < N_BYTES / 8; i++) {
            stream[i] = (uint64_t)i * UINT64_C(0x9e3779b97f4a7c15);
            sum += stream[i];
        }
        memset(copy, 0, N_BYTES);
        assert_int_equal(loops->read(stream, N_BYTES, 0), sum);
        assert_int_equal(loops->read(stream, N_BYTES, 4096), sum);
        loops->copy(copy, stream, N_BYTES);
        assert_memory_equal(copy, stream, N_BYTES);
        free(stream);
        free(copy);
    }
}

/* Another seed, another result: nothing is computed ahead or left out. */
static void check_products(uk_loop loop)
{
    assert_true(loop.ops_per_round > 0);
    assert_true(loop.run(100, 1) == loop.run(100, 1));
    assert_true(loop.run(100, 1) != loop.run(100, 2));
}

static void test_products(void **state)
{
    (void)state;
    for (const uk_table *const *row = uk_all(); *row != NULL; row++) {
        const uk_loops *loops = uk_find_loops(*row);
        if (uk_is_supported(*row)) {
            check_products(loops->i8);
            check_products(loops->f32);
            if (loops->bf16.run != NULL) {
                check_products(loops->bf16);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_streams), cmocka_unit_test(test_products)};
    return cmocka_run_group_tests_name("kernels.loops", tests, NULL, NULL);
}
