/* Reading and writing .safetensors: round trips, the reference's files, and files that break each rule of the format. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dsv4/safetensors.h"

static const char target[] = TEST_TEMPORARY "/test_safetensors.safetensors";

/* A file in memory: the header's length, the header, n_data zeros. The block has the exact size, so that a
 * sanitizer sees any overread. */
static unsigned char *make_file(const char *header, size_t n_data, size_t *n_bytes)
{
    const uint64_t n_header = strlen(header);
    unsigned char *bytes = calloc(1, 8 + n_header + n_data);
    assert_non_null(bytes);
    memcpy(bytes, &n_header, 8);
    memcpy(bytes + 8, header, n_header);
    *n_bytes = 8 + n_header + n_data;
    return bytes;
}

static dsv4_safetensors *open_or_fail(const char *path)
{
    dsv4_safetensors *st = NULL;
    dsv4_error err = {0};
    if (dsv4_safetensors_open(path, &st, &err) != DSV4_OK) {
        fail_msg("%s", err.text);
    }
    return st;
}

static void write_or_fail(const char *const (*metadata)[2], size_t n_metadata, const dsv4_safetensors_part *parts, size_t n_parts)
{
    dsv4_error err = {0};
    if (dsv4_safetensors_write(target, metadata, n_metadata, parts, n_parts, &err) != DSV4_OK) {
        fail_msg("%s", err.text);
    }
}

/* ---- reading what the reference wrote ---- */

static double value_of(const dsv4_tensor_list *list, const char *name, int64_t i)
{
    const dsv4_tensor *t = dsv4_tensor_list_find(list, name);
    assert_non_null(t);
    return dsv4_tensor_get(t, i);
}

static void reads_rope_vectors(void **state)
{
    (void)state;
    dsv4_safetensors *st = open_or_fail(TEST_VECTORS "/rope_tables_tiny_ratio0.safetensors");
    const dsv4_tensor_list *list = dsv4_safetensors_tensors(st);
    assert_int_equal(list->n, 4);
    assert_string_equal(list->items[3].name, "out.freqs_sin");
    assert_int_equal(list->items[0].tensor.n_dims, 0);
    assert_true(value_of(list, "in.max_seq_len", 0) == 160);
    assert_true(value_of(list, "out.freqs_cos", 0) == 1);
    assert_true(value_of(list, "out.freqs_cos", 32) == 0.5390625); /* cos(1) in BF16 */
    assert_true(value_of(list, "out.freqs_sin", 32) == 0.83984375);
    assert_true(value_of(list, "out.freqs_sin", 159 * 32 + 3) == -0.000308990478515625);
    assert_string_equal(dsv4_safetensors_metadata(st, "kernel"), "rope_tables");
    assert_null(dsv4_safetensors_metadata(st, "no such key"));
    assert_string_equal(dsv4_safetensors_name(st), TEST_VECTORS "/rope_tables_tiny_ratio0.safetensors");
    dsv4_safetensors_close(st);
}

static void loads_qkv_vectors_by_prefix(void **state)
{
    (void)state;
    dsv4_safetensors *st = open_or_fail(TEST_VECTORS "/qkv_proj_rope_dec.safetensors");
    dsv4_tensor_list in = {0}, out = {0};
    dsv4_error err = {0};
    assert_int_equal(dsv4_safetensors_load(st, "in.", &in, &err), DSV4_OK);
    assert_int_equal(dsv4_safetensors_load(st, "out.", &out, &err), DSV4_OK);
    dsv4_safetensors_close(st); /* what was loaded stays */
    assert_int_equal(in.n, 9);
    assert_int_equal(out.n, 4);
    const dsv4_tensor *wq_b = dsv4_tensor_list_find(&in, "wq_b");
    assert_non_null(wq_b);
    assert_int_equal(wq_b->dtype, DSV4_I8);
    assert_int_equal(wq_b->shape[0], 128);
    assert_int_equal(wq_b->shape[1], 1024);
    int64_t sum = 0;
    for (int64_t i = 0; i < 128 * 1024; i++) {
        sum += ((const int8_t *)wq_b->data)[i];
    }
    assert_int_equal(sum, -33771);
    assert_true(value_of(&in, "wq_b_scale", 1023) == 0x1.93264cp-11);
    assert_true(value_of(&out, "qr_scale", 7) == 0x1.1c6282p-6);
    assert_true(value_of(&out, "q", 0) == -0.314453125);
    assert_true(value_of(&out, "q", 8191) == 0.1806640625);
    dsv4_tensor_list_deinit(&in);
    dsv4_tensor_list_deinit(&out);
}

