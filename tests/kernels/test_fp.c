/* FP4 and FP8 weights from the layout of checkpoints: packed ones element by element, and products of every row of the table
 * against sums in double. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "kernels/guarded.h"
#include "kernels/kernels.h"
#include "kernels/pack_fp.h"
#include "kernels/values.h"

enum { CAPACITY = 256 * 1024, MAX_ROWS = 33 };

static guarded weight_memory, scale_memory, packed_memory, acts_memory;

static int create_memory(void **state)
{
    (void)state;
    weight_memory = guarded_create(CAPACITY);
    scale_memory = guarded_create(CAPACITY);
    packed_memory = guarded_create(CAPACITY);
    acts_memory = guarded_create(CAPACITY);
    return 0;
}

static int destroy_memory(void **state)
{
    (void)state;
    guarded_destroy(&weight_memory);
    guarded_destroy(&scale_memory);
    guarded_destroy(&packed_memory);
    guarded_destroy(&acts_memory);
    return 0;
}

/* The formats as SPEC 9.1 writes them. */
static double e2m1(int code)
{
    static const double sizes[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
    return code & 8 ? -sizes[code & 7] : sizes[code & 7];
}

static double e4m3(int byte)
{
    int exponent = byte >> 3 & 15, mantissa = byte & 7;
    double size = exponent == 0 ? ldexp(mantissa, -9) : ldexp(8 + mantissa, exponent - 10);
    size = (byte & 0x7f) == 0x7f ? NAN : size;
    return byte & 0x80 ? -size : size;
}

static double e8m0(int byte)
{
    return byte == 255 ? NAN : ldexp(1.0, byte - 127);
}

/* A matrix [n][k] as a checkpoint has it. */
typedef struct checkpoint {
    int64_t k, n;
    uint8_t *w, *scales;
} checkpoint;

static double weight_fp4(const checkpoint *m, int64_t k, int64_t n)
{
    int byte = m->w[n * (m->k / 2) + k / 2];
    return e2m1(k % 2 == 0 ? byte & 15 : byte >> 4);
}

static int scale_fp4(const checkpoint *m, int64_t k, int64_t n)
{
    return m->scales[n * (m->k / 32) + k / 32];
}

static int scale_fp8(const checkpoint *m, int64_t k, int64_t n)
{
    return m->scales[n / 128 * ((m->k + 127) / 128) + k / 128];
}

/* Bytes and scales at will; scales lie in [low, low + range). */
static checkpoint draw_checkpoint(int64_t k, int64_t n, size_t bytes, size_t n_scales, int low, int range)
{
    uint64_t random = (uint64_t)(k * 1000 + n);
    uint8_t *w = guarded_place(&weight_memory, bytes, 0), *scales = guarded_place(&scale_memory, n_scales, 0);
    for (size_t i = 0; i < bytes; i++) {
        w[i] = (uint8_t)draw_u64(&random);
    }
    for (size_t i = 0; i < n_scales; i++) {
        scales[i] = (uint8_t)(low + (int)(draw_u64(&random) % (uint64_t)range));
    }
    return (checkpoint){k, n, w, scales};
}

static checkpoint draw_fp4(int64_t k, int64_t n, int low, int range)
{
    return draw_checkpoint(k, n, (size_t)(n * k / 2), (size_t)(n * k / 32), low, range);
}

static checkpoint draw_fp8(int64_t k, int64_t n, int low, int range)
{
    return draw_checkpoint(k, n, (size_t)(n * k), (size_t)((n + 127) / 128 * ((k + 127) / 128)), low, range);
}

/* ---- packing --------------------------------------------------------------------------------------------------------------- */

static void check_pack_fp4(int64_t k, int64_t n)
{
    checkpoint m = draw_fp4(k, n, 0, 256);
    size_t bytes = uk_pack_fp4_bytes(k, n);
    void *memory = guarded_place(&packed_memory, bytes, 0);
    uk_packed p = uk_pack_fp4(m.w, m.scales, k, n, memory);
    assert_int_equal(p.n_panels, (n + 31) / 32);
    assert_ptr_equal(p.panels, memory);
    for (int64_t column = 0; column < 32 * p.n_panels; column++) {
        for (int64_t i = 0; i < (k + 63) / 64 * 64; i++) {
            const uint8_t *block = uk_panel_fp4(&p, column / 32, i);
            int64_t r = i % 64, c = column % 32;
            int byte = block[64 + r / 4 * 64 + 4 * (c % 16) + r % 4], scale = block[32 * (r / 32) + c];
            bool present = i < k && column < n;
            assert_true(e2m1(c < 16 ? byte & 15 : byte >> 4) == (present ? weight_fp4(&m, i, column) : 0.0));
            assert_int_equal(scale, present ? scale_fp4(&m, i, column) : 127);
        }
    }
    assert_true(guarded_is_intact(&packed_memory, memory, bytes));
}

static void fp4_layout_is_as_defined(void **state)
{
    (void)state;
    static const int64_t depths[] = {32, 64, 96, 160, 256}, widths[] = {1, 15, 16, 17, 31, 32, 33, 65, 100};
    for (size_t d = 0; d < sizeof depths / sizeof *depths; d++) {
        for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
            check_pack_fp4(depths[d], widths[w]);
        }
    }
}

