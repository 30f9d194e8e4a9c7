/* Drawing the inputs of a call: what its positions, tables and dimensions decide has the bits of the reference's own inputs. */
#include "ops/made.h"

#include <stdio.h>

#include "dsv4/safetensors.h"

static const op_tensor csa_rows[] = {
    MADE("ori_slot_mapping", DSV4_I64, "T", 0, 0, "ring_slots:ori_block_table"),
    MADE("cmp_slot_mapping", DSV4_I64, "T", 4, 0, "cache_slots:cmp_block_table"),
    MADE("cmp_block_table", DSV4_I32, "B,CPR", 0, 0, "table"),
    MADE("ori_block_table", DSV4_I32, "B,WPR", 0, 0, "table"),
    MADE("position_ids", DSV4_I32, "T", 0, 0, "positions"),
    MADE("kv_seq_lens", DSV4_I32, "B", 0, 0, "lengths"),
    MADE("freqs_cos", DSV4_BF16, "N,R", 4, 0, "rope_table"),
    MADE("freqs_sin", DSV4_BF16, "N,R", 4, 0, "rope_table"),
    MADE("hadamard_idx", DSV4_BF16, "ID,ID", 0, 0, "hadamard"),
    MADE("hc_attn_scale", DSV4_F32, "3", 0, 0, "hc:csa"),
    MADE("hc_attn_base", DSV4_F32, "2*M+M*M", 0, 0, "hc:csa"),
};

static const op_tensor hca_rows[] = {
    MADE("ori_block_table", DSV4_I32, "B,WPR", 0, 0, "table"),
    MADE("cmp_block_table", DSV4_I32, "B,CPR", 0, 0, "table"),
    MADE("ori_slot_mapping", DSV4_I64, "T", 0, 0, "ring_slots:ori_block_table"),
    MADE("cmp_slot_mapping", DSV4_I64, "T", 128, 0, "cache_slots:cmp_block_table"),
    MADE("position_ids", DSV4_I32, "T", 0, 0, "positions"),
    MADE("kv_seq_lens", DSV4_I32, "B", 0, 0, "lengths"),
    MADE("freqs_cos", DSV4_BF16, "N,R", 128, 0, "rope_table"),
    MADE("hc_attn_scale", DSV4_F32, "3", 0, 0, "hc:hca"),
    MADE("hc_attn_base", DSV4_F32, "2*M+M*M", 0, 0, "hc:hca"),
};

static const op_tensor swa_rows[] = {
    MADE("block_table", DSV4_I32, "B,WPR", 0, 0, "table"),  MADE("ori_slot_mapping", DSV4_I64, "T", 0, 0, "ring_slots:block_table"),
    MADE("position_ids", DSV4_I32, "T", 0, 0, "positions"), MADE("freqs_sin", DSV4_BF16, "N,R", 0, 0, "rope_table"),
    MADE("hc_attn_scale", DSV4_F32, "3", 0, 0, "hc:swa"),   MADE("hc_attn_base", DSV4_F32, "2*M+M*M", 0, 0, "hc:swa"),
};

static const op_tensor indexer_rows[] = {
    MADE("position_ids", DSV4_I32, "B,S", 0, 0, "positions"),
    MADE("kv_seq_lens", DSV4_I32, "B", 0, 0, "lengths"),
    MADE("offset", DSV4_I32, "", 0, 0, "window"),
    MADE("cos", DSV4_F32, "B,R/2", 4, 1, "rope_request"),
    MADE("sin", DSV4_F32, "B,R/2", 4, 1, "rope_request"),
};

static const op_tensor ratio128_rows[] = {
    MADE("position_ids", DSV4_I32, "B,S", 0, 0, "positions"),
    MADE("cos", DSV4_F32, "B,R/2", 128, 128, "rope_request"),
    MADE("sin", DSV4_F32, "B,R/2", 128, 128, "rope_request"),
};

static const op_tensor prefill_indexer_rows[] = {
    MADE("idx_slot_mapping", DSV4_I64, "T", 4, 0, "cache_slots:idx_block_table"),
    MADE("idx_block_table", DSV4_I32, "IPR", 0, 0, "table"),
    MADE("position_ids", DSV4_I32, "T", 0, 0, "positions"),
    MADE("num_tokens", DSV4_I32, "", 0, 0, "tokens"),
    MADE("cos", DSV4_F32, "T,R/2", 4, 0, "rope_token"),
    MADE("sin", DSV4_F32, "T,R/2", 4, 0, "rope_token"),
    MADE("hadamard", DSV4_BF16, "ID,ID", 0, 0, "hadamard"),
};

static const op_tensor prefill_hca_rows[] = {
    MADE("cmp_sparse_indices", DSV4_I32, "T,KL", 128, 0, "list_prefill"),
    MADE("cmp_sparse_lens", DSV4_I32, "T", OP_ANY, 0, "lens"),
    MADE("cmp_slot_mapping", DSV4_I64, "T", 128, 0, "cache_slots:"),
    MADE("ori_slot_mapping", DSV4_I64, "T", 0, 0, "ring_slots:ori_block_table"),
    MADE("ori_block_table", DSV4_I32, "WPR", 0, 0, "table"),
};

