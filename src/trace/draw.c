#include "trace/draw.h"

#include <cairo-svg.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/memory.h"
#include "trace/slices.h"

/* ---- layout, pixels ----------------------------------------------------------------------------------------------------------

     title
     device, workers, makespan, busy share
     worker 0  ##########  ####
     worker 1  ######  ########
               0      1      2 ms
     running   ~~~~~~~~~~~~~~~~
     # stage 40 %   # stage 20 %   # stage 10 %                                                                                  */

enum {
    PAD = 16,
    TITLE_Y = 30,
    FACTS_Y = 51,
    LANES_Y = 66,
    AXIS_HEIGHT = 24,
    STRIP_HEIGHT = 40,
    LEGEND_LINE = 20,
    MAX_LEGEND_LINES = 6,
    MAX_LANES = 4096,
    TEXT_BYTES = 160
};
static const double title_size = 16, text_size = 12;
static const trace_rgb paper = {1, 1, 1}, ink = {0.08, 0.09, 0.12}, dim = {0.36, 0.40, 0.46}, groove = {0.93, 0.94, 0.96},
                       rule = {0.80, 0.83, 0.87}, area = {0.14, 0.34, 0.84};

typedef struct canvas {
    const trace *t;
    const trace_drawing *drawing;
    const trace_look *look;
    trace_slices slices;
    cairo_t *cairo;
    double begin_s, end_s;
    double lane_height;
    int width, height, left, right; /* of the lanes: [left, right) */
    int64_t *legend;                /* [n_rows] rows with a share, largest first */
    int64_t n_legend;
    int legend_columns, legend_lines;
} canvas;

/* ---- text -------------------------------------------------------------------------------------------------------------------- */

static void set_colour(const canvas *c, trace_rgb colour)
{
    cairo_set_source_rgb(c->cairo, colour.r, colour.g, colour.b);
}

