/* cli/sim.c - `dsv4 sim`: replays an operator's graph, or that of a trace file, on the description of a device. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "cli/devices.h"
#include "cli/inputs.h"
#include "cli/launch.h"
#include "cli/sim_report.h"
#include "sim/fields.h"
#include "sim/sim.h"
#include "trace/trace.h"

enum { MAX_CORE_COUNTS = 16, DEFAULT_WARM = 2 };

typedef struct sim_command {
    launch_options launch;
    inputs_request inputs;
    const char *device, *trace;
    char *tiles;     /* that the user's table of measured tiles has for this call; NULL: none */
    int mode, ratio; /* OP_ANY: not given */
    long long warm;
    int cores[MAX_CORE_COUNTS], n_cores; /* --cores: at least one */
    const char *device_sets[LAUNCH_MAX_SETS];
    int n_device_sets;
} sim_command;

/* ---- options ----------------------------------------------------------------------------------------------------------- */

/* "1,2,4" */
static dsv4_status store_cores(const cli_option *self, void *field, const char *text, dsv4_error *err)
{
    sim_command *o = field;
    const char *at = text;
    for (o->n_cores = 0; o->n_cores < MAX_CORE_COUNTS; at++) {
        char *end;
        errno = 0;
        long value = strtol(at, &end, 10);
        if (end == at || errno != 0 || value < 1 || value > SIM_MAX_CORES || (*end != ',' && *end != '\0')) {
            break;
        }
        o->cores[o->n_cores++] = (int)value;
        if (*end == '\0') {
            return DSV4_OK;
        }
        at = end;
    }
    return dsv4_fail(err, DSV4_E_USAGE, "--%s: got \"%s\", expected at most %d numbers from 1 to %d with commas", self->name, text,
                     MAX_CORE_COUNTS, SIM_MAX_CORES);
}

#define FIELD(name) offsetof(sim_command, name)

static const cli_option options_table[] = {
    {"device", "NAME|FILE", "a description (devices/*.json), or here: this machine (see --set)", cli_store_text, FIELD(device), 0,
     0},
    {"cores", "N[,N...]", "use at most N cores of each kind; several: a table of them", store_cores, 0, 0, 0},
    {"warm", "N", "replays before the one that counts, which fill the caches (default 2)", cli_store_number, FIELD(warm), 0, 100},
    {"trace", "F.json", "write the simulated run as a Chrome/Perfetto trace", cli_store_file, FIELD(trace), 0, 0},
    {"preset", "flash|pro|tiny", "dimensions (default flash)", cli_store_text, FIELD(inputs.preset), 0, 0},
    {"mode", "decode|prefill", "chooses the form of OP, sizes and tiles (default decode)", launch_store_mode, FIELD(mode), 0, 0},
    {"compress-ratio", "R", "0, 4 or 128: chooses the form of OP (default 4; for rope_tables 0)", launch_store_compress_ratio,
     FIELD(ratio), 0, 0},
    {"batch", "B", "requests (default 4 in decode, 1 in prefill)", cli_store_number, FIELD(inputs.batch), 1, 1 << 20},
    {"seq", "S", "tokens of each request (default 2 in decode, sliding_window in prefill)", cli_store_number, FIELD(inputs.seq), 1,
     1 << 20},
    {"start-pos", "P", "first position of every request (default: positions that reach every case)", cli_store_number,
     FIELD(inputs.start_pos), 0, (1 << 28) - (1 << 20)},
    {"index-cache", "bf16|int8", "form of the index cache (default bf16)", inputs_store_index_cache, FIELD(inputs.quantised_index),
     0, 0},
    {"seed", "N", "seed of the drawn inputs (default 0)", cli_store_number, FIELD(inputs.seed), 0, INT64_MAX},
    {.name = NULL},
};

/* "levels.L2.bytes=1e6", "overlap=0"; others are of tiles. */
static bool is_of_device(const char *set)
{
    size_t n = strcspn(set, "=");
    const sim_field *f = sim_device_fields;
    while (f->name != NULL && (strlen(f->name) != n || memcmp(f->name, set, n) != 0)) {
        f++;
    }
    return f->name != NULL || memchr(set, '.', n) != NULL;
}

