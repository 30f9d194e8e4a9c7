/* The parts below the graph: spans, sorting, the ready set, the box tree and the box set, each against a brute-force twin. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "rt/boxset.h"
#include "rt/ready.h"
#include "rt/sort.h"
#include "rt_helpers.h"

/* ---- spans -------------------------------------------------------------------------------------------------------------- */

enum { UNIVERSE = 1024, N_SPAN_PAIRS = 200000 };

typedef struct bytes {
    bool has[UNIVERSE];
    int64_t last;
} bytes;

static bytes bytes_of_runs(int64_t start, int64_t n, int64_t stride, int64_t len)
{
    bytes set = {.last = -1};
    for (int64_t i = 0; i < n; i++) {
        for (int64_t b = 0; b < len; b++) {
            int64_t byte = start + i * stride + b;
            assert_in_range(byte, 0, UNIVERSE - 1);
            set.has[byte] = true;
            set.last = byte > set.last ? byte : set.last;
        }
    }
    return set;
}

static bytes bytes_of(const rt_span *s)
{
    return bytes_of_runs(s->start, s->n, s->stride, s->len);
}

static bool bytes_meet(const bytes *a, const bytes *b)
{
    for (int i = 0; i < UNIVERSE; i++) {
        if (a->has[i] && b->has[i]) {
            return true;
        }
    }
    return false;
}

static bool bytes_contain(const bytes *a, const bytes *b)
{
    for (int i = 0; i < UNIVERSE; i++) {
        if (b->has[i] && !a->has[i]) {
            return false;
        }
    }
    return true;
}

static rt_span random_span(dice *d)
{
    int64_t stride = dice_between(d, 1, 40);
    int64_t len = dice_between(d, 0, 5) == 0 ? stride : dice_between(d, 1, stride);
    return rt_span_make(dice_between(d, 0, 200), dice_between(d, 1, 8), stride, len);
}

/* A span related to `a`: same stride, starting where it ends, inside it, or unrelated. */
static rt_span random_partner(dice *d, const rt_span *a)
{
    rt_span s = random_span(d);
    switch (dice_between(d, 0, 4)) {
    case 0:
        return a->n == 1 ? s : rt_span_make(s.start, s.n, a->stride, dice_between(d, 1, a->stride));
    case 1:
        return rt_span_make(rt_span_end(a), s.n, s.stride, s.len);
    case 2:
        return rt_span_make(a->start, dice_between(d, 1, a->n), a->stride, dice_between(d, 1, a->len));
    case 3:
        return rt_span_make(s.start, 1, s.len, s.len);
    default:
        return s;
    }
}

static void test_span_make_keeps_bytes_and_normalizes(void **state)
{
    (void)state;
    dice d = dice_make(1);
    for (int i = 0; i < 20000; i++) {
        int64_t start = dice_between(&d, 0, 200), n = dice_between(&d, 1, 8), stride = dice_between(&d, 1, 40);
        int64_t len = dice_between(&d, 0, 3) == 0 ? stride : dice_between(&d, 1, stride);
        rt_span s = rt_span_make(start, n, stride, len);
        bytes expected = bytes_of_runs(start, n, stride, len), got = bytes_of(&s);
        assert_memory_equal(expected.has, got.has, sizeof got.has);
        assert_int_equal(rt_span_end(&s), got.last + 1);
        assert_true(s.n == 1 ? s.stride == s.len : s.len < s.stride);
    }
}

static void test_span_overlaps_is_exact(void **state)
{
    (void)state;
    dice d = dice_make(2);
    int64_t n_met = 0;
    for (int i = 0; i < N_SPAN_PAIRS; i++) {
        rt_span a = random_span(&d), b = random_partner(&d, &a);
        bytes in_a = bytes_of(&a), in_b = bytes_of(&b);
        bool expected = bytes_meet(&in_a, &in_b);
        assert_int_equal(rt_span_overlaps(&a, &b), expected);
        assert_int_equal(rt_span_overlaps(&b, &a), expected);
        n_met += expected;
    }
    assert_in_range(n_met, N_SPAN_PAIRS / 5, N_SPAN_PAIRS * 4 / 5);
}

