#include "cli/bench/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/memory.h"
#include "base/progress.h"
#include "cli/bench/products.h"
#include "cli/bench/team.h"
#include "cli/bench/vectors.h"
#include "cli/bench/work.h"
#include "kernels/loops.h"

enum { N_ROWS = 8, N_FAMILIES = 2, DEPTH = 1024, COLD_PANELS = 64 /* of a worker */ };
enum {
    N_COLD_ROWS = 3,
    FIRST_COLD_ROW = 2 /* 4, 8 and 16 rows */,
    N_COLD = N_FAMILIES * N_COLD_ROWS,
    MAX_PROBES = 80,
    MAX_VECTORS = 32,
    STREAM_GRAIN = 4096,
    READ_AHEAD = 2048
};
enum { N_FREE_BLOCKS = 10000, N_GRID = 100, N_HANDOVERS = 2000, ROUNDS_ALONE = 9 };
static const int64_t row_counts[N_ROWS] = {1, 2, 4, 8, 16, 32, 64, 128};

/* ---- probes --------------------------------------------------------------------------------------------------------------- */

/* One thing that is measured: what a turn costs, and how much a turn does. */
typedef struct probe {
    double (*turn)(void *context); /* seconds */
    void *context;
    double amount;   /* of a turn, of all workers that take part */
    double *seconds; /* of each round */
} probe;

typedef struct stream {
    bench_device *device;
    int64_t n_bytes; /* of all workers that take part */
    int n_workers;   /* that take part; the others stay idle */
    int n_times;     /* passes of a turn */
    bool copies;
} stream;

/* One of bench/vectors.h. */
typedef struct kernel {
    bench_device *device;
    int index;
} kernel;

/* A graph of blocks that do nothing. */
typedef struct idle_graph {
    bench_work work;
    dsv4_exec *exec;
} idle_graph;

enum { STREAM_MEMORY_ONE, STREAM_MEMORY, STREAM_CACHE_ONE, STREAM_CACHE, STREAM_WRITE_ONE, STREAM_WRITE, STREAM_CORE, N_STREAMS };
enum { GRAPH_FREE, GRAPH_EDGES, GRAPH_HANDOVER, N_GRAPHS };

struct bench_device {
    machine *machine;
    dsv4_pool *pool, *alone; /* all workers; one */
    const uk_table *uk;
    const uk_loops *loops;
    char *memory; /* [2 * n_bytes] */
    size_t n_bytes, cache_bytes;
    int n_rounds, max_rounds, n_probes;
    probe probes[MAX_PROBES];
    double *samples; /* [MAX_PROBES][max_rounds] */
    stream streams[N_STREAMS];
    product_setting setting, setting_alone;
    product_weights weights[N_FAMILIES], cold_weights[N_FAMILIES];
    product products[N_FAMILIES][N_ROWS], cold[N_COLD], cold_alone[N_COLD];
    vectors vectors;
    kernel kernels[MAX_VECTORS];
    int n_vectors;
    idle_graph graphs[N_GRAPHS];
    /* Of each thing the first probe. */
    int first_stream, first_product, first_cold, first_cold_alone, first_vector, first_graph;
};

static double rate_of(const bench_device *b, int i)
{
    const probe *p = &b->probes[i];
    return p->amount / bench_times_of(p->seconds, b->n_rounds).p10_s;
}

static void add_probe(bench_device *b, double (*turn)(void *), void *context, double amount)
{
    double *seconds = b->samples + (size_t)b->n_probes * (size_t)b->max_rounds;
    b->probes[b->n_probes++] = (probe){turn, context, amount, seconds};
}

/* ---- streams --------------------------------------------------------------------------------------------------------------- */

