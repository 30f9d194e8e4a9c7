/* cli/ablate/report.c - what the studies found: a table for each series as text, as JSON, and as docs/ABLATIONS.md. */
#include <math.h>

#include "cli/ablate/ablate.h"
#include "cli/bench/origin.h"

static const char *const measure_names[ABLATE_N_MEASURES] = {[ABLATE_MAKESPAN] = "makespan",
                                                             [ABLATE_WINDOW] = "first start to last end",
                                                             [ABLATE_BUSY] = "time in blocks, all cores",
                                                             [ABLATE_TASK] = "mean time of a block"};

/* ---- one row ---------------------------------------------------------------------------------------------------------------- */

/* Middle of what was published; NAN: nothing. */
static double published(const ablate_row *row)
{
    return row->low <= 0 ? NAN : row->high > row->low ? (row->low + row->high) / 2 : row->low;
}

/* A row beside the first of its series: value / value, NAN where one is missing. */
typedef struct ratios {
    double machine, device, published;
} ratios;

static double ratio(double value, double first)
{
    return value > 0 && first > 0 ? value / first : NAN;
}

static ratios ratios_of(const ablate_report *r, int series, int i)
{
    const ablate_series *s = &r->study->series[series];
    const ablate_result *first = &r->variants[s->rows[0].variant], *x = &r->variants[s->rows[i].variant];
    return (ratios){ratio(x->machine_s[series], first->machine_s[series]), ratio(x->device_s[series], first->device_s[series]),
                    published(&s->rows[i]) / published(&s->rows[0])};
}

enum { CELL = 64 };

/* "0.87", or "" of NAN. */
static const char *ratio_text(double value, char text[CELL])
{
    text[0] = '\0';
    if (!isnan(value)) {
        snprintf(text, CELL, value < 0.1 ? "%.3f" : "%.2f", value);
    }
    return text;
}

/* "863-1357 us" or "". */
static const char *published_text(const ablate_series *s, const ablate_row *row, char text[CELL])
{
    if (row->low <= 0) {
        text[0] = '\0';
    } else if (row->high > row->low) {
        snprintf(text, CELL, "%.10g-%.10g %s", row->low, row->high, s->unit);
    } else {
        snprintf(text, CELL, "%.10g %s", row->low, s->unit);
    }
    return text;
}

/* Moved by its stages for each byte that their boxes hold. */
static const char *moved_text(const ablate_result *x, int series, char text[CELL])
{
    return ratio_text(ratio(x->moved_bytes[series], x->wanted_bytes[series]), text);
}

/* ---- text ------------------------------------------------------------------------------------------------------------------- */

static void print_variants(const ablate_report *r)
{
    for (int v = 0; v < r->study->n_variants; v++) {
        const ablate_result *x = &r->variants[v];
        cli_print("  %s %-14s %4lld launches %5lld blocks  %s\n", x->pass ? "PASS" : "FAIL", r->study->variants[v].name,
                  (long long)x->launches, (long long)x->blocks, r->study->variants[v].what);
    }
}

static void print_series(const ablate_report *r, int series)
{
    const ablate_series *s = &r->study->series[series];
    cli_print("  %s (%s)\n    %-14s %12s %6s %12s %6s %6s  %s\n", s->title, measure_names[s->measure], "", "here us", "", r->device,
              "", "moved", "published");
    for (int i = 0; i < s->n_rows; i++) {
        const ablate_result *x = &r->variants[s->rows[i].variant];
        ratios q = ratios_of(r, series, i);
        char a[CELL], b[CELL], c[CELL], d[CELL], e[CELL];
        cli_print("    %-14s %12.1f %6s %12.1f %6s %6s  %s %s\n", r->study->variants[s->rows[i].variant].name,
                  1e6 * x->machine_s[series], ratio_text(q.machine, a), 1e6 * x->device_s[series], ratio_text(q.device, b),
                  moved_text(x, series, c), published_text(s, &s->rows[i], d), ratio_text(q.published, e));
    }
}

/* Counts in full, what is measured in four digits. */
static const char *figure_value(const ablate_figure *f, char text[CELL])
{
    snprintf(text, CELL, f->value == floor(f->value) ? "%.0f" : "%.4g", f->value);
    return text;
}

