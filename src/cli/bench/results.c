#include "cli/bench/results.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "base/file.h"
#include "cli/bench/origin.h"

const cli_option bench_option_table[] = {
    {"threads", "N", "workers (default: one per physical core)", cli_store_number, offsetof(bench_options, n_threads), 1, 1024},
    {"rounds", "N", "interleaved repetitions; medians are printed", cli_store_number, offsetof(bench_options, rounds), 1, 1000},
    {"csv", "FILE", "write the rows as CSV", cli_store_file, offsetof(bench_options, csv), 0, 0},
    {"plot", "FILE", "write a roofline as SVG", cli_store_file, offsetof(bench_options, plot), 0, 0},
    {.name = NULL},
};

/* ---- a row in words ------------------------------------------------------------------------------------------------------ */

enum { MAX_CELL = 40 };

/* Columns of the text and, behind the suite, of the CSV. */
static const struct {
    const char *head, *key;
    int width; /* of the text; below 0: aligned to the left */
} columns[] = {{"name", "name", -13},   {"by", "by", -18},         {"shape", "shape", -16},      {"weights", "weights", -8},
               {"rows", "rows", 5},     {"us", "time_us", 10},     {"p10", "p10_us", 10},        {"p90", "p90_us", 10},
               {"GB/s", "gb_per_s", 7}, {"GOP/s", "gop_per_s", 8}, {"bound us", "bound_us", 10}, {"of bound", "of_bound", 8},
               {"idle", "idle", 6},     {"x dsv4", "ratio", 7},    {"checksum", "checksum", 16}};

enum { N_COLS = sizeof columns / sizeof *columns };
typedef char cells[N_COLS][MAX_CELL];

/* A figure with a fixed number of significant digits at least; nothing where there is none. */
static void format_number(char *cell, double value, int decimals)
{
    cell[0] = '\0';
    if (value > 0) {
        snprintf(cell, MAX_CELL, "%.*f", decimals, value);
    }
}

static void format_row(const bench_row *row, cells text)
{
    const bench_times *t = &row->times;
    const char *texts[] = {row->name, row->by, row->shape, row->weights};
    int col = 0;
    for (; col < 4; col++) {
        snprintf(text[col], MAX_CELL, "%s", texts[col]);
    }
    format_number(text[col++], (double)row->m, 0);
    const double seconds[] = {t->median_s, t->p10_s, t->p90_s};
    for (int i = 0; i < 3; i++) {
        format_number(text[col++], seconds[i] * 1e6, 2);
    }
    format_number(text[col++], row->bytes / t->median_s * 1e-9, 2);
    format_number(text[col++], row->ops / t->median_s * 1e-9, 1);
    format_number(text[col++], row->bound_s * 1e6, 2);
    format_number(text[col++], row->bound_s / t->median_s, 3);
    format_number(text[col++], row->idle_share, 3);
    format_number(text[col++], row->ratio, 2);
    snprintf(text[col], MAX_CELL, "%016" PRIx64, row->checksum);
}

/* ---- text ---------------------------------------------------------------------------------------------------------------- */

void bench_print_ceilings(const bench_ceilings *c, int n_threads)
{
    cli_print("ceilings of %d thread%s: read %.1f GB/s, copy %.1f GB/s, INT8 %.0f GOP/s, BF16 %.0f GFLOP/s, FP32 %.0f GFLOP/s\n",
              n_threads, n_threads == 1 ? "" : "s", c->read_bytes_s * 1e-9, c->copy_bytes_s * 1e-9, c->ops_i8_s * 1e-9,
              c->flops_bf16_s * 1e-9, c->flops_f32_s * 1e-9);
}

void bench_print_heads(void)
{
    for (int col = 0; col < N_COLS; col++) {
        cli_print("%s%*s", col > 0 ? " " : "", columns[col].width, columns[col].head);
    }
    cli_print("\n");
}

void bench_print_row(const bench_row *row)
{
    cells text;
    format_row(row, text);
    for (int col = 0; col < N_COLS; col++) {
        cli_print("%s%*s", col > 0 ? " " : "", columns[col].width, text[col][0] != '\0' ? text[col] : "-");
    }
    cli_print("\n");
}

/* ---- CSV ----------------------------------------------------------------------------------------------------------------- */

/* A ceiling is a row with a rate alone. */
static void write_ceiling(FILE *f, const char *name, double gb_per_s, double gop_per_s)
{
    cells text = {{0}};
    format_number(text[8], gb_per_s, 2);
    format_number(text[9], gop_per_s, 1);
    snprintf(text[0], MAX_CELL, "%s", name);
    fprintf(f, "ceilings");
    for (int col = 0; col < N_COLS; col++) {
        fprintf(f, ",%s", text[col]);
    }
    fprintf(f, "\n");
}