static void stream_part(void *context, int worker, int n_workers)
{
    const stream *s = context;
    (void)n_workers;
    if (worker >= s->n_workers) {
        return;
    }
    const bench_device *b = s->device;
    int64_t grains = s->n_bytes / STREAM_GRAIN, begin = bench_team_begin(grains, worker, s->n_workers) * STREAM_GRAIN,
            n_bytes = bench_team_begin(grains, worker + 1, s->n_workers) * STREAM_GRAIN - begin;
    volatile uint64_t result = 0; /* what a loop finds must be used */
    for (int i = 0; i < s->n_times; i++) {
        if (s->copies) {
            b->loops->copy(b->memory + b->n_bytes + begin, b->memory + begin, n_bytes);
        } else {
            result = b->loops->read(b->memory + begin, n_bytes, READ_AHEAD);
        }
    }
    (void)result;
}

static double stream_turn(void *context)
{
    const stream *s = context;
    return bench_team_run(s->device->pool, stream_part, context);
}

static void add_streams(bench_device *b)
{
    int n = dsv4_pool_n_threads(b->pool);
    int64_t far = (int64_t)b->n_bytes, near = (int64_t)(b->cache_bytes / 2);
    b->streams[STREAM_MEMORY_ONE] = (stream){b, far / n, 1, 1, false};
    b->streams[STREAM_MEMORY] = (stream){b, far, n, 1, false};
    b->streams[STREAM_CACHE_ONE] = (stream){b, near, 1, 4, false};
    b->streams[STREAM_CACHE] = (stream){b, near, n, 4, false};
    b->streams[STREAM_WRITE_ONE] = (stream){b, far / n, 1, 1, true};
    b->streams[STREAM_WRITE] = (stream){b, far, n, 1, true};
    b->streams[STREAM_CORE] = (stream){b, (int64_t)machine_core_cache_bytes(b->machine) / 2 * n, n, 256, false};
    b->first_stream = b->n_probes;
    for (int i = 0; i < N_STREAMS; i++) {
        add_probe(b, stream_turn, &b->streams[i], (double)b->streams[i].n_bytes * b->streams[i].n_times);
    }
}

/* Each worker touches the share that it reads when all of them read. */
static void fill_part(void *context, int worker, int n_workers)
{
    const bench_device *b = context;
    int64_t grains = (int64_t)b->n_bytes / STREAM_GRAIN, begin = bench_team_begin(grains, worker, n_workers) * STREAM_GRAIN,
            end = bench_team_begin(grains, worker + 1, n_workers) * STREAM_GRAIN;
    memset(b->memory + begin, 1, (size_t)(end - begin));
    memset(b->memory + b->n_bytes + begin, 1, (size_t)(end - begin));
}

/* ---- products -------------------------------------------------------------------------------------------------------------- */

/* Panels of a worker that stay beside its core, with activations and sums: a quarter of what it has for itself. */
static int64_t near_panels(const bench_device *b, int f)
{
    int64_t n = (int64_t)machine_core_cache_bytes(b->machine) / 4 / families[f].panel_bytes(DEPTH);
    return n < 1 ? 1 : n > COLD_PANELS ? COLD_PANELS : n;
}

static double product_turn(void *context)
{
    return product_take_turn(context);
}

static dsv4_status add_product(bench_device *b, const product_setting *setting, product *p, int f, int64_t rows, product_weights *w,
                               int64_t n_panels, dsv4_error *err)
{
    int n_workers = dsv4_pool_n_threads(setting->pool);
    product_init(p, &families[f], (family_shape){1, DEPTH, n_panels * UK_PANEL * n_workers}, rows, n_workers);
    dsv4_status status = product_prepare(p, setting, w, err);
    add_probe(b, product_turn, p, 2.0 * (double)rows * DEPTH * (double)p->shape.n);
    return status;
}

