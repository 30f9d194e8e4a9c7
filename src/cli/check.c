/* cli/check.c - `dsv4 check FILE...`: runs the operator that a vector file names on its in.* tensors and compares with its out.*.
 *
 * Every dimension comes from the file: its config, and the shapes of its inputs. */
#include <string.h>

#include "cli/compare.h"
#include "cli/launch.h"
#include "dsv4/safetensors.h"

/* A vector file, loaded. */
typedef struct vector {
    const dsv4_op *op;
    dsv4_config config;
    dsv4_numerics numerics;
    dsv4_tensor_list io, expected;
} vector;

/* A file that does not say how it was computed is the reference implementation's. */
static dsv4_status read_numerics(const char *path, const dsv4_safetensors *st, vector *v, dsv4_error *err)
{
    const numerics_words words = {dsv4_safetensors_metadata(st, "compat"), dsv4_safetensors_metadata(st, "act_scale")};
    v->numerics.compat = DSV4_REFERENCE;
    return numerics_read(&words, &v->numerics, err) == DSV4_OK ? DSV4_OK : cli_blame(path, err);
}

static dsv4_status load_vector(const char *path, vector *v, dsv4_error *err)
{
    dsv4_safetensors *st = NULL;
    dsv4_status status = dsv4_safetensors_open(path, &st, err);
    if (status != DSV4_OK) {
        return status;
    }
    const char *kernel = dsv4_safetensors_metadata(st, "kernel"), *config = dsv4_safetensors_metadata(st, "config");
    if (kernel == NULL || config == NULL) {
        status = dsv4_fail(err, DSV4_E_FORMAT, "%s: metadata has no \"%s\"; a vector file names its kernel and its config", path,
                           kernel == NULL ? "kernel" : "config");
    } else if (dsv4_op_find(kernel, &v->op, err) != DSV4_OK) {
        status = cli_blame(path, err);
    } else {
        status = dsv4_config_parse(path, config, strlen(config), &v->config, err);
    }
    if (status == DSV4_OK) {
        status = read_numerics(path, st, v, err);
    }
    if (status == DSV4_OK) {
        status = dsv4_safetensors_load(st, "in.", &v->io, err);
    }
    if (status == DSV4_OK) {
        status = dsv4_safetensors_load(st, "out.", &v->expected, err);
    }
    dsv4_safetensors_close(st);
    return status;
}

static dsv4_status check_shape(const op_tensor *row, const dsv4_tensor *t, const op_dims *dims, dsv4_error *err)
{
    dsv4_tensor wanted = {.dtype = row->dtype};
    char got[160], expected[160];
    dsv4_status status = op_eval_shape(row->shape, dims, &wanted.n_dims, wanted.shape, err);
    if (status == DSV4_OK &&
        (t->n_dims != wanted.n_dims || memcmp(t->shape, wanted.shape, (size_t)t->n_dims * sizeof *t->shape) != 0)) {
        status = dsv4_fail(err, DSV4_E_SHAPE, "tensor out.%s: got %s, expected %s = [%s]", row->name,
                           dsv4_tensor_shape_text(t, got, sizeof got), dsv4_tensor_shape_text(&wanted, expected, sizeof expected),
                           row->shape);
    }
    return status;
}

/* What the file expects must fit its inputs, before the operator allocates outputs as large as they ask for. */
static dsv4_status check_expected(const vector *v, dsv4_error *err)
{
    op_dims dims = op_dims_of_config(&v->config);
    int n_expected = 0;
    dsv4_status status = op_bind(v->op, &v->io, &dims, err);
    for (size_t i = 0; i < v->op->n_tensors && status == DSV4_OK; i++) {
        const op_tensor *row = &v->op->tensors[i];
        const dsv4_tensor *t = dsv4_tensor_list_find(&v->expected, row->name);
        if (op_is_output(row) && t != NULL) {
            status = check_shape(row, t, &dims, err);
            n_expected++;
        }
    }
    if (status == DSV4_OK && n_expected == 0) {
        status =
            dsv4_fail(err, DSV4_E_NOT_FOUND, "%s computes none of its out.* tensors; see dsv4 list %s", v->op->name, v->op->name);
    }
    return status;
}

