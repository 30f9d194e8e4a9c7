/* The graph as JSON, read back: nodes, edges, sources, boxes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>

#include "trace_helpers.h"

#define DEPS_PATH TEST_TEMPORARY "/trace_deps.json"

enum { N = 4, N_READERS = 2 };

static float rows[N][N];

static const tiling fill = {.n_tiles = 1, .tiles = {{0, DSV4_WRITE, {0, 1, 0, N}, 1, 0}}};
static const tiling read_all = {
    .n_tiles = 2, .tiles = {{0, DSV4_READ, {0, N, 0, N}, 0, 0}, {0, DSV4_UPDATE | DSV4_UNTRACKED, {0, 1, 1, 2}, 0, 0}}};

/* Four rows filled; two readers of all, the second through a join; a declared join behind the first. */
static json_t *write_and_load(void)
{
    dsv4_error err = {0};
    json_error_t json_err;
    dsv4_graph *g = dsv4_graph_create("g \"1\"");
    dsv4_graph_view(g, "rows", rows, N, N, sizeof rows[0][0], sizeof rows[0]);
    tiling_stage(g, "fill", N, &fill);
    dsv4_stage readers = tiling_stage(g, "read", N_READERS, &read_all);
    dsv4_graph_after_block(g, dsv4_graph_join(g, "done"), 0, readers, 0);
    seal(g, DSV4_DEPS_BLOCK);
    trace t = captured(g);
    require_ok(trace_write_deps(&t, DEPS_PATH, &err), &err);
    trace_deinit(&t);
    dsv4_graph_destroy(g);
    json_t *root = json_load_file(DEPS_PATH, JSON_REJECT_DUPLICATES, &json_err);
    remove(DEPS_PATH);
    if (root == NULL) {
        fail_msg("line %d: %s", json_err.line, json_err.text);
    }
    return root;
}

/* "read 1", "join". */
static const char *node_text(const json_t *node, char text[64])
{
    const char *stage = json_string_value(json_object_get(node, "stage"));
    snprintf(text, 64, "%s %d", stage != NULL ? stage : "join", (int)json_integer_value(json_object_get(node, "block")));
    return text;
}

static const char *box_text(const json_t *box, char text[128])
{
    const char *view, *mode;
    int row0, row1, col0, col1;
    json_t *copy = json_deep_copy(box);
    assert_int_equal(
        json_unpack(copy, "{s:s, s:s, s:[ii!], s:[ii!]}", "view", &view, "mode", &mode, "rows", &row0, &row1, "cols", &col0, &col1),
        0);
    snprintf(text, 128, "%s %s [%d:%d, %d:%d]", mode, view, row0, row1, col0, col1);
    json_decref(copy);
    return text;
}

static void test_heads(void **state)
{
    (void)state;
    json_t *root = write_and_load();
    assert_string_equal(json_string_value(json_object_get(root, "graph")), "g \"1\"");
    assert_string_equal(json_string_value(json_object_get(root, "deps")), "block");
    const json_t *stages = json_object_get(root, "stages"), *fill_stage = json_array_get(stages, 0);
    assert_int_equal(json_array_size(stages), 3);
    assert_string_equal(json_string_value(json_object_get(fill_stage, "name")), "fill");
    assert_int_equal(json_integer_value(json_object_get(fill_stage, "n_blocks")), N);
    assert_string_equal(json_string_value(json_object_get(fill_stage, "kind")), "vector");
    json_decref(root);
}

