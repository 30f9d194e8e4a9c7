/* trace/viewer.h - the parts of the page, src/trace/viewer/, as cmake/embed.cmake puts them into the library. */
#ifndef TRACE_VIEWER_H
#define TRACE_VIEWER_H

#include <stddef.h>

extern const unsigned char embedded_page_html[], embedded_style_css[], embedded_model_js[], embedded_paint_js[],
    embedded_control_js[];
extern const size_t embedded_page_html_bytes, embedded_style_css_bytes, embedded_model_js_bytes, embedded_paint_js_bytes,
    embedded_control_js_bytes;

#endif
