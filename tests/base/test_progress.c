#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/progress.h"

static void sleep_s(double seconds)
{
    usleep((useconds_t)(seconds * 1e6));
}

/* Reads until nothing comes for a while; a terminal passes its text on late and in pieces. */
static void read_all(int fd, char *text, size_t size)
{
    size_t n_bytes = 0;
    struct pollfd waiting = {.fd = fd, .events = POLLIN};
    while (poll(&waiting, 1, 100) == 1 && n_bytes < size - 1) {
        ssize_t n = read(fd, text + n_bytes, size - 1 - n_bytes);
        assert_true(n > 0);
        n_bytes += (size_t)n;
    }
    text[n_bytes] = '\0';
}

/* What `work` writes to stderr while stderr is `fd`; `reader` is the other end. */
static void capture(int fd, int reader, void (*work)(void), char *text, size_t size)
{
    int saved = dup(STDERR_FILENO);
    assert_true(saved >= 0);
    assert_true(dup2(fd, STDERR_FILENO) >= 0);
    work();
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
    read_all(reader, text, size);
}

static void capture_on_terminal(void (*work)(void), char *text, size_t size)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) {
        skip();
    }
    int terminal = open(ptsname(master), O_RDWR | O_NOCTTY);
    assert_true(terminal >= 0);
    capture(terminal, master, work, text, size);
    close(terminal);
    close(master);
}

static void work_long(void)
{
    progress p = progress_begin("sealing");
    progress_report(&p, 0.1);
    sleep_s(0.55);
    progress_report(&p, 0.5);
    sleep_s(0.15);
    progress_report(&p, NAN);
    sleep_s(0.15);
    progress_report(&p, 7);
    progress_end(&p);
    progress_end(&p);
}

/* Reports without pause; sets how long it took. */
static double busy_s;

static void work_busy(void)
{
    progress p = progress_begin("sealing");
    double start_s = clock_s();
    while (clock_s() - start_s < 0.75) {
        progress_report(&p, 0.5);
    }
    busy_s = clock_s() - start_s;
    progress_end(&p);
}

static void work_short(void)
{
    progress p = progress_begin("sealing");
    for (int i = 0; i < 10; i++) {
        progress_report(&p, i / 10.0);
    }
    progress_end(&p);
}

static void test_terminal(void **state)
{
    (void)state;
    char text[1024];
    capture_on_terminal(work_long, text, sizeof text);
    assert_string_equal(text, "\rsealing [###############...............]  50%"
                              "\rsealing [..............................]   0%"
                              "\rsealing [##############################] 100%"
                              "\r\033[K");
}

static void test_ten_bars_a_second(void **state)
{
    (void)state;
    char text[4096];
    capture_on_terminal(work_busy, text, sizeof text);
    int n_bars = 0;
    for (const char *at = text; (at = strstr(at, "\rsealing")); at++) {
        n_bars++;
    }
    assert_in_range(n_bars, 1, (int)((busy_s - 0.5) / 0.1) + 1);
}

static void test_short_work_is_silent(void **state)
{
    (void)state;
    char text[1024];
    capture_on_terminal(work_short, text, sizeof text);
    assert_string_equal(text, "");
}

static void test_no_terminal_is_silent(void **state)
{
    (void)state;
    char text[1024];
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    capture(ends[1], ends[0], work_long, text, sizeof text);
    close(ends[0]);
    close(ends[1]);
    assert_string_equal(text, "");
}

static void test_no_progress(void **state)
{
    (void)state;
    progress_report(NULL, 0.5);
    progress_end(NULL);
}

static void test_clock(void **state)
{
    (void)state;
    double start_s = clock_s(), previous_s = start_s;
    for (int i = 0; i < 1000; i++) {
        double now_s = clock_s();
        assert_true(now_s >= previous_s);
        previous_s = now_s;
    }
    start_s = clock_s();
    sleep_s(0.02);
    double waited_s = clock_s() - start_s;
    assert_true(waited_s >= 0.02 && waited_s < 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_terminal),
        cmocka_unit_test(test_ten_bars_a_second),
        cmocka_unit_test(test_short_work_is_silent),
        cmocka_unit_test(test_no_terminal_is_silent),
        cmocka_unit_test(test_no_progress),
        cmocka_unit_test(test_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
