/* rt/pmu.h - counters of the processor and of the system, through perf_event_open.
 *
 * GROUP    Events that are counted together: the system counts all of a group or none at a time, so their ratios mean something.
 * CHOICE   The events of a group that this machine has.
 * METER    A group opened on a thread, which alone reads it and closes it.
 * READING  A meter's state: values, and for how long the group has been wanted (enabled) and been in the counters (running). Where
 *          others need the counters too, the system shares them out in turns, and a difference of two readings is scaled up by
 *          enabled / running.
 *
 * A reading takes tens of nanoseconds where a program may read the processor's counters itself (rdpmc), else a system call. */
#ifndef RT_PMU_H
#define RT_PMU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dsv4/status.h"

enum { RT_PMU_MAX_EVENTS = 6 };

typedef struct rt_pmu_event {
    const char *name; /* NULL behind a group's last */
    uint32_t type;    /* of struct perf_event_attr */
    uint64_t config;
    bool in_kernel; /* happens there; the others are counted in the program alone, for which the system asks fewer rights */
} rt_pmu_event;

typedef struct rt_pmu_group {
    const char *name, *what;
    bool is_software; /* can be chosen without any event: what blocks declare and their ticks count anyway */
    rt_pmu_event events[RT_PMU_MAX_EVENTS + 1];
} rt_pmu_group;

extern const rt_pmu_group rt_pmu_groups[]; /* name NULL behind the last */

typedef struct rt_pmu_choice {
    const rt_pmu_group *group;
    const rt_pmu_event *events[RT_PMU_MAX_EVENTS], *missing[RT_PMU_MAX_EVENTS];
    int reasons[RT_PMU_MAX_EVENTS]; /* errno of each missing one */
    int n_events, n_missing;
} rt_pmu_choice;

/* NULL for a name that none has. */
const rt_pmu_group *rt_pmu_find_group(const char *name);

/* DSV4_E_USAGE for a name that no group has; DSV4_E_UNSUPPORTED where the machine has none of its events: one line says which, why
 * and what to do. Looks on the calling thread. */
DSV4_MUST_CHECK dsv4_status rt_pmu_choose(const char *name, rt_pmu_choice *out, dsv4_error *err);

/* Which events of the group the machine has; none is no failure. */
rt_pmu_choice rt_pmu_look(const rt_pmu_group *group);

/* Why an event is missing, and what to do: "not permitted, kernel.perf_event_paranoid is 4: ...". Cut to size; returns text. */
char *rt_pmu_reason_text(int reason, char *text, size_t size);

/* ---- counting ---------------------------------------------------------------------------------------------------------------- */

struct perf_event_mmap_page;

typedef struct rt_pmu_meter {
    int n_events; /* 0: nothing is open */
    int fds[RT_PMU_MAX_EVENTS];
    struct perf_event_mmap_page *pages[RT_PMU_MAX_EVENTS]; /* NULL where the system gives none */
} rt_pmu_meter;

typedef struct rt_pmu_reading {
    uint64_t enabled, running; /* ns */
    uint64_t values[RT_PMU_MAX_EVENTS];
} rt_pmu_reading;

/* Opens the events for the calling thread; 0, or errno with nothing open. A choice without events opens nothing. */
int rt_pmu_open(rt_pmu_meter *m, const rt_pmu_choice *choice);
void rt_pmu_close(rt_pmu_meter *m);

/* All zeros where reading fails. */
void rt_pmu_read(const rt_pmu_meter *m, rt_pmu_reading *out);

/* Events between two readings, scaled; NAN where the group was never in the counters meanwhile. */
double rt_pmu_count(const rt_pmu_reading *begin, const rt_pmu_reading *end, int event);

/* ---- layouts (for tests) ------------------------------------------------------------------------------------------------------- */

/* What read() gives of a group: number of events, enabled, running, a value each. False if that is not n_words of n_events. */
bool rt_pmu_decode_group(const uint64_t *words, int64_t n_words, int n_events, rt_pmu_reading *out);

/* One event of a meter from its mapped page, the processor's counter and the time stamp counter: adds what both have counted since
 * the system wrote the page. False where the page does not allow it: the event is not in a counter now, or has no time. */
bool rt_pmu_decode_page(const struct perf_event_mmap_page *page, uint64_t counter, uint64_t ticks, int event, rt_pmu_reading *out);

#endif
