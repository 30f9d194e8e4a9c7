/* cli/tune/tune.c - `dsv4 tune OP`: finds fast tiles of a call on this machine and keeps them for later runs. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "cli/bench/bench.h"
#include "cli/bench/origin.h"
#include "cli/compare.h"
#include "cli/device_tiles.h"
#include "cli/inputs.h"
#include "cli/machine.h"
#include "cli/tune/tune.h"
#include "golden/golden.h"

typedef struct tune_options {
    inputs_request inputs;
    int mode, ratio; /* OP_ANY: not given */
    long long n_threads, rounds, budget_s;
    const char *tiles, *table, *map; /* NULL: all; the user's; none */
    bool dry;
} tune_options;

static dsv4_status store_map(const cli_option *self, void *field, const char *text, dsv4_error *err)
{
    dsv4_status status = tune_check_map_name(text, err);
    return status == DSV4_OK ? cli_store_file(self, field, text, err) : status;
}

#define FIELD(name) offsetof(tune_options, name)

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
    {"threads", "N", "workers (default: one per physical core)", cli_store_number, FIELD(n_threads), 1, 1024},
    {"tiles", "NAME,NAME", "only these tiles (default all of OP; see dsv4 list OP)", cli_store_text, FIELD(tiles), 0, 0},
    {"rounds", "N", "interleaved replays of each choice, at most (default 100)", cli_store_number, FIELD(rounds), 5, 10000},
    {"budget", "SECONDS", "time to measure in (default 60)", cli_store_number, FIELD(budget_s), 1, 1000000},
    {"table", "FILE", "table to write (default $DSV4_TILES, else ~/.config/dsv4/tiles.json)", cli_store_file, FIELD(table), 0, 0},
    {"heatmap", "F.svg|F.html", "write a map of the pairs of tiles", store_map, FIELD(map), 0, 0},
    {"dry-run", NULL, "only tell which values would be measured", cli_store_flag, FIELD(dry), 0, 0},
    {.name = NULL},
};

/* Everything that the command owns. */
typedef struct tune_state {
    const dsv4_op *op;
    dsv4_config config;
    dsv4_tensor_list inputs, io, expected;
    dsv4_pool *pool;
    tune_call call;
    tune_search *search;
    op_tile_table table;
    char path[DEVICE_TILES_PATH_BYTES]; /* of the table */
} tune_state;

/* ---- preparing ------------------------------------------------------------------------------------------------------------- */

/* The table is read before anything is measured: a damaged one is refused at once. */
static dsv4_status read_table(tune_state *s, const tune_options *o, dsv4_error *err)
{
    if (o->table != NULL && strlen(o->table) < sizeof s->path) {
        memcpy(s->path, o->table, strlen(o->table) + 1);
    } else if (o->table != NULL || !device_tiles_path(s->path, sizeof s->path)) {
        return dsv4_fail(err, DSV4_E_USAGE, "tune: no place for the table, expected --table FILE, $DSV4_TILES or $HOME");
    }
    dsv4_status status = op_tile_table_read(s->path, &s->table, err);
    return status == DSV4_E_NOT_FOUND ? DSV4_OK : status;
}

/* Inputs, and what a call is planned from; nothing is built. */
static dsv4_status prepare(tune_state *s, tune_options *o, dsv4_error *err)
{
    tune_call *call = &s->call;
    o->inputs.mode = call->options.op.mode = op_mode_of(s->op, o->mode);
    o->inputs.ratio = op_ratio_of(s->op, o->ratio);
    call->options.default_tiles = true;
    call->options.n_threads = o->n_threads;
    call->rounds = (int)o->rounds;
    call->config = &s->config;
    call->pristine = &s->inputs;
    call->io = &s->io;
    dsv4_status status = read_table(s, o, err);
    status = status == DSV4_OK ? inputs_get(&o->inputs, s->op, &s->config, &s->inputs, err) : status;
    status = status == DSV4_OK ? launch_isolate(s->op, &s->inputs, &s->io, err) : status;
    status = status == DSV4_OK ? op_plan(s->op, &s->config, &call->options.op, &s->io, &call->context, err) : status;
    return status == DSV4_OK ? tune_plan(&call->context, o->tiles, s->search, err) : status;
}

