/* Packed files: what is mapped is what packing gives; conversions that were stopped go on; damage and foreign files are refused. */
#include "model_files.h"

#include "base/checksum.h"
#include "model/packed_file.h"

#define OUT TEST_TEMPORARY "/packed_out"
#define WEIGHTS OUT "/" PACKED_FILE_NAME
#define PART OUT "/" PACKED_PART_NAME

static void remove_out(void)
{
    static const char *const names[] = {PACKED_FILE_NAME,        PACKED_PART_NAME,         "config.json", "tokenizer.json",
                                        "tokenizer_config.json", "generation_config.json", "else"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        unlink(path_in(OUT, names[i]));
    }
    rmdir(OUT);
}

static model_convert_result convert(const char *folder, bool int8, bool restart)
{
    model_convert_result r;
    dsv4_error err = {0};
    require_ok(model_convert(folder, OUT, &(model_convert_options){.int8 = int8, .restart = restart}, NULL, NULL, &r, &err), &err);
    return r;
}

/* The data of weights begins with the first piece. */
static const char *data_of(const model_weights *w)
{
    return w->blocks[0].attn_streams.fn.packed.panels;
}

static void file_is_memory(const char *folder, bool int8)
{
    model_checkpoint *c = NULL;
    model_weights *packed = NULL, *mapped = NULL;
    dsv4_error err = {0};
    remove_out();
    const model_convert_result r = convert(folder, int8, false);
    assert_true(r.n_kept == 0 && r.n_pieces > 100 && !r.was_complete);
    require_ok(model_checkpoint_open(folder, &c, &err), &err);
    require_ok(model_weights_pack(c, int8, NULL, NULL, &packed, &err), &err);
    require_ok(model_weights_open(OUT, int8, NULL, NULL, &mapped, &err), &err);
    assert_int_equal(mapped->bytes, packed->bytes);
    assert_int_equal(mapped->int8, int8);
    assert_int_equal(mapped->n_blocks, packed->n_blocks);
    assert_memory_equal(&mapped->config, &packed->config, sizeof packed->config);
    assert_memory_equal(data_of(mapped), data_of(packed), packed->bytes);
    assert_int_equal((const char *)mapped->head.packed.panels - data_of(mapped),
                     (const char *)packed->head.packed.panels - data_of(packed));
    model_weights_free(mapped);
    model_weights_free(packed);
    model_checkpoint_close(c);
    require_ok(model_packed_verify(OUT, NULL, &err), &err);
    assert_int_equal(model_weights_open(OUT, !int8, NULL, NULL, &mapped, &err), DSV4_E_UNSUPPORTED);
    assert_true(convert(folder, int8, false).was_complete);
}

static void files_are_memory(void **state)
{
    (void)state;
    file_is_memory(TINY_ENGLISH, true);
    file_is_memory(TINY_RANDOM, false);
}

static void published_folder_opens_too(void **state)
{
    (void)state;
    model_weights *w = NULL;
    dsv4_error err = {0};
    require_ok(model_weights_open(TINY_ENGLISH, true, NULL, NULL, &w, &err), &err);
    assert_true(w->int8 && w->n_blocks == 4);
    model_weights_free(w);
}

/* ---- conversions that were stopped ---------------------------------------------------------------------------------------------- */

/* The whole file becomes one in which the pieces from `first` on are not done and hold other bytes. */
static void make_part(size_t first)
{
    size_t n;
    char *bytes = read_text(WEIGHTS, &n);
    packed_file *f = NULL;
    dsv4_error err = {0};
    require_ok(packed_file_parse("test", bytes, n, n, &f, &err), &err);
    for (size_t i = first; i < f->plan.n; i++) {
        f->states[i] = (packed_state){false, 0};
        memset(bytes + f->data_offset + f->plan.pieces[i].offset, 0x55, f->plan.pieces[i].bytes);
    }
    char *header = packed_file_header(f);
    assert_non_null(header);
    memcpy(bytes, header, f->header_bytes);
    write_bytes(PART, bytes, n);
    unlink(WEIGHTS);
    free(header);
    free(bytes);
    packed_file_destroy(f);
}