static void check_pack_fp8(int64_t k, int64_t n)
{
    checkpoint m = draw_fp8(k, n, 0, 256);
    size_t bytes = uk_pack_fp8_bytes(k, n);
    void *memory = guarded_place(&packed_memory, (bytes + 63) / 64 * 64, 0);
    uk_packed_fp8 p = uk_pack_fp8(m.w, m.scales, k, n, memory);
    assert_int_equal(p.weights.n_panels, (n + 31) / 32);
    assert_int_equal(p.n_chunks, (k + 127) / 128);
    assert_ptr_equal(p.weights.panels, memory);
    for (int64_t column = 0; column < 32 * p.weights.n_panels; column++) {
        for (int64_t i = 0; i < (k + 1) / 2 * 2; i++) {
            const uint8_t *step = uk_panel_fp8(&p, column / 32, i / 2 * 2);
            int64_t c = column % 16;
            bool present = i < k && column < n;
            assert_int_equal(step[16 * (c / 4) + 8 * (column % 32 / 16) + 2 * (c % 4) + i % 2], present ? m.w[column * k + i] : 0);
        }
    }
    for (int64_t column = 0; column < n; column++) {
        for (int64_t i = 0; i < k; i += 128) {
            double want = e8m0(scale_fp8(&m, i, column)), got = (double)*uk_scales_fp8(&p, column / 32, i);
            assert_true(got == want || (isnan(got) && isnan(want)));
        }
    }
    assert_true(guarded_is_intact(&packed_memory, memory, bytes));
}

static void fp8_layout_is_as_defined(void **state)
{
    (void)state;
    static const int64_t depths[] = {1, 2, 3, 64, 127, 128, 129, 300}, widths[] = {1, 4, 5, 16, 17, 32, 33, 128, 129, 160, 300};
    for (size_t d = 0; d < sizeof depths / sizeof *depths; d++) {
        for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
            check_pack_fp8(depths[d], widths[w]);
        }
    }
}

