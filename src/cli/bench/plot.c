/* cli/bench/plot.c - a roofline as SVG: a coordinate system with logarithmic axes, ceilings as lines, a marker for each row.
 *
 * A SERIES are the rows of one name by one contender: a colour and a marker, filled where weights come from memory. Below the axis
 * each series has a line that says which numbers of rows stand above; so no label covers a point. */
#include <math.h>
#include <string.h>

#include "cli/bench/results.h"

enum {
    WIDTH = 960,
    LEFT = 110,
    RIGHT = 800,
    TOP = 70,
    BOTTOM = 560,
    LINE = 18,
    MAX_SERIES = 8,
    LABEL_GAP = 22 /* between numbers of rows */
};

typedef struct series {
    const char *name, *by;
} series;

typedef struct plot {
    FILE *f;
    const bench_results *r;
    double x_min, x_max, y_min, y_max; /* operations per byte, GOP/s */
    series series[MAX_SERIES];
    int n_series;
} plot;

static const char *const colours[] = {"#0b5fb0", "#c2410c", "#15803d", "#7e22ce", "#a16207", "#be185d", "#0f766e", "#475569"};

/* ---- coordinates ----------------------------------------------------------------------------------------------------------- */

static double x_at(const plot *p, double intensity)
{
    return LEFT + (RIGHT - LEFT) * log(intensity / p->x_min) / log(p->x_max / p->x_min);
}

static double y_at(const plot *p, double gop_per_s)
{
    return BOTTOM - (BOTTOM - TOP) * log(gop_per_s / p->y_min) / log(p->y_max / p->y_min);
}

static bool is_plotted(const bench_row *row)
{
    return row->m > 0 && row->bytes > 0 && row->ops > 0;
}

static double intensity(const bench_row *row)
{
    return row->ops / row->bytes;
}

static double rate(const bench_row *row)
{
    return row->ops / row->times.median_s * 1e-9;
}

static int series_of(const plot *p, const bench_row *row)
{
    int i = 0;
    while (i < p->n_series && (strcmp(p->series[i].name, row->name) != 0 || strcmp(p->series[i].by, row->by) != 0)) {
        i++;
    }
    return i;
}

static void widen(double value, double *low, double *high)
{
    *low = value < *low ? value : *low;
    *high = value > *high ? value : *high;
}

/* Finds the series, and axes that hold all points and ceilings. */
static void lay_out(plot *p)
{
    const bench_ceilings *c = &p->r->ceilings;
    p->x_min = p->y_min = INFINITY;
    p->x_max = p->y_max = 0;
    for (int i = 0; i < p->r->n_rows; i++) {
        const bench_row *row = &p->r->rows[i];
        if (is_plotted(row)) {
            widen(intensity(row), &p->x_min, &p->x_max);
            widen(rate(row), &p->y_min, &p->y_max);
            int at = series_of(p, row);
            if (at == p->n_series && at < MAX_SERIES) {
                p->series[p->n_series++] = (series){row->name, row->by};
            }
        }
    }
    p->x_min = p->n_series > 0 ? p->x_min : 1;
    widen(1e-9 * c->ops_i8_s, &p->y_min, &p->y_max);
    widen(1e-9 * c->flops_f32_s, &p->y_min, &p->y_max);
    widen(2 * c->ops_i8_s / c->read_bytes_s, &p->x_min, &p->x_max);
    p->x_min /= 1.4;
    p->x_max *= 1.4;
    p->y_min /= 1.6;
    p->y_max *= 1.6;
}

/* ---- parts ----------------------------------------------------------------------------------------------------------------- */

static void write_text(const plot *p, double x, double y, const char *anchor, const char *colour, const char *text)
{
    fprintf(p->f, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" fill=\"%s\">%s</text>\n", x, y, anchor, colour, text);
}

static void write_line(const plot *p, double x1, double y1, double x2, double y2, const char *style)
{
    fprintf(p->f, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" %s/>\n", x1, y1, x2, y2, style);
}

static const char grid_style[] = "stroke=\"#e2e8f0\"", ceiling_style[] = "stroke=\"#334155\" stroke-width=\"1.6\"";

/* Labels at powers of 2 across; at 1, 2 and 5 of each decade upwards. */
static void write_axes(const plot *p)
{
    char text[64];
    for (double x = pow(2, ceil(log2(p->x_min))); x <= p->x_max; x *= 2) {
        snprintf(text, sizeof text, "%g", x);
        write_line(p, x_at(p, x), TOP, x_at(p, x), BOTTOM, grid_style);
        write_text(p, x_at(p, x), BOTTOM + LINE, "middle", "#334155", text);
    }
    for (double decade = pow(10, floor(log10(p->y_min))); decade <= p->y_max; decade *= 10) {
        for (int i = 1; i < 10; i++) {
            double y = i * decade;
            if (y < p->y_min || y > p->y_max) {
                continue;
            }
            write_line(p, LEFT, y_at(p, y), RIGHT, y_at(p, y), grid_style);
            if (i == 1 || i == 2 || i == 5) {
                snprintf(text, sizeof text, "%g", y);
                write_text(p, LEFT - 8, y_at(p, y) + 4, "end", "#334155", text);
            }
        }
    }
    fprintf(p->f, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"none\" stroke=\"#334155\"/>\n", LEFT, TOP,
            RIGHT - LEFT, BOTTOM - TOP);
    write_text(p, (LEFT + RIGHT) / 2.0, BOTTOM + 2 * LINE + 2, "middle", "#334155", "operations per byte of weights");
    fprintf(p->f, "<text transform=\"translate(%d %d) rotate(-90)\" text-anchor=\"middle\" fill=\"#334155\">GOP/s</text>\n",
            LEFT - 60, (TOP + BOTTOM) / 2);
}

