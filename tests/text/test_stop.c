/* Texts at which a stream ends, for every way to cut a stream in two or byte by byte. */
#include "require.h"

#include <stdlib.h>
#include <string.h>

#include "text/stop.h"

static char shown[256];

static void show(const char *bytes, size_t n)
{
    strncat(shown, bytes, n);
}

static void feed(stop_filter *f, const char *bytes, size_t n)
{
    const char *out;
    size_t n_out;
    dsv4_error err = {0};
    char *copy = malloc(n + 1); /* so that a read behind the bytes is noticed */
    assert_non_null(copy);
    memcpy(copy, bytes, n);
    require_ok(stop_filter_next(f, copy, n, &out, &n_out, &err), &err);
    show(out, n_out);
    free(copy);
}

static void check(const char *const *texts, size_t n_texts, const char *stream, const char *expected, bool found)
{
    const size_t n = strlen(stream);
    for (size_t cut = 0; cut <= n + 1; cut++) { /* the last: byte by byte */
        stop_filter f = {.texts = texts, .n_texts = n_texts};
        size_t n_rest;
        shown[0] = '\0';
        if (cut <= n) {
            feed(&f, stream, cut);
            feed(&f, stream + cut, n - cut);
        } else {
            for (size_t i = 0; i < n; i++) {
                feed(&f, stream + i, 1);
            }
        }
        assert_int_equal(f.found, found);
        const char *rest = stop_filter_end(&f, &n_rest);
        show(rest, n_rest);
        assert_string_equal(shown, expected);
        stop_filter_deinit(&f);
    }
}

static void test_streams(void **state)
{
    (void)state;
    static const char *const end[] = {"END"}, *const two[] = {"abab", "bc"}, *const inner[] = {"aaab", "a\n"}, *const one[] = {"x"},
                             *const nested[] = {"abcd", "bc", "c"};
    check(end, 1, "all of it EN", "all of it EN", false);
    check(end, 1, "all of it ENENDEND", "all of it EN", true);
    check(end, 1, "END", "", true);
    check(two, 2, "aabababc", "a", true);
    check(two, 2, "ababbc", "", true);
    check(two, 2, "aba bacbb", "aba bacbb", false);
    check(two, 2, "abbc", "ab", true);
    check(inner, 2, "aaaaaab", "aaa", true);
    check(inner, 2, "aaaa\nb", "aaa", true);
    check(inner, 2, "aaaa", "aaaa", false);
    check(one, 1, "", "", false);
    check(one, 1, "yx", "y", true);
    check(nested, 3, "xabcd", "xa", true);
    check(NULL, 0, "anything", "anything", false);
}

/* Nothing that may be part of a text goes on, everything else does at once. */
static void test_held_back(void **state)
{
    (void)state;
    static const char *const texts[] = {"\n\nUser:"};
    stop_filter f = {.texts = texts, .n_texts = 1};
    shown[0] = '\0';
    feed(&f, "one\n", 4);
    assert_string_equal(shown, "one");
    feed(&f, "two\n\nUse", 8);
    assert_string_equal(shown, "one\ntwo");
    feed(&f, "d", 1);
    assert_string_equal(shown, "one\ntwo\n\nUsed");
    stop_filter_deinit(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_streams), cmocka_unit_test(test_held_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