static void stopped_conversions_go_on(void **state)
{
    (void)state;
    remove_out();
    convert(TINY_ENGLISH, true, false);
    size_t n, n_again;
    char *whole = read_text(WEIGHTS, &n);
    make_part(50);
    model_weights *w = NULL;
    dsv4_error err = {0};
    assert_int_equal(model_weights_open(OUT, true, NULL, NULL, &w, &err), DSV4_E_FORMAT);
    assert_non_null(strstr(err.text, "was not finished"));
    assert_int_equal(convert(TINY_ENGLISH, true, false).n_kept, 50);
    char *again = read_text(WEIGHTS, &n_again);
    assert_int_equal(n_again, n);
    assert_memory_equal(again, whole, n);
    assert_int_not_equal(access(PART, F_OK), 0);
    free(again);
    make_part(50); /* not used: restart, other numerics */
    assert_int_equal(convert(TINY_ENGLISH, true, true).n_kept, 0);
    make_part(50);
    assert_int_equal(convert(TINY_ENGLISH, false, false).n_kept, 0);
    require_ok(model_packed_verify(OUT, NULL, &err), &err);
    write_bytes(PART, "DSV4PACK and more", 17); /* damaged: begun anew */
    unlink(WEIGHTS);
    assert_int_equal(convert(TINY_ENGLISH, true, false).n_kept, 0);
    again = read_text(WEIGHTS, &n_again);
    assert_memory_equal(again, whole, n);
    free(again);
    free(whole);
}

static void a_flag_stops_conversions(void **state)
{
    (void)state;
    static const volatile sig_atomic_t stop = 1;
    const model_convert_options soon = {.int8 = true, .stop = &stop}, anew = {.int8 = true, .restart = true, .stop = &stop};
    model_convert_result r;
    dsv4_error err = {0};
    remove_out();
    require_ok(model_convert(TINY_ENGLISH, OUT, &soon, NULL, NULL, &r, &err), &err);
    assert_true(r.was_stopped && !r.was_given_up && r.n_done == 0);
    assert_true(access(PART, F_OK) == 0 && access(WEIGHTS, F_OK) != 0);
    convert(TINY_ENGLISH, true, false);
    make_part(50);
    require_ok(model_convert(TINY_ENGLISH, OUT, &soon, NULL, NULL, &r, &err), &err);
    assert_true(r.was_stopped && r.n_done == 50);
    assert_int_equal(convert(TINY_ENGLISH, true, false).n_kept, 50);
    require_ok(model_convert(TINY_ENGLISH, OUT, &anew, NULL, NULL, &r, &err), &err); /* the whole weights stay */
    assert_true(r.was_stopped && r.was_given_up && access(PART, F_OK) != 0);
    require_ok(model_packed_verify(OUT, NULL, &err), &err);
    require_ok(model_convert(TINY_ENGLISH, OUT, &soon, NULL, NULL, &r, &err), &err);
    assert_true(r.was_complete && !r.was_stopped);
}

