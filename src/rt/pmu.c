#include "rt/pmu.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "rt/ticks.h"

/* ---- layouts ----------------------------------------------------------------------------------------------------------------- */

enum { GROUP_HEAD_WORDS = 3 };

bool rt_pmu_decode_group(const uint64_t *words, int64_t n_words, int n_events, rt_pmu_reading *out)
{
    if (n_words != GROUP_HEAD_WORDS + n_events || words[0] != (uint64_t)n_events) {
        return false;
    }
    out->enabled = words[1];
    out->running = words[2];
    memcpy(out->values, words + GROUP_HEAD_WORDS, (size_t)n_events * sizeof *words);
    return true;
}

/* Nanoseconds since the system wrote the page. */
static uint64_t page_age_ns(const struct perf_event_mmap_page *page, uint64_t ticks)
{
    uint64_t whole = ticks >> page->time_shift, rest = ticks & ((UINT64_C(1) << page->time_shift) - 1);
    return page->time_offset + whole * page->time_mult + ((rest * page->time_mult) >> page->time_shift);
}

bool rt_pmu_decode_page(const struct perf_event_mmap_page *page, uint64_t counter, uint64_t ticks, int event, rt_pmu_reading *out)
{
    int unused_bits = 64 - page->pmc_width;
    if (page->index == 0 || !page->cap_user_rdpmc || !page->cap_user_time || page->pmc_width < 1 || unused_bits < 0) {
        return false;
    }
    uint64_t age_ns = page_age_ns(page, ticks);
    int64_t since = (int64_t)(counter << unused_bits) >> unused_bits;
    out->values[event] = (uint64_t)page->offset + (uint64_t)since;
    out->enabled = page->time_enabled + age_ns;
    out->running = page->time_running + age_ns;
    return true;
}

double rt_pmu_count(const rt_pmu_reading *begin, const rt_pmu_reading *end, int event)
{
    double enabled = (double)(int64_t)(end->enabled - begin->enabled), running = (double)(int64_t)(end->running - begin->running);
    double n = (double)(int64_t)(end->values[event] - begin->values[event]);
    if (running <= 0) {
        return enabled > 0 || n != 0 ? NAN : 0;
    }
    return enabled > running ? n * (enabled / running) : n;
}

/* ---- a thread's meter ---------------------------------------------------------------------------------------------------------- */

static int open_event(const rt_pmu_event *e, int leader)
{
    struct perf_event_attr a = {.type = e->type,
                                .size = sizeof a,
                                .config = e->config,
                                .exclude_kernel = !e->in_kernel,
                                .exclude_hv = 1,
                                .read_format = PERF_FORMAT_GROUP | PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING};
    return (int)syscall(SYS_perf_event_open, &a, 0, -1, leader, PERF_FLAG_FD_CLOEXEC);
}

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

int rt_pmu_open(rt_pmu_meter *m, const rt_pmu_choice *choice)
{
    *m = (rt_pmu_meter){0};
    for (int i = 0; i < choice->n_events; i++) {
        int fd = open_event(choice->events[i], i > 0 ? m->fds[0] : -1);
        if (fd < 0) {
            int reason = errno;
            rt_pmu_close(m);
            return reason;
        }
        void *page = mmap(NULL, page_bytes(), PROT_READ, MAP_SHARED, fd, 0);
        m->pages[i] = page != MAP_FAILED ? page : NULL;
        m->fds[i] = fd;
        m->n_events++;
    }
    return 0;
}

void rt_pmu_close(rt_pmu_meter *m)
{
    for (int i = m->n_events - 1; i >= 0; i--) {
        if (m->pages[i] != NULL) {
            munmap(m->pages[i], page_bytes());
        }
        close(m->fds[i]);
    }
    *m = (rt_pmu_meter){0};
}

/* The system raises `lock` before and behind each change of the page, on this very thread's processor: order within it suffices. */
static bool read_page(const struct perf_event_mmap_page *page, int event, rt_pmu_reading *out)
{
    const volatile uint32_t *lock = &page->lock;
    uint32_t before;
    bool ok;
    do {
        before = *lock;
        atomic_signal_fence(memory_order_seq_cst);
        uint32_t index = page->index;
        if (!RT_READS_COUNTERS || !page->cap_user_rdpmc || index == 0) {
            return false;
        }
        ok = rt_pmu_decode_page(page, rt_read_counter(index - 1), rt_ticks(), event, out);
        atomic_signal_fence(memory_order_seq_cst);
    } while (*lock != before);
    return ok;
}

static bool read_pages(const rt_pmu_meter *m, rt_pmu_reading *out)
{
    for (int i = m->n_events - 1; i >= 0; i--) { /* the times are the leader's */
        if (m->pages[i] == NULL || !read_page(m->pages[i], i, out)) {
            return false;
        }
    }
    return true;
}

void rt_pmu_read(const rt_pmu_meter *m, rt_pmu_reading *out)
{
    uint64_t words[GROUP_HEAD_WORDS + RT_PMU_MAX_EVENTS];
    if (m->n_events == 0 || read_pages(m, out)) {
        return;
    }
    ssize_t n = read(m->fds[0], words, (size_t)(GROUP_HEAD_WORDS + m->n_events) * sizeof *words);
    if (n < 0 || !rt_pmu_decode_group(words, n / (ssize_t)sizeof *words, m->n_events, out)) {
        *out = (rt_pmu_reading){0};
    }
}
