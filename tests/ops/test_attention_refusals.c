/* What the attention layers say about a step whose integers are wrong: one line that names the tensor, what it holds and what it
 * should hold; caches and states as they were; and the next step, which is right, runs. */
#include "ops/layer.h"

#include <stdio.h>

#define CORRECT ((dsv4_numerics){DSV4_CORRECT, DSV4_SCALE_GROUP})
#define REFERENCE ((dsv4_numerics){DSV4_REFERENCE, DSV4_SCALE_GROUP})

/* A step of a layer, its graph, and what it gives when nothing is wrong. */
typedef struct subject {
    layer l;
    sealed s, good;
} subject;

static subject make_subject(layer l, dsv4_numerics numerics)
{
    subject x = {.l = l};
    x.good = run_layer(&x.l, numerics);
    x.s = seal_layer(&x.l, numerics);
    return x;
}

static void subject_deinit(subject *x)
{
    sealed_deinit(&x->s);
    sealed_deinit(&x->good);
    layer_deinit(&x->l);
}

static layer written_out(layer l)
{
    write_out_integers(&l);
    return l;
}

/* ---- one refusal ---------------------------------------------------------------------------------------------------------- */

static void assert_untouched(const subject *x)
{
    for (size_t i = 0; i < x->l.op->n_tensors; i++) {
        const op_tensor *row = &x->l.op->tensors[i];
        if (op_is_input(row) && op_is_output(row) && has_tensor(&x->l, row->name)) {
            const dsv4_tensor before = get_tensor(&x->l.in, row->name), after = get_tensor(&x->s.io, row->name);
            assert_int_equal(count_bit_mismatches(&before, &after), 0);
        }
    }
}

/* A step with element i of a tensor set to value is refused with this line behind the operator's name. */
static void refuse(const subject *x, const char *tensor, int64_t i, int64_t value, const char *line)
{
    char expected[512];
    dsv4_error err = {0};
    const dsv4_tensor t = get_tensor(&x->l.in, tensor);
    snprintf(expected, sizeof expected, "%s%s", x->l.op->name, line);
    assert_in_range(i, 0, dsv4_tensor_count(&t) - 1);
    const int64_t before = get_int(&t, i);
    set_int(&t, i, value);
    reset_state(&x->s, &x->l.in);
    assert_int_equal(try_sealed(&x->s, pool, 0, &err), DSV4_E_VALUE);
    assert_string_equal(err.text, expected);
    assert_untouched(x);

    set_int(&t, i, before);
    require_ok(try_sealed(&x->s, pool, 0, &err), &err);
    assert_same_rows(&x->s, &x->good, 0, "the step set right");
}

/* A step with that change is not refused, and gives the same: nobody looks there. */
static void accept(const subject *x, const char *tensor, int64_t i, int64_t value)
{
    dsv4_error err = {0};
    const dsv4_tensor t = get_tensor(&x->l.in, tensor);
    const int64_t before = get_int(&t, i);
    set_int(&t, i, value);
    reset_state(&x->s, &x->l.in);
    require_ok(try_sealed(&x->s, pool, 0, &err), &err);
    assert_same_rows(&x->s, &x->good, 0, "an element that nobody reads");
    set_int(&t, i, before);
}

/* ---- decode: three requests at the positions 126 and 127, the last of which ends a window -------------------------------- */

static layer decode_csa(void)
{
    return draw_decode(4, preset("tiny"), 3, 2, 126);
}

static void test_decode_positions(void **state)
{
    (void)state;
    subject x = make_subject(written_out(decode_csa()), CORRECT);
    refuse(&x, "position_ids", 3, 128, ": position_ids of token 3 is 128, expected 127: positions of a request are consecutive");
    refuse(&x, "position_ids", 2, 127, ": position_ids of token 3 is 127, expected 128: positions of a request are consecutive");
    refuse(&x, "position_ids", 4, -1, ": request 2 has positions -1 to 0, expected positions in [0, 160), the rows of freqs_cos");
    refuse(&x, "position_ids", 5, INT32_MIN,
           ": position_ids of token 5 is -2147483648, expected 127: positions of a request are consecutive");
    refuse(&x, "position_ids", 0, INT32_MAX,
           ": request 0 has positions 2147483647 to 2147483648, expected positions in [0, 160), the rows of freqs_cos");
    refuse(&x, "kv_seq_lens", 1, 127, ": kv_seq_lens of request 1 is 127, expected 128, the end of its positions");
    refuse(&x, "kv_seq_lens", 2, INT32_MIN, ": kv_seq_lens of request 2 is -2147483648, expected 128, the end of its positions");
    subject_deinit(&x);
}

