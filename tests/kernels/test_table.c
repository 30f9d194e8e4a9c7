/* The rows of the table and the choice of one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

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

static void without_a_name_the_best_supported_row_is_chosen(void **state)
{
    (void)state;
    const uk_table *const *row = uk_all();
    while (!uk_is_supported(*row)) {
        row++;
    }
    const uk_table *found = NULL;
    assert_int_equal(uk_find(NULL, &found, NULL), DSV4_OK);
    assert_ptr_equal(found, *row);
    setenv("DSV4_ISA", "", 1);
    found = NULL;
    assert_int_equal(uk_find(NULL, &found, NULL), DSV4_OK);
    assert_ptr_equal(found, *row);
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
        cmocka_unit_test(every_row_is_complete_and_scalar_is_the_last),
        cmocka_unit_test(a_row_is_found_by_name_or_refused_with_what_is_missing),
        cmocka_unit_test_setup_teardown(without_a_name_the_best_supported_row_is_chosen, forget_choice, forget_choice),
        cmocka_unit_test_setup_teardown(the_environment_chooses_where_the_caller_does_not, forget_choice, forget_choice),
        cmocka_unit_test(an_unknown_name_is_answered_with_every_row),
    };
    return cmocka_run_group_tests_name("kernels.table", tests, NULL, NULL);
}
