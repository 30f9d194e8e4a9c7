/* cli/ablate/study.c - one study: its variants built over the same inputs, compared with the reference, timed in turn, simulated. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/ablate/ablate.h"
#include "cli/ablate/layout.h"
#include "cli/bench/bench.h"
#include "cli/devices.h"
#include "ops/tile.h"
#include "sim/sim.h"

/* A variant that is ready to be replayed. Zero-initialise; close_variant always. */
typedef struct open_variant {
    const ablate_study *study;
    const ablate_variant *variant;
    dsv4_tensor_list io; /* outputs */
    dsv4_graph *graph;
    dsv4_exec *exec;
    dsv4_stage_time *stages; /* [n_stages] */
    int64_t n_stages;
    double *samples[ABLATE_MAX_SERIES]; /* [rounds] */
} open_variant;

static void close_variant(open_variant *v)
{
    dsv4_exec_destroy(v->exec);
    dsv4_graph_destroy(v->graph);
    dsv4_tensor_list_deinit(&v->io);
    free(v->stages);
    free(v->samples[0]);
}

/* ---- building ---------------------------------------------------------------------------------------------------------------- */

static dsv4_status make_outputs(const ablate_case *c, dsv4_tensor_list *io, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    for (size_t i = 0; i < c->expected.n && status == DSV4_OK; i++) {
        const dsv4_named_tensor *e = &c->expected.items[i];
        status = dsv4_tensor_list_alloc(io, e->name, e->tensor.dtype, e->tensor.n_dims, e->tensor.shape, NULL, err);
    }
    return status;
}

static dsv4_status no_memory(const open_variant *v, dsv4_error *err)
{
    return dsv4_fail(err, DSV4_E_NO_MEMORY, "ablate %s: no memory for variant %s", v->study->name, v->variant->name);
}

static dsv4_status open_variant_of(open_variant *v, const ablate_case *c, dsv4_pool *pool, int rounds, dsv4_error *err)
{
    v->graph = dsv4_graph_create(v->variant->name);
    v->samples[0] = calloc((size_t)rounds * (size_t)v->study->n_series, sizeof(double));
    if (v->graph == NULL || v->samples[0] == NULL) {
        return no_memory(v, err);
    }
    for (int s = 1; s < v->study->n_series; s++) {
        v->samples[s] = v->samples[0] + (size_t)s * (size_t)rounds;
    }
    dsv4_status status = make_outputs(c, &v->io, err);
    if (status != DSV4_OK) {
        return status;
    }
    op_context ctx = {.config = &c->config, .dims = op_dims_of_config(&c->config), .uk = c->uk, .pool = pool, .g = v->graph};
    v->study->build(c, &ctx, &v->io, v->variant->choice);
    status = dsv4_graph_seal(v->graph, v->variant->deps, err);
    if (status == DSV4_OK) {
        status = dsv4_exec_create(v->graph, pool, 1, &v->exec, err);
    }
    if (status != DSV4_OK) {
        return status;
    }
    v->n_stages = dsv4_graph_get_info(v->graph).n_stages;
    v->stages = calloc((size_t)v->n_stages + 1, sizeof *v->stages);
    return v->stages != NULL ? DSV4_OK : no_memory(v, err);
}

/* ---- the reference ---------------------------------------------------------------------------------------------------------- */

static dsv4_status compare_lists(const ablate_case *c, const dsv4_tensor_list *io, const ablate_output *o, cmp_result *out,
                                 dsv4_error *err)
{
    const dsv4_tensor *a = dsv4_tensor_list_find(io, o->name), *e = dsv4_tensor_list_find(&c->expected, o->name);
    const dsv4_tensor *scores = dsv4_tensor_list_find(io, o->scores), *expected = dsv4_tensor_list_find(&c->expected, o->scores);
    int64_t width = e->shape[e->n_dims - 1], k = tile_min(c->config.index_topk, width);
    cmp_topk lists = {.actual = a->data,
                      .expected = e->data,
                      .rows = dsv4_tensor_count(e) / width,
                      .k = k,
                      .row_stride = width,
                      .actual_scores = scores->data,
                      .expected_scores = expected->data,
                      .n_scores = scores->shape[scores->n_dims - 1],
                      .offset = (int32_t)dsv4_tensor_get(dsv4_tensor_list_find(&c->inputs, "offset"), 0),
                      .atol = o->rule.atol,
                      .rtol = o->rule.rtol};
    return cmp_topk_rows(&lists, false, out, err);
}

static bool writes(const open_variant *v, const ablate_output *o)
{
    return v->study->output_of == NULL || strcmp(v->study->output_of(v->variant->choice), o->name) == 0;
}

