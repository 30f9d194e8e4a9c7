/* A checkpoint as it must be, and copies of it with one thing wrong each. */
#include "model_files.h"

static const char folder[] = TEST_TEMPORARY "/test_checkpoint";
static const char shard1[] = "model-00001-of-00002.safetensors", shard2[] = "model-00002-of-00002.safetensors";
static const char index_file[] = "model.safetensors.index.json";

static model_checkpoint *open_or_fail(const char *path)
{
    model_checkpoint *c = NULL;
    dsv4_error err = {0};
    require_ok(model_checkpoint_open(path, &c, &err), &err);
    return c;
}

/* The copy must have exactly n problems of a kind, and nothing else but `n_others` of any other kind; the first line has each word. */
static void has_problems(model_problem_kind kind, size_t n, const char *word, const char *word2)
{
    model_checkpoint *c = open_or_fail(folder);
    model_checkpoint_check_values(c, 0, c->table.n);
    dsv4_error err = {0};
    assert_int_equal(c->n_of_kind[kind], n);
    assert_int_equal(c->n_problems, c->n_of_kind[0] + c->n_of_kind[1] + c->n_of_kind[2]);
    for (size_t i = 0; i < c->n_problems; i++) {
        if (c->problems[i].kind == kind) {
            if (strstr(c->problems[i].text, word) == NULL || strstr(c->problems[i].text, word2) == NULL) {
                fail_msg("\"%s\" has no '%s' or no '%s'", c->problems[i].text, word, word2);
            }
            break;
        }
    }
    const bool fails = c->n_of_kind[MODEL_MISSING] + c->n_of_kind[MODEL_WRONG] > 0;
    assert_int_equal(model_checkpoint_require(c, &err), fails ? DSV4_E_FORMAT : DSV4_OK);
    model_checkpoint_close(c);
}

static void is_complete(const char *path, size_t n_tensors)
{
    model_checkpoint *c = open_or_fail(path);
    dsv4_error err = {0};
    model_checkpoint_check_values(c, 0, c->table.n);
    require_ok(model_checkpoint_require(c, &err), &err);
    assert_int_equal(c->n_problems, 0);
    assert_int_equal(c->table.n, n_tensors);
    assert_int_equal(c->n_shards, 2);
    for (size_t i = 0; i < c->table.n; i++) {
        assert_non_null(c->data[i]);
        assert_int_equal(model_checkpoint_find(c, c->table.items[i].name), i);
    }
    assert_int_equal(model_checkpoint_find(c, "model.embed.weight"), -1);
    model_checkpoint_close(c);
}

static size_t count_lines(const char *path, const char *word)
{
    size_t n_bytes, n = 0;
    char *text = read_text(path, &n_bytes);
    for (const char *at = text; (at = strstr(at, word)) != NULL; at++) {
        n++;
    }
    free(text);
    return n;
}

static void tiny_models_are_complete(void **state)
{
    (void)state;
    is_complete(TINY_ENGLISH, count_lines(TINY_ENGLISH "/model.safetensors.index.json", ".safetensors\""));
    is_complete(TINY_RANDOM, count_lines(TINY_RANDOM "/model.safetensors.index.json", ".safetensors\""));
}

/* ---- files ---- */

static void missing_shard(void **state)
{
    (void)state;
    copy_english(folder);
    unlink(path_in(folder, shard2));
    has_problems(MODEL_MISSING, 1, shard2, "cannot open");
}

static void truncated_shard(void **state)
{
    (void)state;
    copy_english(folder);
    assert_int_equal(truncate(path_in(folder, shard1), 1573000), 0);
    has_problems(MODEL_WRONG, 1, shard1, "data bytes");
    assert_int_equal(truncate(path_in(folder, shard1), 5), 0);
    has_problems(MODEL_WRONG, 1, shard1, "too short");
    assert_int_equal(truncate(path_in(folder, shard1), 0), 0);
    has_problems(MODEL_WRONG, 1, shard1, "too short");
}

static void symlinks(void **state)
{
    (void)state;
    copy_english(folder);
    unlink(path_in(folder, shard1));
    assert_int_equal(symlink(shard1, path_in(folder, shard1)), 0); /* to itself */
    has_problems(MODEL_MISSING, 1, shard1, "cannot open");
    unlink(path_in(folder, shard1));
    assert_int_equal(symlink(TINY_ENGLISH "/model-00001-of-00002.safetensors", path_in(folder, shard1)), 0);
    has_problems(MODEL_MISSING, 0, "", ""); /* as download caches have them */
    unlink(path_in(folder, shard1));
    assert_int_equal(mkfifo(path_in(folder, shard1), 0666), 0);
    has_problems(MODEL_MISSING, 1, shard1, "not a regular file");
    unlink(path_in(folder, shard1));
}

/* ---- index ---- */

static void refuses_index(const char *from, const char *to, const char *word)
{
    copy_english(folder);
    replace_in_file(path_in(folder, index_file), from, to);
    model_checkpoint *c = NULL;
    dsv4_error err = {0};
    assert_int_equal(model_checkpoint_open(folder, &c, &err), DSV4_E_FORMAT);
    if (strstr(err.text, index_file) == NULL || strstr(err.text, word) == NULL) {
        fail_msg("\"%s\" has no '%s'", err.text, word);
    }
}

static void bad_index(void **state)
{
    (void)state;
    refuses_index("\"embed.weight\": \"model-0", "\"embed.weight\": \"../model-0", "'embed.weight'");
    refuses_index("\"embed.weight\": \"model-0", "\"embed.weight\": \"/etc/model-0", "expected the plain name");
    refuses_index("\"embed.weight\": \"model-00001-of-00002.safetensors\"", "\"embed.weight\": 3", "no text");
    refuses_index("\"embed.weight\": \"model-00001-of-00002.safetensors\"", "\"embed.weight\": \"config.json\"", "config.json");
    refuses_index("\"weight_map\"", "\"weights\"", "weight_map");
    refuses_index("\"norm.weight\"", "\"embed.weight\"", "duplicate");
    refuses_index("{", "[[[[[[", "line");
}

