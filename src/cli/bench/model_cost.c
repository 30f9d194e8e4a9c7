#include "cli/bench/model_cost.h"

#include <stdlib.h>
#include <string.h>

#include "cli/bench/views.h"

/* ---- weights that are declared -------------------------------------------------------------------------------------------- */

/* Adds the views that a stage reads and nothing writes: weights. */
static dsv4_status add_weights(const dsv4_graph *g, int32_t stage, const bench_view_use *uses, int32_t *last_reader,
                               dsv4_describe *d, double *bytes, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    for (int64_t b = 0; b < g->stages.items[stage].n_blocks && status == DSV4_OK; b++) {
        status = rt_describe_block(d, g, stage, b, err);
        for (int64_t i = 0; i < d->touches.n; i++) {
            const rt_touch *t = &d->touches.items[i];
            if (uses[t->view].is_written || (t->mode & DSV4_UNTRACKED) != 0 || last_reader[t->view] == stage) {
                continue;
            }
            last_reader[t->view] = stage;
            *bytes += (double)(g->views.items[t->view].rows * g->views.items[t->view].row_bytes);
        }
    }
    return status;
}

static dsv4_status gather(const dsv4_graph *g, const dsv4_stage_time *times, bench_bounds *out, dsv4_error *err)
{
    dsv4_describe d = {0};
    bench_view_use *uses = calloc((size_t)g->views.n + 1, sizeof *uses);
    int32_t *last_reader = malloc(((size_t)g->views.n + 1) * sizeof *last_reader);
    dsv4_status status = uses == NULL || last_reader == NULL ? dsv4_fail(err, DSV4_E_NO_MEMORY, "bench: no memory for views")
                                                             : bench_view_uses(g, uses, err);
    for (int64_t v = 0; v < g->views.n && status == DSV4_OK; v++) {
        last_reader[v] = RT_NONE;
    }
    for (int32_t s = 0; s < g->stages.n && status == DSV4_OK; s++) {
        if (times[s].n_blocks == 0) {
            continue;
        }
        bench_bound *stage = bench_bounds_stage(out, times[s].name);
        stage->n_blocks += times[s].n_blocks;
        stage->time_s += times[s].total_s;
        stage->work.flops_bf16 += times[s].work.flops_bf16;
        stage->work.ops_i8 += times[s].work.ops_i8;
        stage->work.vector_ops += times[s].work.vector_ops;
        status = add_weights(g, s, uses, last_reader, &d, &stage->bytes, err);
    }
    rt_describe_deinit(&d);
    free(uses);
    free(last_reader);
    return status;
}

/* ---- experts -------------------------------------------------------------------------------------------------------------- */

static double expert_bytes(const model_expert_bank *bank)
{
    const uk_packed *w = &bank->first.packed;
    return (double)(w->n_panels * w->panel_bytes) + (bank->first.scales != NULL ? (double)w->n * sizeof(float) : 0);
}

/* Different experts among those of n routes. */
static int64_t count_experts(const int32_t *experts, int64_t n, bool *seen, int64_t n_experts)
{
    int64_t count = 0;
    memset(seen, 0, (size_t)n_experts * sizeof *seen);
    for (int64_t i = 0; i < n; i++) {
        count += !seen[experts[i]];
        seen[experts[i]] = true;
    }
    return count;
}

static void scale_work(bench_bound *stage, double factor)
{
    stage->work.ops_i8 *= factor;
    stage->work.flops_bf16 *= factor;
    stage->work.vector_ops *= factor;
}

/* The products of the experts are declared for as many rows a slot as there would be on average if all slots were in use. */
static dsv4_status add_experts(const model_graph *graph, const model_weights *w, bench_bounds *out, int64_t *n_experts,
                               dsv4_error *err)
{
    const dsv4_graph *g = graph->g;
    int64_t E = w->config.n_routed_experts, K = w->config.num_experts_per_tok, n_routes = graph->rows->n * K, n_layers = 0;
    int64_t n_slots = E < graph->T * K ? E : graph->T * K, rows = (2 * graph->T * K + n_slots) / (2 * n_slots);
    bench_bound *up = bench_bounds_stage(out, "moe.up"), *down = bench_bounds_stage(out, "moe.down");
    bool *seen = malloc((size_t)E * sizeof *seen);
    if (seen == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "bench: no memory for %lld experts", (long long)E);
    }
    *n_experts = 0;
    for (int64_t v = 0; v < g->views.n; v++) {
        const rt_view *view = &g->views.items[v];
        if (strcmp(view->name, "moe.experts") != 0 || n_layers == w->n_blocks) {
            continue;
        }
        const model_block_weights *block = &w->blocks[n_layers++];
        int64_t n = count_experts((const int32_t *)(const void *)(intptr_t)view->address, n_routes, seen, E);
        up->bytes += (double)n * (expert_bytes(&block->w1) + expert_bytes(&block->w3));
        down->bytes += (double)n * expert_bytes(&block->w2);
        *n_experts += n;
    }
    free(seen);
    double declared = (double)*n_experts * (rows > 1 ? (double)rows : 1), factor = (double)(n_routes * n_layers) / declared;
    scale_work(up, factor);
    scale_work(down, factor);
    return DSV4_OK;
}

/* ---- a step --------------------------------------------------------------------------------------------------------------- */

dsv4_status model_cost_find(const model_graph *graph, const model_weights *w, bench_bounds *out, int64_t *n_experts,
                            dsv4_error *err)
{
    size_t n_stages = (size_t)graph->g->stages.n + 2;
    dsv4_stage_time *times = calloc(n_stages, sizeof *times);
    *out = (bench_bounds){.stages = calloc(n_stages, sizeof *out->stages)};
    dsv4_status status = times == NULL || out->stages == NULL
                             ? dsv4_fail(err, DSV4_E_NO_MEMORY, "bench: no memory for %zu stages", n_stages)
                             : dsv4_exec_stage_times(graph->exec, times, err);
    if (status == DSV4_OK) {
        status = gather(graph->g, times, out, err);
    }
    if (status == DSV4_OK) {
        status = add_experts(graph, w, out, n_experts, err);
    }
    free(times);
    if (status != DSV4_OK) {
        bench_bounds_free(out);
    }
    return status;
}

bench_bound model_cost_total(const bench_bounds *b)
{
    bench_bound all = {.name = "step"};
    for (int64_t i = 0; i < b->n; i++) {
        all.n_blocks += b->stages[i].n_blocks;
        all.time_s += b->stages[i].time_s;
        all.bytes += b->stages[i].bytes;
        all.work.flops_bf16 += b->stages[i].work.flops_bf16;
        all.work.ops_i8 += b->stages[i].work.ops_i8;
        all.work.vector_ops += b->stages[i].work.vector_ops;
    }
    return all;
}
