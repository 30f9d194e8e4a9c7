/* cli/run.c - `dsv4 run OP`: draws or loads inputs, runs the operator and its golden reference, compares, times, traces. */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench/bench.h"
#include "cli/compare.h"
#include "cli/detail.h"
#include "cli/inputs.h"
#include "cli/launch.h"
#include "cli/stages.h"
#include "dsv4/safetensors.h"
#include "golden/golden.h"
#include "rt/exec.h"

typedef struct run_options {
    launch_options launch;
    inputs_request inputs;
    const char *save;
    detail_options looks; /* as given */
    detail detail;
    int mode, ratio;  /* OP_ANY: not given */
    long long rounds; /* 0: not given */
} run_options;

enum { DEFAULT_ROUNDS = 20, WARM_RUNS = 5, MAX_RUNS = 40 };

/* ---- options ----------------------------------------------------------------------------------------------------------- */

static dsv4_status store_rounds(const cli_option *self, void *field, const char *text, dsv4_error *err)
{
    *(long long *)field = DEFAULT_ROUNDS;
    return text == NULL ? DSV4_OK : cli_store_number(self, field, text, err);
}

#define FIELD(name) offsetof(run_options, name)

static const cli_option options_table[] = {
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
    {"inputs", "F.safetensors", "take the in.* tensors and the config, thus all sizes, from a file", cli_store_text,
     FIELD(inputs.path), 0, 0},
    {"save", "F.safetensors", "write inputs and outputs as a vector file, for dsv4 check", cli_store_file, FIELD(save), 0, 0},
    {"bench", "[ROUNDS]", "time ROUNDS replays over weights larger than the caches (default 20)", store_rounds, FIELD(rounds), 1,
     1000000},
    {"verify", NULL, "look for touches that blocks do not declare, in random order (slow)", cli_store_flag, FIELD(launch.verify), 0,
     0},
    {"trace", "F.json", "write the timed run as a Chrome/Perfetto trace", cli_store_file, FIELD(looks.trace), 0, 0},
    {"deps-json", "F.json", "write the graph: what each edge comes from, and its two boxes", cli_store_file, FIELD(looks.deps), 0,
     0},
    {"ceilings", NULL, "measure what the machine can do at best, for the trace (a second or two)", cli_store_flag,
     FIELD(looks.ceilings), 0, 0},
    {"csv", "F.csv", "write the timed run as a line per block, with its counters", cli_store_file, FIELD(looks.csv), 0, 0},
    {"level", "1..3", "record times of blocks, counters too, waits too (default 1; 2 with --pmu)", cli_store_number,
     FIELD(looks.level), 1, 3},
    {"pmu", "GROUP|list", "count per block: cycles, cache, memory, stalls or software; what there is", cli_store_text,
     FIELD(looks.pmu), 0, 0},
    {.name = NULL},
};

/* What the options and the form of the operator decide together. */
static dsv4_status settle_options(run_options *o, const dsv4_op *op, dsv4_error *err)
{
    o->inputs.mode = o->launch.op.mode = op_mode_of(op, o->mode);
    o->inputs.ratio = op_ratio_of(op, o->ratio);
    dsv4_status status = numerics_read(&o->launch.numerics, &o->launch.op.numerics, err);
    return status == DSV4_OK ? detail_settle(&o->looks, &o->detail, err) : status;
}

/* ---- the golden --------------------------------------------------------------------------------------------------------- */

static dsv4_status run_golden(const dsv4_op *op, const dsv4_config *config, const dsv4_numerics *numerics,
                              const dsv4_tensor_list *inputs, dsv4_tensor_list *expected, dsv4_error *err)
{
    const golden *reference = golden_find(op->name);
    if (reference == NULL) {
        return dsv4_fail(err, DSV4_E_UNSUPPORTED, "%s: has no golden reference", op->name);
    }
    progress bar = progress_begin("golden");
    dsv4_status status = reference->run(config, numerics, inputs, expected, &bar, err);
    progress_end(&bar);
    return status;
}

/* ---- times --------------------------------------------------------------------------------------------------------------- */

/* Replays until warm, then until a run is within 5 % of the fastest so far: what else the machine does shows less. The trace is of
 * that run. */
static dsv4_status replay_undisturbed(dsv4_exec *exec, dsv4_exec_summary *s, dsv4_error *err)
{
    double fastest_s = INFINITY;
    dsv4_status status = DSV4_OK;
    for (int i = 0; i < MAX_RUNS && status == DSV4_OK; i++) {
        status = dsv4_exec_run(exec, 0, err);
        *s = dsv4_exec_get_summary(exec);
        fastest_s = s->makespan_s < fastest_s ? s->makespan_s : fastest_s;
        if (i >= WARM_RUNS && s->makespan_s <= 1.05 * fastest_s) {
            break;
        }
    }
    return status;
}

