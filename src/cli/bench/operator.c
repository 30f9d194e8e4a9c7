/* cli/bench/operator.c - `dsv4 run OP --bench`: replays whose weights come from memory, not from the caches.
 *
 * COPIES  Each copy of the graph has packed its own weights; all share the inputs and outputs. Replays rotate over the copies, so
 *         that a weight is read again only after all other copies were. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/bench/bench.h"
#include "cli/machine.h"

enum { TIMES_CACHE = 4, MAX_COPIES = 64, FREE_MEMORY_SHARE = 4 };

typedef struct copies {
    int n;
    size_t weight_bytes, cache_bytes; /* of one copy; of the machine */
    launch launch[MAX_COPIES];
} copies;

size_t bench_weight_bytes(const dsv4_op *op, const dsv4_config *config, const dsv4_tensor_list *io)
{
    op_dims dims = op_dims_of_config(config);
    size_t total = 0;
    for (size_t i = 0; i < op->n_tensors; i++) {
        const op_tensor *row = &op->tensors[i];
        int n_dims = 0;
        int64_t extents[DSV4_MAX_DIMS];
        const dsv4_tensor *t = dsv4_tensor_list_find(io, row->name);
        if (!op_is_output(row) && t != NULL && op_eval_shape(row->shape, &dims, &n_dims, extents, NULL) == DSV4_OK && n_dims >= 2) {
            total += dsv4_tensor_bytes(t);
        }
    }
    return total;
}

/* As many as exceed the caches TIMES_CACHE times, within the limits; one where there are no weights. */
static int choose_n(size_t weight_bytes, size_t cache_bytes)
{
    if (weight_bytes == 0) {
        return 1;
    }
    size_t wanted = TIMES_CACHE * cache_bytes / weight_bytes + 1,
           possible = machine_free_bytes() / FREE_MEMORY_SHARE / weight_bytes;
    size_t n = wanted < possible ? wanted : possible;
    return n < 1 ? 1 : n > MAX_COPIES ? MAX_COPIES : (int)n;
}

static bool is_beyond_caches(const copies *c)
{
    return (size_t)c->n * c->weight_bytes > TIMES_CACHE * c->cache_bytes;
}

/* Builds every copy and runs it once. The first one's pool serves all. */
static dsv4_status open_copies(copies *c, const dsv4_op *op, const dsv4_config *config, const launch_options *options,
                               dsv4_tensor_list *io, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    progress bar = progress_begin("copies of the weights");
    for (int i = 0; i < c->n && status == DSV4_OK; i++) {
        c->launch[i].shared_pool = i > 0 ? c->launch[0].pool : NULL;
        status = launch_open(&c->launch[i], op, config, options, io, err);
        if (status == DSV4_OK) {
            status = dsv4_exec_run(c->launch[i].exec, 0, err);
        }
        progress_report(&bar, (double)(i + 1) / c->n);
    }
    progress_end(&bar);
    return status;
}

static void close_copies(copies *c)
{
    for (int i = c->n - 1; i >= 0; i--) {
        launch_close(&c->launch[i]);
    }
}

static dsv4_status time_rounds(const copies *c, double *samples, int rounds, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    progress bar = progress_begin("bench");
    for (int i = 0; i < rounds && status == DSV4_OK; i++) {
        double begin_s = clock_s();
        status = dsv4_exec_run(c->launch[i % c->n].exec, 0, err);
        samples[i] = clock_s() - begin_s;
        progress_report(&bar, (double)(i + 1) / rounds);
    }
    progress_end(&bar);
    return status;
}

static void print_report(const copies *c, bench_times t, int rounds, double gb_per_s, const char *checksum)
{
    double all = (double)c->weight_bytes * c->n, cache = (double)c->cache_bytes;
    if (c->weight_bytes == 0) {
        cli_print("  bench %d rounds; no weights: the data may stay in the caches\n", rounds);
    } else {
        cli_print("  bench %d rounds over %d copies of the weights: %.1f MB, %.1f times the last-level cache of %.1f MB%s\n",
                  rounds, c->n, all * 1e-6, all / cache, cache * 1e-6, is_beyond_caches(c) ? "" : "; a part may stay there");
    }
    cli_print("  time min %.3f   median %.3f   mean %.3f   max %.3f ms", t.min_s * 1e3, t.median_s * 1e3, t.mean_s * 1e3,
              t.max_s * 1e3);
    if (c->weight_bytes > 0) {
        cli_print("   weights %.1f GB/s", gb_per_s);
    }
    cli_print("   checksum %s\n", checksum);
}

static void report(const copies *c, bench_times t, int rounds, uint64_t checksum, json_t *results)
{
    double gb_per_s = (double)c->weight_bytes / t.median_s * 1e-9;
    char hex[17];
    snprintf(hex, sizeof hex, "%016llx", (unsigned long long)checksum);
    print_report(c, t, rounds, gb_per_s, hex);
    json_object_set_new(results, "bench",
                        json_pack("{s:i, s:i, s:I, s:I, s:b, s:f, s:f, s:f, s:f, s:f, s:s}", "rounds", rounds, "copies", c->n,
                                  "weight_bytes", (json_int_t)c->weight_bytes, "cache_bytes", (json_int_t)c->cache_bytes,
                                  "beyond_caches", is_beyond_caches(c), "min_s", t.min_s, "median_s", t.median_s, "mean_s",
                                  t.mean_s, "max_s", t.max_s, "weight_gb_per_s", gb_per_s, "checksum", hex));
}

dsv4_status bench_operator(const dsv4_op *op, const dsv4_config *config, const launch_options *options,
                           const dsv4_tensor_list *pristine, dsv4_tensor_list *io, int rounds, json_t *results, dsv4_error *err)
{
    copies c = {.weight_bytes = bench_weight_bytes(op, config, io)};
    machine *m = NULL;
    double *samples = calloc((size_t)rounds, sizeof *samples);
    dsv4_status status = samples == NULL ? dsv4_fail(err, DSV4_E_NO_MEMORY, "bench: no memory for %d rounds", rounds) : DSV4_OK;
    if (status == DSV4_OK) {
        status = machine_open(&m, err);
    }
    if (status == DSV4_OK) {
        c.cache_bytes = machine_cache_bytes(m);
        c.n = choose_n(c.weight_bytes, c.cache_bytes);
        status = open_copies(&c, op, config, options, io, err);
    }
    if (status == DSV4_OK) {
        status = time_rounds(&c, samples, rounds, err);
    }
    if (status == DSV4_OK) {
        launch_restore(op, pristine, io);
        status = dsv4_exec_run(c.launch[0].exec, 0, err);
    }
    if (status == DSV4_OK) {
        report(&c, bench_times_of(samples, rounds), rounds, bench_outputs_checksum(op, io), results);
    }
    close_copies(&c);
    machine_close(m);
    free(samples);
    return status;
}
