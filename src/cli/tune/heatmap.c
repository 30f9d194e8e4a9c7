/* cli/tune/heatmap.c - the pairs of axes as SVG: a cell for each two values, its colour says how far it is from the fastest. */
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "cli/tune/tune.h"

enum { WIDTH = 760, LEFT = 150, TOP = 60, CELL_WIDTH = 100, CELL_HEIGHT = 44, LINE = 18, PAIR_GAP = 88 };

static const double slowest_shade = 1.5; /* times the fastest: from here on a cell is white */

typedef struct colour {
    double r, g, b;
} colour;

typedef struct map {
    FILE *f;
    const op_context *c;
    const tune_search *s;
    double fastest; /* ratio */
} map;

static double find_fastest(const tune_search *s)
{
    double fastest = INFINITY;
    for (int k = 0; k < s->n_pairs; k++) {
        const tune_pair *p = &s->pair[k];
        for (int i = 0; i < p->n[0] * p->n[1]; i++) {
            double ratio = p->point[i / p->n[1]][i % p->n[1]].result.ratio;
            fastest = ratio > 0 ? fmin(fastest, ratio) : fastest;
        }
    }
    return fastest;
}

/* 0 for the fastest, 1 for slowest_shade times that. */
static double shade_of(const map *m, double ratio)
{
    return fmin(1, log(ratio / m->fastest) / log(slowest_shade));
}

static colour colour_of(double shade)
{
    static const colour fast = {11, 95, 176}, slow = {248, 250, 252};
    return (colour){fast.r + (slow.r - fast.r) * shade, fast.g + (slow.g - fast.g) * shade, fast.b + (slow.b - fast.b) * shade};
}

static void write_text(const map *m, double x, double y, const char *anchor, const char *fill, const char *text)
{
    fprintf(m->f, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" fill=\"%s\">%s</text>\n", x, y, anchor, fill, text);
}

static bool is_default(const map *m, const tune_point *p)
{
    return memcmp(p->tile, m->c->tile, sizeof p->tile) == 0;
}

static bool is_chosen(const map *m, const tune_point *p)
{
    return memcmp(p->tile, m->s->finalist[m->s->chosen].tile, sizeof p->tile) == 0;
}

/* Chosen: a frame; default: a dashed one; not measured: hatched. */
static void write_cell(const map *m, const tune_point *p, double x, double y)
{
    bool measured = p->result.ratio > 0;
    double shade = measured ? shade_of(m, p->result.ratio) : 1;
    colour fill = colour_of(shade);
    char text[32], paint[32];
    snprintf(paint, sizeof paint, measured ? "#%02x%02x%02x" : "url(#hatch)", (unsigned)fill.r, (unsigned)fill.g, (unsigned)fill.b);
    fprintf(m->f, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%d\" height=\"%d\" fill=\"%s\" stroke=\"#cbd5e1\"/>\n", x, y, CELL_WIDTH,
            CELL_HEIGHT, paint);
    if (is_chosen(m, p) || is_default(m, p)) {
        fprintf(m->f, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%d\" height=\"%d\" fill=\"none\" stroke=\"#c2410c\" %s/>\n", x + 3,
                y + 3, CELL_WIDTH - 6, CELL_HEIGHT - 6,
                is_chosen(m, p) ? "stroke-width=\"4\"" : "stroke-width=\"2\" stroke-dasharray=\"5 4\"");
    }
    if (measured) {
        snprintf(text, sizeof text, "%.3f", p->result.ratio);
        write_text(m, x + CELL_WIDTH / 2.0, y + CELL_HEIGHT / 2.0 + 5, "middle", shade < 0.5 ? "#ffffff" : "#0f172a", text);
    }
}

