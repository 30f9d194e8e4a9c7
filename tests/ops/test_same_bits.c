/* An output depends on the inputs and on nothing else: not on threads, dependencies, the order of ready blocks, mode,
 * instruction set, tiles, nor on the other rows of the call. Every run here has the bits of one reference run. */
#include "ops/support.h"

#include <math.h>
#include <stdio.h>

#include "base/numbers.h"
#include "base/rng.h"

enum {
    N_ORDERS = SANITIZED ? 4 : 100,
    N_TILINGS = SANITIZED ? 3 : 60,
    FLASH_T = SANITIZED ? 13 : 129,
    MAX_THREADS = 8,
};

static const int thread_counts[] = {1, 2, 3, MAX_THREADS};
static const dsv4_deps all_deps[] = {DSV4_DEPS_BLOCK, DSV4_DEPS_STAGE, DSV4_DEPS_TENSOR};

static dsv4_pool *pools[MAX_THREADS + 1]; /* by number of threads */

/* Inputs of one operator and what they must give. */
typedef struct expectation {
    const dsv4_op *op;
    dsv4_config config;
    dsv4_tensor_list in;
    sealed reference;
} expectation;

static expectation flash; /* qkv_proj_rope, FLASH_T tokens */

static expectation expect(const char *op, dsv4_config config, int64_t T)
{
    expectation e = {.op = find_op(op), .config = config};
    e.in = draw_inputs(e.op, &config, T, 4);
    e.reference = run_rows(e.op, &config, &e.in, 0, 0, (dsv4_op_options){.mode = DSV4_PREFILL}, pools[1]);
    return e;
}

static void expectation_deinit(expectation *e)
{
    sealed_deinit(&e->reference);
    dsv4_tensor_list_deinit(&e->in);
}

static int set_up(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof thread_counts / sizeof *thread_counts; i++) {
        pools[thread_counts[i]] = make_pool(thread_counts[i]);
    }
    flash = expect("qkv_proj_rope", preset("flash"), FLASH_T);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    expectation_deinit(&flash);
    for (int n = 1; n <= MAX_THREADS; n++) {
        dsv4_pool_destroy(pools[n]);
    }
    return 0;
}

/* Tokens [t0, t0 + T) alone, as they are in the reference run. */
static void check_rows(const expectation *e, int64_t t0, int64_t T, dsv4_op_options options, dsv4_pool *pool)
{
    char what[96];
    sealed s = run_rows(e->op, &e->config, &e->in, t0, T, options, pool);
    snprintf(what, sizeof what, "tokens %lld to %lld, mode %d", (long long)t0, (long long)(t0 + T - 1), options.mode);
    assert_same_rows(&s, &e->reference, t0, what);
    sealed_deinit(&s);
}

/* ---- threads, dependencies, order --------------------------------------------------------------------------------------- */

static void check_threads(const expectation *e, dsv4_op_options options, dsv4_deps deps)
{
    sealed s = seal_rows(e->op, &e->config, &e->in, 0, 0, options, deps);
    for (size_t i = 0; i < sizeof thread_counts / sizeof *thread_counts; i++) {
        char what[64];
        run_sealed(&s, pools[thread_counts[i]]);
        snprintf(what, sizeof what, "%d threads, deps %d, mode %d", thread_counts[i], deps, options.mode);
        assert_same_rows(&s, &e->reference, 0, what);
    }
    sealed_deinit(&s);
}

static void test_threads_and_deps(void **state)
{
    expectation tiny = expect("qkv_proj_rope", preset("tiny"), 37), rms = expect("rmsnorm", preset("flash"), 37);
    (void)state;
    for (int d = 0; d < 3; d++) {
        for (int mode = DSV4_DECODE; mode <= DSV4_PREFILL; mode++) {
            check_threads(&tiny, (dsv4_op_options){.mode = (dsv4_mode)mode}, all_deps[d]);
            check_threads(&rms, (dsv4_op_options){.mode = (dsv4_mode)mode}, all_deps[d]);
        }
    }
    expectation_deinit(&tiny);
    expectation_deinit(&rms);
}

static void test_threads_and_deps_flash(void **state)
{
    (void)state;
    for (int d = 0; d < 3; d++) {
        check_threads(&flash, (dsv4_op_options){.mode = d == 0 ? DSV4_DECODE : DSV4_PREFILL}, all_deps[d]);
    }
}

