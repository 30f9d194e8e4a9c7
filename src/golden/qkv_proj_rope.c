/* golden/qkv_proj_rope.c - queries and the shared key-value row of multi-head latent attention (SPEC 2.2).
 *
 * MATH      a = x wq_a;  a <- (a inv(a)) gamma_cq;  (qr, qr_scale) = Q8(a)
 *           q[h] = (float(qr wq_b[h]) qr_scale) wq_b_scale[h];  q[h] <- q[h] inv(q[h]), its last R elements rotated;  q = bf(q)
 *           kv = x wkv;  kv <- (kv inv(kv)) gamma_ckv, its last R elements rotated;  kv = bf(kv)
 * SHAPES    x bf16[T,D]  wq_a bf16[D,QL]  wq_b i8[QL,H*hd]  wq_b_scale f32[H*hd]  wkv bf16[D,hd]  rope_cos, rope_sin bf16[T,R]
 *           gamma_cq bf16[QL]  gamma_ckv bf16[hd]  ->  q bf16[T,H,hd]  kv bf16[T,hd]  qr i8[T,QL]  qr_scale f32[T,1]
 * NUMERICS  FP32 between the steps; the product with wq_b is exact. Of a rope row only the first R/2 columns are read. */
#include <inttypes.h>

#include "base/arena.h"
#include "golden/operators.h"
#include "golden/primitives.h"

/* Tokens that share one pass over the weights. */
enum { GROUP_TOKENS = 16 };

typedef struct qkv {
    int64_t T, D, QL, H, hd, R;
    float eps;
    const uint16_t *x, *wq_a, *wkv, *rope_cos, *rope_sin, *gamma_cq, *gamma_ckv;
    const int8_t *wq_b;
    const float *wq_b_scale;
    uint16_t *q, *kv;
    int8_t *qr;
    float *qr_scale;
    float *rows;   /* [GROUP_TOKENS, max(QL, hd)] */
    int32_t *sums; /* [GROUP_TOKENS, hd] */
} qkv;

static dsv4_status find_inputs(qkv *op, const dsv4_tensor_list *in, dsv4_error *err)
{
    enum { X, WQ_A, WQ_B, WQ_B_SCALE, WKV, ROPE_COS, ROPE_SIN, GAMMA_CQ, GAMMA_CKV, N_IN };
    const golden_tensor want[N_IN] = {
        [X] = {"x", DSV4_BF16, 2, {GOLDEN_T, op->D}},
        [WQ_A] = {"wq_a", DSV4_BF16, 2, {op->D, op->QL}},
        [WQ_B] = {"wq_b", DSV4_I8, 2, {op->QL, op->H * op->hd}},
        [WQ_B_SCALE] = {"wq_b_scale", DSV4_F32, 1, {op->H * op->hd}},
        [WKV] = {"wkv", DSV4_BF16, 2, {op->D, op->hd}},
        [ROPE_COS] = {"rope_cos", DSV4_BF16, 2, {GOLDEN_T, op->R}},
        [ROPE_SIN] = {"rope_sin", DSV4_BF16, 2, {GOLDEN_T, op->R}},
        [GAMMA_CQ] = {"gamma_cq", DSV4_BF16, 1, {op->QL}},
        [GAMMA_CKV] = {"gamma_ckv", DSV4_BF16, 1, {op->hd}},
    };
    const void *data[N_IN];
    golden_extents extents = {0};
    const dsv4_status status = golden_need(in, want, N_IN, data, &extents, err);
    if (status != DSV4_OK) {
        return status;
    }
    op->T = extents.T;
    op->x = data[X];
    op->wq_a = data[WQ_A];
    op->wq_b = data[WQ_B];
    op->wq_b_scale = data[WQ_B_SCALE];
    op->wkv = data[WKV];
    op->rope_cos = data[ROPE_COS];
    op->rope_sin = data[ROPE_SIN];
    op->gamma_cq = data[GAMMA_CQ];
    op->gamma_ckv = data[GAMMA_CKV];
    return DSV4_OK;
}

static dsv4_status make_outputs(qkv *op, dsv4_tensor_list *out, dsv4_error *err)
{
    enum { Q, KV, QR, QR_SCALE, N_OUT };
    const golden_tensor make[N_OUT] = {
        [Q] = {"q", DSV4_BF16, 3, {GOLDEN_T, op->H, op->hd}},
        [KV] = {"kv", DSV4_BF16, 2, {GOLDEN_T, op->hd}},
        [QR] = {"qr", DSV4_I8, 2, {GOLDEN_T, op->QL}},
        [QR_SCALE] = {"qr_scale", DSV4_F32, 2, {GOLDEN_T, 1}},
    };
    void *data[N_OUT];
    const dsv4_status status = golden_make(out, make, N_OUT, &(golden_extents){.T = op->T}, data, err);
    if (status != DSV4_OK) {
        return status;
    }
    op->q = data[Q];
    op->kv = data[KV];
    op->qr = data[QR];
    op->qr_scale = data[QR_SCALE];
    return DSV4_OK;
}