/* Lengths may stand for positions. */
static void test_decode_lengths(void **state)
{
    (void)state;
    layer l = draw_decode(128, preset("tiny"), 2, 2, 126);
    for (size_t i = 0; i < l.in.n; i++) {
        if (strcmp(l.in.items[i].name, "position_ids") == 0) {
            strcpy(l.in.items[i].name, "no positions");
        }
    }
    subject x = make_subject(l, CORRECT);
    refuse(&x, "kv_seq_lens", 1, 1, ": request 1 has positions -1 to 0, expected positions in [0, 160), the rows of freqs_cos");
    refuse(&x, "kv_seq_lens", 0, 161,
           ": request 0 has positions 159 to 160, expected positions in [0, 160), the rows of freqs_cos");
    refuse(&x, "kv_seq_lens", 0, INT32_MIN,
           ": request 0 has positions -2147483650 to -2147483649, expected positions in [0, 160), the rows of freqs_cos");
    refuse(&x, "kv_seq_lens", 0, 129,
           ": request 0 needs row 128, expected at most the 128 rows that compress_state_block_table holds "
           "per request");
    subject_deinit(&x);
}

static void test_decode_tables(void **state)
{
    (void)state;
    subject x = make_subject(decode_csa(), CORRECT);
    refuse(&x, "ori_block_table", 1, -1, ": ori_block_table[1, 0] is -1, expected a page in [0, 3): the step needs row 14 there");
    refuse(&x, "ori_block_table", 1, 3, ": ori_block_table[1, 0] is 3, expected a page in [0, 3): the step needs row 14 there");
    refuse(&x, "ori_block_table", 2, 0, ": ori_block_table[2, 0] is page 0, which is [0, 0] already");
    refuse(&x, "cmp_block_table", 0, -1, ": cmp_block_table[0, 0] is -1, expected a page in [0, 6): the step needs row 0 there");
    refuse(&x, "cmp_block_table", 3, 6, ": cmp_block_table[1, 1] is 6, expected a page in [0, 6): the step needs row 31 there");
    refuse(&x, "cmp_block_table", 1, 3, ": cmp_block_table[1, 0] is page 3, which the step writes as [0, 1]");
    refuse(&x, "cmp_block_table", 2, 0, ": cmp_block_table[1, 0] is page 0, which the step writes as [0, 1]");
    refuse(&x, "idx_block_table", 0, -1, ": idx_block_table[0, 0] is -1, expected a page in [0, 6): the step needs row 0 there");
    refuse(&x, "idx_block_table", 5, INT32_MAX,
           ": idx_block_table[2, 1] is 2147483647, expected a page in [0, 6): the step needs row 31 there");
    refuse(&x, "idx_block_table", 5, 1, ": idx_block_table[0, 0] is page 1, which the step writes as [2, 1]");
    subject_deinit(&x);
}

/* Entries 30 and 31 of each request are those of the positions 120 to 127; entry 31 is page 0 of the request's 32. */
static void test_decode_state_tables(void **state)
{
    (void)state;
    subject x = make_subject(decode_csa(), CORRECT);
    refuse(&x, "compress_state_block_table", 31, -1,
           ": compress_state_block_table[0, 31] is -1, expected a page in [0, 96): the step needs row 126 there");
    refuse(&x, "compress_state_block_table", 30, -1,
           ": compress: request 0, token 1, position 127: the state table gives its window page -1, rule: from 0 on, and below 96");
    refuse(
        &x, "compress_state_block_table", 62, 64,
        ": compress: request 1, token 1, position 127: its window has state row 258, rule: not written for another request, as by "
        "the call's token 4");
    refuse(
        &x, "compress_state_block_table", 31, 32,
        ": compress: request 1, token 0, position 126: state slot 130, rule: a row of its own, but it is also that of the call's "
        "token 0");
    refuse(&x, "inner_compress_state_block_table", 31, 96,
           ": inner_compress_state_block_table[0, 31] is 96, expected a page in [0, 96): the step needs row 126 there");
    refuse(&x, "inner_compress_state_block_table", 30, INT32_MIN,
           ": index.compress: request 0, token 1, position 127: the state table gives its window page -2147483648, rule: from 0 "
           "on, and "
           "below 96");
    subject_deinit(&x);
}