static void set_font(const canvas *c, double size, bool bold)
{
    cairo_select_font_face(c->cairo, "sans-serif", CAIRO_FONT_SLANT_NORMAL,
                           bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(c->cairo, size);
}

static double text_width(const canvas *c, const char *text)
{
    cairo_text_extents_t extents;
    cairo_text_extents(c->cairo, text, &extents);
    return extents.x_advance;
}

/* Copies text, cut behind a whole character and with an ellipsis where it is wider than room. */
static void fit_text(const canvas *c, const char *text, double room, char out[TEXT_BYTES])
{
    size_t n = strlen(text);
    bool cut = n > TEXT_BYTES - 4;
    n = cut ? TEXT_BYTES - 4 : n;
    for (;; n--, cut = true) {
        while (cut && n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80) {
            n--;
        }
        memcpy(out, text, n);
        memcpy(out + n, cut ? "\xe2\x80\xa6" : "", cut ? 4 : 1);
        if (n == 0 || text_width(c, out) <= room) {
            return;
        }
    }
}

/* Draws text, at most room wide; returns its width. */
static double put_text(const canvas *c, double x, double y, double room, const char *text)
{
    char *clean = trace_text_clean(text), fitted[TEXT_BYTES];
    if (clean == NULL) {
        return 0;
    }
    fit_text(c, clean, room, fitted);
    free(clean);
    cairo_move_to(c->cairo, x, y);
    cairo_show_text(c->cairo, fitted);
    return text_width(c, fitted);
}

/* ---- head -------------------------------------------------------------------------------------------------------------------- */

static void draw_head(const canvas *c)
{
    const trace_run *run = &c->t->run;
    char facts[256], makespan[32], begin[32], end[32];
    set_colour(c, ink);
    set_font(c, title_size, true);
    put_text(c, PAD, TITLE_Y, c->width - 2 * PAD, c->drawing->title != NULL ? c->drawing->title : c->t->graph.name);
    trace_text_time(c->look->makespan_s, makespan, sizeof makespan);
    int n = snprintf(facts, sizeof facts, "makespan %s, busy %.1f %%, %lld blocks on %lld %s%s", makespan,
                     100 * trace_look_busy_share(c->look, run), (long long)run->n_events, (long long)run->n_workers,
                     run->is_simulated ? "simulated " : "", run->n_workers == 1 ? "worker" : "workers");
    if (c->begin_s > 0 || c->end_s < c->look->makespan_s) {
        trace_text_time(c->begin_s, begin, sizeof begin);
        trace_text_time(c->end_s, end, sizeof end);
        n += snprintf(facts + n, sizeof facts - (size_t)n, "; shown: %s to %s", begin, end);
    }
    set_font(c, text_size, false);
    set_colour(c, dim);
    double width = put_text(c, PAD, FACTS_Y, c->width - 2 * PAD, facts), room = c->width - 3 * PAD - width;
    if (room > 80 && run->device != NULL && run->device[0] != '\0') {
        char fitted[TEXT_BYTES], *clean = trace_text_clean(run->device);
        if (clean != NULL) {
            fit_text(c, clean, room, fitted);
            put_text(c, c->width - PAD - text_width(c, fitted), FACTS_Y, room, fitted);
        }
        free(clean);
    }
}

/* ---- lanes ------------------------------------------------------------------------------------------------------------------- */

static double lane_gap(const canvas *c)
{
    return c->lane_height >= 16 ? 3 : c->lane_height >= 6 ? 1 : 0;
}

static trace_rgb mix(trace_rgb a, trace_rgb b, double share_of_a)
{
    return (trace_rgb){b.r + (a.r - b.r) * share_of_a, b.g + (a.g - b.g) * share_of_a, b.b + (a.b - b.b) * share_of_a};
}

/* Slices of one colour are one path. */
static void draw_slices(const canvas *c)
{
    const trace_slices *s = &c->slices;
    double high = c->lane_height - lane_gap(c);
    for (int64_t i = 0; i < s->n; i++) {
        const trace_slice *a = &s->items[i];
        cairo_rectangle(c->cairo, c->left + a->x, LANES_Y + a->lane * c->lane_height, a->width, high);
        if (i + 1 == s->n || a[1].row != a->row || a[1].density != a->density) {
            set_colour(c, mix(trace_colour(a->row), groove, (double)a->density / TRACE_QUARTERS));
            cairo_fill(c->cairo);
        }
    }
    for (int64_t i = 0; i < s->n; i++) { /* right edges: gaps would look like waiting */
        const trace_slice *a = &s->items[i];
        if (a->density == TRACE_QUARTERS && a->width > 4) {
            cairo_rectangle(c->cairo, c->left + a->x + a->width - 0.7, LANES_Y + a->lane * c->lane_height, 0.7, high);
        }
    }
    cairo_set_source_rgba(c->cairo, 0, 0, 0, 0.28);
    cairo_fill(c->cairo);
}

static void draw_lanes(const canvas *c)
{
    const trace_run *run = &c->t->run;
    int64_t every = (int64_t)ceil(13 / c->lane_height);
    set_font(c, c->lane_height >= 14 ? text_size : 10, false);
    for (int64_t w = 0; w < run->n_workers; w++) {
        double y = LANES_Y + (double)w * c->lane_height, high = c->lane_height - lane_gap(c);
        set_colour(c, groove);
        cairo_rectangle(c->cairo, c->left, y, c->right - c->left, high);
        cairo_fill(c->cairo);
        if (w % every == 0) {
            set_colour(c, ink);
            put_text(c, PAD, c->lane_height >= 14 ? y + high / 2 + 4 : y + 9, c->left - PAD - 6, run->workers[w].name);
        }
    }
    draw_slices(c);
}

/* ---- time axis, blocks that run ------------------------------------------------------------------------------------------------ */

static double lanes_end(const canvas *c)
{
    return LANES_Y + c->lane_height * (double)c->t->run.n_workers;
}

/* 1, 2 or 5 times a power of ten, at least rough */
static double tick_step(double rough)
{
    double power = pow(10, floor(log10(rough)));
    return rough <= power ? power : rough <= 2 * power ? 2 * power : rough <= 5 * power ? 5 * power : 10 * power;
}

static void draw_axis(const canvas *c)
{
    static const struct {
        double from_s, scale;
        const char *unit;
    } units[] = {{1e-1, 1, "s"}, {1e-4, 1e3, "ms"}, {1e-7, 1e6, "\xc2\xb5s"}, {0, 1e9, "ns"}};
    double span = c->end_s - c->begin_s, step = tick_step(span / ((c->right - c->left) / 90.0)), y = lanes_end(c);
    int u = 0;
    while (step < units[u].from_s) {
        u++;
    }
    int digits = (int)fmin(6, fmax(0, -floor(log10(step * units[u].scale) + 1e-9)));
    set_font(c, 11, false);
    for (double k = fmax(0, ceil(c->begin_s / step - 1e-9)); k * step <= c->end_s + 1e-9 * span; k++) {
        char label[64];
        double x = c->left + (k * step - c->begin_s) / span * (c->right - c->left);
        snprintf(label, sizeof label, "%.*f %s", digits, k * step * units[u].scale, units[u].unit);
        double width = text_width(c, label);
        set_colour(c, rule);
        cairo_rectangle(c->cairo, floor(x), y, 1, 5);
        cairo_fill(c->cairo);
        set_colour(c, dim);
        put_text(c, fmin(x - width / 2, c->right - width), y + 17, width + 1, label);
    }
}

static void draw_running(const canvas *c)
{
    double y = lanes_end(c) + AXIS_HEIGHT, n_workers = (double)c->t->run.n_workers;
    char label[64];
    set_colour(c, groove);
    cairo_rectangle(c->cairo, c->left, y, c->right - c->left, STRIP_HEIGHT);
    cairo_fill(c->cairo);
    cairo_move_to(c->cairo, c->left, y + STRIP_HEIGHT);
    for (int i = 0; i < c->right - c->left; i++) {
        cairo_line_to(c->cairo, c->left + i + 0.5, y + STRIP_HEIGHT * (1 - fmin(1, c->slices.running[i] / n_workers)));
    }
    cairo_line_to(c->cairo, c->right, y + STRIP_HEIGHT);
    set_colour(c, mix(area, paper, 0.75));
    cairo_fill(c->cairo);
    set_font(c, 11, false);
    set_colour(c, ink);
    put_text(c, PAD, y + 13, c->left - PAD - 6, "running");
    snprintf(label, sizeof label, "0 to %.0f", n_workers);
    set_colour(c, dim);
    put_text(c, PAD, y + 27, c->left - PAD - 6, label);
}

/* ---- legend ------------------------------------------------------------------------------------------------------------------- */

static double window_busy_s(const canvas *c)
{
    double sum = 0;
    for (int64_t r = 0; r < c->look->n_rows; r++) {
        sum += c->slices.row_s[r];
    }
    return sum;
}

static void sort_legend(canvas *c)
{
    for (int64_t r = 0; r < c->look->n_rows; r++) {
        int64_t at = c->n_legend;
        if (c->slices.row_s[r] <= 0) {
            continue;
        }
        for (; at > 0 && c->slices.row_s[c->legend[at - 1]] < c->slices.row_s[r]; at--) {
            c->legend[at] = c->legend[at - 1];
        }
        c->legend[at] = r;
        c->n_legend++;
    }
}

static void plan_legend(canvas *c)
{
    double widest = 0;
    set_font(c, text_size, false);
    for (int64_t i = 0; i < c->n_legend; i++) {
        char *clean = trace_text_clean(c->look->rows[c->legend[i]].name);
        widest = clean != NULL ? fmax(widest, text_width(c, clean)) : widest;
        free(clean);
    }
    double room = c->width - 2 * PAD, column = fmin(room, fmin(widest, 240) + 90);
    c->legend_columns = (int)(room / column);
    int64_t lines = (c->n_legend + c->legend_columns - 1) / c->legend_columns;
    c->legend_lines = lines > MAX_LEGEND_LINES ? MAX_LEGEND_LINES : (int)lines;
}

static void draw_legend(const canvas *c)
{
    double busy_s = window_busy_s(c), column = (double)(c->width - 2 * PAD) / c->legend_columns, shown_s = 0;
    double top = lanes_end(c) + AXIS_HEIGHT + STRIP_HEIGHT + 14;
    int64_t n_places = (int64_t)c->legend_columns * c->legend_lines, n = c->n_legend > n_places ? n_places - 1 : c->n_legend;
    set_font(c, text_size, false);
    for (int64_t i = 0; i < n; i++) {
        char share[32];
        int64_t row = c->legend[i];
        double x = PAD + column * (double)(i / c->legend_lines), y = top + LEGEND_LINE * (double)(i % c->legend_lines);
        shown_s += c->slices.row_s[row];
        set_colour(c, trace_colour(row));
        cairo_rectangle(c->cairo, x, y + 2, 11, 11);
        cairo_fill(c->cairo);
        set_colour(c, ink);
        double width = put_text(c, x + 18, y + 12, column - 84, c->look->rows[row].name);
        snprintf(share, sizeof share, "%.1f %%", 100 * c->slices.row_s[row] / busy_s);
        set_colour(c, dim);
        put_text(c, x + 26 + width, y + 12, 60, share);
    }
    if (n < c->n_legend) {
        char rest[64];
        snprintf(rest, sizeof rest, "%lld more, %.1f %%", (long long)(c->n_legend - n), 100 * (busy_s - shown_s) / busy_s);
        set_colour(c, dim);
        put_text(c, PAD + column * (double)(n / c->legend_lines) + 18, top + LEGEND_LINE * (double)(n % c->legend_lines) + 12,
                 column - 20, rest);
    }
}

/* ---- the picture ----------------------------------------------------------------------------------------------------------------- */

static dsv4_status check(const trace *t, const trace_drawing *d, const trace_look *look, canvas *c, dsv4_error *err)
{
    c->begin_s = d->begin_s;
    c->end_s = d->end_s > 0 ? d->end_s : look->makespan_s;
    c->width = d->width != 0 ? d->width : 1200;
    if (c->width < TRACE_MIN_WIDTH || c->width > TRACE_MAX_WIDTH) {
        return dsv4_fail(err, DSV4_E_VALUE, "a drawing %d pixels wide, expected %d to %d", c->width, TRACE_MIN_WIDTH,
                         TRACE_MAX_WIDTH);
    }
    if (!(c->begin_s >= 0) || !(c->end_s - c->begin_s >= 1e-9) || c->begin_s >= look->makespan_s) {
        return dsv4_fail(err, DSV4_E_VALUE, "a drawing from %g s to %g s, expected times within the run of %g s", c->begin_s,
                         c->end_s, look->makespan_s);
    }
    if (t->run.n_workers > MAX_LANES) {
        return dsv4_fail(err, DSV4_E_VALUE, "a drawing of %lld workers, expected at most %d", (long long)t->run.n_workers,
                         MAX_LANES);
    }
    return DSV4_OK;
}

/* Everything whose size depends on text is measured on a surface of no size. */
static dsv4_status plan(canvas *c, dsv4_error *err)
{
    const trace_run *run = &c->t->run;
    double n = (double)run->n_workers, label = 0;
    cairo_surface_t *nothing = cairo_recording_surface_create(CAIRO_CONTENT_COLOR_ALPHA, NULL);
    c->cairo = cairo_create(nothing);
    set_font(c, text_size, false);
    for (int64_t w = 0; w < run->n_workers; w++) {
        char *clean = trace_text_clean(run->workers[w].name);
        label = clean != NULL ? fmax(label, text_width(c, clean)) : label;
        free(clean);
    }
    c->lane_height = n <= 4 ? 44 : n <= 8 ? 28 : fmax(4, floor(440 / n));
    c->left = PAD + (int)fmin(140, fmax(58, ceil(label))) + 8;
    c->right = c->width - PAD;
    dsv4_status status = trace_slices_init(&c->slices, c->t, c->look, c->begin_s, c->end_s, c->right - c->left, err);
    if (status == DSV4_OK) {
        sort_legend(c);
        plan_legend(c);
        c->height = (int)lanes_end(c) + AXIS_HEIGHT + STRIP_HEIGHT + 14 + LEGEND_LINE * c->legend_lines + PAD / 2;
    }
    cairo_destroy(c->cairo);
    cairo_surface_destroy(nothing);
    c->cairo = NULL;
    return status;
}

static void draw(canvas *c, cairo_surface_t *surface)
{
    c->cairo = cairo_create(surface);
    set_colour(c, paper);
    cairo_paint(c->cairo);
    draw_head(c);
    draw_lanes(c);
    draw_axis(c);
    draw_running(c);
    draw_legend(c);
    cairo_destroy(c->cairo);
}

static cairo_status_t write_bytes(void *stream, const unsigned char *bytes, unsigned int n)
{
    return fwrite(bytes, 1, n, stream) == n ? CAIRO_STATUS_SUCCESS : CAIRO_STATUS_WRITE_ERROR;
}

typedef cairo_status_t save_fn(canvas *c, FILE *out);

static cairo_status_t save_svg(canvas *c, FILE *out)
{
    cairo_surface_t *surface = cairo_svg_surface_create_for_stream(write_bytes, out, c->width, c->height);
    cairo_svg_surface_set_document_unit(surface, CAIRO_SVG_UNIT_PX);
    draw(c, surface);
    cairo_surface_finish(surface);
    cairo_status_t status = cairo_surface_status(surface);
    cairo_surface_destroy(surface);
    return status;
}

static cairo_status_t save_png(canvas *c, FILE *out)
{
    cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, c->width, c->height);
    draw(c, surface);
    cairo_status_t status = cairo_surface_write_to_png_stream(surface, write_bytes, out);
    cairo_surface_destroy(surface);
    return status;
}