static dsv4_status compare_variant(const ablate_case *c, const open_variant *v, ablate_result *r, dsv4_error *err)
{
    r->pass = true;
    for (int i = 0; i < v->study->n_outputs; i++) {
        const ablate_output *o = &v->study->outputs[i];
        cmp_result result = {0};
        if (!writes(v, o)) {
            continue;
        }
        dsv4_status status = o->rule.kind == CMP_TOPK
                                 ? compare_lists(c, &v->io, o, &result, err)
                                 : cmp_tensors(o->name, dsv4_tensor_list_find(&v->io, o->name),
                                               dsv4_tensor_list_find(&c->expected, o->name), &o->rule, &result, err);
        if (status != DSV4_OK) {
            return status;
        }
        double share = result.n > 0 ? (double)result.n_bad / (double)result.n : 0;
        r->pass = r->pass && result.pass;
        r->worst_share = share > r->worst_share ? share : r->worst_share;
    }
    return DSV4_OK;
}

/* ---- measures --------------------------------------------------------------------------------------------------------------- */

static bool is_in_series(const ablate_series *s, int variant)
{
    for (int i = 0; i < s->n_rows; i++) {
        if (s->rows[i].variant == variant) {
            return true;
        }
    }
    return false;
}

/* Whether a list of names with commas between holds the name. */
static bool names_stage(const char *list, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = list; at != NULL; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, name, n) == 0 && (at[n] == ',' || at[n] == '\0')) {
            return true;
        }
    }
    return list == NULL;
}

/* What a series measures, of a run. */
static double measure_run(const trace *t, const ablate_series *s)
{
    double first_s = INFINITY, last_s = 0, busy_s = 0;
    int64_t n = 0;
    for (int64_t i = 0; i < t->run.n_events; i++) {
        const trace_event *e = &t->run.events[i];
        if (names_stage(s->stages, t->graph.stages[t->graph.tasks[e->task].stage].name)) {
            first_s = fmin(first_s, e->start_s);
            last_s = fmax(last_s, e->end_s);
            busy_s += e->end_s - e->start_s;
            n++;
        }
    }
    switch (s->measure) {
    case ABLATE_BUSY:
        return busy_s;
    case ABLATE_TASK:
        return n > 0 ? busy_s / (double)n : 0;
    default:
        return n > 0 ? last_s - first_s : 0;
    }
}

/* A replay, for bench_quiet_turn. */
typedef struct replay {
    dsv4_exec *exec;
    dsv4_status status;
    dsv4_error *err;
} replay;

static double replay_once(void *context)
{
    replay *r = context;
    r->status = dsv4_exec_run(r->exec, 0, r->err);
    return dsv4_exec_get_summary(r->exec).makespan_s;
}

static dsv4_status time_round(open_variant *v, int variant, int round, dsv4_error *err)
{
    trace t = {0};
    replay r = {.exec = v->exec, .err = err};
    bench_quiet_turn(replay_once, &r);
    dsv4_status status = r.status;
    if (status == DSV4_OK) {
        status = trace_capture(v->exec, &t, err);
    }
    for (int s = 0; s < v->study->n_series && status == DSV4_OK; s++) {
        if (is_in_series(&v->study->series[s], variant)) {
            v->samples[s][round] = measure_run(&t, &v->study->series[s]);
        }
    }
    trace_deinit(&t);
    return status;
}

/* ---- simulation ------------------------------------------------------------------------------------------------------------- */

enum { WARM_REPLAYS = 1 };

/* Bytes that the stages of a series move from the farthest level but those that their boxes hold, and these. */
static void add_bytes(const trace *t, const sim_result *sim, const sim_device *d, const ablate_series *s, double *moved,
                      double *wanted)
{
    for (int64_t i = 0; i < t->graph.n_stages; i++) {
        if (names_stage(s->stages, t->graph.stages[i].name)) {
            *wanted += sim->stages[i].wanted_bytes;
            for (int l = 0; l < d->n_levels; l++) {
                *moved += sim->stages[i].level_bytes[l];
            }
        }
    }
}

static dsv4_status simulate(const open_variant *v, int variant, const sim_device *d, ablate_result *r, dsv4_error *err)
{
    trace t = {0};
    sim_result sim = {0};
    dsv4_status status = trace_capture_graph(v->graph, &t, err);
    if (status == DSV4_OK) {
        status = layout_place(&t.graph, err);
    }
    if (status == DSV4_OK) {
        status = sim_run(d, &(sim_options){.warm = WARM_REPLAYS}, &t, &sim, err);
    }
    for (int s = 0; s < v->study->n_series && status == DSV4_OK; s++) {
        const ablate_series *series = &v->study->series[s];
        if (is_in_series(series, variant)) {
            r->device_s[s] = measure_run(&t, series);
            add_bytes(&t, &sim, d, series, &r->moved_bytes[s], &r->wanted_bytes[s]);
        }
    }
    sim_result_deinit(&sim);
    trace_deinit(&t);
    return status;
}

static dsv4_status simulate_all(const open_variant *variants, const ablate_study *study, const char *path, ablate_report *out,
                                dsv4_error *err)
{
    sim_device d = {0};
    dsv4_status status = devices_read(path, &d, err);
    if (status == DSV4_OK) {
        snprintf(out->device, sizeof out->device, "%s", d.name);
    }
    for (int i = 0; i < study->n_variants && status == DSV4_OK; i++) {
        status = simulate(&variants[i], i, &d, &out->variants[i], err);
    }
    sim_device_deinit(&d);
    return status;
}

