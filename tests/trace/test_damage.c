/* Damaged trace files: each refused with one line that names the place, the same for every truncation; nothing is left behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "trace_helpers.h"

/* Two views, a block that writes, two that read, one of them in an update of its own; a declared join; a run of two workers. */
static const char sound[] =
    "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[{\"name\":\"dsv4\\\"]}\",\"args\":{\"dsv4\":[1]}}],\n\"dsv4\":{\"version\":1,"
    "\"graph\":{\"name\":\"g\",\"deps\":\"block\","
    "\"views\":[[\"a\",4096,8,16,4,64],[\"b\",8192,1,16,4,64]],"
    "\"stages\":[[\"fill\",1,0,\"vector\"],[\"read\",2,64,\"cube\"],[\"done\",1,0,\"vector\"]],"
    "\"tasks\":[[0,0,false,true,2,1,0,0,10,0,0,0,0,0,0],[1,0,false,false,1,2,5.5,0,0,0,1,2,3,4,5],"
    "[1,1,false,false,0,1,0,0,0,0,0,0,0,0,0],[2,0,true,false,0,0,0,0,0,0,0,0,0,0,0]],"
    "\"touches\":[[0,2,0,8,0,16],[0,1,0,8,0,16],[1,3,0,1,0,16],[0,1,4,8,0,16]],"
    "\"edges\":[[1,0,0,1],[2,0,0,3],[3,3,-1,-1]]},"
    "\"run\":{\"device\":\"d\",\"is_simulated\":false,\"level\":3,\"read_bytes_s\":1e11,\"ops_i8_s\":0,\"flops_bf16_s\":0,"
    "\"vector_ops_s\":0,\"workers\":[[\"worker 0\"],[\"worker 1\"]],\"counters\":[[\"cycles\"]],"
    "\"events\":[[0,0,0,0,1e-6,2e-6,3e-6,100],[2,0,0,3e-6,4e-6,5e-6,6e-6,50],[1,1,-1,3e-6,3.5e-6,4e-6,5e-6,70]],"
    "\"waits\":[[1,false,0,3e-6]]}}}\n";

static dsv4_status read_text(const char *text, size_t n, trace *t, dsv4_error *err)
{
    char *exact = malloc(n > 0 ? n : 1); /* so that a read behind the end is noticed */
    assert_non_null(exact);
    memcpy(exact, text, n);
    dsv4_status status = trace_read_memory("F.json", exact, n, t, err);
    free(exact);
    return status;
}

/* The sound text with the first `from` behind `section` replaced. */
static char *changed(const char *section, const char *from, const char *to)
{
    const char *at = strstr(sound, section);
    at = at != NULL ? strstr(at, from) : NULL;
    if (at == NULL) {
        fail_msg("\"%s\" is not behind \"%s\"", from, section);
        return NULL;
    }
    size_t size = sizeof sound + strlen(to);
    char *text = malloc(size);
    assert_non_null(text);
    snprintf(text, size, "%.*s%s%s", (int)(at - sound), sound, to, at + strlen(from));
    return text;
}

static void assert_refused_text(const char *text, size_t n, const char *part)
{
    trace t = {0}, none = {0};
    dsv4_error err = {0};
    assert_int_equal(read_text(text, n, &t, &err), DSV4_E_FORMAT);
    assert_int_equal(strncmp(err.text, "F.json: ", 8), 0);
    assert_contains(err.text, part);
    assert_null(strchr(err.text, '\n'));
    assert_memory_equal(&t, &none, sizeof t);
}

/* ---- the sound one ------------------------------------------------------------------------------------------------------- */

static void test_sound(void **state)
{
    (void)state;
    trace t = {0};
    dsv4_error err = {0};
    require_ok(read_text(sound, sizeof sound - 1, &t, &err), &err);
    assert_true(t.graph.n_tasks == 4 && t.graph.n_blocks == 3 && t.graph.n_edges == 3 && t.graph.n_touches == 4);
    assert_true(t.graph.tasks[0].n_before == 0 && t.graph.tasks[1].n_before == 1 && t.graph.tasks[3].n_before == 1);
    assert_true(t.graph.tasks[1].touch == 1 && t.graph.tasks[1].touch_end == 3 && t.graph.tasks[1].edge == 2);
    assert_true(t.graph.tasks[3].is_join && t.graph.edges[2].source == TRACE_DECLARED && t.graph.edges[1].from == 0);
    assert_true(t.graph.stages[1].kind == DSV4_CUBE && t.graph.tasks[1].work.product.ahead == 5);
    assert_true(t.run.level == 3 && t.run.n_workers == 2 && t.run.events[2].found == TRACE_KEPT && t.run.counts[1] == 50);
    assert_true(t.run.waits[0].worker == 1 && !t.run.waits[0].slept && t.run.read_bytes_s == 1e11);
    trace_bytes bytes = trace_task_bytes(&t.graph, &t.graph.tasks[1]);
    assert_true(bytes.read == 8 * 16 * 4 + 64 && bytes.written == 64);
    trace_deinit(&t);
}

