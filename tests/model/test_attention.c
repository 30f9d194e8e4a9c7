/* The attention of a step, and whole blocks, against the reference's traces of tiny-random: block by block, from the reference's own
 * input; and the same bits however tokens are cut into steps, whatever else is in a step, and for any threads and order. */
#include "model_files.h"
#include "sanitized.h"

#include <math.h>

#include "dsv4/graph.h"
#include "model/step/attention.h"
#include "model/step/moe.h"
#include "model/step/streams.h"

#define DATA TEST_VECTORS "/../model/data"

enum { MAX_TOKENS = 200, MAX_SEQUENCES = 2, N_BLOCKS = 5, CONTEXT = 256, LONG_CONTEXT = 8192, MAX_WIDTH = 1024 };

static model_checkpoint *checkpoint;
static model_weights *fp8_weights, *int8_weights;
static dsv4_safetensors *files[2];
static dsv4_tensor_list traces[2]; /* exact, official */

static int set_up(void **state)
{
    static const char *const names[] = {DATA "/blocks_exact.safetensors", DATA "/blocks_official.safetensors"};
    dsv4_error err = {0};
    (void)state;
    require_ok(model_checkpoint_open(DATA "/tiny-random", &checkpoint, &err), &err);
    require_ok(model_weights_pack(checkpoint, false, NULL, NULL, &fp8_weights, &err), &err);
    require_ok(model_weights_pack(checkpoint, true, NULL, NULL, &int8_weights, &err), &err);
    for (int i = 0; i < 2; i++) {
        require_ok(dsv4_safetensors_open(names[i], &files[i], &err), &err);
        require_ok(dsv4_safetensors_load(files[i], "", &traces[i], &err), &err);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        dsv4_tensor_list_deinit(&traces[i]);
        dsv4_safetensors_close(files[i]);
    }
    model_weights_free(int8_weights);
    model_weights_free(fp8_weights);
    model_checkpoint_close(checkpoint);
    return 0;
}

static const dsv4_config *dims(void)
{
    return &fp8_weights->config.dims;
}

static const dsv4_tensor *traced(const char *numerics, const char *format, int block)
{
    char name[64];
    snprintf(name, sizeof name, format, block);
    const dsv4_tensor *t = dsv4_tensor_list_find(&traces[strcmp(numerics, "official") == 0], name);
    if (t == NULL) {
        fail_msg("no %s in the trace of %s", name, numerics);
    }
    return t;
}

static float *values_of(const dsv4_tensor *t)
{
    float *x = malloc((size_t)dsv4_tensor_count(t) * sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < dsv4_tensor_count(t); i++) {
        x[i] = (float)dsv4_tensor_get(t, i);
    }
    return x;
}

/* ---- running -------------------------------------------------------------------------------------------------------------------- */

/* What is computed: the attention of a block [n, D] -> [n, D], or all of the block, on streams [n, M*D]. */
typedef struct subject {
    const model_numerics *numerics;
    const model_weights *weights;
    int block;
    bool is_whole;
    int64_t context;
    const int32_t *tokens; /* whole blocks: they may route by them */
    int n_threads;
    uint64_t order;
} subject;

static subject subject_of(const char *numerics, int block)
{
    subject a = {.block = block, .n_threads = 2, .context = CONTEXT};
    dsv4_error err = {0};
    require_ok(model_numerics_find(numerics, &a.numerics, &err), &err);
    a.weights = a.numerics->rows == MODEL_ROWS_I8 ? int8_weights : fp8_weights;
    return a;
}

static int64_t width_of(const subject *a)
{
    return dims()->hidden_size * (a->is_whole ? dims()->hc_mult : 1);
}

/* Consecutive tokens of a sequence: rows [first, first + n) of x and y. */
typedef struct feed {
    model_sequence *sequence;
    const float *x;
    float *y;
    int64_t first, n;
} feed;

typedef struct built {
    dsv4_graph *graph;
    step s;
    step_rows *rows;
    step_matrix x;
    step_branch y;
} built;

static int32_t *new_ints(const built *b, int64_t n)
{
    int32_t *ints = dsv4_graph_memory(b->graph, (size_t)n * sizeof *ints);
    assert_non_null(ints);
    return ints;
}

