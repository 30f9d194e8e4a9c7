/* trace/deps.c - the graph for people and other tools: every edge with what it comes from.
 *
 *   graph, deps  its name; "block", "stage" or "tensor"
 *   stages       {name, n_blocks, kind}
 *   blocks       {task, stage, block, touches: [box]}; a declared join has no boxes and "join": true
 *                {task, join: true}: a join made by sealing, a node of its own between the blocks that it orders
 *   edges        {from, to: {task, stage, block} or {task, join: true}, via_join, source, from_box, to_box}
 *   box          {view, mode, rows: [first, end], cols: [first, end]}; those of an edge begin with the block they belong to, which
 *                at a join is one of the blocks that it orders. Declared and coarse edges have none. */
#include "trace/out.h"

static const char *const source_names[TRACE_N_SOURCES] = {"raw", "waw", "war", "declared", "coarse"};
static const char *const mode_names[] = {"", "read", "write", "update"};

/* The members of a node: number, then stage and block where it has them. */
static void out_node(const trace_graph *g, int32_t task, FILE *out)
{
    const trace_task *t = &g->tasks[task];
    fprintf(out, "\"task\":%d", task);
    if (t->stage != TRACE_NONE) {
        fputs(",\"stage\":", out);
        trace_out_text(out, g->stages[t->stage].name);
        fprintf(out, ",\"block\":%lld", (long long)t->block);
    }
    if (t->is_join) {
        fputs(",\"join\":true", out);
    }
}

static void out_box(const trace_graph *g, const trace_touch *t, FILE *out)
{
    const dsv4_box *b = &t->box;
    fputs("\"view\":", out);
    trace_out_text(out, g->views[t->view].name);
    fprintf(out, ",\"mode\":\"%s%s\",\"rows\":[%lld,%lld],\"cols\":[%lld,%lld]", mode_names[t->mode & DSV4_UPDATE],
            (t->mode & DSV4_UNTRACKED) != 0 ? " untracked" : "", (long long)b->row0, (long long)b->row1, (long long)b->col0,
            (long long)b->col1);
}

static void out_stages(const trace_graph *g, FILE *out)
{
    for (int64_t i = 0; i < g->n_stages; i++) {
        fputs(i == 0 ? "\n{\"name\":" : ",\n{\"name\":", out);
        trace_out_text(out, g->stages[i].name);
        fprintf(out, ",\"n_blocks\":%lld,\"kind\":\"%s\"}", (long long)g->stages[i].n_blocks, trace_kind_names[g->stages[i].kind]);
    }
}

static void out_blocks(const trace_graph *g, FILE *out)
{
    for (int64_t i = 0; i < g->n_tasks; i++) {
        const trace_task *t = &g->tasks[i];
        fputs(i == 0 ? "\n{" : ",\n{", out);
        out_node(g, (int32_t)i, out);
        fputs(t->is_join ? "}" : ",\"touches\":[", out);
        for (int64_t k = t->touch; !t->is_join && k < t->touch_end; k++) {
            fputs(k == t->touch ? "{" : ",{", out);
            out_box(g, &g->touches[k], out);
            fputc('}', out);
        }
        fputs(t->is_join ? "" : "]}", out);
    }
}

/* The block that a touch belongs to. */
static int32_t owner_of(const trace_graph *g, int64_t touch)
{
    int64_t low = 0, high = g->n_tasks - 1; /* ranges ascend with the tasks */
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (g->tasks[middle].touch_end <= touch) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return (int32_t)low;
}

static void out_edge_box(const trace_graph *g, const char *name, int64_t touch, FILE *out)
{
    fprintf(out, ",\"%s\":{", name);
    out_node(g, owner_of(g, touch), out);
    fputc(',', out);
    out_box(g, &g->touches[touch], out);
    fputc('}', out);
}

static void out_edges(const trace_graph *g, FILE *out)
{
    for (int64_t i = 0; i < g->n_edges; i++) {
        const trace_edge *e = &g->edges[i];
        bool via_join = g->tasks[e->from].stage == TRACE_NONE || g->tasks[e->to].stage == TRACE_NONE;
        fputs(i == 0 ? "\n{\"from\":{" : ",\n{\"from\":{", out);
        out_node(g, e->from, out);
        fputs("},\"to\":{", out);
        out_node(g, e->to, out);
        fprintf(out, "},\"via_join\":%s,\"source\":\"%s\"", via_join ? "true" : "false", source_names[e->source]);
        if (e->from_touch != TRACE_NONE) {
            out_edge_box(g, "from_box", e->from_touch, out);
            out_edge_box(g, "to_box", e->to_touch, out);
        }
        fputc('}', out);
    }
}

static bool write_deps(const trace *t, FILE *out)
{
    fputs("{\"graph\":", out);
    trace_out_text(out, t->graph.name);
    fprintf(out, ",\"deps\":\"%s\",\n\"stages\":[", trace_deps_names[t->graph.deps]);
    out_stages(&t->graph, out);
    fputs("],\n\"blocks\":[", out);
    out_blocks(&t->graph, out);
    fputs("],\n\"edges\":[", out);
    out_edges(&t->graph, out);
    fputs("]}\n", out);
    return true;
}

dsv4_status trace_write_deps(const trace *t, const char *path, dsv4_error *err)
{
    return trace_out_file(t, write_deps, path, err);
}