static void sizes_that_cannot_be_packed_take_no_bytes(void **state)
{
    (void)state;
    assert_int_equal(uk_pack_fp4_bytes(96, 33), 2 * 2 * 1088);
    assert_int_equal(uk_pack_fp8_bytes(129, 33), 2 * (130 * 32 + 2 * 4));
    assert_int_equal(uk_pack_fp4_bytes(33, 1), 0);
    assert_int_equal(uk_pack_fp4_bytes(16, 1), 0);
    const int64_t bad[] = {0, -32, INT64_MIN};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(uk_pack_fp4_bytes(bad[i], 1), 0);
        assert_int_equal(uk_pack_fp4_bytes(32, bad[i]), 0);
        assert_int_equal(uk_pack_fp8_bytes(bad[i], 1), 0);
        assert_int_equal(uk_pack_fp8_bytes(1, bad[i]), 0);
    }
    assert_int_equal(uk_pack_fp4_bytes((int64_t)1 << 40, (int64_t)1 << 40), 0);
    assert_int_equal(uk_pack_fp8_bytes((int64_t)1 << 40, (int64_t)1 << 40), 0);
    assert_int_equal(uk_pack_fp8_bytes(INT64_MAX, 1), 0);
}

/* ---- products -------------------------------------------------------------------------------------------------------------- */

/* A relative part of the sum of the sizes of all terms: n_terms roundings. NaN where want is. */
static void expect_near(float got, double want, double sizes, int64_t n_terms)
{
    bool equal = isnan(want) ? isnan(got) : fabs((double)got - want) <= (double)n_terms * 0x1p-24 * sizes;
    if (!equal) {
        fail_msg("%a, expected %a within %lld roundings of %a", (double)got, want, (long long)n_terms, sizes);
    }
}

static uk_acts tile_fp4(const uk_table *uk, int64_t rows, int64_t k, const int8_t *x)
{
    int64_t group_rows = rows < UK_ROWS ? rows : UK_ROWS, bytes = uk_acts_bytes_fp4(group_rows, k);
    char *data = guarded_place(&acts_memory, (size_t)((rows + UK_ROWS - 1) / UK_ROWS * bytes), 0);
    for (int64_t i = 0; i < rows; i += UK_ROWS) {
        uk->tile_fp4(rows - i < UK_ROWS ? rows - i : UK_ROWS, group_rows, k, x + i * k, k, data + i / UK_ROWS * bytes);
    }
    return (uk_acts){data, rows, group_rows, bytes};
}

static uk_acts tile_bf16(const uk_table *uk, int64_t rows, int64_t k, const uint16_t *x)
{
    int64_t group_rows = rows < UK_ROWS ? rows : UK_ROWS, bytes = uk_acts_bytes_bf16(uk, group_rows, k);
    char *data = guarded_place(&acts_memory, (size_t)((rows + UK_ROWS - 1) / UK_ROWS * bytes), 0);
    for (int64_t i = 0; i < rows; i += UK_ROWS) {
        uk->tile_bf16(rows - i < UK_ROWS ? rows - i : UK_ROWS, group_rows, k, x + i * k, k, data + i / UK_ROWS * bytes);
    }
    return (uk_acts){data, rows, group_rows, bytes};
}

static void expect_fp4_products(const uk_table *uk, const checkpoint *m, int64_t rows, const int8_t *x)
{
    static float c[MAX_ROWS * UK_PANEL];
    void *memory = guarded_place(&packed_memory, uk_pack_fp4_bytes(m->k, m->n), 0);
    uk_packed p = uk_pack_fp4(m->w, m->scales, m->k, m->n, memory);
    uk_acts a = tile_fp4(uk, rows, m->k, x);
    for (int64_t n = 0; n < m->n; n++) {
        if (n % UK_PANEL == 0) {
            uk->gemm_fp4(a, (m->k + 63) / 64, uk_panel_fp4(&p, n / UK_PANEL, 0), c, UK_PANEL);
        }
        for (int64_t i = 0; i < rows; i++) {
            double want = 0, sizes = 0;
            for (int64_t k = 0; k < m->k; k++) {
                double term = x[i * m->k + k] * weight_fp4(m, k, n) * e8m0(scale_fp4(m, k, n));
                want += term;
                sizes += fabs(term);
            }
            expect_near(c[i * UK_PANEL + n % UK_PANEL], want, sizes, m->k / 32);
        }
    }
}

