/* The qkv_proj_rope reference at dimensions that divide nothing: real arithmetic, and what must not change the result. */
#include "golden/support.h"

#include <math.h>

/* More tokens and columns than one block of the reference holds, and tails in both. */
enum { T = 19, D = 100, QL = 72, H = 3, HD = 300, R = 6 };

static const char *const outputs[] = {"q", "kv", "qr", "qr_scale"};

static dsv4_config odd_config(void)
{
    dsv4_config config = preset("tiny");
    config.hidden_size = D;
    config.q_lora_rank = QL;
    config.num_attention_heads = H;
    config.head_dim = HD;
    config.qk_rope_head_dim = R;
    return config;
}

typedef struct fixture {
    dsv4_config config;
    dsv4_tensor_list in, out;
} fixture;

static int set_up(void **state)
{
    static fixture f;
    f = (fixture){.config = odd_config()};
    add_uniform(&f.in, "x", DSV4_BF16, 2, (int64_t[]){T, D}, -1.0, 1.0);
    add_uniform(&f.in, "wq_a", DSV4_BF16, 2, (int64_t[]){D, QL}, -0.1, 0.1);
    add_uniform(&f.in, "wq_b", DSV4_I8, 2, (int64_t[]){QL, H * HD}, -128.0, 128.0);
    add_uniform(&f.in, "wq_b_scale", DSV4_F32, 1, (int64_t[]){H * HD}, 5e-4, 1e-3);
    add_uniform(&f.in, "wkv", DSV4_BF16, 2, (int64_t[]){D, HD}, -0.1, 0.1);
    add_uniform(&f.in, "rope_cos", DSV4_BF16, 2, (int64_t[]){T, R}, -1.0, 1.0);
    add_uniform(&f.in, "rope_sin", DSV4_BF16, 2, (int64_t[]){T, R}, -1.0, 1.0);
    add_uniform(&f.in, "gamma_cq", DSV4_BF16, 1, (int64_t[]){QL}, -1.0, 1.0);
    add_uniform(&f.in, "gamma_ckv", DSV4_BF16, 1, (int64_t[]){HD}, -1.0, 1.0);
    run_golden("qkv_proj_rope", &f.config, &f.in, &f.out);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    dsv4_tensor_list_deinit(&f->out);
    dsv4_tensor_list_deinit(&f->in);
    return 0;
}

static void fill_bf16(const dsv4_tensor_list *list, const char *name, float value)
{
    const dsv4_tensor t = get_tensor(list, name);
    for (int64_t i = 0; i < dsv4_tensor_count(&t); i++) {
        ((uint16_t *)t.data)[i] = num_bf16_from_f32(value);
    }
}

static void normalise(double *v, int n)
{
    double sum = 0.0;
    for (int i = 0; i < n; i++) {
        sum += v[i] * v[i];
    }
    for (int i = 0; i < n; i++) {
        v[i] /= sqrt(sum / n + 1e-6);
    }
}

static void multiply_by(double *v, int n, const dsv4_tensor *gamma)
{
    for (int i = 0; i < n; i++) {
        v[i] *= dsv4_tensor_get(gamma, i);
    }
}

static void rotate(double *head, int t, const fixture *f)
{
    const dsv4_tensor cosines = get_tensor(&f->in, "rope_cos"), sines = get_tensor(&f->in, "rope_sin");
    for (int j = 0; j < R / 2; j++) {
        double *pair = head + HD - R + 2 * j;
        const double c = dsv4_tensor_get(&cosines, t * R + j), s = dsv4_tensor_get(&sines, t * R + j), x0 = pair[0];
        pair[0] = x0 * c - pair[1] * s;
        pair[1] = x0 * s + pair[1] * c;
    }
}

/* v[n] = row t of a times b[:, column .. column + n). */
static void project(const dsv4_tensor *a, int t, const dsv4_tensor *b, int column, double *v, int n)
{
    const int k = (int)a->shape[1], width = (int)b->shape[1];
    for (int c = 0; c < n; c++) {
        v[c] = 0.0;
        for (int i = 0; i < k; i++) {
            v[c] += dsv4_tensor_get(a, t * k + i) * dsv4_tensor_get(b, i * width + column + c);
        }
    }
}

/* One BF16 rounding away, or the FP32 rounding of terms up to 4 that cancel. */
static void assert_rows_near(const dsv4_tensor *actual, int64_t first, const double *exact, int n)
{
    for (int i = 0; i < n; i++) {
        assert_near(dsv4_tensor_get(actual, first + i), exact[i], fabs(exact[i]) / 255.0 + 1e-5);
    }
}

static void test_kv_against_real_arithmetic(void **state)
{
    const fixture *f = *state;
    const dsv4_tensor x = get_tensor(&f->in, "x"), wkv = get_tensor(&f->in, "wkv"), gamma = get_tensor(&f->in, "gamma_ckv");
    const dsv4_tensor kv = get_tensor(&f->out, "kv");
    for (int t = 0; t < T; t++) {
        double v[HD];
        project(&x, t, &wkv, 0, v, HD);
        normalise(v, HD);
        multiply_by(v, HD, &gamma);
        rotate(v, t, f);
        assert_rows_near(&kv, t * HD, v, HD);
    }
}

