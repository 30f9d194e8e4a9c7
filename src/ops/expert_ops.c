/* ops/expert_ops.c - the operators expert_shared, expert_routed and expert_routed_fp4 (SPEC 6.5): tables and bindings of ops/experts.h.
 *
 * SHAPES    expert_shared  x_local_i8 i8[T,D]  x_local_scale_dq f32[T,1]  shared_w* i8, scales f32  ->  sh bf16[T,D]
 *           expert_routed  recv_x i8[EL,RM,D]  recv_scale_dq, recv_weights f32[EL,RM]  recv_expert_count i32[EL,1]
 *                          routed_w* i8, scales f32  ->  recv_y bf16[EL,RM,D], 0 in rows from the count on
 *           expert_routed_fp4  the same with routed_w*_fp4 u8[..,K/2], two e2m1 codes a byte, scales e8m0[..,K/32]
 * STAGES    expert.plan    [1]       counts -> slots, verdict       routed experts alone
 *           expert.clear   [expert]  rows of recv_y from the count on
 *           and those of ops/experts.h */
#include <string.h>

#include "ops/experts.h"
#include "ops/table.h"
#include "ops/tile.h"
#include "ops/verdict.h"

enum { F_TILE, D_TILE };

static const op_tile tiles[] = {
    {"f_tile", "hidden values of a block", 64, 64, UK_PANEL, NULL, NULL},
    {"d_tile", "outputs of a block", 128, 128, UK_PANEL, NULL, NULL},
};

/* ---- expert_shared --------------------------------------------------------------------------------------------------------- */

#define SHARED_WEIGHT(name, shape, meaning) ROW_IN(name, DSV4_I8, shape, meaning, DRAW_BY("wq:" name "_scale", -1, 1))

static const op_tensor shared_tensors[] = {
    ROW_IN("x_local_i8", DSV4_I8, "T,D", "quantised rows", DRAW_BY("rq:x_local_scale_dq", 1, 0)),
    ROW_IN("x_local_scale_dq", DSV4_F32, "T,1", "their scales", DRAW_NONE),
    SHARED_WEIGHT("shared_w1", "F,D", "gate"),
    ROW_IN("shared_w1_scale", DSV4_F32, "F", "its scale per output", DRAW_NONE),
    SHARED_WEIGHT("shared_w3", "F,D", "up"),
    ROW_IN("shared_w3_scale", DSV4_F32, "F", "its scale per output", DRAW_NONE),
    SHARED_WEIGHT("shared_w2", "D,F", "down"),
    ROW_IN("shared_w2_scale", DSV4_F32, "D", "its scale per output", DRAW_NONE),
    ROW_OUT("sh", DSV4_BF16, "T,D", "result", RULE_RELDIFF(2e-3, 0.01, 0)),
};

static op_slots slots_of_all(const op_context *c, int64_t n_rows)
{
    op_slots slots = op_slots_new(c, "expert.slots", 1, n_rows);
    int32_t count = (int32_t)n_rows;
    if (slots.route.data != NULL) {
        op_slots_fill_counts(&slots, &count, n_rows);
    }
    return slots;
}

op_expert_rows op_shared_expert_add(const op_context *c, op_matrix x, op_matrix x_scale, op_matrix y, int64_t f_tile,
                                    int64_t d_tile)
{
    return op_experts_add(c, &(op_experts){.slots = slots_of_all(c, x.rows),
                                           .x = x,
                                           .x_scale = x_scale,
                                           .routes_per_row = 1,
                                           .w1 = "shared_w1",
                                           .w3 = "shared_w3",
                                           .w2 = "shared_w2",
                                           .scale1 = "shared_w1_scale",
                                           .scale3 = "shared_w3_scale",
                                           .scale2 = "shared_w2_scale",
                                           .y = y,
                                           .f_tile = f_tile,
                                           .d_tile = d_tile});
}

static void build_shared(const op_context *c)
{
    op_shared_expert_add(c, op_matrix_named(c, "x_local_i8", 1), op_matrix_named(c, "x_local_scale_dq", 1),
                         op_matrix_named(c, "sh", 1), c->tile[F_TILE], c->tile[D_TILE]);
}