static void test_span_contains_is_sound_and_exact_for_one_stride(void **state)
{
    (void)state;
    dice d = dice_make(3);
    int64_t n_contained = 0;
    for (int i = 0; i < N_SPAN_PAIRS; i++) {
        rt_span a = random_span(&d), b = random_partner(&d, &a);
        bytes in_a = bytes_of(&a), in_b = bytes_of(&b);
        bool expected = bytes_contain(&in_a, &in_b), got = rt_span_contains(&a, &b);
        assert_true(expected || !got);
        if (a.n == 1 || b.n == 1 || a.stride == b.stride) {
            assert_int_equal(got, expected);
        }
        n_contained += got;
    }
    assert_in_range(n_contained, N_SPAN_PAIRS / 20, N_SPAN_PAIRS);
}

/* Columns of a large matrix: addresses as real ones, far beyond 32 bits. */
static void test_span_of_large_addresses(void **state)
{
    (void)state;
    const int64_t base = INT64_C(0x7f0000000000), row = INT64_C(1) << 33;
    rt_span left = rt_span_make(base, 1000, row, 64), right = rt_span_make(base + 64, 1000, row, 64);
    rt_span both = rt_span_make(base + 63, 1, 2, 2), below = rt_span_make(base + 1000 * row, 1, 8, 8);
    assert_false(rt_span_overlaps(&left, &right));
    assert_true(rt_span_overlaps(&left, &both));
    assert_true(rt_span_overlaps(&both, &right));
    assert_false(rt_span_overlaps(&left, &below));
    assert_true(rt_span_contains(&left, &left));
    assert_false(rt_span_contains(&left, &both));
}

/* ---- sorting -------------------------------------------------------------------------------------------------------------- */

static void check_sorted(const uint64_t *keys, int64_t n)
{
    int32_t *order = malloc((size_t)(n + 1) * sizeof *order);
    bool *seen = calloc((size_t)n + 1, sizeof *seen);
    assert_true(rt_sort_ids(keys, n, order));
    for (int64_t i = 0; i < n; i++) {
        assert_in_range(order[i], 0, n - 1);
        assert_false(seen[order[i]]);
        seen[order[i]] = true;
        if (i > 0) {
            uint64_t before = keys[order[i - 1]], here = keys[order[i]];
            assert_true(before < here || (before == here && order[i - 1] < order[i]));
        }
    }
    free(order);
    free(seen);
}

static void test_sort_is_stable_and_complete(void **state)
{
    (void)state;
    enum { N = 5000 };
    static uint64_t keys[N];
    static const uint64_t masks[] = {0, 1, 0xff, 0xf000000000000000u, 0x8000000000000001u, UINT64_MAX};
    dice d = dice_make(4);
    for (size_t m = 0; m < sizeof masks / sizeof *masks; m++) {
        for (int i = 0; i < N; i++) {
            keys[i] = dice_u64(&d) & masks[m];
        }
        check_sorted(keys, N);
        check_sorted(keys, 1);
        check_sorted(keys, 0);
    }
}

/* ---- ready set -------------------------------------------------------------------------------------------------------------- */

/* The smallest member at or behind `from`, or RT_READY_EMPTY. */
static int64_t next_member(const bool *in, int64_t n, int64_t from)
{
    for (int64_t i = from; i < n; i++) {
        if (in[i]) {
            return i;
        }
    }
    return RT_READY_EMPTY;
}

static void add_random(dice *d, rt_ready *r, bool *in, int64_t n)
{
    int64_t word = dice_between(d, 0, (n - 1) / 64);
    uint64_t mask = 0;
    for (int i = (int)dice_between(d, 1, 5); i > 0; i--) {
        int64_t task = word * 64 + dice_between(d, 0, 63);
        if (task < n && !in[task]) {
            in[task] = true;
            mask |= UINT64_C(1) << (task & 63);
        }
    }
    if (mask != 0) {
        rt_ready_add(r, word, mask);
    }
}

static void take_and_compare(dice *d, rt_ready *r, bool *in, int64_t n)
{
    int64_t from = dice_between(d, 0, 1) ? dice_between(d, 0, n - 1) : 0, expected = next_member(in, n, from);
    expected = expected == RT_READY_EMPTY ? next_member(in, from, 0) : expected;
    assert_int_equal(rt_ready_first(r), next_member(in, n, 0));
    assert_int_equal(rt_ready_is_empty(r), expected == RT_READY_EMPTY);
    int64_t task = from == 0 ? rt_ready_take(r) : rt_ready_take_from(r, from);
    assert_int_equal(task, expected);
    if (task != RT_READY_EMPTY) {
        in[task] = false;
    }
}

