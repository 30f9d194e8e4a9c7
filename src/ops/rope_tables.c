/* ops/rope_tables.c - cosines and sines of the rotary angles (SPEC 1.4).
 *
 * MATH      cos[p,j] = cos[p,j+R/2] = bf(cos(p * f[j])), sin likewise, j < R/2
 *           f[j] = base^(-2j/R); layers with compression stretch low frequencies (YaRN): f[j] = f/factor * (1-m) + f * m,
 *           m falling from 1 to 0 between the dims that turn beta_fast and beta_slow times over the original context
 * SHAPES    compress_ratio, max_seq_len i32[]  ->  freqs_cos, freqs_sin bf16[N,R], N = max_seq_len
 * STAGES    rope_tables.rows  [n_tile x R]  -> cos, sin   blocks: N/n_tile
 * NUMERICS  f32 frequencies and angles (FP32 product of position and frequency), one rounding to bf16. */
#include <math.h>

#include "ops/matrix.h"
#include "ops/rope.h"
#include "ops/table.h"
#include "ops/tile.h"

enum { COMPRESS_RATIO, MAX_SEQ_LEN, FREQS_COS, FREQS_SIN };

static const op_tensor tensors[] = {
    ROW_DIM("compress_ratio", "0: plain angles of sliding-window layers; else YaRN", "ratio"),
    ROW_DIM("max_seq_len", "rows of the tables", "N"),
    ROW_OUT("freqs_cos", DSV4_BF16, "N,R", "cosines, stored twice", RULE_BF16(0.005)),
    ROW_OUT("freqs_sin", DSV4_BF16, "N,R", "sines, stored twice", RULE_BF16(0.005)),
};

enum { N_TILE };

static const op_tile tiles[] = {
    {"n_tile", "rows of a block", 64, 64, 1, NULL, NULL},
};

typedef struct tables {
    op_matrix cos, sin;
    const float *frequency; /* [R/2] */
    int64_t n_tile;
} tables;

/* The rotary dimension whose angle turns `turns` times over the original context, as a real number. */
static double correction_dim(const dsv4_config *config, double turns)
{
    double context = (double)config->original_max_position_embeddings;
    return (double)config->qk_rope_head_dim * log(context / (turns * 2 * 3.14159265358979323846)) /
           (2 * log(config->compress_rope_theta));
}

/* Weight of the unstretched frequency: 1 for fast dims, 0 for slow ones, a ramp between. */
static float unstretched_share(const dsv4_config *config, int64_t j)
{
    double low = fmax(floor(correction_dim(config, config->beta_fast)), 0);
    double high = fmin(ceil(correction_dim(config, config->beta_slow)), (double)config->qk_rope_head_dim - 1);
    high += low == high ? 0.001 : 0;
    float ramp = ((float)j - (float)low) / (float)(high - low);
    return 1.0f - fminf(fmaxf(ramp, 0), 1);
}

static float frequency_of(const dsv4_config *config, bool compressed, int64_t j)
{
    float base = (float)(compressed ? config->compress_rope_theta : config->rope_theta);
    float exponent = (float)(2 * j) / (float)config->qk_rope_head_dim;
    float f = 1.0f / (float)pow(base, exponent);
    if (!compressed || config->original_max_position_embeddings == 0) {
        return f;
    }
    float share = unstretched_share(config, j);
    return f / (float)config->rope_factor * (1.0f - share) + f * share;
}

void op_rope_frequencies(const dsv4_config *config, int64_t ratio, float *frequency)
{
    for (int64_t j = 0; j < config->qk_rope_head_dim / 2; j++) {
        frequency[j] = frequency_of(config, ratio != 0, j);
    }
}

static void describe_rows(const void *arg, int64_t block, dsv4_describe *d)
{
    const tables *a = arg;
    tile_range n = tile_at(block, a->n_tile, a->cos.rows);
    dsv4_writes(d, a->cos.view, n.begin, n.end, 0, a->cos.cols);
    dsv4_writes(d, a->sin.view, n.begin, n.end, 0, a->sin.cols);
    dsv4_costs(d, (dsv4_work){.vector_ops = 40.0 * (double)((n.end - n.begin) * a->cos.cols)});
}

static void run_rows(const void *arg, int64_t block, void *scratch)
{
    const tables *a = arg;
    tile_range n = tile_at(block, a->n_tile, a->cos.rows);
    int64_t R = a->cos.cols, half = R / 2;
    (void)scratch;
    for (int64_t p = n.begin; p < n.end; p++) {
        uint16_t *cos_row = (uint16_t *)a->cos.data + p * R, *sin_row = (uint16_t *)a->sin.data + p * R;
        for (int64_t j = 0; j < half; j++) {
            cos_row[j] = cos_row[j + half] = op_rope_cos(p, a->frequency[j]);
            sin_row[j] = sin_row[j + half] = op_rope_sin(p, a->frequency[j]);
        }
    }
}

static dsv4_status check(const op_context *c, dsv4_error *err)
{
    if (c->dims.of[OP_R] % 2 != 0) {
        return dsv4_fail(err, DSV4_E_VALUE, "rope_tables: qk_rope_head_dim=%lld, rule qk_rope_head_dim %% 2 == 0",
                         (long long)c->dims.of[OP_R]);
    }
    if (c->dims.of[OP_N] > OP_ROPE_MAX_POSITIONS) {
        return dsv4_fail(err, DSV4_E_VALUE, "rope_tables: max_seq_len=%lld, expected at most %d: positions must be exact in FP32",
                         (long long)c->dims.of[OP_N], OP_ROPE_MAX_POSITIONS);
    }
    return DSV4_OK;
}

static void build(const op_context *c)
{
    int64_t half = c->dims.of[OP_R] / 2;
    tables *a = dsv4_graph_memory(c->g, sizeof *a);
    float *frequency = dsv4_graph_memory(c->g, (size_t)half * sizeof *frequency);
    if (a == NULL || frequency == NULL) {
        return;
    }
    op_rope_frequencies(c->config, c->dims.of[OP_ratio], frequency);
    a->frequency = frequency;
    a->cos = op_matrix_of(c, "freqs_cos", &c->tensor[FREQS_COS], 1);
    a->sin = op_matrix_of(c, "freqs_sin", &c->tensor[FREQS_SIN], 1);
    a->n_tile = c->tile[N_TILE];
    dsv4_graph_stage(c->g, &(dsv4_stage_desc){.name = "rope_tables.rows",
                                              .n_blocks = tile_count(a->cos.rows, a->n_tile),
                                              .run = run_rows,
                                              .describe = describe_rows,
                                              .arg = a});
}

const dsv4_op op_rope_tables = {
    .name = "rope_tables",
    .summary = "cosine and sine tables of the rotary embedding",
    OP_TENSORS(tensors),
    OP_TILES(tiles),
    .check = check,
    .build = build,
};
