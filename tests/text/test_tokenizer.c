/* Ids and texts of tokenizers against what other implementations gave, and what is refused. */
#include <time.h>

#include "published.h"

static tokenizer *read_small(void)
{
    tokenizer *t = NULL;
    dsv4_error err = {0};
    require_ok(tokenizer_read(DATA "/tokenizer.json", &t, &err), &err);
    return t;
}

/* ---- expectations --------------------------------------------------------------------------------------------------------- */

static void expect_ids(const tokenizer *t, const json_t *row, int line)
{
    const json_t *text = json_object_get(row, "text"), *ids = json_object_get(row, "ids");
    tokenizer_ids got = {0};
    dsv4_error err = {0};
    if (text == NULL) { /* ids alone: they are decoded only */
        return;
    }
    require_ok(tokenizer_encode(t, json_string_value(text), json_string_length(text), &got, &err), &err);
    for (size_t i = 0; i < got.n && i < json_array_size(ids); i++) {
        if (got.items[i] != json_integer_value(json_array_get(ids, i))) {
            fail_msg("line %d: id %zu: got %d, expected %d", line, i, (int)got.items[i],
                     (int)json_integer_value(json_array_get(ids, i)));
        }
    }
    if (got.n != json_array_size(ids)) {
        fail_msg("line %d: got %zu ids, expected %zu", line, got.n, json_array_size(ids));
    }
    free(got.items);
}

static void expect_text(const char *got, size_t n, const json_t *expected, int line)
{
    if (n != json_string_length(expected) || memcmp(got, json_string_value(expected), n) != 0) {
        fail_msg("line %d: got \"%.*s\", expected \"%s\"", line, (int)n, got, json_string_value(expected));
    }
}

/* All ids at once, and one after the other. */
static void expect_decoded(const tokenizer *t, const json_t *row, const char *key, bool skip_special, int line)
{
    const json_t *expected = json_object_get(row, key), *values = json_object_get(row, "ids");
    size_t n_ids = json_array_size(values), n_bytes = 0, n_joined = 0;
    int32_t *ids = malloc((n_ids + 1) * sizeof *ids);
    char *text = NULL, *joined = malloc(json_string_length(expected) + 1024);
    const char *piece = NULL;
    dsv4_error err = {0};
    detokenizer d;
    require_ok(detokenizer_init(&d, t, skip_special, &err), &err);
    for (size_t i = 0; i < n_ids; i++) {
        ids[i] = (int32_t)json_integer_value(json_array_get(values, i));
        require_ok(detokenizer_next(&d, ids[i], &piece, &n_bytes, &err), &err);
        assert_true(n_joined + n_bytes <= json_string_length(expected));
        memcpy(joined + n_joined, piece, n_bytes);
        n_joined += n_bytes;
    }
    piece = detokenizer_end(&d, &n_bytes);
    memcpy(joined + n_joined, piece, n_bytes);
    expect_text(joined, n_joined + n_bytes, expected, line);
    require_ok(tokenizer_decode(t, ids, n_ids, skip_special, &text, &n_bytes, &err), &err);
    expect_text(text, n_bytes, expected, line);
    detokenizer_deinit(&d);
    free(ids);
    free(text);
    free(joined);
}

static void expect_row(void *context, const json_t *row, int line)
{
    expect_ids(context, row, line);
    expect_decoded(context, row, "decoded", false, line);
    expect_decoded(context, row, "decoded_skip_special", true, line);
}

static void small_tokenizer_gives_expected_ids_and_texts(void **state)
{
    (void)state;
    tokenizer *t = read_small();
    assert_int_equal(jsonl_each(DATA "/encoded.jsonl", expect_row, t), 370);
    tokenizer_free(t);
}

static void published_tokenizer_gives_expected_ids_and_texts(void **state)
{
    (void)state;
    tokenizer *t = read_published_tokenizer();
    assert_int_equal(tokenizer_n_ids(t), 129280);
    assert_int_equal(tokenizer_find(t, "<think>"), 128821);
    assert_int_equal(jsonl_each(DATA "/published_encoded.jsonl", expect_row, t), 537);
    tokenizer_free(t);
}

/* ---- tokens ---------------------------------------------------------------------------------------------------------------- */

static void tokens_are_found_by_name_and_id(void **state)
{
    (void)state;
    tokenizer *t = read_small();
    size_t n = 0;
    assert_int_equal(tokenizer_find(t, "<｜begin▁of▁sentence｜>"), 0);
    assert_int_equal(tokenizer_find(t, "<think>"), 499);
    assert_int_equal(tokenizer_find(t, "<think"), -1);
    assert_int_equal(tokenizer_find(t, "<think>>"), -1);
    assert_int_equal(tokenizer_find(t, ""), -1);
    assert_true(tokenizer_is_special(t, 0));
    assert_false(tokenizer_is_special(t, 499));
    assert_memory_equal(tokenizer_bytes(t, 3, &n), "!", 2);
    assert_int_equal(n, 1);
    assert_null(tokenizer_bytes(t, -1, &n));
    assert_null(tokenizer_bytes(t, tokenizer_n_ids(t), &n));
    tokenizer_free(t);
}

