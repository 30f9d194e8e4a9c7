/* The attention layers: what they derive where an input is missing, and that a sequence gives the same in decode as in prefill. */
#include "golden/support.h"

#include <math.h>
#include <stdio.h>

#include "dsv4/safetensors.h"
#include "golden/primitives.h"

/* ---- missing inputs, on the vector files ---------------------------------------------------------------------------------- */

static void load_vector(const char *name, dsv4_config *config, dsv4_tensor_list *in)
{
    char path[4096];
    dsv4_error err = {0};
    dsv4_safetensors *st = NULL;
    snprintf(path, sizeof path, "%s/%s.safetensors", TEST_VECTORS, name);
    require_ok(dsv4_safetensors_open(path, &st, &err), &err);
    const char *text = dsv4_safetensors_metadata(st, "config");
    require_ok(dsv4_config_parse(path, text, strlen(text), config, &err), &err);
    require_ok(dsv4_safetensors_load(st, "in.", in, &err), &err);
    dsv4_safetensors_close(st);
}

/* Every tensor of `from` but those named, borrowed. */
static void put_others(dsv4_tensor_list *to, const dsv4_tensor_list *from, const char *const *left_out)
{
    for (size_t i = 0; i < from->n; i++) {
        bool wanted = true;
        for (int j = 0; left_out[j] != NULL; j++) {
            wanted = wanted && strcmp(from->items[i].name, left_out[j]) != 0;
        }
        if (wanted) {
            put_tensor(to, from->items[i].name, &from->items[i].tensor);
        }
    }
}

static void assert_same_outputs(const dsv4_tensor_list *a, const dsv4_tensor_list *b)
{
    assert_int_equal(a->n, b->n);
    for (size_t i = 0; i < a->n; i++) {
        assert_same_bits(a, b, a->items[i].name);
    }
}

/* The file gives the same results without these tensors, NULL at the end. */
static void check_without(const char *kernel, const char *file, const char *const *left_out)
{
    for (dsv4_compat compat = DSV4_CORRECT; compat <= DSV4_REFERENCE; compat++) {
        dsv4_config config;
        dsv4_tensor_list all = {0}, some = {0}, expected = {0}, actual = {0};
        load_vector(file, &config, &all);
        put_others(&some, &all, left_out);
        assert_true(some.n < all.n);
        run_golden_as(kernel, &config, compat, &all, &expected);
        run_golden_as(kernel, &config, compat, &some, &actual);
        assert_same_outputs(&actual, &expected);
        dsv4_tensor_list_deinit(&actual);
        dsv4_tensor_list_deinit(&expected);
        dsv4_tensor_list_deinit(&some);
        dsv4_tensor_list_deinit(&all);
    }
}

#define WITHOUT(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_slots_are_derived(void **state)
{
    (void)state;
    check_without("decode_attention_swa", "decode_attention_swa", WITHOUT("ori_slot_mapping", "cmp_kv", "cmp_block_table"));
    check_without("decode_attention_hca", "decode_attention_hca_pos126",
                  WITHOUT("ori_slot_mapping", "cmp_slot_mapping", "state_slot_mapping"));
    check_without(
        "decode_attention_csa", "decode_attention_csa_pos10_2_3_4",
        WITHOUT("ori_slot_mapping", "cmp_slot_mapping", "state_slot_mapping", "idx_slot_mapping", "inner_state_slot_mapping"));
    check_without("prefill_attention_swa", "prefill_attention_swa_pos16_n13", WITHOUT("ori_slot_mapping"));
    check_without("prefill_attention_hca", "prefill_attention_hca_pos112",
                  WITHOUT("ori_slot_mapping", "cmp_slot_mapping", "state_slot_mapping", "num_tokens"));
    check_without(
        "prefill_attention_csa", "prefill_attention_csa_pos32_n14",
        WITHOUT("ori_slot_mapping", "cmp_slot_mapping", "state_slot_mapping", "idx_slot_mapping", "inner_state_slot_mapping"));
}

static void test_lists_are_built(void **state)
{
    (void)state;
    check_without("prefill_attention_swa", "prefill_attention_swa_pos16_n13", WITHOUT("cmp_sparse_indices", "cmp_sparse_lens"));
    check_without("prefill_attention_hca", "prefill_attention_hca_pos112", WITHOUT("cmp_sparse_indices", "cmp_sparse_lens"));
}