static void count_launches(const open_variant *v, ablate_result *r)
{
    for (int64_t i = 0; i < v->n_stages; i++) {
        r->launches += v->stages[i].n_blocks > 0;
        r->blocks += v->stages[i].n_blocks;
        r->vector_ops += v->stages[i].work.vector_ops;
    }
}

dsv4_status ablate_check(const ablate_study *study, int variant, const ablate_case *c, dsv4_pool *pool, ablate_result *out,
                         dsv4_error *err)
{
    open_variant v = {.study = study, .variant = &study->variants[variant]};
    dsv4_status status = open_variant_of(&v, c, pool, 1, err);
    if (status == DSV4_OK) {
        status = dsv4_exec_run(v.exec, 0, err);
    }
    if (status == DSV4_OK) {
        status = compare_variant(c, &v, out, err);
    }
    close_variant(&v);
    return status;
}

/* ---- a study ---------------------------------------------------------------------------------------------------------------- */

typedef struct running_study {
    const ablate_options *o;
    ablate_case c;
    dsv4_pool *pool;
    open_variant variants[ABLATE_MAX_VARIANTS];
} running_study;

static dsv4_status open_all(running_study *r, const ablate_study *study, ablate_report *out, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    progress bar = progress_begin("variants");
    for (int i = 0; i < study->n_variants && status == DSV4_OK; i++) {
        open_variant *v = &r->variants[i];
        *v = (open_variant){.study = study, .variant = &study->variants[i]};
        status = open_variant_of(v, &r->c, r->pool, (int)r->o->rounds, err);
        if (status == DSV4_OK && r->o->verify) {
            status = dsv4_graph_verify(v->graph, r->c.seed, NULL, err);
        }
        if (status == DSV4_OK) {
            status = dsv4_exec_run(v->exec, 0, err);
        }
        if (status == DSV4_OK) {
            status = compare_variant(&r->c, v, &out->variants[i], err);
        }
        if (status == DSV4_OK) {
            status = dsv4_exec_stage_times(v->exec, v->stages, err);
            count_launches(v, &out->variants[i]);
        }
        progress_report(&bar, (double)(i + 1) / study->n_variants);
    }
    progress_end(&bar);
    return status;
}

static dsv4_status time_all(running_study *r, const ablate_study *study, ablate_report *out, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    int rounds = (int)r->o->rounds;
    progress bar = progress_begin("replays");
    for (int round = 0; round < rounds && status == DSV4_OK; round++) {
        for (int i = 0; i < study->n_variants && status == DSV4_OK; i++) {
            status = time_round(&r->variants[i], i, round, err);
        }
        progress_report(&bar, (double)(round + 1) / rounds);
    }
    progress_end(&bar);
    for (int i = 0; i < study->n_variants && status == DSV4_OK; i++) {
        for (int s = 0; s < study->n_series; s++) {
            out->variants[i].machine_s[s] = bench_times_of(r->variants[i].samples[s], rounds).median_s;
        }
    }
    return status;
}

static dsv4_status run_open(running_study *r, const ablate_study *study, ablate_report *out, dsv4_error *err)
{
    dsv4_status status = study->prepare(&r->c, err);
    if (status == DSV4_OK) {
        status = dsv4_pool_create((int)r->o->n_threads, &r->pool, err);
    }
    if (status == DSV4_OK) {
        out->n_workers = dsv4_pool_n_threads(r->pool);
        status = open_all(r, study, out, err);
    }
    if (status == DSV4_OK) {
        status = time_all(r, study, out, err);
    }
    if (status == DSV4_OK) {
        status = simulate_all(r->variants, study, r->o->device, out, err);
    }
    if (status == DSV4_OK && study->figures != NULL) {
        status = study->figures(&r->c, &out->figures, err);
    }
    return status;
}

dsv4_status ablate_run(const ablate_study *study, const ablate_options *o, ablate_report *out, dsv4_error *err)
{
    running_study *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "ablate %s: no memory", study->name);
    }
    r->o = o;
    r->c = (ablate_case){.tiny = strcmp(o->preset, "tiny") == 0, .seed = (uint64_t)o->seed, .uk = o->uk};
    *out = (ablate_report){.study = study, .config = o->preset, .rounds = (int)o->rounds};
    dsv4_status status = dsv4_config_preset(o->preset, &r->c.config, err);
    if (status == DSV4_OK) {
        status = run_open(r, study, out, err);
    }
    for (int i = 0; i < study->n_variants; i++) {
        close_variant(&r->variants[i]);
    }
    dsv4_pool_destroy(r->pool);
    dsv4_tensor_list_deinit(&r->c.inputs);
    dsv4_tensor_list_deinit(&r->c.expected);
    free(r);
    return status;
}
