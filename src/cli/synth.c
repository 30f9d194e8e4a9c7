/* cli/synth.c - `dsv4 synth DIR`: a checkpoint with random weights, for measurements without the published files. */
#include <stddef.h>

#include "base/progress.h"
#include "cli/cli.h"
#include "cli/stop.h"
#include "model/synth.h"

typedef struct synth_options {
    const char *preset;
    long long n_layers, n_experts, seed, n_threads; /* 0 experts: the preset's; 0 threads: one per core */
    bool draft, fp8;
} synth_options;

#define FIELD(name) offsetof(synth_options, name)

static const cli_option options_table[] = {
    {"preset", "flash|pro|tiny", "dimensions (default tiny)", cli_store_text, FIELD(preset), 0, 0},
    {"layers", "N", "layers; they attend with ratios 0, 4, 128, 4, 128, ... (default 4)", cli_store_number, FIELD(n_layers), 1,
     256},
    {"experts", "E", "routed experts of a layer (default: the preset's)", cli_store_number, FIELD(n_experts), 1, 1 << 14},
    {"draft", NULL, "with a draft block (multi-token prediction)", cli_store_flag, FIELD(draft), 0, 0},
    {"fp8-experts", NULL, "routed experts in FP8, as in base models, not in FP4", cli_store_flag, FIELD(fp8), 0, 0},
    {"seed", "S", "of the random weights (default 1)", cli_store_number, FIELD(seed), 0, 1LL << 62},
    {"threads", "N", "workers (default: one per physical core)", cli_store_number, FIELD(n_threads), 1, 1024},
    {.name = NULL},
};

static dsv4_status synth(const char *folder, const synth_options *o, dsv4_error *err)
{
    const model_synth_options how = {o->preset, o->n_layers, o->n_experts, o->draft, o->fp8, (uint64_t)o->seed, &cli_stop};
    model_synth_result r;
    dsv4_pool *pool = NULL;
    const int n_threads = o->n_threads > 0 ? (int)o->n_threads : dsv4_pool_default_threads();
    dsv4_status status = dsv4_pool_create(n_threads, &pool, err);
    if (status != DSV4_OK) {
        return status;
    }
    progress bar = progress_begin("writing");
    cli_stop_arm();
    status = model_synth(folder, &how, pool, &bar, &r, err);
    progress_end(&bar);
    dsv4_pool_destroy(pool);
    if (status == DSV4_OK && r.was_stopped) {
        status = dsv4_fail(err, DSV4_E_IO, "%.300s: interrupted, nothing is left of it", folder);
    }
    if (status != DSV4_OK) {
        return status;
    }
    status = cli_write_json(json_pack("{s:o, s:s, s:I, s:I, s:I, s:I, s:I}", "folder", cli_json_text(folder), "preset", o->preset,
                                      "layers", (json_int_t)o->n_layers, "seed", (json_int_t)o->seed, "bytes", (json_int_t)r.bytes,
                                      "n_tensors", (json_int_t)r.n_tensors, "n_files", (json_int_t)r.n_files),
                            err);
    if (status == DSV4_OK) {
        cli_print("%s: %zu tensors, %zu bytes in %zu files; random weights, no tokenizer\n", folder, r.n_tensors, r.bytes,
                  r.n_files);
    }
    return status;
}

static int run(const cli_command *self, int argc, char **argv)
{
    synth_options options = {.preset = "tiny", .n_layers = 4, .seed = 1};
    dsv4_error err = {0};
    int first = 0;
    const int code = cli_parse(self, argc, argv, &options, &first);
    if (code >= 0) {
        return code;
    }
    if (first + 1 != argc) {
        dsv4_fail(&err, DSV4_E_USAGE, "synth: got %d folders, expected one", argc - first);
        return cli_fail(&err);
    }
    return cli_stop_code(synth(argv[first], &options, &err) == DSV4_OK ? CLI_PASS : cli_fail(&err));
}

const cli_command cli_synth = {"synth", "DIR [options]", "a checkpoint of any size with random weights", options_table, NULL, run};
