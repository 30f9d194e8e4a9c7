#include "cli/bench/ceilings.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "cli/bench/bench.h"
#include "cli/bench/team.h"
#include "cli/machine.h"
#include "kernels/loops.h"

enum { ROUNDS_ALONE = 9, GRAIN_BYTES = 4096 };
static const size_t min_cold_bytes = (size_t)600e6;
static const double loop_s = 2e-3; /* a round of a loop of products: long beside the start of the team */

typedef enum loop_kind { READ, COPY, MULTIPLY } loop_kind;

/* One form of one ceiling. */
typedef struct form {
    loop_kind kind;
    size_t ceiling; /* offset in bench_ceilings */
    int64_t ahead;  /* READ */
    uk_loop loop;   /* MULTIPLY */
    int64_t n_rounds;
    double *seconds; /* of each round */
} form;

static const int64_t distances[] = {0, 1024, 2048, 4096, 8192, 16384};

enum { N_DISTANCES = sizeof distances / sizeof *distances, MAX_FORMS = N_DISTANCES + 4 };

struct bench_meter {
    dsv4_pool *pool;
    const uk_loops *loops;
    char *memory; /* [2 * n_bytes]: what is read, and copied; to where it is copied */
    size_t n_bytes;
    int n_rounds, n_forms;
    form forms[MAX_FORMS];
    double *seconds; /* [MAX_FORMS][max_rounds] */
};

dsv4_status bench_cold_bytes(size_t *out, dsv4_error *err)
{
    machine *m = NULL;
    dsv4_status status = machine_open(&m, err);
    if (status == DSV4_OK) {
        size_t beyond_caches = machine_cache_bytes(m) / 2 * 5;
        *out = beyond_caches > min_cold_bytes ? beyond_caches : min_cold_bytes;
    }
    machine_close(m);
    return status;
}

/* ---- one round ------------------------------------------------------------------------------------------------------------ */

typedef struct round_call {
    bench_meter *m;
    const form *f;
} round_call;

static void run_part(void *context, int worker, int n_workers)
{
    const round_call *call = context;
    bench_meter *m = call->m;
    const form *f = call->f;
    int64_t grains = (int64_t)m->n_bytes / GRAIN_BYTES, begin = bench_team_begin(grains, worker, n_workers) * GRAIN_BYTES,
            n_bytes = bench_team_begin(grains, worker + 1, n_workers) * GRAIN_BYTES - begin;
    volatile float result = 0; /* what a loop finds must be used */
    if (f->kind == READ) {
        result = (float)m->loops->read(m->memory + begin, n_bytes, f->ahead);
    } else if (f->kind == COPY) {
        m->loops->copy(m->memory + m->n_bytes + begin, m->memory + begin, n_bytes);
    } else {
        result = f->loop.run(f->n_rounds, worker);
    }
    (void)result;
}

static double take_turn(void *context)
{
    const round_call *call = context;
    return bench_team_run(call->m->pool, run_part, context);
}

static double time_form(bench_meter *m, const form *f)
{
    return bench_quiet_turn(take_turn, &(round_call){m, f});
}

void bench_meter_round(bench_meter *m)
{
    for (int i = 0; i < m->n_forms; i++) {
        m->forms[i].seconds[m->n_rounds] = time_form(m, &m->forms[i]);
    }
    m->n_rounds++;
}

bench_ceilings bench_meter_get(bench_meter *m)
{
    bench_ceilings c = {0};
    int n_workers = dsv4_pool_n_threads(m->pool);
    for (int i = 0; i < m->n_forms; i++) {
        const form *f = &m->forms[i];
        double *best = (double *)((char *)&c + f->ceiling),
               amount = f->kind == MULTIPLY ? f->loop.ops_per_round * (double)f->n_rounds * n_workers : (double)m->n_bytes,
               rate = amount / bench_times_of(f->seconds, m->n_rounds).median_s;
        *best = rate > *best ? rate : *best;
    }
    c.flops_bf16_s = c.flops_f32_s > c.flops_bf16_s ? c.flops_f32_s : c.flops_bf16_s;
    return c;
}

