/* cli/run.c - `dsv4 run OP`: draws or loads inputs, runs the operator and its golden reference, compares, times, traces. */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench.h"
#include "cli/launch.h"
#include "cli/machine.h"
#include "dsv4/safetensors.h"
#include "golden/golden.h"

typedef struct run_options {
    launch_options launch;
    const char *preset, *inputs, *save, *trace;
    long long batch, seq, start_pos, compress_ratio, seed, rounds; /* batch, seq, rounds: 0 where not given */
} run_options;

enum { DEFAULT_ROUNDS = 20, WARM_RUNS = 5, MAX_RUNS = 40 };

/* ---- options ----------------------------------------------------------------------------------------------------------- */

static dsv4_status store_mode(const cli_option *self, void *field, const char *text, dsv4_error *err)
{
    if (strcmp(text, "decode") != 0 && strcmp(text, "prefill") != 0) {
        return dsv4_fail(err, DSV4_E_USAGE, "--%s: got \"%s\", expected decode or prefill", self->name, text);
    }
    *(dsv4_mode *)field = text[0] == 'd' ? DSV4_DECODE : DSV4_PREFILL;
    return DSV4_OK;
}

static dsv4_status store_compress_ratio(const cli_option *self, void *field, const char *text, dsv4_error *err)
{
    if (strcmp(text, "0") != 0 && strcmp(text, "4") != 0 && strcmp(text, "128") != 0) {
        return dsv4_fail(err, DSV4_E_USAGE, "--%s: got \"%s\", expected 0, 4 or 128", self->name, text);
    }
    *(long long *)field = atoi(text);
    return DSV4_OK;
}

static dsv4_status store_rounds(const cli_option *self, void *field, const char *text, dsv4_error *err)
{
    *(long long *)field = DEFAULT_ROUNDS;
    return text == NULL ? DSV4_OK : cli_store_number(self, field, text, err);
}

#define FIELD(name) offsetof(run_options, name)

static const cli_option options_table[] = {
    {"preset", "flash|pro|tiny", "dimensions (default flash)", cli_store_text, FIELD(preset), 0, 0},
    {"mode", "decode|prefill", "chooses the default sizes and tiles (default decode)", store_mode, FIELD(launch.op.mode), 0, 0},
    {"batch", "B", "requests (default 4 in decode, 1 in prefill)", cli_store_number, FIELD(batch), 1, 1 << 20},
    {"seq", "S", "tokens of each request (default 2 in decode, 128 in prefill)", cli_store_number, FIELD(seq), 1, 1 << 20},
    {"start-pos", "P", "first position, for operators that know positions (none of these yet)", cli_store_number, FIELD(start_pos),
     0, 1 << 28},
    {"compress-ratio", "R", "0, 4 or 128, for rope_tables (default 0)", store_compress_ratio, FIELD(compress_ratio), 0, 0},
    {"seed", "N", "seed of the drawn inputs (default 0)", cli_store_number, FIELD(seed), 0, INT64_MAX},
    {"inputs", "F.safetensors", "take the in.* tensors and the config, thus all sizes, from a file", cli_store_text, FIELD(inputs),
     0, 0},
    {"save", "F.safetensors", "write inputs and outputs as a vector file, for dsv4 check", cli_store_file, FIELD(save), 0, 0},
    {"bench", "[ROUNDS]", "time ROUNDS replays over weights larger than the caches (default 20)", store_rounds, FIELD(rounds), 1,
     1000000},
    {"trace", "F.json", "write the timed run as a Chrome/Perfetto trace", cli_store_file, FIELD(trace), 0, 0},
    {.name = NULL},
};

/* ---- inputs ------------------------------------------------------------------------------------------------------------ */