/* The first two families: BF16 and INT8. */
static dsv4_status add_products(bench_device *b, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    b->first_product = b->n_probes;
    for (int f = 0; f < N_FAMILIES; f++) {
        for (int i = 0; i < N_ROWS && status == DSV4_OK; i++) {
            status = add_product(b, &b->setting, &b->products[f][i], f, row_counts[i], &b->weights[f], near_panels(b, f), err);
        }
    }
    b->first_cold = b->n_probes;
    for (int i = 0; i < N_COLD && status == DSV4_OK; i++) {
        status = add_product(b, &b->setting, &b->cold[i], i / N_COLD_ROWS, row_counts[FIRST_COLD_ROW + i % N_COLD_ROWS],
                             &b->cold_weights[i / N_COLD_ROWS], COLD_PANELS, err);
    }
    b->first_cold_alone = b->n_probes;
    for (int i = 0; i < N_COLD && status == DSV4_OK; i++) {
        status = add_product(b, &b->setting_alone, &b->cold_alone[i], i / N_COLD_ROWS, row_counts[FIRST_COLD_ROW + i % N_COLD_ROWS],
                             &b->cold_weights[i / N_COLD_ROWS], COLD_PANELS, err);
    }
    return status;
}

static dsv4_status open_weights(bench_device *b, dsv4_error *err)
{
    int n_workers = dsv4_pool_n_threads(b->pool);
    for (int f = 0; f < N_FAMILIES; f++) {
        size_t scratch = families[f].scratch_bytes(DEPTH);
        b->setting.scratch_bytes = scratch > b->setting.scratch_bytes ? scratch : b->setting.scratch_bytes;
        b->weights[f].n_bytes = families[f].panel_bytes(DEPTH) * near_panels(b, f) * n_workers;
        b->cold_weights[f].n_bytes = (int64_t)b->n_bytes;
        b->weights[f].data = memory_array((size_t)b->weights[f].n_bytes, 1);
        b->cold_weights[f].data = memory_array(b->n_bytes, 1);
        if (b->weights[f].data == NULL || b->cold_weights[f].data == NULL) {
            return dsv4_fail(err, DSV4_E_NO_MEMORY, "bench: no memory for %zu MB of weights", b->n_bytes / 1000000);
        }
        product_draw_weights(b->pool, &families[f], &b->weights[f]);
        product_draw_weights(b->pool, &families[f], &b->cold_weights[f]);
    }
    b->setting.pool = b->pool;
    b->setting.uk = b->uk;
    b->setting.y = memory_zeroed_array((size_t)(row_counts[N_ROWS - 1] * COLD_PANELS * UK_PANEL * n_workers), sizeof(float));
    b->setting.scratch = memory_zeroed_array((size_t)n_workers, b->setting.scratch_bytes);
    b->setting_alone = b->setting;
    b->setting_alone.pool = b->alone;
    return b->setting.y != NULL && b->setting.scratch != NULL
               ? DSV4_OK
               : dsv4_fail(err, DSV4_E_NO_MEMORY, "bench: no memory for the outputs of products");
}

/* ---- elementwise ----------------------------------------------------------------------------------------------------------- */

static double vector_turn(void *context)
{
    const kernel *k = context;
    return vectors_take_turn(&k->device->vectors, k->index);
}

/* All kernels that are no products and count operations. */
static dsv4_status add_vectors(bench_device *b, dsv4_error *err)
{
    dsv4_status status = vectors_open(&b->vectors, b->pool, b->uk, err);
    b->first_vector = b->n_probes;
    for (int i = 0; i < vectors_n() && b->n_vectors < MAX_VECTORS && status == DSV4_OK; i++) {
        bench_row row;
        vectors_describe(&b->vectors, i, &row);
        if (row.ops > 0 && strncmp(row.name, "gemm", 4) != 0) {
            kernel *k = &b->kernels[b->n_vectors++];
            *k = (kernel){b, i};
            add_probe(b, vector_turn, k, row.ops);
        }
    }
    return status;
}

/* ---- graphs of blocks that do nothing --------------------------------------------------------------------------------------- */

static double graph_turn(void *context)
{
    idle_graph *g = context;
    dsv4_status never_refused = dsv4_exec_run(g->exec, 0, NULL);
    (void)never_refused;
    double begin_s = clock_s();
    never_refused = dsv4_exec_run(g->exec, 0, NULL);
    return clock_s() - begin_s;
}