static void add_stages(const subject *a, built *b)
{
    const model_block_weights *w = &a->weights->blocks[a->block];
    const step *s = &b->s;
    if (!a->is_whole) {
        b->y.product = step_attention_add(s, a->block, w, b->x);
        return;
    }
    step_moe_room room = step_moe_room_new(s, a->weights);
    step_streams mixed = step_streams_mix(s, "attn.hc", b->x, &w->attn_streams, w->attn_norm);
    step_branch attended = {.product = step_attention_add(s, a->block, w, mixed.x)};
    step_matrix h = step_streams_spread(s, "attn.hc", b->x, &mixed, &attended);
    mixed = step_streams_mix(s, "ffn.hc", h, &w->ffn_streams, w->ffn_norm);
    step_branch experts = {.matrix = step_moe_add(s, &room, w, mixed.x)};
    b->y.matrix = step_streams_spread(s, "ffn.hc", h, &mixed, &experts);
}

static void build(const subject *a, const model_kv *kv, int64_t T, built *b)
{
    dsv4_error err = {0};
    *b = (built){.graph = dsv4_graph_create("attention")};
    b->rows = dsv4_graph_memory(b->graph, sizeof *b->rows);
    *b->rows = (step_rows){.capacity = T};
    int32_t **const members[] = {&b->rows->token, &b->rows->position, &b->rows->slot, &b->rows->first, &b->rows->end};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        *members[i] = new_ints(b, T);
    }
    b->s = (step){.op = {.g = b->graph, .config = dims()}, .config = &a->weights->config, .numerics = a->numerics, .kv = kv};
    b->s.rows = b->rows;
    b->s.T = T;
    b->s.context = a->context;
    b->s.n_threads = a->n_threads;
    require_ok(uk_find(NULL, &b->s.op.uk, &err), &err);
    b->s.rope = step_rope_add(&b->s);
    b->x = step_matrix_new(&b->s, "x", T, width_of(a));
    add_stages(a, b);
    require_ok(dsv4_graph_seal(b->graph, DSV4_DEPS_BLOCK, &err), &err);
}

static void fill_rows(const subject *a, const built *b, const feed *feeds, int64_t n_feeds)
{
    step_rows *r = b->rows;
    r->n = 0;
    for (int64_t f = 0; f < n_feeds; f++) {
        int32_t begin = (int32_t)r->n;
        for (int64_t i = 0; i < feeds[f].n; i++) {
            int64_t row = r->n++, from = feeds[f].first + i;
            r->token[row] = a->tokens == NULL ? 0 : a->tokens[from];
            r->position[row] = (int32_t)(feeds[f].sequence->length + i);
            r->slot[row] = feeds[f].sequence->slot;
            r->first[row] = begin;
            r->end[row] = (int32_t)(feeds[f].sequence->length + feeds[f].n);
            step_store(b->s.op.uk, &b->x, row, 0, width_of(a), feeds[f].x + from * width_of(a));
        }
    }
}

static void read_rows(const subject *a, const built *b, const feed *feeds, int64_t n_feeds)
{
    int64_t row = 0;
    for (int64_t f = 0; f < n_feeds; f++) {
        for (int64_t i = 0; i < feeds[f].n; i++, row++) {
            float *y = feeds[f].y + (feeds[f].first + i) * width_of(a);
            if (a->is_whole) {
                step_load(b->s.op.uk, &b->y.matrix, row, 0, width_of(a), y);
            } else {
                step_product_row(b->s.op.uk, &b->y.product, row, 0, width_of(a), y);
            }
        }
    }
}

/* One step of a graph of T rows. */
static void run_step(const subject *a, model_kv *kv, const feed *feeds, int64_t n_feeds, int64_t T)
{
    built b;
    dsv4_pool *pool = NULL;
    dsv4_exec *exec = NULL;
    dsv4_error err = {0};
    build(a, kv, T, &b);
    require_ok(dsv4_pool_create(a->n_threads, &pool, &err), &err);
    require_ok(dsv4_exec_create(b.graph, pool, 0, &exec, &err), &err);
    for (int64_t f = 0; f < n_feeds; f++) {
        require_ok(model_sequence_reserve(kv, feeds[f].sequence, feeds[f].n, &err), &err);
    }
    fill_rows(a, &b, feeds, n_feeds);
    require_ok(dsv4_exec_run(exec, a->order, &err), &err);
    read_rows(a, &b, feeds, n_feeds);
    for (int64_t f = 0; f < n_feeds; f++) {
        model_sequence_append(feeds[f].sequence, feeds[f].n);
    }
    dsv4_exec_destroy(exec);
    dsv4_pool_destroy(pool);
    dsv4_graph_destroy(b.graph);
}

