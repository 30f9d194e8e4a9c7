#include "cli/ablate/ablate.h"

void ablate_print(const ablate_report *r)
{
    const ablate_study *study = r->study;
    cli_print("%s: %s (%s)\n", study->name, study->title, study->kernel);
    for (int v = 0; v < study->n_variants; v++) {
        const ablate_result *x = &r->variants[v];
        cli_print("  %s %-12s %3lld launches %5lld blocks  %.3g %% over tolerance  %s\n", x->pass ? "PASS" : "FAIL",
                  study->variants[v].name, (long long)x->launches, (long long)x->blocks, 100 * x->worst_share,
                  study->variants[v].what);
    }
    for (int s = 0; s < study->n_series; s++) {
        const ablate_series *series = &study->series[s];
        cli_print("  %s\n", series->title);
        for (int i = 0; i < series->n_rows; i++) {
            const ablate_row *row = &series->rows[i];
            const ablate_result *x = &r->variants[row->variant];
            const ablate_result *f = &r->variants[series->rows[0].variant];
            cli_print("    %-12s %10.1f us %6.2f | %8.1f us %6.2f  moved %8.2f MB of %8.2f| %6g %5.2f\n",
                      study->variants[row->variant].name, 1e6 * x->machine_s[s], x->machine_s[s] / f->machine_s[s],
                      1e6 * x->device_s[s], x->device_s[s] / f->device_s[s], x->moved_bytes[s] / 1e6, x->wanted_bytes[s] / 1e6,
                      row->low, row->low / series->rows[0].low);
        }
    }
}

json_t *ablate_json(const ablate_report *r)
{
    return json_pack("{s:s}", "name", r->study->name);
}

void ablate_write_markdown(FILE *f, const ablate_report *reports, int n)
{
    (void)reports, (void)n;
    fprintf(f, "# Ablations\n");
}
