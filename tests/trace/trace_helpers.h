/* trace/trace_helpers.h - graphs whose edges are known, and traces compared member by member. */
#ifndef TRACE_TRACE_HELPERS_H
#define TRACE_TRACE_HELPERS_H

#include <string.h>

#include "require.h"
#include "rt/rt_helpers.h"
#include "rt/sealing.h"
#include "trace/trace.h"

static inline trace captured(const dsv4_graph *g)
{
    trace t = {0};
    dsv4_error err = {0};
    if (trace_capture_graph(g, &t, &err) != DSV4_OK) {
        fail_msg("%s", err.text);
    }
    return t;
}

static inline trace captured_run(const dsv4_exec *x)
{
    trace t = {0};
    dsv4_error err = {0};
    if (trace_capture(x, &t, &err) != DSV4_OK) {
        fail_msg("%s", err.text);
    }
    return t;
}

static inline trace read_back(const char *path)
{
    trace t = {0};
    dsv4_error err = {0};
    if (trace_read(path, &t, &err) != DSV4_OK) {
        fail_msg("%s", err.text);
    }
    return t;
}

static inline void assert_same_box(const dsv4_box *a, const dsv4_box *b)
{
    assert_true(a->row0 == b->row0 && a->row1 == b->row1 && a->col0 == b->col0 && a->col1 == b->col1);
}

static inline void assert_same_work(const dsv4_work *a, const dsv4_work *b)
{
    assert_true(a->flops_bf16 == b->flops_bf16 && a->ops_i8 == b->ops_i8 && a->vector_ops == b->vector_ops);
    assert_true(a->gathered_bytes == b->gathered_bytes && a->product.m == b->product.m && a->product.n == b->product.n);
    assert_true(a->product.k == b->product.k && a->product.k_tile == b->product.k_tile && a->product.ahead == b->product.ahead);
}

static inline void assert_same_task(const trace_task *a, const trace_task *b)
{
    assert_true(a->stage == b->stage && a->block == b->block && a->is_join == b->is_join && a->spread == b->spread);
    assert_true(a->n_before == b->n_before && a->edge == b->edge && a->edge_end == b->edge_end);
    assert_true(a->touch == b->touch && a->touch_end == b->touch_end);
    assert_same_work(&a->work, &b->work);
}

static inline void assert_same_graph(const trace_graph *a, const trace_graph *b)
{
    assert_string_equal(a->name, b->name);
    assert_true(a->deps == b->deps && a->n_views == b->n_views && a->n_stages == b->n_stages && a->n_tasks == b->n_tasks);
    assert_true(a->n_blocks == b->n_blocks && a->n_touches == b->n_touches && a->n_edges == b->n_edges);
    for (int64_t i = 0; i < a->n_views; i++) {
        const trace_view *v = &a->views[i], *w = &b->views[i];
        assert_string_equal(v->name, w->name);
        assert_true(v->address == w->address && v->rows == w->rows && v->cols == w->cols && v->elem_bytes == w->elem_bytes &&
                    v->row_bytes == w->row_bytes);
    }
    for (int64_t i = 0; i < a->n_stages; i++) {
        assert_string_equal(a->stages[i].name, b->stages[i].name);
        assert_true(a->stages[i].n_blocks == b->stages[i].n_blocks && a->stages[i].scratch_bytes == b->stages[i].scratch_bytes &&
                    a->stages[i].kind == b->stages[i].kind);
    }
    for (int64_t i = 0; i < a->n_tasks; i++) {
        assert_same_task(&a->tasks[i], &b->tasks[i]);
    }
    for (int64_t i = 0; i < a->n_touches; i++) {
        assert_true(a->touches[i].view == b->touches[i].view && a->touches[i].mode == b->touches[i].mode);
        assert_same_box(&a->touches[i].box, &b->touches[i].box);
    }
    for (int64_t i = 0; i < a->n_edges; i++) {
        const trace_edge *e = &a->edges[i], *f = &b->edges[i];
        assert_true(e->from == f->from && e->to == f->to && e->source == f->source && e->from_touch == f->from_touch &&
                    e->to_touch == f->to_touch);
    }
}

static inline void assert_same_run(const trace_run *a, const trace_run *b)
{
    assert_string_equal(a->device, b->device);
    assert_true(a->is_simulated == b->is_simulated && a->level == b->level && a->n_workers == b->n_workers);
    assert_true(a->n_events == b->n_events && a->n_counters == b->n_counters && a->n_waits == b->n_waits);
    assert_true(a->read_bytes_s == b->read_bytes_s && a->ops_i8_s == b->ops_i8_s && a->flops_bf16_s == b->flops_bf16_s &&
                a->vector_ops_s == b->vector_ops_s);
    for (int64_t i = 0; i < a->n_workers; i++) {
        assert_string_equal(a->workers[i].name, b->workers[i].name);
    }
    for (int64_t i = 0; i < a->n_counters; i++) {
        assert_string_equal(a->counters[i], b->counters[i]);
    }
    for (int64_t i = 0; i < a->n_events; i++) {
        const trace_event *e = &a->events[i], *f = &b->events[i];
        assert_true(e->task == f->task && e->worker == f->worker && e->found == f->found);
        assert_true(e->ready_s == f->ready_s && e->dispatch_s == f->dispatch_s && e->start_s == f->start_s && e->end_s == f->end_s);
    }
    for (int64_t i = 0; i < a->n_events * a->n_counters; i++) {
        assert_true(a->counts[i] == b->counts[i]);
    }
    for (int64_t i = 0; i < a->n_waits; i++) {
        const trace_wait *w = &a->waits[i], *v = &b->waits[i];
        assert_true(w->worker == v->worker && w->slept == v->slept && w->begin_s == v->begin_s && w->end_s == v->end_s);
    }
}

#endif