static void check_ready_set(dice *d, int64_t n, int n_steps)
{
    bool *in = calloc((size_t)n + 1, sizeof *in);
    rt_ready r;
    assert_true(rt_ready_init(&r, n));
    for (int i = 0; i < n_steps; i++) {
        if (i % 1000 < 400 && dice_between(d, 0, 3) > 0) { /* fills, then drains until empty */
            add_random(d, &r, in, n);
        } else {
            take_and_compare(d, &r, in, n);
        }
    }
    rt_ready_deinit(&r);
    free(in);
}

static void test_ready_set_is_a_set(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 2, 63, 64, 65, 4095, 4096, 4097, 20000};
    dice d = dice_make(5);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        check_ready_set(&d, sizes[i], sizes[i] > 5000 ? 4000 : 8000);
    }
}

/* One member far up in a large set is found through every level of summaries. */
static void test_ready_set_is_deep(void **state)
{
    (void)state;
    enum { N = 64 * 64 * 64 + 5 };
    rt_ready r;
    assert_true(rt_ready_init(&r, N));
    assert_int_equal(rt_ready_take(&r), RT_READY_EMPTY);
    rt_ready_add(&r, (N - 1) / 64, UINT64_C(1) << ((N - 1) & 63));
    rt_ready_add(&r, 64 * 64 - 1, UINT64_C(1) << 63);
    assert_int_equal(rt_ready_take(&r), 64 * 64 * 64 - 1);
    assert_int_equal(rt_ready_take(&r), N - 1);
    assert_int_equal(rt_ready_take(&r), RT_READY_EMPTY);
    assert_true(rt_ready_is_empty(&r));
    rt_ready_deinit(&r);
}

enum { N_SHARED = SANITIZED ? 20000 : 300000, N_THREADS = 4 };

typedef struct sharing {
    rt_ready set;
    bool take_from; /* some takes begin at a random place */
    _Atomic int n_taken[N_SHARED];
} sharing;

typedef struct sharer {
    sharing *all;
    int number;
} sharer;

static bool take_one(sharing *all, int64_t from)
{
    int64_t task = from == 0 ? rt_ready_take(&all->set) : rt_ready_take_from(&all->set, from);
    if (task != RT_READY_EMPTY) {
        atomic_fetch_add(&all->n_taken[task], 1);
    }
    return task != RT_READY_EMPTY;
}

/* Adds the tasks t with t % N_THREADS = number, in an order that keeps all threads in the same words, and takes about as many. */
static void *add_and_take(void *context)
{
    sharer *s = context;
    dice d = dice_make(100 + (uint64_t)s->number);
    for (int64_t task = s->number; task < N_SHARED; task += N_THREADS) {
        rt_ready_add(&s->all->set, task >> 6, UINT64_C(1) << (task & 63));
        for (int64_t i = dice_between(&d, 0, 2); i > 0; i--) {
            take_one(s->all, s->all->take_from && i == 2 ? dice_between(&d, 0, N_SHARED - 1) : 0);
        }
    }
    return NULL;
}

