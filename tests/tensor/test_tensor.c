/* Views: layout, element values of every dtype, text. Lists: names, ownership, look-up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dsv4/tensor.h"

static void dtype_table(void **state)
{
    (void)state;
    assert_string_equal(dsv4_dtype_name(DSV4_BF16), "BF16");
    assert_string_equal(dsv4_dtype_name(DSV4_F8_E4M3), "F8_E4M3");
    assert_int_equal(dsv4_dtype_bytes(DSV4_F32), 4);
    assert_int_equal(dsv4_dtype_bytes(DSV4_F16), 2);
    assert_int_equal(dsv4_dtype_bytes(DSV4_BF16), 2);
    assert_int_equal(dsv4_dtype_bytes(DSV4_F8_E8M0), 1);
    assert_int_equal(dsv4_dtype_bytes(DSV4_I8), 1);
    assert_int_equal(dsv4_dtype_bytes(DSV4_I64), 8);
}

static void make_lays_out_row_major(void **state)
{
    (void)state;
    char data[2 * 3 * 4 * 2];
    const dsv4_tensor t = dsv4_tensor_make(DSV4_BF16, 3, (const int64_t[]){2, 3, 4}, data);
    assert_int_equal(t.stride[0], 12);
    assert_int_equal(t.stride[1], 4);
    assert_int_equal(t.stride[2], 1);
    assert_int_equal(dsv4_tensor_count(&t), 24);
    assert_int_equal(dsv4_tensor_bytes(&t), 48);
    assert_ptr_equal(t.data, data);
    assert_true(dsv4_tensor_is_contiguous(&t));
}

static void scalar_has_one_element(void **state)
{
    (void)state;
    int64_t value = -7;
    const dsv4_tensor t = dsv4_tensor_make(DSV4_I64, 0, NULL, &value);
    assert_int_equal(dsv4_tensor_count(&t), 1);
    assert_int_equal(dsv4_tensor_bytes(&t), 8);
    assert_true(dsv4_tensor_is_contiguous(&t));
    assert_true(dsv4_tensor_get(&t, 0) == -7);
}

static void contiguity(void **state)
{
    (void)state;
    float data[12] = {0};
    dsv4_tensor t = dsv4_tensor_make(DSV4_F32, 2, (const int64_t[]){3, 4}, data);
    t.stride[0] = 5;
    assert_false(dsv4_tensor_is_contiguous(&t)); /* rows with a gap */
    t.shape[0] = 1;
    assert_true(dsv4_tensor_is_contiguous(&t)); /* the stride of a single row does not matter */
    t.shape[1] = 0;
    t.stride[1] = 9;
    assert_true(dsv4_tensor_is_contiguous(&t)); /* nor does any stride without elements */
    dsv4_tensor transposed = {.dtype = DSV4_F32, .n_dims = 2, .shape = {4, 3}, .stride = {1, 4}, .data = data};
    assert_false(dsv4_tensor_is_contiguous(&transposed));
}

static void get_widens_every_dtype(void **state)
{
    (void)state;
    static const struct {
        dsv4_dtype dtype;
        uint64_t bits;
        double value;
    } cases[] = {
        {DSV4_F32, 0x40490fdb, 3.1415927410125732},
        {DSV4_F32, 0xff800000, -INFINITY},
        {DSV4_F16, 0x3555, 0.333251953125},
        {DSV4_F16, 0x0001, 0x1p-24},
        {DSV4_BF16, 0xc049, -3.140625},
        {DSV4_F8_E4M3, 0x7e, 448},
        {DSV4_F8_E4M3, 0x81, -0x1p-9},
        {DSV4_F8_E8M0, 0x7f, 1},
        {DSV4_F8_E8M0, 0x00, 0x1p-127},
        {DSV4_I8, 0x80, -128},
        {DSV4_U8, 0x80, 128},
        {DSV4_I32, 0x80000001, -2147483647},
        {DSV4_I64, 0xfffffffffffffffe, -2},
        {DSV4_I64, (uint64_t)1 << 53, 9007199254740992},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        unsigned char bytes[9]; /* little-endian, at an odd address */
        memcpy(bytes + 1, &cases[c].bits, 8);
        const dsv4_tensor t = dsv4_tensor_make(cases[c].dtype, 1, (const int64_t[]){1}, bytes + 1);
        const double value = dsv4_tensor_get(&t, 0);
        if (value != cases[c].value) {
            fail_msg("%s 0x%llx is %.17g, expected %.17g", dsv4_dtype_name(cases[c].dtype), (unsigned long long)cases[c].bits,
                     value, cases[c].value);
        }
    }
}

static void get_follows_strides(void **state)
{
    (void)state;
    const int32_t data[2][3] = {{1, 2, 3}, {4, 5, 6}};
    const dsv4_tensor transposed = {
        .dtype = DSV4_I32, .n_dims = 2, .shape = {3, 2}, .stride = {1, 3}, .data = (void *)(uintptr_t)data};
    const double expected[6] = {1, 4, 2, 5, 3, 6};
    for (int64_t i = 0; i < 6; i++) {
        assert_true(dsv4_tensor_get(&transposed, i) == expected[i]);
    }
}

static void shape_text(void **state)
{
    (void)state;
    char text[64], small[6];
    dsv4_tensor t = dsv4_tensor_make(DSV4_I8, 0, NULL, NULL);
    assert_string_equal(dsv4_tensor_shape_text(&t, text, sizeof text), "[]");
    t = dsv4_tensor_make(DSV4_I8, 2, (const int64_t[]){8, 256}, NULL);
    assert_string_equal(dsv4_tensor_shape_text(&t, text, sizeof text), "[8, 256]");
    assert_string_equal(dsv4_tensor_shape_text(&t, small, sizeof small), "[8, 2");
}

