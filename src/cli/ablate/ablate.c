/* cli/ablate/ablate.c - `dsv4 ablate [NAME]`: what each technique brings, on this machine and on a simulated device. */
#include "cli/ablate/ablate.h"

#include <stddef.h>
#include <string.h>

#include "base/file.h"

static const ablate_study *const studies[] = {&ablate_alias, &ablate_norm, &ablate_tiling, &ablate_groups, &ablate_scatter};

enum { N_STUDIES = sizeof studies / sizeof *studies, DEFAULT_ROUNDS = 9, MAX_ROUNDS = 10000 };

static const cli_option options_table[] = {
    {"preset", "flash|tiny", "dimensions (default flash)", cli_store_text, offsetof(ablate_options, preset), 0, 0},
    {"rounds", "N", "replays of each variant, in turn; medians are printed (default 9)", cli_store_number,
     offsetof(ablate_options, rounds), 1, MAX_ROUNDS},
    {"threads", "N", "workers (default: one per physical core)", cli_store_number, offsetof(ablate_options, n_threads), 1, 1024},
    {"seed", "N", "of the drawn inputs (default 0)", cli_store_number, offsetof(ablate_options, seed), 0, INT32_MAX},
    {"device", "NAME|FILE", "device to simulate, or here (default a2a3)", cli_store_file, offsetof(ablate_options, device), 0, 0},
    {"verify", NULL, "look for touches that blocks do not declare, too (slow)", cli_store_flag, offsetof(ablate_options, verify), 0,
     0},
    {"markdown", "FILE", "write the tables and what they mean as Markdown", cli_store_file, offsetof(ablate_options, markdown), 0,
     0},
    {.name = NULL},
};

static dsv4_status check_options(const ablate_options *o, dsv4_error *err)
{
    bool is_known = strcmp(o->preset, "flash") == 0 || strcmp(o->preset, "tiny") == 0;
    return is_known ? DSV4_OK : dsv4_fail(err, DSV4_E_USAGE, "--preset: got \"%s\", expected flash or tiny", o->preset);
}

/* The range of studies that the arguments ask for. */
static dsv4_status choose(int n, char **names, int *first, int *end, dsv4_error *err)
{
    char known[128];
    size_t length = 0;
    *first = 0;
    *end = N_STUDIES;
    for (int i = 0; i < N_STUDIES; i++) {
        if (n == 1 && strcmp(studies[i]->name, names[0]) == 0) {
            *first = i;
            *end = i + 1;
            return DSV4_OK;
        }
        length += (size_t)snprintf(known + length, sizeof known - length, "%s%s", i > 0 ? ", " : "", studies[i]->name);
    }
    return n == 0 ? DSV4_OK
                  : dsv4_fail(err, DSV4_E_USAGE, "ablate: got \"%s\", expected at most one of %s", names[n > 1 ? 1 : 0], known);
}

static dsv4_status write_markdown(const char *path, const ablate_report *reports, int n, dsv4_error *err)
{
    file_writer writer;
    if (path == NULL) {
        return DSV4_OK;
    }
    dsv4_status status = file_writer_open(&writer, path, err);
    if (status != DSV4_OK) {
        return status;
    }
    ablate_write_markdown(writer.stream, reports, n);
    return file_writer_commit(&writer, err);
}

static bool all_pass(const ablate_report *reports, int n)
{
    for (int i = 0; i < n; i++) {
        for (int v = 0; v < reports[i].study->n_variants; v++) {
            if (!reports[i].variants[v].pass) {
                return false;
            }
        }
    }
    return true;
}

static dsv4_status run_all(const ablate_options *o, int first, int end, bool *pass, dsv4_error *err)
{
    static ablate_report reports[N_STUDIES];
    dsv4_status status = DSV4_OK;
    json_t *results = json_array();
    int n = 0;
    for (int i = first; i < end && status == DSV4_OK; i++, n++) {
        status = ablate_run(studies[i], o, &reports[n], err);
        if (status == DSV4_OK) {
            ablate_print(&reports[n]);
            json_array_append_new(results, ablate_json(&reports[n]));
        }
    }
    if (status == DSV4_OK) {
        *pass = all_pass(reports, n);
        status = write_markdown(o->markdown, reports, n, err);
    }
    if (status == DSV4_OK) {
        return cli_write_json(json_pack("{s:o}", "studies", results), err);
    }
    json_decref(results);
    return status;
}

static int run(const cli_command *self, int argc, char **argv)
{
    ablate_options options = {.preset = "flash", .device = "a2a3", .rounds = DEFAULT_ROUNDS};
    dsv4_error err = {0};
    bool pass = false;
    int first = 0, begin = 0, end = 0, code = cli_parse(self, argc, argv, &options, &first);
    if (code >= 0) {
        return code;
    }
    dsv4_status status = check_options(&options, &err);
    if (status == DSV4_OK) {
        status = choose(argc - first, argv + first, &begin, &end, &err);
    }
    if (status == DSV4_OK) {
        status = uk_find(NULL, &options.uk, &err);
    }
    if (status == DSV4_OK) {
        status = run_all(&options, begin, end, &pass, &err);
    }
    return status != DSV4_OK ? cli_fail(&err) : pass ? CLI_PASS : CLI_MISMATCH;
}

const cli_command cli_ablate = {"ablate",
                                "[NAME] [options]",
                                "what each technique brings: variants of a kernel over the same inputs, compared with a reference",
                                options_table,
                                NULL,
                                run};