/* Each qr is within half a step of the real value, and the largest of a row is 127. */
static void test_qr_against_real_arithmetic(void **state)
{
    const fixture *f = *state;
    const dsv4_tensor x = get_tensor(&f->in, "x"), wq_a = get_tensor(&f->in, "wq_a"), gamma = get_tensor(&f->in, "gamma_cq");
    const dsv4_tensor qr = get_tensor(&f->out, "qr"), qr_scale = get_tensor(&f->out, "qr_scale");
    for (int t = 0; t < T; t++) {
        double a[QL], largest = 0.0;
        project(&x, t, &wq_a, 0, a, QL);
        normalise(a, QL);
        multiply_by(a, QL, &gamma);
        for (int i = 0; i < QL; i++) {
            largest = fmax(largest, fabs(a[i]));
        }
        const double scale = dsv4_tensor_get(&qr_scale, t);
        assert_near(scale, largest / 127.0, 1e-5 * largest / 127.0);
        for (int i = 0; i < QL; i++) {
            assert_near(dsv4_tensor_get(&qr, t * QL + i), a[i] / scale, 0.501);
            assert_true(fabs(a[i]) < largest || fabs(dsv4_tensor_get(&qr, t * QL + i)) == 127.0);
        }
    }
}

static void test_q_against_real_arithmetic(void **state)
{
    const fixture *f = *state;
    const dsv4_tensor qr = get_tensor(&f->out, "qr"), qr_scale = get_tensor(&f->out, "qr_scale"), q = get_tensor(&f->out, "q");
    const dsv4_tensor wq_b = get_tensor(&f->in, "wq_b"), wq_b_scale = get_tensor(&f->in, "wq_b_scale");
    for (int t = 0; t < T; t++) {
        for (int h = 0; h < H; h++) {
            double v[HD];
            project(&qr, t, &wq_b, h * HD, v, HD);
            for (int d = 0; d < HD; d++) {
                v[d] *= dsv4_tensor_get(&qr_scale, t) * dsv4_tensor_get(&wq_b_scale, h * HD + d);
            }
            normalise(v, HD);
            rotate(v, t, f);
            assert_rows_near(&q, (t * H + h) * HD, v, HD);
        }
    }
}

static void test_a_token_alone_has_the_same_bits(void **state)
{
    const fixture *f = *state;
    for (int t = 0; t < T; t++) {
        dsv4_tensor_list in = {0}, out = {0};
        for (size_t i = 0; i < f->in.n; i++) {
            const dsv4_tensor whole = f->in.items[i].tensor;
            const dsv4_tensor row = rows_of(&whole, t, 1);
            put_tensor(&in, f->in.items[i].name, whole.shape[0] == T ? &row : &whole);
        }
        run_golden("qkv_proj_rope", &f->config, &in, &out);
        for (size_t i = 0; i < 4; i++) {
            const dsv4_tensor all = get_tensor(&f->out, outputs[i]), one = get_tensor(&out, outputs[i]), row = rows_of(&all, t, 1);
            assert_int_equal(count_bit_mismatches(&one, &row), 0);
        }
        dsv4_tensor_list_deinit(&out);
        dsv4_tensor_list_deinit(&in);
    }
}

/* Exchanging two heads of wq_b and its scales exchanges the heads of q and nothing else. */
static void test_heads_are_independent(void **state)
{
    const fixture *f = *state;
    dsv4_tensor_list out = {0};
    const dsv4_tensor before = get_tensor(&f->out, "q");
    int8_t *w = get_tensor(&f->in, "wq_b").data;
    float *scales = get_tensor(&f->in, "wq_b_scale").data;
    for (int d = 0; d < HD; d++) {
        const float scale = scales[d];
        scales[d] = scales[2 * HD + d];
        scales[2 * HD + d] = scale;
        for (int k = 0; k < QL; k++) {
            const int8_t value = w[k * H * HD + d];
            w[k * H * HD + d] = w[k * H * HD + 2 * HD + d];
            w[k * H * HD + 2 * HD + d] = value;
        }
    }
    run_golden("qkv_proj_rope", &f->config, &f->in, &out);
    const uint16_t *old_q = before.data, *new_q = get_tensor(&out, "q").data;
    for (int t = 0; t < T; t++) {
        for (int h = 0; h < H; h++) {
            assert_memory_equal(new_q + (t * H + h) * HD, old_q + (t * H + (2 - h)) * HD, HD * sizeof *new_q);
        }
    }
    assert_same_bits(&f->out, &out, "kv");
    assert_same_bits(&f->out, &out, "qr");
    dsv4_tensor_list_deinit(&out);
}

/* With cos 1 and sin 0 every head is what the norm left: mean square 1 in q. A quarter turn from there maps each pair (a, b) to
 * (-b, a) and leaves the other elements alone. */
