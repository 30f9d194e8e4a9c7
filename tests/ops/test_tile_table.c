/* The table of measured tiles: what is written is read again, nothing is lost, damaged bytes are refused by name. */
#include "require.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ops/tile_table.h"

static const char path[] = TEST_TEMPORARY "/tile_table.json";

static op_tile_entry make_entry(const char *cpu, const char *op, int64_t tokens, int64_t value)
{
    op_tile_entry e = {.key = {.mode = DSV4_PREFILL, .tokens = tokens, .n_threads = 2},
                       .tiles = {{"n_tile", value}, {"k_split", 3}},
                       .n_tiles = 2,
                       .default_s = 0.25,
                       .chosen_s = 0.125};
    snprintf(e.cpu, sizeof e.cpu, "%s", cpu);
    snprintf(e.key.op, sizeof e.key.op, "%s", op);
    snprintf(e.key.dims, sizeof e.key.dims, "D=64 H=2");
    snprintf(e.key.isa, sizeof e.key.isa, "avx2");
    snprintf(e.commit, sizeof e.commit, "0123abc");
    return e;
}

static void put(op_tile_table *t, const op_tile_entry *e)
{
    dsv4_error err = {0};
    require_ok(op_tile_table_put(t, e, &err), &err);
}

static void expect_same(const op_tile_entry *a, const op_tile_entry *b)
{
    assert_string_equal(a->cpu, b->cpu);
    assert_string_equal(a->key.op, b->key.op);
    assert_string_equal(a->key.dims, b->key.dims);
    assert_string_equal(a->key.isa, b->key.isa);
    assert_string_equal(a->commit, b->commit);
    assert_int_equal(a->key.mode, b->key.mode);
    assert_int_equal(a->key.tokens, b->key.tokens);
    assert_int_equal(a->key.n_threads, b->key.n_threads);
    assert_true(a->default_s == b->default_s && a->chosen_s == b->chosen_s);
    assert_int_equal(a->n_tiles, b->n_tiles);
    for (size_t i = 0; i < a->n_tiles; i++) {
        assert_string_equal(a->tiles[i].name, b->tiles[i].name);
        assert_int_equal(a->tiles[i].value, b->tiles[i].value);
    }
}

static void test_written_is_read(void **state)
{
    (void)state;
    op_tile_table written = {0}, t = {0};
    dsv4_error err = {0};
    const op_tile_entry e[] = {make_entry("CPU \"A\" \xc3\xa9", "one", 8, 64), make_entry("CPU B", "one", 8, 32),
                               make_entry("CPU \"A\" \xc3\xa9", "two", 8, 96), make_entry("CPU B", "one", 16, 128)};
    for (int i = 0; i < 4; i++) {
        put(&written, &e[i]);
    }
    require_ok(op_tile_table_write(path, &written, &err), &err);
    require_ok(op_tile_table_read(path, &t, &err), &err);
    assert_int_equal(t.n, 4);
    for (int i = 0; i < 4; i++) {
        const op_tile_entry *found = op_tile_table_find(&t, e[i].cpu, &e[i].key);
        assert_non_null(found);
        expect_same(found, &e[i]);
    }
    op_tile_table_deinit(&written);
    op_tile_table_deinit(&t);
}

static void test_put_replaces_only_its_own(void **state)
{
    (void)state;
    op_tile_table t = {0};
    op_tile_entry a = make_entry("A", "one", 8, 64), b = make_entry("B", "one", 8, 32), again = make_entry("A", "one", 8, 256);
    put(&t, &a);
    put(&t, &b);
    put(&t, &again);
    assert_int_equal(t.n, 2);
    expect_same(op_tile_table_find(&t, "A", &a.key), &again);
    expect_same(op_tile_table_find(&t, "B", &b.key), &b);
    op_tile_table_deinit(&t);
}

static void test_every_part_of_the_key_counts(void **state)
{
    (void)state;
    op_tile_table t = {0};
    op_tile_entry e = make_entry("A", "one", 8, 64);
    put(&t, &e);
    op_tile_key other[6];
    for (int i = 0; i < 6; i++) {
        other[i] = e.key;
    }
    other[0].op[0] = 'O';
    other[1].dims[2] = '9';
    other[2].isa[0] = 'A';
    other[3].mode = DSV4_DECODE;
    other[4].tokens = 16;
    other[5].n_threads = 1;
    for (int i = 0; i < 6; i++) {
        assert_null(op_tile_table_find(&t, "A", &other[i]));
    }
    assert_null(op_tile_table_find(&t, "B", &e.key));
    assert_non_null(op_tile_table_find(&t, "A", &e.key));
    op_tile_table_deinit(&t);
}

