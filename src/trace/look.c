#include "trace/look.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* ---- colours ---------------------------------------------------------------------------------------------------------------- */

static double from_linear(double x)
{
    x = x < 0 ? 0 : x > 1 ? 1 : x;
    return x <= 0.0031308 ? 12.92 * x : 1.055 * pow(x, 1 / 2.4) - 0.055;
}

/* OKLab, in which equal steps look equal, to sRGB. */
static trace_rgb from_oklab(double lightness, double a, double b)
{
    double l = lightness + 0.3963377774 * a + 0.2158037573 * b, m = lightness - 0.1055613458 * a - 0.0638541728 * b;
    double s = lightness - 0.0894841775 * a - 1.2914855480 * b;
    l = l * l * l;
    m = m * m * m;
    s = s * s * s;
    return (trace_rgb){from_linear(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
                       from_linear(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
                       from_linear(-0.0041960863 * l - 0.7034186147 * m + 1.7076147010 * s)};
}

trace_rgb trace_colour(int64_t i)
{
    static const double lightness[] = {0.70, 0.60, 0.78}, chroma[] = {0.14, 0.15, 0.12};
    const double degree = 0.017453292519943295;
    double hue = fmod(255 + 137.508 * (double)(i % 360), 360) * degree; /* the golden angle */
    return from_oklab(lightness[i % 3], chroma[i % 3] * cos(hue), chroma[i % 3] * sin(hue));
}

/* ---- rows ------------------------------------------------------------------------------------------------------------------- */

/* Stages of one name get the row of the first. */
static void name_rows(trace_look *look, const trace_graph *g, json_t *by_name)
{
    for (int64_t s = 0; s < g->n_stages; s++) {
        const char *name = g->stages[s].name;
        const json_t *known = json_object_get(by_name, name);
        look->row_of[s] = known != NULL ? (int64_t)json_integer_value(known) : look->n_rows;
        if (known == NULL) {
            look->rows[look->n_rows].name = name;
            json_object_set_new_nocheck(by_name, name, json_integer(look->n_rows));
            look->n_rows++;
        }
    }
}

dsv4_status trace_look_init(trace_look *look, const trace *t, dsv4_error *err)
{
    const trace_graph *g = &t->graph;
    *look = (trace_look){.rows = memory_zeroed_array((size_t)g->n_stages, sizeof *look->rows),
                         .row_of = memory_zeroed_array((size_t)g->n_stages, sizeof *look->row_of)};
    json_t *by_name = json_object();
    if (look->rows == NULL || look->row_of == NULL || by_name == NULL) {
        json_decref(by_name);
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "no memory for the legend of %lld stages", (long long)g->n_stages);
    }
    name_rows(look, g, by_name);
    json_decref(by_name);
    for (int64_t i = 0; i < t->run.n_events; i++) {
        const trace_event *e = &t->run.events[i];
        trace_row *row = &look->rows[look->row_of[g->tasks[e->task].stage]];
        row->n_blocks++;
        row->total_s += e->end_s - e->start_s;
        look->busy_s += e->end_s - e->start_s;
        look->makespan_s = e->end_s > look->makespan_s ? e->end_s : look->makespan_s;
    }
    return DSV4_OK;
}

void trace_look_deinit(trace_look *look)
{
    free(look->rows);
    free(look->row_of);
    *look = (trace_look){0};
}

double trace_look_busy_share(const trace_look *look, const trace_run *run)
{
    double all_s = look->makespan_s * (double)run->n_workers;
    return all_s > 0 ? look->busy_s / all_s : 0;
}

/* ---- words ------------------------------------------------------------------------------------------------------------------ */

char *trace_text_clean(const char *text)
{
    json_t *valid = json_string(text); /* NULL where it is not UTF-8 */
    char *out = strdup(text);
    for (char *c = out; c != NULL && *c != '\0'; c++) {
        unsigned char byte = (unsigned char)*c;
        *c = byte < 0x20 || byte == 0x7f || (valid == NULL && byte > 0x7f) ? '?' : *c;
    }
    json_decref(valid);
    return out;
}

/* Replaces every '<' by its escape. */
static char *escape_less_than(const char *text)
{
    size_t n = 1;
    for (const char *c = text; *c != '\0'; c++) {
        n += *c == '<' ? 6 : 1;
    }
    char *out = malloc(n), *end = out;
    for (const char *c = text; out != NULL && *c != '\0'; c++) {
        if (*c == '<') {
            memcpy(end, "\\u003c", 6);
            end += 6;
        } else {
            *end++ = *c;
        }
    }
    if (out != NULL) {
        *end = '\0';
    }
    return out;
}

char *trace_text_json(const char *text)
{
    char *clean = trace_text_clean(text), *dumped = NULL, *out = NULL;
    json_t *value = clean != NULL ? json_string(clean) : NULL;
    if (value != NULL) {
        dumped = json_dumps(value, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
    }
    if (dumped != NULL) {
        out = escape_less_than(dumped);
    }
    free(dumped);
    json_decref(value);
    free(clean);
    return out;
}

const char *trace_text_time(double seconds, char *out, size_t size)
{
    static const struct {
        double scale;
        const char *unit;
    } units[] = {{1, "s"}, {1e3, "ms"}, {1e6, "µs"}, {1e9, "ns"}};
    size_t u = 0;
    while (u < 3 && fabs(seconds) * units[u].scale < 1) {
        u++;
    }
    double value = seconds * units[u].scale;
    snprintf(out, size, "%.*f %s", fabs(value) >= 100 ? 0 : fabs(value) >= 10 ? 1 : 2, value, units[u].unit);
    return out;
}