static void test_positions_or_lengths(void **state)
{
    (void)state;
    check_without("decode_attention_hca", "decode_attention_hca_pos126", WITHOUT("position_ids"));
    check_without("decode_attention_csa", "decode_attention_csa_pos10_2_3_4", WITHOUT("position_ids"));
    check_without("decode_attention_csa", "decode_attention_csa_pos10_2_3_4", WITHOUT("kv_seq_lens"));
}

/* An index cache of INT8 rows holds what is otherwise made when a row is read (SPEC 3.2). */
static void test_index_cache_of_int8(void **state)
{
    (void)state;
    dsv4_config config;
    dsv4_tensor_list all = {0}, in = {0}, expected = {0}, actual = {0}, refused = {0};
    dsv4_error err = {0};
    load_vector("decode_attention_csa_pos10_2_3_4", &config, &all);
    put_others(&in, &all, WITHOUT("idx_kv_cache"));
    const dsv4_tensor rows = get_tensor(&all, "idx_kv_cache");
    const dsv4_tensor q = add_tensor(&in, "idx_kv_cache", DSV4_I8, 4, rows.shape);
    assert_int_equal(golden_find("decode_attention_csa")->run(&config, &(dsv4_numerics){0}, &in, &refused, NULL, &err),
                     DSV4_E_NOT_FOUND);
    assert_string_equal(err.text, "input idx_kv_scale: missing, expected F32 [16, 16, 1, 1]");

    const dsv4_tensor scale = add_tensor(&in, "idx_kv_scale", DSV4_F32, 4, (int64_t[]){rows.shape[0], rows.shape[1], 1, 1});
    const int64_t ID = rows.shape[3];
    for (int64_t r = 0; r < dsv4_tensor_count(&scale); r++) {
        float row[64];
        golden_widen((const uint16_t *)rows.data + r * ID, ID, row);
        ((float *)scale.data)[r] = golden_q8(row, ID, (int8_t *)q.data + r * ID);
    }
    run_golden("decode_attention_csa", &config, &all, &expected);
    run_golden("decode_attention_csa", &config, &in, &actual);
    assert_same_bits(&actual, &expected, "x_out");
    assert_int_equal(get_tensor(&actual, "idx_kv_cache").dtype, DSV4_I8);
    dsv4_tensor_list_deinit(&actual);
    dsv4_tensor_list_deinit(&expected);
    dsv4_tensor_list_deinit(&in);
    dsv4_tensor_list_deinit(&all);
}

/* ---- a sequence, in chunks and in steps -------------------------------------------------------------------------------------- */

enum { LONGEST = 140, STATE_ROWS = 160 };

/* Weights of a layer of the preset tiny, the streams of a sequence, and its memory as it changes. */
typedef struct sequence {
    dsv4_config config;
    int64_t ratio;
    bool prefill;
    dsv4_compat compat;
    dsv4_tensor_list weights; /* and tables */
    dsv4_tensor_list memory;  /* caches and states after the tokens so far */
    dsv4_tensor x;            /* [LONGEST, M, D] */
    dsv4_tensor y;            /* x_out, likewise */
} sequence;

/* i32 [1, n] in decode, [n] in prefill: pages in descending order. */
static void add_table(sequence *q, const char *name, int64_t n)
{
    const dsv4_tensor t = q->prefill ? add_tensor(&q->weights, name, DSV4_I32, 1, (int64_t[]){n})
                                     : add_tensor(&q->weights, name, DSV4_I32, 2, (int64_t[]){1, n});
    for (int64_t i = 0; i < n; i++) {
        ((int32_t *)t.data)[i] = (int32_t)(n - 1 - i);
    }
}

