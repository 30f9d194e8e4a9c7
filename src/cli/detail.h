/* cli/detail.h - how closely `dsv4 run` looks at the timed run: levels of the trace, counters, files, and what looking costs. */
#ifndef CLI_DETAIL_H
#define CLI_DETAIL_H

#include "cli/launch.h"
#include "rt/pmu.h"
#include "trace/trace.h"

typedef struct detail_options {
    const char *trace, *deps, *csv, *pmu; /* NULL: not given */
    long long level;                      /* 0: not given */
    bool ceilings;
} detail_options;

/* The options as they apply. */
typedef struct detail {
    const char *trace, *deps, *csv; /* files to write; NULL: none */
    bool ceilings;                  /* are measured */
    bool is_asked;                  /* by any option; else the run is traced at level 1 for the times of its stages alone */
    int level;
    rt_pmu_choice pmu; /* from level 2 on */
} detail;

/* Refuses what does not go together and counters that the machine does not have. */
DSV4_MUST_CHECK dsv4_status detail_settle(const detail_options *o, detail *out, dsv4_error *err);

/* `--pmu list`: the groups, and which of their events this machine has. Returns the exit code. */
int detail_list_counters(void);

/* Of the last run of exec, created on l's graph and pool as d says: prints where blocks were found, waits, counters by stage, and
 * what recording costs; writes the files. Adds "found", "waits", "counters" and "tracing" to results. */
DSV4_MUST_CHECK dsv4_status detail_report(const detail *d, const launch *l, dsv4_exec *exec, json_t *results, dsv4_error *err);

/* ---- parts ----------------------------------------------------------------------------------------------------------------------- */

/* What recording costs: replays of exec and of one that records nothing take turns. */
DSV4_MUST_CHECK dsv4_status detail_measure_cost(const launch *l, dsv4_exec *exec, int level, json_t *results, dsv4_error *err);

/* Measures what the machine can do at best on the workers of a pool (a second or two), puts it into the run and the results, and
 * prints it. */
DSV4_MUST_CHECK dsv4_status detail_measure_ceilings(dsv4_pool *pool, trace_run *run, json_t *results, dsv4_error *err);

#endif
