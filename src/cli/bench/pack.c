/* cli/bench/pack.c - `dsv4 bench pack`: packing of weights, as a share of the speed at which the same workers copy.
 *
 * Destinations are fresh in every round, as those of an operator are: no memory backs them until they are written. Copy and layouts
 * take turns within a round, and a round's share compares its own two times; medians over the rounds are printed. GB/s count the
 * bytes of the source. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "cli/bench/bench.h"
#include "ops/weight.h"
#include "rt/pool.h"

enum { K = 4096, DEFAULT_MIB = 256, DEFAULT_ROUNDS = 7 };

static const struct {
    const char *name;
    dsv4_dtype dtype;
    bool k_contiguous;
} layouts[] = {
    {"BF16 [K, N]", DSV4_BF16, false}, {"BF16 [N, K]", DSV4_BF16, true}, {"I8   [K, N]", DSV4_I8, false},
    {"I8   [N, K]", DSV4_I8, true},    {"F32  [K, N]", DSV4_F32, false}, {"F32  [N, K]", DSV4_F32, true},
};

enum { N_LAYOUTS = sizeof layouts / sizeof *layouts };

typedef struct suite {
    int rounds;
    size_t n_bytes; /* of the source */
    op_context context;
    char *source;
    double *copy_s, *pack_s[N_LAYOUTS], *share[N_LAYOUTS]; /* [rounds] */
} suite;

/* ---- measuring ------------------------------------------------------------------------------------------------------------- */

typedef struct copying {
    const char *from;
    char *to;
    size_t n_bytes;
    int n_workers;
} copying;

static void copy_share(void *context, int worker)
{
    const copying *c = context;
    size_t begin = c->n_bytes / (size_t)c->n_workers * (size_t)worker;
    size_t end = worker + 1 < c->n_workers ? c->n_bytes / (size_t)c->n_workers * (size_t)(worker + 1) : c->n_bytes;
    memcpy(c->to + begin, c->from + begin, end - begin);
}

static dsv4_status time_copy(const suite *s, double *seconds, dsv4_error *err)
{
    copying c = {s->source, memory_map(s->n_bytes), s->n_bytes, dsv4_pool_n_threads(s->context.pool)};
    if (c.to == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "bench pack: no memory for %zu bytes", s->n_bytes);
    }
    double begin_s = clock_s();
    rt_pool_run_all(s->context.pool, copy_share, &c);
    *seconds = clock_s() - begin_s;
    memory_unmap(c.to, s->n_bytes);
    return DSV4_OK;
}

static dsv4_status time_pack(const suite *s, int layout, double *seconds, dsv4_error *err)
{
    op_context context = s->context;
    context.g = dsv4_graph_create("bench pack");
    if (context.g == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "bench pack: no memory for a graph");
    }
    dsv4_dtype dtype = layouts[layout].dtype;
    int64_t n = (int64_t)(s->n_bytes / dsv4_dtype_bytes(dtype)) / K;
    op_weight_source w = {s->source, dtype, K, n, n, 1};
    if (layouts[layout].k_contiguous) {
        w.stride_k = 1;
        w.stride_n = K;
    }
    double begin_s = clock_s();
    bool packed = op_weight_pack(&context, layouts[layout].name, w).packed.panels != NULL;
    *seconds = clock_s() - begin_s;
    dsv4_graph_destroy(context.g);
    return packed ? DSV4_OK : dsv4_fail(err, DSV4_E_NO_MEMORY, "bench pack: no memory for %zu bytes", s->n_bytes);
}

static dsv4_status measure(const suite *s, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    progress bar = progress_begin("pack");
    for (int round = 0; round < s->rounds && status == DSV4_OK; round++) {
        status = time_copy(s, &s->copy_s[round], err);
        for (int i = 0; i < N_LAYOUTS && status == DSV4_OK; i++) {
            status = time_pack(s, i, &s->pack_s[i][round], err);
            s->share[i][round] = s->copy_s[round] / s->pack_s[i][round];
        }
        progress_report(&bar, (double)(round + 1) / s->rounds);
    }
    progress_end(&bar);
    return status;
}

/* ---- reporting ------------------------------------------------------------------------------------------------------------- */

static double gb_s(const suite *s, double seconds)
{
    return (double)s->n_bytes / seconds * 1e-9;
}

