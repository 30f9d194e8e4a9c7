/* cli/tune/report.c - a search as text and as JSON. */
#include <stdio.h>
#include <string.h>

#include "cli/tune/tune.h"

static const double busy_error = 0.1; /* of the default's time: a choice from such times means little */

char *tune_tiles_text(const op_context *c, const tune_point *p, char *text, size_t size)
{
    size_t used = 0;
    snprintf(text, size, "the default tiles");
    for (size_t i = 0; i < c->op->n_tiles && used < size; i++) {
        if (p->tile[i] != c->tile[i]) {
            used += (size_t)snprintf(text + used, size - used, "%s%s=%lld", used > 0 ? " " : "", c->op->tiles[i].name,
                                     (long long)p->tile[i]);
        }
    }
    return text;
}

/* ---- text ---------------------------------------------------------------------------------------------------------------- */

static const char *shade_text(double ratio)
{
    return ratio <= 0 ? " " : ratio < 0.97 ? "\u2588" : ratio < 1.03 ? "\u2593" : ratio < 1.15 ? "\u2592" : "\u2591";
}

static void print_cell(const tune_result *r)
{
    if (r->ratio > 0) {
        cli_print(" %s%7.3f", shade_text(r->ratio), r->ratio);
    } else {
        cli_print("  %7s", "-");
    }
}

static void print_sweep(const op_context *c, const tune_sweep *sweep)
{
    const tune_axis *a = &sweep->axis;
    cli_print("  %-12s", c->op->tiles[a->tile].name);
    for (int v = 0; v < a->n; v++) {
        cli_print(" %8lld%s", (long long)a->value[v], v == a->start ? "*" : "");
    }
    cli_print("\n  %-12s", "");
    for (int v = 0; v < a->n; v++) {
        print_cell(&sweep->point[v].result);
        cli_print("%s", v == a->start ? " " : "");
    }
    cli_print("\n");
}

static void print_pair(const op_context *c, const tune_pair *p)
{
    cli_print("  %s down, %s across\n  %-12s", c->op->tiles[p->axis[0]->tile].name, c->op->tiles[p->axis[1]->tile].name, "");
    for (int j = 0; j < p->n[1]; j++) {
        cli_print(" %8lld", (long long)p->value[1][j]);
    }
    for (int i = 0; i < p->n[0]; i++) {
        cli_print("\n  %12lld", (long long)p->value[0][i]);
        for (int j = 0; j < p->n[1]; j++) {
            print_cell(&p->point[i][j].result);
        }
    }
    cli_print("\n");
}

void tune_print(const op_context *c, const tune_search *s)
{
    char text[512];
    cli_print("times as multiples of the default tiles' (*)\n");
    for (int i = 0; i < s->n_sweeps; i++) {
        print_sweep(c, &s->sweep[i]);
    }
    for (int i = 0; i < s->n_pairs; i++) {
        print_pair(c, &s->pair[i]);
    }
    cli_print("  once more, together\n");
    for (int i = 0; i < s->n_finalists; i++) {
        const tune_point *p = &s->finalist[i];
        cli_print("  %c %.3f ms %7.3f +- %.3f  %s\n", i == s->chosen ? '>' : ' ', p->median_s * 1e3, p->result.ratio,
                  p->result.error, tune_tiles_text(c, p, text, sizeof text));
    }
    if (s->finalist[0].result.error > busy_error) {
        cli_print("  the machine is busy: times are uncertain by %.0f %%, tune again when it is quiet\n",
                  100 * s->finalist[0].result.error);
    }
    if (s->cut) {
        cli_print("  the budget ended before all was measured\n");
    }
}

/* ---- JSON ---------------------------------------------------------------------------------------------------------------- */

static json_t *tiles_to_json(const op_context *c, const tune_point *p)
{
    json_t *tiles = json_object();
    for (size_t i = 0; i < c->op->n_tiles; i++) {
        if (p->tile[i] != c->tile[i]) {
            json_object_set_new(tiles, c->op->tiles[i].name, json_integer(p->tile[i]));
        }
    }
    return tiles;
}

/* The ratio of a point that was not measured is null. */
static json_t *point_to_json(const op_context *c, const tune_point *p)
{
    const tune_result *r = &p->result;
    return json_pack("{s:o, s:o, s:f, s:I}", "tiles", tiles_to_json(c, p), "ratio",
                     r->ratio > 0 ? json_real(r->ratio) : json_null(), "error", r->error, "blocks", (json_int_t)r->n_blocks);
}

static json_t *sweep_to_json(const op_context *c, const tune_sweep *sweep)
{
    json_t *values = json_array(), *points = json_array();
    for (int v = 0; v < sweep->axis.n; v++) {
        json_array_append_new(values, json_integer(sweep->axis.value[v]));
        json_array_append_new(points, point_to_json(c, &sweep->point[v]));
    }
    return json_pack("{s:s, s:I, s:o, s:f, s:f, s:o}", "tile", c->op->tiles[sweep->axis.tile].name, "default",
                     (json_int_t)sweep->axis.value[sweep->axis.start], "values", values, "gain", sweep->weight.gain, "spread",
                     sweep->weight.spread, "points", points);
}

static json_t *pair_to_json(const op_context *c, const tune_pair *p)
{
    json_t *points = json_array();
    for (int k = 0; k < p->n[0] * p->n[1]; k++) {
        json_array_append_new(points, point_to_json(c, &p->point[k / p->n[1]][k % p->n[1]]));
    }
    return json_pack("{s:s, s:s, s:o}", "down", c->op->tiles[p->axis[0]->tile].name, "across", c->op->tiles[p->axis[1]->tile].name,
                     "points", points);
}

json_t *tune_to_json(const op_context *c, const tune_search *s)
{
    json_t *sweeps = json_array(), *pairs = json_array(), *finalists = json_array();
    for (int i = 0; i < s->n_sweeps; i++) {
        json_array_append_new(sweeps, sweep_to_json(c, &s->sweep[i]));
    }
    for (int i = 0; i < s->n_pairs; i++) {
        json_array_append_new(pairs, pair_to_json(c, &s->pair[i]));
    }
    for (int i = 0; i < s->n_finalists; i++) {
        json_array_append_new(finalists, point_to_json(c, &s->finalist[i]));
    }
    return json_pack("{s:o, s:o, s:o, s:o, s:i, s:b}", "axes", sweeps, "pairs", pairs, "finalists", finalists, "chosen",
                     s->n_finalists > 0 ? tiles_to_json(c, &s->finalist[s->chosen]) : json_null(), "measured", s->n_measured, "cut",
                     s->cut);
}