static void expect_fp4_bf16_products(const uk_table *uk, const checkpoint *m, int64_t rows, const uint16_t *x)
{
    static float c[MAX_ROWS * UK_PANEL];
    void *memory = guarded_place(&packed_memory, uk_pack_fp4_bytes(m->k, m->n), 0);
    uk_packed p = uk_pack_fp4(m->w, m->scales, m->k, m->n, memory);
    uk_acts a = tile_bf16(uk, rows, m->k, x);
    for (int64_t n = 0; n < m->n; n++) {
        if (n % UK_PANEL == 0) {
            uk->gemm_fp4_bf16(a, m->k, uk_panel_fp4(&p, n / UK_PANEL, 0), c, UK_PANEL);
        }
        for (int64_t i = 0; i < rows; i++) {
            double want = 0, sizes = 0;
            for (int64_t k = 0; k < m->k; k++) {
                double term = (double)num_f32_from_bf16(x[i * m->k + k]) * weight_fp4(m, k, n) * e8m0(scale_fp4(m, k, n));
                want += term;
                sizes += fabs(term);
            }
            expect_near(c[i * UK_PANEL + n % UK_PANEL], want, sizes, 32 + m->k / 32);
        }
    }
}

static void expect_fp8_products(const uk_table *uk, const checkpoint *m, int64_t rows, const uint16_t *x)
{
    static float c[MAX_ROWS * UK_PANEL];
    void *memory = guarded_place(&packed_memory, (uk_pack_fp8_bytes(m->k, m->n) + 63) / 64 * 64, 0);
    uk_packed_fp8 p = uk_pack_fp8(m->w, m->scales, m->k, m->n, memory);
    uk_acts a = tile_bf16(uk, rows, m->k, x);
    for (int64_t n = 0; n < m->n; n++) {
        if (n % UK_PANEL == 0) {
            uk->gemm_fp8(a, m->k, uk_panel_fp8(&p, n / UK_PANEL, 0), uk_scales_fp8(&p, n / UK_PANEL, 0), c, UK_PANEL);
        }
        for (int64_t i = 0; i < rows; i++) {
            double want = 0, sizes = 0;
            for (int64_t k = 0; k < m->k; k++) {
                double value = (double)num_f32_from_bf16(x[i * m->k + k]);
                double term = value * e4m3(m->w[n * m->k + k]) * e8m0(scale_fp8(m, k, n));
                want += term;
                sizes += fabs(term);
            }
            expect_near(c[i * UK_PANEL + n % UK_PANEL], want, sizes, UK_CHUNK + m->k / UK_CHUNK + 1);
        }
    }
}

static void for_each_row(void (*check)(const uk_table *uk))
{
    for (const uk_table *const *row = uk_all(); *row; row++) {
        if (uk_is_supported(*row)) {
            check(*row);
        }
    }
}

static void check_fp4_products(const uk_table *uk)
{
    static const int64_t depths[] = {32, 96, 576}, rows[] = {1, 5, 8, 19};
    static int8_t x[MAX_ROWS * 2112];
    uint64_t random = 3;
    for (size_t i = 0; i < sizeof x; i++) {
        x[i] = draw_i8(&random);
    }
    for (int d = 0; d < 3; d++) {
        for (int r = 0; r < 4; r++) {
            checkpoint m = draw_fp4(depths[d], 37, 110, 30);
            expect_fp4_products(uk, &m, rows[r], x);
        }
    }
    checkpoint m = draw_fp4(2112, 37, 110, 30); /* longer than a slice of many groups */
    expect_fp4_products(uk, &m, MAX_ROWS, x);
}

static void fp4_products_are_those_of_doubles(void **state)
{
    (void)state;
    for_each_row(check_fp4_products);
}