static void nothing_else_is_overwritten(void **state)
{
    (void)state;
    model_convert_result r;
    dsv4_error err = {0};
    const model_convert_options restart = {.int8 = true, .restart = true};
    remove_out();
    convert(TINY_ENGLISH, true, false);
    assert_int_equal(model_convert(TINY_RANDOM, OUT, &(model_convert_options){.int8 = true}, NULL, NULL, &r, &err), DSV4_E_VALUE);
    assert_non_null(strstr(err.text, "--restart"));
    write_bytes(path_in(OUT, "else"), "x", 1);
    assert_int_equal(model_convert(TINY_ENGLISH, OUT, &restart, NULL, NULL, &r, &err), DSV4_E_VALUE);
    unlink(path_in(OUT, "else"));
    write_bytes(WEIGHTS, "somebody's", 10);
    assert_int_equal(model_convert(TINY_ENGLISH, OUT, &restart, NULL, NULL, &r, &err), DSV4_E_VALUE);
    unlink(WEIGHTS); /* config.json and no weights */
    assert_int_equal(model_convert(TINY_ENGLISH, OUT, &restart, NULL, NULL, &r, &err), DSV4_E_VALUE);
    assert_int_equal(model_convert(TINY_ENGLISH, TINY_ENGLISH, &restart, NULL, NULL, &r, &err), DSV4_E_VALUE);
    assert_int_equal(model_convert(TINY_ENGLISH, TINY_ENGLISH "/config.json", &restart, NULL, NULL, &r, &err), DSV4_E_IO);
    remove_out();
    mkdir(OUT, 0777);
    assert_int_equal(symlink(TINY_ENGLISH "/config.json", PART), 0);
    assert_int_equal(model_convert(TINY_ENGLISH, OUT, &restart, NULL, NULL, &r, &err), DSV4_E_VALUE);
    remove_out();
}

/* ---- damage ------------------------------------------------------------------------------------------------------------------------ */

typedef struct whole_file {
    char *bytes;
    size_t n, header_bytes;
} whole_file;

static whole_file read_whole(void)
{
    whole_file w;
    remove_out();
    convert(TINY_ENGLISH, true, false);
    w.bytes = read_text(WEIGHTS, &w.n);
    uint64_t header_bytes;
    memcpy(&header_bytes, w.bytes + 16, sizeof header_bytes);
    w.header_bytes = header_bytes;
    return w;
}

static dsv4_status parse(const char *bytes, size_t n, size_t file_bytes)
{
    packed_file *f = NULL;
    dsv4_error err = {0};
    const dsv4_status status = packed_file_parse("test", bytes, n, file_bytes, &f, &err);
    assert_true((status == DSV4_OK) == (f != NULL) && (status == DSV4_OK || err.text[0] != '\0'));
    packed_file_destroy(f);
    return status;
}

static void damaged_headers_are_refused(void **state)
{
    (void)state;
    whole_file w = read_whole();
    char *copy = malloc(w.header_bytes); /* of just that size: nothing may be read behind it */
    assert_non_null(copy);
    memcpy(copy, w.bytes, w.header_bytes);
    assert_int_equal(parse(copy, w.header_bytes, w.n), DSV4_OK);
    assert_int_equal(parse(copy, w.header_bytes, w.n - 1), DSV4_E_FORMAT);
    for (size_t n = 0; n < w.header_bytes; n += n < 200 ? 1 : 61) {
        char *cut = malloc(n + 1);
        assert_non_null(cut);
        memcpy(cut, w.bytes, n);
        assert_int_equal(parse(cut, n, n), DSV4_E_FORMAT);
        free(cut);
    }
    for (size_t bit = 0; bit < 8 * w.header_bytes; bit += bit < 8 * 64 ? 1 : 251) {
        copy[bit / 8] = (char)(copy[bit / 8] ^ 1 << bit % 8);
        assert_int_not_equal(parse(copy, w.header_bytes, w.n), DSV4_OK);
        copy[bit / 8] = (char)(copy[bit / 8] ^ 1 << bit % 8);
    }
    free(copy);
    free(w.bytes);
}

/* A header that was made to deceive: its checksum holds. */
static void lying_headers_are_refused(void **state)
{
    (void)state;
    whole_file w = read_whole();
    size_t n_accepted = 0;
    for (size_t bit = 0; bit < 8 * w.header_bytes; bit += bit < 8 * 64 ? 1 : 131) {
        w.bytes[bit / 8] = (char)(w.bytes[bit / 8] ^ 1 << bit % 8);
        char head[64];
        memcpy(head, w.bytes, sizeof head);
        memset(head + 60, 0, 4);
        uint32_t sum = checksum_add(checksum_add(0, head, sizeof head), w.bytes + 64, w.header_bytes - 64), before;
        memcpy(&before, w.bytes + 60, sizeof before);
        memcpy(w.bytes + 60, &sum, sizeof sum);
        n_accepted += parse(w.bytes, w.header_bytes, w.n) == DSV4_OK; /* other sums of data, another source, words of the text */
        memcpy(w.bytes + 60, &before, sizeof before);
        w.bytes[bit / 8] = (char)(w.bytes[bit / 8] ^ 1 << bit % 8);
    }
    assert_true(n_accepted < w.header_bytes * 8 / 131 / 4);
    free(w.bytes);
}