/* ---- keys ------------------------------------------------------------------------------------------------------------------- */

static const op_tensor tensors[] = {{"x", DSV4_F32, OP_IN, "T,H*hd", "", {0}, NULL, {0}},
                                    {"w", DSV4_F32, OP_IN, "D/4,SL", "", {0}, NULL, {0}}};
static const dsv4_op op = {.name = "made_up", .tensors = tensors, .n_tensors = 2};

static void test_key_of_a_call(void **state)
{
    (void)state;
    const dsv4_config config = {
        .hidden_size = 64, .num_attention_heads = 2, .head_dim = 32, .q_lora_rank = 16, .max_position_embeddings = 4096};
    const int64_t tokens[][2] = {{1, 1}, {2, 2}, {3, 2}, {7, 4}, {8, 8}, {1000, 512}, {1024, 1024}};
    op_context c = {.op = &op, .config = &config, .mode = DSV4_DECODE, .dims = op_dims_of_config(&config)};
    dsv4_error err = {0};
    require_ok(uk_find("scalar", &c.uk, &err), &err);
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++) {
        c.dims.of[OP_T] = tokens[i][0];
        op_tile_key key = op_tile_key_of(&c, 3);
        assert_int_equal(key.tokens, tokens[i][1]);
        assert_string_equal(key.op, "made_up");
        assert_string_equal(key.dims, "D=64 H=2 hd=32"); /* without QL, which no tensor has, and SL, which follows the length */
        assert_string_equal(key.isa, "scalar");
        assert_int_equal(key.mode, DSV4_DECODE);
        assert_int_equal(key.n_threads, 3);
    }
}

/* ---- damage ----------------------------------------------------------------------------------------------------------------- */

#define ENTRY(members) "{\"format\": \"dsv4 tiles\", \"version\": 1, \"cpus\": {\"C\": [{" members "}]}}"
#define TEXTS "\"op\": \"o\", \"dims\": \"D=1\", \"isa\": \"avx2\", \"commit\": \"x\", "
#define NUMBERS "\"tokens\": 8, \"threads\": 2, \"default_s\": 1, \"chosen_s\": 0.5, "
#define REST "\"mode\": \"decode\", \"tiles\": {\"n_tile\": 64}"

static dsv4_status parse(const char *json, size_t n, dsv4_error *err)
{
    op_tile_table t = {0};
    dsv4_status status = op_tile_table_parse("f.json", json, n, &t, err);
    assert_true(status == DSV4_OK || (t.n == 0 && t.entries == NULL));
    op_tile_table_deinit(&t);
    return status;
}