static dsv4_status add_graph(bench_device *b, int which, const bench_spec *spec, dsv4_pool *pool, dsv4_error *err)
{
    idle_graph *g = &b->graphs[which];
    dsv4_status status = bench_work_init(&g->work, spec, err);
    if (status == DSV4_OK) {
        status = dsv4_exec_create(g->work.graph, pool, 1, &g->exec, err);
    }
    add_probe(b, graph_turn, g, (double)(spec->n_stages * spec->n_blocks));
    return status;
}

static dsv4_status add_graphs(bench_device *b, dsv4_error *err)
{
    const bench_spec free = {"free", BENCH_FREE, 1, N_FREE_BLOCKS, 0, 0}, edges = {"edges", BENCH_NEIGHBOURS, N_GRID, N_GRID, 0, 0},
                     handover = {"handover", BENCH_ALL, N_HANDOVERS, dsv4_pool_n_threads(b->pool), 0, 0};
    b->first_graph = b->n_probes;
    dsv4_status status = add_graph(b, GRAPH_FREE, &free, b->alone, err);
    if (status == DSV4_OK) {
        status = add_graph(b, GRAPH_EDGES, &edges, b->alone, err);
    }
    return status == DSV4_OK ? add_graph(b, GRAPH_HANDOVER, &handover, b->pool, err) : status;
}

/* ---- opening --------------------------------------------------------------------------------------------------------------- */

static dsv4_status open_memory(bench_device *b, dsv4_error *err)
{
    dsv4_status status = bench_cold_bytes(&b->n_bytes, err);
    if (status != DSV4_OK) {
        return status;
    }
    b->n_bytes = b->n_bytes / STREAM_GRAIN * STREAM_GRAIN;
    b->cache_bytes = machine_cache_bytes(b->machine);
    b->memory = memory_array(2, b->n_bytes);
    b->samples = calloc((size_t)b->max_rounds * MAX_PROBES, sizeof *b->samples);
    if (b->memory == NULL || b->samples == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "bench: no memory to stream twice %zu MB", b->n_bytes / 1000000);
    }
    bench_team_run(b->pool, fill_part, b);
    return open_weights(b, err);
}

static dsv4_status add_probes(bench_device *b, dsv4_error *err)
{
    add_streams(b);
    dsv4_status status = add_products(b, err);
    if (status == DSV4_OK) {
        status = add_vectors(b, err);
    }
    return status == DSV4_OK ? add_graphs(b, err) : status;
}

dsv4_status bench_device_open(dsv4_pool *pool, int max_rounds, bench_device **out, dsv4_error *err)
{
    bench_device *b = calloc(1, sizeof *b);
    if (b == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "bench: no memory to measure the machine");
    }
    b->pool = pool;
    b->max_rounds = max_rounds;
    dsv4_status status = machine_open(&b->machine, err);
    if (status == DSV4_OK) {
        status = uk_find(NULL, &b->uk, err);
    }
    if (status == DSV4_OK) {
        b->loops = uk_find_loops(b->uk);
        status = dsv4_pool_create(1, &b->alone, err);
    }
    if (status == DSV4_OK) {
        status = open_memory(b, err);
    }
    if (status == DSV4_OK) {
        status = add_probes(b, err);
    }
    if (status != DSV4_OK) {
        bench_device_close(b);
        return status;
    }
    *out = b;
    return DSV4_OK;
}

void bench_device_close(bench_device *b)
{
    if (b == NULL) {
        return;
    }
    for (int f = 0; f < N_FAMILIES; f++) {
        for (int i = 0; i < N_ROWS; i++) {
            product_deinit(&b->products[f][i]);
        }
        free(b->weights[f].data);
        free(b->cold_weights[f].data);
    }
    for (int i = 0; i < N_COLD; i++) {
        product_deinit(&b->cold[i]);
        product_deinit(&b->cold_alone[i]);
    }
    for (int i = 0; i < N_GRAPHS; i++) {
        dsv4_exec_destroy(b->graphs[i].exec);
        bench_work_deinit(&b->graphs[i].work);
    }
    vectors_close(&b->vectors);
    dsv4_pool_destroy(b->alone);
    machine_close(b->machine);
    free(b->setting.y);
    free(b->setting.scratch);
    free(b->memory);
    free(b->samples);
    free(b);
}