static model_kv *new_kv(const subject *a)
{
    model_kv *kv = NULL;
    dsv4_error err = {0};
    require_ok(model_kv_create(&a->weights->config, a->numerics, MAX_SEQUENCES, a->context, MAX_SEQUENCES * a->context, &kv, &err),
               &err);
    return kv;
}

static model_sequence *new_sequence(model_kv *kv)
{
    model_sequence *s = NULL;
    dsv4_error err = {0};
    require_ok(model_sequence_open(kv, &s, &err), &err);
    return s;
}

/* n tokens of a new sequence in steps of these sizes, the last one again and again; T: rows of the graph, 0: as many as needed. */
static model_kv *run_cut(const subject *a, const float *x, int64_t n, const int64_t *sizes, int64_t n_sizes, int64_t T, float *y)
{
    model_kv *kv = new_kv(a);
    model_sequence *s = new_sequence(kv);
    for (int64_t i = 0, done = 0; done < n; i++) {
        int64_t size = tile_min(sizes[tile_min(i, n_sizes - 1)], n - done);
        run_step(a, kv, &(feed){s, x, y, done, size}, 1, T == 0 ? size : T);
        done += size;
    }
    return kv;
}

static void compute(const subject *a, const float *x, int64_t n, const int64_t *sizes, int64_t n_sizes, int64_t T, float *y)
{
    model_kv_destroy(run_cut(a, x, n, sizes, n_sizes, T, y));
}

/* ---- against the reference -------------------------------------------------------------------------------------------------------- */

typedef struct difference {
    double rms;     /* relative */
    int64_t n_rows; /* rows that differ by more than 1e-3 of the RMS */
} difference;

static difference difference_of(const float *y, const dsv4_tensor *expected)
{
    int64_t rows = expected->shape[0], n = dsv4_tensor_count(expected) / rows;
    double all = 0, sum = 0;
    difference d = {0};
    for (int64_t t = 0; t < rows; t++) {
        double row = 0, row_sum = 0;
        for (int64_t i = 0; i < n; i++) {
            double e = dsv4_tensor_get(expected, t * n + i), by = (double)y[t * n + i] - e;
            row += by * by;
            row_sum += e * e;
        }
        d.n_rows += !(row <= 1e-6 * row_sum);
        all += row;
        sum += row_sum;
    }
    d.rms = sqrt(all / sum);
    return d;
}

static void check(const subject *a, const char *what, const float *y, const dsv4_tensor *expected, double rms, int64_t n_rows)
{
    difference d = difference_of(y, expected);
    if (!(d.rms <= rms) || d.n_rows > n_rows) {
        fail_msg("%s, block %d, %s: differs by %.3g RMS, %lld rows by more than 1e-3; allowed are %.3g and %lld", a->numerics->name,
                 a->block, what, d.rms, (long long)d.n_rows, rms, (long long)n_rows);
    }
}

static void check_attention(const char *numerics, double rms, int64_t n_rows)
{
    for (int block = 0; block < N_BLOCKS; block++) {
        subject a = subject_of(numerics, block);
        const dsv4_tensor *in = traced(numerics, "short.layers.%d.attn_in", block);
        float *x = values_of(in), *y = malloc((size_t)dsv4_tensor_count(in) * sizeof *y);
        compute(&a, x, in->shape[0], &in->shape[0], 1, 0, y);
        check(&a, "attention", y, traced(numerics, "short.layers.%d.attn_out", block), rms, n_rows);
        free(x);
        free(y);
    }
}

static void attention_is_the_reference(void **state)
{
    (void)state;
    check_attention("exact", 1e-6, 0);
}

