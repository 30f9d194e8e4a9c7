/* rt/pmu_events.c - the groups of events, which of them a machine has, and words for those that it has not. */
#include <errno.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <string.h>

#include "rt/pmu.h"

#define HW(event) PERF_TYPE_HARDWARE, PERF_COUNT_HW_##event, false
#define CACHE_READ(level, result)                                                  \
    PERF_TYPE_HW_CACHE,                                                            \
        PERF_COUNT_HW_CACHE_##level | (uint64_t)PERF_COUNT_HW_CACHE_OP_READ << 8 | \
            (uint64_t)PERF_COUNT_HW_CACHE_RESULT_##result << 16,                   \
        false

const rt_pmu_group rt_pmu_groups[] = {
    {"cycles", "cycles and instructions", false, {{"cycles", HW(CPU_CYCLES)}, {"instructions", HW(INSTRUCTIONS)}}},
    {"cache",
     "reads of the first and last cache, and misses",
     false,
     {{"l1d_loads", CACHE_READ(L1D, ACCESS)},
      {"l1d_load_misses", CACHE_READ(L1D, MISS)},
      {"cache_references", HW(CACHE_REFERENCES)},
      {"cache_misses", HW(CACHE_MISSES)}}},
    {"memory",
     "reads of the last cache and of memory, and of the address translation",
     false,
     {{"llc_loads", CACHE_READ(LL, ACCESS)},
      {"llc_load_misses", CACHE_READ(LL, MISS)},
      {"node_loads", CACHE_READ(NODE, ACCESS)},
      {"node_load_misses", CACHE_READ(NODE, MISS)},
      {"dtlb_load_misses", CACHE_READ(DTLB, MISS)}}},
    {"stalls",
     "cycles, and those in which nothing was decoded or retired",
     false,
     {{"cycles", HW(CPU_CYCLES)},
      {"stalled_cycles_frontend", HW(STALLED_CYCLES_FRONTEND)},
      {"stalled_cycles_backend", HW(STALLED_CYCLES_BACKEND)}}},
    {"software",
     "time stamp cycles; bytes and operations as declared; page faults and context switches",
     true,
     {{"page_faults", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_PAGE_FAULTS, false},
      {"context_switches", PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CONTEXT_SWITCHES, true}}},
    {.name = NULL},
};

/* The system's rule about who may count, or a text that says that there is none. */
static void read_paranoid(char *text, size_t size)
{
    FILE *f = fopen("/proc/sys/kernel/perf_event_paranoid", "re");
    if (f == NULL || fgets(text, (int)size, f) == NULL) {
        snprintf(text, size, "unknown");
    }
    text[strcspn(text, "\n")] = '\0';
    if (f != NULL) {
        fclose(f);
    }
}

char *rt_pmu_reason_text(int reason, char *text, size_t size)
{
    char paranoid[16];
    switch (reason) {
    case EACCES:
    case EPERM:
        read_paranoid(paranoid, sizeof paranoid);
        snprintf(text, size,
                 "not permitted, kernel.perf_event_paranoid is %s: sysctl kernel.perf_event_paranoid=1, or run with CAP_PERFMON",
                 paranoid);
        break;
    case ENOENT:
    case ENODEV:
    case EOPNOTSUPP:
        snprintf(text, size, "the processor has no such counter, or a virtual machine does not pass it on");
        break;
    case EINVAL:
        snprintf(text, size, "the processor cannot count it, or not beside the others");
        break;
    case ENOSYS:
        snprintf(text, size, "the system has no perf_event_open");
        break;
    case EMFILE:
    case ENFILE:
        snprintf(text, size, "too many open files: raise ulimit -n, or use fewer threads");
        break;
    case EBUSY:
        snprintf(text, size, "another program has reserved the counters");
        break;
    default:
        snprintf(text, size, "perf_event_open fails with errno %d", reason);
    }
    return text;
}

/* Opens the events one behind the other in one group, and leaves out those that cannot join it. */
rt_pmu_choice rt_pmu_look(const rt_pmu_group *group)
{
    rt_pmu_choice c = {.group = group};
    for (const rt_pmu_event *e = group->events; e->name != NULL; e++) {
        rt_pmu_meter m;
        c.events[c.n_events++] = e;
        int reason = rt_pmu_open(&m, &c);
        if (reason != 0) {
            c.n_events--;
            c.reasons[c.n_missing] = reason;
            c.missing[c.n_missing++] = e;
        }
        rt_pmu_close(&m);
    }
    return c;
}

static dsv4_status refuse_name(const char *name, dsv4_error *err)
{
    char names[80] = "";
    for (const rt_pmu_group *g = rt_pmu_groups; g->name != NULL; g++) {
        size_t n = strlen(names);
        snprintf(names + n, sizeof names - n, "%s%s", n > 0 ? ", " : "", g->name);
    }
    return dsv4_fail(err, DSV4_E_USAGE, "counters: got \"%s\", expected one of %s", name, names);
}

const rt_pmu_group *rt_pmu_find_group(const char *name)
{
    for (const rt_pmu_group *g = rt_pmu_groups; g->name != NULL; g++) {
        if (strcmp(g->name, name) == 0) {
            return g;
        }
    }
    return NULL;
}

dsv4_status rt_pmu_choose(const char *name, rt_pmu_choice *out, dsv4_error *err)
{
    const rt_pmu_group *g = rt_pmu_find_group(name);
    if (g == NULL) {
        return refuse_name(name, err);
    }
    rt_pmu_choice c = rt_pmu_look(g);
    if (c.n_events == 0 && !g->is_software) {
        char reason[160];
        return dsv4_fail(err, DSV4_E_UNSUPPORTED, "counters %s: no %s on this machine: %s; the group software counts everywhere",
                         name, c.missing[0]->name, rt_pmu_reason_text(c.reasons[0], reason, sizeof reason));
    }
    *out = c;
    return DSV4_OK;
}