/* ---- measuring ------------------------------------------------------------------------------------------------------------- */

void bench_device_round(bench_device *b)
{
    for (int i = 0; i < b->n_probes; i++) {
        b->probes[i].seconds[b->n_rounds] = bench_quiet_turn(b->probes[i].turn, b->probes[i].context);
    }
    b->n_rounds++;
}

void bench_device_restart(bench_device *b)
{
    b->n_rounds = 0;
}

/* ---- the description ------------------------------------------------------------------------------------------------------- */

/* Of one core: the peak, and the share of it at each number of rows. */
static sim_rate rate_of_family(const bench_device *b, int f)
{
    int n_workers = dsv4_pool_n_threads(b->pool);
    sim_rate rate = {.step_m = 1, .step_n = 1, .step_k = 1};
    for (int i = 0; i < N_ROWS; i++) {
        double ops_s = rate_of(b, b->first_product + f * N_ROWS + i) / n_workers;
        rate.by_rows.at[i] = (double)row_counts[i];
        rate.by_rows.share[i] = ops_s;
        rate.ops_s = ops_s > rate.ops_s ? ops_s : rate.ops_s;
    }
    for (int i = 0; i < N_ROWS; i++) {
        rate.by_rows.share[i] /= rate.ops_s;
    }
    rate.by_rows.n = N_ROWS;
    return rate;
}

/* Of one core: all kernels doing as many operations as each other. */
static sim_rate rate_of_vectors(const bench_device *b)
{
    double seconds = 0;
    for (int i = 0; i < b->n_vectors; i++) {
        seconds += 1 / rate_of(b, b->first_vector + i);
    }
    return (sim_rate){.ops_s = b->n_vectors / seconds / dsv4_pool_n_threads(b->pool), .step_m = 1, .step_n = 1, .step_k = 1};
}

/* Of the shorter of two times, what the longer one hides: t = longer + (1 - overlap) * shorter. Mean over products that n_workers did
 * together on weights from memory at that rate. */
static double overlap_of(const bench_device *b, int first, const product *cold, double bytes_s, int n_workers)
{
    double sum = 0;
    for (int i = 0; i < N_COLD; i++) {
        int cached = b->first_product + i / N_COLD_ROWS * N_ROWS + FIRST_COLD_ROW + i % N_COLD_ROWS;
        double ops = b->probes[first + i].amount, time_s = ops / rate_of(b, first + i),
               arithmetic_s = ops / (rate_of(b, cached) / dsv4_pool_n_threads(b->pool) * n_workers),
               transfer_s = (double)cold[i].run_bytes / bytes_s;
        double longer = arithmetic_s > transfer_s ? arithmetic_s : transfer_s, shorter = arithmetic_s + transfer_s - longer;
        sum += 1 - (time_s - longer) / shorter;
    }
    double overlap = sum / N_COLD;
    return overlap < 0 ? 0 : overlap > 1 ? 1 : overlap;
}

