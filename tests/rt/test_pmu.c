/* Counters: the layouts that the system and the processor give, scaling, groups, and events of the system through the same path. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <linux/perf_event.h>
#include <math.h>
#include <string.h>
#include <sys/mman.h>

#include "rt/pmu.h"
#include "rt_helpers.h"

/* ---- layouts ------------------------------------------------------------------------------------------------------------------- */

static void test_group_layout(void **state)
{
    (void)state;
    const uint64_t words[] = {2, 1000, 400, 77, UINT64_C(1) << 40};
    rt_pmu_reading r = {0};
    assert_true(rt_pmu_decode_group(words, 5, 2, &r));
    assert_true(r.enabled == 1000 && r.running == 400 && r.values[0] == 77 && r.values[1] == UINT64_C(1) << 40);
    assert_false(rt_pmu_decode_group(words, 4, 2, &r)); /* cut off */
    assert_false(rt_pmu_decode_group(words, 4, 1, &r)); /* of another group */
    assert_false(rt_pmu_decode_group(words, 0, 2, &r));
}

static void test_page_layout(void **state)
{
    (void)state;
    struct perf_event_mmap_page page = {.index = 1,
                                        .offset = 1000,
                                        .time_enabled = 5000,
                                        .time_running = 3000,
                                        .cap_user_rdpmc = 1,
                                        .cap_user_time = 1,
                                        .pmc_width = 48,
                                        .time_shift = 10,
                                        .time_mult = 512, /* half a nanosecond a tick */
                                        .time_offset = 7};
    rt_pmu_reading r = {0};
    assert_true(rt_pmu_decode_page(&page, 42, 2001, 3, &r));
    assert_true(r.values[3] == 1042 && r.enabled == 5000 + 7 + 1000 && r.running == 3000 + 7 + 1000);
    /* A counter that starts below zero, as the system sets it to overflow in time. */
    page.offset = INT64_C(1) << 47;
    assert_true(rt_pmu_decode_page(&page, (UINT64_C(1) << 48) - 5, 0, 0, &r));
    assert_true(r.values[0] == (UINT64_C(1) << 47) - 5);
    page.pmc_width = 64;
    assert_true(rt_pmu_decode_page(&page, 9, 0, 0, &r));
    assert_true(r.values[0] == (UINT64_C(1) << 47) + 9);
}

static void test_page_without_counter(void **state)
{
    (void)state;
    const struct perf_event_mmap_page good = {.index = 1, .cap_user_rdpmc = 1, .cap_user_time = 1, .pmc_width = 48};
    struct perf_event_mmap_page pages[5] = {good, good, good, good, good};
    rt_pmu_reading r = {0};
    pages[0].index = 0;
    pages[1].cap_user_rdpmc = 0;
    pages[2].cap_user_time = 0;
    pages[3].pmc_width = 0;
    pages[4].pmc_width = 65;
    for (int i = 0; i < 5; i++) {
        assert_false(rt_pmu_decode_page(&pages[i], 1, 1, 0, &r));
    }
    assert_true(rt_pmu_decode_page(&good, 1, 1, 0, &r));
}

static void test_scaling(void **state)
{
    (void)state;
    rt_pmu_reading begin = {100, 100, {10, 50}}, end = {300, 300, {40, 55}};
    assert_true(rt_pmu_count(&begin, &end, 0) == 30 && rt_pmu_count(&begin, &end, 1) == 5);
    end.running = 150; /* a quarter of the time in the counters */
    assert_true(rt_pmu_count(&begin, &end, 0) == 120 && rt_pmu_count(&begin, &end, 1) == 20);
    end.running = 100; /* never */
    assert_true(isnan(rt_pmu_count(&begin, &end, 0)));
    assert_true(rt_pmu_count(&begin, &begin, 0) == 0);
    const rt_pmu_reading failed = {0, 0, {0}};
    assert_true(isnan(rt_pmu_count(&begin, &failed, 0)));
}

/* ---- groups -------------------------------------------------------------------------------------------------------------------- */

static void test_groups(void **state)
{
    (void)state;
    static const char *const names[] = {"cycles", "cache", "memory", "stalls", "software"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const rt_pmu_group *g = rt_pmu_find_group(names[i]);
        assert_non_null(g);
        rt_pmu_choice c = rt_pmu_look(g);
        int n = 0;
        while (g->events[n].name != NULL) {
            n++;
        }
        assert_true(n <= RT_PMU_MAX_EVENTS && c.n_events + c.n_missing == n);
        dsv4_error err = {0};
        dsv4_status status = rt_pmu_choose(names[i], &c, &err);
        if (c.n_events > 0 || g->is_software) {
            assert_int_equal(status, DSV4_OK);
        } else {
            assert_int_equal(status, DSV4_E_UNSUPPORTED);
            assert_non_null(strstr(err.text, g->events[0].name));
            assert_non_null(strstr(err.text, "software"));
        }
    }
    dsv4_error err = {0};
    rt_pmu_choice c;
    assert_int_equal(rt_pmu_choose("nonsense", &c, &err), DSV4_E_USAGE);
    assert_non_null(strstr(err.text, "expected one of cycles, cache, memory, stalls, software"));
}