static void list_keeps_order_and_finds(void **state)
{
    (void)state;
    enum { N = 1000 };
    dsv4_tensor_list list = {0};
    dsv4_error err = {0};
    static int32_t data[N];
    char name[32];
    assert_null(dsv4_tensor_list_find(&list, "t0"));
    for (int i = 0; i < N; i++) {
        const dsv4_tensor t = dsv4_tensor_make(DSV4_I32, 0, NULL, &data[i]);
        snprintf(name, sizeof name, "t%d", i);
        assert_int_equal(dsv4_tensor_list_put(&list, name, &t, &err), DSV4_OK);
    }
    assert_int_equal(list.n, N);
    assert_string_equal(list.items[17].name, "t17");
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof name, "t%d", i);
        dsv4_tensor *t = dsv4_tensor_list_find(&list, name);
        assert_non_null(t);
        assert_ptr_equal(t->data, &data[i]);
    }
    assert_null(dsv4_tensor_list_find(&list, "t1000"));
    assert_null(dsv4_tensor_list_find(&list, ""));
    dsv4_tensor_list_deinit(&list);
    assert_int_equal(list.n, 0);
    assert_null(dsv4_tensor_list_find(&list, "t0"));
}

static void list_refuses_names(void **state)
{
    (void)state;
    dsv4_tensor_list list = {0};
    dsv4_error err = {0};
    int32_t value = 0;
    const dsv4_tensor t = dsv4_tensor_make(DSV4_I32, 0, NULL, &value);
    char name[DSV4_NAME_BYTES + 1];
    memset(name, 'x', sizeof name);
    name[DSV4_NAME_BYTES] = '\0';
    assert_int_equal(dsv4_tensor_list_put(&list, name, &t, &err), DSV4_E_VALUE);
    assert_non_null(strstr(err.text, "128 bytes, at most 127"));
    name[DSV4_NAME_BYTES - 1] = '\0';
    assert_int_equal(dsv4_tensor_list_put(&list, name, &t, &err), DSV4_OK);
    assert_int_equal(dsv4_tensor_list_put(&list, name, &t, &err), DSV4_E_VALUE);
    assert_non_null(strstr(err.text, "already in the list"));
    assert_int_equal(dsv4_tensor_list_put(&list, "", &t, &err), DSV4_E_VALUE);
    assert_non_null(strstr(err.text, "empty name"));
    assert_int_equal(dsv4_tensor_list_alloc(&list, name, DSV4_I32, 0, NULL, NULL, &err), DSV4_E_VALUE);
    assert_int_equal(list.n, 1);
    dsv4_tensor_list_deinit(&list);
}

static void list_allocates_zeroed_and_aligned(void **state)
{
    (void)state;
    dsv4_tensor_list list = {0};
    dsv4_error err = {0};
    dsv4_tensor t;
    assert_int_equal(dsv4_tensor_list_alloc(&list, "x", DSV4_BF16, 2, (const int64_t[]){3, 37}, &t, &err), DSV4_OK);
    assert_int_equal((uintptr_t)t.data % 64, 0);
    for (int64_t i = 0; i < 3 * 37; i++) {
        assert_int_equal(((const uint16_t *)t.data)[i], 0);
    }
    ((uint16_t *)t.data)[110] = 0x3f80;
    assert_int_equal(dsv4_tensor_list_alloc(&list, "empty", DSV4_F32, 2, (const int64_t[]){0, 5}, NULL, &err), DSV4_OK);
    assert_true(dsv4_tensor_get(dsv4_tensor_list_find(&list, "x"), 110) == 1);
    assert_int_equal(dsv4_tensor_bytes(dsv4_tensor_list_find(&list, "empty")), 0);
    dsv4_tensor_list_deinit(&list);
}

static void list_refuses_shapes(void **state)
{
    (void)state;
    static const struct {
        int n_dims;
        int64_t shape[DSV4_MAX_DIMS + 1];
    } cases[] = {
        {1, {-1}},
        {2, {3, INT64_MIN}},
        {1, {INT64_MAX}},                                      /* times four bytes */
        {2, {(int64_t)1 << 32, (int64_t)1 << 31}},             /* 2^63 elements */
        {3, {0, (int64_t)1 << 40, (int64_t)1 << 40}},          /* no elements, but a stride of 2^80 */
        {6, {1 << 16, 1 << 16, 1 << 16, 1 << 16, 1 << 16, 1}}, /* wraps to 0 */
        {DSV4_MAX_DIMS + 1, {1, 1, 1, 1, 1, 1, 1}},
        {-1, {0}},
    };
    dsv4_tensor_list list = {0};
    dsv4_error err = {0};
    dsv4_tensor untouched = {.n_dims = 99};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        assert_int_equal(dsv4_tensor_list_alloc(&list, "big", DSV4_F32, cases[c].n_dims, cases[c].shape, &untouched, &err),
                         DSV4_E_SHAPE);
        assert_non_null(strstr(err.text, "'big'"));
    }
    assert_int_equal(untouched.n_dims, 99);
    assert_int_equal(list.n, 0);
    dsv4_tensor_list_deinit(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dtype_table),
        cmocka_unit_test(make_lays_out_row_major),
        cmocka_unit_test(scalar_has_one_element),
        cmocka_unit_test(contiguity),
        cmocka_unit_test(get_widens_every_dtype),
        cmocka_unit_test(get_follows_strides),
        cmocka_unit_test(shape_text),
        cmocka_unit_test(list_keeps_order_and_finds),
        cmocka_unit_test(list_refuses_names),
        cmocka_unit_test(list_allocates_zeroed_and_aligned),
        cmocka_unit_test(list_refuses_shapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
