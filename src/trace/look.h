/* trace/look.h - what the page and the drawings share: rows of the legend, their colours, words.
 *
 * A ROW is all stages of one name (one per output group, say). It has one colour in the page and in every drawing: that of its place
 * in program order. */
#ifndef TRACE_LOOK_H
#define TRACE_LOOK_H

#include "trace/trace.h"

typedef struct trace_rgb {
    double r, g, b; /* 0..1, sRGB */
} trace_rgb;

/* Colour number i, for light and dark backgrounds: neighbours differ by much of the circle of hues. */
trace_rgb trace_colour(int64_t i);

typedef struct trace_row {
    const char *name; /* the graph's */
    int64_t n_blocks; /* that ran */
    double total_s;   /* inside them */
} trace_row;

typedef struct trace_look {
    trace_row *rows; /* [n_rows], in program order; those that run nothing have 0 blocks */
    int64_t *row_of; /* [n_stages] */
    int64_t n_rows;
    double makespan_s; /* last end */
    double busy_s;     /* inside blocks, all workers */
} trace_look;

/* DSV4_E_NO_MEMORY only; trace_look_deinit always. */
DSV4_MUST_CHECK dsv4_status trace_look_init(trace_look *look, const trace *t, dsv4_error *err);
void trace_look_deinit(trace_look *look);

/* Time inside blocks / (makespan * workers). */
double trace_look_busy_share(const trace_look *look, const trace_run *run);

/* A JSON string, quotes included, of ASCII characters and without '<': safe within a script element. Text that is not UTF-8 has '?'
 * for every byte beyond ASCII. The caller frees it; NULL without memory. */
char *trace_text_json(const char *text);

/* A copy in UTF-8 without control characters, the rest likewise '?'. The caller frees it; NULL without memory. */
char *trace_text_clean(const char *text);

/* "12.3 µs", at most 32 bytes for times below a year */
const char *trace_text_time(double seconds, char *out, size_t size);

#endif
