/* cli/convert.c - `dsv4 convert DIR OUT`: a published checkpoint in the packed form, once, so that later runs start at once. */
#include <stddef.h>

#include "base/clock.h"
#include "base/progress.h"
#include "cli/cli.h"
#include "cli/stop.h"
#include "model/packed.h"

typedef struct convert_options {
    const char *numerics;
    long long n_threads; /* 0: one per core */
    bool restart, verify;
} convert_options;

static const cli_option options_table[] = {
    {"numerics", "NAME", "numerics to pack for: w8a8 (INT8, the default), or any of the others (FP8)", cli_store_text,
     offsetof(convert_options, numerics), 0, 0},
    {"threads", "N", "workers (default: one per physical core)", cli_store_number, offsetof(convert_options, n_threads), 1, 1024},
    {"restart", NULL, "begin anew, and replace what an earlier conversion made", cli_store_flag, offsetof(convert_options, restart),
     0, 0},
    {"verify", NULL, "read all of the result again and compare checksums", cli_store_flag, offsetof(convert_options, verify), 0, 0},
    {.name = NULL},
};

static dsv4_status fail_stopped(const char *out, const convert_options *options, const model_convert_result *r, dsv4_error *err)
{
    return r->was_given_up
               ? dsv4_fail(err, DSV4_E_IO, "%.300s: interrupted, the weights that were there stay", out)
               : dsv4_fail(err, DSV4_E_IO, "%.300s: interrupted: %zu of %zu weights are done, the same command goes on%s", out,
                           r->n_done, r->n_pieces, options->restart ? " without --restart" : "");
}

static dsv4_status convert(const char *folder, const char *out, const convert_options *options, bool int8,
                           model_convert_result *result, dsv4_error *err)
{
    dsv4_pool *pool = NULL;
    const int n_threads = options->n_threads > 0 ? (int)options->n_threads : dsv4_pool_default_threads();
    dsv4_status status = dsv4_pool_create(n_threads, &pool, err);
    if (status != DSV4_OK) {
        return status;
    }
    progress bar = progress_begin("converting");
    const model_convert_options how = {int8, options->restart, &cli_stop};
    cli_stop_arm();
    status = model_convert(folder, out, &how, pool, &bar, result, err);
    progress_end(&bar);
    dsv4_pool_destroy(pool);
    if (status == DSV4_OK && result->was_stopped) {
        return fail_stopped(out, options, result, err);
    }
    cli_stop_disarm(); /* nothing is left to be done at its end */
    if (status == DSV4_OK && options->verify) {
        bar = progress_begin("verifying");
        status = model_packed_verify(out, &bar, err);
        progress_end(&bar);
    }
    return status;
}

static json_t *result_json(const char *folder, const char *out, const char *numerics, const convert_options *options,
                           const model_convert_result *r, double seconds)
{
    return json_pack("{s:o, s:o, s:s, s:I, s:I, s:I, s:b, s:b, s:f}", "folder", cli_json_text(folder), "out", cli_json_text(out),
                     "numerics", numerics, "bytes", (json_int_t)r->file_bytes, "n_weights", (json_int_t)r->n_pieces, "n_kept",
                     (json_int_t)r->n_kept, "was_complete", r->was_complete, "verified", options->verify, "seconds", seconds);
}

static dsv4_status convert_and_tell(const char *folder, const char *out, const convert_options *options, dsv4_error *err)
{
    const model_numerics *numerics = NULL;
    model_convert_result r;
    const double start_s = clock_s();
    dsv4_status status = model_numerics_find(options->numerics != NULL ? options->numerics : "w8a8", &numerics, err);
    if (status != DSV4_OK || (status = convert(folder, out, options, numerics->rows == MODEL_ROWS_I8, &r, err)) != DSV4_OK) {
        return status;
    }
    const double seconds = clock_s() - start_s;
    if ((status = cli_write_json(result_json(folder, out, numerics->name, options, &r, seconds), err)) != DSV4_OK) {
        return status;
    }
    if (r.was_complete) {
        cli_print("%s: was converted before, nothing to do (--restart begins anew)\n", out);
    } else {
        cli_print("%s: %zu weights, %zu bytes, for %s\n", out, r.n_pieces, r.file_bytes,
                  numerics->rows == MODEL_ROWS_I8 ? "w8a8 (FP8 weights as INT8)" : "all numerics but w8a8");
        if (r.n_kept > 0) {
            cli_print("%zu of them are from an earlier conversion that was stopped\n", r.n_kept);
        }
    }
    if (options->verify) {
        cli_print("all checksums hold\n");
    }
    return DSV4_OK;
}

static int run(const cli_command *self, int argc, char **argv)
{
    convert_options options = {0};
    dsv4_error err = {0};
    int first = 0;
    const int code = cli_parse(self, argc, argv, &options, &first);
    if (code >= 0) {
        return code;
    }
    if (first + 2 != argc) {
        dsv4_fail(&err, DSV4_E_USAGE, "convert: got %d folders, expected two: DIR OUT", argc - first);
        return cli_fail(&err);
    }
    return cli_stop_code(convert_and_tell(argv[first], argv[first + 1], &options, &err) == DSV4_OK ? CLI_PASS : cli_fail(&err));
}

const cli_command cli_convert = {
    "convert", "DIR OUT [options]", "a published checkpoint in packed form, from which runs start at once", options_table, NULL,
    run};