static void test_decode_slots(void **state)
{
    (void)state;
    subject x = make_subject(written_out(decode_csa()), REFERENCE);
    refuse(&x, "ori_slot_mapping", 0, -2, ": ori_slot_mapping of token 0 is -2, expected -1 or 14, its row by ori_block_table");
    refuse(&x, "ori_slot_mapping", 0, 48, ": ori_slot_mapping of token 0 is 48, expected -1 or 14, its row by ori_block_table");
    refuse(&x, "ori_slot_mapping", 5, 46, ": ori_slot_mapping of token 5 is 46, expected -1 or 47, its row by ori_block_table");
    refuse(&x, "ori_slot_mapping", 0, 30, ": ori_slot_mapping of token 0 is 30, expected -1 or 14, its row by ori_block_table");
    refuse(&x, "cmp_slot_mapping", 1, INT64_MIN,
           ": cmp_slot_mapping of token 1 is -9223372036854775808, expected -1 or 15, its row by cmp_block_table");
    refuse(&x, "cmp_slot_mapping", 1, 0, ": cmp_slot_mapping of token 1 is 0, expected -1 or 15, its row by cmp_block_table");
    refuse(&x, "cmp_slot_mapping", 0, 15, ": cmp_slot_mapping of token 0 is 15, expected -1: the token ends no window of 4");
    refuse(&x, "idx_slot_mapping", 5, INT64_MAX,
           ": idx_slot_mapping of token 5 is 9223372036854775807, expected -1 or 79, its row by idx_block_table");
    refuse(&x, "state_slot_mapping", 0, 384,
           ": state_slot_mapping of token 0 is 384, expected -1 or 2, its row by compress_state_block_table");
    refuse(&x, "inner_state_slot_mapping", 3, 2,
           ": inner_state_slot_mapping of token 3 is 2, expected -1 or 131, its row by inner_compress_state_block_table");
    subject_deinit(&x);
}

/* ---- prefill ------------------------------------------------------------------------------------------------------------- */

/* 14 of 16 tokens from position 32 on: tokens 3, 7 and 11 end windows; pages of the compressed cache are 2, 1, 0. */
static void test_prefill_csa(void **state)
{
    (void)state;
    layer l = written_out(draw_prefill(4, preset("tiny"), 16, 32));
    set_valid(&l, 14);
    subject x = make_subject(l, CORRECT);
    refuse(&x, "num_tokens", 0, -1, ": num_tokens is -1, expected 0 to 16, the tokens of the call");
    refuse(&x, "num_tokens", 0, 17, ": num_tokens is 17, expected 0 to 16, the tokens of the call");
    refuse(&x, "position_ids", 0, -32,
           ": request 0 has positions -32 to -19, expected positions in [0, 160), the rows of freqs_cos");
    refuse(&x, "position_ids", 7, 38, ": position_ids of token 7 is 38, expected 39: positions of a request are consecutive");
    refuse(&x, "ori_slot_mapping", 3, 16, ": ori_slot_mapping of token 3 is 16, expected -1 or 3, its row by ori_block_table");
    refuse(&x, "ori_block_table", 0, 1, ": ori_block_table[0, 0] is 1, expected a page in [0, 1): the step needs row 0 there");
    refuse(&x, "cmp_block_table", 0, -1, ": cmp_block_table[0, 0] is -1, expected a page in [0, 3): the step needs row 8 there");
    refuse(&x, "cmp_slot_mapping", 3, 0, ": cmp_slot_mapping of token 3 is 0, expected -1 or 40, its row by cmp_block_table");
    refuse(&x, "cmp_slot_mapping", 4, 40, ": cmp_slot_mapping of token 4 is 40, expected -1: the token ends no window of 4");
    refuse(&x, "idx_block_table", 0, 3, ": idx_block_table[0, 0] is 3, expected a page in [0, 3): the step needs row 8 there");
    refuse(
        &x, "state_slot_mapping", 3, -1,
        ": compress: request 0, token 3, position 35: state slot -1, rule: in a window it is the table's row for the position, 31");
    refuse(&x, "inner_state_slot_mapping", 2, 5,
           ": inner_state_slot_mapping of token 2 is 5, expected -1 or 30, its row by inner_compress_state_block_table");
    refuse(&x, "compress_state_block_table", 7, -2,
           ": compress: request 0, token 3, position 35: the state table gives its window page -2, rule: from 0 on, and below 12");
    accept(&x, "cmp_block_table", 1, -1);
    accept(&x, "idx_block_table", 2, INT32_MAX);
    accept(&x, "compress_state_block_table", 0, INT32_MIN);
    accept(&x, "position_ids", 14, INT32_MIN);
    accept(&x, "cmp_slot_mapping", 15, INT64_MAX);
    subject_deinit(&x);
}