/* The operator updates in place what was loaded. */
static dsv4_status run_vector(const char *path, vector *v, const launch_options *options, json_t *outputs, bool *pass,
                              dsv4_error *err)
{
    launch l = {0};
    char numerics[80];
    launch_options own = *options;
    own.op.mode = op_mode_of(v->op, OP_ANY);
    own.op.numerics = v->numerics;
    dsv4_status status = numerics_read(&own.numerics, &own.op.numerics, err);
    if (status == DSV4_OK) {
        status = launch_open(&l, v->op, &v->config, &own, &v->io, err);
    }
    if (status == DSV4_OK) {
        status = launch_run(&l, &own, 1, err);
    }
    if (status == DSV4_OK) {
        cli_print("%s  %s, threads %d%s%s\n", path, v->op->name, dsv4_pool_n_threads(l.pool),
                  launch_numerics_text(&own.op.numerics, DSV4_REFERENCE, numerics, sizeof numerics),
                  own.verify ? ", declarations verified" : "");
        status = compare_outputs(v->op, &v->config, &v->io, &v->expected, outputs, pass, err);
    }
    launch_close(&l);
    return status;
}

/* Runs and compares; errors name the file. */
static dsv4_status check_vector(const char *path, vector *v, const launch_options *options, json_t *outputs, bool *pass,
                                dsv4_error *err)
{
    dsv4_status status = check_expected(v, err);
    if (status == DSV4_OK) {
        status = run_vector(path, v, options, outputs, pass, err);
    }
    return status == DSV4_OK ? DSV4_OK : cli_blame(path, err);
}

static int check_file(const char *path, const launch_options *options, json_t *files)
{
    vector v = {0};
    dsv4_error err = {0};
    bool pass = false;
    json_t *outputs = json_array();
    dsv4_status status = load_vector(path, &v, &err);
    if (status == DSV4_OK) {
        status = check_vector(path, &v, options, outputs, &pass, &err);
    }
    dsv4_tensor_list_deinit(&v.io);
    dsv4_tensor_list_deinit(&v.expected);
    int code = status != DSV4_OK ? CLI_BAD : pass ? CLI_PASS : CLI_MISMATCH;
    json_t *op = v.op != NULL ? json_string(v.op->name) : json_null();
    json_t *error = status != DSV4_OK ? cli_json_text(err.text) : json_null();
    json_array_append_new(files, json_pack("{s:o, s:o, s:i, s:o, s:o}", "file", cli_json_text(path), "op", op, "exit", code,
                                           "error", error, "outputs", outputs));
    return status != DSV4_OK ? cli_fail(&err) : code;
}

static int run(const cli_command *self, int argc, char **argv)
{
    launch_options options = {0};
    dsv4_error err = {0};
    int first = 0, n_of[3] = {0}, code = cli_parse(self, argc, argv, &options, &first);
    if (code >= 0) {
        return code;
    }
    if (first == argc) {
        dsv4_fail(&err, DSV4_E_USAGE, "check: got no file, expected at least one FILE.safetensors");
        return cli_fail(&err);
    }
    json_t *files = json_array();
    for (int i = first; i < argc; i++) {
        n_of[check_file(argv[i], &options, files)]++;
    }
    cli_print("checked %d: %d pass, %d mismatch, %d bad\n", argc - first, n_of[CLI_PASS], n_of[CLI_MISMATCH], n_of[CLI_BAD]);
    code = n_of[CLI_BAD] > 0 ? CLI_BAD : n_of[CLI_MISMATCH] > 0 ? CLI_MISMATCH : CLI_PASS;
    dsv4_status status = cli_write_json(json_pack("{s:i, s:o}", "exit", code, "files", files), &err);
    return status == DSV4_OK ? code : cli_fail(&err);
}

static const cli_option options_table[] = {
    {"verify", NULL, "look for touches that blocks do not declare, in random order (slow)", cli_store_flag,
     offsetof(launch_options, verify), 0, 0},
    {.name = NULL},
};

const cli_command cli_check = {"check",
                               "FILE.safetensors... [options]",
                               "run the operator that each vector file names on its in.* tensors, compare with its out.*",
                               options_table,
                               launch_option_table,
                               run};