static const char *figure_published(const ablate_figure *f, char text[CELL])
{
    const ablate_series s = {.unit = f->unit};
    return published_text(&s, &(ablate_row){0, f->low, f->high}, text);
}

void ablate_print(const ablate_report *r)
{
    cli_print("%s: %s (%s)\n", r->study->name, r->study->title, r->study->kernel);
    print_variants(r);
    for (int s = 0; s < r->study->n_series; s++) {
        print_series(r, s);
    }
    for (int i = 0; i < r->figures.n; i++) {
        const ablate_figure *f = &r->figures.at[i];
        char a[CELL], b[CELL];
        cli_print("  %-44s %12s %-4s  %s\n", f->name, figure_value(f, a), f->unit, figure_published(f, b));
    }
}

/* ---- JSON ------------------------------------------------------------------------------------------------------------------- */

static json_t *number_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *variant_json(const ablate_report *r, int v)
{
    const ablate_result *x = &r->variants[v];
    return json_pack("{s:s, s:s, s:b, s:f, s:I, s:I, s:f}", "name", r->study->variants[v].name, "what", r->study->variants[v].what,
                     "pass", x->pass, "over_tolerance", x->worst_share, "launches", (json_int_t)x->launches, "blocks",
                     (json_int_t)x->blocks, "vector_ops", x->vector_ops);
}

static json_t *row_json(const ablate_report *r, int series, int i)
{
    const ablate_series *s = &r->study->series[series];
    const ablate_result *x = &r->variants[s->rows[i].variant];
    ratios q = ratios_of(r, series, i);
    return json_pack("{s:s, s:f, s:o, s:f, s:o, s:f, s:f, s:o, s:o}", "variant", r->study->variants[s->rows[i].variant].name,
                     "machine_s", x->machine_s[series], "machine_ratio", number_or_null(q.machine), "device_s", x->device_s[series],
                     "device_ratio", number_or_null(q.device), "moved_bytes", x->moved_bytes[series], "wanted_bytes",
                     x->wanted_bytes[series], "published", number_or_null(published(&s->rows[i])), "published_ratio",
                     number_or_null(q.published));
}

static json_t *series_json(const ablate_report *r, int series)
{
    const ablate_series *s = &r->study->series[series];
    json_t *rows = json_array();
    for (int i = 0; i < s->n_rows; i++) {
        json_array_append_new(rows, row_json(r, series, i));
    }
    return json_pack("{s:s, s:s, s:b, s:o}", "title", s->title, "measure", measure_names[s->measure], "headline", s->is_headline,
                     "rows", rows);
}

json_t *ablate_json(const ablate_report *r)
{
    json_t *variants = json_array(), *series = json_array(), *figures = json_array();
    for (int v = 0; v < r->study->n_variants; v++) {
        json_array_append_new(variants, variant_json(r, v));
    }
    for (int s = 0; s < r->study->n_series; s++) {
        json_array_append_new(series, series_json(r, s));
    }
    for (int i = 0; i < r->figures.n; i++) {
        const ablate_figure *f = &r->figures.at[i];
        json_array_append_new(figures, json_pack("{s:s, s:s, s:f, s:o}", "name", f->name, "unit", f->unit, "value", f->value,
                                                 "published", number_or_null(published(&(ablate_row){0, f->low, f->high}))));
    }
    return json_pack("{s:s, s:s, s:s, s:i, s:i, s:o, s:o, s:o}", "name", r->study->name, "config", r->config, "device", r->device,
                     "workers", r->n_workers, "rounds", r->rounds, "variants", variants, "series", series, "figures", figures);
}

/* ---- Markdown --------------------------------------------------------------------------------------------------------------- */

