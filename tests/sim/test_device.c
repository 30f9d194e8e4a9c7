/* Descriptions: what is read, written, set, refused. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "require.h"
#include "sim/device.h"

#define CORES                                                                                                                     \
    "\"cores\": [{\"name\": \"core\", \"count\": 3, \"runs_cube\": true, \"runs_vector\": true, \"bf16\": {\"ops_s\": 5e10, "     \
    "\"step_m\": 4, \"by_rows\": [[1, 0.25], [8, 1]]}, \"vector\": {\"ops_s\": 1e9}, \"buffers\": [{\"name\": \"acc\", \"use\": " \
    "\"c\", \"bytes\": 1024}]}]"
#define LEVELS                                                                                                                    \
    "\"levels\": [{\"name\": \"memory\", \"is_shared\": true, \"read_bytes_s\": 2e10, \"write_bytes_s\": 1e10, "                  \
    "\"core_read_bytes_s\": 1e10, \"latency_s\": 1e-7, \"line_bytes\": 64}, {\"name\": \"L2\", \"is_shared\": false, \"bytes\": " \
    "65536, \"read_bytes_s\": 0, \"write_bytes_s\": 0, \"line_bytes\": 64}]"
#define SCHEDULE "\"schedule\": {\"n_threads\": 0, \"dispatch_s\": 1e-7}"
static const char whole[] = "{\"name\": \"small\", \"note\": \"made up\", \"sources\": [\"a\", \"b\"], " CORES ", " LEVELS
                            ", " SCHEDULE ", \"overlap\": 0.5}";

static dsv4_status parse(const char *text, sim_device *d, dsv4_error *err)
{
    return sim_device_parse("test.json", text, strlen(text), d, err);
}

static void require_small(const sim_device *d)
{
    assert_string_equal(d->name, "small");
    assert_string_equal(d->note, "made up");
    assert_int_equal(d->n_sources, 2);
    assert_string_equal(d->sources[1], "b");
    assert_int_equal(d->n_core_kinds, 1);
    const sim_core_kind *c = &d->cores[0];
    assert_string_equal(c->name, "core");
    assert_int_equal(c->count, 3);
    assert_true(c->runs_cube && c->runs_vector);
    assert_true(c->bf16.ops_s == 5e10 && c->bf16.step_m == 4 && c->bf16.step_n == 1 && c->i8.ops_s == 0 && c->vector.ops_s == 1e9);
    assert_int_equal(c->bf16.by_rows.n, 2);
    assert_true(c->bf16.by_rows.at[1] == 8 && c->bf16.by_rows.share[0] == 0.25);
    assert_int_equal(c->n_buffers, 1);
    assert_int_equal(c->buffers[0].use, SIM_BUFFER_C);
    assert_true(c->buffers[0].bytes == 1024);
    assert_int_equal(d->n_levels, 2);
    assert_true(d->levels[0].is_shared && !d->levels[1].is_shared && d->levels[0].core_read_bytes_s == 1e10);
    assert_true(d->levels[0].latency_s == 1e-7 && d->levels[1].bytes == 65536 && d->levels[0].line_bytes == 64);
    assert_true(d->schedule.n_threads == 0 && d->schedule.dispatch_s == 1e-7 && d->schedule.steal_s == 0 && d->overlap == 0.5);
}

static void test_read(void **state)
{
    (void)state;
    sim_device d = {0};
    dsv4_error err = {0};
    require_ok(parse(whole, &d, &err), &err);
    require_small(&d);
    sim_device_deinit(&d);
}

static void test_write(void **state)
{
    (void)state;
    const char *path = TEST_TEMPORARY "/device.json";
    sim_device d = {0}, again = {0};
    dsv4_error err = {0};
    require_ok(parse(whole, &d, &err), &err);
    require_ok(sim_device_write(&d, path, &err), &err);
    require_ok(sim_device_read(path, &again, &err), &err);
    require_small(&again);
    remove(path);
    sim_device_deinit(&d);
    sim_device_deinit(&again);
}

static void test_set(void **state)
{
    (void)state;
    sim_device d = {0};
    dsv4_error err = {0};
    require_ok(parse(whole, &d, &err), &err);
    require_ok(sim_device_set(&d, "levels.memory.read_bytes_s=3e10", &err), &err);
    require_ok(sim_device_set(&d, "cores.core.count=12", &err), &err);
    require_ok(sim_device_set(&d, "cores.core.i8.ops_s=7e10", &err), &err);
    require_ok(sim_device_set(&d, "cores.core.buffers.acc.bytes=2048", &err), &err);
    require_ok(sim_device_set(&d, "schedule.dispatch_s=1e-6", &err), &err);
    require_ok(sim_device_set(&d, "overlap=0", &err), &err);
    assert_true(d.levels[0].read_bytes_s == 3e10 && d.cores[0].count == 12 && d.cores[0].i8.ops_s == 7e10);
    assert_true(d.cores[0].buffers[0].bytes == 2048 && d.schedule.dispatch_s == 1e-6 && d.overlap == 0);
    sim_device_deinit(&d);
}

static void test_bad_sets(void **state)
{
    (void)state;
    static const char *const sets[] = {
        "",
        "overlap",
        "=1",
        "overlap=",
        "overlap=2",
        "overlap=nan",
        "overlap=1x",
        "cores.core.count=1.5",
        "cores.core.count=0",
        "cores.core.count=99999",
        "cores.core.name=1",
        "cores.cube.count=1",
        "cores.core=1",
        "levels.memory.bytes=5",
        "levels.L2.is_shared=7",
        "levels.L2.bytes=1",
        "levels.memory.read_bytes_s=0",
        "levels.memory.core_read_bytes_s=0.5",
        "levels.memory.line_bytes=96",
        "cores.core.runs_vector=0",
        "schedule.nothing=1",
        "levels.memory.read_bytes_s.more=1",
    };
    sim_device d = {0};
    dsv4_error err = {0};
    require_ok(parse(whole, &d, &err), &err);
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        err = (dsv4_error){0};
        if (sim_device_set(&d, sets[i], &err) == DSV4_OK || err.text[0] == '\0') {
            fail_msg("\"%s\" was taken", sets[i]);
        }
        require_small(&d);
    }
    sim_device_deinit(&d);
}

/* A text with one part replaced, and a part of the message about it. */
typedef struct damage {
    const char *part, *by, *message;
} damage;

