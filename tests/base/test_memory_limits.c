/* Limits of memory, as files of the system tell them. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/memory_limits.h"
#include "require.h"

#define ROOT TEST_TEMPORARY "/limits"

static void put(const char *path, const char *text)
{
    char full[512];
    for (const char *c = path; *c != '\0'; c++) {
        if (*c == '/') {
            snprintf(full, sizeof full, "%s/%.*s", ROOT, (int)(c - path), path);
            mkdir(full, 0777);
        }
    }
    snprintf(full, sizeof full, "%s/%s", ROOT, path);
    FILE *f = fopen(full, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void second_version(void **state)
{
    (void)state;
    mkdir(ROOT, 0777);
    put("two/proc/meminfo", "MemTotal:       9000 kB\nMemFree:  10 kB\nMemAvailable:    4000 kB\n");
    put("two/proc/self/cgroup", "0::/outer/inner\n");
    put("two/groups/outer/memory.max", "3000000\n");
    put("two/groups/outer/memory.current", "1500000\n");
    put("two/groups/outer/memory.stat", "anon 1\nfile 900000\ninactive_file 300000\nactive_file 200000\n");
    put("two/groups/outer/inner/memory.max", "max\n");
    put("two/groups/outer/inner/memory.current", "5\n");
    const memory_limits m = memory_limits_read(ROOT "/two/proc", ROOT "/two/groups");
    assert_int_equal(m.machine, 4000 * 1024);
    assert_int_equal(m.group, 3000000 - (1500000 - 300000 - 200000));
    assert_int_equal(m.available, m.group);
    put("two/groups/outer/inner/memory.max", "4\n"); /* already more than allowed */
    assert_int_equal(memory_limits_read(ROOT "/two/proc", ROOT "/two/groups").available, 0);
}

static void first_version(void **state)
{
    (void)state;
    mkdir(ROOT, 0777);
    put("one/proc/meminfo", "MemAvailable:    100 kB\n");
    put("one/proc/self/cgroup", "4:memory:/box\n3:cpuset:/\n0::/\n");
    put("one/groups/memory/memory.limit_in_bytes", "200000\n"); /* the path is not seen from within: the root's limit */
    put("one/groups/memory/memory.usage_in_bytes", "150000\n");
    const memory_limits m = memory_limits_read(ROOT "/one/proc", ROOT "/one/groups");
    assert_int_equal(m.group, 50000);
    assert_int_equal(m.available, 50000);
    put("one/groups/memory/memory.limit_in_bytes", "9223372036854771712\n"); /* how version 1 says none */
    assert_int_equal(memory_limits_read(ROOT "/one/proc", ROOT "/one/groups").available, 100 * 1024);
}

static void nothing_is_no_limit(void **state)
{
    (void)state;
    const memory_limits m = memory_limits_read(ROOT "/nowhere", ROOT "/nowhere");
    assert_true(m.machine == SIZE_MAX && m.group == SIZE_MAX && m.available == SIZE_MAX);
    assert_true(memory_limits_read("/proc", "/sys/fs/cgroup").machine < SIZE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(second_version),
        cmocka_unit_test(first_version),
        cmocka_unit_test(nothing_is_no_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
