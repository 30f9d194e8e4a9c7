/* rt/trace.c - the last run as Chrome/Perfetto trace events, and summed up.
 *
 *   M   names of the process and of one lane per worker
 *   X   one slice per block: name = stage, cname = the stage's colour, args = block and how long it waited
 *   s,f one arrow per edge between blocks; through a join, from the block that completed it to every block that it released */
#include <locale.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/memory.h"
#include "rt/exec.h"
#include "rt/sort.h"
#include "rt/ticks.h"

/* Colour names that Chrome's viewer knows; stages take them in turn. */
static const char *const colours[] = {"thread_state_running",
                                      "rail_animation",
                                      "thread_state_iowait",
                                      "rail_response",
                                      "cq_build_running",
                                      "rail_load",
                                      "olive",
                                      "thread_state_runnable",
                                      "cq_build_attempt_failed",
                                      "rail_idle",
                                      "yellow",
                                      "startup"};

typedef struct tracing {
    const dsv4_exec *exec;
    FILE *out;
    double tick_us;
    uint64_t origin;
    const rt_record **by_task; /* [n_runnable] */
    int32_t *lane;             /* [n_runnable] worker that ran it */
    int64_t n_arrows;
} tracing;

double rt_exec_tick_ns(const dsv4_exec *exec)
{
    double seconds;
    do {
        seconds = clock_s() - exec->ticks_clock_s;
    } while (seconds < 0.01);
    return seconds * 1e9 / (double)(rt_ticks() - exec->ticks_origin);
}

static double at_us(const tracing *t, uint64_t ticks)
{
    return (double)(ticks - t->origin) * t->tick_us;
}

static void write_text(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\') {
            fputc('\\', out);
        }
        fputc((unsigned char)*text < 0x20 ? '?' : *text, out);
    }
    fputc('"', out);
}

static void write_names(const tracing *t)
{
    fputs("\n{\"ph\":\"M\",\"pid\":1,\"name\":\"process_name\",\"args\":{\"name\":", t->out);
    write_text(t->out, t->exec->g->name);
    fputs("}}", t->out);
    for (int w = 0; w < t->exec->n_workers; w++) {
        fprintf(t->out, ",\n{\"ph\":\"M\",\"pid\":1,\"tid\":%d,\"name\":\"thread_name\",\"args\":{\"name\":\"worker %d\"}}", w, w);
    }
}

static void write_slice(const tracing *t, int worker, const rt_record *r)
{
    const rt_task *task = &t->exec->g->tasks[r->task];
    fprintf(t->out, ",\n{\"ph\":\"X\",\"pid\":1,\"tid\":%d,\"ts\":%.3f,\"dur\":%.3f,\"name\":", worker, at_us(t, r->start),
            (double)(r->end - r->start) * t->tick_us);
    write_text(t->out, t->exec->g->stages.items[task->stage].name);
    fprintf(t->out, ",\"cname\":\"%s\",\"args\":{\"block\":%lld,\"ready_us\":%.3f,\"dispatch_us\":%.3f,\"waited_us\":%.3f}}",
            colours[(size_t)task->stage % (sizeof colours / sizeof *colours)], (long long)task->block, at_us(t, r->ready),
            at_us(t, r->dispatch), (double)(r->dispatch - r->ready) * t->tick_us);
}

/* An arrow from the end of one slice to the start of another. Its ends lie inside the slices, which is how viewers find them. */
static void write_arrow(tracing *t, int32_t from, int32_t to)
{
    const rt_record *a = t->by_task[from], *b = t->by_task[to];
    double tail = at_us(t, a->end) - ((double)(a->end - a->start) * t->tick_us > 0.002 ? 0.001 : 0);
    t->n_arrows++;
    fprintf(t->out, ",\n{\"ph\":\"s\",\"pid\":1,\"tid\":%d,\"ts\":%.3f,\"id\":%lld,\"cat\":\"edge\",\"name\":\"edge\"}",
            t->lane[from], tail, (long long)t->n_arrows);
    fprintf(t->out,
            ",\n{\"ph\":\"f\",\"bp\":\"e\",\"pid\":1,\"tid\":%d,\"ts\":%.3f,\"id\":%lld,\"cat\":\"edge\",\"name\":\"edge\"}",
            t->lane[to], at_us(t, b->start), (long long)t->n_arrows);
}

