/* Stored weights as numbers: codes worked out by hand, and rows of the reference. */
#include "model_files.h"

#include <math.h>

#include "model/weights.h"

static void fp8_by_hand(void **state)
{
    (void)state;
    enum { ROWS = 130, COLUMNS = 132 };
    static uint8_t codes[ROWS * COLUMNS];
    const uint8_t scales[4] = {127, 128, 120, 0}; /* 1, 2, 2^-7, 2^-127 */
    const model_matrix m = {MODEL_FP8, ROWS, COLUMNS, codes, scales};
    codes[0] = 0x38;                   /* 1 */
    codes[127] = 0x7e;                 /* 448 */
    codes[128] = 0xb9;                 /* -1.125, scale 2 */
    codes[128 * COLUMNS + 1] = 0x01;   /* 2^-9, scale 2^-7 */
    codes[129 * COLUMNS + 131] = 0x81; /* -2^-9, scale 2^-127 */
    float row[COLUMNS];
    model_matrix_row(&m, 0, 0, COLUMNS, row);
    assert_true(row[0] == 1 && row[1] == 0 && row[127] == 448 && row[128] == -2.25f);
    model_matrix_row(&m, 128, 0, 2, row);
    assert_true(row[0] == 0 && row[1] == ldexpf(1, -16));
    float tile[2][2];
    model_matrix_tile(&m, 128, 2, 130, 2, &tile[0][0], 2);
    assert_true(tile[0][0] == 0 && tile[0][1] == 0 && tile[1][0] == 0 && tile[1][1] == -ldexpf(1, -136));
}

static void fp4_by_hand(void **state)
{
    (void)state;
    enum { ROWS = 2, COLUMNS = 64 };
    uint8_t codes[ROWS * COLUMNS / 2] = {0};
    const uint8_t scales[ROWS * 2] = {127, 130, 126, 246}; /* 1, 8; 1/2, 2^119 */
    const model_matrix m = {MODEL_FP4, ROWS, COLUMNS, codes, scales};
    codes[0] = 0xf1;       /* columns 0, 1: .5, -6 */
    codes[16] = 0x25;      /* columns 32, 33: 3 and 1, times 8 */
    codes[32 + 15] = 0xa3; /* row 1, columns 30, 31: 1.5 and -1, halved */
    codes[32 + 31] = 0x70; /* column 63: 6 * 2^119 */
    float row[COLUMNS];
    model_matrix_row(&m, 0, 0, COLUMNS, row);
    assert_true(row[0] == 0.5f && row[1] == -6 && row[2] == 0 && row[32] == 24 && row[33] == 8);
    model_matrix_row(&m, 1, 31, 33, row);
    assert_true(row[0] == -0.5f && row[32] == ldexpf(6, 119));
    model_matrix_row(&m, 1, 30, 1, row);
    assert_true(row[0] == 0.75f);
}

static model_checkpoint *open_or_fail(const char *folder)
{
    model_checkpoint *c = NULL;
    dsv4_error err = {0};
    require_ok(model_checkpoint_open(folder, &c, &err), &err);
    require_ok(model_checkpoint_require(c, &err), &err);
    return c;
}

static void finds_matrices_by_name(void **state)
{
    (void)state;
    model_checkpoint *c = open_or_fail(TINY_ENGLISH);
    model_matrix m;
    dsv4_error err = {0};
    require_ok(model_matrix_find(c, "layers.0.ffn.experts.7.w2", &m, &err), &err);
    assert_int_equal(m.kind, MODEL_FP4);
    assert_int_equal(m.rows, 128);
    assert_int_equal(m.columns, 128);
    require_ok(model_matrix_find(c, "norm", &m, &err), &err);
    assert_true(m.kind == MODEL_BF16 && m.rows == 1 && m.columns == 128);
    require_ok(model_matrix_find(c, "hc_head_fn", &m, &err), &err);
    assert_true(m.kind == MODEL_F32 && m.rows == 4 && m.columns == 512);
    assert_int_equal(model_matrix_find(c, "layers.9.attn.wq_a", &m, &err), DSV4_E_NOT_FOUND);
    assert_int_equal(model_matrix_find(c, "layers.0.ffn.gate.tid2eid", &m, &err), DSV4_E_NOT_FOUND);
    assert_int_equal(model_matrix_find(c, "layers.0.attn.wq_a.scale", &m, &err), DSV4_E_NOT_FOUND);
    model_checkpoint_close(c);
}

/* primitives.safetensors holds "dequant.NAME.row0" and "dequant.NAME.last". */
static size_t compare_rows(const model_checkpoint *c, const dsv4_tensor_list *list, const char *end, bool last)
{
    size_t n_compared = 0;
    for (size_t i = 0; i < list->n; i++) {
        const char *name = list->items[i].name;
        const size_t n = strlen(name), n_end = strlen(end);
        if (strncmp(name, "dequant.", 8) != 0 || n < 8 + n_end || strcmp(name + n - n_end, end) != 0) {
            continue;
        }
        char matrix[DSV4_NAME_BYTES];
        snprintf(matrix, sizeof matrix, "%.*s", (int)(n - n_end - 8), name + 8);
        model_matrix m;
        dsv4_error err = {0};
        require_ok(model_matrix_find(c, matrix, &m, &err), &err);
        assert_int_equal(m.columns, dsv4_tensor_count(&list->items[i].tensor));
        float row[1024];
        assert_true(m.columns <= 1024);
        model_matrix_row(&m, last ? m.rows - 1 : 0, 0, m.columns, row);
        for (int64_t k = 0; k < m.columns; k++) {
            if ((double)row[k] != dsv4_tensor_get(&list->items[i].tensor, k)) {
                fail_msg("%s[%d]: %.9g, expected %.9g", name, (int)k, (double)row[k], dsv4_tensor_get(&list->items[i].tensor, k));
            }
        }
        n_compared++;
    }
    return n_compared;
}

static void rows_are_the_references(void **state)
{
    (void)state;
    model_checkpoint *c = open_or_fail(TINY_RANDOM);
    dsv4_safetensors *st = NULL;
    dsv4_error err = {0};
    require_ok(dsv4_safetensors_open(MODEL_DATA "/primitives.safetensors", &st, &err), &err);
    const size_t n_first = compare_rows(c, dsv4_safetensors_tensors(st), ".row0", false);
    const size_t n_last = compare_rows(c, dsv4_safetensors_tensors(st), ".last", true);
    assert_true(n_first >= 9 && n_last == n_first);
    dsv4_safetensors_close(st);
    model_checkpoint_close(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fp8_by_hand),
        cmocka_unit_test(fp4_by_hand),
        cmocka_unit_test(finds_matrices_by_name),
        cmocka_unit_test(rows_are_the_references),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