/* ---- round trip ---- */

static void fill_with_pattern(dsv4_tensor *t, unsigned seed)
{
    for (size_t i = 0; i < dsv4_tensor_bytes(t); i++) {
        ((unsigned char *)t->data)[i] = (unsigned char)(seed * 31 + i * 7);
    }
}

static void round_trip_of_every_dtype_and_rank(void **state)
{
    (void)state;
    const int64_t shape[DSV4_MAX_DIMS] = {3, 1, 2, 5, 1, 2};
    dsv4_tensor_list list = {0};
    dsv4_error err = {0};
    char name[DSV4_NAME_BYTES + 3];
    for (dsv4_dtype dtype = 0; dtype < DSV4_N_DTYPES; dtype++) {
        for (int n_dims = 0; n_dims <= DSV4_MAX_DIMS; n_dims++) {
            dsv4_tensor t;
            snprintf(name, sizeof name, "%s/%d", dsv4_dtype_name(dtype), n_dims);
            assert_int_equal(dsv4_tensor_list_alloc(&list, name, dtype, n_dims, shape, &t, &err), DSV4_OK);
            fill_with_pattern(&t, (unsigned)dtype * 7 + (unsigned)n_dims);
        }
    }
    write_or_fail(NULL, 0, &(const dsv4_safetensors_part){"in.", &list}, 1);

    dsv4_safetensors *st = open_or_fail(target);
    const dsv4_tensor_list *read = dsv4_safetensors_tensors(st);
    assert_int_equal(read->n, list.n);
    for (size_t i = 0; i < list.n; i++) {
        const dsv4_tensor *expected = &list.items[i].tensor;
        snprintf(name, sizeof name, "in.%s", list.items[i].name);
        const dsv4_tensor *t = dsv4_tensor_list_find(read, name);
        assert_non_null(t);
        assert_int_equal(t->dtype, expected->dtype);
        assert_int_equal(t->n_dims, expected->n_dims);
        assert_memory_equal(t->shape, expected->shape, sizeof t->shape);
        assert_memory_equal(t->data, expected->data, dsv4_tensor_bytes(expected));
        assert_int_equal((uintptr_t)t->data % dsv4_dtype_bytes(t->dtype), 0);
    }
    dsv4_safetensors_close(st);
    dsv4_tensor_list_deinit(&list);
}

static void writes_the_documented_bytes(void **state)
{
    (void)state;
    static const char expected[] = "\x98\0\0\0\0\0\0\0"
                                   "{\"__metadata__\":{\"note\":\"a \\\"b\\\"\"},"
                                   "\"out.wide\":{\"dtype\":\"I32\",\"shape\":[],\"data_offsets\":[0,4]},"
                                   "\"out.i\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[4,7]}}"
                                   "  "
                                   "\x04\x03\x02\x01"
                                   "abc";
    int32_t wide = 0x01020304;
    char narrow[3] = {'a', 'b', 'c'};
    const dsv4_tensor i32 = dsv4_tensor_make(DSV4_I32, 0, NULL, &wide);
    const dsv4_tensor u8 = dsv4_tensor_make(DSV4_U8, 1, (const int64_t[]){3}, narrow);
    dsv4_tensor_list list = {0};
    assert_int_equal(dsv4_tensor_list_put(&list, "i", &u8, NULL), DSV4_OK);
    assert_int_equal(dsv4_tensor_list_put(&list, "wide", &i32, NULL), DSV4_OK);
    write_or_fail((const char *const[][2]){{"note", "a \"b\""}}, 1, &(const dsv4_safetensors_part){"out.", &list}, 1);

    unsigned char bytes[sizeof expected + 1];
    FILE *f = fopen(target, "rb");
    assert_non_null(f);
    const size_t n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    assert_int_equal(n, sizeof expected - 1);
    assert_memory_equal(bytes, expected, n);
    dsv4_tensor_list_deinit(&list);
}

