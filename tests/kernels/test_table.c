/* The rows of the table and the choice of one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/fastest.h"
#include "kernels/kernels.h"

static int forget_choice(void **state)
{
    (void)state;
    return unsetenv("DSV4_ISA");
}

static void every_row_is_complete_and_scalar_is_the_last(void **state)
{
    (void)state;
    const uk_table *last = NULL;
    for (const uk_table *const *row = uk_all(); *row; row++) {
#define ASSERT_PRESENT(name, result, parameters) assert_true((*row)->name != NULL);
        UK_KERNELS(ASSERT_PRESENT)
#undef ASSERT_PRESENT
        last = *row;
    }
    assert_non_null(last);
    assert_string_equal(last->isa, "scalar");
    assert_true(uk_is_supported(last));
    assert_null(uk_missing_feature(last));
}

static void a_row_is_found_by_name_or_refused_with_what_is_missing(void **state)
{
    (void)state;
    for (const uk_table *const *row = uk_all(); *row; row++) {
        const uk_table *found = NULL;
        dsv4_error err = {0};
        dsv4_status status = uk_find((*row)->isa, &found, &err);
        if (uk_is_supported(*row)) {
            assert_int_equal(status, DSV4_OK);
            assert_ptr_equal(found, *row);
        } else {
            assert_int_equal(status, DSV4_E_UNSUPPORTED);
            assert_null(found);
            assert_non_null(strstr(err.text, (*row)->isa));
            assert_non_null(strstr(err.text, uk_missing_feature(*row)));
        }
    }
}

/* The best row, or avx512 where that is avx512bf16: the choice between these two is measured. */
static void expect_best(const uk_table *found)
{
    const uk_table *const *row = uk_all();
    while (!uk_is_supported(*row)) {
        row++;
    }
    if (found != *row) {
        assert_string_equal((*row)->isa, "avx512bf16");
        assert_string_equal(found->isa, "avx512");
        assert_true(uk_is_supported(found));
    }
}

static void without_a_name_the_best_supported_row_is_chosen(void **state)
{
    (void)state;
    const uk_table *found = NULL, *again = NULL;
    assert_int_equal(uk_find(NULL, &found, NULL), DSV4_OK);
    expect_best(found);
    setenv("DSV4_ISA", "", 1);
    assert_int_equal(uk_find(NULL, &again, NULL), DSV4_OK);
    assert_ptr_equal(again, found);
}

static void the_choice_holds_for_the_process(void **state)
{
    (void)state;
    const uk_table *first = NULL, *named = NULL;
    assert_int_equal(uk_find(NULL, &first, NULL), DSV4_OK);
    for (int i = 0; i < 100; i++) {
        const uk_table *found = NULL;
        assert_int_equal(uk_find("scalar", &named, NULL), DSV4_OK);
        assert_int_equal(uk_find(NULL, &found, NULL), DSV4_OK);
        assert_ptr_equal(found, first);
    }
}

/* Stores the choice, or nothing where it fails. */
static void *find_row(void *found)
{
    const uk_table *row = NULL;
    if (uk_find(NULL, &row, NULL) == DSV4_OK) {
        *(const uk_table **)found = row;
    }
    return NULL;
}

static void threads_agree_on_the_choice(void **state)
{
    (void)state;
    enum { N_THREADS = 4 };
    pthread_t threads[N_THREADS];
    const uk_table *found[N_THREADS] = {NULL};
    for (int i = 0; i < N_THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, find_row, &found[i]), 0);
    }
    for (int i = 0; i < N_THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_ptr_equal(found[i], found[0]);
    }
    assert_non_null(found[0]);
    expect_best(found[0]);
}

static void pack_nothing(int64_t rows, int64_t group_rows, int64_t k, const uint16_t *x, int64_t ldx, void *dst)
{
    (void)rows, (void)group_rows, (void)k, (void)x, (void)ldx, (void)dst;
}

static void multiply_slowly(uk_acts a, int64_t k, const uint16_t *panel, float *c, int64_t ldc)
{
    (void)a, (void)k, (void)panel, (void)c, (void)ldc;
    const struct timespec some = {0, 20000};
    nanosleep(&some, NULL);
}

static void multiply_at_once(uk_acts a, int64_t k, const uint16_t *panel, float *c, int64_t ldc)
{
    (void)a, (void)k, (void)panel, (void)c, (void)ldc;
}

static void of_two_rows_the_faster_one_is_chosen(void **state)
{
    (void)state;
    const uk_table slow = {.tile_bf16 = pack_nothing, .gemm_bf16 = multiply_slowly};
    const uk_table fast = {.tile_bf16 = pack_nothing, .gemm_bf16 = multiply_at_once};
    assert_ptr_equal(uk_faster(&slow, &fast), &fast);
    assert_ptr_equal(uk_faster(&fast, &slow), &fast);
}

static void the_environment_chooses_where_the_caller_does_not(void **state)
{
    (void)state;
    const uk_table *found = NULL;
    setenv("DSV4_ISA", "scalar", 1);
    assert_int_equal(uk_find(NULL, &found, NULL), DSV4_OK);
    assert_string_equal(found->isa, "scalar");
    setenv("DSV4_ISA", "sse9", 1);
    assert_int_equal(uk_find("scalar", &found, NULL), DSV4_OK);
    dsv4_error err = {0};
    found = NULL;
    assert_int_equal(uk_find(NULL, &found, &err), DSV4_E_NOT_FOUND);
    assert_null(found);
    assert_non_null(strstr(err.text, "DSV4_ISA"));
    assert_non_null(strstr(err.text, "sse9"));
}

static void an_unknown_name_is_answered_with_every_row(void **state)
{
    (void)state;
    const uk_table *found = NULL;
    dsv4_error err = {0};
    assert_int_equal(uk_find("mmx", &found, &err), DSV4_E_NOT_FOUND);
    assert_int_equal(err.status, DSV4_E_NOT_FOUND);
    assert_null(found);
    assert_non_null(strstr(err.text, "mmx"));
    for (const uk_table *const *row = uk_all(); *row; row++) {
        assert_non_null(strstr(err.text, (*row)->isa));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(threads_agree_on_the_choice, forget_choice, forget_choice), /* nothing is chosen yet */
        cmocka_unit_test(every_row_is_complete_and_scalar_is_the_last),
        cmocka_unit_test(a_row_is_found_by_name_or_refused_with_what_is_missing),
        cmocka_unit_test_setup_teardown(without_a_name_the_best_supported_row_is_chosen, forget_choice, forget_choice),
        cmocka_unit_test_setup_teardown(the_choice_holds_for_the_process, forget_choice, forget_choice),
        cmocka_unit_test(of_two_rows_the_faster_one_is_chosen),
        cmocka_unit_test_setup_teardown(the_environment_chooses_where_the_caller_does_not, forget_choice, forget_choice),
        cmocka_unit_test(an_unknown_name_is_answered_with_every_row),
    };
    return cmocka_run_group_tests_name("kernels.table", tests, NULL, NULL);
}