/* Weights and memory of a compressor whose rows have hd elements. */
static void add_compressor(sequence *q, const char *prefix, int64_t hd, const char *cache, const char *cache_table)
{
    char name[DSV4_NAME_BYTES];
    const int64_t D = q->config.hidden_size, out = q->ratio == 4 ? 2 * hd : hd, page = q->ratio == 4 ? 4 : 8;
    const char *inner = strcmp(prefix, "inner") == 0 ? "inner_" : "";
#define NAMED(suffix) (snprintf(name, sizeof name, "%s_%s", prefix, suffix), name)
    add_uniform(&q->weights, NAMED("wkv"), DSV4_BF16, 2, (int64_t[]){out, D}, -0.1, 0.1);
    add_uniform(&q->weights, NAMED("wgate"), DSV4_BF16, 2, (int64_t[]){out, D}, -0.1, 0.1);
    add_uniform(&q->weights, NAMED("ape"), DSV4_F32, 2, (int64_t[]){q->ratio, out}, -0.5, 0.5);
    add_uniform(&q->weights, NAMED("norm_w"), DSV4_BF16, 1, (int64_t[]){hd}, 0.5, 1.5);
    if (q->prefill) {
        add_tensor(&q->memory, NAMED("kv_state"), DSV4_F32, 3, (int64_t[]){STATE_ROWS / page, page, out});
        add_tensor(&q->memory, NAMED("score_state"), DSV4_F32, 3, (int64_t[]){STATE_ROWS / page, page, out});
    } else {
        snprintf(name, sizeof name, "%scompress_state", inner);
        add_tensor(&q->memory, name, DSV4_F32, 3, (int64_t[]){STATE_ROWS / page, page, 2 * out});
    }
#undef NAMED
    snprintf(name, sizeof name, "%scompress_state_block_table", inner);
    add_table(q, name, STATE_ROWS / page);
    add_tensor(&q->memory, cache, DSV4_BF16, 4, (int64_t[]){3, 16, 1, hd});
    add_table(q, cache_table, 3);
}

static void add_attention(sequence *q)
{
    const dsv4_config *c = &q->config;
    const int64_t D = c->hidden_size, H = c->num_attention_heads, hd = c->head_dim, QL = c->q_lora_rank, M = c->hc_mult;
    const int64_t G = c->o_groups, OL = c->o_lora_rank;
    dsv4_tensor_list *w = &q->weights;
    add_uniform(w, "hc_attn_fn", DSV4_F32, 2, (int64_t[]){(2 + M) * M, M * D}, -0.05, 0.05);
    add_uniform(w, "hc_attn_scale", DSV4_F32, 1, (int64_t[]){3}, 0.05, 0.2);
    add_uniform(w, "hc_attn_base", DSV4_F32, 1, (int64_t[]){(2 + M) * M}, -1, 1);
    add_uniform(w, "attn_norm_w", DSV4_BF16, 1, (int64_t[]){D}, 0.5, 1.5);
    add_uniform(w, "gamma_cq", DSV4_BF16, 1, (int64_t[]){QL}, 0.5, 1.5);
    add_uniform(w, "gamma_ckv", DSV4_BF16, 1, (int64_t[]){hd}, 0.5, 1.5);
    add_uniform(w, "wq_a", DSV4_BF16, 2, (int64_t[]){D, QL}, -0.1, 0.1);
    add_uniform(w, "wkv", DSV4_BF16, 2, (int64_t[]){D, hd}, -0.1, 0.1);
    add_uniform(w, "wq_b", DSV4_I8, 2, (int64_t[]){QL, H * hd}, -127, 127);
    add_uniform(w, "wq_b_scale", DSV4_F32, 1, (int64_t[]){H * hd}, 1e-3, 2e-3);
    add_uniform(w, "attn_sink", DSV4_F32, 1, (int64_t[]){H}, -1, 1);
    add_uniform(w, "wo_a", DSV4_BF16, 3, (int64_t[]){G, OL, H * hd / G}, -0.1, 0.1);
    add_uniform(w, "wo_b", DSV4_I8, 2, (int64_t[]){D, G * OL}, -127, 127);
    add_uniform(w, "wo_b_scale", DSV4_F32, 1, (int64_t[]){D}, 1e-3, 2e-3);
    add_tensor(&q->memory, "kv_cache", DSV4_BF16, 4, (int64_t[]){1, 16, 1, hd});
    add_table(q, q->ratio == 0 ? "block_table" : "ori_block_table", 1);
}