static const op_tensor csa_list_rows[] = {
    MADE("cmp_sparse_indices", DSV4_I32, "T,KL", 0, 0, "list_csa"), MADE("valid_block_mask", DSV4_I32, "T,KB", 0, 0, "block_mask"),
    MADE("freqs_cos", DSV4_BF16, "T,R", 4, 0, "rope_first"),        MADE("freqs_sin", DSV4_BF16, "T,R", 4, 0, "rope_first"),
    MADE("cmp_block_table", DSV4_I32, "B,CPR", 0, 0, "table"),
};

static const op_tensor hc_rows[] = {
    MADE("hc_scale", DSV4_F32, "3", 0, 0, "hc:csa"),
    MADE("hc_base", DSV4_F32, "2*M+M*M", 0, 0, "hc:csa"),
};

static const op_tensor hc_head_rows[] = {
    MADE("hc_head_scale", DSV4_F32, "1", 0, 0, "hc:head"),
    MADE("hc_head_base", DSV4_F32, "M", 0, 0, "hc:head"),
};

static const struct {
    const char *file, *op;
    dsv4_mode mode;
    int ratio;
    int64_t start_pos;
    const op_tensor *rows;
    size_t n_rows;
} vectors[] = {
    {"decode_attention_csa_pos10_2_3_4", "decode_attention_csa", DSV4_DECODE, 4, OP_UNKNOWN, ROWS(csa_rows)},
    {"decode_attention_hca_pos126", "decode_attention_hca", DSV4_DECODE, 128, 126, ROWS(hca_rows)},
    {"decode_attention_swa", "decode_attention_swa", DSV4_DECODE, 0, OP_UNKNOWN, ROWS(swa_rows)},
    {"decode_indexer_pos0123", "decode_indexer", DSV4_DECODE, 4, OP_UNKNOWN, ROWS(indexer_rows)},
    {"decode_indexer_pos34", "decode_indexer", DSV4_DECODE, 4, 34, ROWS(indexer_rows)},
    {"decode_compressor_ratio128_pos7_10_126_127", "decode_compressor_ratio128", DSV4_DECODE, 128, OP_UNKNOWN, ROWS(ratio128_rows)},
    {"decode_sparse_attn_csa_fixture", "decode_sparse_attn", DSV4_DECODE, 4, OP_UNKNOWN, ROWS(csa_list_rows)},
    {"prefill_indexer_pos0", "prefill_indexer", DSV4_PREFILL, 4, OP_UNKNOWN, ROWS(prefill_indexer_rows)},
    {"prefill_indexer_pos32", "prefill_indexer", DSV4_PREFILL, 4, 32, ROWS(prefill_indexer_rows)},
    {"prefill_attention_hca_pos112", "prefill_attention_hca", DSV4_PREFILL, 128, 112, ROWS(prefill_hca_rows)},
    {"hc_pre_dec", "hc_pre", DSV4_DECODE, 0, OP_UNKNOWN, ROWS(hc_rows)},
    {"hc_head_dec", "hc_head", DSV4_DECODE, 0, OP_UNKNOWN, ROWS(hc_head_rows)},
};

/* The in.* tensors of a vector file. */
static dsv4_tensor_list load_vector(const char *file)
{
    char path[4096];
    dsv4_safetensors *st;
    dsv4_tensor_list in = {0};
    dsv4_error err = {0};
    snprintf(path, sizeof path, "%s/%s.safetensors", TEST_VECTORS, file);
    require_ok(dsv4_safetensors_open(path, &st, &err), &err);
    require_ok(dsv4_safetensors_load(st, "in.", &in, &err), &err);
    dsv4_safetensors_close(st);
    return in;
}

static void draws_the_inputs_of_the_reference(void **state)
{
    const dsv4_config config = preset("tiny");
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        const bool decode = vectors[i].mode == DSV4_DECODE;
        const dsv4_op op = op_of(vectors[i].op, vectors[i].mode, vectors[i].ratio, vectors[i].rows, vectors[i].n_rows);
        const op_call call = call_of(vectors[i].mode, decode ? 4 : 1, decode ? 2 : 16, vectors[i].start_pos);
        dsv4_tensor_list drawn = draw(&op, &config, &call), in = load_vector(vectors[i].file);
        for (size_t r = 0; r < op.n_tensors; r++) {
            const dsv4_tensor got = get_tensor(&drawn, op.tensors[r].name), want = get_tensor(&in, op.tensors[r].name);
            assert_int_equal(got.n_dims, want.n_dims);
            assert_memory_equal(got.shape, want.shape, (size_t)got.n_dims * sizeof *got.shape);
            const int64_t n = count_bit_mismatches(&got, &want);
            if (n > 0) {
                fail_msg("%s: %lld elements of %s differ", vectors[i].file, (long long)n, op.tensors[r].name);
            }
        }
        dsv4_tensor_list_deinit(&drawn);
        dsv4_tensor_list_deinit(&in);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_the_inputs_of_the_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