static dsv4_status run_golden(tune_state *s, dsv4_error *err)
{
    const golden *reference = golden_find(s->op->name);
    if (reference == NULL) {
        return dsv4_fail(err, DSV4_E_UNSUPPORTED, "%s: has no golden reference", s->op->name);
    }
    progress bar = progress_begin("golden");
    dsv4_status status = reference->run(&s->config, &s->call.options.op.numerics, &s->inputs, &s->expected, &bar, err);
    progress_end(&bar);
    return status;
}

/* Runs the default tiles once: their outputs are compared with the golden's, and those of all others with them, to the bit. */
static dsv4_status run_default(tune_state *s, json_t *results, bool *pass, dsv4_error *err)
{
    tune_call *call = &s->call;
    launch l = {.shared_pool = s->pool};
    json_t *outputs = json_array();
    json_object_set_new(results, "outputs", outputs);
    dsv4_status status = launch_open(&l, s->op, &s->config, &call->options, &s->io, err);
    status = status == DSV4_OK ? dsv4_exec_run(l.exec, 0, err) : status;
    status = status == DSV4_OK ? compare_outputs(s->op, &s->config, &s->io, &s->expected, outputs, pass, err) : status;
    if (status == DSV4_OK) {
        call->checksum = bench_outputs_checksum(s->op, &s->io);
        call->n_blocks = dsv4_graph_get_info(l.graph).n_blocks;
        call->weight_bytes = bench_weight_bytes(s->op, &s->config, &s->io);
    }
    launch_close(&l);
    return status;
}

static dsv4_status find_caches(tune_call *call, dsv4_error *err)
{
    machine *m = NULL;
    dsv4_status status = machine_open(&m, err);
    if (status == DSV4_OK) {
        call->cache_bytes = machine_cache_bytes(m);
    }
    machine_close(m);
    return status;
}

/* ---- the table --------------------------------------------------------------------------------------------------------------- */