/* 16 tokens from position 120 on: token 7 ends a window. The lists are the caller's. */
static void test_prefill_hca(void **state)
{
    (void)state;
    subject x = make_subject(written_out(draw_prefill(128, preset("tiny"), 16, 120)), CORRECT);
    const int64_t width = get_tensor(&x.l.in, "cmp_sparse_indices").shape[1];
    refuse(&x, "cmp_sparse_indices", 0, -2, ": cmp_sparse_indices: token 0, slot 0: got -2, expected -1 or more");
    refuse(&x, "cmp_sparse_indices", 3 * width + 1, INT32_MIN,
           ": cmp_sparse_indices: token 3, slot 1: got -2147483648, expected -1 or more");
    refuse(&x, "cmp_block_table", 0, 7, ": cmp_block_table[0, 0] is 7, expected a page in [0, 3): the step needs row 0 there");
    refuse(&x, "ori_slot_mapping", 9, -2, ": ori_slot_mapping of token 9 is -2, expected -1 or 1, its row by ori_block_table");
    refuse(&x, "cmp_slot_mapping", 7, 5, ": cmp_slot_mapping of token 7 is 5, expected -1 or 32, its row by cmp_block_table");
    refuse(&x, "state_slot_mapping", 6, -1,
           ": compress: request 0, token 6, position 126: state slot -1, rule: in a window it is the table's row for the position, "
           "14");
    refuse(&x, "compress_state_block_table", 0, 1,
           ": compress: request 0, token 7, position 127: its window has state row 8, rule: a row for one position alone, but it "
           "is also "
           "that of position 120");
    accept(&x, "cmp_sparse_indices", 3 * width + 16, INT32_MIN);
    accept(&x, "cmp_sparse_lens", 15, 24);
    subject_deinit(&x);
}

/* Token 15 also has row 16 of the compressed cache, which is on the second page. */
static void test_prefill_lists(void **state)
{
    (void)state;
    layer l = written_out(draw_prefill(128, preset("tiny"), 16, 120));
    const int64_t width = get_tensor(&l.in, "cmp_sparse_indices").shape[1];
    i32_of(&l.in, "cmp_sparse_indices")[15 * width + 17] = 16 + 16 + 16;
    i32_of(&l.in, "cmp_sparse_lens")[15] = 18;
    subject x = make_subject(l, CORRECT);
    refuse(&x, "cmp_block_table", 1, -1,
           ": cmp_block_table: request 0, entry 1: got page -1, expected 0 to 2: slot 17 of token 15 names a row of it");
    refuse(&x, "cmp_sparse_indices", 15 * width + 17, -5, ": cmp_sparse_indices: token 15, slot 17: got -5, expected -1 or more");
    accept(&x, "cmp_sparse_indices", 15 * width + 18, INT32_MIN);
    accept(&x, "cmp_sparse_indices", 15 * width + 19, INT32_MAX);
    subject_deinit(&x);
}