static void print_summary(const launch *l, const dsv4_exec_summary *summary, json_t *results)
{
    const dsv4_exec_summary s = *summary;
    dsv4_graph_info info = dsv4_graph_get_info(l->graph);
    cli_print("  time %.3f ms warm, busy share %.1f %%; workers %d, blocks %lld, edges %lld, blocks on the longest path %lld\n",
              s.makespan_s * 1e3, s.busy_share * 100, (int)s.n_workers, (long long)info.n_blocks, (long long)info.n_edges,
              (long long)info.longest_path);
    cli_print("  memory %.1f MB packed weights, %.1f MB between stages\n", (double)(info.memory_bytes - info.between_bytes) * 1e-6,
              (double)info.between_bytes * 1e-6);
    json_object_update_new(results,
                           json_pack("{s:f, s:f, s:I, s:I, s:I, s:I, s:I, s:I}", "time_s", s.makespan_s, "busy_share", s.busy_share,
                                     "workers", (json_int_t)s.n_workers, "blocks", (json_int_t)info.n_blocks, "edges",
                                     (json_int_t)info.n_edges, "longest_path", (json_int_t)info.longest_path, "memory_bytes",
                                     (json_int_t)info.memory_bytes, "between_bytes", (json_int_t)info.between_bytes));
}

static dsv4_status report_run(const launch *l, dsv4_exec *exec, const detail *d, json_t *results, dsv4_error *err)
{
    dsv4_exec_summary s = {0};
    dsv4_status status = replay_undisturbed(exec, &s, err);
    if (status != DSV4_OK) {
        return status;
    }
    print_summary(l, &s, results);
    status = stages_report(exec, l->graph, results, err);
    return status == DSV4_OK && d->is_asked ? detail_report(d, l, exec, results, err) : status;
}

/* The launch records level 1 itself. */
static dsv4_status report_times(const launch *l, const detail *d, json_t *results, dsv4_error *err)
{
    if (d->level == RT_LEVEL_TIMES) {
        return report_run(l, l->exec, d, results, err);
    }
    dsv4_exec *exec = NULL;
    dsv4_status status = rt_exec_create(l->graph, l->pool, d->level, &d->pmu, &exec, err);
    if (status == DSV4_OK) {
        status = report_run(l, exec, d, results, err);
    }
    dsv4_exec_destroy(exec);
    return status;
}

/* ---- saving -------------------------------------------------------------------------------------------------------------- */

/* The tensors of one direction that are there, borrowed. */
static dsv4_status select_tensors(const dsv4_op *op, const dsv4_tensor_list *list, op_use direction, dsv4_tensor_list *out,
                                  dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    for (size_t i = 0; i < op->n_tensors && status == DSV4_OK; i++) {
        const dsv4_tensor *t = dsv4_tensor_list_find(list, op->tensors[i].name);
        if ((op->tensors[i].use & (int)direction) != 0 && t != NULL) {
            status = dsv4_tensor_list_put(out, op->tensors[i].name, t, err);
        }
    }
    return status;
}

