/* cli/bench/context_tables.c - the rows of `dsv4 bench context` as text, as Markdown and as JSON. */
#include <inttypes.h>

#include "cli/bench/context.h"

enum { MAX_TEXT = 256, MAX_CELL = 24, KIB = 1024, MIB = 1024 * 1024 };

static const char *const heads[] = {
    "context",    "compressed", "layer ms",  "index ms",      "core ms",  "plan ms",           "rest ms",
    "between MB", "window MB",  "compr. MB", "index keys MB", "state MB", "checksum of x_out",
};

enum { N_COLS = sizeof heads / sizeof *heads };

typedef char cells[N_COLS][MAX_CELL];

/* ---- text ------------------------------------------------------------------------------------------------------------------ */

/* 1024 is "1k", 1048576 is "1M". */
static void format_tokens(int64_t n, char *text)
{
    bool is_m = n % MIB == 0 && n > 0, is_k = !is_m && n % KIB == 0 && n > 0;
    snprintf(text, MAX_CELL, "%" PRId64 "%s", is_m ? n / MIB : is_k ? n / KIB : n, is_m ? "M" : is_k ? "k" : "");
}

static void format_ms(double seconds, char *text)
{
    snprintf(text, MAX_CELL, "%.3f", seconds * 1e3);
}

static void format_mb(int64_t bytes, char *text)
{
    snprintf(text, MAX_CELL, "%.3f", (double)bytes * 1e-6);
}

/* The cells of a row, in the order of heads. */
static void format_row(const context_row *row, cells text)
{
    int col = 0;
    format_tokens(row->context, text[col++]);
    snprintf(text[col++], MAX_CELL, "%" PRId64, row->n_compressed);
    format_ms(row->layer_s, text[col++]);
    for (int i = 0; i < CONTEXT_N_PARTS; i++) {
        format_ms(row->part_s[i], text[col++]);
    }
    format_mb(row->between_bytes, text[col++]);
    for (int i = 0; i < CONTEXT_N_CACHES; i++) {
        format_mb(row->cache_bytes[i], text[col++]);
    }
    snprintf(text[col++], MAX_CELL, "%016" PRIx64, row->checksum);
}

static void format_setting(const context_setting *s, char *text)
{
    snprintf(text, MAX_TEXT,
             "%s %s: %" PRId64 " request%s of %" PRId64 " token%s, index cache %s; medians of %d replays by %d worker%s", s->op,
             s->config, s->batch, s->batch > 1 ? "s" : "", s->seq, s->seq > 1 ? "s" : "", s->index_cache, s->rounds, s->n_workers,
             s->n_workers > 1 ? "s" : "");
}

void context_print_setting(const context_setting *s)
{
    char text[MAX_TEXT];
    format_setting(s, text);
    cli_print("%s\n", text);
}

static int width_of(int col)
{
    return col == N_COLS - 1 ? 17 : (int)strlen(heads[col]);
}

void context_print_heads(void)
{
    for (int col = 0; col < N_COLS; col++) {
        cli_print("%s%*s", col > 0 ? "  " : "", width_of(col), heads[col]);
    }
    cli_print("\n");
}

void context_print_row(const context_row *row)
{
    cells text;
    format_row(row, text);
    for (int col = 0; col < N_COLS; col++) {
        cli_print("%s%*s", col > 0 ? "  " : "", width_of(col), text[col]);
    }
    cli_print("\n");
}

/* ---- Markdown -------------------------------------------------------------------------------------------------------------- */

void context_write_markdown(FILE *f, const context_setting *s, const context_row *rows, int n_rows)
{
    char setting[MAX_TEXT];
    format_setting(s, setting);
    fprintf(f, "%s.\n\n", setting);
    for (int col = 0; col < N_COLS; col++) {
        fprintf(f, "| %s ", heads[col]);
    }
    fprintf(f, "|\n");
    for (int col = 0; col < N_COLS; col++) {
        fprintf(f, "|--:");
    }
    fprintf(f, "|\n");
    for (int i = 0; i < n_rows; i++) {
        cells text;
        format_row(&rows[i], text);
        for (int col = 0; col < N_COLS; col++) {
            fprintf(f, "| %s ", text[col]);
        }
        fprintf(f, "|\n");
    }
}

/* ---- JSON ------------------------------------------------------------------------------------------------------------------- */

static json_t *row_json(const context_row *row)
{
    const double *part_s = row->part_s;
    const int64_t *bytes = row->cache_bytes;
    char checksum[MAX_CELL];
    snprintf(checksum, sizeof checksum, "%016" PRIx64, row->checksum);
    return json_pack("{s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:I, s:I, s:I, s:I, s:I, s:s}", "context", (json_int_t)row->context,
                     "compressed_rows", (json_int_t)row->n_compressed, "layer_s", row->layer_s, "index_s", part_s[CONTEXT_INDEX],
                     "core_s", part_s[CONTEXT_CORE], "plan_s", part_s[CONTEXT_PLAN], "rest_s", part_s[CONTEXT_REST],
                     "between_bytes", (json_int_t)row->between_bytes, "window_bytes", (json_int_t)bytes[CONTEXT_WINDOW],
                     "compressed_bytes", (json_int_t)bytes[CONTEXT_COMPRESSED], "index_bytes",
                     (json_int_t)bytes[CONTEXT_INDEX_KEYS], "state_bytes", (json_int_t)bytes[CONTEXT_STATES], "checksum", checksum);
}

json_t *context_json(const context_setting *s, const context_row *rows, int n_rows)
{
    json_t *array = json_array();
    for (int i = 0; i < n_rows; i++) {
        json_array_append_new(array, row_json(&rows[i]));
    }
    return json_pack("{s:s, s:s, s:I, s:I, s:s, s:i, s:i, s:o}", "op", s->op, "config", s->config, "batch", (json_int_t)s->batch,
                     "seq", (json_int_t)s->seq, "index_cache", s->index_cache, "workers", s->n_workers, "rounds", s->rounds,
                     "contexts", array);
}
