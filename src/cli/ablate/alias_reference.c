#include <math.h>

#include "base/arena.h"
#include "cli/ablate/alias.h"
#include "golden/parts.h"
#include "golden/primitives.h"

/* Plain loops over the reference's primitives: SPEC 3.2, but for the queries, which are rounded to BF16 before they are rotated, too. */
typedef struct reference {
    const alias_indexer *o; /* inputs and dimensions */
    int8_t *q, *key;        /* [S*IH, ID] of a request, [ID] */
    float *q_scale, *weights, *head, *score;
    uint16_t *rounded;
    int32_t *sums, *topk;
} reference;

static void expect_query(const reference *r, int64_t t, int64_t h)
{
    const alias_indexer *o = r->o;
    int64_t col = h * o->ID, request = t / o->S, row = t % o->S * o->IH + h;
    golden_matmul_i8(ablate_i8(&o->qr, t, 0), ablate_i8(&o->wq_b, 0, col), o->wq_b.ld, 1, o->qr.cols, o->ID, r->sums);
    for (int64_t i = 0; i < o->ID; i++) {
        r->head[i] = ((float)r->sums[i] * *op_matrix_f32(&o->qr_scale, t, 0)) * *op_matrix_f32(&o->wq_b_scale, 0, col + i);
    }
    golden_round(r->head, o->ID, r->rounded);
    golden_widen(r->rounded, o->ID, r->head);
    golden_rotate_f32(r->head + o->ID - o->R, o->R, op_matrix_f32(&o->cos, request, 0), op_matrix_f32(&o->sin, request, 0));
    golden_round(r->head, o->ID, r->rounded);
    golden_matmul_bf16(r->rounded, o->hadamard.data, 1, o->ID, o->ID, r->head);
    r->q_scale[row] = golden_q8(r->head, o->ID, r->q + row * o->ID);
}

/* Score of a key, quantised, for token s of the request. */
static float expect_score(const reference *r, int64_t s, float key_scale)
{
    const alias_indexer *o = r->o;
    double sum = 0;
    for (int64_t h = 0; h < o->IH; h++) {
        int64_t row = s * o->IH + h;
        int32_t dot = 0;
        for (int64_t i = 0; i < o->ID; i++) {
            dot += r->q[row * o->ID + i] * r->key[i];
        }
        float scaled = ((float)dot * r->q_scale[row]) * key_scale;
        sum += (scaled < 0 ? 0 : scaled) * r->weights[row];
    }
    return (float)sum;
}

static void expect_keys(const reference *r, int64_t request)
{
    const alias_indexer *o = r->o;
    for (int64_t i = 0; i < o->score.cols; i++) {
        const uint16_t *key = alias_key_at(o, request, i);
        float scale = 0;
        if (key != NULL) {
            golden_widen(key, o->ID, r->head);
            scale = golden_q8(r->head, o->ID, r->key);
        }
        for (int64_t s = 0; s < o->S; s++) {
            r->score[(request * o->S + s) * o->score.cols + i] = key == NULL ? alias_no_score : expect_score(r, s, scale);
        }
    }
}

static dsv4_status expect_request(const reference *r, int64_t request, dsv4_error *err)
{
    const alias_indexer *o = r->o;
    float scale = (float)((1 / sqrt((double)o->ID)) * (1 / sqrt((double)o->IH)));
    dsv4_status status = DSV4_OK;
    for (int64_t s = 0; s < o->S; s++) {
        for (int64_t h = 0; h < o->IH; h++) {
            expect_query(r, request * o->S + s, h);
        }
    }
    golden_matmul_bf16(ablate_bf16(&o->x, request * o->S, 0), o->weights_proj.data, o->S, o->x.cols, o->IH, r->weights);
    for (int64_t i = 0; i < o->S * o->IH; i++) {
        r->weights[i] *= scale;
    }
    expect_keys(r, request);
    for (int64_t t = request * o->S; t < (request + 1) * o->S && status == DSV4_OK; t++) {
        int32_t *out = r->topk + t * o->score.cols;
        status = golden_topk(r->score + t * o->score.cols, o->n_keys, o->k, out, err);
        for (int64_t i = 0; i < o->score.cols; i++) {
            out[i] = i < o->k ? out[i] + (int32_t)o->offset : -1;
        }
    }
    return status;
}

static bool cut_scratch(reference *r, arena *memory)
{
    size_t ID = (size_t)r->o->ID, heads = (size_t)(r->o->S * r->o->IH);
    r->q = arena_alloc(memory, heads * ID);
    r->key = arena_alloc(memory, ID);
    r->q_scale = arena_alloc(memory, heads * sizeof(float));
    r->weights = arena_alloc(memory, heads * sizeof(float));
    r->head = arena_alloc(memory, ID * sizeof(float));
    r->rounded = arena_alloc(memory, ID * sizeof(uint16_t));
    r->sums = arena_alloc(memory, ID * sizeof(int32_t));
    return r->q != NULL && r->key != NULL && r->q_scale != NULL && r->weights != NULL && r->head != NULL && r->rounded != NULL &&
           r->sums != NULL;
}

static dsv4_status expect(ablate_case *c, const alias_indexer *o, dsv4_error *err)
{
    arena memory = {0};
    reference r = {.o = o};
    dsv4_status status = ablate_expect_matrix(c, "score", DSV4_F32, o->T, o->score.cols, &r.score, err);
    if (status == DSV4_OK) {
        status = ablate_expect_matrix(c, "topk_idxs", DSV4_I32, o->T, o->score.cols, &r.topk, err);
    }
    if (status == DSV4_OK && !cut_scratch(&r, &memory)) {
        status = dsv4_fail(err, DSV4_E_NO_MEMORY, "ablate alias: no memory for the reference");
    }
    for (int64_t b = 0; b < o->B && status == DSV4_OK; b++) {
        status = expect_request(&r, b, err);
    }
    arena_deinit(&memory);
    return status;
}

dsv4_status alias_expect(ablate_case *c, dsv4_error *err)
{
    dsv4_graph *views = dsv4_graph_create("inputs");
    if (views == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "ablate alias: no memory for its inputs");
    }
    const op_context ctx = {.g = views};
    alias_indexer o = {.score = {.cols = c->config.max_position_embeddings / ALIAS_RATIO}};
    alias_set_inputs(&o, c, &ctx);
    dsv4_status status = expect(c, &o, err);
    dsv4_graph_destroy(views);
    return status;
}
