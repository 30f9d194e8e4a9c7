/* The page that shows a trace: what it embeds is JSON that says what the trace says, and names cannot break out of it. */
#include "trace/sample_trace.h"

#include <jansson.h>
#include <locale.h>
#include <string.h>

#include "trace/html.h"

#define PAGE_PATH TEST_TEMPORARY "/trace_page.html"

static const char *const hostile = "</script><script>alert(\"1\")</script><!-- \\ \x01 \xc3\xa9";

static const sample_shape shape = {.n_stages = 4,
                                   .n_blocks = 5,
                                   .n_workers = 3,
                                   .stage_names = {"a.first", "a.second", "a.first", hostile},
                                   .graph_name = "sample",
                                   .device = "device \xff <b>"};

static char *read_page(void)
{
    FILE *file = fopen(PAGE_PATH, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    long n = ftell(file);
    assert_true(n > 0);
    char *text = calloc((size_t)n + 1, 1);
    assert_non_null(text);
    rewind(file);
    assert_int_equal(fread(text, 1, (size_t)n, file), n);
    fclose(file);
    return text;
}

static size_t occurrences(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *at = strstr(text, what); at != NULL; at = strstr(at + 1, what)) {
        n++;
    }
    return n;
}

/* What stands in the element "data". */
static json_t *page_data(const char *page)
{
    const char *element = strstr(page, "<script type=\"application/json\" id=\"data\">");
    assert_non_null(element);
    const char *begin = strchr(element, '>') + 1, *end = strstr(begin, "</script>");
    assert_non_null(end);
    json_error_t error;
    json_t *data = json_loadb(begin, (size_t)(end - begin), JSON_REJECT_DUPLICATES, &error);
    if (data == NULL) {
        fail_msg("line %d: %s", error.line, error.text);
    }
    return data;
}

static json_int_t number(const json_t *data, const char *object, const char *column, size_t i)
{
    const json_t *value = json_array_get(json_object_get(json_object_get(data, object), column), i);
    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

static char *write_sample(trace *t)
{
    dsv4_error err = {0};
    sample_trace(t, &shape);
    require_ok(trace_write_html(t, PAGE_PATH, &err), &err);
    return read_page();
}

static void test_names_stay_data(void **state)
{
    (void)state;
    trace t;
    char *page = write_sample(&t);
    json_t *data = page_data(page);
    assert_int_equal(occurrences(page, "</script>"), 2);
    assert_int_equal(occurrences(page, "<!--"), 0);
    assert_null(strstr(page, "<script>alert"));
    const json_t *rows = json_object_get(data, "rows");
    assert_int_equal(json_array_size(rows), 3); /* two stages share a name */
    assert_string_equal(json_string_value(json_array_get(json_array_get(rows, 2), 0)),
                        "</script><script>alert(\"1\")</script><!-- \\ ? \xc3\xa9");
    assert_string_equal(json_string_value(json_object_get(data, "device")), "device ? <b>");
    json_decref(data);
    free(page);
    trace_deinit(&t);
}

static void test_page_asks_for_nothing(void **state)
{
    (void)state;
    trace t;
    char *page = write_sample(&t);
    assert_null(strstr(page, "http://"));
    assert_null(strstr(page, "https://"));
    assert_null(strstr(page, "src="));
    assert_null(strstr(page, "fetch("));
    assert_null(strstr(page, "XMLHttpRequest"));
    assert_non_null(strstr(page, "default-src 'none'"));
    free(page);
    trace_deinit(&t);
}

static void check_events(const trace *t, const json_t *data)
{
    json_int_t clock = 0;
    for (int64_t i = 0; i < t->run.n_events; i++) {
        const trace_event *e = &t->run.events[i];
        size_t k = (size_t)i;
        clock = i > 0 && e[-1].worker == e->worker ? clock : 0;
        json_int_t start = clock + number(data, "events", "gap", k), dispatch = start - number(data, "events", "pickup", k);
        clock = start + number(data, "events", "length", k);
        assert_int_equal(number(data, "events", "task", k), e->task);
        assert_int_equal(number(data, "events", "worker", k), e->worker);
        assert_int_equal(number(data, "events", "found", k), e->found);
        assert_true(start - e->start_s * 1e9 < 0.6 && start - e->start_s * 1e9 > -0.6);
        assert_true(clock - e->end_s * 1e9 < 0.6 && clock - e->end_s * 1e9 > -0.6);
        assert_true(dispatch - e->dispatch_s * 1e9 < 0.6 && dispatch - e->dispatch_s * 1e9 > -0.6);
        json_int_t ready = dispatch - number(data, "events", "queued", k);
        assert_true(ready - e->ready_s * 1e9 < 0.6 && ready - e->ready_s * 1e9 > -0.6);
        assert_float_equal(json_number_value(json_array_get(json_object_get(data, "counts"), k)), 1000 + e->task, 0);
    }
}

static void check_edges(const trace *t, const json_t *data)
{
    int64_t n = 0;
    for (int64_t i = 0; i < t->graph.n_tasks; i++) {
        json_int_t to = 0;
        for (json_int_t left = number(data, "edges", "count", (size_t)i); left > 0; left--, n++) {
            to += number(data, "edges", "step", (size_t)n);
            assert_int_equal(t->graph.edges[n].from, i);
            assert_int_equal(t->graph.edges[n].to, to);
        }
    }
    assert_int_equal(n, t->graph.n_edges);
    assert_int_equal(json_string_length(json_object_get(json_object_get(data, "edges"), "source")), n);
}

static void test_page_holds_the_run(void **state)
{
    (void)state;
    trace t;
    char *page = write_sample(&t);
    json_t *data = page_data(page);
    check_events(&t, data);
    check_edges(&t, data);
    const json_t *touches = json_object_get(data, "touches");
    assert_int_equal(json_array_size(touches), 6 * t.graph.n_touches);
    const json_int_t second[] = {1, DSV4_WRITE, 0, 8, 0, 64}; /* of the first block: a write */
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(json_integer_value(json_array_get(touches, 6 + i)), second[i]);
    }
    const json_t *works = json_object_get(data, "works");
    assert_int_equal(json_array_size(works), 5); /* one a stage, and the joins' */
    assert_float_equal(json_number_value(json_array_get(json_array_get(works, 0), 0)), 2e6, 0);
    json_decref(data);
    free(page);
    trace_deinit(&t);
}

static void test_trace_without_run(void **state)
{
    (void)state;
    trace t;
    dsv4_error err = {0};
    sample_trace(&t, &shape);
    t.run.n_events = 0;
    assert_int_equal(trace_write_html(&t, PAGE_PATH, &err), DSV4_E_USAGE);
    assert_non_null(strstr(err.text, "no run"));
    trace_deinit(&t);
}

static int remove_page(void **state)
{
    (void)state;
    remove(PAGE_PATH);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_names_stay_data), cmocka_unit_test(test_page_asks_for_nothing),
                                       cmocka_unit_test(test_page_holds_the_run), cmocka_unit_test(test_trace_without_run)};
    return cmocka_run_group_tests(tests, NULL, remove_page);
}