static void write_csv(FILE *f, const bench_results *r, const origin *o)
{
    const bench_ceilings *c = &r->ceilings;
    fprintf(f, "# cpu: %s\n# cores: %d\n# threads: %d\n# commit: %s\n# date: %s\n# compiler: %s\nsuite", o->cpu, o->n_cores,
            r->n_threads, origin_commit, o->date, o->compiler);
    for (int col = 0; col < N_COLS; col++) {
        fprintf(f, ",%s", columns[col].key);
    }
    fprintf(f, "\n");
    write_ceiling(f, "read", c->read_bytes_s * 1e-9, 0);
    write_ceiling(f, "copy", c->copy_bytes_s * 1e-9, 0);
    write_ceiling(f, "i8", 0, c->ops_i8_s * 1e-9);
    write_ceiling(f, "bf16", 0, c->flops_bf16_s * 1e-9);
    write_ceiling(f, "f32", 0, c->flops_f32_s * 1e-9);
    for (int i = 0; i < r->n_rows; i++) {
        cells text;
        format_row(&r->rows[i], text);
        fprintf(f, "%s", r->suite);
        for (int col = 0; col < N_COLS; col++) {
            fprintf(f, ",%s", text[col]);
        }
        fprintf(f, "\n");
    }
}

/* ---- JSON ---------------------------------------------------------------------------------------------------------------- */

static json_t *row_json(const bench_row *row)
{
    const bench_times *t = &row->times;
    char checksum[MAX_CELL];
    snprintf(checksum, sizeof checksum, "%016" PRIx64, row->checksum);
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:s}", "name", row->name, "by", row->by,
                     "shape", row->shape, "weights", row->weights, "rows", (json_int_t)row->m, "bytes", row->bytes, "ops", row->ops,
                     "bound_s", row->bound_s, "median_s", t->median_s, "p10_s", t->p10_s, "p90_s", t->p90_s, "idle_share",
                     row->idle_share, "ratio", row->ratio, "checksum", checksum);
}

static json_t *results_json(const bench_results *r, const origin *o)
{
    const bench_ceilings *c = &r->ceilings;
    json_t *rows = json_array();
    for (int i = 0; i < r->n_rows; i++) {
        json_array_append_new(rows, row_json(&r->rows[i]));
    }
    return json_pack("{s:s, s:i, s:i, s:{s:o, s:i, s:s, s:s, s:s}, s:{s:f, s:f, s:f, s:f, s:f}, s:o}", "suite", r->suite, "threads",
                     r->n_threads, "rounds", r->rounds, "origin", "cpu", cli_json_text(o->cpu), "cores", o->n_cores, "commit",
                     origin_commit, "date", o->date, "compiler", o->compiler, "ceilings", "read_bytes_s", c->read_bytes_s,
                     "copy_bytes_s", c->copy_bytes_s, "ops_i8_s", c->ops_i8_s, "flops_bf16_s", c->flops_bf16_s, "flops_f32_s",
                     c->flops_f32_s, "rows", rows);
}

/* ---- the end of a suite -------------------------------------------------------------------------------------------------- */

static void write_plot(FILE *f, const bench_results *r, const origin *o)
{
    bench_write_plot(f, r, o->cpu);
}

/* Writes path, unless it is NULL. */
static dsv4_status write_file(const char *path, void (*write)(FILE *f, const bench_results *r, const origin *o),
                              const bench_results *r, const origin *o, dsv4_error *err)
{
    file_writer writer;
    if (path == NULL) {
        return DSV4_OK;
    }
    dsv4_status status = file_writer_open(&writer, path, err);
    if (status != DSV4_OK) {
        return status;
    }
    write(writer.stream, r, o);
    return file_writer_commit(&writer, err);
}

int bench_results_finish(const bench_results *r, const bench_options *options, dsv4_status status, dsv4_error *err)
{
    return bench_results_finish_with(r, options, NULL, NULL, status, err);
}

int bench_results_finish_with(const bench_results *r, const bench_options *options, const char *key, json_t *details,
                              dsv4_status status, dsv4_error *err)
{
    origin o = {.n_cores = 0};
    json_t *results = NULL;
    if (status == DSV4_OK) {
        status = origin_get(&o, err);
    }
    if (status == DSV4_OK) {
        status = write_file(options->csv, write_csv, r, &o, err);
    }
    if (status == DSV4_OK) {
        status = write_file(options->plot, write_plot, r, &o, err);
    }
    if (status == DSV4_OK) {
        results = results_json(r, &o);
    }
    if (results != NULL && details != NULL) {
        json_object_set(results, key, details);
    }
    json_decref(details);
    return bench_finish(results, status, err);
}