static void check_sharing(bool take_from)
{
    sharing *all = calloc(1, sizeof *all);
    sharer sharers[N_THREADS];
    pthread_t threads[N_THREADS];
    all->take_from = take_from;
    assert_true(rt_ready_init(&all->set, N_SHARED));
    for (int i = 0; i < N_THREADS; i++) {
        sharers[i] = (sharer){all, i};
        assert_int_equal(pthread_create(&threads[i], NULL, add_and_take, &sharers[i]), 0);
    }
    for (int i = 0; i < N_THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    while (take_one(all, 0)) { /* the summaries have come to rest: they lead to all that is left */
    }
    assert_true(rt_ready_is_empty(&all->set));
    for (int64_t task = 0; task < N_SHARED; task++) {
        assert_int_equal(all->n_taken[task], 1);
    }
    rt_ready_deinit(&all->set);
    free(all);
}

static void test_ready_set_gives_each_task_once(void **state)
{
    (void)state;
    check_sharing(false);
    check_sharing(true);
}

/* ---- box tree ---------------------------------------------------------------------------------------------------------------- */

static rt_rect random_rect(dice *d)
{
    int32_t row = (int32_t)dice_between(d, 0, 60), col = (int32_t)dice_between(d, 0, 60);
    return (rt_rect){row, row + (int32_t)dice_between(d, 1, 12), col, col + (int32_t)dice_between(d, 1, 12)};
}

static bool rects_meet(const rt_rect *a, const rt_rect *b)
{
    return a->row0 < b->row1 && b->row0 < a->row1 && a->col0 < b->col1 && b->col0 < a->col1;
}

static void check_search(const rt_boxtree *t, const rt_rect *rects, const bool *active, int64_t n, int64_t slot)
{
    int32_t hits[256];
    bool hit[256] = {false};
    int64_t n_hits = rt_boxtree_search(t, slot, hits);
    for (int64_t i = 0; i < n_hits; i++) {
        assert_in_range(hits[i], 0, n - 1);
        assert_false(hit[hits[i]]);
        hit[hits[i]] = true;
    }
    for (int64_t i = 0; i < n; i++) {
        assert_int_equal(hit[i], active[i] && rects_meet(&rects[i], &rects[slot]));
    }
}

static void check_boxtree(dice *d, int64_t n)
{
    rt_rect rects[256], nodes[512];
    uint8_t flags[512];
    bool active[256] = {false};
    assert_true(rt_boxtree_nodes(n) <= 512);
    rt_boxtree t = {rt_boxtree_nodes(n) / 2, nodes, flags};
    for (int64_t i = 0; i < n; i++) {
        rects[i] = nodes[t.width + i] = random_rect(d);
    }
    rt_boxtree_build(&t, n);
    for (int i = 0; i < 300; i++) {
        int64_t slot = dice_between(d, 0, n - 1);
        active[slot] = dice_between(d, 0, 1) == 1;
        active[slot] ? rt_boxtree_activate(&t, slot) : rt_boxtree_deactivate(&t, slot);
        check_search(&t, rects, active, n, dice_between(d, 0, n - 1));
    }
}

static void test_boxtree_finds_active_boxes(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 2, 3, 7, 8, 9, 100, 256};
    dice d = dice_make(6);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        check_boxtree(&d, sizes[i]);
    }
}

static rt_frame make_frame(int64_t origin, int64_t stride, int64_t rows)
{
    rt_frame f = {.origin = origin, .stride = stride, .rows = rows};
    rt_frame_scale(&f);
    return f;
}

static bool rect_holds(const rt_frame *f, const rt_rect *r, int64_t address)
{
    int64_t row = (address - f->origin) / f->stride >> f->row_shift, col = (address - f->origin) % f->stride >> f->col_shift;
    return r->row0 <= row && row < r->row1 && r->col0 <= col && col < r->col1;
}

/* Every byte of a span lies in its rectangle of the frame. */
static void test_frame_rect_covers_span(void **state)
{
    (void)state;
    dice d = dice_make(7);
    for (int i = 0; i < 20000; i++) {
        rt_span s = random_span(&d);
        rt_frame f = make_frame(-dice_between(&d, 0, 50), dice_between(&d, 0, 2) == 0 ? s.stride : dice_between(&d, 1, 60), 2000);
        rt_rect r = rt_frame_rect(&f, &s);
        for (int64_t run = 0; run < s.n; run++) {
            for (int64_t b = 0; b < s.len; b++) {
                assert_true(rect_holds(&f, &r, s.start + run * s.stride + b));
            }
        }
    }
}

/* Likewise where rows or columns do not fit 32 bits; far apart stays apart. */
static void test_frame_rect_of_huge_regions(void **state)
{
    (void)state;
    const int64_t huge = INT64_C(1) << 44;
    const rt_frame frames[] = {make_frame(0, huge, 1), make_frame(0, 2, huge / 2),
                               make_frame(0, INT64_C(1) << 33, INT64_C(1) << 11)};
    dice d = dice_make(9);
    for (size_t i = 0; i < sizeof frames / sizeof *frames; i++) {
        const rt_frame *f = &frames[i];
        for (int k = 0; k < 1000; k++) {
            int64_t start = dice_between(&d, 0, huge - 5000), len = dice_between(&d, 1, 5000);
            rt_span one = rt_span_make(start, 1, len, len);
            rt_rect r = rt_frame_rect(f, &one);
            assert_true(rect_holds(f, &r, start) && rect_holds(f, &r, start + len - 1));
            assert_false(start > huge / 2 ? rect_holds(f, &r, start - huge / 4) : rect_holds(f, &r, start + huge / 4));
        }
    }
}

/* ---- box set --------------------------------------------------------------------------------------------------------------- */

enum { N_SPANS = 200, AREA_BYTES = 512 };