/* Replays of one sealed graph, its ready blocks drawn in a new order each time. */
static void check_orders(const expectation *e, int64_t T, dsv4_op_options options, int n_threads)
{
    dsv4_exec *exec;
    dsv4_error err = {0};
    sealed s = seal_rows(e->op, &e->config, &e->in, 0, T, options, DSV4_DEPS_BLOCK);
    require_ok(dsv4_exec_create(s.graph, pools[n_threads], 0, &exec, &err), &err);
    for (uint64_t order = 1; order <= N_ORDERS; order++) {
        char what[64];
        spoil_outputs(&s);
        assert_int_equal(dsv4_exec_run(exec, order, NULL), DSV4_OK);
        snprintf(what, sizeof what, "%d threads, random order %d", n_threads, (int)order);
        assert_same_rows(&s, &e->reference, 0, what);
    }
    dsv4_exec_destroy(exec);
    sealed_deinit(&s);
}

static void test_random_orders(void **state)
{
    expectation tiny = expect("qkv_proj_rope", preset("tiny"), 37), rms = expect("rmsnorm", preset("pro"), 13),
                rope = expect("rope_tables", preset("flash"), 1000);
    (void)state;
    for (size_t i = 0; i < sizeof thread_counts / sizeof *thread_counts; i++) {
        check_orders(&tiny, 0, (dsv4_op_options){.mode = DSV4_PREFILL}, thread_counts[i]);
        check_orders(&rms, 0, (dsv4_op_options){.mode = DSV4_DECODE}, thread_counts[i]);
    }
    check_orders(&rope, 0, (dsv4_op_options){.mode = DSV4_DECODE}, 3);
    check_orders(&flash, 8, (dsv4_op_options){.mode = DSV4_DECODE}, 3);
    expectation_deinit(&tiny);
    expectation_deinit(&rms);
    expectation_deinit(&rope);
}

/* ---- instruction sets --------------------------------------------------------------------------------------------------- */

static void test_instruction_sets(void **state)
{
    const char *const fine[] = {"t_tile=3", "n_tile=32", "k_split=8", "norm_parts=2", "head_group=1"};
    (void)state;
    if (SANITIZED) { /* kernels.rows shows the accesses of each */
        skip();
    }
    expectation rms = expect("rmsnorm", preset("pro"), 13);
    for (const uk_table *const *uk = uk_all(); *uk != NULL; uk++) {
        if (!uk_is_supported(*uk)) {
            print_message("  skipped: %s, this machine lacks %s\n", (*uk)->isa, uk_missing_feature(*uk));
            continue;
        }
        check_rows(&flash, 0, 13, (dsv4_op_options){.isa = (*uk)->isa}, pools[2]);
        check_rows(&flash, 5, 1, (dsv4_op_options){.isa = (*uk)->isa, .sets = fine, .n_sets = 5}, pools[3]);
        check_rows(&rms, 0, 13, (dsv4_op_options){.isa = (*uk)->isa}, pools[2]);
    }
    expectation_deinit(&rms);
}

/* ---- rows and their company --------------------------------------------------------------------------------------------- */

static void test_rows_do_not_depend_on_their_company(void **state)
{
    (void)state;
    for (int mode = DSV4_DECODE; mode <= DSV4_PREFILL; mode++) {
        const dsv4_op_options options = {.mode = (dsv4_mode)mode};
        check_rows(&flash, 0, 1, options, pools[2]);
        check_rows(&flash, FLASH_T - 1, 1, options, pools[2]);
        check_rows(&flash, FLASH_T / 2, 1, options, pools[2]);
        check_rows(&flash, 7, 3, options, pools[2]);
        check_rows(&flash, FLASH_T - 13, 13, options, pools[2]);
        check_rows(&flash, 1, FLASH_T - 1, options, pools[2]);
    }
}

static void test_rows_of_odd_groups(void **state)
{
    const dsv4_config models[] = {preset("tiny"), model(513, 515, 2, 514, 2), model(1025, 72, 3, 40, 6)};
    (void)state;
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        expectation qkv = expect("qkv_proj_rope", models[m], 129), rms = expect("rmsnorm", models[m], 129);
        for (int64_t t = 0; t < 129; t += 1 + t % 16) {
            for (int64_t T = 1; t + T <= 129 && T <= 40; T += 3) {
                check_rows(&rms, t, T, (dsv4_op_options){.mode = DSV4_DECODE}, pools[2]);
                if (t % 3 == 0 && T % 2 == 0) {
                    check_rows(&qkv, t, T, (dsv4_op_options){.mode = DSV4_PREFILL}, pools[2]);
                }
            }
        }
        expectation_deinit(&qkv);
        expectation_deinit(&rms);
    }
}