static void test_damage_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *json, *complaint;
    } cases[] = {
        {"", "no valid JSON"},
        {"[]", "no tile table"},
        {"{\"format\": \"gguf\", \"version\": 1, \"cpus\": {}}", "member format"},
        {"{\"format\": \"dsv4 tiles\", \"version\": 2, \"cpus\": {}}", "version 1"},
        {"{\"format\": \"dsv4 tiles\", \"version\": 1, \"cpus\": {}, \"more\": 0}", "its members"},
        {"{\"format\": \"dsv4 tiles\", \"version\": 1, \"cpus\": []}", "member cpus"},
        {"{\"format\": \"dsv4 tiles\", \"version\": 1, \"cpus\": {\"\": []}}", "a name of 1 to 127 bytes"},
        {"{\"format\": \"dsv4 tiles\", \"version\": 1, \"cpus\": {\"C\": {}}}", "and a list"},
        {"{\"format\": \"dsv4 tiles\", \"version\": 1, \"cpus\": {\"C\": [7]}}", "entry 0 of \"C\""},
        {ENTRY(TEXTS NUMBERS REST ", \"more\": 1"), "10 members"},
        {ENTRY(TEXTS NUMBERS "\"mode\": \"decode\""), "member tiles"},
        {ENTRY(TEXTS NUMBERS "\"mode\": \"train\", \"tiles\": {}"), "decode or prefill"},
        {ENTRY(TEXTS NUMBERS "\"mode\": \"decode\", \"tiles\": {\"n_tile\": 0}"), "member n_tile"},
        {ENTRY(TEXTS NUMBERS "\"mode\": \"decode\", \"tiles\": {\"n_tile\": 2147483648}"), "member n_tile"},
        {ENTRY(TEXTS NUMBERS "\"mode\": \"decode\", \"tiles\": {\"n_tile\": 6.5}"), "member n_tile"},
        {ENTRY(TEXTS NUMBERS "\"mode\": \"decode\", \"tiles\": {\"a_name_that_is_longer_than_any_tile\": 1}"), "1 to 31 bytes"},
        {ENTRY(NUMBERS REST), "member op"},
        {ENTRY(TEXTS REST), "member tokens"},
        {ENTRY(TEXTS "\"tokens\": 8, \"threads\": -2, \"default_s\": 1, \"chosen_s\": 0.5, " REST), "member threads"},
        {ENTRY(TEXTS "\"tokens\": 8, \"threads\": 2, \"default_s\": 0, \"chosen_s\": 0.5, " REST), "member default_s"},
        {ENTRY(TEXTS "\"tokens\": 8, \"threads\": 2, \"default_s\": 1, \"chosen_s\": \"fast\", " REST), "member chosen_s"},
        {ENTRY(TEXTS NUMBERS REST "}, {" TEXTS NUMBERS REST), "entry 1 of \"C\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dsv4_error err = {0};
        assert_int_not_equal(parse(cases[i].json, strlen(cases[i].json), &err), DSV4_OK);
        if (strstr(err.text, cases[i].complaint) == NULL || strncmp(err.text, "f.json: ", 8) != 0) {
            fail_msg("case %zu: got \"%s\", expected \"%s\"", i, err.text, cases[i].complaint);
        }
    }
}

static void test_truncations_are_refused(void **state)
{
    (void)state;
    static const char json[] = ENTRY(TEXTS NUMBERS REST);
    dsv4_error err = {0};
    require_ok(parse(json, sizeof json - 1, &err), &err);
    for (size_t n = 0; n < sizeof json - 1; n++) {
        assert_int_equal(parse(json, n, NULL), DSV4_E_FORMAT);
    }
}

static void test_nesting_and_size_are_bounded(void **state)
{
    (void)state;
    size_t n = OP_MAX_TILE_TABLE_BYTES + 1;
    char *bytes = malloc(n);
    assert_non_null(bytes);
    memset(bytes, '[', n);
    assert_int_equal(parse(bytes, 1 << 20, NULL), DSV4_E_FORMAT);
    assert_int_equal(parse(bytes, n, NULL), DSV4_E_FORMAT);
    free(bytes);
}

static void test_files_that_are_none(void **state)
{
    (void)state;
    static const char pipe_path[] = TEST_TEMPORARY "/tile_table.pipe";
    op_tile_table t = {0};
    dsv4_error err = {0};
    assert_int_equal(op_tile_table_read(TEST_TEMPORARY "/absent/tiles.json", &t, &err), DSV4_E_NOT_FOUND);
    assert_int_equal(op_tile_table_read(TEST_TEMPORARY, &t, &err), DSV4_E_IO);
    assert_non_null(strstr(err.text, "not a regular file"));
    unlink(pipe_path);
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    assert_int_equal(op_tile_table_read(pipe_path, &t, &err), DSV4_E_IO);
    unlink(pipe_path);
}

static void test_entries_are_bounded(void **state)
{
    (void)state;
    op_tile_table t = {0};
    dsv4_error err = {0};
    for (int64_t i = 0; i < OP_MAX_TILE_ENTRIES; i++) {
        op_tile_entry e = make_entry("A", "one", i + 1, 64);
        put(&t, &e);
    }
    op_tile_entry more = make_entry("A", "one", 1 << 20, 64), known = make_entry("A", "one", 1, 128);
    assert_int_equal(op_tile_table_put(&t, &more, &err), DSV4_E_VALUE);
    put(&t, &known);
    assert_int_equal(t.n, OP_MAX_TILE_ENTRIES);
    op_tile_table_deinit(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written_is_read),
        cmocka_unit_test(test_put_replaces_only_its_own),
        cmocka_unit_test(test_every_part_of_the_key_counts),
        cmocka_unit_test(test_key_of_a_call),
        cmocka_unit_test(test_damage_is_refused),
        cmocka_unit_test(test_truncations_are_refused),
        cmocka_unit_test(test_nesting_and_size_are_bounded),
        cmocka_unit_test(test_files_that_are_none),
        cmocka_unit_test(test_entries_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