static void test_every_truncation(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof sound - 2; n++) { /* without its last line feed it is whole */
        assert_refused_text(sound, n, "cut off");
    }
}

/* One bit of one byte: refused, or another sound trace; never a crash. */
static void test_every_flipped_bit(void **state)
{
    (void)state;
    char text[sizeof sound];
    int n_refused = 0;
    for (size_t i = 0; i < sizeof sound - 1; i++) {
        for (int bit = 0; bit < 8; bit++) {
            trace t = {0};
            dsv4_error err = {0};
            memcpy(text, sound, sizeof text);
            text[i] = (char)(text[i] ^ (1 << bit));
            dsv4_status status = read_text(text, sizeof sound - 1, &t, &err);
            assert_true(status == DSV4_OK || (err.text[0] != '\0' && strchr(err.text, '\n') == NULL));
            n_refused += status != DSV4_OK;
            trace_deinit(&t);
        }
    }
    assert_true(n_refused > (int)sizeof sound * 4);
}

/* Every value of the member replaced by one of another type. */
static void test_every_type(void **state)
{
    (void)state;
    static const char *const others[] = {"null", "\"x\"", "-7.5", "[]", "{}", "true", "1e999"};
    const char *begin = strstr(sound, "\"dsv4\":{") + 7;
    int n_values = 0;
    for (const char *p = begin; *p != '\0'; p++) {
        bool starts = (p[-1] == ',' || p[-1] == '[' || p[-1] == ':') && *p != ']' && *p != '\n' && strchr("[{", *p) == NULL;
        size_t length = *p == '"' ? strcspn(p + 1, "\"") + 2 : strcspn(p, ",]}");
        if (!starts || p[length] == ':') {
            continue;
        }
        n_values++;
        bool is_name = *p == '"' && strcmp(p, "\"block\"") != 0;
        bool is_bool = *p == 't' || *p == 'f';
        for (size_t k = 0; k < sizeof others / sizeof *others; k++) {
            if ((is_name && k == 1) || (is_bool && k == 5)) {
                continue;
            }
            char text[sizeof sound + 8];
            snprintf(text, sizeof text, "%.*s%s%s", (int)(p - sound), sound, others[k], p + length);
            assert_refused_text(text, strlen(text), "dsv4");
        }
    }
    assert_true(n_values > 100);
}

