/* Pictures of a trace: slices of lanes at a width, SVG that is well-formed with hostile names, PNG of the width asked for. */
#include "trace/sample_trace.h"

#include <math.h>
#include <string.h>

#include "trace/draw.h"
#include "trace/slices.h"

#define SVG_PATH TEST_TEMPORARY "/trace_picture.svg"
#define PNG_PATH TEST_TEMPORARY "/trace_picture.png"

static const sample_shape shape = {.n_stages = 6,
                                   .n_blocks = 7,
                                   .n_workers = 2,
                                   .stage_names = {"a.first", "b&<c>\"", "bytes \xff\xfe", "control \x01\x1b", "\xc3\xa9", "long"},
                                   .graph_name = "</svg><script>&amp;",
                                   .device = "\xf0\x9f"};

/* ---- slices ------------------------------------------------------------------------------------------------------------------- */

/* Two workers, three stages, one pixel a microsecond for 20 pixels:
 *   worker 0   row 0 from 2 to 6; row 1 in 10 .. 10.2, 10.2 .. 10.5 (of column 10: half), row 0 10.5 .. 10.6
 *   worker 1   row 2 from 15.5 to 18 */
static trace few_blocks(void)
{
    static const double times_us[5][2] = {{2, 6}, {10, 10.2}, {10.2, 10.5}, {10.5, 10.6}, {15.5, 18}};
    static const int32_t stages[5] = {0, 1, 1, 0, 2};
    trace t = {.graph = {.name = "few", .n_stages = 3, .n_tasks = 5, .n_blocks = 5}, .run = {.n_workers = 2, .n_events = 5}};
    t.graph.stages = calloc(3, sizeof *t.graph.stages);
    t.graph.tasks = calloc(5, sizeof *t.graph.tasks);
    t.run.workers = calloc(2, sizeof *t.run.workers);
    t.run.events = calloc(5, sizeof *t.run.events);
    assert_true(t.graph.stages != NULL && t.graph.tasks != NULL && t.run.workers != NULL && t.run.events != NULL);
    for (int i = 0; i < 3; i++) {
        t.graph.stages[i].name = i == 0 ? "zero" : i == 1 ? "one" : "two";
    }
    for (int i = 0; i < 5; i++) {
        t.graph.tasks[i].stage = stages[i];
        t.run.events[i] =
            (trace_event){.task = i, .worker = i == 4, .start_s = times_us[i][0] * 1e-6, .end_s = times_us[i][1] * 1e-6};
    }
    return t;
}

static void assert_slice(const trace_slice *s, double x, double width, int lane, int row, int density)
{
    assert_float_equal(s->x, x, 1e-6);
    assert_float_equal(s->width, width, 1e-6);
    assert_int_equal(s->lane, lane);
    assert_int_equal(s->row, row);
    assert_int_equal(s->density, density);
}

static void test_slices(void **state)
{
    (void)state;
    trace t = few_blocks();
    trace_look look;
    trace_slices s;
    dsv4_error err = {0};
    require_ok(trace_look_init(&look, &t, &err), &err);
    require_ok(trace_slices_init(&s, &t, &look, 0, 20e-6, 20, &err), &err);
    assert_int_equal(s.n, 3);
    assert_slice(&s.items[0], 2, 4, 0, 0, TRACE_QUARTERS);
    assert_slice(&s.items[1], 10, 1, 0, 1, 3); /* 0.6 of the column, mostly row 1 */
    assert_slice(&s.items[2], 15.5, 2.5, 1, 2, TRACE_QUARTERS);
    assert_float_equal(s.running[3], 1, 1e-9);
    assert_float_equal(s.running[10], 0.6, 1e-6);
    assert_float_equal(s.running[15], 0.5, 1e-6);
    assert_float_equal(s.running[19], 0, 1e-9);
    assert_float_equal(s.row_s[0], 4.1e-6, 1e-12);
    trace_slices_deinit(&s);
    require_ok(trace_slices_init(&s, &t, &look, 4e-6, 5e-6, 20, &err), &err); /* within one block */
    assert_int_equal(s.n, 1);
    assert_slice(&s.items[0], 0, 20, 0, 0, TRACE_QUARTERS);
    assert_float_equal(s.row_s[0], 1e-6, 1e-12);
    trace_slices_deinit(&s);
    trace_look_deinit(&look);
    trace_deinit(&t);
}

static void test_many_small_blocks_are_few_slices(void **state)
{
    (void)state;
    enum { N_COLUMNS = 100 };
    const sample_shape many = {.n_stages = 4,
                               .n_blocks = 5000,
                               .n_workers = 3,
                               .stage_names = {"a", "b", "c", "d"},
                               .graph_name = "many",
                               .device = "device"};
    trace t;
    trace_look look;
    trace_slices s;
    dsv4_error err = {0};
    double sum = 0;
    sample_trace(&t, &many);
    require_ok(trace_look_init(&look, &t, &err), &err);
    require_ok(trace_slices_init(&s, &t, &look, 0, look.makespan_s, N_COLUMNS, &err), &err);
    assert_true(s.n <= 3 * N_COLUMNS);
    for (int i = 0; i < N_COLUMNS; i++) {
        sum += s.running[i];
    }
    assert_float_equal(sum * look.makespan_s / N_COLUMNS / look.busy_s, 1, 1e-3);
    trace_slices_deinit(&s);
    trace_look_deinit(&look);
    trace_deinit(&t);
}