const dsv4_op op_expert_shared = {
    .name = "expert_shared",
    .summary = "the expert that all tokens share, INT8",
    OP_TENSORS(shared_tensors),
    OP_TILES(tiles),
    .check = op_experts_check,
    .build = build_shared,
};

/* ---- expert_routed --------------------------------------------------------------------------------------------------------- */

#define RECEIVED                                                                                               \
    ROW_IN("recv_x", DSV4_I8, "EL,RM,D", "rows that each expert received", DRAW_BY("rq:recv_scale_dq", 1, 0)), \
        ROW_IN("recv_scale_dq", DSV4_F32, "EL,RM", "their scales", DRAW_NONE),                                 \
        ROW_IN("recv_weights", DSV4_F32, "EL,RM", "their routing weights", DRAW_UNIFORM(0, 1)),                \
        ROW_IN("recv_expert_count", DSV4_I32, "EL,1", "valid rows of each expert", DRAW_BY("expert_counts", 0, 0))

#define RETURNED ROW_OUT("recv_y", DSV4_BF16, "EL,RM,D", "weighted results, 0 beyond the count", RULE_RELDIFF(2e-3, 0.01, 0))

#define ROUTED_FP4(name, outputs, inputs, meaning, sd)                                                         \
    ROW_IN(name, DSV4_U8, "EL," outputs "," inputs "/2", meaning, DRAW_BY("mx4_codes:" name "_scale", sd, 0)), \
        ROW_IN(name "_scale", DSV4_F8_E8M0, "EL," outputs "," inputs "/32", "its scale per 32 inputs", DRAW_NONE)

#define ROUTED_WEIGHT(name, shape, meaning, sd) ROW_IN(name, DSV4_I8, shape, meaning, DRAW_BY("mx4:" name "_scale", sd, 0))

static const op_tensor routed_tensors[] = {
    RECEIVED,
    ROUTED_WEIGHT("routed_w1", "EL,F,D", "gate", 0.0247),
    ROW_IN("routed_w1_scale", DSV4_F32, "EL,F", "its scale per output", DRAW_NONE),
    ROUTED_WEIGHT("routed_w3", "EL,F,D", "up", 0.0246),
    ROW_IN("routed_w3_scale", DSV4_F32, "EL,F", "its scale per output", DRAW_NONE),
    ROUTED_WEIGHT("routed_w2", "EL,D,F", "down", 0.0244),
    ROW_IN("routed_w2_scale", DSV4_F32, "EL,D", "its scale per output", DRAW_NONE),
    RETURNED,
};

static const op_tensor routed_fp4_tensors[] = {
    RECEIVED,
    ROUTED_FP4("routed_w1_fp4", "F", "D", "gate, two e2m1 codes a byte", 0.0247),
    ROUTED_FP4("routed_w3_fp4", "F", "D", "up", 0.0246),
    ROUTED_FP4("routed_w2_fp4", "D", "F", "down", 0.0244),
    RETURNED,
};

typedef struct receiver {
    op_matrix given, counts; /* I32 [EL, 1]: of the step; as far as the step is valid */
    op_matrix y;
    op_slots slots;
    op_verdict verdict;
    int64_t room;
} receiver;

static void plan_describe(const void *arg, int64_t block, dsv4_describe *d)
{
    const receiver *o = arg;
    (void)block;
    op_matrix_reads(d, &o->given);
    op_matrix_writes(d, &o->counts);
    op_slots_writes(d, &o->slots);
    op_verdict_writes(d, &o->verdict);
    dsv4_costs(d, (dsv4_work){.vector_ops = (double)o->slots.route.cols});
}

static void plan_run(const void *arg, int64_t block, void *scratch)
{
    const receiver *o = arg;
    const int32_t *given = op_matrix_ints(&o->given);
    int64_t n = o->given.rows;
    dsv4_status status = DSV4_OK;
    (void)block;
    (void)scratch;
    memset(o->verdict.own, 0, sizeof *o->verdict.own);
    for (int64_t e = 0; e < n && status == DSV4_OK; e++) {
        if (given[e] < 0 || given[e] > o->room) {
            status = dsv4_fail(o->verdict.own, DSV4_E_VALUE, "%s: recv_expert_count of expert %lld is %lld, expected 0 to %lld",
                               o->verdict.op, (long long)e, (long long)given[e], (long long)o->room);
        }
    }
    for (int64_t e = 0; e < n; e++) {
        ((int32_t *)o->counts.data)[e] = status == DSV4_OK ? given[e] : 0;
    }
    op_slots_fill_counts(&o->slots, o->counts.data, o->room);
}

