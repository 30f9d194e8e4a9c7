#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <string.h>

#include "dsv4/status.h"

static void test_texts(void **state)
{
    (void)state;
    assert_int_equal(DSV4_OK, 0);
    assert_string_equal(dsv4_status_text(DSV4_OK), "success");
    assert_string_equal(dsv4_status_text(DSV4_E_FORMAT), "malformed file");
    assert_string_equal(dsv4_status_remedy(DSV4_E_USAGE), "see --help");
    assert_string_equal(dsv4_status_text(DSV4_E_UNSUPPORTED), "not available on this machine or in this build");
    for (int i = 1; i < DSV4_N_STATUS; i++) {
        assert_true(strlen(dsv4_status_text((dsv4_status)i)) > 0);
        assert_true(strlen(dsv4_status_remedy((dsv4_status)i)) > 0);
    }
}

static void test_unknown_codes(void **state)
{
    (void)state;
    static const int codes[] = {-1, DSV4_N_STATUS, INT_MAX, INT_MIN};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        assert_string_equal(dsv4_status_text((dsv4_status)codes[i]), "unknown status");
        assert_string_equal(dsv4_status_remedy((dsv4_status)codes[i]), "");
    }
}

static void test_fail_records(void **state)
{
    (void)state;
    dsv4_error err = {0};
    assert_int_equal(dsv4_fail(&err, DSV4_E_SHAPE, "%s: got [%d], expected [%d]", "in.x", 3, 4), DSV4_E_SHAPE);
    assert_int_equal(err.status, DSV4_E_SHAPE);
    assert_string_equal(err.text, "in.x: got [3], expected [4]");
}

/* A verdict in a graph is memory that verify compares byte by byte. */
static void test_text_is_followed_by_zeros(void **state)
{
    dsv4_error err;
    (void)state;
    memset(&err, 0xa5, sizeof err);
    dsv4_fail(&err, DSV4_E_VALUE, "short");
    for (size_t i = strlen("short"); i < sizeof err.text; i++) {
        assert_int_equal(err.text[i], 0);
    }
}

static void test_fail_without_error(void **state)
{
    (void)state;
    assert_int_equal(dsv4_fail(NULL, DSV4_E_IO, "%s", "lost"), DSV4_E_IO);
}

static void test_control_characters(void **state)
{
    (void)state;
    dsv4_error err = {0};
    dsv4_fail(&err, DSV4_E_FORMAT, "a%sb\n", "\x1b[31m\t\r\n\x7f\x01");
    assert_string_equal(err.text, "a?[31m?????b?");
    dsv4_fail(&err, DSV4_E_FORMAT, "%s",
              "gr\xc3\xb6\xc3\x9f"
              "e");
    assert_string_equal(err.text, "gr\xc3\xb6\xc3\x9f"
                                  "e");
}

static void test_long_text_is_cut(void **state)
{
    (void)state;
    char text[2000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    dsv4_error err;
    memset(&err, 0x55, sizeof err);
    dsv4_fail(&err, DSV4_E_VALUE, "%s", text);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_memory_equal(err.text, text, sizeof err.text - 1);
}

/* A caller may put its own context before the line that it got. */
static void test_line_may_quote_itself(void **state)
{
    (void)state;
    dsv4_error err = {0};
    dsv4_fail(&err, DSV4_E_IO, "no space");
    dsv4_fail(&err, err.status, "out.safetensors: %s", err.text);
    assert_string_equal(err.text, "out.safetensors: no space");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_unknown_codes),
        cmocka_unit_test(test_fail_records),
        cmocka_unit_test(test_text_is_followed_by_zeros),
        cmocka_unit_test(test_fail_without_error),
        cmocka_unit_test(test_control_characters),
        cmocka_unit_test(test_long_text_is_cut),
        cmocka_unit_test(test_line_may_quote_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