/* io holds the outputs of one run. */
static dsv4_status save(const run_options *o, const dsv4_op *op, const dsv4_config *config, const dsv4_tensor_list *inputs,
                        const dsv4_tensor_list *io, dsv4_error *err)
{
    char *config_text = dsv4_config_format(config);
    dsv4_tensor_list in = {0}, out = {0};
    dsv4_status status = config_text == NULL ? dsv4_fail(err, DSV4_E_NO_MEMORY, "%s: no memory for the config", o->save) : DSV4_OK;
    if (status == DSV4_OK) {
        status = select_tensors(op, inputs, OP_IN, &in, err);
    }
    if (status == DSV4_OK) {
        status = select_tensors(op, io, OP_OUT, &out, err);
    }
    if (status == DSV4_OK) {
        const dsv4_numerics *n = &o->launch.op.numerics;
        const char *metadata[][2] = {{"kernel", op->name},
                                     {"config", config_text},
                                     {"compat", numerics_compat_word(n->compat)},
                                     {"act_scale", numerics_act_scale_word(n->act_scale)}};
        dsv4_safetensors_part parts[] = {{"in.", &in}, {"out.", &out}};
        status = dsv4_safetensors_write(o->save, metadata, sizeof metadata / sizeof *metadata, parts, 2, err);
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
    dsv4_tensor_list inputs, io, expected; /* as drawn or loaded; what the operator works on; the golden's outputs */
    launch launch;
    bool pass;
} run_state;

/* Fills outputs and expectations. Errors name the file of the inputs. */
static dsv4_status compute(run_state *s, const run_options *o, dsv4_error *err)
{
    dsv4_status status = launch_isolate(s->op, &s->inputs, &s->io, err);
    if (status == DSV4_OK) {
        status = launch_open(&s->launch, s->op, &s->config, &o->launch, &s->io, err);
    }
    if (status == DSV4_OK) {
        status = launch_run(&s->launch, &o->launch, (uint64_t)o->inputs.seed, err);
    }
    if (status == DSV4_OK) {
        status = run_golden(s->op, &s->config, &o->launch.op.numerics, &s->inputs, &s->expected, err);
    }
    return status != DSV4_OK && o->inputs.path != NULL ? cli_blame(o->inputs.path, err) : status;
}

/* Whether the config of a preset was given more positions. */
static bool is_raised(const run_state *s, const run_options *o)
{
    dsv4_config preset;
    return o->inputs.path == NULL && dsv4_config_preset(s->config.name, &preset, NULL) == DSV4_OK &&
           preset.max_position_embeddings < s->config.max_position_embeddings;
}

static void tell_what_ran(const run_state *s, const run_options *o, json_t *results)
{
    const dsv4_numerics *n = &o->launch.op.numerics;
    const char *mode = o->launch.op.mode == DSV4_DECODE ? "decode" : "prefill";
    long long positions = (long long)s->config.max_position_embeddings;
    json_t *start = o->inputs.start_pos != OP_UNKNOWN ? json_integer(o->inputs.start_pos) : json_null();
    char numerics[80];
    json_object_update_new(results, json_pack("{s:s, s:s, s:I, s:o, s:s, s:s}", "config", s->config.name, "mode", mode,
                                              "max_position_embeddings", (json_int_t)positions, "start_pos", start, "compat",
                                              numerics_compat_word(n->compat), "act_scale", numerics_act_scale_word(n->act_scale)));
    cli_print("%s %s %s%s%s\n", s->op->name, s->config.name, mode, launch_numerics_text(n, DSV4_CORRECT, numerics, sizeof numerics),
              o->launch.verify ? ", declarations verified" : "");
    if (s->launch.tiles != NULL) {
        cli_print("  tiles %s\n", s->launch.tiles);
        json_object_set_new(results, "tiles", cli_json_text(s->launch.tiles));
    }
    if (is_raised(s, o)) {
        cli_print("  max_position_embeddings raised to %lld, the end of the call\n", positions);
    }
}

static dsv4_status execute(run_state *s, run_options *o, json_t *results, dsv4_error *err)
{
    json_t *outputs = json_array();
    json_object_set_new(results, "outputs", outputs);
    dsv4_status status = settle_options(o, s->op, err);
    if (status == DSV4_OK) {
        status = inputs_get(&o->inputs, s->op, &s->config, &s->inputs, err);
    }
    if (status == DSV4_OK) {
        status = compute(s, o, err);
    }
    if (status != DSV4_OK) {
        return status;
    }
    tell_what_ran(s, o, results);
    status = compare_outputs(s->op, &s->config, &s->io, &s->expected, outputs, &s->pass, err);
    if (status == DSV4_OK && o->save != NULL) {
        status = save(o, s->op, &s->config, &s->inputs, &s->io, err);
    }
    if (status == DSV4_OK) {
        status = report_times(&s->launch, &o->detail, results, err);
    }
    if (status == DSV4_OK && o->rounds > 0) {
        status = bench_operator(s->op, &s->config, &o->launch, &s->inputs, &s->io, (int)o->rounds, results, err);
    }
    return status;
}

static int finish(run_state *s, json_t *results, dsv4_status status, dsv4_error *err)
{
    launch_close(&s->launch);
    dsv4_tensor_list_deinit(&s->io);
    dsv4_tensor_list_deinit(&s->inputs);
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
    run_options options = {.inputs = {.start_pos = OP_UNKNOWN}, .mode = OP_ANY, .ratio = OP_ANY};
    run_state state = {0};
    dsv4_error err = {0};
    int first = 0, code = cli_parse(self, argc, argv, &options, &first);
    if (code >= 0) {
        return code;
    }
    if (options.looks.pmu != NULL && strcmp(options.looks.pmu, "list") == 0) {
        return detail_list_counters();
    }
    if (first + 1 != argc) {
        dsv4_fail(&err, DSV4_E_USAGE, "run: got %d operators, expected one; see dsv4 list", argc - first);
        return cli_fail(&err);
    }
    if (op_choose(argv[first], options.mode, options.ratio, &state.op, &err) != DSV4_OK) {
        return cli_fail(&err);
    }
    json_t *results = json_pack("{s:s}", "op", state.op->name);
    return finish(&state, results, execute(&state, &options, results, &err), &err);
}

const cli_command cli_run = {
    "run",         "OP [options]",      "run one operator (see dsv4 list) and its golden reference: compare, time, trace",
    options_table, launch_option_table, run};
