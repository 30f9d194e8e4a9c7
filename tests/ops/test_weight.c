/* Weights packed by the workers of a pool are, byte for byte, those that one thread packs with the scalar kernels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "ops/support.h"
#include "ops/weight.h"

static void fill(dsv4_tensor t)
{
    rng r = {7, 0};
    for (size_t i = 0; i < dsv4_tensor_bytes(&t); i++) {
        ((uint8_t *)t.data)[i] = (uint8_t)rng_below(&r, i, 256);
    }
}

static op_weight pack(dsv4_graph *g, const char *isa, dsv4_pool *pool, op_weight_source w)
{
    op_context c = {.g = g, .pool = pool};
    dsv4_error err = {0};
    require_ok(uk_find(isa, &c.uk, &err), &err);
    return op_weight_pack(&c, "w", w);
}

static void expect_same(const uk_packed *got, const uk_packed *want, dsv4_dtype dtype)
{
    assert_int_equal(got->n_panels, want->n_panels);
    assert_int_equal(got->panel_bytes, want->panel_bytes);
    assert_memory_equal(got->panels, want->panels, (size_t)(want->n_panels * want->panel_bytes));
    if (dtype == DSV4_I8) {
        assert_memory_equal(got->correction, want->correction, (size_t)want->n_panels * UK_PANEL * sizeof *want->correction);
    }
}

/* [rows, cols], as [K, N] and as [N, K]. */
static void check(dsv4_dtype dtype, int64_t rows, int64_t cols)
{
    dsv4_tensor_list list = {0};
    dsv4_tensor w;
    dsv4_error err = {0};
    require_ok(dsv4_tensor_list_alloc(&list, "w", dtype, 2, (const int64_t[]){rows, cols}, &w, &err), &err);
    fill(w);
    for (int transposed = 0; transposed < 2; transposed++) {
        op_weight_source source = transposed ? op_weight_of_transposed(&w) : op_weight_of(&w);
        dsv4_graph *g = dsv4_graph_create("weights");
        assert_non_null(g);
        op_weight want = pack(g, "scalar", NULL, source);
        for (int n_threads = 1; n_threads <= 3; n_threads++) {
            dsv4_pool *pool = make_pool(n_threads);
            op_weight got = pack(g, NULL, pool, source);
            expect_same(&got.packed, &want.packed, dtype);
            dsv4_pool_destroy(pool);
        }
        dsv4_graph_destroy(g);
    }
    dsv4_tensor_list_deinit(&list);
}

static void workers_pack_what_one_thread_packs(void **state)
{
    (void)state;
    static const dsv4_dtype dtypes[] = {DSV4_BF16, DSV4_F32, DSV4_I8};
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        check(dtypes[i], 1, 1); /* fewer panels than workers */
        check(dtypes[i], 70, 33);
        check(dtypes[i], 523, 300);
        check(dtypes[i], 2048, 1056); /* large enough for huge pages */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(workers_pack_what_one_thread_packs)};
    return cmocka_run_group_tests_name("ops.weight", tests, NULL, NULL);
}