static dsv4_status load_inputs(const char *path, dsv4_config *config, dsv4_tensor_list *io, dsv4_error *err)
{
    dsv4_safetensors *st = NULL;
    dsv4_status status = dsv4_safetensors_open(path, &st, err);
    if (status != DSV4_OK) {
        return status;
    }
    const char *text = dsv4_safetensors_metadata(st, "config");
    if (text != NULL) {
        status = dsv4_config_parse(path, text, strlen(text), config, err);
    }
    if (status == DSV4_OK) {
        status = dsv4_safetensors_load(st, "in.", io, err);
    }
    dsv4_safetensors_close(st);
    return status;
}

/* Dimensions of a drawn call. */
static op_dims chosen_dims(const run_options *o, const dsv4_config *config)
{
    bool decode = o->launch.op.mode == DSV4_DECODE;
    long long batch = o->batch > 0 ? o->batch : decode ? 4 : 1, seq = o->seq > 0 ? o->seq : decode ? 2 : 128;
    op_dims dims = op_dims_of_config(config);
    dims.of[OP_T] = batch * seq;
    dims.of[OP_N] = config->max_position_embeddings;
    dims.of[OP_ratio] = o->compress_ratio;
    return dims;
}

/* Refuses what would exhaust the machine: a file's scalars and the options may ask for any size. Outputs are there twice, the
 * operator's and the golden's. */
static dsv4_status check_memory(const dsv4_op *op, const op_dims *dims, dsv4_error *err)
{
    double need = 0, free_bytes = (double)machine_free_bytes();
    for (size_t i = 0; i < op->n_tensors; i++) {
        const op_tensor *row = &op->tensors[i];
        int n_dims = 0;
        int64_t extents[DSV4_MAX_DIMS];
        double n_bytes = (double)dsv4_dtype_bytes(row->dtype) * (row->direction == OP_OUT ? 2 : 1);
        dsv4_status status = op_eval_shape(row->shape, dims, &n_dims, extents, err);
        if (status != DSV4_OK) {
            return status;
        }
        for (int d = 0; d < n_dims; d++) {
            n_bytes *= (double)extents[d];
        }
        need += n_bytes;
    }
    return need <= free_bytes ? DSV4_OK
                              : dsv4_fail(err, DSV4_E_NO_MEMORY, "%s: its tensors take %.3g GB, expected at most the free %.3g GB",
                                          op->name, need / 1e9, free_bytes / 1e9);
}

static dsv4_status check_loaded(const run_options *o, const dsv4_op *op, const dsv4_config *config, const dsv4_tensor_list *io,
                                dsv4_error *err)
{
    op_dims dims = op_dims_of_config(config);
    dsv4_status status = op_bind(op, io, &dims, err);
    if (status == DSV4_OK) {
        status = check_memory(op, &dims, err);
    }
    return status == DSV4_OK ? DSV4_OK : cli_blame(o->inputs, err);
}

static dsv4_status get_inputs(const run_options *o, const dsv4_op *op, dsv4_config *config, dsv4_tensor_list *io, dsv4_error *err)
{
    dsv4_status status = dsv4_config_preset(o->preset != NULL ? o->preset : "flash", config, err);
    if (status != DSV4_OK) {
        return status;
    }
    if (o->inputs != NULL) {
        status = load_inputs(o->inputs, config, io, err);
        return status == DSV4_OK ? check_loaded(o, op, config, io, err) : status;
    }
    op_dims dims = chosen_dims(o, config);
    status = check_memory(op, &dims, err);
    return status == DSV4_OK ? op_draw_inputs(op, &dims, (uint64_t)o->seed, io, err) : status;
}

/* ---- the golden --------------------------------------------------------------------------------------------------------- */

static dsv4_status run_golden(const dsv4_op *op, const dsv4_config *config, const dsv4_tensor_list *io, dsv4_tensor_list *expected,
                              dsv4_error *err)
{
    const golden *reference = golden_find(op->name);
    if (reference == NULL) {
        return dsv4_fail(err, DSV4_E_UNSUPPORTED, "%s: has no golden reference", op->name);
    }
    progress bar = progress_begin("golden");
    dsv4_status status = reference->run(config, &(dsv4_numerics){0}, io, expected, &bar, err);
    progress_end(&bar);
    return status;
}