static void index_and_files_differ(void **state)
{
    (void)state;
    copy_english(folder);
    replace_in_file(path_in(folder, index_file), "\"embed.weight\"", "\"embed.weights\"");
    has_problems(MODEL_MISSING, 1, "'embed.weight' is not listed", "BF16 [512, 128]");
    has_problems(MODEL_UNEXPECTED, 2, "'embed.weights'", shard1);
    copy_english(folder);
    replace_in_file(path_in(folder, index_file), "\"embed.weight\": \"model-00001", "\"embed.weight\": \"model-00002");
    has_problems(MODEL_MISSING, 1, "model-00002", "has no tensor 'embed.weight'");
    has_problems(MODEL_UNEXPECTED, 1, "model-00001", "listed under model-00002");
}

/* ---- tensors ---- */

/* Replaces text of the same length in a shard's header. */
static void change_header(const char *shard, const char *from, const char *to)
{
    size_t n;
    char *bytes = read_text(path_in(folder, shard), &n);
    const size_t length = strlen(from);
    assert_int_equal(length, strlen(to));
    char *at = memmem(bytes, n, from, length);
    assert_non_null(at);
    memcpy(at, to, length);
    write_bytes(path_in(folder, shard), bytes, n);
    free(bytes);
}

static void wrong_shape_and_dtype(void **state)
{
    (void)state;
    copy_english(folder);
    change_header(shard1, "\"embed.weight\":{\"dtype\":\"BF16\",\"shape\":[512,128]",
                  "\"embed.weight\":{\"dtype\":\"BF16\",\"shape\":[128,512]");
    has_problems(MODEL_WRONG, 1, "'embed.weight' is BF16 [128, 512]", "expected BF16 [512, 128]");
    change_header(shard1, "\"embed.weight\":{\"dtype\":\"BF16\",\"shape\":[128,512]",
                  "\"embed.weight\":{\"dtype\":\"F16\" ,\"shape\":[512,128]");
    has_problems(MODEL_WRONG, 1, "'embed.weight' is F16 [512, 128]", shard1);
    change_header(shard1, "\"embed.weight\":{\"dtype\":\"F16\" ", "\"embad.weight\":{\"dtype\":\"BF16\"");
    has_problems(MODEL_MISSING, 1, "'embed.weight'", shard1);
    has_problems(MODEL_UNEXPECTED, 1, "'embad.weight'", "not listed");
}

/* Overwrites bytes of a tensor's data in the copy. */
static void change_data(const char *name, size_t offset, const void *bytes, size_t n)
{
    model_checkpoint *c = open_or_fail(folder);
    const int64_t item = model_checkpoint_find(c, name);
    assert_true(item >= 0 && c->data[item] != NULL);
    char path[FILE_PATH_BYTES];
    snprintf(path, sizeof path, "%s", path_in(folder, c->shards[c->shard_of[item]].name));
    size_t n_file;
    char *file = read_text(path, &n_file);
    const dsv4_tensor_list *list = dsv4_safetensors_tensors(c->shards[c->shard_of[item]].file);
    size_t n_data = 0; /* data covers the file's end exactly */
    for (size_t i = 0; i < list->n; i++) {
        n_data += dsv4_tensor_bytes(&list->items[i].tensor);
    }
    const size_t at = (size_t)((const char *)c->data[item] - (const char *)list->items[0].tensor.data) + n_file - n_data;
    memcpy(file + at + offset, bytes, n);
    model_checkpoint_close(c);
    write_bytes(path, file, n_file);
    free(file);
}

static void bad_values(void **state)
{
    (void)state;
    const struct {
        const char *tensor;
        unsigned char bytes[8];
        size_t n;
        const char *word;
    } cases[] = {
        {"layers.1.attn.wq_a.scale", {0xff}, 1, "expected a scale"},
        {"layers.1.ffn.experts.3.w1.scale", {247}, 1, "expected a scale"},
        {"layers.1.attn.wq_b.weight", {0x7f}, 1, "expected a number"},
        {"layers.1.attn_norm.weight", {0x80, 0x7f}, 2, "expected a finite number"},
        {"hc_head_fn", {0, 0, 0xc0, 0xff}, 4, "expected a finite number"},
        {"layers.0.ffn.gate.tid2eid", {8}, 8, "element 0 is 8, expected the number of an expert"},
        {"layers.0.ffn.gate.tid2eid", {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 8, "is -1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        copy_english(folder);
        change_data(cases[i].tensor, 0, cases[i].bytes, cases[i].n);
        has_problems(MODEL_WRONG, 1, cases[i].tensor, cases[i].word);
    }
}

static void experts_tell_their_dtype(void **state)
{
    (void)state;
    copy_english(folder);
    replace_in_file(path_in(folder, "config.json"), "\"expert_dtype\"", "\"_\"");
    has_problems(MODEL_WRONG, 0, "", "");
    has_problems(MODEL_MISSING, 0, "", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiny_models_are_complete),
        cmocka_unit_test(missing_shard),
        cmocka_unit_test(truncated_shard),
        cmocka_unit_test(symlinks),
        cmocka_unit_test(bad_index),
        cmocka_unit_test(index_and_files_differ),
        cmocka_unit_test(wrong_shape_and_dtype),
        cmocka_unit_test(bad_values),
        cmocka_unit_test(experts_tell_their_dtype),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