/* One code at one input, every scale: exact, and nothing else within the sum. */
static void check_fp4_codes(const uk_table *uk)
{
    int8_t x[32];
    memset(x, -128, sizeof x);
    for (int scale = 0; scale < 256; scale++) {
        checkpoint m = draw_fp4(32, 16, scale, 1);
        memset(m.w, 0, 16 * 16);
        for (int code = 0; code < 16; code++) {
            int input = (code + scale) % 32;
            m.w[code * 16 + input / 2] = (uint8_t)(input % 2 ? code << 4 : code);
        }
        float c[UK_PANEL];
        void *memory = guarded_place(&packed_memory, uk_pack_fp4_bytes(m.k, m.n), 0);
        uk_packed p = uk_pack_fp4(m.w, m.scales, m.k, m.n, memory);
        uk->gemm_fp4(tile_fp4(uk, 1, 32, x), 1, uk_panel_fp4(&p, 0, 0), c, UK_PANEL);
        for (int code = 0; code < 16; code++) {
            float want = (float)(-128 * e2m1(code) * e8m0(scale)); /* infinite where FP32 ends */
            assert_true(c[code] == want || (isnan(c[code]) && isnan(want)));
        }
    }
}

static void every_fp4_code_and_scale_is_exact(void **state)
{
    (void)state;
    for_each_row(check_fp4_codes);
}

/* The longest sums there are: INT16 steps of a row must not saturate. */
static void check_fp4_extremes(const uk_table *uk)
{
    static const uint8_t bytes[] = {0x77, 0xff, 0x7f, 0xf7};
    for (int w = 0; w < 4; w++) {
        for (int v = 0; v < 2; v++) {
            int8_t x[2 * 64];
            memset(x, v ? 127 : -128, sizeof x);
            checkpoint m = draw_fp4(64, 32, 127, 1);
            memset(m.w, bytes[w], 32 * 32);
            expect_fp4_products(uk, &m, 2, x);
        }
    }
}

static void fp4_sums_of_extremes_are_exact(void **state)
{
    (void)state;
    for_each_row(check_fp4_extremes);
}

static void check_fp4_bf16_products(const uk_table *uk)
{
    static const int64_t depths[] = {32, 96, 320}, rows[] = {1, 2, 3, 4, 5, 8, 19};
    static uint16_t x[MAX_ROWS * 320];
    uint64_t random = 5;
    for (size_t i = 0; i < sizeof x / sizeof *x; i++) {
        x[i] = draw_bf16(&random, ORDINARY);
    }
    for (int d = 0; d < 3; d++) {
        for (int r = 0; r < 7; r++) {
            checkpoint m = draw_fp4(depths[d], 37, 110, 30);
            expect_fp4_bf16_products(uk, &m, rows[r], x);
        }
    }
}

static void fp4_bf16_products_are_those_of_doubles(void **state)
{
    (void)state;
    for_each_row(check_fp4_bf16_products);
}

/* One code at one input, every scale. Scales of 2^-127 and products below 2^-126 are zeros. */
static void check_fp4_bf16_codes(const uk_table *uk)
{
    uint16_t x[32];
    for (int i = 0; i < 32; i++) {
        x[i] = 0xbf80; /* -1 */
    }
    for (int scale = 0; scale < 256; scale++) {
        checkpoint m = draw_fp4(32, 32, scale, 1);
        memset(m.w, 0, 32 * 16);
        for (int n = 0; n < 32; n++) {
            int input = (n + scale) % 32, code = n % 16;
            m.w[n * 16 + input / 2] = (uint8_t)(input % 2 ? code << 4 : code);
        }
        float c[UK_PANEL];
        void *memory = guarded_place(&packed_memory, uk_pack_fp4_bytes(m.k, m.n), 0);
        uk_packed p = uk_pack_fp4(m.w, m.scales, m.k, m.n, memory);
        uk->gemm_fp4_bf16(tile_bf16(uk, 1, 32, x), 32, uk_panel_fp4(&p, 0, 0), c, UK_PANEL);
        for (int n = 0; n < 32; n++) {
            double exact = scale == 0 ? 0.0 : -e2m1(n % 16) * e8m0(scale);
            float want = fabs(exact) < 0x1p-126 ? 0.0f : (float)exact;
            assert_true(c[n] == want || (isnan(c[n]) && isnan(want)));
        }
    }
}

