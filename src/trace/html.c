#include "trace/html.h"

#include <stdio.h>
#include <string.h>

#include "trace/html_data.h"
#include "trace/out.h"
#include "trace/viewer.h"

/* Writes page.html; a line @name@ in it stands for the part of that name. */
static bool write_page(const trace *t, FILE *out)
{
    const struct {
        const char *line;
        const unsigned char *bytes;
        size_t n_bytes;
    } parts[] = {{"@style.css@\n", embedded_style_css, embedded_style_css_bytes},
                 {"@model.js@\n", embedded_model_js, embedded_model_js_bytes},
                 {"@paint.js@\n", embedded_paint_js, embedded_paint_js_bytes},
                 {"@control.js@\n", embedded_control_js, embedded_control_js_bytes},
                 {"@trace@\n", NULL, 0}};
    const unsigned char *at = embedded_page_html, *end = at + embedded_page_html_bytes;
    bool ok = true;
    while (at < end) {
        const unsigned char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t n = newline != NULL ? (size_t)(newline + 1 - at) : (size_t)(end - at), i = 0;
        while (i < sizeof parts / sizeof *parts && (n != strlen(parts[i].line) || memcmp(at, parts[i].line, n) != 0)) {
            i++;
        }
        if (i == sizeof parts / sizeof *parts) {
            fwrite(at, 1, n, out);
        } else if (parts[i].bytes != NULL) {
            fwrite(parts[i].bytes, 1, parts[i].n_bytes, out);
        } else {
            ok = trace_html_data(t, out) && ok;
        }
        at += n;
    }
    return ok;
}

dsv4_status trace_write_html(const trace *t, const char *path, dsv4_error *err)
{
    if (t->run.n_events == 0) {
        return dsv4_fail(err, DSV4_E_USAGE, "%s: the trace has no run to draw", path);
    }
    return trace_out_file(t, write_page, path, err);
}