static void test_reasons(void **state)
{
    (void)state;
    static const struct {
        int reason;
        const char *says;
    } cases[] = {{EACCES, "kernel.perf_event_paranoid is "},
                 {EPERM, "sysctl kernel.perf_event_paranoid=1"},
                 {ENOENT, "no such counter"},
                 {EOPNOTSUPP, "virtual machine"},
                 {EMFILE, "ulimit -n"},
                 {ENOSYS, "no perf_event_open"},
                 {E2BIG, "errno"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[160];
        assert_non_null(strstr(rt_pmu_reason_text(cases[i].reason, text, sizeof text), cases[i].says));
        assert_true(strlen(text) < sizeof text - 1);
    }
}

/* An event that no system has is left out; those beside it count. */
static void test_partly_missing(void **state)
{
    (void)state;
    const rt_pmu_group g = {"partly",
                            "",
                            false,
                            {{"nothing", PERF_TYPE_SOFTWARE, 1 << 20, false},
                             {"page_faults", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS, false},
                             {"nothing else", PERF_TYPE_SOFTWARE, 1 << 21, false}}};
    rt_pmu_choice c = rt_pmu_look(&g);
    if (c.n_events == 0) {
        print_message("skipped: the system counts no page faults\n");
        skip();
    }
    assert_int_equal(c.n_events, 1);
    assert_string_equal(c.events[0]->name, "page_faults");
    assert_int_equal(c.n_missing, 2);
    assert_string_equal(c.missing[0]->name, "nothing");
    assert_string_equal(c.missing[1]->name, "nothing else");
    assert_true(c.reasons[0] != 0 && c.reasons[1] != 0);
}

/* ---- counting ------------------------------------------------------------------------------------------------------------------- */

static void touch_pages(int n)
{
    const size_t page_bytes = 4096;
    unsigned char *pages = mmap(NULL, (size_t)n * page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(pages != MAP_FAILED);
    madvise(pages, (size_t)n * page_bytes, MADV_NOHUGEPAGE);
    for (int i = 0; i < n; i++) {
        ((volatile unsigned char *)pages)[(size_t)i * page_bytes] = 1;
    }
    munmap(pages, (size_t)n * page_bytes);
}

/* Two events in one group, so that the second one's place in it is read too. */
static void test_counts_page_faults(void **state)
{
    (void)state;
    const rt_pmu_group g = {"faults",
                            "",
                            false,
                            {{"page_faults", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS, false},
                             {"alignment_faults", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_ALIGNMENT_FAULTS, false},
                             {"minor_faults", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS_MIN, false}}};
    rt_pmu_choice c = rt_pmu_look(&g);
    if (c.n_events != 3) {
        print_message("skipped: the system counts no page faults\n");
        skip();
    }
    rt_pmu_meter m;
    assert_int_equal(rt_pmu_open(&m, &c), 0);
    rt_pmu_reading begin = {0}, end = {0}, later = {0};
    touch_pages(3);
    rt_pmu_read(&m, &begin);
    touch_pages(20);
    rt_pmu_read(&m, &end);
    rt_pmu_read(&m, &later);
    assert_true(begin.running > 0 && end.running > begin.running && end.enabled - end.running == begin.enabled - begin.running);
    double faults = rt_pmu_count(&begin, &end, 0), minor = rt_pmu_count(&begin, &end, 2);
    assert_true(faults >= 20 && faults < 40 + SANITIZED * 1000); /* sanitizers touch memory of their own */
    assert_true(minor == faults);
    assert_true(rt_pmu_count(&begin, &end, 1) == 0);
    assert_true(rt_pmu_count(&end, &later, 0) <= 2 + SANITIZED * 1000);
    rt_pmu_close(&m);
    assert_int_equal(m.n_events, 0);
    rt_pmu_close(&m);
}

static void test_nothing_to_open(void **state)
{
    (void)state;
    const rt_pmu_choice none = {.group = rt_pmu_find_group("software")};
    rt_pmu_meter m;
    rt_pmu_reading r = {1, 2, {3}};
    assert_int_equal(rt_pmu_open(&m, &none), 0);
    rt_pmu_read(&m, &r); /* leaves it */
    assert_true(r.enabled == 1 && r.running == 2 && r.values[0] == 3);
    rt_pmu_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_group_layout),
        cmocka_unit_test(test_page_layout),
        cmocka_unit_test(test_page_without_counter),
        cmocka_unit_test(test_scaling),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_partly_missing),
        cmocka_unit_test(test_counts_page_faults),
        cmocka_unit_test(test_nothing_to_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