/* ---- opening -------------------------------------------------------------------------------------------------------------- */

static void add_form(bench_meter *m, form f)
{
    m->forms[m->n_forms++] = f;
}

/* Doubles the rounds of a loop until it runs long enough. */
static void add_products(bench_meter *m, uk_loop loop, size_t ceiling)
{
    form f = {.kind = MULTIPLY, .ceiling = ceiling, .loop = loop, .n_rounds = 1024};
    if (loop.run == NULL) {
        return;
    }
    while (time_form(m, &f) < loop_s) {
        f.n_rounds *= 2;
    }
    add_form(m, f);
}

static const uk_loops *best_loops(void)
{
    const uk_table *const *row = uk_all();
    while (!uk_is_supported(*row)) {
        row++;
    }
    return uk_find_loops(*row);
}

static void add_forms(bench_meter *m)
{
    m->loops = best_loops();
    for (int i = 0; i < N_DISTANCES; i++) {
        add_form(m, (form){.kind = READ, .ceiling = offsetof(bench_ceilings, read_bytes_s), .ahead = distances[i]});
    }
    add_form(m, (form){.kind = COPY, .ceiling = offsetof(bench_ceilings, copy_bytes_s)});
    add_products(m, m->loops->i8, offsetof(bench_ceilings, ops_i8_s));
    add_products(m, m->loops->bf16, offsetof(bench_ceilings, flops_bf16_s));
    add_products(m, m->loops->f32, offsetof(bench_ceilings, flops_f32_s));
}

/* Each worker touches the share that it will read first. */
static void fill_part(void *context, int worker, int n_workers)
{
    const bench_meter *m = context;
    int64_t grains = (int64_t)m->n_bytes / GRAIN_BYTES, begin = bench_team_begin(grains, worker, n_workers),
            end = bench_team_begin(grains, worker + 1, n_workers);
    for (int half = 0; half < 2; half++) {
        memset(m->memory + half * (int64_t)m->n_bytes + begin * GRAIN_BYTES, 1, (size_t)((end - begin) * GRAIN_BYTES));
    }
}

dsv4_status bench_meter_open(dsv4_pool *pool, int max_rounds, size_t n_bytes, bench_meter **out, dsv4_error *err)
{
    bench_meter *m = calloc(1, sizeof *m);
    if (m != NULL) {
        m->pool = pool;
        m->n_bytes = n_bytes / GRAIN_BYTES * GRAIN_BYTES;
        m->memory = memory_array(2, m->n_bytes);
        m->seconds = calloc((size_t)max_rounds * MAX_FORMS, sizeof *m->seconds);
    }
    if (m == NULL || m->memory == NULL || m->seconds == NULL) {
        bench_meter_close(m);
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "bench: no memory to stream twice %zu MB", n_bytes / 1000000);
    }
    bench_team_run(pool, fill_part, m);
    add_forms(m);
    for (int i = 0; i < m->n_forms; i++) {
        m->forms[i].seconds = m->seconds + (size_t)i * (size_t)max_rounds;
    }
    *out = m;
    return DSV4_OK;
}

void bench_meter_restart(bench_meter *m)
{
    m->n_rounds = 0;
}

void bench_meter_close(bench_meter *m)
{
    if (m != NULL) {
        free(m->memory);
        free(m->seconds);
    }
    free(m);
}

dsv4_status bench_ceilings_measure(dsv4_pool *pool, bench_ceilings *out, dsv4_error *err)
{
    bench_meter *m = NULL;
    size_t n_bytes = 0;
    dsv4_status status = bench_cold_bytes(&n_bytes, err);
    if (status == DSV4_OK) {
        status = bench_meter_open(pool, ROUNDS_ALONE, n_bytes, &m, err);
    }
    for (int i = 0; i < ROUNDS_ALONE && status == DSV4_OK; i++) {
        bench_meter_round(m);
    }
    if (status == DSV4_OK) {
        *out = bench_meter_get(m);
    }
    bench_meter_close(m);
    return status;
}