static void add_indexer(sequence *q)
{
    const dsv4_config *c = &q->config;
    const int64_t IH = c->index_n_heads, ID = c->index_head_dim, QL = c->q_lora_rank;
    add_uniform(&q->weights, "idx_wq_b", DSV4_I8, 2, (int64_t[]){QL, IH * ID}, -127, 127);
    add_uniform(&q->weights, "idx_wq_b_scale", DSV4_F32, 1, (int64_t[]){IH * ID}, 1e-3, 2e-3);
    add_uniform(&q->weights, "weights_proj", DSV4_BF16, 2, (int64_t[]){c->hidden_size, IH}, -0.2, 0.2);
    const dsv4_tensor weights_proj = get_tensor(&q->weights, "weights_proj");
    put_tensor(&q->weights, "idx_weights_proj", &weights_proj);
    add_uniform(&q->weights, "hadamard_idx", DSV4_BF16, 2, (int64_t[]){ID, ID}, -0.2, 0.2);
    add_compressor(q, "inner", ID, "idx_kv_cache", "idx_block_table");
}

static void add_rope(sequence *q)
{
    dsv4_tensor_list in = {0};
    *(int32_t *)add_tensor(&in, "compress_ratio", DSV4_I32, 0, NULL).data = (int32_t)q->ratio;
    *(int32_t *)add_tensor(&in, "max_seq_len", DSV4_I32, 0, NULL).data = STATE_ROWS;
    run_golden("rope_tables", &q->config, &in, &q->weights);
    dsv4_tensor_list_deinit(&in);
}

static void sequence_init(sequence *q, int64_t ratio, bool prefill, dsv4_compat compat)
{
    *q = (sequence){.config = preset("tiny"), .ratio = ratio, .prefill = prefill, .compat = compat};
    const int64_t shape[3] = {LONGEST, q->config.hc_mult, q->config.hidden_size};
    add_attention(q);
    add_rope(q);
    if (ratio > 0) {
        add_compressor(q, "cmp", q->config.head_dim, "cmp_kv", "cmp_block_table");
    }
    if (ratio == 4) {
        add_indexer(q);
    }
    add_uniform(&q->weights, "streams", DSV4_BF16, 3, shape, -1, 1);
    q->x = get_tensor(&q->weights, "streams");
    q->y = add_tensor(&q->weights, "results", DSV4_BF16, 3, shape);
}

static void sequence_deinit(sequence *q)
{
    dsv4_tensor_list_deinit(&q->memory);
    dsv4_tensor_list_deinit(&q->weights);
}

/* The next n tokens, from position p on, in a call of T tokens. */
static void advance(sequence *q, int64_t p, int64_t n, int64_t T)
{
    static const char *const kinds[2][3] = {{"decode_attention_swa", "decode_attention_csa", "decode_attention_hca"},
                                            {"prefill_attention_swa", "prefill_attention_csa", "prefill_attention_hca"}};
    const int64_t token = q->config.hc_mult * q->config.hidden_size;
    dsv4_tensor_list in = {0}, out = {0};
    put_others(&in, &q->weights, WITHOUT("streams", "results"));
    put_others(&in, &q->memory, (const char *const[]){NULL});
    const dsv4_tensor x = add_tensor(&in, "x_hc", DSV4_BF16, 3, (int64_t[]){T, q->config.hc_mult, q->config.hidden_size});
    const dsv4_tensor position_ids = add_tensor(&in, "position_ids", DSV4_I32, 1, (int64_t[]){T});
    memcpy(x.data, (const uint16_t *)q->x.data + p * token, (size_t)(n * token) * sizeof(uint16_t));
    for (int64_t i = 0; i < T; i++) {
        ((int32_t *)position_ids.data)[i] = (int32_t)(i < n ? p + i : i);
    }
    if (q->prefill) {
        *(int32_t *)add_tensor(&in, "num_tokens", DSV4_I32, 0, NULL).data = (int32_t)n;
    }
    run_golden_as(kinds[q->prefill][q->ratio == 0 ? 0 : q->ratio == 4 ? 1 : 2], &q->config, q->compat, &in, &out);
    for (size_t i = 0; i < out.n; i++) {
        const dsv4_tensor *to = dsv4_tensor_list_find(&q->memory, out.items[i].name);
        if (to != NULL) {
            memcpy(to->data, out.items[i].tensor.data, dsv4_tensor_bytes(to));
        }
    }
    memcpy((uint16_t *)q->y.data + p * token, get_tensor(&out, "x_out").data, (size_t)(n * token) * sizeof(uint16_t));
    dsv4_tensor_list_deinit(&out);
    dsv4_tensor_list_deinit(&in);
}

/* length tokens in steps of S. */
static void decode(sequence *q, int64_t ratio, int64_t S, int64_t length, dsv4_compat compat)
{
    sequence_init(q, ratio, false, compat);
    for (int64_t p = 0; p < length; p += S) {
        advance(q, p, S, S);
    }
}