static void bad_text_and_ids_are_refused(void **state)
{
    (void)state;
    tokenizer *t = read_small();
    tokenizer_ids ids = {0};
    dsv4_error err = {0};
    char *text = NULL;
    size_t n = 0;
    static const struct {
        const char *text, *message;
    } cases[] = {{"abc\xff", "tokenizer: text: byte 3 is not UTF-8"},
                 {"\xc0\x80", "tokenizer: text: byte 0 is not UTF-8"},
                 {"a\xed\xa0\x80", "tokenizer: text: byte 1 is not UTF-8"},
                 {"\xe2\x82", "tokenizer: text: byte 0 is not UTF-8"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(tokenizer_encode(t, cases[i].text, strlen(cases[i].text), &ids, &err), DSV4_E_VALUE);
        assert_string_equal(err.text, cases[i].message);
        assert_int_equal(ids.n, 0);
    }
    assert_int_equal(tokenizer_decode(t, (const int32_t[]){5, 99999}, 2, false, &text, &n, &err), DSV4_E_VALUE);
    assert_string_equal(err.text, "tokenizer: got id 99999, which names no token; ids are below 512");
    free(ids.items);
    tokenizer_free(t);
}

/* ---- long texts ------------------------------------------------------------------------------------------------------------- */

/* A text that repeats `unit` for about a megabyte comes back whole, in seconds: quadratic work would take hours. */
static void expect_round_trip(const tokenizer *t, const char *unit)
{
    size_t n_unit = strlen(unit), n = (1 << 20) / n_unit * n_unit, n_decoded = 0;
    char *text = malloc(n), *decoded = NULL;
    tokenizer_ids ids = {0};
    dsv4_error err = {0};
    for (size_t i = 0; i < n; i += n_unit) {
        memcpy(text + i, unit, n_unit);
    }
    clock_t start = clock();
    require_ok(tokenizer_encode(t, text, n, &ids, &err), &err);
    require_ok(tokenizer_decode(t, ids.items, ids.n, false, &decoded, &n_decoded, &err), &err);
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    assert_int_equal(n_decoded, n);
    assert_memory_equal(decoded, text, n);
    if (seconds > 20) {
        fail_msg("\"%s\" repeated takes %.1f s", unit, seconds);
    }
    free(ids.items);
    free(decoded);
    free(text);
}

static void long_texts_take_time_in_proportion(void **state)
{
    (void)state;
    static const char *const units[] = {
        "a", "the",          " ",       "\n",       " \n", "\t ",    "1",           "\x01", "!", "é", "中", "\xf0\x9f\x98\x80",
        "<", "<｜begin▁of▁", "<think>", "\xcc\x81", "!a",  " .\r\n", "\xe2\x80\xa8"};
    tokenizer *t = read_small();
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        expect_round_trip(t, units[i]);
    }
    tokenizer_free(t);
}

/* ---- refusals ---------------------------------------------------------------------------------------------------------------- */