/* Makes the folders of a path that are not there; what cannot be made shows when the file is written. */
static void make_folders(const char *path)
{
    char folder[DEVICE_TILES_PATH_BYTES];
    snprintf(folder, sizeof folder, "%s", path);
    for (char *slash = strchr(folder + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(folder, 0777);
        *slash = '/';
    }
}

static op_tile_entry entry_of(const tune_state *s)
{
    const op_context *c = &s->call.context;
    const tune_point *usual = &s->search->finalist[0], *chosen = &s->search->finalist[s->search->chosen];
    op_tile_entry e = {
        .key = op_tile_key_of(c, dsv4_pool_n_threads(s->pool)), .default_s = usual->median_s, .chosen_s = chosen->median_s};
    cpu_model_name(e.cpu, sizeof e.cpu);
    snprintf(e.commit, sizeof e.commit, "%s", origin_commit);
    for (size_t i = 0; i < c->op->n_tiles; i++) {
        if (chosen->tile[i] != c->tile[i]) {
            op_tile_value *tile = &e.tiles[e.n_tiles++];
            snprintf(tile->name, sizeof tile->name, "%s", c->op->tiles[i].name);
            tile->value = chosen->tile[i];
        }
    }
    return e;
}

/* Reads the table again: others may have written it meanwhile. */
static dsv4_status write_table(tune_state *s, json_t *results, dsv4_error *err)
{
    op_tile_entry entry = entry_of(s);
    op_tile_table_deinit(&s->table);
    make_folders(s->path);
    dsv4_status status = op_tile_table_read(s->path, &s->table, err);
    status = status == DSV4_E_NOT_FOUND ? DSV4_OK : status;
    status = status == DSV4_OK ? op_tile_table_put(&s->table, &entry, err) : status;
    status = status == DSV4_OK ? op_tile_table_write(s->path, &s->table, err) : status;
    if (status == DSV4_OK) {
        cli_print("  table %s, %s: %lld tokens or more, %lld threads, %s\n", s->path, entry.cpu, (long long)entry.key.tokens,
                  (long long)entry.key.n_threads, entry.key.isa);
        json_object_update_new(results, json_pack("{s:o, s:o}", "table", cli_json_text(s->path), "cpu", cli_json_text(entry.cpu)));
    }
    return status;
}

/* ---- the command --------------------------------------------------------------------------------------------------------------- */

static void tell_plan(const tune_state *s)
{
    int n = 0;
    for (int i = 0; i < s->search->n_sweeps; i++) {
        const tune_axis *a = &s->search->sweep[i].axis;
        cli_print("  %-12s", s->op->tiles[a->tile].name);
        for (int v = 0; v < a->n; v++) {
            cli_print(" %lld%s", (long long)a->value[v], v == a->start ? "*" : "");
        }
        cli_print("\n");
        n += a->n - 1;
    }
    cli_print("  %d choices beside the default (*), then pairs of the tiles that matter most\n", n);
}

static dsv4_status search(tune_state *s, const tune_options *o, dsv4_error *err)
{
    progress bar = progress_begin("tune");
    s->call.bar = &bar;
    s->call.budget_s = (double)o->budget_s;
    s->call.begin_s = clock_s();
    dsv4_status status = tune_run(&s->call, (double)o->budget_s, s->search, err);
    progress_end(&bar);
    return status;
}

static dsv4_status write_results(tune_state *s, const tune_options *o, json_t *results, dsv4_error *err)
{
    char title[256], cpu[128];
    cpu_model_name(cpu, sizeof cpu);
    tune_print(&s->call.context, s->search);
    json_object_update_new(results, tune_to_json(&s->call.context, s->search));
    snprintf(title, sizeof title, "dsv4 tune %s %s: %s, %d threads", s->op->name, s->config.name, cpu,
             dsv4_pool_n_threads(s->pool));
    dsv4_status status = write_table(s, results, err);
    if (status == DSV4_OK && o->map != NULL) {
        status = tune_write_map(o->map, &s->call.context, s->search, title, err);
    }
    return status;
}

static dsv4_status execute(tune_state *s, tune_options *o, json_t *results, bool *pass, dsv4_error *err)
{
    dsv4_status status = prepare(s, o, err);
    if (status != DSV4_OK) {
        return status;
    }
    cli_print("%s %s %s\n", s->op->name, s->config.name, o->inputs.mode == DSV4_DECODE ? "decode" : "prefill");
    if (o->dry) {
        tell_plan(s);
        json_object_update_new(results, tune_to_json(&s->call.context, s->search));
        return DSV4_OK;
    }
    status = dsv4_pool_create((int)o->n_threads, &s->pool, err);
    s->call.pool = s->pool;
    status = status == DSV4_OK ? find_caches(&s->call, err) : status;
    status = status == DSV4_OK ? run_golden(s, err) : status;
    status = status == DSV4_OK ? run_default(s, results, pass, err) : status;
    if (status != DSV4_OK || !*pass) {
        return status;
    }
    status = search(s, o, err);
    return status == DSV4_OK ? write_results(s, o, results, err) : status;
}

static int finish(tune_state *s, json_t *results, bool pass, dsv4_status status, dsv4_error *err)
{
    dsv4_pool_destroy(s->pool);
    dsv4_tensor_list_deinit(&s->io);
    dsv4_tensor_list_deinit(&s->inputs);
    dsv4_tensor_list_deinit(&s->expected);
    op_tile_table_deinit(&s->table);
    free(s->search);
    if (status == DSV4_OK) {
        status = cli_write_json(results, err);
    } else {
        json_decref(results);
    }
    int code = status == DSV4_OK ? CLI_PASS : cli_fail(err);
    return status == DSV4_E_MISMATCH || (status == DSV4_OK && !pass) ? CLI_MISMATCH : code;
}

static int run(const cli_command *self, int argc, char **argv)
{
    tune_options options = {.inputs = {.start_pos = OP_UNKNOWN}, .mode = OP_ANY, .ratio = OP_ANY, .rounds = 100, .budget_s = 60};
    tune_state state = {.search = calloc(1, sizeof *state.search)};
    dsv4_error err = {0};
    bool pass = true;
    int first = 0, code = cli_parse(self, argc, argv, &options, &first);
    json_t *results = json_object();
    dsv4_status status = DSV4_OK;
    if (code >= 0) {
        json_decref(results);
        free(state.search);
        return code;
    }
    if (state.search == NULL) {
        status = dsv4_fail(&err, DSV4_E_NO_MEMORY, "tune: no memory for a search");
    } else if (first + 1 != argc) {
        status = dsv4_fail(&err, DSV4_E_USAGE, "tune: got %d operators, expected one; see dsv4 list", argc - first);
    } else {
        status = op_choose(argv[first], options.mode, options.ratio, &state.op, &err);
    }
    if (status == DSV4_OK) {
        json_object_set_new(results, "op", json_string(state.op->name));
        status = execute(&state, &options, results, &pass, &err);
    }
    return finish(&state, results, pass, status, &err);
}

const cli_command cli_tune = {"tune",        "OP [options]", "find fast tiles of an operator on this machine, for dsv4 run to use",
                              options_table, NULL,           run};