/* ---- pictures ------------------------------------------------------------------------------------------------------------------ */

static unsigned char *read_file(const char *path, size_t *n)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    unsigned char *bytes = calloc(1, 1 << 22);
    assert_non_null(bytes);
    *n = fread(bytes, 1, (1 << 22) - 1, file);
    fclose(file);
    return bytes;
}

/* Tags nest and close, attribute values are quoted, and no text has a bare '<' or '&'. */
static void assert_well_formed(const char *xml)
{
    char open[64][32];
    int depth = 0;
    for (const char *at = strchr(xml, '<'); at != NULL; at = strchr(at, '<')) {
        const char *end = strchr(at, '>');
        assert_non_null(end);
        size_t n = strcspn(at + 1 + (at[1] == '/'), " \n/>");
        assert_true(n > 0 && n < 32);
        if (at[1] == '/') {
            assert_true(depth > 0);
            depth--;
            assert_memory_equal(open[depth], at + 2, n);
            assert_int_equal(open[depth][n], '\0');
        } else if (at[1] != '?' && end[-1] != '/') {
            assert_true(depth < 64);
            memcpy(open[depth], at + 1, n);
            open[depth++][n] = '\0';
        }
        at = end;
    }
    assert_int_equal(depth, 0);
}

static void test_svg(void **state)
{
    (void)state;
    trace t;
    dsv4_error err = {0};
    size_t n;
    sample_trace(&t, &shape);
    require_ok(trace_write_svg(&t, &(trace_drawing){.width = 640}, SVG_PATH, &err), &err);
    char *svg = (char *)read_file(SVG_PATH, &n);
    assert_int_equal(strlen(svg), n);
    assert_non_null(strstr(svg, "width=\"640px\""));
    assert_null(strstr(svg, "<script"));
    assert_well_formed(svg);
    free(svg);
    trace_deinit(&t);
}

static uint32_t big_endian(const unsigned char *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static void test_png(void **state)
{
    (void)state;
    static const unsigned char signature[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    static const int64_t workers[] = {1, 3, 72, 1024};
    for (size_t i = 0; i < sizeof workers / sizeof *workers; i++) {
        trace t;
        dsv4_error err = {0};
        size_t n;
        sample_shape s = shape;
        s.n_workers = workers[i];
        sample_trace(&t, &s);
        require_ok(trace_write_png(&t, &(trace_drawing){.width = 900, .title = "<title>"}, PNG_PATH, &err), &err);
        unsigned char *png = read_file(PNG_PATH, &n);
        assert_true(n > 1000);
        assert_memory_equal(png, signature, sizeof signature);
        assert_memory_equal(png + 12, "IHDR", 4);
        assert_int_equal(big_endian(png + 16), 900);
        assert_in_range(big_endian(png + 20), 150, 4700);
        free(png);
        trace_deinit(&t);
    }
}

static void test_what_cannot_be_drawn(void **state)
{
    (void)state;
    static const trace_drawing wrong[] = {{.width = 10},      {.width = -1},
                                          {.width = 1 << 20}, {.begin_s = -1},
                                          {.begin_s = 1e9},   {.begin_s = 1e-6, .end_s = 1e-6},
                                          {.begin_s = NAN},   {.begin_s = 2e-6, .end_s = 1e-6}};
    trace t;
    sample_trace(&t, &shape);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        dsv4_error err = {0};
        assert_int_equal(trace_write_png(&t, &wrong[i], PNG_PATH, &err), DSV4_E_VALUE);
        assert_true(strlen(err.text) > 20);
    }
    t.run.n_events = 0;
    assert_int_equal(trace_write_svg(&t, &(trace_drawing){0}, SVG_PATH, NULL), DSV4_E_USAGE);
    trace_deinit(&t);
}

static void test_colours(void **state)
{
    (void)state;
    for (int64_t i = 0; i < 400; i++) {
        trace_rgb a = trace_colour(i), b = trace_colour(i + 1);
        assert_true(a.r >= 0 && a.r <= 1 && a.g >= 0 && a.g <= 1 && a.b >= 0 && a.b <= 1);
        assert_true(fabs(a.r - b.r) + fabs(a.g - b.g) + fabs(a.b - b.b) > 0.2);
    }
}

static int remove_files(void **state)
{
    (void)state;
    remove(SVG_PATH);
    remove(PNG_PATH);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_slices),
                                       cmocka_unit_test(test_many_small_blocks_are_few_slices),
                                       cmocka_unit_test(test_svg),
                                       cmocka_unit_test(test_png),
                                       cmocka_unit_test(test_what_cannot_be_drawn),
                                       cmocka_unit_test(test_colours)};
    return cmocka_run_group_tests(tests, NULL, remove_files);
}
