#include "model/step/rope.h"

#include "ops/rope.h"

enum { ROW_TILE = 16 };

void step_rope_make(const step_rope *r, int ratio, int64_t position, float *turn)
{
    const float *frequency = r->frequency[ratio > 0];
    int64_t half = r->R / 2;
    for (int64_t j = 0; j < half; j++) {
        double angle = (double)((float)position * frequency[j]);
        turn[j] = (float)cos(angle);
        turn[half + j] = (float)sin(angle);
    }
}

void step_rope_reads(dsv4_describe *d, const step_rope *r, int ratio, int64_t t0, int64_t t1)
{
    int64_t col = ratio > 0 ? r->R : 0;
    dsv4_reads(d, r->turns.view, t0, t1, col, col + r->R);
}

/* Pairs (re, im) times (cos, sign * sin), each rounded once. */
static void rotate_pairs(int64_t n_pairs, const float *turn, double sign, float *x)
{
    for (int64_t j = 0; j < n_pairs; j++) {
        double c = (double)turn[j], s = sign * (double)turn[n_pairs + j], re = (double)x[2 * j], im = (double)x[2 * j + 1];
        x[2 * j] = (float)(re * c - im * s);
        x[2 * j + 1] = (float)(re * s + im * c);
    }
}

void step_rotate(const step *s, const float *turn, int64_t n, float *row)
{
    int64_t R = s->rope->R;
    rotate_pairs(R / 2, turn, 1, row + n - R);
    step_round(s, R, row + n - R);
}

void step_rotate_back(const step *s, const float *turn, int64_t n, float *row)
{
    int64_t R = s->rope->R;
    rotate_pairs(R / 2, turn, -1, row + n - R);
    step_round(s, R, row + n - R);
}

/* ---- the turns of a step ------------------------------------------------------------------------------------------------- */

typedef struct rope_stage {
    step_rope rope; /* first: what others hold */
    const step_rows *rows;
} rope_stage;

static void describe(const void *arg, int64_t block, dsv4_describe *d)
{
    const rope_stage *o = arg;
    tile_range t = tile_at(block, ROW_TILE, o->rope.turns.rows);
    dsv4_writes(d, o->rope.turns.view, t.begin, t.end, 0, o->rope.turns.cols);
    dsv4_costs(d, (dsv4_work){.vector_ops = 40.0 * (double)((t.end - t.begin) * o->rope.turns.cols)});
}

static void run(const void *arg, int64_t block, void *scratch)
{
    const rope_stage *o = arg;
    tile_range t = tile_at(block, ROW_TILE, o->rope.turns.rows);
    (void)scratch;
    for (int64_t row = t.begin; row < tile_min(t.end, o->rows->n); row++) {
        for (int kind = 0; kind < 2; kind++) {
            step_rope_make(&o->rope, kind, o->rows->position[row], op_matrix_f32(&o->rope.turns, row, kind * o->rope.R));
        }
    }
}

const step_rope *step_rope_add(const step *s)
{
    const dsv4_config *d = &s->config->dims;
    rope_stage *o = dsv4_graph_memory(s->op.g, sizeof *o);
    float *frequency = dsv4_graph_memory(s->op.g, (size_t)d->qk_rope_head_dim * sizeof *frequency);
    if (o == NULL || frequency == NULL) {
        return NULL;
    }
    int64_t R = d->qk_rope_head_dim;
    op_rope_frequencies(d, 0, frequency);
    op_rope_frequencies(d, 4, frequency + R / 2);
    o->rope = (step_rope){.R = R, .frequency = {frequency, frequency + R / 2}};
    o->rope.turns = op_matrix_new(&s->op, "rope", s->T, 2 * R, DSV4_F32);
    o->rows = s->rows;
    dsv4_graph_stage(s->op.g, &(dsv4_stage_desc){"rope", tile_count(s->T, ROW_TILE), run, describe, o, 0, DSV4_VECTOR});
    return &o->rope;
}