/* A chunk without valid tokens changes nothing, and does not look at positions. */
static void test_no_tokens(void **state)
{
    static const int ratios[] = {0, 4, 128};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        layer l = draw_prefill(ratios[i], preset("tiny"), 7, 130);
        i32_of(&l.in, "position_ids")[0] = INT32_MIN;
        set_valid(&l, 0);
        subject x = {.l = l, .s = run_layer(&l, CORRECT), .good = run_layer(&l, CORRECT)};
        assert_untouched(&x);
        subject_deinit(&x);
    }
}

/* ---- calls that cannot be built ------------------------------------------------------------------------------------------ */

/* Building or sealing the layer without that tensor, if there is one, fails with this line. */
static void refuse_call(layer l, const char *left_out, dsv4_status expected, const char *line)
{
    dsv4_error err = {0};
    dsv4_tensor_list io = {0};
    const dsv4_op_options options = options_of(&l, CORRECT);
    for (size_t i = 0; i < l.in.n; i++) {
        if (left_out == NULL || strcmp(l.in.items[i].name, left_out) != 0) {
            put_tensor(&io, l.in.items[i].name, l.in.items[i].tensor);
        }
    }
    dsv4_graph *g = dsv4_graph_create("refused");
    assert_int_equal(dsv4_op_build(l.op, &l.config, &options, &io, g, &err), expected);
    assert_string_equal(err.text, line);
    dsv4_graph_destroy(g);
    dsv4_tensor_list_deinit(&io);
    layer_deinit(&l);
}

static layer with_index(bool i8)
{
    const op_call call = {.mode = DSV4_DECODE, .n_requests = 1, .n_tokens = 1, .start_pos = 9, .quantised_index = i8};
    return draw_layer(4, preset("tiny"), call, SHARP);
}

static void test_calls(void **state)
{
    (void)state;
    refuse_call(draw_prefill(4, preset("tiny"), 5, 20), "position_ids", DSV4_E_NOT_FOUND,
                "prefill_attention_csa: input position_ids is missing");
    refuse_call(draw_decode(0, preset("tiny"), 2, 2, 20), "position_ids", DSV4_E_NOT_FOUND,
                "decode_attention_swa: input position_ids is missing, and kv_seq_lens, which could stand for it");
    refuse_call(written_out(draw_prefill(128, preset("tiny"), 5, 20)), "cmp_sparse_lens", DSV4_E_NOT_FOUND,
                "prefill_attention_hca: one of cmp_sparse_indices and cmp_sparse_lens is missing, expected both or none");
    refuse_call(with_index(true), "idx_kv_scale", DSV4_E_NOT_FOUND,
                "decode_attention_csa: idx_kv_cache is I8 and idx_kv_scale is missing, rule: scales with I8 and with nothing else");
    layer scaled = with_index(false);
    const dsv4_tensor cache = get_tensor(&scaled.in, "idx_kv_cache");
    add_tensor(&scaled.in, "idx_kv_scale", DSV4_F32, 4, (int64_t[]){cache.shape[0], cache.shape[1], 1, 1});
    refuse_call(scaled, NULL, DSV4_E_NOT_FOUND,
                "decode_attention_csa: idx_kv_cache is BF16 and idx_kv_scale is there, rule: scales with I8 and with nothing else");
    refuse_call(draw_decode(4, preset("tiny"), 1, 5, 20), NULL, DSV4_E_SHAPE,
                "decode_attention_csa: 5 tokens of a request, rule: at most 4 in a decode step");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode_positions), cmocka_unit_test(test_decode_lengths),
        cmocka_unit_test(test_decode_tables),    cmocka_unit_test(test_decode_state_tables),
        cmocka_unit_test(test_decode_slots),     cmocka_unit_test(test_prefill_csa),
        cmocka_unit_test(test_prefill_hca),      cmocka_unit_test(test_prefill_lists),
        cmocka_unit_test(test_no_tokens),        cmocka_unit_test(test_calls),
    };
    return cmocka_run_group_tests(tests, create_pool, destroy_pool);
}