static void part_sets(sim_command *o)
{
    size_t n_tiles = 0;
    for (size_t i = 0; i < o->launch.op.n_sets; i++) {
        const char *set = o->launch.sets[i];
        *(is_of_device(set) ? &o->device_sets[o->n_device_sets++] : &o->launch.sets[n_tiles++]) = set;
    }
    o->launch.op.n_sets = n_tiles;
}

static dsv4_status check_options(const sim_command *o, dsv4_error *err)
{
    if (o->device == NULL) {
        return dsv4_fail(err, DSV4_E_USAGE, "sim: got no --device; see dsv4 sim --help");
    }
    if (o->trace != NULL && o->n_cores > 1) {
        return dsv4_fail(err, DSV4_E_USAGE, "sim: got --trace and %d numbers of cores, expected one", o->n_cores);
    }
    return DSV4_OK;
}

/* ---- the graph --------------------------------------------------------------------------------------------------------------- */

/* The graph of an operator on drawn inputs. It is run once: what the data of a step decide is known then. */
static dsv4_status capture(sim_command *o, const dsv4_op *op, trace *t, dsv4_error *err)
{
    dsv4_config config = {0};
    dsv4_tensor_list inputs = {0}, io = {0};
    launch l = {0};
    o->launch.default_tiles |= strcmp(o->device, "here") != 0; /* the table is of this machine */
    o->inputs.mode = o->launch.op.mode = op_mode_of(op, o->mode);
    o->inputs.ratio = op_ratio_of(op, o->ratio);
    dsv4_status status = numerics_read(&o->launch.numerics, &o->launch.op.numerics, err);
    if (status == DSV4_OK) {
        status = inputs_get(&o->inputs, op, &config, &inputs, err);
    }
    if (status == DSV4_OK) {
        status = launch_isolate(op, &inputs, &io, err);
    }
    if (status == DSV4_OK) {
        status = launch_open(&l, op, &config, &o->launch, &io, err);
    }
    if (status == DSV4_OK) {
        status = launch_run(&l, &o->launch, 0, err);
    }
    if (status == DSV4_OK) {
        status = trace_capture(l.exec, t, err);
        o->tiles = l.tiles;
        l.tiles = NULL;
    }
    launch_close(&l);
    dsv4_tensor_list_deinit(&io);
    dsv4_tensor_list_deinit(&inputs);
    return status;
}

/* The graph of a trace is what it is. */
static dsv4_status refuse_operator_options(const sim_command *o, const char *file, dsv4_error *err)
{
    const struct {
        const char *name;
        bool given;
    } options[] = {{"set of a tile", o->launch.op.n_sets > 0},
                   {"preset", o->inputs.preset != NULL},
                   {"mode", o->mode != OP_ANY},
                   {"compress-ratio", o->ratio != OP_ANY},
                   {"batch", o->inputs.batch != 0},
                   {"seq", o->inputs.seq != 0},
                   {"start-pos", o->inputs.start_pos != OP_UNKNOWN},
                   {"index-cache", o->inputs.quantised_index},
                   {"seed", o->inputs.seed != 0},
                   {"threads", o->launch.n_threads != 0},
                   {"deps", o->launch.deps != DSV4_DEPS_BLOCK},
                   {"compat", o->launch.numerics.compat != NULL},
                   {"act-scale", o->launch.numerics.act_scale != NULL}};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        if (options[i].given) {
            return dsv4_fail(err, DSV4_E_USAGE, "--%s: is for operators, the graph of %s stays as it is", options[i].name, file);
        }
    }
    return DSV4_OK;
}

static bool is_file(const char *text)
{
    return strchr(text, '.') != NULL || strchr(text, '/') != NULL;
}

static dsv4_status get_graph(sim_command *o, const char *subject, trace *t, dsv4_error *err)
{
    const dsv4_op *op;
    if (!is_file(subject)) {
        dsv4_status status = op_choose(subject, o->mode, o->ratio, &op, err);
        return status == DSV4_OK ? capture(o, op, t, err) : status;
    }
    dsv4_status status = refuse_operator_options(o, subject, err);
    return status == DSV4_OK ? trace_read(subject, t, err) : status;
}

/* ---- the command ------------------------------------------------------------------------------------------------------------- */

static dsv4_status get_device(const sim_command *o, sim_device *d, dsv4_error *err)
{
    dsv4_status status = devices_read(o->device, d, err);
    for (int i = 0; i < o->n_device_sets && status == DSV4_OK; i++) {
        status = sim_device_set(d, o->device_sets[i], err);
    }
    return status;
}