/* Returns the lower edge. */
static double write_pair(const map *m, const tune_pair *p, double y)
{
    char text[64];
    const char *down = m->c->op->tiles[p->axis[0]->tile].name, *across = m->c->op->tiles[p->axis[1]->tile].name;
    write_text(m, LEFT - 12, y - 8, "end", "#334155", down);
    write_text(m, LEFT + p->n[1] * CELL_WIDTH / 2.0, y - 8 - LINE, "middle", "#334155", across);
    for (int j = 0; j < p->n[1]; j++) {
        snprintf(text, sizeof text, "%lld", (long long)p->value[1][j]);
        write_text(m, LEFT + (j + 0.5) * CELL_WIDTH, y - 8, "middle", "#0f172a", text);
    }
    for (int i = 0; i < p->n[0]; i++) {
        snprintf(text, sizeof text, "%lld", (long long)p->value[0][i]);
        write_text(m, LEFT - 12, y + (i + 0.5) * CELL_HEIGHT + 5, "end", "#0f172a", text);
        for (int j = 0; j < p->n[1]; j++) {
            write_cell(m, &p->point[i][j], LEFT + j * CELL_WIDTH, y + i * CELL_HEIGHT);
        }
    }
    return y + p->n[0] * CELL_HEIGHT;
}

/* Text with <, > and & replaced. */
static void write_escaped(FILE *f, const char *text)
{
    for (; *text != '\0'; text++) {
        fputs(*text == '<' ? "&lt;" : *text == '>' ? "&gt;" : *text == '&' ? "&amp;" : (char[]){*text, '\0'}, f);
    }
}

static void write_svg(const map *m, const char *title)
{
    double y = TOP;
    for (int k = 0; k < m->s->n_pairs; k++) {
        y += m->s->pair[k].n[0] * CELL_HEIGHT + PAIR_GAP;
    }
    fprintf(m->f,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%.0f\" viewBox=\"0 0 %d %.0f\" "
            "font-family=\"sans-serif\" font-size=\"14\">\n<defs><pattern id=\"hatch\" width=\"8\" height=\"8\" "
            "patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\"><rect width=\"8\" height=\"8\" fill=\"#f8fafc\"/>"
            "<line x1=\"0\" y1=\"0\" x2=\"0\" y2=\"8\" stroke=\"#94a3b8\" stroke-width=\"3\"/></pattern></defs>\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n",
            WIDTH, y, WIDTH, y);
    fprintf(m->f, "<text x=\"24\" y=\"30\" font-size=\"17\" fill=\"#0f172a\">");
    write_escaped(m->f, title);
    fprintf(m->f, "</text>\n");
    write_text(m, 24, 30 + LINE + 2, "start", "#475569",
               "time as a multiple of the default tiles' (dashed); framed: chosen; hatched: not measured");
    y = TOP;
    for (int k = 0; k < m->s->n_pairs; k++) {
        y = write_pair(m, &m->s->pair[k], y + PAIR_GAP - 2 * LINE);
        y += 2 * LINE;
    }
    fprintf(m->f, "</svg>\n");
}

static bool ends_with(const char *path, const char *suffix)
{
    size_t n = strlen(path), k = strlen(suffix);
    return n > k && strcmp(path + n - k, suffix) == 0;
}

dsv4_status tune_check_map_name(const char *path, dsv4_error *err)
{
    return ends_with(path, ".svg") || ends_with(path, ".html")
               ? DSV4_OK
               : dsv4_fail(err, DSV4_E_USAGE, "--heatmap: got \"%.300s\", expected a name that ends in .svg or .html", path);
}

dsv4_status tune_write_map(const char *path, const op_context *c, const tune_search *s, const char *title, dsv4_error *err)
{
    file_writer w;
    bool page = ends_with(path, ".html");
    dsv4_status status = file_writer_open(&w, path, err);
    if (status != DSV4_OK) {
        return status;
    }
    map m = {.f = w.stream, .c = c, .s = s, .fastest = find_fastest(s)};
    fputs(page ? "<!DOCTYPE html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>dsv4 tune</title><body>\n" : "", w.stream);
    write_svg(&m, title);
    fputs(page ? "</body></html>\n" : "", w.stream);
    return file_writer_commit(&w, err);
}