/* ---- one thing wrong ----------------------------------------------------------------------------------------------------- */

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *section, *from, *to, *part;
    } cases[] = {
        {"\"dsv4\":{", "\"version\":1", "\"version\":2", "dsv4.version: got 2, expected an integer from 1 to 1"},
        {"\"dsv4\":{", "\"version\":1,", "", "dsv4.version: got nothing, expected an integer"},
        {"}],\n", "\"dsv4\"", "\"dsv5\"", "got 0 members \"dsv4\", expected one"},
        {"}],\n", "\"dsv4\"", "\"dsv4\":{},\"dsv4\"", "got 2 members \"dsv4\", expected one"},
        {"\"graph\"", "\"graph\":{", "\"g\":{", "dsv4.graph: got nothing, expected an object"},
        {"\"graph\"", "\"block\"", "\"blocks\"", "dsv4.graph.deps: got \"blocks\", expected \"block\" or \"stage\" or \"tensor\""},
        {"\"views\"", "\"a\",4096", "\"a\",-1", "dsv4.graph.views[0].address: got -1"},
        {"\"views\"", "8,16,4,64", "8,17,4,64", "dsv4.graph.views[0]: got rows 64 bytes apart, expected at least the 68"},
        {"\"views\"", "8,16,4,64", "9007199254740992,16,4,9007199254740992", "dsv4.graph.views[0]: got 9007199254740992 rows"},
        {"\"views\"", "8,16,4,64", "8,16,65,9999", "dsv4.graph.views[0].elem_bytes: got 65, expected an integer from 1 to 64"},
        {"\"views\"", "8,16,4,64", "8,16,4", "dsv4.graph.views[0]: got 5 values, expected 6"},
        {"\"stages\"", "\"read\",2", "\"read\",3",
         "dsv4.graph.tasks: got 4 tasks of stages, expected one for each of their 5 blocks"},
        {"\"stages\"", "\"read\",2", "\"read\",1073741825", "dsv4.graph.stages[1].n_blocks: got 1073741825"},
        {"\"stages\"", "\"cube\"", "\"square\"", "dsv4.graph.stages[1].kind: got \"square\", expected \"vector\" or \"cube\""},
        {"\"tasks\"", "[1,1,false", "[1,2,false", "dsv4.graph.tasks[2].block: got 2, expected an integer from 0 to 1"},
        {"\"tasks\"", "[1,1,false", "[1,0,false", "dsv4.graph.tasks[2]: got block 0 of stage 1 twice"},
        {"\"tasks\"", "[1,1,false", "[3,0,false", "dsv4.graph.tasks[2].stage: got 3, expected an integer from -1 to 2"},
        {"\"tasks\"", "[1,1,false", "[-1,0,false", "dsv4.graph.tasks[2]: got a block without a stage"},
        {"\"tasks\"", "[1,0,false", "[1,0,true", "dsv4.graph.tasks[2]: got a block behind a join"},
        {"\"tasks\"", "true,2,1", "true,3,1", "dsv4.graph.edges: got 3 rows, expected the 4 that tasks have"},
        {"\"tasks\"", "true,2,1", "true,2,2", "dsv4.graph.touches: got 4 rows, expected the 5 that tasks have"},
        {"\"tasks\"", "5.5", "-5.5", "dsv4.graph.tasks[1].flops_bf16: got -5.5, expected a number from 0"},
        {"\"touches\"", "[0,2,0,8", "[2,2,0,8", "dsv4.graph.touches[0].view: got 2, expected an integer from 0 to 1"},
        {"\"touches\"", "[0,2,0,8", "[0,4,0,8", "dsv4.graph.touches[0]: got mode 4"},
        {"\"touches\"", "[0,2,0,8", "[0,2,0,9", "dsv4.graph.touches[0].row1: got 9, expected an integer from 1 to 8"},
        {"\"touches\"", "[0,2,0,8", "[0,2,3,3", "dsv4.graph.touches[0].row1: got 3, expected an integer from 4 to 8"},
        {"\"touches\"", "8,0,16]", "8,0,17]", "dsv4.graph.touches[0].col1: got 17, expected an integer from 1 to 16"},
        {"\"edges\"", "[1,0,0,1],[2,0,0,3]", "[2,0,0,3],[1,0,0,1]",
         "dsv4.graph.edges[1].to: got 1, expected an integer from 3 to 3"},
        {"\"edges\"", "[1,0,0,1]", "[0,3,-1,-1]", "dsv4.graph.edges[0]: got an edge from task 0 to itself"},
        {"\"edges\"", "[3,3,-1,-1]", "[0,3,-1,-1]", "dsv4.graph.edges: got a cycle among"},
        {"\"edges\"", "[1,0,0,1]", "[1,5,0,1]", "dsv4.graph.edges[0].source: got 5, expected an integer from 0 to 4"},
        {"\"edges\"", "[1,0,0,1]", "[1,0,1,1]", "dsv4.graph.edges[0]: got from_touch 1, expected one of the task's, from 0 to 0"},
        {"\"edges\"", "[1,0,0,1]", "[1,0,0,3]", "dsv4.graph.edges[0]: got to_touch 3, expected one of the task's, from 1 to 2"},
        {"\"edges\"", "[1,0,0,1]", "[1,0,-1,1]", "dsv4.graph.edges[0]: got source 0 with boxes -1 and 1"},
        {"\"edges\"", "[1,0,0,1]", "[1,4,0,1]", "dsv4.graph.edges[0]: got source 4 with boxes 0 and 1"},
        {"\"run\"", "\"level\":3", "\"level\":4", "dsv4.run.level: got 4, expected an integer from 0 to 3"},
        {"\"run\"", "\"level\":3", "\"level\":0", "dsv4.run.events: got 3 rows, expected 0"},
        {"\"run\"", "[2,0,0,3e-6,4e-6,5e-6,6e-6,50],", "", "dsv4.run.events: got 2 rows, expected 3"},
        {"\"events\":[[0", "[2,0,0", "[0,0,0", "dsv4.run.events[1]: got task 0 twice"},
        {"\"events\":[[0", "[2,0,0", "[3,0,0", "dsv4.run.events[1].task: got 3, expected an integer from 0 to 2"},
        {"\"events\":[[0", "[2,0,0", "[2,2,0", "dsv4.run.events[1].worker: got 2, expected an integer from 0 to 1"},
        {"\"events\":[[0", "[2,0,0", "[2,0,-2", "dsv4.run.events[1].found: got -2, expected an integer from -1 to 1"},
        {"\"events\":[[0", "[1,1,-1,3e-6,3.5e-6,4e-6", "[1,0,-1,3e-6,3.5e-6,4e-6", "dsv4.run.events[2]: got worker 0 at 4e-06 s"},
        {"\"events\":[[0", "4e-6,5e-6,6e-6", "2e-6,5e-6,6e-6",
         "dsv4.run.events[1].dispatch_s: got 2e-06, expected a number from 3e-06"},
        {"\"events\":[[0", "4e-6,5e-6,6e-6", "4e-6,3e-6,6e-6",
         "dsv4.run.events[1].start_s: got 3e-06, expected a number from 4e-06"},
        {"\"events\":[[0", "4e-6,5e-6,6e-6", "4e-6,5e-6,1e10", "dsv4.run.events[1].end_s: got 1"},
        {"\"events\":[[0", ",100]", "]", "dsv4.run.events[0]: got 7 values, expected 8"},
        {"\"events\":[[0", ",100]", ",-100]", "dsv4.run.events[0].cycles: got -100"},
        {"\"waits\"", "[1,false,0,3e-6]", "[2,false,0,3e-6]", "dsv4.run.waits[0].worker: got 2"},
        {"\"waits\"", "[1,false,0,3e-6]", "[1,false,1,3e-6]", "dsv4.run.waits[0].end_s: got 3e-06, expected a number from 1 to"},
        {"\"waits\"", "}}}\n", "}}} x\n", "cut off or no JSON object"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = changed(cases[i].section, cases[i].from, cases[i].to);
        assert_refused_text(text, strlen(text), cases[i].part);
        free(text);
    }
}