static dsv4_status save(canvas *c, const char *path, save_fn *saved, dsv4_error *err)
{
    file_writer writer;
    dsv4_status status = file_writer_open(&writer, path, err);
    if (status != DSV4_OK) {
        return status;
    }
    cairo_status_t drawn = saved(c, writer.stream);
    if (drawn == CAIRO_STATUS_SUCCESS || drawn == CAIRO_STATUS_WRITE_ERROR) {
        return file_writer_commit(&writer, err); /* which finds failed writes */
    }
    file_writer_abort(&writer);
    return dsv4_fail(err, DSV4_E_NO_MEMORY, "%s: cannot draw: %s", path, cairo_status_to_string(drawn));
}

static dsv4_status write_drawing(const trace *t, const trace_drawing *drawing, const char *path, save_fn *saved, dsv4_error *err)
{
    trace_look look = {0};
    canvas c = {.t = t, .drawing = drawing, .look = &look};
    if (t->run.n_events == 0) {
        return dsv4_fail(err, DSV4_E_USAGE, "%s: the trace has no run to draw", path);
    }
    dsv4_status status = trace_look_init(&look, t, err);
    if (status == DSV4_OK) {
        c.legend = memory_array((size_t)look.n_rows, sizeof *c.legend);
        status = c.legend != NULL ? check(t, drawing, &look, &c, err) : dsv4_fail(err, DSV4_E_NO_MEMORY, "no memory for a legend");
    }
    if (status == DSV4_OK) {
        status = plan(&c, err);
    }
    if (status == DSV4_OK) {
        status = save(&c, path, saved, err);
    }
    free(c.legend);
    trace_slices_deinit(&c.slices);
    trace_look_deinit(&look);
    return status;
}

dsv4_status trace_write_svg(const trace *t, const trace_drawing *drawing, const char *path, dsv4_error *err)
{
    return write_drawing(t, drawing, path, save_svg, err);
}

dsv4_status trace_write_png(const trace *t, const trace_drawing *drawing, const char *path, dsv4_error *err)
{
    return write_drawing(t, drawing, path, save_png, err);
}