static void test_blocks(void **state)
{
    (void)state;
    json_t *root = write_and_load();
    const json_t *blocks = json_object_get(root, "blocks"), *block;
    char text[128];
    size_t i;
    int n_fills = 0, n_reads = 0, n_declared = 0, n_made = 0;
    assert_int_equal(json_array_size(blocks), N + N_READERS + 2);
    json_array_foreach(blocks, i, block)
    {
        const json_t *touches = json_object_get(block, "touches");
        const char *stage = json_string_value(json_object_get(block, "stage"));
        bool is_join = json_is_true(json_object_get(block, "join"));
        assert_int_equal(json_integer_value(json_object_get(block, "task")), i);
        assert_true(is_join == (touches == NULL));
        if (is_join) {
            n_made += stage == NULL;
            n_declared += stage != NULL && strcmp(stage, "done") == 0;
        } else if (strcmp(stage, "fill") == 0) {
            char expected[128];
            int row = (int)json_integer_value(json_object_get(block, "block"));
            snprintf(expected, sizeof expected, "write rows [%d:%d, 0:4]", row, row + 1);
            assert_string_equal(box_text(json_array_get(touches, 0), text), expected);
            n_fills++;
        } else {
            assert_int_equal(json_array_size(touches), 2);
            assert_string_equal(box_text(json_array_get(touches, 0), text), "read rows [0:4, 0:4]");
            assert_string_equal(box_text(json_array_get(touches, 1), text), "update untracked rows [0:1, 1:2]");
            n_reads++;
        }
    }
    assert_true(n_fills == N && n_reads == N_READERS && n_declared == 1 && n_made == 1);
    json_decref(root);
}

/* Fills row `row`, then reads all. */
static void check_boxes(const json_t *edge, int row, const char *reader)
{
    char text[128], expected[128];
    const json_t *from_box = json_object_get(edge, "from_box"), *to_box = json_object_get(edge, "to_box");
    snprintf(expected, sizeof expected, "write rows [%d:%d, 0:4]", row, row + 1);
    assert_string_equal(box_text(from_box, text), expected);
    assert_string_equal(box_text(to_box, text), "read rows [0:4, 0:4]");
    snprintf(expected, sizeof expected, "fill %d", row);
    assert_string_equal(node_text(from_box, text), expected);
    assert_string_equal(node_text(to_box, text), reader);
}

static void test_edges(void **state)
{
    (void)state;
    json_t *root = write_and_load();
    const json_t *edges = json_object_get(root, "edges"), *edge;
    size_t i;
    int n_direct = 0, n_to_join = 0, n_from_join = 0, n_declared = 0;
    assert_int_equal(json_array_size(edges), N + N + 1 + 1);
    json_array_foreach(edges, i, edge)
    {
        char from[64], to[64];
        const json_t *from_node = json_object_get(edge, "from");
        int row = (int)json_integer_value(json_object_get(from_node, "block"));
        const char *source = json_string_value(json_object_get(edge, "source"));
        bool via_join = json_is_true(json_object_get(edge, "via_join"));
        node_text(from_node, from);
        node_text(json_object_get(edge, "to"), to);
        if (strcmp(to, "done 0") == 0) {
            assert_string_equal(from, "read 0");
            assert_string_equal(source, "declared");
            assert_true(!via_join && json_object_get(edge, "from_box") == NULL && json_object_get(edge, "to_box") == NULL);
            n_declared++;
            continue;
        }
        assert_string_equal(source, "raw");
        if (strncmp(from, "join", 4) == 0) {
            assert_string_equal(to, "read 1");
            row = (int)json_integer_value(json_object_get(json_object_get(edge, "from_box"), "block"));
            n_from_join++;
        } else if (strncmp(to, "join", 4) == 0) {
            n_to_join++;
        } else {
            assert_string_equal(to, "read 0");
            n_direct++;
        }
        assert_true(via_join == (strncmp(from, "join", 4) == 0 || strncmp(to, "join", 4) == 0));
        check_boxes(edge, row, via_join ? "read 1" : "read 0");
    }
    assert_true(n_direct == N && n_to_join == N && n_from_join == 1 && n_declared == 1);
    json_decref(root);
}

static void test_unwritable_path(void **state)
{
    (void)state;
    trace t = {0};
    dsv4_error err = {0};
    t.graph.name = "empty";
    assert_int_equal(trace_write_deps(&t, TEST_TEMPORARY "/no such folder/d.json", &err), DSV4_E_IO);
    assert_contains(err.text, "no such folder/d.json: cannot write");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_heads), cmocka_unit_test(test_blocks), cmocka_unit_test(test_edges),
                                       cmocka_unit_test(test_unwritable_path)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
