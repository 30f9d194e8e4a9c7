/* trace/slices.h - what the lanes of a run look like at a width in pixels.
 *
 *   a block of 2 pixels or more  one slice, as wide as it is
 *   smaller ones                 summed into columns of one pixel: the row with most time, and how much of the column any block
 *                                fills, in quarters; equal neighbours are one slice */
#ifndef TRACE_SLICES_H
#define TRACE_SLICES_H

#include "trace/look.h"

enum { TRACE_QUARTERS = 4 };

typedef struct trace_slice {
    double x, width; /* pixels from the left end */
    int32_t lane;
    int32_t row;     /* of the legend */
    int32_t density; /* 1 .. TRACE_QUARTERS */
} trace_slice;

typedef struct trace_slices {
    trace_slice *items; /* [n]: by row, then density, then lane and x */
    int64_t n, capacity;
    double *row_s;   /* [n_rows] inside blocks within the window, all workers */
    double *running; /* [n_columns] blocks that run, mean over the column */
} trace_slices;

/* Of the events within [begin_s, end_s). DSV4_E_NO_MEMORY only; trace_slices_deinit always. */
DSV4_MUST_CHECK dsv4_status trace_slices_init(trace_slices *s, const trace *t, const trace_look *look, double begin_s, double end_s,
                                              int n_columns, dsv4_error *err);
void trace_slices_deinit(trace_slices *s);

#endif