/* ---- times --------------------------------------------------------------------------------------------------------------- */

/* Replays until warm, then until a run is within 5 % of the fastest so far: what else the machine does shows less. The trace is of
 * that run. */
static dsv4_status replay_undisturbed(const launch *l, dsv4_exec_summary *s, dsv4_error *err)
{
    double fastest_s = INFINITY;
    dsv4_status status = DSV4_OK;
    for (int i = 0; i < MAX_RUNS && status == DSV4_OK; i++) {
        status = dsv4_exec_run(l->exec, 0, err);
        *s = dsv4_exec_get_summary(l->exec);
        fastest_s = s->makespan_s < fastest_s ? s->makespan_s : fastest_s;
        if (i >= WARM_RUNS && s->makespan_s <= 1.05 * fastest_s) {
            break;
        }
    }
    return status;
}

static dsv4_status report_times(const launch *l, const run_options *o, json_t *results, dsv4_error *err)
{
    dsv4_exec_summary s = {0};
    dsv4_status status = replay_undisturbed(l, &s, err);
    if (status != DSV4_OK) {
        return status;
    }
    dsv4_graph_info info = dsv4_graph_get_info(l->graph);
    cli_print("  time %.3f ms warm, busy share %.1f %%; workers %d, blocks %lld, edges %lld, blocks on the longest path %lld\n",
              s.makespan_s * 1e3, s.busy_share * 100, (int)s.n_workers, (long long)info.n_blocks, (long long)info.n_edges,
              (long long)info.longest_path);
    json_object_update_new(results, json_pack("{s:f, s:f, s:I, s:I, s:I, s:I}", "time_s", s.makespan_s, "busy_share", s.busy_share,
                                              "workers", (json_int_t)s.n_workers, "blocks", (json_int_t)info.n_blocks, "edges",
                                              (json_int_t)info.n_edges, "longest_path", (json_int_t)info.longest_path));
    if (o->trace == NULL) {
        return DSV4_OK;
    }
    status = dsv4_exec_write_trace(l->exec, o->trace, err);
    if (status == DSV4_OK) {
        cli_print("  trace %s (open it in ui.perfetto.dev or chrome://tracing)\n", o->trace);
    }
    return status;
}

/* ---- saving -------------------------------------------------------------------------------------------------------------- */

/* The tensors of one direction, borrowed. */
static dsv4_status select_tensors(const dsv4_op *op, const dsv4_tensor_list *io, bool outputs, dsv4_tensor_list *out,
                                  dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    for (size_t i = 0; i < op->n_tensors && status == DSV4_OK; i++) {
        if ((op->tensors[i].direction != OP_IN) == outputs) {
            status = dsv4_tensor_list_put(out, op->tensors[i].name, dsv4_tensor_list_find(io, op->tensors[i].name), err);
        }
    }
    return status;
}

static dsv4_status save(const char *path, const dsv4_op *op, const dsv4_config *config, const dsv4_tensor_list *io, dsv4_error *err)
{
    char *config_text = dsv4_config_format(config);
    dsv4_tensor_list in = {0}, out = {0};
    dsv4_status status = config_text == NULL ? dsv4_fail(err, DSV4_E_NO_MEMORY, "%s: no memory for the config", path) : DSV4_OK;
    if (status == DSV4_OK) {
        status = select_tensors(op, io, false, &in, err);
    }
    if (status == DSV4_OK) {
        status = select_tensors(op, io, true, &out, err);
    }
    if (status == DSV4_OK) {
        const char *metadata[][2] = {{"kernel", op->name}, {"config", config_text}};
        dsv4_safetensors_part parts[] = {{"in.", &in}, {"out.", &out}};
        status = dsv4_safetensors_write(path, metadata, 2, parts, 2, err);
    }
    free(config_text);
    dsv4_tensor_list_deinit(&in);
    dsv4_tensor_list_deinit(&out);
    return status;
}