static void rotate_head(const qkv *op, int64_t t, float *head)
{
    golden_rotate(head + op->hd - op->R, op->R, op->rope_cos + t * op->R, op->rope_sin + t * op->R);
}

/* qr, qr_scale of tokens [t0, t0 + n). */
static void low_rank_queries(const qkv *op, int64_t t0, int64_t n)
{
    golden_matmul_bf16(op->x + t0 * op->D, op->wq_a, n, op->D, op->QL, op->rows);
    for (int64_t i = 0; i < n; i++) {
        float *a = op->rows + i * op->QL;
        golden_rms_gamma(a, op->gamma_cq, op->QL, op->eps);
        op->qr_scale[t0 + i] = golden_q8(a, op->QL, op->qr + (t0 + i) * op->QL);
    }
}

/* q of one head for tokens [t0, t0 + n), from their qr and qr_scale. */
static void head_queries(const qkv *op, int64_t h, int64_t t0, int64_t n)
{
    const int64_t hd = op->hd, column = h * hd;
    golden_matmul_i8(op->qr + t0 * op->QL, op->wq_b + column, op->H * hd, n, op->QL, hd, op->sums);
    for (int64_t i = 0; i < n; i++) {
        float *head = op->rows;
        for (int64_t d = 0; d < hd; d++) {
            head[d] = ((float)op->sums[i * hd + d] * op->qr_scale[t0 + i]) * op->wq_b_scale[column + d];
        }
        golden_rms(head, hd, op->eps);
        rotate_head(op, t0 + i, head);
        golden_round(head, hd, op->q + ((t0 + i) * op->H + h) * hd);
    }
}

/* kv of tokens [t0, t0 + n). */
static void key_values(const qkv *op, int64_t t0, int64_t n)
{
    golden_matmul_bf16(op->x + t0 * op->D, op->wkv, n, op->D, op->hd, op->rows);
    for (int64_t i = 0; i < n; i++) {
        float *row = op->rows + i * op->hd;
        golden_rms_gamma(row, op->gamma_ckv, op->hd, op->eps);
        rotate_head(op, t0 + i, row);
        golden_round(row, op->hd, op->kv + (t0 + i) * op->hd);
    }
}

static void run_tokens(const qkv *op, progress *p)
{
    for (int64_t t0 = 0; t0 < op->T; t0 += GROUP_TOKENS) {
        const int64_t n = op->T - t0 < GROUP_TOKENS ? op->T - t0 : GROUP_TOKENS;
        low_rank_queries(op, t0, n);
        key_values(op, t0, n);
        for (int64_t h = 0; h < op->H; h++) {
            head_queries(op, h, t0, n);
            progress_report(p, ((double)t0 + (double)n * (double)(h + 1) / (double)op->H) / (double)op->T);
        }
    }
}

dsv4_status golden_qkv_proj_rope(const dsv4_config *config, const dsv4_numerics *numerics, const dsv4_tensor_list *in,
                                 dsv4_tensor_list *out, progress *p, dsv4_error *err)
{
    (void)numerics;
    qkv op = {
        .D = config->hidden_size,
        .QL = config->q_lora_rank,
        .H = config->num_attention_heads,
        .hd = config->head_dim,
        .R = config->qk_rope_head_dim,
        .eps = (float)config->rms_norm_eps,
    };
    arena scratch = {0};
    dsv4_status status = golden_check_rope_dim(config, "head_dim", config->head_dim, err);
    if (status == DSV4_OK) {
        status = find_inputs(&op, in, err);
    }
    if (status == DSV4_OK) {
        status = make_outputs(&op, out, err);
    }
    if (status != DSV4_OK) {
        return status;
    }

    const size_t row_length = (size_t)(op.QL > op.hd ? op.QL : op.hd);
    op.rows = arena_alloc(&scratch, GROUP_TOKENS * row_length * sizeof *op.rows);
    op.sums = arena_alloc(&scratch, GROUP_TOKENS * (size_t)op.hd * sizeof *op.sums);
    if (op.rows != NULL && op.sums != NULL) {
        run_tokens(&op, p);
    } else {
        status = dsv4_fail(err, DSV4_E_NO_MEMORY, "qkv_proj_rope: no memory for %d rows of %zu elements", GROUP_TOKENS, row_length);
    }
    arena_deinit(&scratch);
    return status;
}
