#include "base/arena.h"
#include "cli/ablate/norm.h"
#include "golden/primitives.h"
#include "ops/tile.h"

/* Plain loops over the reference's primitives: SPEC 2.2, but for the low-rank row, which is rounded to BF16 before it is quantised. */
typedef struct reference {
    int64_t T, D, QL, H, hd, R;
    const uint16_t *x, *wq_a, *wkv, *cos, *sin, *gamma_cq, *gamma_ckv; /* x: normalised */
    const int8_t *wq_b;
    const float *wq_b_scale;
    float eps;
    uint16_t *q, *kv;
    int8_t *qr;
    float *qr_scale;
    float *row; /* scratch [hd or QL, whichever is longer] */
    uint16_t *rounded;
    int32_t *sums;
} reference;

static void expect_low_rank(const reference *r, int64_t t)
{
    golden_matmul_bf16(r->x + t * r->D, r->wq_a, 1, r->D, r->QL, r->row);
    golden_rms_gamma(r->row, r->gamma_cq, r->QL, r->eps);
    golden_round(r->row, r->QL, r->rounded);
    golden_widen(r->rounded, r->QL, r->row);
    r->qr_scale[t] = golden_q8(r->row, r->QL, r->qr + t * r->QL);
}

static void expect_kv(const reference *r, int64_t t)
{
    golden_matmul_bf16(r->x + t * r->D, r->wkv, 1, r->D, r->hd, r->row);
    golden_rms_gamma(r->row, r->gamma_ckv, r->hd, r->eps);
    golden_rotate(r->row + r->hd - r->R, r->R, r->cos + t * r->R, r->sin + t * r->R);
    golden_round(r->row, r->hd, r->kv + t * r->hd);
}

static void expect_head(const reference *r, int64_t h)
{
    int64_t first = h * r->hd, width = r->H * r->hd;
    golden_matmul_i8(r->qr, r->wq_b + first, width, r->T, r->QL, r->hd, r->sums);
    for (int64_t t = 0; t < r->T; t++) {
        for (int64_t i = 0; i < r->hd; i++) {
            r->row[i] = ((float)r->sums[t * r->hd + i] * r->qr_scale[t]) * r->wq_b_scale[first + i];
        }
        golden_rms(r->row, r->hd, r->eps);
        golden_rotate(r->row + r->hd - r->R, r->R, r->cos + t * r->R, r->sin + t * r->R);
        golden_round(r->row, r->hd, r->q + t * width + first);
    }
}

static dsv4_status make_outputs(ablate_case *c, reference *r, dsv4_error *err)
{
    dsv4_status status = ablate_expect_matrix(c, "q", DSV4_BF16, r->T, r->H * r->hd, &r->q, err);
    if (status == DSV4_OK) {
        status = ablate_expect_matrix(c, "kv", DSV4_BF16, r->T, r->hd, &r->kv, err);
    }
    if (status == DSV4_OK) {
        status = ablate_expect_matrix(c, "qr", DSV4_I8, r->T, r->QL, &r->qr, err);
    }
    return status == DSV4_OK ? ablate_expect_matrix(c, "qr_scale", DSV4_F32, r->T, 1, &r->qr_scale, err) : status;
}

dsv4_status norm_expect(ablate_case *c, const dsv4_tensor *x, dsv4_error *err)
{
    arena memory = {0};
    reference r = {.T = x->shape[0],
                   .D = c->config.hidden_size,
                   .QL = c->config.q_lora_rank,
                   .H = c->config.num_attention_heads,
                   .hd = c->config.head_dim,
                   .R = c->config.qk_rope_head_dim,
                   .x = x->data,
                   .wq_a = ablate_input(c, "wq_a")->data,
                   .wkv = ablate_input(c, "wkv")->data,
                   .cos = ablate_input(c, "rope_cos")->data,
                   .sin = ablate_input(c, "rope_sin")->data,
                   .gamma_cq = ablate_input(c, "gamma_cq")->data,
                   .gamma_ckv = ablate_input(c, "gamma_ckv")->data,
                   .wq_b = ablate_input(c, "wq_b")->data,
                   .wq_b_scale = ablate_input(c, "wq_b_scale")->data,
                   .eps = (float)c->config.rms_norm_eps};
    size_t width = (size_t)tile_max(r.QL, r.hd);
    r.row = arena_alloc(&memory, width * sizeof(float));
    r.rounded = arena_alloc(&memory, width * sizeof(uint16_t));
    r.sums = arena_alloc(&memory, (size_t)(r.T * r.hd) * sizeof(int32_t));
    dsv4_status status = r.row == NULL || r.rounded == NULL || r.sums == NULL
                             ? dsv4_fail(err, DSV4_E_NO_MEMORY, "ablate norm: no memory for the reference")
                             : make_outputs(c, &r, err);
    for (int64_t t = 0; t < r.T && status == DSV4_OK; t++) {
        expect_low_rank(&r, t);
        expect_kv(&r, t);
    }
    for (int64_t h = 0; h < r.H && status == DSV4_OK; h++) {
        expect_head(&r, h);
    }
    arena_deinit(&memory);
    return status;
}