/* The text of the small tokenizer with the first `from` replaced. */
static char *changed_text(const char *from, const char *to, size_t *n)
{
    char *text = NULL;
    dsv4_error err = {0};
    require_ok(file_read(DATA "/tokenizer.json", 1 << 20, &text, n, &err), &err);
    const char *at = strstr(text, from);
    if (at == NULL) {
        fail_msg("\"%s\" is not in the tokenizer", from);
    }
    char *changed = malloc(*n + strlen(to) + 1);
    *n = (size_t)sprintf(changed, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    free(text);
    return changed;
}

static void damaged_tokenizers_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *message;
    } cases[] = {
        {"{", "[", "no valid JSON"},
        {"\"model\"", "\"modell\"", "no tokenizer.json: expected an object with a member model"},
        {"\"BPE\"", "\"Unigram\"", "model.type: anything but \"BPE\" is not supported"},
        {"\"dropout\": null", "\"dropout\": 0.1", "model: ignore_merges or dropout is not supported"},
        {"\"dropout\": null", "\"ignore_merges\": true", "model: ignore_merges or dropout is not supported"},
        {"\"end_of_word_suffix\": null", "\"end_of_word_suffix\": \"</w>\"", "end_of_word_suffix is not supported"},
        {"\"normalizers\": []", "\"normalizers\": [{\"type\": \"NFC\"}]", "normalizer: a normalizer is not supported"},
        {"\"truncation\": null", "\"truncation\": {}", "truncation, padding: either is not supported"},
        {"\"Isolated\"", "\"Removed\"", "pretokenizers[0]: a Split that is not Isolated, or inverted, is not supported"},
        {"\"Regex\"", "\"String\"", "pretokenizers[0]: a Split without pattern.Regex is not supported"},
        {"\\\\p{N}{1,3}", "(\\\\p{N}", "pattern 0, byte 6: missing closing parenthesis"},
        {"\"Split\"", "\"Digits\"", "pretokenizers[0]: anything but Split ... Split, ByteLevel is not supported"},
        {"\"use_regex\": false", "\"use_regex\": true", "ByteLevel with add_prefix_space or use_regex is not supported"},
        {"\"!\": 3", "\"!\": -3", "model.vocab: token \"!\": expected an integer id below 1048576"},
        {"\"!\": 3", "\"!\": 1048576", "model.vocab: token \"!\": expected an integer id below 1048576"},
        {"\"!\": 3", "\"!\": 3.5", "model.vocab: token \"!\": expected an integer id below 1048576"},
        {"\"!\": 3", "\"!\": 4", "has the id of another"},
        {"\"!\": 3", "\"!!\": 3", "model.vocab: no token for byte 0x21"},
        {"\"t h\"", "\"t  h\"", "model.merges[0]: expected two tokens"},
        {"\"t h\"", "\"th\"", "model.merges[0]: expected two tokens"},
        {"\"t h\"", "7", "model.merges[0]: expected two tokens"},
        {"\"t h\"", "\"h t\"", "model.merges[0]: model.vocab lacks a part or the whole of \"ht\""},
        {"\"t h\",", "\"t h\", [\"t\", \"h\"],", "model.merges[1]: the pair is there before"},
        {"\"id\": 499", "\"id\": 498", "its id is that of another token"},
        {"\"id\": 0", "\"id\": 600", "or model.vocab has it under another id"},
        {"\"id\": 0", "\"id\": \"0\"", "added_tokens[0].id: expected an integer below 1048576"},
        {"\"<think>\"", "\"\"", "content: expected a text of 1 to 1024 bytes"},
        {"\"lstrip\": false", "\"lstrip\": true", "added_tokens[0]: lstrip is not supported"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tokenizer *t = NULL;
        dsv4_error err = {0};
        size_t n = 0;
        char *text = changed_text(cases[i].from, cases[i].to, &n);
        if (tokenizer_parse("t.json", text, n, &t, &err) == DSV4_OK) {
            fail_msg("%s for %s is accepted", cases[i].to, cases[i].from);
        }
        if (strstr(err.text, cases[i].message) == NULL || strncmp(err.text, "t.json: ", 8) != 0) {
            fail_msg("got \"%s\", expected \"%s\"", err.text, cases[i].message);
        }
        assert_null(t);
        free(text);
    }
}

static void costly_patterns_end_with_an_error(void **state)
{
    (void)state;
    tokenizer *t = NULL;
    tokenizer_ids ids = {0};
    dsv4_error err = {0};
    size_t n = 0;
    char *json = changed_text("\\\\p{N}{1,3}", "(?:a+)+$", &n), text[65];
    require_ok(tokenizer_parse("t.json", json, n, &t, &err), &err);
    memset(text, 'a', 64);
    text[64] = 'b';
    assert_int_equal(tokenizer_encode(t, text, 65, &ids, &err), DSV4_E_VALUE);
    assert_string_equal(err.text, "tokenizer: pattern 0 cannot split the text: match limit exceeded");
    free(ids.items);
    free(json);
    tokenizer_free(t);
}

static void missing_files_are_named(void **state)
{
    (void)state;
    tokenizer *t = NULL;
    dsv4_error err = {0};
    assert_int_equal(tokenizer_read(DATA "/nothing.json", &t, &err), DSV4_E_NOT_FOUND);
    assert_non_null(strstr(err.text, "nothing.json: cannot open"));
    assert_int_equal(tokenizer_read(DATA, &t, &err), DSV4_E_IO);
    assert_non_null(strstr(err.text, "not a regular file"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_tokenizer_gives_expected_ids_and_texts),
        cmocka_unit_test(published_tokenizer_gives_expected_ids_and_texts),
        cmocka_unit_test(tokens_are_found_by_name_and_id),
        cmocka_unit_test(bad_text_and_ids_are_refused),
        cmocka_unit_test(long_texts_take_time_in_proportion),
        cmocka_unit_test(damaged_tokenizers_are_refused),
        cmocka_unit_test(costly_patterns_end_with_an_error),
        cmocka_unit_test(missing_files_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
