/* cli/bench/model_forecast.c - `dsv4 bench model-forecast`: decode steps of a model that need not be here, on machines that are
 * described.
 *
 * The graph of a step follows from the configuration alone. It is built over addresses that nothing backs, for as many workers as the
 * machine has cores, and replayed by the simulator. Each token goes to experts of its own; a real step of several tokens shares
 * some. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "cli/bench/model.h"
#include "cli/devices.h"
#include "model/packed_plan.h"
#include "sim/sim.h"

enum { ALIGNMENT = 64, MAX_DEVICES = 8, MAX_ROWS = MAX_DEVICES * MODEL_MAX_BATCHES, NAME_BYTES = 64 };

typedef struct device_list {
    int n;
    char names[MAX_DEVICES][NAME_BYTES];
} device_list;

typedef struct forecast_options {
    const char *config, *numerics, *markdown;
    device_list devices;
    model_batch_list batches;
    long long start_pos;
} forecast_options;

typedef struct forecast_row {
    char device[NAME_BYTES];
    int64_t batch;
    int n_cores;
    double makespan_s, busy_share;
    double bytes, read_bytes_s; /* that a step moves from and to memory; what the machine can read */
} forecast_row;

/* ---- options ---------------------------------------------------------------------------------------------------------------------- */

static dsv4_status store_devices(const cli_option *self, void *field, const char *text, dsv4_error *err)
{
    device_list *list = field;
    const char *at = text;
    for (list->n = 0; list->n < MAX_DEVICES;) {
        const size_t n = strcspn(at, ",");
        if (n == 0 || n >= NAME_BYTES) {
            break;
        }
        memcpy(list->names[list->n], at, n);
        list->names[list->n++][n] = '\0';
        if (at[n] == '\0') {
            return DSV4_OK;
        }
        at += n + 1;
    }
    return dsv4_fail(err, DSV4_E_USAGE, "--%s: got \"%s\", expected 1 to %d names of devices with commas between", self->name, text,
                     (int)MAX_DEVICES);
}

#define FIELD(name) offsetof(forecast_options, name)

static const cli_option options_table[] = {
    {"config", "FILE", "config.json of a model", cli_store_text, FIELD(config), 0, 0},
    {"devices", "LIST", "descriptions (devices/*.json), or here: this machine", store_devices, FIELD(devices), 0, 0},
    {"batch", "LIST", "sequences of the step (default 1,8)", model_store_batches, FIELD(batches), 0, 0},
    {"start-pos", "P", "tokens that sequences have before the step (default 0)", cli_store_number, FIELD(start_pos), 0, 1 << 24},
    {"numerics", "NAME", "official, w8a8, bf16, exact or quant_f32 (default w8a8)", cli_store_text, FIELD(numerics), 0, 0},
    {"markdown", "FILE", "write the table as Markdown", cli_store_file, FIELD(markdown), 0, 0},
    {.name = NULL},
};

/* ---- one step --------------------------------------------------------------------------------------------------------------------- */

/* A model of which there are addresses only. */
typedef struct phantom {
    model_config config;
    model_weights *weights;
    packed_plan plan;
    void *memory; /* reserved, never touched */
    model_kv *kv;
    dsv4_pool *pool;
    model_graph graph;
} phantom;

static int count_cores(const sim_device *d)
{
    int n = 0;
    for (int i = 0; i < d->n_core_kinds; i++) {
        n += d->cores[i].count;
    }
    return n;
}

static dsv4_status open_phantom(phantom *p, const forecast_options *o, const model_numerics *numerics, int64_t batch, int n_threads,
                                dsv4_error *err)
{
    dsv4_status status = model_config_read(o->config, &p->config, err);
    if (status == DSV4_OK) {
        status = packed_plan_make(&p->config, numerics->rows == MODEL_ROWS_I8, &p->weights, &p->plan, err);
    }
    if (status != DSV4_OK) {
        return status;
    }
    p->memory = memory_reserve(p->plan.bytes + ALIGNMENT);
    if (p->memory == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "%s: no addresses for %zu bytes of weights", o->config, p->plan.bytes);
    }
    packed_plan_bind(&p->plan, p->memory);
    status = model_kv_create(&p->config, numerics, batch, o->start_pos + 1, batch * (o->start_pos + 1), &p->kv, err);
    if (status == DSV4_OK) {
        status = dsv4_pool_create(n_threads, &p->pool, err);
    }
    if (status != DSV4_OK) {
        return status;
    }
    const model_graph_options options = {.weights = p->weights,
                                         .numerics = numerics,
                                         .kv = p->kv,
                                         .pool = p->pool,
                                         .T = batch,
                                         .n_logits = batch,
                                         .context = o->start_pos + 1,
                                         .kind = MODEL_GRAPH_TRUNK};
    return model_graph_init(&options, &p->graph, err);
}

static void close_phantom(phantom *p)
{
    model_graph_deinit(&p->graph);
    dsv4_pool_destroy(p->pool);
    model_kv_destroy(p->kv);
    model_weights_free(p->weights);
    if (p->memory != NULL) {
        memory_unmap(p->memory, p->plan.bytes + ALIGNMENT);
    }
    packed_plan_deinit(&p->plan);
}

static dsv4_status simulate(const phantom *p, const sim_device *d, forecast_row *out, dsv4_error *err)
{
    trace t = {0};
    sim_result r = {0};
    dsv4_status status = trace_capture_graph(p->graph.g, &t, err);
    if (status == DSV4_OK) {
        status = sim_run(d, &(sim_options){.warm = 1}, &t, &r, err);
    }
    for (int64_t s = 0; s < t.graph.n_stages && status == DSV4_OK; s++) {
        out->bytes += r.stages[s].level_bytes[0];
    }
    for (int i = 0; i < d->n_core_kinds; i++) {
        out->busy_share += r.busy_s[i] / r.makespan_s / out->n_cores;
    }
    out->makespan_s = r.makespan_s;
    sim_result_deinit(&r);
    trace_deinit(&t);
    return status;
}

