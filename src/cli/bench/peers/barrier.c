#include "cli/bench/peers/barrier.h"

#include <omp.h>
#include <stdlib.h>

#include "base/memory.h"
#include "cli/bench/peers/dnnl.h"
#include "cli/bench/views.h"
#include "kernels/kernels.h"

/* A stage, or the product that stands for it. */
typedef struct step {
    const rt_stage *stage;
    peer_dnnl *product; /* NULL: the stage itself */
} step;

struct bench_barrier {
    step *steps;
    int64_t n_steps;
    int n_threads, n_products;
    void **scratch; /* [n_threads] */
    double weight_bytes;
};

/* ---- which stages are products ---------------------------------------------------------------------------------------------- */

/* What a stage multiplies. */
typedef struct product_shape {
    peer_dnnl_types types;
    int64_t m, k, n;
    const void *weights; /* panels, read as a plain matrix of as many bytes */
} product_shape;

/* Packed weights are views of bytes (ops/project.h) which blocks read and none writes. */
static const rt_view *find_weights(const dsv4_graph *g, const bench_view_use *uses, const dsv4_describe *d)
{
    const rt_view *found = NULL;
    for (int64_t i = 0; i < d->touches.n; i++) {
        const rt_touch *t = &d->touches.items[i];
        const rt_view *v = &g->views.items[t->view];
        bool is_panels = t->mode == DSV4_READ && !uses[t->view].is_written && v->elem_bytes == 1 && v->cols % (4 * UK_PANEL) == 0;
        found = is_panels && (found == NULL || v->rows * v->cols > found->rows * found->cols) ? v : found;
    }
    return found;
}

/* Adds up the work of a stage's blocks. */
static dsv4_status sum_work(const dsv4_graph *g, int32_t stage, dsv4_describe *d, dsv4_work *work, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    for (int64_t b = 0; b < g->stages.items[stage].n_blocks && status == DSV4_OK; b++) {
        status = rt_describe_block(d, g, stage, b, err);
        work->flops_bf16 += d->work.flops_bf16;
        work->ops_i8 += d->work.ops_i8;
        work->vector_ops += d->work.vector_ops;
    }
    return status;
}

/* The work tells the type: INT8, BF16 or FP32 (declared as fma); the bytes of the panels the depth. */
static product_shape shape_of(const rt_view *weights, const dsv4_work *work)
{
    product_shape s = {.n = weights->rows * UK_PANEL, .weights = (const void *)(intptr_t)weights->address};
    double fmas = work->vector_ops;
    if (work->ops_i8 > 0) {
        s.types = PEER_DNNL_U8_S8;
        s.k = weights->cols / UK_PANEL;
        fmas = work->ops_i8 / 2;
    } else if (work->flops_bf16 > 0) {
        s.types = PEER_DNNL_BF16_BF16;
        s.k = weights->cols / (2 * UK_PANEL);
        fmas = work->flops_bf16 / 2;
    } else {
        s.types = PEER_DNNL_F32_F32;
        s.k = weights->cols / (4 * UK_PANEL);
    }
    s.m = (int64_t)(fmas / ((double)s.n * (double)s.k));
    return s;
}

/* ---- opening ------------------------------------------------------------------------------------------------------------------
 * */

static dsv4_status add_step(bench_barrier *b, const dsv4_graph *g, int32_t stage, const bench_view_use *uses, dsv4_describe *d,
                            dsv4_error *err)
{
    step *s = &b->steps[b->n_steps++];
    *s = (step){.stage = &g->stages.items[stage]};
    dsv4_work work = {0};
    dsv4_status status = rt_describe_block(d, g, stage, 0, err);
    const rt_view *weights = status == DSV4_OK ? find_weights(g, uses, d) : NULL;
    if (weights == NULL || s->stage->kind != DSV4_CUBE) {
        return status;
    }
    status = sum_work(g, stage, d, &work, err);
    if (status == DSV4_OK) {
        product_shape shape = shape_of(weights, &work);
        status = peer_dnnl_create(shape.types, shape.m, shape.k, shape.n, shape.weights, 1, &s->product, err);
        b->n_products++;
        b->weight_bytes += (double)(weights->rows * weights->row_bytes);
    }
    return status;
}

static dsv4_status open_scratch(bench_barrier *b, size_t n_bytes, dsv4_error *err)
{
    b->scratch = calloc((size_t)b->n_threads, sizeof *b->scratch);
    bool has_memory = b->scratch != NULL;
    for (int i = 0; i < b->n_threads && has_memory; i++) {
        b->scratch[i] = memory_zeroed_array(n_bytes, 1);
        has_memory = b->scratch[i] != NULL;
    }
    return has_memory ? DSV4_OK : dsv4_fail(err, DSV4_E_NO_MEMORY, "bench: no memory for the scratch of %d threads", b->n_threads);
}

static dsv4_status open_steps(bench_barrier *b, const dsv4_graph *g, dsv4_error *err)
{
    dsv4_describe d = {0};
    bench_view_use *uses = calloc((size_t)g->views.n + 1, sizeof *uses);
    b->steps = calloc((size_t)g->stages.n + 1, sizeof *b->steps);
    dsv4_status status = uses == NULL || b->steps == NULL
                             ? dsv4_fail(err, DSV4_E_NO_MEMORY, "bench: no memory for %lld stages", (long long)g->stages.n)
                             : bench_view_uses(g, uses, err);
    for (int32_t s = 0; s < g->stages.n && status == DSV4_OK; s++) {
        if (g->stages.items[s].run != NULL && g->stages.items[s].n_blocks > 0) {
            status = add_step(b, g, s, uses, &d, err);
        }
    }
    rt_describe_deinit(&d);
    free(uses);
    return status;
}

dsv4_status bench_barrier_open(const dsv4_graph *g, int n_threads, bench_barrier **out, dsv4_error *err)
{
    bench_barrier *b = calloc(1, sizeof *b);
    if (b == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "bench: no memory for a peer of %s", g->name);
    }
    b->n_threads = n_threads;
    dsv4_status status = open_scratch(b, g->scratch_bytes, err);
    if (status == DSV4_OK) {
        status = open_steps(b, g, err);
    }
    if (status == DSV4_OK) {
        *out = b;
    } else {
        bench_barrier_close(b);
    }
    return status;
}

void bench_barrier_close(bench_barrier *b)
{
    if (b == NULL) {
        return;
    }
    for (int64_t i = 0; i < b->n_steps; i++) {
        peer_dnnl_destroy(b->steps[i].product);
    }
    for (int i = 0; b->scratch != NULL && i < b->n_threads; i++) {
        free(b->scratch[i]);
    }
    free(b->scratch);
    free(b->steps);
    free(b);
}

/* ---- running ------------------------------------------------------------------------------------------------------------------
 * */

static void run_stage(const bench_barrier *b, const rt_stage *s)
{
#pragma omp parallel for schedule(static) num_threads(b->n_threads) if (s->n_blocks > 1)
    for (int64_t block = 0; block < s->n_blocks; block++) {
        s->run(s->arg, block, b->scratch[omp_get_thread_num()]);
    }
}

void bench_barrier_run(const bench_barrier *b)
{
    for (int64_t i = 0; i < b->n_steps; i++) {
        if (b->steps[i].product != NULL) {
            peer_dnnl_run(b->steps[i].product, 0);
        } else {
            run_stage(b, b->steps[i].stage);
        }
    }
}

int bench_barrier_n_products(const bench_barrier *b)
{
    return b->n_products;
}

double bench_barrier_weight_bytes(const bench_barrier *b)
{
    return b->weight_bytes;
}