static void writes_strided_views_row_major(void **state)
{
    (void)state;
    int16_t data[2][3] = {{1, 2, 3}, {4, 5, 6}};
    const int16_t expected[6] = {1, 4, 2, 5, 3, 6};
    const dsv4_tensor transposed = {.dtype = DSV4_BF16, .n_dims = 2, .shape = {3, 2}, .stride = {1, 3}, .data = data};
    const dsv4_tensor empty = dsv4_tensor_make(DSV4_F32, 2, (const int64_t[]){4, 0}, NULL);
    dsv4_tensor_list list = {0};
    assert_int_equal(dsv4_tensor_list_put(&list, "transposed", &transposed, NULL), DSV4_OK);
    assert_int_equal(dsv4_tensor_list_put(&list, "empty", &empty, NULL), DSV4_OK);
    write_or_fail(NULL, 0, &(const dsv4_safetensors_part){"", &list}, 1);
    dsv4_tensor_list_deinit(&list);

    dsv4_safetensors *st = open_or_fail(target);
    const dsv4_tensor *t = dsv4_tensor_list_find(dsv4_safetensors_tensors(st), "transposed");
    assert_non_null(t);
    assert_int_equal(t->stride[0], 2);
    assert_memory_equal(t->data, expected, sizeof expected);
    assert_int_equal(dsv4_tensor_list_find(dsv4_safetensors_tensors(st), "empty")->shape[0], 4);
    dsv4_safetensors_close(st);
}

static void round_trip_of_metadata_and_no_tensors(void **state)
{
    (void)state;
    const char *const metadata[][2] = {{"config", "{\"name\": \"tiny\"}\n"}, {"note", "\xc3\xa4\t\\"}};
    write_or_fail(metadata, 2, NULL, 0);
    dsv4_safetensors *st = open_or_fail(target);
    assert_int_equal(dsv4_safetensors_tensors(st)->n, 0);
    assert_string_equal(dsv4_safetensors_metadata(st, "config"), metadata[0][1]);
    assert_string_equal(dsv4_safetensors_metadata(st, "note"), metadata[1][1]);
    dsv4_safetensors_close(st);
}

static void writer_refuses(void **state)
{
    (void)state;
    write_or_fail((const char *const[][2]){{"kept", "yes"}}, 1, NULL, 0);
    char name[DSV4_NAME_BYTES];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    const struct {
        const char *path, *first, *first_prefix, *second, *second_prefix, *key;
        dsv4_status status;
        const char *text;
    } cases[] = {
        {target, "a.x", "", "x", "a.", "k", DSV4_E_VALUE, "'a.x' given twice"},
        {target, "x", "", name, "a", "k", DSV4_E_VALUE, "name of 128 bytes"},
        {target, "x", "", "__metadata__", "", "k", DSV4_E_VALUE, "reserved"},
        {target, "x", "", "\xff\xfe", "", "k", DSV4_E_VALUE, "not UTF-8"},
        {target, "x", "", "y", "", "kept", DSV4_E_VALUE, "metadata 'kept' given twice"},
        {TEST_TEMPORARY "/no/such/folder/x.safetensors", "x", "", "y", "", "k", DSV4_E_IO, "no/such/folder"},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        dsv4_tensor_list first = {0}, second = {0};
        dsv4_error err = {0};
        int32_t value = 1;
        const dsv4_tensor t = dsv4_tensor_make(DSV4_I32, 0, NULL, &value);
        assert_int_equal(dsv4_tensor_list_put(&first, cases[c].first, &t, NULL), DSV4_OK);
        assert_int_equal(dsv4_tensor_list_put(&second, cases[c].second, &t, NULL), DSV4_OK);
        const dsv4_safetensors_part parts[] = {{cases[c].first_prefix, &first}, {cases[c].second_prefix, &second}};
        const char *const metadata[][2] = {{"kept", "no"}, {cases[c].key, "no"}};
        assert_int_equal(dsv4_safetensors_write(cases[c].path, metadata, 2, parts, 2, &err), cases[c].status);
        if (strstr(err.text, cases[c].text) == NULL || strstr(err.text, cases[c].path) == NULL) {
            fail_msg("'%s' lacks '%s' or the path", err.text, cases[c].text);
        }
        dsv4_tensor_list_deinit(&first);
        dsv4_tensor_list_deinit(&second);
    }
    dsv4_safetensors *st = open_or_fail(target);
    assert_string_equal(dsv4_safetensors_metadata(st, "kept"), "yes"); /* the file that stood there still stands */
    dsv4_safetensors_close(st);
}