static void test_other_files(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        " ",
                                        "[]",
                                        "null",
                                        "\"dsv4\"",
                                        "{\"dsv4\"}",
                                        "{\"dsv4\":}",
                                        "{\"dsv4\":[1]}",
                                        "{\"dsv4\" {}}",
                                        "{}",
                                        "{\"traceEvents\":[]}",
                                        "{\"x\":{\"dsv4\":{}}}",
                                        "{]",
                                        "{\"\\",
                                        "{\"dsv4\":\"\\"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_refused_text(texts[i], strlen(texts[i]), "");
    }
    enum { DEPTH = 100000 };
    char *deep = malloc(2 * DEPTH + 32);
    assert_non_null(deep);
    size_t n = (size_t)sprintf(deep, "{\"dsv4\":");
    memset(deep + n, '[', DEPTH);
    memset(deep + n + DEPTH, ']', DEPTH);
    deep[n + 2 * DEPTH] = '}';
    assert_refused_text(deep, n + 2 * DEPTH + 1, "");
    free(deep);
}

static void test_paths(void **state)
{
    (void)state;
    trace t = {0};
    dsv4_error err = {0};
    assert_int_equal(trace_read(TEST_TEMPORARY "/no such folder/t.json", &t, &err), DSV4_E_IO);
    assert_contains(err.text, "no such folder/t.json: cannot read");
    assert_int_equal(trace_read(TEST_TEMPORARY, &t, &err), DSV4_E_IO);
    assert_contains(err.text, "cannot read");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sound),      cmocka_unit_test(test_every_truncation), cmocka_unit_test(test_every_flipped_bit),
        cmocka_unit_test(test_every_type), cmocka_unit_test(test_refusals),         cmocka_unit_test(test_other_files),
        cmocka_unit_test(test_paths)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