/* length tokens in chunks; the first is longer than the window, and others have tokens that do not count. */
static void prefill(sequence *q, int64_t ratio, int64_t length)
{
    static const struct {
        int64_t n, T;
    } chunks[] = {{21, 21}, {3, 8}, {13, 16}, {16, 16}, {1, 1}, {0, 4}, {48, 50}, {38, 38}};
    int64_t p = 0;
    sequence_init(q, ratio, true, DSV4_CORRECT);
    for (size_t i = 0; p < length && i < sizeof chunks / sizeof chunks[0]; i++) {
        const int64_t n = chunks[i].n < length - p ? chunks[i].n : length - p;
        advance(q, p, n, chunks[i].T > n ? chunks[i].T : n);
        p += n;
    }
    assert_int_equal(p, length);
}

/* Largest difference of the results of the first length tokens. */
static double worst_difference(const sequence *a, const sequence *b, int64_t length)
{
    double worst = 0.0;
    for (int64_t i = 0; i < length * a->config.hc_mult * a->config.hidden_size; i++) {
        worst = fmax(worst, fabs(dsv4_tensor_get(&a->y, i) - dsv4_tensor_get(&b->y, i)));
    }
    return worst;
}

/* What another order of the keys in blocks makes of values up to 8: a step of INT8 in front of wo_b, and the rounding to BF16. */
#define ORDER_OF_KEYS (1.0 / 32)

/* Steps of one or two tokens and chunks leave the same caches; results differ by the keys' order alone. */
static void check_decode_is_prefill(int64_t ratio, int64_t length, const char *const *caches)
{
    sequence ones, twos, chunks;
    decode(&ones, ratio, 1, length, DSV4_CORRECT);
    decode(&twos, ratio, 2, length, DSV4_CORRECT);
    prefill(&chunks, ratio, length);
    for (int i = 0; caches[i] != NULL; i++) {
        assert_same_bits(&ones.memory, &twos.memory, caches[i]);
        assert_same_bits(&ones.memory, &chunks.memory, caches[i]);
    }
    assert_near(worst_difference(&ones, &twos, length), 0.0, ratio == 4 ? 0.0 : ORDER_OF_KEYS);
    assert_near(worst_difference(&ones, &chunks, length), 0.0, ORDER_OF_KEYS);
    sequence_deinit(&chunks);
    sequence_deinit(&twos);
    sequence_deinit(&ones);
}

static void test_swa(void **state)
{
    (void)state;
    check_decode_is_prefill(0, 60, WITHOUT("kv_cache"));
}

static void test_csa(void **state)
{
    (void)state;
    check_decode_is_prefill(4, 60, WITHOUT("kv_cache", "cmp_kv", "idx_kv_cache"));
}

static void test_hca(void **state)
{
    (void)state;
    check_decode_is_prefill(128, LONGEST, WITHOUT("kv_cache", "cmp_kv"));
}

/* The reference implementation rotates what it indexes as the first token of the step (SPEC 12.1), so it chooses other rows. */
static void test_reference_chooses_other_rows(void **state)
{
    (void)state;
    enum { LENGTH = 60 };
    sequence correct, reference;
    decode(&correct, 4, 2, LENGTH, DSV4_CORRECT);
    decode(&reference, 4, 2, LENGTH, DSV4_REFERENCE);
    const dsv4_tensor a = get_tensor(&correct.memory, "idx_kv_cache"), b = get_tensor(&reference.memory, "idx_kv_cache");
    assert_true(count_bit_mismatches(&a, &b) > LENGTH / 4 * correct.config.qk_rope_head_dim);
    assert_true(worst_difference(&correct, &reference, LENGTH) > 10 * ORDER_OF_KEYS);
    sequence_deinit(&reference);
    sequence_deinit(&correct);
}

/* ---- inputs that cannot be ------------------------------------------------------------------------------------------------ */