/* ---- files that break a rule ---- */

#define T(dtype, shape, a, b) "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" a "," b "]}"
#define LONG_NAME "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const struct malformed {
    const char *header;
    size_t n_data;
    const char *text;
} malformed_files[] = {
    {"", 0, "not a JSON object"},
    {"[]", 0, "not a JSON object"},
    {" {}", 0, "not a JSON object"},
    {"{\"x\":", 0, "header byte"},
    {"{} {}", 0, "header byte"},
    {"{\"x\\u0000\":" T("U8", "[1]", "0", "1") "}", 1, "header byte"},
    {"{\"\xff\":" T("U8", "[1]", "0", "1") "}", 1, "header byte"},
    {"{\"x\":" T("U8", "[1]", "0", "1") ",\"x\":" T("U8", "[1]", "0", "1") "}", 1, "duplicate object key"},
    {"{\"\":" T("U8", "[1]", "0", "1") "}", 1, "empty name"},
    {"{\"" LONG_NAME LONG_NAME "\":" T("U8", "[1]", "0", "1") "}", 1, "name of 128 bytes"},
    {"{\"x\":[]}", 0, "'x' is an array, expected an object"},
    {"{\"x\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "dtype is nothing"},
    {"{\"x\":{\"dtype\":3,\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "dtype is an integer"},
    {"{\"x\":" T("F64", "[1]", "0", "8") "}", 8, "dtype 'F64' unknown, expected one of F32 F16"},
    {"{\"x\":" T("f32", "[1]", "0", "4") "}", 4, "dtype 'f32' unknown"},
    {"{\"x\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, "shape is nothing"},
    {"{\"x\":" T("U8", "1", "0", "1") "}", 1, "shape is an integer"},
    {"{\"x\":" T("U8", "[1,1,1,1,1,1,1]", "0", "1") "}", 1, "7 dimensions, at most 6"},
    {"{\"x\":" T("U8", "[1.0]", "0", "1") "}", 1, "shape[0] is a real"},
    {"{\"x\":" T("U8", "[1,-1]", "0", "1") "}", 1, "shape[1] is -1"},
    {"{\"x\":" T("U8", "[9223372036854775808]", "0", "1") "}", 1, "header byte"},
    {"{\"x\":" T("F32", "[4611686018427387904]", "0", "0") "}", 0, "overflows"},
    {"{\"x\":" T("U8", "[4294967296,4294967296]", "0", "0") "}", 0, "overflows"},
    {"{\"x\":" T("U8", "[0,4294967296,4294967296]", "0", "0") "}", 0, "overflows"},
    {"{\"x\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "data_offsets is nothing"},
    {"{\"x\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1,1]}}", 1, "data_offsets is an array of another size"},
    {"{\"x\":" T("U8", "[1]", "0.0", "1") "}", 1, "data_offsets holds a real"},
    {"{\"x\":" T("U8", "[1]", "0", "\"1\"") "}", 1, "data_offsets holds a text"},
    {"{\"x\":" T("U8", "[2]", "-1", "1") "}", 1, "[-1, 1) not within the 1 data bytes"},
    {"{\"x\":" T("U8", "[1]", "1", "0") "}", 1, "[1, 0) not within"},
    {"{\"x\":" T("U8", "[9]", "0", "9") "}", 8, "[0, 9) not within the 8 data bytes"},
    {"{\"x\":" T("U8", "[1]", "0", "9223372036854775807") "}", 1, "not within"},
    {"{\"x\":" T("F32", "[2]", "0", "4") "}", 4, "data_offsets span 4 bytes, dtype and shape need 8"},
    {"{\"x\":" T("F32", "[]", "0", "8") "}", 8, "span 8 bytes, dtype and shape need 4"},
    {"{\"x\":" T("U8", "[4]", "0", "4") ",\"y\":" T("U8", "[4]", "2", "6") "}", 6, "'y' [2, 6) overlaps tensor 'x' [0, 4)"},
    {"{\"x\":" T("U8", "[4]", "0", "4") ",\"y\":" T("U8", "[4]", "0", "4") "}", 4, "'y' [0, 4) overlaps tensor 'x' [0, 4)"},
    {"{\"x\":" T("U8", "[4]", "0", "4") ",\"y\":" T("U8", "[0]", "2", "2") "}", 4, "'y' [2, 2) overlaps tensor 'x'"},
    {"{\"x\":" T("U8", "[1]", "1", "2") "}", 2, "data bytes [0, 1) before tensor 'x'"},
    {"{\"y\":" T("U8", "[1]", "3", "4") ",\"x\":" T("U8", "[2]", "0", "2") "}", 4, "data bytes [2, 3) before tensor 'y'"},
    {"{\"x\":" T("U8", "[1]", "0", "1") "}", 3, "data bytes [1, 3) after the last tensor"},
    {"{}", 1, "data bytes [0, 1) after the last tensor"},
    {"{\"__metadata__\":[]}", 0, "__metadata__ is an array"},
    {"{\"__metadata__\":null}", 0, "__metadata__ is null"},
    {"{\"__metadata__\":{\"seed\":1}}", 0, "__metadata__ 'seed' is an integer"},
};

static void malformed_files_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof malformed_files / sizeof *malformed_files; i++) {
        const struct malformed *m = &malformed_files[i];
        size_t n_bytes;
        unsigned char *bytes = make_file(m->header, m->n_data, &n_bytes);
        dsv4_safetensors *st = NULL;
        dsv4_error err = {0};
        const dsv4_status status = dsv4_safetensors_open_memory("bad.safetensors", bytes, n_bytes, &st, &err);
        if (status != DSV4_E_FORMAT || st != NULL) {
            fail_msg("header %s: status %d", m->header, status);
        }
        if (strstr(err.text, m->text) == NULL || strncmp(err.text, "bad.safetensors: ", 17) != 0) {
            fail_msg("header %s: '%s' lacks '%s' or the file", m->header, err.text, m->text);
        }
        free(bytes);
    }
}

static void header_length_is_bounded(void **state)
{
    (void)state;
    static const struct {
        uint64_t n_header;
        const char *text;
    } cases[] = {
        {UINT64_MAX, "at most 104857600 allowed"},
        {((uint64_t)100 << 20) + 1, "header of 104857601 bytes, at most 104857600"},
        {(uint64_t)100 << 20, "but only 2 follow"},
        {3, "header of 3 bytes, but only 2 follow"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        unsigned char bytes[10] = "........{}";
        memcpy(bytes, &cases[i].n_header, 8);
        dsv4_safetensors *st = NULL;
        dsv4_error err = {0};
        assert_int_equal(dsv4_safetensors_open_memory("m", bytes, sizeof bytes, &st, &err), DSV4_E_FORMAT);
        if (strstr(err.text, cases[i].text) == NULL) {
            fail_msg("'%s' lacks '%s'", err.text, cases[i].text);
        }
    }
}

static const char small_header[] = "{\"__metadata__\":{\"k\":\"v\"},\"empty\":" T("I64", "[0,7]", "4", "4") ",\"x\":" T(
    "F32", "[1]", "0", "4") ",\"y\":" T("I8", "[2,2]", "4", "8") "}  ";

static void truncated_anywhere_is_refused(void **state)
{
    (void)state;
    size_t n_bytes;
    unsigned char *bytes = make_file(small_header, 8, &n_bytes);
    for (size_t n = 0; n <= n_bytes; n++) {
        unsigned char *prefix = malloc(n == 0 ? 1 : n);
        assert_non_null(prefix);
        memcpy(prefix, bytes, n);
        dsv4_safetensors *st = NULL;
        dsv4_error err = {0};
        const dsv4_status status = dsv4_safetensors_open_memory("cut", prefix, n, &st, &err);
        assert_int_equal(status, n == n_bytes ? DSV4_OK : DSV4_E_FORMAT);
        dsv4_safetensors_close(st);
        free(prefix);
    }
    free(bytes);
}

/* Whatever a changed bit does, what is accepted lies within the bytes. */
static void flipped_bits_do_no_harm(void **state)
{
    (void)state;
    size_t n_bytes, n_accepted = 0;
    unsigned char *bytes = make_file(small_header, 8, &n_bytes);
    for (size_t bit = 0; bit < 8 * n_bytes; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        dsv4_safetensors *st = NULL;
        dsv4_tensor_list list = {0};
        if (dsv4_safetensors_open_memory("flipped", bytes, n_bytes, &st, NULL) == DSV4_OK &&
            dsv4_safetensors_load(st, "", &list, NULL) == DSV4_OK) {
            n_accepted++;
        }
        dsv4_tensor_list_deinit(&list);
        dsv4_safetensors_close(st);
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    assert_in_range(n_accepted, 64, 8 * n_bytes / 2); /* the data bits at least, not the header's structure */
    free(bytes);
}

static void tensors_come_in_data_order_at_any_alignment(void **state)
{
    (void)state;
    size_t n_bytes;
    unsigned char *file = make_file(
        "{\"b\":" T("I32", "[]", "1", "5") ",\"a\":" T("U8", "[1]", "0", "1") ",\"c\":" T("U8", "[0]", "5", "5") "}", 5, &n_bytes);
    unsigned char *bytes = malloc(n_bytes + 1);
    assert_non_null(bytes);
    memcpy(bytes + 1, file, n_bytes);
    memcpy(bytes + 1 + n_bytes - 4, "\x39\x30\0\0", 4);
    dsv4_safetensors *st = NULL;
    dsv4_error err = {0};
    assert_int_equal(dsv4_safetensors_open_memory("unaligned", bytes + 1, n_bytes, &st, &err), DSV4_OK);
    const dsv4_tensor_list *list = dsv4_safetensors_tensors(st);
    assert_int_equal(list->n, 3);
    assert_string_equal(list->items[0].name, "a");
    assert_string_equal(list->items[1].name, "b");
    assert_string_equal(list->items[2].name, "c");
    assert_true(value_of(list, "b", 0) == 12345);
    dsv4_safetensors_close(st);
    free(bytes);
    free(file);
}

/* ---- files that cannot be mapped ---- */

static void expect_open_failure(const char *path, dsv4_status status, const char *text)
{
    dsv4_safetensors *st = NULL;
    dsv4_error err = {0};
    assert_int_equal(dsv4_safetensors_open(path, &st, &err), status);
    assert_null(st);
    if (strstr(err.text, text) == NULL || strstr(err.text, path) == NULL) {
        fail_msg("'%s' lacks '%s' or the path", err.text, text);
    }
}

static void unreadable_paths_are_refused(void **state)
{
    (void)state;
    static const char pipe_path[] = TEST_TEMPORARY "/test_safetensors.pipe";
    static const char empty_path[] = TEST_TEMPORARY "/test_safetensors.empty";
    expect_open_failure(TEST_TEMPORARY "/no such file", DSV4_E_IO, "cannot open");
    expect_open_failure(TEST_TEMPORARY, DSV4_E_IO, "not a regular file");
    unlink(pipe_path);
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    expect_open_failure(pipe_path, DSV4_E_IO, "not a regular file");
    unlink(pipe_path);
    FILE *f = fopen(empty_path, "wb");
    assert_non_null(f);
    fclose(f);
    expect_open_failure(empty_path, DSV4_E_FORMAT, "0 bytes, too short");
    unlink(empty_path);
}

/* ---- loading ---- */

/* One tensor of three elements: a number, another, and the given bits. */
static dsv4_status load_with_bits(dsv4_dtype dtype, uint32_t bits, dsv4_tensor_list *list, dsv4_error *err)
{
    const size_t width = dsv4_dtype_bytes(dtype);
    char header[128];
    snprintf(header, sizeof header, "{\"a\":" T("U8", "[1]", "0", "1") ",\"in.x\":" T("%s", "[3]", "1", "%zu") "}",
             dsv4_dtype_name(dtype), 1 + 3 * width);
    size_t n_bytes;
    unsigned char *bytes = make_file(header, 1 + 3 * width, &n_bytes);
    memcpy(bytes + n_bytes - width, &bits, width);
    dsv4_safetensors *st = NULL;
    assert_int_equal(dsv4_safetensors_open_memory("file", bytes, n_bytes, &st, NULL), DSV4_OK);
    const dsv4_status status = dsv4_safetensors_load(st, "", list, err);
    dsv4_safetensors_close(st);
    free(bytes);
    return status;
}

static void load_refuses_nan_and_restores_the_list(void **state)
{
    (void)state;
    static const struct {
        dsv4_dtype dtype;
        uint32_t bits;
        bool accepted;
    } cases[] = {
        {DSV4_F32, 0x7fc00000, false}, {DSV4_F32, 0xff800001, false}, {DSV4_F32, 0x7f800000, true}, {DSV4_F16, 0x7e00, false},
        {DSV4_F16, 0xfc00, true},      {DSV4_BF16, 0x7fc0, false},    {DSV4_BF16, 0xff81, false},   {DSV4_BF16, 0xff80, true},
        {DSV4_F8_E4M3, 0x7f, false},   {DSV4_F8_E4M3, 0xff, false},   {DSV4_F8_E4M3, 0x7e, true},   {DSV4_F8_E8M0, 0xff, false},
        {DSV4_F8_E8M0, 0xfe, true},    {DSV4_I32, 0x7fc00000, true},  {DSV4_I8, 0xff, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dsv4_tensor_list list = {0};
        dsv4_error err = {0};
        assert_int_equal(dsv4_tensor_list_alloc(&list, "before", DSV4_I8, 0, NULL, NULL, NULL), DSV4_OK);
        const dsv4_status status = load_with_bits(cases[i].dtype, cases[i].bits, &list, &err);
        assert_int_equal(status, cases[i].accepted ? DSV4_OK : DSV4_E_VALUE);
        assert_int_equal(list.n, cases[i].accepted ? 3 : 1);
        assert_non_null(dsv4_tensor_list_find(&list, "before"));
        if (cases[i].accepted) {
            assert_int_equal((uintptr_t)dsv4_tensor_list_find(&list, "in.x")->data % 64, 0);
        } else {
            assert_null(dsv4_tensor_list_find(&list, "a"));
            assert_string_equal(err.text, "file: tensor 'in.x': element 2 is NaN, expected numbers");
        }
        dsv4_tensor_list_deinit(&list);
    }
}

static void load_refuses_a_name_already_there(void **state)
{
    (void)state;
    dsv4_tensor_list list = {0};
    dsv4_error err = {0};
    assert_int_equal(dsv4_tensor_list_alloc(&list, "in.x", DSV4_I8, 0, NULL, NULL, NULL), DSV4_OK);
    assert_int_equal(load_with_bits(DSV4_I8, 5, &list, &err), DSV4_E_VALUE);
    assert_non_null(strstr(err.text, "'in.x'"));
    assert_int_equal(list.n, 1);
    dsv4_tensor_list_deinit(&list);
}

static int remove_target(void **state)
{
    (void)state;
    unlink(target);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_rope_vectors),
        cmocka_unit_test(loads_qkv_vectors_by_prefix),
        cmocka_unit_test(round_trip_of_every_dtype_and_rank),
        cmocka_unit_test(writes_the_documented_bytes),
        cmocka_unit_test(writes_strided_views_row_major),
        cmocka_unit_test(round_trip_of_metadata_and_no_tensors),
        cmocka_unit_test(writer_refuses),
        cmocka_unit_test(malformed_files_are_refused),
        cmocka_unit_test(header_length_is_bounded),
        cmocka_unit_test(truncated_anywhere_is_refused),
        cmocka_unit_test(flipped_bits_do_no_harm),
        cmocka_unit_test(tensors_come_in_data_order_at_any_alignment),
        cmocka_unit_test(unreadable_paths_are_refused),
        cmocka_unit_test(load_refuses_nan_and_restores_the_list),
        cmocka_unit_test(load_refuses_a_name_already_there),
    };
    return cmocka_run_group_tests(tests, NULL, remove_target);
}
