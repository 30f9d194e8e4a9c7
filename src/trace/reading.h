/* trace/reading.h - checked values out of the JSON of a trace file.
 *
 * A reading keeps the first error; afterwards every function returns 0, NULL or false and changes nothing, so that a reader checks
 * status once behind a loop. */
#ifndef TRACE_READING_H
#define TRACE_READING_H

#include <jansson.h>

#include "trace/trace.h"

typedef struct reading {
    const char *file;
    trace *t;
    dsv4_error *err;
    dsv4_status status;
    const char *section, *table; /* "graph", "views"; table NULL: members of the section itself */
    int64_t row;
    const json_t *values; /* of the section (object) or the row (array) that values are taken from */
} reading;

/* Largest integer in a file: sums of a few of them don't overflow, and a double holds it. */
#define READING_MAX (INT64_C(1) << 53)

/* Goes on with the members of an object of the root; false if it is not there. */
bool reading_section(reading *r, const json_t *root, const char *section);

/* Goes on with a table of the section; returns its rows, at most max; NULL on failure. *n is their number. */
const json_t *reading_table(reading *r, const json_t *root, const char *table, int64_t max, int64_t *n);

/* Goes on with row i, an array of n_values. False on failure. */
bool reading_row(reading *r, const json_t *rows, int64_t i, int64_t n_values);

/* Value number i of the row, or the member `name` of the section. */
int64_t reading_integer(reading *r, int i, const char *name, int64_t low, int64_t high);
double reading_number(reading *r, int i, const char *name, double low, double high);
bool reading_bool(reading *r, int i, const char *name);
const char *reading_text(reading *r, int i, const char *name);                                /* a copy that t owns */
int reading_word(reading *r, int i, const char *name, const char *const *words, int n_words); /* which of them */

/* Array of n items, zeroed; NULL and DSV4_E_NO_MEMORY. */
void *reading_array(reading *r, int64_t n, size_t item_bytes);

/* Fails with "file: dsv4.graph.views[3]: <what is wrong>". */
void reading_fail(reading *r, const char *format, ...) DSV4_PRINTF(2, 3);

/* The two sections. */
void reading_graph(reading *r, const json_t *root);
void reading_run(reading *r, const json_t *root);

#endif