/* Finds where in the file a piece lies. */
static size_t place_of(const whole_file *w, const char *name)
{
    packed_file *f = NULL;
    dsv4_error err = {0};
    size_t at = 0;
    require_ok(packed_file_parse("test", w->bytes, w->n, w->n, &f, &err), &err);
    for (size_t i = 0; i < f->plan.n; i++) {
        at = strcmp(f->plan.pieces[i].name, name) == 0 ? f->data_offset + f->plan.pieces[i].offset : at;
    }
    packed_file_destroy(f);
    assert_true(at > 0);
    return at;
}

static void damaged_data_is_found(void **state)
{
    (void)state;
    whole_file w = read_whole();
    model_weights *weights = NULL;
    dsv4_error err = {0};
    const size_t gate = place_of(&w, "layers.2.ffn.gate"), routes = place_of(&w, "layers.0.ffn.gate.tid2eid");
    w.bytes[gate + 5] ^= 1;
    write_bytes(WEIGHTS, w.bytes, w.n);
    assert_int_equal(model_packed_verify(OUT, NULL, &err), DSV4_E_FORMAT);
    assert_non_null(strstr(err.text, "'layers.2.ffn.gate' is damaged"));
    w.bytes[gate + 5] ^= 1;
    w.bytes[routes + 9] = 1; /* expert 256 and more: would lead out of a bank, so that mapping looks at these */
    write_bytes(WEIGHTS, w.bytes, w.n);
    assert_int_equal(model_weights_map(OUT, &weights, &err), DSV4_E_VALUE);
    assert_non_null(strstr(err.text, "layers.0.ffn.gate.tid2eid: value 2 is"));
    for (size_t n = 0; n < w.n; n = n == 0 ? 1 : 3 * n) {
        write_bytes(WEIGHTS, w.bytes, n);
        assert_int_equal(model_weights_map(OUT, &weights, &err), DSV4_E_FORMAT);
    }
    w.bytes[routes + 9] = 0;
    write_bytes(WEIGHTS, w.bytes, w.n);
    require_ok(model_weights_map(OUT, &weights, &err), &err);
    model_weights_free(weights);
    weights = NULL;
    replace_in_file(path_in(OUT, "config.json"), "\"vocab_size\": 512", "\"vocab_size\": 9999"); /* what weights are read with */
    assert_int_equal(model_weights_map(OUT, &weights, &err), DSV4_E_FORMAT);
    assert_non_null(strstr(err.text, "config.json: is not the one that weights.dsv4 was packed with"));
    convert(TINY_ENGLISH, true, false);
    require_ok(model_weights_map(OUT, &weights, &err), &err); /* puts it right */
    model_weights_free(weights);
    weights = NULL;
    unlink(WEIGHTS);
    assert_int_equal(model_weights_map(OUT, &weights, &err), DSV4_E_NOT_FOUND);
    assert_int_equal(model_weights_map(TEST_TEMPORARY "/packed_no", &weights, &err), DSV4_E_NOT_FOUND);
    assert_null(weights);
    free(w.bytes);
    remove_out();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_memory),
        cmocka_unit_test(published_folder_opens_too),
        cmocka_unit_test(stopped_conversions_go_on),
        cmocka_unit_test(a_flag_stops_conversions),
        cmocka_unit_test(nothing_else_is_overwritten),
        cmocka_unit_test(damaged_headers_are_refused),
        cmocka_unit_test(lying_headers_are_refused),
        cmocka_unit_test(damaged_data_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
