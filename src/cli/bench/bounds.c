#include "cli/bench/bounds.h"

#include <stdlib.h>
#include <string.h>

#include "cli/bench/views.h"

/* ---- ranges of addresses -------------------------------------------------------------------------------------------------- */

typedef struct range {
    int64_t begin, end;
} range;

typedef VEC(range) range_vec;

static int compare_ranges(const void *a, const void *b)
{
    const range *x = a, *y = b;
    return (x->begin > y->begin) - (x->begin < y->begin);
}

/* Makes v ascending and disjoint. */
static void normalise(range_vec *v)
{
    int64_t n = 0;
    qsort(v->items, (size_t)v->n, sizeof *v->items, compare_ranges);
    for (int64_t i = 0; i < v->n; i++) {
        const range r = v->items[i];
        if (n > 0 && r.begin <= v->items[n - 1].end) {
            v->items[n - 1].end = r.end > v->items[n - 1].end ? r.end : v->items[n - 1].end;
        } else {
            v->items[n++] = r;
        }
    }
    v->n = n;
}

static double total_bytes(const range_vec *v)
{
    double bytes = 0;
    for (int64_t i = 0; i < v->n; i++) {
        bytes += (double)(v->items[i].end - v->items[i].begin);
    }
    return bytes;
}

/* Adds the rows of a box; false without memory. */
static bool add_box(range_vec *v, const rt_view *view, const dsv4_box *b)
{
    int64_t first = view->address + b->row0 * view->row_bytes + b->col0 * view->elem_bytes,
            width = (b->col1 - b->col0) * view->elem_bytes;
    if (width == view->row_bytes) {
        return vec_push(v, ((range){first, first + (b->row1 - b->row0) * width}));
    }
    for (int64_t row = 0; row < b->row1 - b->row0; row++) {
        if (!vec_push(v, ((range){first + row * view->row_bytes, first + row * view->row_bytes + width}))) {
            return false;
        }
    }
    return true;
}

/* ---- what comes from outside ----------------------------------------------------------------------------------------------- */

typedef struct finder {
    const dsv4_graph *g;
    bench_view_use *uses; /* [views] */
    range_vec known;      /* outside bytes that stages so far touch, ascending and disjoint */
    range_vec fresh;      /* those of the stage at hand */
} finder;

/* Inputs are read and never written, outputs written and never read. */
static bool is_outside(const finder *f, const rt_touch *t)
{
    const bench_view_use *use = &f->uses[t->view];
    return (t->mode & DSV4_UNTRACKED) == 0 && use->is_read != use->is_written;
}

/* Gathers what the stage touches outside, then takes away what stages before it have. */
static dsv4_status find_outside_bytes(finder *f, int32_t stage, dsv4_describe *d, double *bytes, dsv4_error *err)
{
    bool has_memory = true;
    dsv4_status status = DSV4_OK;
    f->fresh.n = 0;
    for (int64_t b = 0; b < f->g->stages.items[stage].n_blocks && status == DSV4_OK && has_memory; b++) {
        status = rt_describe_block(d, f->g, stage, b, err);
        for (int64_t i = 0; i < d->touches.n && has_memory; i++) {
            const rt_touch *t = &d->touches.items[i];
            has_memory = !is_outside(f, t) || add_box(&f->fresh, &f->g->views.items[t->view], &t->box);
        }
    }
    double before = total_bytes(&f->known);
    normalise(&f->fresh);
    for (int64_t i = 0; i < f->fresh.n && has_memory; i++) {
        has_memory = vec_push(&f->known, f->fresh.items[i]);
    }
    normalise(&f->known);
    *bytes = total_bytes(&f->known) - before;
    return has_memory ? status : dsv4_fail(err, DSV4_E_NO_MEMORY, "bench: no memory for the bytes of a stage");
}

/* ---- what depends on the step ---------------------------------------------------------------------------------------------- */

static const dsv4_tensor *find_either(const dsv4_tensor_list *io, const char *a, const char *b)
{
    const dsv4_tensor *t = dsv4_tensor_list_find(io, a);
    return t != NULL ? t : dsv4_tensor_list_find(io, b);
}