static void test_refused(void **state)
{
    (void)state;
    static const damage damages[] = {
        {"\"overlap\": 0.5", "\"overlap\": 1.5", "overlap: expected a number from 0 to 1"},
        {", \"overlap\": 0.5", "", "overlap: expected a number"},
        {"\"overlap\": 0.5", "\"overlap\": 0.5, \"overlop\": 1", "\"overlop\" is no member"},
        {"\"overlap\": 0.5", "\"overlap\": 0.5, \"overlap\": 0.5", "duplicate"},
        {"\"overlap\": 0.5}", "\"overlap\": 0.5", "test.json: line"},
        {"{\"name\": \"small\"", "[1, {\"name\": \"small\"", "test.json: line"},
        {"\"small\"", "\"\"", "name: expected a text"},
        {"\"small\"", "7", "name: expected a text"},
        {"\"name\": \"core\"", "\"name\": \"a.b\"", "cores[0].name: expected a text without"},
        {"\"count\": 3", "\"count\": 3.5", "cores[0].count: expected a whole number from 1"},
        {"\"count\": 3", "\"count\": 0", "cores[0].count: expected a whole number from 1"},
        {"\"count\": 3", "\"count\": 100000000000000000000", "test.json"},
        {"\"count\": 3", "\"count\": 3, \"colour\": 3", "cores[0]: \"colour\" is no member"},
        {"\"runs_cube\": true", "\"runs_cube\": 1", "cores[0].runs_cube: expected true or false"},
        {"\"runs_cube\": true", "\"runs_cube\": false", "expected both where schedule.n_threads is 0"},
        {"\"ops_s\": 5e10", "\"ops_s\": -5e10", "cores[0].bf16.ops_s: expected a number"},
        {"\"ops_s\": 5e10", "\"ops_s\": 1e400", "test.json"},
        {"[8, 1]", "[0.5, 1]", "by_rows: expected ascending rows"},
        {"[8, 1]", "[8, 2]", "by_rows: expected ascending rows"},
        {"[8, 1]", "[8]", "by_rows: expected points"},
        {"[[1, 0.25], [8, 1]]", "[]", "by_rows: expected a list"},
        {"\"use\": \"c\"", "\"use\": \"d\"", "buffers[0].use: expected a, b, c, staging or vector"},
        {"\"bytes\": 1024", "\"bytes\": 0", "buffers[0].bytes: expected a number"},
        {"\"buffers\": [", "\"buffers\": [{\"name\": \"acc\", \"use\": \"a\", \"bytes\": 8}, ", "two are called \"acc\""},
        {LEVELS, "\"levels\": []", "levels: expected a list of 1 to 5"},
        {LEVELS ", ", "", "levels: expected a list of 1 to 5"},
        {"\"name\": \"L2\"", "\"name\": \"memory\"", "two are called \"memory\""},
        {"\"is_shared\": true", "\"is_shared\": false", "the first level holds all"},
        {"\"read_bytes_s\": 2e10", "\"read_bytes_s\": 0", "levels.memory: got read_bytes_s 0"},
        {"\"bytes\": 65536", "\"bytes\": 64", "levels.L2.bytes: got 64, expected 4096 or more"},
        {"\"line_bytes\": 64", "\"line_bytes\": 100", "levels.memory.line_bytes: got 100, expected a power of two"},
        {"\"line_bytes\": 64", "\"line_bytes\": 32", "levels[0].line_bytes: expected a number from 64"},
        {"\"n_threads\": 0", "\"n_threads\": true", "schedule.n_threads: expected a whole number"},
        {", " SCHEDULE, "", "schedule: expected an object"},
        {"\"sources\": [\"a\"", "\"sources\": [3", "sources[0]: expected a text"},
    };
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        const damage *x = &damages[i];
        const char *at = strstr(whole, x->part);
        char text[4096];
        sim_device d = {0};
        dsv4_error err = {0};
        assert_non_null(at);
        snprintf(text, sizeof text, "%.*s%s%s", (int)(at - whole), whole, x->by, at + strlen(x->part));
        dsv4_status status = parse(text, &d, &err);
        if (status == DSV4_OK || strstr(err.text, x->message) == NULL || strstr(err.text, "test.json") == NULL) {
            fail_msg("%s for %s: got \"%s\", expected \"%s\"", x->by, x->part, err.text, x->message);
        }
        sim_device_deinit(&d);
    }
}

static void test_truncated(void **state)
{
    (void)state;
    for (size_t n = 0; n < strlen(whole); n++) {
        sim_device d = {0};
        dsv4_error err = {0};
        assert_int_not_equal(sim_device_parse("test.json", whole, n, &d, &err), DSV4_OK);
        sim_device_deinit(&d);
    }
}

static void test_files(void **state)
{
    (void)state;
    sim_device d = {0};
    dsv4_error err = {0};
    assert_int_equal(sim_device_read(TEST_TEMPORARY "/no such file.json", &d, &err), DSV4_E_IO);
    assert_int_equal(sim_device_read(TEST_TEMPORARY, &d, &err), DSV4_E_IO);
    assert_int_equal(sim_device_read("/dev/zero", &d, &err), DSV4_E_FORMAT);
    sim_device_deinit(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),     cmocka_unit_test(test_write),   cmocka_unit_test(test_set),
        cmocka_unit_test(test_bad_sets), cmocka_unit_test(test_refused), cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