/* ---- the command ----------------------------------------------------------------------------------------------------------- */

/* One run of the command: everything it owns. */
typedef struct run_state {
    const dsv4_op *op;
    dsv4_config config;
    dsv4_tensor_list io, expected;
    launch launch;
    bool pass;
} run_state;

/* Fills outputs and expectations. Errors name the file of the inputs. */
static dsv4_status compute(run_state *s, const run_options *o, dsv4_error *err)
{
    dsv4_status status = launch_open(&s->launch, s->op, &s->config, &o->launch, &s->io, err);
    if (status == DSV4_OK) {
        status = launch_run(&s->launch, &o->launch, (uint64_t)o->seed, err);
    }
    if (status == DSV4_OK) {
        status = run_golden(s->op, &s->config, &s->io, &s->expected, err);
    }
    return status != DSV4_OK && o->inputs != NULL ? cli_blame(o->inputs, err) : status;
}

static dsv4_status execute(run_state *s, const run_options *o, json_t *results, dsv4_error *err)
{
    json_t *outputs = json_array();
    json_object_set_new(results, "outputs", outputs);
    dsv4_status status = get_inputs(o, s->op, &s->config, &s->io, err);
    if (status == DSV4_OK) {
        status = compute(s, o, err);
    }
    if (status != DSV4_OK) {
        return status;
    }
    const char *mode = o->launch.op.mode == DSV4_DECODE ? "decode" : "prefill";
    json_object_update_new(
        results, json_pack("{s:s, s:s, s:I}", "config", s->config.name, "mode", mode, "start_pos", (json_int_t)o->start_pos));
    cli_print("%s %s %s%s\n", s->op->name, s->config.name, mode, o->launch.verify ? ", declarations verified" : "");
    status = launch_compare(s->op, &s->io, &s->expected, outputs, &s->pass, err);
    if (status == DSV4_OK) {
        status = report_times(&s->launch, o, results, err);
    }
    if (status == DSV4_OK && o->rounds > 0) {
        status = bench_operator(s->op, &s->config, &o->launch, &s->io, (int)o->rounds, results, err);
    }
    if (status == DSV4_OK && o->save != NULL) {
        status = save(o->save, s->op, &s->config, &s->io, err);
    }
    return status;
}

static int finish(run_state *s, json_t *results, dsv4_status status, dsv4_error *err)
{
    launch_close(&s->launch);
    dsv4_tensor_list_deinit(&s->io);
    dsv4_tensor_list_deinit(&s->expected);
    if (status == DSV4_OK) {
        json_object_set_new(results, "pass", json_boolean(s->pass));
        status = cli_write_json(results, err);
    } else {
        json_decref(results);
    }
    return status != DSV4_OK ? cli_fail(err) : s->pass ? CLI_PASS : CLI_MISMATCH;
}

static int run(const cli_command *self, int argc, char **argv)
{
    run_options options = {0};
    run_state state = {0};
    dsv4_error err = {0};
    int first = 0, code = cli_parse(self, argc, argv, &options, &first);
    if (code >= 0) {
        return code;
    }
    if (first + 1 != argc) {
        dsv4_fail(&err, DSV4_E_USAGE, "run: got %d operators, expected one; see dsv4 list", argc - first);
        return cli_fail(&err);
    }
    if (dsv4_op_find(argv[first], &state.op, &err) != DSV4_OK) {
        return cli_fail(&err);
    }
    json_t *results = json_pack("{s:s}", "op", state.op->name);
    return finish(&state, results, execute(&state, &options, results, &err), &err);
}

const cli_command cli_run = {
    "run",         "OP [options]",      "run one operator (see dsv4 list) and its golden reference: compare, time, trace",
    options_table, launch_option_table, run};