/* One number of cores; leaves the run in t. */
static dsv4_status simulate(const sim_command *o, const sim_device *d, int cores, trace *t, sim_result *r, dsv4_error *err)
{
    trace_clear_run(t);
    return sim_run(d, &(sim_options){cores, (int)o->warm}, t, r, err);
}

static dsv4_status report_one(const sim_command *o, const sim_device *d, trace *t, json_t *results, dsv4_error *err)
{
    sim_result r = {0};
    dsv4_status status = simulate(o, d, o->cores[0], t, &r, err);
    if (status == DSV4_OK) {
        status = sim_report_print(d, t, &r, results, err);
    }
    if (status == DSV4_OK && o->trace != NULL) {
        status = trace_write(t, o->trace, err);
        if (status == DSV4_OK) {
            cli_print("  trace %s (dsv4 trace %s --html run.html; dsv4 trace report %s; ui.perfetto.dev)\n", o->trace, o->trace,
                      o->trace);
        }
    }
    sim_result_deinit(&r);
    return status;
}

static dsv4_status report_scaling(const sim_command *o, const sim_device *d, trace *t, json_t *results, dsv4_error *err)
{
    sim_scaling scaling = {.device = d, .rows = json_array()};
    json_object_set_new(results, "scaling", scaling.rows);
    dsv4_status status = DSV4_OK;
    sim_report_scaling_head(d);
    for (int i = 0; i < o->n_cores && status == DSV4_OK; i++) {
        sim_result r = {0};
        status = simulate(o, d, o->cores[i], t, &r, err);
        if (status == DSV4_OK) {
            sim_report_scaling(&scaling, &r);
        }
        sim_result_deinit(&r);
    }
    return status;
}

static dsv4_status execute(sim_command *o, const char *subject, json_t *results, dsv4_error *err)
{
    sim_device d = {0};
    trace t = {0};
    dsv4_status status = get_device(o, &d, err);
    if (status == DSV4_OK) {
        status = get_graph(o, subject, &t, err);
    }
    if (status == DSV4_OK) {
        cli_print("%s on %s, simulated: %lld blocks, %lld edges\n", t.graph.name, d.name, (long long)t.graph.n_blocks,
                  (long long)t.graph.n_edges);
        json_object_update_new(results, json_pack("{s:o, s:s, s:I, s:I}", "graph", cli_json_text(t.graph.name), "device", d.name,
                                                  "blocks", (json_int_t)t.graph.n_blocks, "edges", (json_int_t)t.graph.n_edges));
        if (o->tiles != NULL) {
            cli_print("  tiles %s\n", o->tiles);
            json_object_set_new(results, "tiles", cli_json_text(o->tiles));
        }
        status = o->n_cores > 1 ? report_scaling(o, &d, &t, results, err) : report_one(o, &d, &t, results, err);
    }
    trace_deinit(&t);
    sim_device_deinit(&d);
    return status;
}

static int run(const cli_command *self, int argc, char **argv)
{
    sim_command options = {.inputs = {.start_pos = OP_UNKNOWN}, .mode = OP_ANY, .ratio = OP_ANY, .warm = DEFAULT_WARM};
    dsv4_error err = {0};
    int first = 0, code = cli_parse(self, argc, argv, &options, &first);
    if (code >= 0) {
        return code;
    }
    if (first + 1 != argc) {
        dsv4_fail(&err, DSV4_E_USAGE, "sim: got %d operators or files, expected one; see dsv4 list", argc - first);
        return cli_fail(&err);
    }
    part_sets(&options);
    json_t *results = json_object();
    dsv4_status status = check_options(&options, &err);
    if (status == DSV4_OK) {
        status = execute(&options, argv[first], results, &err);
    }
    if (status == DSV4_OK) {
        status = cli_write_json(results, &err);
    } else {
        json_decref(results);
    }
    free(options.tiles);
    return status == DSV4_OK ? CLI_PASS : cli_fail(&err);
}

const cli_command cli_sim = {"sim",
                             "OP|F.trace.json --device NAME|FILE [options]",
                             "replay an operator's graph, or a trace's, on a described machine",
                             options_table,
                             launch_option_table,
                             run};