static dsv4_status report(const suite *s, json_t *results, dsv4_error *err)
{
    int n_threads = dsv4_pool_n_threads(s->context.pool);
    double copy = gb_s(s, bench_times_of(s->copy_s, s->rounds).median_s);
    json_t *rows = json_array();
    cli_print("packing of %zu MiB by %d workers, kernels %s, median of %d\n", s->n_bytes >> 20, n_threads, s->context.uk->isa,
              s->rounds);
    cli_print("%-12s %10s %10s\n%-12s %10.1f\n", "", "GB/s", "of copy", "copy", copy);
    bool ok = rows != NULL;
    for (int i = 0; i < N_LAYOUTS; i++) {
        double speed = gb_s(s, bench_times_of(s->pack_s[i], s->rounds).median_s),
               share = bench_times_of(s->share[i], s->rounds).median_s;
        cli_print("%-12s %10.1f %9.0f%%\n", layouts[i].name, speed, 100 * share);
        ok = ok && json_array_append_new(
                       rows, json_pack("{s:s, s:f, s:f}", "layout", layouts[i].name, "gb_s", speed, "of_copy", share)) == 0;
    }
    json_t *pack =
        json_pack("{s:i, s:s, s:f, s:o}", "threads", n_threads, "isa", s->context.uk->isa, "copy_gb_s", copy, "layouts", rows);
    ok = json_object_update_new(results, pack) == 0 && ok;
    return ok ? DSV4_OK : dsv4_fail(err, DSV4_E_NO_MEMORY, "bench: no memory for the results");
}

static dsv4_status measure_all(int n_threads, int rounds, size_t n_bytes, json_t *results, dsv4_error *err)
{
    suite s = {.rounds = rounds, .n_bytes = n_bytes, .source = memory_map(n_bytes)};
    double *samples = calloc((size_t)rounds * (1 + 2 * N_LAYOUTS), sizeof *samples);
    dsv4_status status = s.source == NULL || samples == NULL
                             ? dsv4_fail(err, DSV4_E_NO_MEMORY, "bench pack: no memory for %zu bytes", n_bytes)
                             : uk_find(NULL, &s.context.uk, err);
    if (status == DSV4_OK) {
        status = dsv4_pool_create(n_threads, &s.context.pool, err);
    }
    if (status == DSV4_OK) {
        memset(s.source, 1, n_bytes);
        s.copy_s = samples;
        for (int i = 0; i < N_LAYOUTS; i++) {
            s.pack_s[i] = samples + (1 + 2 * i) * rounds;
            s.share[i] = samples + (2 + 2 * i) * rounds;
        }
        status = measure(&s, err);
    }
    if (status == DSV4_OK) {
        status = report(&s, results, err);
    }
    dsv4_pool_destroy(s.context.pool);
    free(samples);
    if (s.source != NULL) {
        memory_unmap(s.source, n_bytes);
    }
    return status;
}

/* ---- the command ----------------------------------------------------------------------------------------------------------- */

typedef struct pack_options {
    long long threads, rounds, mib;
} pack_options;

static const cli_option options_table[] = {
    {"threads", "N", "workers (default: one per physical core)", cli_store_number, offsetof(pack_options, threads), 1, 1024},
    {"rounds", "N", "repetitions; medians are printed (default 7)", cli_store_number, offsetof(pack_options, rounds), 1, 100000},
    {"mib", "N", "size of the weight (default 256)", cli_store_number, offsetof(pack_options, mib), 1, 1 << 20},
    {.name = NULL},
};

static int run(const cli_command *self, int argc, char **argv)
{
    pack_options options = {.rounds = DEFAULT_ROUNDS, .mib = DEFAULT_MIB};
    dsv4_error err = {0};
    int first = 0, code = cli_parse(self, argc, argv, &options, &first);
    if (code >= 0) {
        return code;
    }
    if (first < argc) {
        dsv4_fail(&err, DSV4_E_USAGE, "bench pack: got \"%s\", expected options alone", argv[first]);
        return cli_fail(&err);
    }
    json_t *results = json_object();
    size_t n_bytes = (size_t)options.mib << 20;
    return bench_finish(results, measure_all((int)options.threads, (int)options.rounds, n_bytes, results, &err), &err);
}

const cli_command bench_pack = {"bench pack",  "[options]", "packing of weights against copying the same bytes",
                                options_table, NULL,        run};