static void write_head(FILE *f, const ablate_report *r)
{
    origin o;
    fprintf(f,
            "# Ablations\n\nWhat each technique of this project's models brings, as variants of one kernel: the same inputs, every "
            "output compared with the same reference, on this machine and on a simulated device. Made by `make ablations` "
            "(`dsv4 ablate`), which writes this file whole.\n\n");
    if (r != NULL && origin_get(&o, NULL) == DSV4_OK) {
        fprintf(f, "Measured with %d workers on %s, medians of %d interleaved replays, %s, commit %s. ", r->n_workers, o.cpu,
                r->rounds, o.date, origin_commit);
    }
    fprintf(f,
            "*Published* is what the authors of a technique measured on their Ascend NPU; a range counts by its middle. Ratios are "
            "to the first row of a table. *Moved* is the bytes that cross the memory levels of the device for each byte that the "
            "blocks want: whole lines, so short runs waste the rest.\n\nA CPU is no NPU: launches cost it a tenth, its caches keep "
            "what an NPU's program must load again, and products bind it that memory binds there. A ratio of 1 here means that the "
            "technique is for the other machine.\n");
}

/* The first and last row of each headline. */
static void write_summary(FILE *f, const ablate_report *reports, int n)
{
    fprintf(f, "\n| study | headline | here | %s | published | predicted / published |\n|---|---|---|---|---|---|\n",
            n > 0 ? reports[0].device : "device");
    for (int i = 0; i < n; i++) {
        for (int s = 0; s < reports[i].study->n_series; s++) {
            const ablate_series *series = &reports[i].study->series[s];
            ratios q = ratios_of(&reports[i], s, series->n_rows - 1);
            char a[CELL], b[CELL], c[CELL], d[CELL];
            if (series->is_headline) {
                fprintf(f, "| [%s](#%s) | %s | %s | %s | %s | %s |\n", reports[i].study->name, reports[i].study->name,
                        series->title, ratio_text(q.machine, a), ratio_text(q.device, b), ratio_text(q.published, c),
                        ratio_text(q.device / q.published, d));
            }
        }
    }
}

static void write_variants(FILE *f, const ablate_report *r)
{
    fprintf(f, "\n| variant | what it is | agrees | launches | blocks | vector ops |\n|---|---|---|---|---|---|\n");
    for (int v = 0; v < r->study->n_variants; v++) {
        const ablate_result *x = &r->variants[v];
        fprintf(f, "| %s | %s | %s | %lld | %lld | %.3g |\n", r->study->variants[v].name, r->study->variants[v].what,
                x->pass ? "yes" : "**no**", (long long)x->launches, (long long)x->blocks, x->vector_ops);
    }
}

static void write_series(FILE *f, const ablate_report *r, int series)
{
    const ablate_series *s = &r->study->series[series];
    fprintf(
        f,
        "\n**%s** (%s)\n\n| variant | here | ratio | %s | ratio | moved | published | ratio |\n|---|---|---|---|---|---|---|---|\n",
        s->title, measure_names[s->measure], r->device);
    for (int i = 0; i < s->n_rows; i++) {
        const ablate_result *x = &r->variants[s->rows[i].variant];
        ratios q = ratios_of(r, series, i);
        char a[CELL], b[CELL], c[CELL], d[CELL], e[CELL];
        fprintf(f, "| %s | %.1f us | %s | %.1f us | %s | %s | %s | %s |\n", r->study->variants[s->rows[i].variant].name,
                1e6 * x->machine_s[series], ratio_text(q.machine, a), 1e6 * x->device_s[series], ratio_text(q.device, b),
                moved_text(x, series, c), published_text(s, &s->rows[i], d), ratio_text(q.published, e));
    }
}

static void write_study(FILE *f, const ablate_report *r)
{
    fprintf(f, "\n## %s\n\n**%s.** %s.\n\n%s\n", r->study->name, r->study->title, r->study->kernel, r->study->text);
    write_variants(f, r);
    for (int s = 0; s < r->study->n_series; s++) {
        write_series(f, r, s);
    }
    if (r->figures.n > 0) {
        fprintf(f, "\n| | here | published |\n|---|---|---|\n");
    }
    for (int i = 0; i < r->figures.n; i++) {
        char a[CELL], b[CELL];
        fprintf(f, "| %s | %s %s | %s |\n", r->figures.at[i].name, figure_value(&r->figures.at[i], a), r->figures.at[i].unit,
                figure_published(&r->figures.at[i], b));
    }
}

void ablate_write_markdown(FILE *f, const ablate_report *reports, int n)
{
    write_head(f, n > 0 ? &reports[0] : NULL);
    write_summary(f, reports, n);
    for (int i = 0; i < n; i++) {
        write_study(f, &reports[i]);
    }
}