/* ---- tiles -------------------------------------------------------------------------------------------------------------- */

/* Settings of every tile of an operator. */
typedef struct tiling {
    char texts[OP_MAX_TILES][64];
    const char *sets[OP_MAX_TILES];
    char line[OP_MAX_TILES * 64];
} tiling;

enum { SMALLEST, LARGEST, AT_RANDOM };

static int64_t dimension(const expectation *e, const char *symbol)
{
    const op_dims dims = op_dims_of_config(&e->config);
    int n_dims = 0;
    int64_t extent[DSV4_MAX_DIMS];
    dsv4_error err = {0};
    require_ok(op_eval_shape(symbol, &dims, &n_dims, extent, &err), &err);
    return extent[0];
}

static int64_t draw_between(rng *random, int64_t lo, int64_t hi)
{
    return lo + (int64_t)rng_below(random, random->stream++, (uint64_t)(hi - lo + 1));
}

/* A legal value of a tile; those of rows and columns reach beyond the extents of the calls here. */
static int64_t tile_value(const expectation *e, const op_tile *tile, int how, rng *random)
{
    int64_t lo = 1, hi = how == LARGEST ? INT32_MAX / tile->multiple_of : 24;
    if (tile->divides != NULL) {
        const int64_t extent = dimension(e, tile->divides);
        int64_t divisor = how == SMALLEST ? 1 : how == LARGEST ? extent : draw_between(random, 1, extent);
        while (extent % divisor != 0) {
            divisor--;
        }
        return divisor;
    }
    if (tile->chunks_of != NULL) {
        hi = (dimension(e, tile->chunks_of) + 511) / 512;
    }
    return tile->multiple_of * (how == SMALLEST ? lo : how == LARGEST ? hi : draw_between(random, lo, hi));
}

static void fill_tiling(const expectation *e, int how, rng *random, tiling *t)
{
    t->line[0] = '\0';
    for (size_t i = 0; i < e->op->n_tiles; i++) {
        const long long value = (long long)tile_value(e, &e->op->tiles[i], how, random);
        snprintf(t->texts[i], sizeof t->texts[i], "%s=%lld", e->op->tiles[i].name, value);
        t->sets[i] = t->texts[i];
        snprintf(t->line + strlen(t->line), sizeof t->line - strlen(t->line), " %s", t->texts[i]);
    }
}

/* Each with its own instruction set, dependencies and threads; the extremes come first. */
static void check_tilings(expectation *e)
{
    rng random = {.seed = 3};
    for (int i = 0; i < N_TILINGS; i++) {
        tiling t;
        const uk_table *uk;
        dsv4_error err = {0};
        fill_tiling(e, i < 2 ? i : AT_RANDOM, &random, &t);
        require_ok(uk_find(i % 3 == 0 ? "scalar" : NULL, &uk, &err), &err);
        const dsv4_op_options options = {.isa = uk->isa, .sets = t.sets, .n_sets = e->op->n_tiles};
        sealed s = seal_rows(e->op, &e->config, &e->in, 0, 0, options, all_deps[i % 3]);
        run_sealed(&s, pools[thread_counts[i % 4]]);
        assert_same_rows(&s, &e->reference, 0, t.line);
        sealed_deinit(&s);
    }
    expectation_deinit(e);
}

static void test_tiles(void **state)
{
    expectation of_models[] = {
        expect("qkv_proj_rope", model(2100, 1100, 6, 80, 10), 21),
        expect("qkv_proj_rope", model(513, 515, 2, 514, 2), 13),
        expect("qkv_proj_rope", preset("tiny"), 33),
        expect("rmsnorm", preset("pro"), 33),
        expect("rmsnorm", model(1025, 72, 3, 40, 6), 129),
        expect("rope_tables", preset("tiny"), 129),
    };
    (void)state;
    for (size_t i = 0; i < sizeof of_models / sizeof *of_models; i++) {
        check_tilings(&of_models[i]);
    }
}

/* ---- the order of sums -------------------------------------------------------------------------------------------------- */

enum { CHUNK = 512 };