/* A sum in FP32 may fall on the other side of a step than one in FP64. */
static void attention_rounds_where_the_reference_does(void **state)
{
    (void)state;
    check_attention("official", 5e-4, 1);
}

/* ---- caches and blocks ------------------------------------------------------------------------------------------------------------- */

static void load_cache_row(const model_kv *kv, const void *row, int64_t n, float *y)
{
    const uk_table *uk = NULL;
    dsv4_error err = {0};
    require_ok(uk_find(NULL, &uk, &err), &err);
    step_matrix m = {.m = {.data = (void *)(uintptr_t)row, .ld = n}, .dtype = kv->dtype};
    step_load(uk, &m, 0, 0, n, y);
}

static void check_entries(const subject *a, const model_kv *kv, const char *format, size_t offset, double rms, int64_t n_rows)
{
    const dsv4_tensor *expected = traced(a->numerics->name, format, a->block);
    int64_t n = expected->shape[0], width = expected->shape[1];
    float *y = malloc((size_t)(n * width) * sizeof *y);
    for (int64_t i = 0; i < n; i++) {
        load_cache_row(kv, model_kv_entry(kv, a->block, 0, offset, width, i), width, y + i * width);
    }
    check(a, format, y, expected, rms, n_rows);
    free(y);
}

/* The last rows of the ring. */
static void check_window(const subject *a, const model_kv *kv, double rms, int64_t n_rows)
{
    dsv4_tensor expected = *traced(a->numerics->name, "long.layers.%d.kv", a->block);
    int64_t n = kv->window_rows, width = expected.shape[1], first = expected.shape[0] - n;
    float *y = malloc((size_t)(n * width) * sizeof *y);
    for (int64_t i = 0; i < n; i++) {
        load_cache_row(kv, model_kv_window(kv, a->block, 0, first + i), width, y + i * width);
    }
    expected.data = (char *)expected.data + (size_t)(first * width) * dsv4_dtype_bytes(expected.dtype);
    expected.shape[0] = n;
    check(a, "window", y, &expected, rms, n_rows);
    free(y);
}

static void check_block(const char *numerics, int block, double rms, int64_t n_rows)
{
    static const int64_t sizes[] = {64, 136};
    subject a = subject_of(numerics, block);
    const dsv4_tensor *in = block == 0 ? traced(numerics, "long.hc_in", 0) : traced(numerics, "long.layers.%d.hc_out", block - 1);
    float *x = values_of(in), *y = malloc((size_t)dsv4_tensor_count(in) * sizeof *y);
    a.is_whole = true;
    a.tokens = traced(numerics, "long.tokens", 0)->data;
    model_kv *kv = run_cut(&a, x, in->shape[0], sizes, 2, 0, y);
    const model_kv_block *b = &kv->blocks[block];
    check(&a, "block", y, traced(numerics, "long.layers.%d.hc_out", block), rms, n_rows);
    check_window(&a, kv, rms, n_rows);
    if (b->ratio > 0) {
        check_entries(&a, kv, "long.layers.%d.compressed", b->entries, rms, n_rows);
    }
    if (b->ratio == 4) {
        check_entries(&a, kv, "long.layers.%d.index_compressed", b->index_entries, rms, n_rows);
    }
    model_kv_destroy(kv);
    free(x);
    free(y);
}

static void blocks_are_the_reference(void **state)
{
    (void)state;
    for (int block = 0; block < N_BLOCKS; block++) {
        check_block("exact", block, 1e-6, 0);
    }
}

/* Of an expert's rows more elements fall on the edge of a step, and a router's near tie may go the other way. */
static void blocks_round_where_the_reference_does(void **state)
{
    (void)state;
    for (int block = 0; block < N_BLOCKS; block++) {
        check_block("official", block, 3e-3, 30);
    }
}

/* ---- the same bits ------------------------------------------------------------------------------------------------------------------ */

/* Sanitized, three numerics have a block each, one with a cache of each kind. */
static bool is_left_out(int numerics, int block)
{
    return SANITIZED && (block != numerics % 3 || numerics > 2);
}