static int compare_codes(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* Attention reads each row once among those that the last run resolved ("attn.codes", ops/attend.h: rows of the window cache, then
 * those of the step, then compressed ones; -1 is none). */
static dsv4_status correct_attention(const dsv4_graph *g, const dsv4_tensor_list *io, const dsv4_config *config, bench_bound *stage,
                                     dsv4_error *err)
{
    const rt_view *codes = NULL;
    const dsv4_tensor *ring = find_either(io, "kv_cache", "ori_kv");
    for (int64_t v = 0; v < g->views.n; v++) {
        codes = strcmp(g->views.items[v].name, "attn.codes") == 0 ? &g->views.items[v] : codes;
    }
    if (codes == NULL || ring == NULL) {
        return dsv4_fail(err, DSV4_E_GRAPH, "bench: %s: has attention, but no view attn.codes or no window cache", g->name);
    }
    int64_t n = codes->rows * codes->cols, n_rows = 0, ring_rows = ring->shape[0] * ring->shape[1];
    int32_t *sorted = malloc((size_t)n * sizeof *sorted);
    if (sorted == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "bench: no memory for %lld keys", (long long)n);
    }
    memcpy(sorted, (const void *)(intptr_t)codes->address, (size_t)n * sizeof *sorted);
    qsort(sorted, (size_t)n, sizeof *sorted, compare_codes);
    for (int64_t i = 0; i < n; i++) {
        bool is_of_step = sorted[i] >= ring_rows && sorted[i] < ring_rows + codes->rows;
        n_rows += sorted[i] >= 0 && !is_of_step && (i == 0 || sorted[i] != sorted[i - 1]);
    }
    free(sorted);
    stage->bytes += (double)(n_rows * config->head_dim) * sizeof(uint16_t);
    return DSV4_OK;
}

/* Scores read the windows of four tokens that are complete. */
static void correct_scores(const dsv4_tensor_list *io, const dsv4_config *config, const bench_call *call, int64_t context,
                           bench_bound *stage)
{
    const dsv4_tensor *scale = dsv4_tensor_list_find(io, "idx_kv_scale");
    double row_bytes = (double)config->index_head_dim * (scale != NULL ? 1 : sizeof(uint16_t));
    stage->bytes += (double)(call->n_requests * (context / 4)) * row_bytes;
}

/* Takes away what a product of [k, n] weights does to columns that only fill up its last panel. */
static void correct_padding(int64_t k, int64_t n, size_t value_bytes, bench_bound *stage)
{
    int64_t padded = (n + UK_PANEL - 1) / UK_PANEL * UK_PANEL;
    stage->work.flops_bf16 *= (double)n / (double)padded;
    stage->work.vector_ops *= (double)n / (double)padded;
    stage->bytes -= (double)(k * (padded - n)) * (double)value_bytes;
}

static dsv4_status correct(const launch *l, const dsv4_tensor_list *io, const dsv4_config *config, const bench_call *call,
                           int64_t context, bench_bound *stage, dsv4_error *err)
{
    int64_t M = config->hc_mult;
    if (strcmp(stage->name, "attn.core") == 0) {
        return correct_attention(l->graph, io, config, stage, err);
    }
    if (strcmp(stage->name, "index.score") == 0) {
        correct_scores(io, config, call, context, stage);
    } else if (strcmp(stage->name, "hc.project") == 0) {
        correct_padding(M * config->hidden_size, M * (M + 2), sizeof(float), stage);
    } else if (strcmp(stage->name, "index.w_proj") == 0) {
        correct_padding(config->hidden_size, config->index_n_heads, sizeof(uint16_t), stage);
    }
    return DSV4_OK;
}

/* ---- stages ------------------------------------------------------------------------------------------------------------------ */

bench_bound *bench_bounds_stage(bench_bounds *b, const char *name)
{
    for (int64_t i = 0; i < b->n; i++) {
        if (strcmp(b->stages[i].name, name) == 0) {
            return &b->stages[i];
        }
    }
    b->stages[b->n] = (bench_bound){.name = name};
    return &b->stages[b->n++];
}