static void describe_levels(const bench_device *b, sim_device *d)
{
    double one = rate_of(b, b->first_stream + STREAM_MEMORY_ONE), all = rate_of(b, b->first_stream + STREAM_MEMORY),
           near_one = rate_of(b, b->first_stream + STREAM_CACHE_ONE), near = rate_of(b, b->first_stream + STREAM_CACHE),
           write_one = rate_of(b, b->first_stream + STREAM_WRITE_ONE), write = rate_of(b, b->first_stream + STREAM_WRITE);
    double core = rate_of(b, b->first_stream + STREAM_CORE) / dsv4_pool_n_threads(b->pool);
    d->levels[0] = (sim_level){.name = "memory",
                               .is_shared = true,
                               .read_bytes_s = all,
                               .write_bytes_s = write,
                               .core_read_bytes_s = one,
                               .core_write_bytes_s = write_one,
                               .line_bytes = 64};
    d->levels[1] = (sim_level){.name = "shared cache",
                               .is_shared = true,
                               .bytes = (double)b->cache_bytes,
                               .read_bytes_s = near,
                               .write_bytes_s = near,
                               .core_read_bytes_s = near_one,
                               .core_write_bytes_s = near_one,
                               .line_bytes = 64};
    d->levels[2] = (sim_level){.name = "core cache",
                               .bytes = (double)machine_core_cache_bytes(b->machine),
                               .read_bytes_s = core,
                               .write_bytes_s = core,
                               .line_bytes = 64};
    d->n_levels = 3;
}

/* Seconds of a block of a graph that does nothing. */
static double block_s(const bench_device *b, int graph)
{
    return 1 / rate_of(b, b->first_graph + graph);
}

static void describe_schedule(const bench_device *b, sim_device *d)
{
    int n_workers = dsv4_pool_n_threads(b->pool);
    double dispatch = block_s(b, GRAPH_FREE), edge = (block_s(b, GRAPH_EDGES) - dispatch) / 3,
           handover = block_s(b, GRAPH_HANDOVER) * n_workers - dispatch - n_workers * edge;
    d->schedule = (sim_schedule){.dispatch_s = dispatch, .edge_s = edge > 0 ? edge : 0, .pickup_s = handover > 0 ? handover : 0};
}

dsv4_status bench_device_get(bench_device *b, sim_device *d, dsv4_error *err)
{
    char cpu[128], note[256];
    cpu_model_name(cpu, sizeof cpu);
    snprintf(note, sizeof note, "measured by dsv4 bench device: %s, %d cores, %s", cpu, dsv4_pool_n_threads(b->pool), b->uk->isa);
    d->name = arena_copy_text(&d->memory, cpu);
    d->note = arena_copy_text(&d->memory, note);
    if (d->name == NULL || d->note == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "bench: no memory for a device");
    }
    d->cores[0] = (sim_core_kind){.name = "core",
                                  .count = dsv4_pool_n_threads(b->pool),
                                  .runs_cube = true,
                                  .runs_vector = true,
                                  .bf16 = rate_of_family(b, 0),
                                  .i8 = rate_of_family(b, 1),
                                  .vector = rate_of_vectors(b)};
    d->n_core_kinds = 1;
    describe_levels(b, d);
    describe_schedule(b, d);
    int n_workers = dsv4_pool_n_threads(b->pool);
    d->overlap = overlap_of(b, b->first_cold_alone, b->cold_alone, d->levels[0].core_read_bytes_s, 1);
    double shared = overlap_of(b, b->first_cold, b->cold, d->levels[0].read_bytes_s, n_workers);
    d->overlap_lost = shared < d->overlap ? d->overlap - shared : 0;
    return DSV4_OK;
}

dsv4_status bench_device_measure(int n_threads, sim_device *d, dsv4_error *err)
{
    dsv4_pool *pool = NULL;
    bench_device *b = NULL;
    dsv4_status status = dsv4_pool_create(n_threads, &pool, err);
    if (status == DSV4_OK) {
        status = bench_device_open(pool, ROUNDS_ALONE, &b, err);
    }
    progress bar = progress_begin("micro-suite");
    for (int i = 0; i < ROUNDS_ALONE && status == DSV4_OK; i++) {
        bench_device_round(b);
        progress_report(&bar, (i + 1.0) / ROUNDS_ALONE);
    }
    progress_end(&bar);
    if (status == DSV4_OK) {
        status = bench_device_get(b, d, err);
    }
    bench_device_close(b);
    dsv4_pool_destroy(pool);
    return status;
}