static void assert_same(const subject *a, const char *what, const float *y, const float *expected, int64_t n_rows)
{
    for (int64_t i = 0; i < n_rows * width_of(a); i++) {
        if (memcmp(&y[i], &expected[i], sizeof *y) != 0) {
            fail_msg("%s, block %d, %s: row %lld is %.9g, expected %.9g", a->numerics->name, a->block, what,
                     (long long)(i / width_of(a)), (double)y[i], (double)expected[i]);
        }
    }
}

/* Input of 200 rows: the streams of a trace are rows like others. */
static const float *long_input(void)
{
    static float x[MAX_TOKENS * MAX_WIDTH];
    const dsv4_tensor *in = traced("exact", "long.layers.%d.hc_out", 1);
    int64_t D = dims()->hidden_size;
    for (int64_t t = 0; t < MAX_TOKENS; t++) {
        for (int64_t i = 0; i < D; i++) {
            x[t * D + i] = (float)dsv4_tensor_get(in, t * D * dims()->hc_mult + i);
        }
    }
    return x;
}

static void check_cuts(const char *numerics, int block)
{
    static const int64_t cuts[][5] = {{5, 1, 30, 12, 99}, {1, 127, 1, 70, 1}, {3, 3, 3, 3, 3}, {129, 50, 1, 1, 1}};
    static float expected[MAX_TOKENS * MAX_WIDTH], y[MAX_TOKENS * MAX_WIDTH];
    subject a = subject_of(numerics, block);
    const float *x = long_input();
    int64_t n = MAX_TOKENS;
    compute(&a, x, n, &n, 1, 0, expected);
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        a.n_threads = 1 + 2 * (int)(i % 2);
        a.order = i;
        compute(&a, x, n, cuts[i], 5, i == 2 ? 7 : 0, y);
        assert_same(&a, "cut into steps", y, expected, n);
    }
}

static void any_cut(void **state)
{
    (void)state;
    for (int i = 0; i < MODEL_N_NUMERICS; i++) {
        for (int block = 0; block < 3; block++) {
            if (!is_left_out(i, block)) {
                check_cuts(model_numerics_table[i].name, block);
            }
        }
    }
}

static void token_by_token(void **state)
{
    static float expected[MAX_TOKENS * MAX_WIDTH], y[MAX_TOKENS * MAX_WIDTH];
    static const int64_t one = 1;
    int64_t n = MAX_TOKENS;
    (void)state;
    for (int block = 0; block < 3; block++) {
        subject a = subject_of("official", block);
        compute(&a, long_input(), n, &n, 1, 0, expected);
        compute(&a, long_input(), n, &one, 1, 0, y);
        assert_same(&a, "token by token", y, expected, n);
    }
}

/* Two sequences, of which each step has a different number of tokens. */
static void check_company(const char *numerics, int block)
{
    enum { N = 150 };
    static float expected[2][MAX_TOKENS * MAX_WIDTH], y[2][MAX_TOKENS * MAX_WIDTH];
    static const int64_t sizes[][2] = {{3, 60}, {1, 1}, {70, 2}, {60, 1}, {16, 86}};
    subject a = subject_of(numerics, block);
    const float *x[] = {long_input(), long_input() + (MAX_TOKENS - N) * dims()->hidden_size};
    int64_t n = N, done[2] = {0};
    model_kv *kv = new_kv(&a);
    model_sequence *s[] = {new_sequence(kv), new_sequence(kv)};
    compute(&a, x[0], n, &n, 1, 0, expected[0]);
    compute(&a, x[1], n, &n, 1, 0, expected[1]);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        feed feeds[] = {{s[0], x[0], y[0], done[0], sizes[i][0]}, {s[1], x[1], y[1], done[1], sizes[i][1]}};
        a.n_threads = 1 + 2 * (int)(i % 2);
        run_step(&a, kv, feeds, 2, sizes[i][0] + sizes[i][1]);
        done[0] += sizes[i][0];
        done[1] += sizes[i][1];
    }
    assert_int_equal(done[0], N);
    assert_int_equal(done[1], N);
    assert_same(&a, "two sequences, the first", y[0], expected[0], n);
    assert_same(&a, "two sequences, the second", y[1], expected[1], n);
    model_kv_destroy(kv);
}

