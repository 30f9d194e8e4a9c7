/* trace/csv.c - a run as comma-separated values: a line per block, for spreadsheets. */
#include <string.h>

#include "trace/out.h"

/* A field; in quotes where it would be taken apart otherwise. */
static void write_field(FILE *out, const char *text)
{
    if (strpbrk(text, ",\"\r\n") == NULL) {
        fputs(text, out);
        return;
    }
    fputc('"', out);
    for (; *text != '\0'; text++) {
        fputs(*text == '"' ? "\"\"" : (const char[]){*text, '\0'}, out);
    }
    fputc('"', out);
}

static bool write_rows(const trace *t, FILE *out)
{
    const trace_run *run = &t->run;
    fputs("stage,block,worker,start_us,duration_us", out);
    for (int64_t c = 0; c < run->n_counters; c++) {
        fputc(',', out);
        write_field(out, run->counters[c]);
    }
    fputc('\n', out);
    for (int64_t i = 0; i < run->n_events; i++) {
        const trace_event *e = &run->events[i];
        const trace_task *task = &t->graph.tasks[e->task];
        write_field(out, t->graph.stages[task->stage].name);
        fprintf(out, ",%lld,%d,%.3f,%.3f", (long long)task->block, e->worker, e->start_s * 1e6, (e->end_s - e->start_s) * 1e6);
        for (int64_t c = 0; c < run->n_counters; c++) {
            fputc(',', out);
            trace_out_number(out, run->counts[i * run->n_counters + c]);
        }
        fputc('\n', out);
    }
    return true;
}

dsv4_status trace_write_csv(const trace *t, const char *path, dsv4_error *err)
{
    return trace_out_file(t, write_rows, path, err);
}