/* Lane sums (kernels.h) of chunks of 512, added in double. */
static float sum_squares(const float *x, int64_t n)
{
    double total = 0;
    for (int64_t begin = 0; begin < n; begin += CHUNK) {
        float lanes[16] = {0};
        for (int64_t i = begin; i < n && i < begin + CHUNK; i++) {
            const float square = x[i] * x[i];
            lanes[(i - begin) % 16] += square;
        }
        for (int half = 8; half > 0; half /= 2) {
            for (int l = 0; l < half; l++) {
                lanes[l] += lanes[l + half];
            }
        }
        total += lanes[0];
    }
    return (float)total;
}

/* x . w over n values, w with that stride: a paired sum (kernels.h). */
static float paired_sum(const uint16_t *x, const uint16_t *w, int64_t stride, int64_t n)
{
    float total = 0;
    for (int64_t begin = 0; begin < n; begin += UK_CHUNK) {
        float sum = 0;
        for (int64_t i = begin; i < n && i < begin + UK_CHUNK; i += 2) {
            if (i + 1 < n) {
                sum = fmaf(num_f32_from_bf16(x[i + 1]), num_f32_from_bf16(w[(i + 1) * stride]), sum);
            }
            sum = fmaf(num_f32_from_bf16(x[i]), num_f32_from_bf16(w[i * stride]), sum);
        }
        total = begin == 0 ? sum : total + sum;
    }
    return total;
}

/* y[0..n) = x[0..k) times column 0..n of w[k, n]: sums of chunks of 512, added in double. */
static void multiply(const uint16_t *x, const uint16_t *w, int64_t k, int64_t n, float *y)
{
    for (int64_t col = 0; col < n; col++) {
        double sum = 0;
        for (int64_t begin = 0; begin < k; begin += CHUNK) {
            sum += paired_sum(x + begin, w + begin * n + col, n, k - begin < CHUNK ? k - begin : CHUNK);
        }
        y[col] = (float)sum;
    }
}

static void normalise(float *x, int64_t n, float eps, const uint16_t *gamma)
{
    const float inv = 1 / sqrtf(sum_squares(x, n) * (1 / (float)n) + eps);
    for (int64_t i = 0; i < n; i++) {
        x[i] = x[i] * inv * num_f32_from_bf16(gamma[i]);
    }
}

enum { MAX_ROW = 2050 };

/* kv but for its last pair, which is rotated, and qr_scale of every token, as they are defined. */
static void check_definition(dsv4_config config, int64_t n_tokens)
{
    const int64_t D = config.hidden_size, QL = config.q_lora_rank, hd = config.head_dim;
    const float eps = (float)config.rms_norm_eps;
    expectation e = expect("qkv_proj_rope", config, n_tokens);
    static float row[MAX_ROW];
    for (int64_t t = 0; t < n_tokens; t++) {
        const uint16_t *x = rows_of(get_tensor(&e.in, "x"), t, 1).data, *kv = rows_of(get_tensor(&e.reference.io, "kv"), t, 1).data;
        multiply(x, get_tensor(&e.in, "wkv").data, D, hd, row);
        normalise(row, hd, eps, get_tensor(&e.in, "gamma_ckv").data);
        for (int64_t i = 0; i < hd - 2; i++) {
            assert_int_equal(kv[i], num_bf16_from_f32(row[i]));
        }
        multiply(x, get_tensor(&e.in, "wq_a").data, D, QL, row);
        normalise(row, QL, eps, get_tensor(&e.in, "gamma_cq").data);
        float amax = 1e-4f;
        for (int64_t i = 0; i < QL; i++) {
            amax = fmaxf(amax, fabsf(row[i]));
        }
        assert_true(*(const float *)rows_of(get_tensor(&e.reference.io, "qr_scale"), t, 1).data == 1 / (1 / amax * 127));
    }
    expectation_deinit(&e);
}

/* What all tilings agree on is also what it should be. Rounding to BF16 hides most of an ulp: many elements make it show. */
static void test_sums_have_the_defined_order(void **state)
{
    (void)state;
    check_definition(model(1300, 1100, 1, 40, 2), SANITIZED ? 3 : 29);
    check_definition(model(4, 2, 1, MAX_ROW, 2), SANITIZED ? 3 : 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_and_deps),
        cmocka_unit_test(test_threads_and_deps_flash),
        cmocka_unit_test(test_random_orders),
        cmocka_unit_test(test_instruction_sets),
        cmocka_unit_test(test_rows_do_not_depend_on_their_company),
        cmocka_unit_test(test_rows_of_odd_groups),
        cmocka_unit_test(test_tiles),
        cmocka_unit_test(test_sums_have_the_defined_order),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