/* Follows the successors of a block in the order of the run: the last one to reach a join is the one that its arrows start from. */
static void write_arrows_from(tracing *t, int32_t block, int32_t *left, int32_t *stack)
{
    const dsv4_graph *g = t->exec->g;
    int64_t depth = 0;
    stack[depth++] = block;
    while (depth > 0) {
        const rt_task *task = &g->tasks[stack[--depth]];
        for (int64_t i = task->after; i < task->after_end; i++) {
            int32_t next = g->after[i];
            if (next < t->exec->n_runnable) {
                write_arrow(t, block, next);
            } else if (--left[next] == 0) {
                stack[depth++] = next;
            }
        }
    }
}

/* Blocks in the order in which they ended. */
static bool order_by_end(const tracing *t, int32_t *order)
{
    int64_t n = t->exec->n_runnable;
    uint64_t *end = memory_array((size_t)n, sizeof *end);
    for (int64_t i = 0; end != NULL && i < n; i++) {
        end[i] = t->by_task[i]->end;
    }
    bool ok = end != NULL && rt_sort_ids(end, n, order);
    free(end);
    return ok;
}

static bool write_arrows(tracing *t)
{
    const dsv4_graph *g = t->exec->g;
    int64_t n = t->exec->n_runnable;
    int32_t *left = memory_array((size_t)g->n_tasks, sizeof *left), *stack = memory_array((size_t)g->n_tasks, sizeof *stack);
    int32_t *order = memory_array((size_t)n, sizeof *order);
    bool ok = left != NULL && stack != NULL && order != NULL && order_by_end(t, order);
    for (int64_t i = 0; ok && i < g->n_tasks; i++) {
        left[i] = g->tasks[i].n_before;
    }
    for (int64_t i = 0; ok && i < n; i++) {
        write_arrows_from(t, order[i], left, stack);
    }
    free(left);
    free(stack);
    free(order);
    return ok;
}

static bool write_events(tracing *t)
{
    fputs("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[", t->out);
    write_names(t);
    for (int w = 0; w < t->exec->n_workers; w++) {
        const rt_worker *worker = &t->exec->workers[w];
        for (int64_t i = 0; i < worker->n_records; i++) {
            const rt_record *r = &worker->records[i];
            t->by_task[r->task] = r;
            t->lane[r->task] = w;
            write_slice(t, w, r);
        }
    }
    bool ok = write_arrows(t);
    fputs("\n]}\n", t->out);
    return ok;
}

/* Numbers as JSON wants them, whatever the program's locale. */
static bool write_events_in_c_locale(tracing *t)
{
    locale_t c_locale = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0);
    if (c_locale == (locale_t)0) {
        return false;
    }
    locale_t before = uselocale(c_locale);
    bool ok = write_events(t);
    uselocale(before);
    freelocale(c_locale);
    return ok;
}

dsv4_status dsv4_exec_write_trace(const dsv4_exec *exec, const char *path, dsv4_error *err)
{
    dsv4_exec_summary summary = dsv4_exec_get_summary(exec);
    if (summary.n_blocks == 0) {
        return dsv4_fail(err, DSV4_E_USAGE, "%s: no traced run to write", path);
    }
    file_writer writer;
    dsv4_status status = file_writer_open(&writer, path, err);
    if (status != DSV4_OK) {
        return status;
    }
    tracing t = {.exec = exec, .out = writer.stream, .tick_us = rt_exec_tick_ns(exec) / 1e3, .origin = exec->run_ticks};
    t.by_task = memory_array((size_t)exec->n_runnable, sizeof *t.by_task);
    t.lane = memory_array((size_t)exec->n_runnable, sizeof *t.lane);
    if (t.by_task != NULL && t.lane != NULL && write_events_in_c_locale(&t)) {
        status = file_writer_commit(&writer, err);
    } else {
        file_writer_abort(&writer);
        status = dsv4_fail(err, DSV4_E_NO_MEMORY, "%s: no memory to write the trace", path);
    }
    free(t.by_task);
    free(t.lane);
    return status;
}

dsv4_exec_summary dsv4_exec_get_summary(const dsv4_exec *exec)
{
    uint64_t first = UINT64_MAX, last = 0, busy = 0;
    dsv4_exec_summary s = {0};
    for (int w = 0; w < exec->n_workers; w++) {
        const rt_worker *worker = &exec->workers[w];
        for (int64_t i = 0; i < worker->n_records; i++) {
            const rt_record *r = &worker->records[i];
            first = r->dispatch < first ? r->dispatch : first;
            last = r->end > last ? r->end : last;
            busy += r->end - r->start;
        }
        s.n_blocks += worker->n_records;
    }
    if (s.n_blocks > 0) {
        s.n_workers = exec->n_workers;
        s.makespan_s = (double)(last - first) * rt_exec_tick_ns(exec) / 1e9;
        s.busy_share = last > first ? (double)busy / ((double)(last - first) * exec->n_workers) : 1;
    }
    return s;
}