static void clear_describe(const void *arg, int64_t e, dsv4_describe *d)
{
    const receiver *o = arg;
    dsv4_reads(d, o->counts.view, e, e + 1, 0, 1);
    dsv4_touch(d, DSV4_WRITE | DSV4_UNTRACKED, o->y.view, (dsv4_box){e * o->room, (e + 1) * o->room, 0, o->y.cols});
}

static void clear_run(const void *arg, int64_t e, void *scratch)
{
    const receiver *o = arg;
    int64_t n = op_matrix_ints(&o->counts)[e];
    (void)scratch;
    memset((uint16_t *)o->y.data + (e * o->room + n) * o->y.cols, 0, (size_t)((o->room - n) * o->y.cols) * sizeof(uint16_t));
}

/* experts has the weights. */
static void add_routed(const op_context *c, op_experts experts)
{
    receiver *o = dsv4_graph_memory(c->g, sizeof *o);
    if (o == NULL) {
        return;
    }
    int64_t EL = c->dims.of[OP_EL], RM = c->dims.of[OP_RM];
    *o = (receiver){.given = op_matrix_named(c, "recv_expert_count", 1),
                    .counts = op_matrix_new(c, "expert.counts", EL, 1, DSV4_I32),
                    .y = op_matrix_named(c, "recv_y", 1),
                    .slots = op_slots_new(c, "expert.slots", EL, EL * RM),
                    .verdict = op_verdict_new(c),
                    .room = RM};
    dsv4_graph_stage(c->g, &(dsv4_stage_desc){"expert.plan", 1, plan_run, plan_describe, o, 0, DSV4_VECTOR});
    dsv4_graph_stage(c->g, &(dsv4_stage_desc){"expert.clear", EL, clear_run, clear_describe, o, 0, DSV4_VECTOR});
    experts.slots = o->slots;
    experts.x = op_matrix_named(c, "recv_x", 1);
    experts.x_scale = op_matrix_named(c, "recv_scale_dq", 1);
    experts.routes_per_row = 1;
    experts.weights = op_matrix_named(c, "recv_weights", 1);
    experts.y = o->y;
    experts.f_tile = c->tile[F_TILE];
    experts.d_tile = c->tile[D_TILE];
    op_experts_add(c, &experts);
}

static void build_routed(const op_context *c)
{
    add_routed(c, (op_experts){.w1 = "routed_w1",
                               .w3 = "routed_w3",
                               .w2 = "routed_w2",
                               .scale1 = "routed_w1_scale",
                               .scale3 = "routed_w3_scale",
                               .scale2 = "routed_w2_scale"});
}

static void build_routed_fp4(const op_context *c)
{
    add_routed(c, (op_experts){.is_fp4 = true,
                               .w1 = "routed_w1_fp4",
                               .w3 = "routed_w3_fp4",
                               .w2 = "routed_w2_fp4",
                               .scale1 = "routed_w1_fp4_scale",
                               .scale3 = "routed_w3_fp4_scale",
                               .scale2 = "routed_w2_fp4_scale"});
}

const dsv4_op op_expert_routed = {
    .name = "expert_routed",
    .summary = "routed experts over the rows that each received, INT8",
    OP_TENSORS(routed_tensors),
    OP_TILES(tiles),
    .check = op_experts_check,
    .build = build_routed,
};

const dsv4_op op_expert_routed_fp4 = {
    .name = "expert_routed_fp4",
    .summary = "routed experts over the rows that each received, INT8 rows and FP4 weights",
    OP_TENSORS(routed_fp4_tensors),
    OP_TILES(tiles),
    .check = op_experts_check_fp4,
    .build = build_routed_fp4,
};