typedef struct spans {
    rt_span span[N_SPANS];
    dsv4_view view[N_SPANS];
    int32_t box[N_SPANS];
} spans;

/* Random boxes of random views of two areas that lie 64 bytes apart. */
static void draw_spans(dice *d, dsv4_graph *g, const uint8_t *areas, spans *out)
{
    for (int i = 0; i < N_SPANS; i++) {
        if (i % 10 == 0) {
            int64_t rows = dice_between(d, 1, 8), cols = dice_between(d, 1, 20), row_bytes = cols + dice_between(d, 0, 30);
            int64_t start = dice_between(d, 0, AREA_BYTES - rows * row_bytes) + (dice_between(d, 0, 1) ? AREA_BYTES + 64 : 0);
            uint8_t *data = (uint8_t *)(uintptr_t)(areas + start);
            out->view[i] = dsv4_graph_view(g, "v", data, rows, cols, 1, (size_t)row_bytes);
        } else {
            out->view[i] = out->view[i - 1];
        }
        const rt_view *v = &g->views.items[out->view[i]];
        int64_t row = dice_between(d, 0, v->rows - 1), col = dice_between(d, 0, v->cols - 1);
        out->span[i] = rt_span_make(v->address + row * v->row_bytes + col, dice_between(d, 1, v->rows - row), v->row_bytes,
                                    dice_between(d, 1, v->cols - col));
    }
}

static void check_overlaps(rt_boxset *set, const spans *s, const bool *active, int i)
{
    const int32_t *boxes;
    int64_t n = rt_boxset_overlaps(set, s->box[i], &boxes);
    bool hit[N_SPANS] = {false};
    for (int64_t k = 0; k < n; k++) {
        assert_in_range(boxes[k], 0, N_SPANS - 1);
        assert_false(hit[boxes[k]]);
        hit[boxes[k]] = true;
    }
    for (int k = 0; k < N_SPANS; k++) {
        assert_int_equal(hit[s->box[k]], active[s->box[k]] && rt_span_overlaps(&s->span[i], &s->span[k]));
    }
}

static void check_boxset(dice *d, const uint8_t *areas)
{
    dsv4_graph *g = dsv4_graph_create("boxes");
    rt_boxset set = {0};
    spans s;
    bool active[N_SPANS] = {false};
    draw_spans(d, g, areas, &s);
    assert_true(rt_boxset_init(&set, g));
    for (int i = 0; i < N_SPANS; i++) {
        s.box[i] = rt_boxset_add(&set, s.view[i], &s.span[i]);
        assert_in_range(s.box[i], 0, i);
        for (int k = 0; k < i; k++) { /* one id per distinct span */
            assert_int_equal(s.box[k] == s.box[i], memcmp(&s.span[k], &s.span[i], sizeof s.span[i]) == 0);
        }
    }
    assert_true(rt_boxset_index(&set));
    for (int step = 0; step < 400; step++) {
        int32_t box = s.box[dice_between(d, 0, N_SPANS - 1)];
        active[box] = dice_between(d, 0, 2) > 0;
        active[box] ? rt_boxset_activate(&set, box) : rt_boxset_deactivate(&set, box);
        check_overlaps(&set, &s, active, (int)dice_between(d, 0, N_SPANS - 1));
    }
    rt_boxset_deinit(&set);
    dsv4_graph_destroy(g);
}

static void test_boxset_finds_overlaps(void **state)
{
    (void)state;
    static const uint8_t areas[2 * AREA_BYTES + 64];
    dice d = dice_make(8);
    for (int i = 0; i < 30; i++) {
        check_boxset(&d, areas);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_span_make_keeps_bytes_and_normalizes),
        cmocka_unit_test(test_span_overlaps_is_exact),
        cmocka_unit_test(test_span_contains_is_sound_and_exact_for_one_stride),
        cmocka_unit_test(test_span_of_large_addresses),
        cmocka_unit_test(test_sort_is_stable_and_complete),
        cmocka_unit_test(test_ready_set_is_a_set),
        cmocka_unit_test(test_ready_set_is_deep),
        cmocka_unit_test(test_ready_set_gives_each_task_once),
        cmocka_unit_test(test_boxtree_finds_active_boxes),
        cmocka_unit_test(test_frame_rect_covers_span),
        cmocka_unit_test(test_frame_rect_of_huge_regions),
        cmocka_unit_test(test_boxset_finds_overlaps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