static void every_fp4_bf16_code_and_scale_is_exact(void **state)
{
    (void)state;
    for_each_row(check_fp4_bf16_codes);
}

static void check_fp8_products(const uk_table *uk)
{
    static const int64_t depths[] = {1, 127, 128, 300}, rows[] = {1, 5, 8, 19};
    uint16_t x[MAX_ROWS * 300];
    uint64_t random = 4;
    for (size_t i = 0; i < sizeof x / sizeof *x; i++) {
        x[i] = draw_bf16(&random, ORDINARY);
    }
    for (int d = 0; d < 4; d++) {
        for (int r = 0; r < 4; r++) {
            checkpoint m = draw_fp8(depths[d], 165, 110, 30);
            for (int64_t i = 0; i < m.n * m.k; i++) {
                m.w[i] = (m.w[i] & 0x7f) == 0x7f ? 0 : m.w[i];
            }
            expect_fp8_products(uk, &m, rows[r], x);
        }
    }
}

static void fp8_products_are_those_of_doubles(void **state)
{
    (void)state;
    for_each_row(check_fp8_products);
}

/* The flushed product of an activation of 1, a weight and a scale. */
static float single_product_fp8(int code, int scale)
{
    double want = e8m0(scale) < (double)0x1p-126f ? 0.0 * e4m3(code) : e4m3(code) * e8m0(scale);
    return fabs(want) < 0x1p-126 ? 0.0f : (float)want;
}

/* Every code in each column of two panels, at one input; every scale. Scales of 2^-127 and products below 2^-126 are zeros. */
static void check_fp8_codes(const uk_table *uk)
{
    uint16_t x[4] = {0x3f80, 0x3f80, 0x3f80, 0x3f80};
    for (int scale = 0; scale < 256; scale++) {
        checkpoint m = draw_fp8(4, 256, scale, 1);
        memset(m.w, 0, 4 * 256);
        for (int code = 0; code < 256; code++) {
            m.w[code * 4 + (code + scale) % 4] = (uint8_t)code;
        }
        void *memory = guarded_place(&packed_memory, (uk_pack_fp8_bytes(m.k, m.n) + 63) / 64 * 64, 0);
        uk_packed_fp8 p = uk_pack_fp8(m.w, m.scales, m.k, m.n, memory);
        uk_acts a = tile_bf16(uk, 1, 4, x);
        for (int code = 0; code < 256; code += UK_PANEL) {
            float c[UK_PANEL];
            uk->gemm_fp8(a, 4, uk_panel_fp8(&p, code / UK_PANEL, 0), uk_scales_fp8(&p, code / UK_PANEL, 0), c, UK_PANEL);
            for (int j = 0; j < UK_PANEL; j++) {
                float want = single_product_fp8(code + j, scale);
                assert_true(c[j] == want || (isnan(c[j]) && isnan(want)));
            }
        }
    }
}

static void every_fp8_code_and_scale_is_exact(void **state)
{
    (void)state;
    for_each_row(check_fp8_codes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fp4_layout_is_as_defined),
        cmocka_unit_test(fp8_layout_is_as_defined),
        cmocka_unit_test(sizes_that_cannot_be_packed_take_no_bytes),
        cmocka_unit_test(fp4_products_are_those_of_doubles),
        cmocka_unit_test(every_fp4_code_and_scale_is_exact),
        cmocka_unit_test(fp4_sums_of_extremes_are_exact),
        cmocka_unit_test(fp4_bf16_products_are_those_of_doubles),
        cmocka_unit_test(every_fp4_bf16_code_and_scale_is_exact),
        cmocka_unit_test(fp8_products_are_those_of_doubles),
        cmocka_unit_test(every_fp8_code_and_scale_is_exact),
    };
    return cmocka_run_group_tests_name("kernels.fp", tests, create_memory, destroy_memory);
}