static dsv4_status forecast(const forecast_options *o, const model_numerics *numerics, int64_t batch, const sim_device *d,
                            forecast_row *out, dsv4_error *err)
{
    phantom p = {.memory = NULL};
    *out = (forecast_row){.batch = batch, .n_cores = count_cores(d), .read_bytes_s = d->levels[0].read_bytes_s};
    snprintf(out->device, sizeof out->device, "%s", d->name);
    dsv4_status status = open_phantom(&p, o, numerics, batch, out->n_cores, err);
    if (status == DSV4_OK) {
        status = simulate(&p, d, out, err);
    }
    close_phantom(&p);
    return status;
}

/* ---- the table -------------------------------------------------------------------------------------------------------------------- */

static void print_row(const forecast_row *r)
{
    cli_print("%-20s %5d %5lld %9.2f %9.1f %8.3f %8.1f %7.1f%% %7.1f%%\n", r->device, r->n_cores, (long long)r->batch,
              r->makespan_s * 1e3, (double)r->batch / r->makespan_s, r->bytes * 1e-9, r->bytes / r->makespan_s * 1e-9,
              r->bytes / r->makespan_s / r->read_bytes_s * 100, r->busy_share * 100);
}

static void write_table(FILE *f, const forecast_row *rows, int n_rows)
{
    fprintf(f, "| machine | cores | memory, GB/s | sequences | ms a step | tokens/s | GB a step | of memory | cores busy |\n"
               "|---|--:|--:|--:|--:|--:|--:|--:|--:|\n");
    for (int i = 0; i < n_rows; i++) {
        const forecast_row *r = &rows[i];
        fprintf(f, "| %s | %d | %.0f | %lld | %.2f | %.1f | %.2f | %.1f %% | %.1f %% |\n", r->device, r->n_cores,
                r->read_bytes_s * 1e-9, (long long)r->batch, r->makespan_s * 1e3, (double)r->batch / r->makespan_s, r->bytes * 1e-9,
                r->bytes / r->makespan_s / r->read_bytes_s * 100, r->busy_share * 100);
    }
}

static json_t *rows_json(const forecast_row *rows, int n_rows)
{
    json_t *list = json_array();
    for (int i = 0; i < n_rows; i++) {
        const forecast_row *r = &rows[i];
        json_array_append_new(list, json_pack("{s:s, s:i, s:I, s:f, s:f, s:f, s:f}", "device", r->device, "cores", r->n_cores,
                                              "batch", (json_int_t)r->batch, "step_s", r->makespan_s, "busy_share", r->busy_share,
                                              "bytes", r->bytes, "read_bytes_s", r->read_bytes_s));
    }
    return json_pack("{s:o}", "steps", list);
}

static dsv4_status forecast_device(const forecast_options *o, const model_numerics *numerics, const char *name, forecast_row *rows,
                                   int *n_rows, dsv4_error *err)
{
    sim_device d = {0};
    dsv4_status status = devices_read(name, &d, err);
    for (int i = 0; i < o->batches.n && status == DSV4_OK; i++) {
        status = forecast(o, numerics, o->batches.at[i], &d, &rows[*n_rows], err);
        if (status == DSV4_OK) {
            print_row(&rows[(*n_rows)++]);
        }
    }
    sim_device_deinit(&d);
    return status;
}

static dsv4_status forecast_all(const forecast_options *o, forecast_row *rows, int *n_rows, dsv4_error *err)
{
    const model_numerics *numerics = NULL;
    file_writer writer;
    dsv4_status status = o->config == NULL || o->devices.n == 0
                             ? dsv4_fail(err, DSV4_E_USAGE, "bench model-forecast: got no --config or no --devices")
                             : model_numerics_find(o->numerics, &numerics, err);
    if (status == DSV4_OK) {
        cli_print("%-20s %5s %5s %9s %9s %8s %8s %8s %8s\n", "device", "cores", "batch", "ms", "tokens/s", "GB", "GB/s", "of read",
                  "busy");
    }
    for (int i = 0; i < o->devices.n && status == DSV4_OK; i++) {
        status = forecast_device(o, numerics, o->devices.names[i], rows, n_rows, err);
    }
    if (status == DSV4_OK && o->markdown != NULL && (status = file_writer_open(&writer, o->markdown, err)) == DSV4_OK) {
        write_table(writer.stream, rows, *n_rows);
        status = file_writer_commit(&writer, err);
    }
    return status;
}

static int run(const cli_command *self, int argc, char **argv)
{
    forecast_options o = {.numerics = "w8a8", .batches = {2, {1, 8}}};
    forecast_row rows[MAX_ROWS];
    dsv4_error err = {0};
    int first = 0, n_rows = 0, code = cli_parse(self, argc, argv, &o, &first);
    if (code >= 0) {
        return code;
    }
    dsv4_status status =
        first < argc ? dsv4_fail(&err, DSV4_E_USAGE, "bench model-forecast: got \"%s\", expected options alone", argv[first])
                     : forecast_all(&o, rows, &n_rows, &err);
    return bench_finish(status == DSV4_OK ? rows_json(rows, n_rows) : NULL, status, &err);
}

const cli_command bench_model_forecast = {"bench model-forecast",
                                          "--config FILE --devices LIST [options]",
                                          "decode steps of a whole model, simulated from its configuration on described machines",
                                          options_table,
                                          NULL,
                                          run};