/* Element i of tensor `name` of a vector file becomes value; the call is refused with this text. */
static void refuse(const char *kernel, const char *file, const char *const *left_out, const char *name, int64_t i, int64_t value,
                   const char *text)
{
    dsv4_config config;
    dsv4_tensor_list all = {0}, in = {0}, out = {0};
    dsv4_error err = {0};
    load_vector(file, &config, &all);
    put_others(&in, &all, left_out);
    const dsv4_tensor t = get_tensor(&in, name);
    if (t.dtype == DSV4_I64) {
        ((int64_t *)t.data)[i] = value;
    } else {
        ((int32_t *)t.data)[i] = (int32_t)value;
    }
    assert_int_equal(golden_find(kernel)->run(&config, &(dsv4_numerics){0}, &in, &out, NULL, &err), DSV4_E_VALUE);
    assert_string_equal(err.text, text);
    assert_int_equal(out.n, 0);
    dsv4_tensor_list_deinit(&out);
    dsv4_tensor_list_deinit(&in);
    dsv4_tensor_list_deinit(&all);
}

#define NOTHING ((const char *const[]){NULL})

static void test_positions_that_cannot_be(void **state)
{
    (void)state;
    const char *csa = "decode_attention_csa", *csa_file = "decode_attention_csa_pos10_2_3_4";
    refuse(csa, csa_file, NOTHING, "position_ids", 3, 4,
           "input position_ids: request 1, token 1: got 4, expected 3, one after the token before");
    refuse(csa, csa_file, NOTHING, "position_ids", 0, -1, "input position_ids: request 0, token 0: got -1, expected 0 or more");
    refuse(csa, csa_file, NOTHING, "kv_seq_lens", 2, 6,
           "input kv_seq_lens: request 2: got 6, expected 5, one above its last position");
    refuse(csa, csa_file, WITHOUT("position_ids"), "kv_seq_lens", 2, 1,
           "input kv_seq_lens: request 2: got 1, expected at least its 2 tokens");
    refuse(csa, csa_file, WITHOUT("position_ids"), "kv_seq_lens", 0, 161,
           "input position_ids: request 0: got 160, expected below 160, the rows of freqs_cos");
    refuse("prefill_attention_swa", "prefill_attention_swa_pos16_n13", NOTHING, "num_tokens", 0, 17,
           "input num_tokens: got 17, expected 0 to T = 16");
}

static void test_pages_and_slots_that_cannot_be(void **state)
{
    (void)state;
    const char *csa = "decode_attention_csa", *csa_file = "decode_attention_csa_pos10_2_3_4";
    const char *hca = "prefill_attention_hca", *hca_file = "prefill_attention_hca_pos112";
    refuse(csa, csa_file, NOTHING, "ori_slot_mapping", 1, 64,
           "input ori_slot_mapping: token 1: got 64, expected -1 or a row below 64");
    refuse(csa, csa_file, NOTHING, "ori_slot_mapping", 1, 10,
           "input ori_slot_mapping: got row 10 for two tokens, expected a row of its own for each");
    refuse(csa, csa_file, WITHOUT("ori_slot_mapping"), "ori_block_table", 3, -1,
           "input ori_block_table: request 3, entry 0: got -1, expected a page from 0 to 3");
    refuse(csa, csa_file, WITHOUT("cmp_slot_mapping"), "cmp_block_table", 0, 8,
           "input cmp_block_table: request 0, entry 0: got 8, expected a page from 0 to 7");
    refuse(csa, csa_file, NOTHING, "idx_block_table", 0, 16,
           "input idx_block_table: request 0, entry 0: got 16, expected a page from 0 to 15");
    refuse(hca, hca_file, NOTHING, "ori_slot_mapping", 5, 0,
           "input ori_slot_mapping: token 5: got row 0 of token 0, expected a row of its own within a window");
    refuse(hca, hca_file, WITHOUT("cmp_slot_mapping"), "cmp_block_table", 0, -1,
           "input cmp_block_table: request 0, entry 0: got -1, expected a page from 0 to 2");
    refuse(hca, hca_file, NOTHING, "cmp_sparse_indices", 0, -7,
           "input cmp_sparse_indices: token 0, slot 0: got -7, expected -1 to 79");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slots_are_derived),
        cmocka_unit_test(test_lists_are_built),
        cmocka_unit_test(test_positions_or_lengths),
        cmocka_unit_test(test_index_cache_of_int8),
        cmocka_unit_test(test_swa),
        cmocka_unit_test(test_csa),
        cmocka_unit_test(test_hca),
        cmocka_unit_test(test_reference_chooses_other_rows),
        cmocka_unit_test(test_positions_that_cannot_be),
        cmocka_unit_test(test_pages_and_slots_that_cannot_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
