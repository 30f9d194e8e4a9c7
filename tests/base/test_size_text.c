/* Numbers of bytes as people read them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/size_text.h"

static void units_fit(void **state)
{
    static const struct {
        double bytes;
        const char *text;
    } cases[] = {{0, "0 B"},
                 {1023, "1023 B"},
                 {1024, "1.0 KiB"},
                 {528384, "516.0 KiB"},
                 {1.5 * 1048576, "1.5 MiB"},
                 {805.25 * 1073741824, "805.2 GiB"},
                 {2.0 * 1099511627776, "2.0 TiB"},
                 {18446744073709551615.0, "16777216.0 TiB"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_string_equal(size_text_of(cases[i].bytes).text, cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(units_fit)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