static void test_quarter_turn(void **state)
{
    const fixture *f = *state;
    dsv4_tensor_list still = {0}, turned = {0};
    fill_bf16(&f->in, "rope_cos", 1.0f);
    fill_bf16(&f->in, "rope_sin", 0.0f);
    run_golden("qkv_proj_rope", &f->config, &f->in, &still);
    fill_bf16(&f->in, "rope_cos", 0.0f);
    fill_bf16(&f->in, "rope_sin", 1.0f);
    run_golden("qkv_proj_rope", &f->config, &f->in, &turned);

    const dsv4_tensor a = get_tensor(&still, "q"), b = get_tensor(&turned, "q");
    for (int64_t head = 0; head < T * H; head++) {
        double sum = 0.0;
        for (int64_t d = 0; d < HD; d++) {
            sum += pow(dsv4_tensor_get(&a, head * HD + d), 2.0);
        }
        assert_near(sum / HD, 1.0, 1e-3);
        for (int64_t d = 0; d < HD - R; d++) {
            assert_true(dsv4_tensor_get(&a, head * HD + d) == dsv4_tensor_get(&b, head * HD + d));
        }
        for (int64_t i = head * HD + HD - R; i < (head + 1) * HD; i += 2) {
            assert_true(dsv4_tensor_get(&b, i) == -dsv4_tensor_get(&a, i + 1));
            assert_true(dsv4_tensor_get(&b, i + 1) == dsv4_tensor_get(&a, i));
        }
    }
    dsv4_tensor_list_deinit(&turned);
    dsv4_tensor_list_deinit(&still);
}

static void test_second_half_of_a_rope_row_is_not_read(void **state)
{
    const fixture *f = *state;
    dsv4_tensor_list out = {0};
    uint16_t *cosines = get_tensor(&f->in, "rope_cos").data, *sines = get_tensor(&f->in, "rope_sin").data;
    for (int t = 0; t < T; t++) {
        for (int j = R / 2; j < R; j++) {
            cosines[t * R + j] = sines[t * R + j] = 0x7fc0; /* NaN */
        }
    }
    run_golden("qkv_proj_rope", &f->config, &f->in, &out);
    for (size_t i = 0; i < 4; i++) {
        assert_same_bits(&f->out, &out, outputs[i]);
    }
    dsv4_tensor_list_deinit(&out);
}

/* Both projections are normalised, so without eps a power of two in x leaves no trace. */
static void test_doubling_x_changes_nothing(void **state)
{
    fixture *f = *state;
    dsv4_tensor_list once = {0}, twice = {0};
    f->config.rms_norm_eps = 0.0;
    run_golden("qkv_proj_rope", &f->config, &f->in, &once);
    uint16_t *x = get_tensor(&f->in, "x").data;
    for (int i = 0; i < T * D; i++) {
        x[i] = num_bf16_from_f32(2.0f * num_f32_from_bf16(x[i]));
    }
    run_golden("qkv_proj_rope", &f->config, &f->in, &twice);
    for (size_t i = 0; i < 4; i++) {
        assert_same_bits(&once, &twice, outputs[i]);
    }
    dsv4_tensor_list_deinit(&twice);
    dsv4_tensor_list_deinit(&once);
}

static void test_zero_token(void **state)
{
    const fixture *f = *state;
    dsv4_tensor_list out = {0};
    fill_bf16(&f->in, "x", 0.0f);
    run_golden("qkv_proj_rope", &f->config, &f->in, &out);
    for (size_t i = 0; i < 4; i++) {
        const dsv4_tensor t = get_tensor(&out, outputs[i]);
        for (int64_t e = 0; e < dsv4_tensor_count(&t); e++) {
            assert_near(dsv4_tensor_get(&t, e), i == 3 ? 1e-4 / 127.0 : 0.0, i == 3 ? 1e-12 : 0.0);
        }
    }
    dsv4_tensor_list_deinit(&out);
}

/* An x that overflows FP32 inside the norm still gives definite INT8 values. */
static void test_overflow_is_defined(void **state)
{
    const fixture *f = *state;
    dsv4_tensor_list out = {0};
    fill_bf16(&f->in, "x", 3e38f);
    run_golden("qkv_proj_rope", &f->config, &f->in, &out);
    const dsv4_tensor qr = get_tensor(&out, "qr");
    for (int64_t i = 0; i < dsv4_tensor_count(&qr); i++) {
        assert_true(dsv4_tensor_get(&qr, i) == 0.0);
    }
    dsv4_tensor_list_deinit(&out);
}

#define QKV_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        QKV_TEST(test_kv_against_real_arithmetic),
        QKV_TEST(test_qr_against_real_arithmetic),
        QKV_TEST(test_q_against_real_arithmetic),
        QKV_TEST(test_a_token_alone_has_the_same_bits),
        QKV_TEST(test_heads_are_independent),
        QKV_TEST(test_quarter_turn),
        QKV_TEST(test_second_half_of_a_rope_row_is_not_read),
        QKV_TEST(test_doubling_x_changes_nothing),
        QKV_TEST(test_zero_token),
        QKV_TEST(test_overflow_is_defined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