static void write_peak(const plot *p, const char *name, double ops_per_s)
{
    char text[64];
    double peak = ops_per_s * 1e-9, ridge = ops_per_s / p->r->ceilings.read_bytes_s;
    snprintf(text, sizeof text, "%s %.0f GOP/s", name, peak);
    write_line(p, x_at(p, fmax(ridge, p->x_min)), y_at(p, peak), RIGHT, y_at(p, peak), ceiling_style);
    write_text(p, RIGHT + 6, y_at(p, peak) + 4, "start", "#334155", text);
}

static void write_ceilings(const plot *p)
{
    const bench_ceilings *c = &p->r->ceilings;
    char text[64];
    double read = c->read_bytes_s * 1e-9, begin = fmax(p->x_min, p->y_min / read),
           end = fmin(p->x_max, c->ops_i8_s / c->read_bytes_s);
    write_line(p, x_at(p, begin), y_at(p, begin * read), x_at(p, end), y_at(p, end * read), ceiling_style);
    double angle = atan2(y_at(p, end * read) - y_at(p, begin * read), x_at(p, end) - x_at(p, begin)) * 180 / M_PI;
    snprintf(text, sizeof text, "read %.1f GB/s", read);
    double x = pow(begin, 0.7) * pow(end, 0.3);
    fprintf(p->f,
            "<text transform=\"translate(%.1f %.1f) rotate(%.1f)\" dy=\"18\" text-anchor=\"middle\" fill=\"#334155\">%s</text>\n",
            x_at(p, x), y_at(p, x * read), angle, text);
    write_peak(p, "INT8", c->ops_i8_s);
    write_peak(p, "BF16", c->flops_bf16_s);
    if (c->flops_f32_s < 0.9 * c->flops_bf16_s) {
        write_peak(p, "FP32", c->flops_f32_s);
    }
}

/* Circle, square, triangle, diamond. */
static void write_marker(const plot *p, int s, bool filled, double x, double y)
{
    static const char *const shapes[] = {"M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z", "M-4 -4h8v8h-8z", "M0 -5l5 9h-10z",
                                         "M0 -6l5 6l-5 6l-5 -6z"};
    fprintf(p->f, "<path transform=\"translate(%.1f %.1f)\" d=\"%s\" stroke=\"%s\" fill=\"%s\" fill-opacity=\"0.7\"/>\n", x, y,
            shapes[s % 4], colours[s], filled ? colours[s] : "#ffffff");
}

static void write_points(const plot *p)
{
    for (int i = 0; i < p->r->n_rows; i++) {
        const bench_row *row = &p->r->rows[i];
        int s = is_plotted(row) ? series_of(p, row) : p->n_series;
        if (s < p->n_series) {
            write_marker(p, s, strcmp(row->weights, "cold") == 0, x_at(p, intensity(row)), y_at(p, rate(row)));
        }
    }
}

/* Below the axis: the numbers of rows of each series, where their points stand. */
static void write_row_numbers(const plot *p)
{
    for (int s = 0; s < p->n_series; s++) {
        double y = BOTTOM + (4 + s) * LINE;
        bool taken[WIDTH / LABEL_GAP + 1] = {false};
        char text[64];
        snprintf(text, sizeof text, "%s rows", p->series[s].name);
        write_text(p, LEFT - 8, y, "end", colours[s], text);
        for (int i = 0; i < p->r->n_rows; i++) {
            const bench_row *row = &p->r->rows[i];
            double x = is_plotted(row) ? x_at(p, intensity(row)) : 0;
            if (is_plotted(row) && series_of(p, row) == s && !taken[(int)x / LABEL_GAP]) {
                taken[(int)x / LABEL_GAP] = true;
                snprintf(text, sizeof text, "%lld", (long long)row->m);
                write_text(p, x, y, "middle", colours[s], text);
            }
        }
    }
}

static void write_legend(const plot *p)
{
    for (int s = 0; s < p->n_series; s++) {
        char text[64];
        double y = BOTTOM - LINE * (p->n_series + 1 - s) - 6;
        snprintf(text, sizeof text, "%s, %s", p->series[s].name, p->series[s].by);
        write_marker(p, s, true, RIGHT + 14, y - 4);
        write_text(p, RIGHT + 26, y, "start", colours[s], text);
    }
    write_text(p, RIGHT + 6, BOTTOM - 6, "start", "#334155", "open: cached weights");
}

/* Text with <, > and & replaced. */
static void write_escaped(FILE *f, const char *text)
{
    for (; *text != '\0'; text++) {
        fputs(*text == '<' ? "&lt;" : *text == '>' ? "&gt;" : *text == '&' ? "&amp;" : (char[]){*text, '\0'}, f);
    }
}

void bench_write_plot(FILE *f, const bench_results *r, const char *cpu)
{
    plot p = {.f = f, .r = r};
    lay_out(&p);
    int height = BOTTOM + (5 + p.n_series) * LINE;
    fprintf(f,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" "
            "font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n",
            WIDTH, height, WIDTH, height);
    fprintf(f, "<text x=\"%d\" y=\"36\" font-size=\"17\" fill=\"#0f172a\">dsv4 bench %s: ", LEFT, r->suite);
    write_escaped(f, cpu);
    fprintf(f, ", %d thread%s</text>\n", r->n_threads, r->n_threads == 1 ? "" : "s");
    write_axes(&p);
    write_ceilings(&p);
    write_points(&p);
    write_row_numbers(&p);
    write_legend(&p);
    fprintf(f, "</svg>\n");
}
