/* trace/draw.h - a run as a picture for documents: lanes, time axis, blocks that run, legend. Colours are those of the page. */
#ifndef TRACE_DRAW_H
#define TRACE_DRAW_H

#include "trace/trace.h"

enum { TRACE_MIN_WIDTH = 400, TRACE_MAX_WIDTH = 8000 };

typedef struct trace_drawing {
    const char *title;     /* NULL: the graph's name */
    double begin_s, end_s; /* of the window; end_s 0: to the end of the run */
    int width;             /* pixels; 0: 1200. The height follows from the lanes and the legend */
} trace_drawing;

/* DSV4_E_USAGE where t has no run, DSV4_E_VALUE for a width or window that cannot be drawn. Replaces path whole or not at all. */
DSV4_MUST_CHECK dsv4_status trace_write_svg(const trace *t, const trace_drawing *drawing, const char *path, dsv4_error *err);
DSV4_MUST_CHECK dsv4_status trace_write_png(const trace *t, const trace_drawing *drawing, const char *path, dsv4_error *err);

#endif