static dsv4_status gather(finder *f, const dsv4_stage_time *times, bench_bounds *out, dsv4_error *err)
{
    dsv4_describe d = {0};
    dsv4_status status = bench_view_uses(f->g, f->uses, err);
    for (int32_t s = 0; s < f->g->stages.n && status == DSV4_OK; s++) {
        double bytes = 0;
        if (times[s].n_blocks == 0) {
            continue;
        }
        status = find_outside_bytes(f, s, &d, &bytes, err);
        bench_bound *stage = bench_bounds_stage(out, times[s].name);
        stage->n_blocks += times[s].n_blocks;
        stage->time_s += times[s].total_s;
        stage->bytes += bytes;
        stage->work.flops_bf16 += times[s].work.flops_bf16;
        stage->work.ops_i8 += times[s].work.ops_i8;
        stage->work.vector_ops += times[s].work.vector_ops;
    }
    rt_describe_deinit(&d);
    return status;
}

dsv4_status bench_bounds_find(const launch *l, const dsv4_tensor_list *io, const dsv4_config *config, const bench_call *call,
                              int64_t context, bench_bounds *out, dsv4_error *err)
{
    size_t n_stages = (size_t)l->graph->stages.n + 1;
    finder f = {.g = l->graph, .uses = calloc((size_t)l->graph->views.n + 1, sizeof *f.uses)};
    dsv4_stage_time *times = calloc(n_stages, sizeof *times);
    *out = (bench_bounds){.stages = calloc(n_stages, sizeof *out->stages)};
    dsv4_status status = f.uses == NULL || times == NULL || out->stages == NULL
                             ? dsv4_fail(err, DSV4_E_NO_MEMORY, "bench: no memory for %zu stages", n_stages)
                             : dsv4_exec_stage_times(l->exec, times, err);
    if (status == DSV4_OK) {
        status = gather(&f, times, out, err);
    }
    for (int64_t i = 0; i < out->n && status == DSV4_OK; i++) {
        status = correct(l, io, config, call, context, &out->stages[i], err);
    }
    vec_free(&f.known);
    vec_free(&f.fresh);
    free(f.uses);
    free(times);
    if (status != DSV4_OK) {
        bench_bounds_free(out);
    }
    return status;
}

void bench_bounds_free(bench_bounds *b)
{
    free(b->stages);
    *b = (bench_bounds){0};
}

/* ---- bounds ------------------------------------------------------------------------------------------------------------------ */

double bench_bound_s(const bench_bound *stage, const bench_ceilings *c, bench_ceiling *which)
{
    const double seconds[] = {[BENCH_READ] = stage->bytes / c->read_bytes_s,
                              [BENCH_I8] = stage->work.ops_i8 / c->ops_i8_s,
                              [BENCH_BF16] = stage->work.flops_bf16 / c->flops_bf16_s,
                              [BENCH_F32] = stage->work.vector_ops / (c->flops_f32_s / 2)};
    double arithmetic_s = seconds[BENCH_I8] + seconds[BENCH_BF16] + seconds[BENCH_F32], largest_s = 0;
    bench_ceiling binding = BENCH_NO_CEILING;
    for (int i = BENCH_I8; i < BENCH_NO_CEILING; i++) {
        if (seconds[i] > largest_s) {
            largest_s = seconds[i];
            binding = (bench_ceiling)i;
        }
    }
    double bound_s = arithmetic_s;
    if (seconds[BENCH_READ] > arithmetic_s) {
        bound_s = seconds[BENCH_READ];
        binding = BENCH_READ;
    }
    if (which != NULL) {
        *which = binding;
    }
    return bound_s;
}

double bench_bounds_total_s(const bench_bounds *b, const bench_ceilings *c)
{
    double total_s = 0;
    for (int64_t i = 0; i < b->n; i++) {
        total_s += bench_bound_s(&b->stages[i], c, NULL);
    }
    return total_s;
}

double bench_bounds_bytes(const bench_bounds *b)
{
    double bytes = 0;
    for (int64_t i = 0; i < b->n; i++) {
        bytes += b->stages[i].bytes;
    }
    return bytes;
}

double bench_bounds_ops(const bench_bounds *b)
{
    double ops = 0;
    for (int64_t i = 0; i < b->n; i++) {
        ops += b->stages[i].work.flops_bf16 + b->stages[i].work.ops_i8;
    }
    return ops;
}