static void company_of_a_token(void **state)
{
    (void)state;
    for (int i = 0; i < MODEL_N_NUMERICS; i++) {
        for (int block = 0; block < 3; block++) {
            if (!is_left_out(i, block)) {
                check_company(model_numerics_table[i].name, block);
            }
        }
    }
}

/* Tokens taken back leave nothing behind that later ones see. */
static void tokens_taken_back(void **state)
{
    static float expected[MAX_TOKENS * MAX_WIDTH], y[MAX_TOKENS * MAX_WIDTH], lost[MAX_TOKENS * MAX_WIDTH];
    (void)state;
    for (int block = 0; block < 3; block++) {
        subject a = subject_of("official", block);
        dsv4_error err = {0};
        const float *x = long_input();
        int64_t n = MAX_TOKENS;
        model_kv *kv = new_kv(&a);
        model_sequence *s = new_sequence(kv);
        compute(&a, x, n, &n, 1, 0, expected);
        for (int64_t done = 0; done < 180; done += 18) { /* 16 more than wanted, of other tokens */
            run_step(&a, kv, &(feed){s, x, y, done, 18}, 1, 18);
            feed wrong = {s, x, lost, 0, MODEL_ROLLBACK};
            run_step(&a, kv, &wrong, 1, MODEL_ROLLBACK);
            require_ok(model_sequence_truncate(kv, s, done + 18, &err), &err);
        }
        assert_same(&a, "tokens taken back", y, expected, 180);
        model_kv_destroy(kv);
    }
}

/* Where few tokens see many compressed rows, several blocks share the scoring of a token; where many do, one block does it. */
static void shares_of_the_scores(void **state)
{
    enum { N = 640, TAIL = 4 };
    static float x[N * 256], expected[N * 256], y[N * 256];
    static const int64_t sizes[] = {160, 160, 160, 160 - TAIL, 1}, whole[] = {160};
    const float *rows = long_input();
    (void)state;
    assert_int_equal(dims()->hidden_size, 256);
    for (int64_t i = 0; i < (int64_t)N * 256; i++) { /* the same rows at other scales: equal scores among them */
        x[i] = rows[i % (MAX_TOKENS * 256)] * (float)(1 + i / (MAX_TOKENS * 256) % 3);
    }
    for (int i = 0; i < 2; i++) {
        subject a = subject_of(i == 0 ? "official" : "exact", 1);
        a.context = LONG_CONTEXT;
        a.n_threads = 3;
        compute(&a, x, N, whole, 1, 0, expected);
        compute(&a, x, N, sizes, 5, 0, y);
        assert_same(&a, "scores shared", y, expected, N);
    }
}

/* dsv4_graph_verify runs every block twice, with noise in what it did not declare. */
static void declares_what_it_touches(void **state)
{
    (void)state;
    for (int i = 0; i < MODEL_N_NUMERICS; i++) {
        for (int block = 0; block < 3; block++) {
            if (is_left_out(i, block)) {
                continue;
            }
            subject a = subject_of(model_numerics_table[i].name, block);
            static float y[MAX_TOKENS * MAX_WIDTH];
            dsv4_error err = {0};
            model_kv *kv = new_kv(&a);
            model_sequence *s = new_sequence(kv);
            built b;
            int64_t n_findings = 0;
            feed f = {s, long_input(), y, 0, 13};
            build(&a, kv, 14, &b);
            require_ok(model_sequence_reserve(kv, s, 13, &err), &err);
            fill_rows(&a, &b, &f, 1);
            require_ok(dsv4_graph_verify(b.graph, 1, &n_findings, &err), &err);
            dsv4_graph_destroy(b.graph);
            model_kv_destroy(kv);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_is_the_reference),
        cmocka_unit_test(attention_rounds_where_the_reference_does),
        cmocka_unit_test(blocks_are_the_reference),
        cmocka_unit_test(blocks_round_where_the_reference_does),
        cmocka_unit_test(any_cut),
        cmocka_unit_test(token_by_token),
        cmocka_unit_test(company_of_a_token),
        cmocka_unit_test(tokens_taken_back),
        cmocka_unit_test(shares_of_the_scores),
        cmocka_unit_test(declares_what_it_touches),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
