/* rt/verify_touch.c - runs each block in isolation and compares what it touched with what it declared.
 *
 * For every region of memory that the graph's views cover:
 *
 *   before   the region as the block found it
 *   noise    before, each byte changed, except where the block declared that it reads; only in regions that the graph writes at
 *            all, since an undeclared read of a constant orders nothing (a constant that changes is an undeclared write)
 *
 * First run, on the real memory: a byte that changed outside the declared write boxes is an undeclared write. Second run, on noise:
 * so is a byte outside them that has turned from noise into what it was before; and a byte of a declared write box that comes out
 * otherwise than in the first run depends on something undeclared, unless neither run wrote it. The culprit is then found by
 * replacing less: scratch alone, which holds other noise in the second run, then ever smaller ranges of bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/rng.h"
#include "rt/boxset.h"
#include "rt/verify.h"

typedef struct shadow {
    uint8_t *memory; /* the region itself */
    int64_t n_bytes;
    bool written;                               /* by some block of the graph */
    bool reported;                              /* an undeclared write of the current block */
    uint8_t *before, *after, *noise, *declared; /* declared: bits READS, WRITES per byte, for the current block */
} shadow;

enum { READS = 1, WRITES = 2 };

/* Bytes [begin, end) of a region that the graph writes; region RT_NONE: nothing. */
typedef struct noise_range {
    int64_t region, begin, end;
} noise_range;

typedef struct isolating {
    const dsv4_graph *g;
    rt_boxset regions;
    shadow *shadows; /* [regions] */
    int64_t n_shadows;
    uint8_t *scratch;
    rng random;
    uint64_t n_draws;
    dsv4_describe block;
} isolating;

/* ---- memory ---------------------------------------------------------------------------------------------------------- */

static bool init_shadow(shadow *s, const rt_region *r)
{
    s->memory = (uint8_t *)(uintptr_t)r->address;
    s->n_bytes = r->end - r->address;
    s->before = malloc((size_t)s->n_bytes);
    s->after = malloc((size_t)s->n_bytes);
    s->noise = malloc((size_t)s->n_bytes);
    s->declared = calloc((size_t)s->n_bytes, 1);
    return s->before != NULL && s->after != NULL && s->noise != NULL && s->declared != NULL;
}

/* Marks the regions that some block writes. */
static bool find_written(isolating *v)
{
    for (int64_t t = 0; t < v->g->n_tasks; t++) {
        const rt_task *task = &v->g->tasks[t];
        if (task->run == NULL) {
            continue;
        }
        if (rt_describe_block(&v->block, v->g, task->stage, task->block, NULL) != DSV4_OK) {
            return false;
        }
        for (int64_t i = 0; i < v->block.touches.n; i++) {
            const rt_touch *touch = &v->block.touches.items[i];
            v->shadows[v->regions.view_region[touch->view]].written |= (touch->mode & DSV4_WRITE) != 0;
        }
    }
    return true;
}

static bool init(isolating *v)
{
    if (!rt_boxset_init(&v->regions, v->g)) {
        return false;
    }
    v->n_shadows = v->regions.regions.n;
    v->shadows = calloc((size_t)v->n_shadows + 1, sizeof *v->shadows);
    v->scratch = memory_array(v->g->scratch_bytes, 1);
    bool ok = v->shadows != NULL && v->scratch != NULL;
    for (int64_t i = 0; ok && i < v->n_shadows; i++) {
        ok = init_shadow(&v->shadows[i], &v->regions.regions.items[i]);
    }
    ok = ok && find_written(v);
    for (int64_t i = 0; ok && i < v->n_shadows; i++) {
        memcpy(v->shadows[i].before, v->shadows[i].memory, (size_t)v->shadows[i].n_bytes);
    }
    return ok;
}

static void deinit(isolating *v)
{
    for (int64_t i = 0; v->shadows != NULL && i < v->n_shadows; i++) {
        free(v->shadows[i].before);
        free(v->shadows[i].after);
        free(v->shadows[i].noise);
        free(v->shadows[i].declared);
    }
    free(v->shadows);
    free(v->scratch);
    rt_boxset_deinit(&v->regions);
    rt_describe_deinit(&v->block);
}

/* Sets or clears the declared bits of the current block's boxes. */
static void mark_declared(isolating *v, bool set)
{
    for (int64_t i = 0; i < v->block.touches.n; i++) {
        const rt_touch *t = &v->block.touches.items[i];
        shadow *s = &v->shadows[v->regions.view_region[t->view]];
        uint8_t *first = s->declared + (t->span.start - (int64_t)(uintptr_t)s->memory);
        for (int64_t r = 0; r < t->span.n; r++) {
            for (int64_t b = 0; b < t->span.len; b++) {
                uint8_t *bits = &first[r * t->span.stride + b];
                *bits = set ? *bits | (uint8_t)(t->mode & DSV4_UPDATE) : 0;
            }
        }
    }
}

static void make_noise(isolating *v)
{
    for (int64_t i = 0; i < v->n_shadows; i++) {
        shadow *s = &v->shadows[i];
        if (!s->written) {
            continue;
        }
        memcpy(s->before, s->memory, (size_t)s->n_bytes);
        uint8_t change = (uint8_t)(1 + rng_below(&v->random, v->n_draws++, 255));
        for (int64_t b = 0; b < s->n_bytes; b++) {
            bool keep = (s->declared[b] & READS) != 0;
            s->noise[b] = keep ? s->before[b] : (uint8_t)(s->before[b] ^ change);
        }
    }
}

static void load_noise(isolating *v)
{
    for (int64_t i = 0; i < v->n_shadows; i++) {
        if (v->shadows[i].written) {
            memcpy(v->shadows[i].memory, v->shadows[i].noise, (size_t)v->shadows[i].n_bytes);
        }
    }
}

/* Memory as before, with noise in that range. */
static void load_noise_range(isolating *v, noise_range range)
{
    for (int64_t i = 0; i < v->n_shadows; i++) {
        shadow *s = &v->shadows[i];
        if (s->written) {
            memcpy(s->memory, s->before, (size_t)s->n_bytes);
        }
        if (i == range.region) {
            memcpy(s->memory + range.begin, s->noise + range.begin, (size_t)(range.end - range.begin));
        }
    }
}

static void keep_outputs(isolating *v)
{
    for (int64_t i = 0; i < v->n_shadows; i++) {
        if (v->shadows[i].written) {
            memcpy(v->shadows[i].after, v->shadows[i].memory, (size_t)v->shadows[i].n_bytes);
        }
    }
}

static void restore_outputs(isolating *v)
{
    for (int64_t i = 0; i < v->n_shadows; i++) {
        if (v->shadows[i].written) {
            memcpy(v->shadows[i].memory, v->shadows[i].after, (size_t)v->shadows[i].n_bytes);
        }
    }
}

/* ---- one block ------------------------------------------------------------------------------------------------------- */

static void run(isolating *v, const rt_task *task, uint8_t in_scratch)
{
    memset(v->scratch, in_scratch, v->g->scratch_bytes);
    task->run(task->arg, task->block, v->scratch);
}

/* True if some declared output differs between the first run (after) and what memory holds now. */
static bool outputs_differ(const isolating *v)
{
    for (int64_t i = 0; i < v->n_shadows; i++) {
        const shadow *s = &v->shadows[i];
        bool same = !s->written || memcmp(s->memory, s->after, (size_t)s->n_bytes) == 0;
        for (int64_t b = 0; !same && b < s->n_bytes; b++) {
            bool untouched = s->after[b] == s->before[b] && (s->memory[b] == s->before[b] || s->memory[b] == s->noise[b]);
            if ((s->declared[b] & WRITES) != 0 && s->memory[b] != s->after[b] && !untouched) {
                return true;
            }
        }
    }
    return false;
}

/* Where the view holds the address, as a box of one element; false if it does not. */
static bool find_element(const rt_view *v, int64_t address, dsv4_box *box)
{
    int64_t offset = address - v->address;
    if (v->rows == 0 || v->cols == 0 || offset < 0) {
        return false;
    }
    int64_t row = v->rows > 1 ? offset / v->row_bytes : 0, col = (offset - row * v->row_bytes) / v->elem_bytes;
    *box = (dsv4_box){row, row + 1, col, col + 1};
    return row < v->rows && col < v->cols;
}

/* "writes q[3:4, 7:8], which it does not declare", through the first view that holds the byte. */
static void byte_text(const isolating *v, int64_t region, int64_t byte, int mode, char *text, size_t size)
{
    int64_t address = v->regions.regions.items[region].address + byte;
    for (int64_t i = 0; i < v->g->views.n; i++) {
        rt_touch touch = {(dsv4_view)i, mode, {0, 0, 0, 0}, {0, 0, 0, 0}};
        if (find_element(&v->g->views.items[i], address, &touch.box)) {
            char what[256];
            snprintf(text, size, "%s, which it does not declare", rt_touch_text(v->g, &touch, what, sizeof what));
            return;
        }
    }
    snprintf(text, size, "touches memory between views");
}

static void note(isolating *v, rt_findings *found, const char *what)
{
    char block[192];
    if (found->n++ == 0) {
        dsv4_fail(&found->first, DSV4_E_GRAPH, "graph %s: %s %s", v->g->name,
                  rt_block_text(v->g, v->block.stage, v->block.block, block, sizeof block), what);
    }
}

static void report_write(isolating *v, rt_findings *found, int64_t region, int64_t byte)
{
    char what[320];
    byte_text(v, region, byte, DSV4_WRITE, what, sizeof what);
    note(v, found, what);
    v->shadows[region].reported = true;
}

/* After the first run. A region that turns out to be written is checked as such from here on. */
static void check_changes(isolating *v, rt_findings *found)
{
    for (int64_t i = 0; i < v->n_shadows; i++) {
        shadow *s = &v->shadows[i];
        s->reported = false;
        bool same = memcmp(s->memory, s->before, (size_t)s->n_bytes) == 0;
        for (int64_t b = 0; !same && b < s->n_bytes; b++) {
            if (s->memory[b] != s->before[b] && (s->declared[b] & WRITES) == 0) {
                report_write(v, found, i, b);
                break;
            }
        }
        if (!same && !s->written) {
            memcpy(s->noise, s->before, (size_t)s->n_bytes);
            s->written = true;
        }
    }
}

/* After the second run: undeclared writes of the value that was there already. */
static void check_rewrites(isolating *v, rt_findings *found)
{
    for (int64_t i = 0; i < v->n_shadows; i++) {
        const shadow *s = &v->shadows[i];
        bool skip = !s->written || s->reported;
        for (int64_t b = 0; !skip && b < s->n_bytes; b++) {
            if (s->memory[b] != s->noise[b] && s->memory[b] == s->before[b] && (s->declared[b] & WRITES) == 0) {
                report_write(v, found, i, b);
                break;
            }
        }
    }
}

/* True if noise in that range and this byte in scratch change the outputs. */
static bool depends_on(isolating *v, const rt_task *task, noise_range range, uint8_t in_scratch)
{
    load_noise_range(v, range);
    run(v, task, in_scratch);
    return outputs_differ(v);
}

/* Finds one byte of the range that the outputs depend on, by halving. */
static noise_range find_byte(isolating *v, const rt_task *task, noise_range range, uint8_t in_scratch)
{
    while (range.end - range.begin > 1) {
        noise_range half = range;
        half.end = range.begin + (range.end - range.begin) / 2;
        if (depends_on(v, task, half, in_scratch)) {
            range = half;
        } else {
            range.begin = half.end;
        }
    }
    return range;
}

/* The outputs depend on something undeclared, though scratch held first_scratch, then second_scratch. */
static void find_culprit(isolating *v, const rt_task *task, uint8_t first_scratch, uint8_t second_scratch, rt_findings *found)
{
    char what[320];
    if (depends_on(v, task, (noise_range){RT_NONE, 0, 0}, second_scratch)) {
        note(v, found, "reads its scratch before writing it");
        return;
    }
    for (int64_t i = 0; i < v->n_shadows; i++) {
        noise_range range = {i, 0, v->shadows[i].n_bytes};
        if (v->shadows[i].written && depends_on(v, task, range, first_scratch)) {
            byte_text(v, i, find_byte(v, task, range, first_scratch).begin, DSV4_READ, what, sizeof what);
            note(v, found, what);
            return;
        }
    }
    note(v, found, "reads several places at once which it does not declare");
}

static bool check_block(isolating *v, const rt_task *task, rt_findings *found)
{
    if (rt_describe_block(&v->block, v->g, task->stage, task->block, NULL) != DSV4_OK) {
        return false;
    }
    uint8_t first_scratch = (uint8_t)rng_u64(&v->random, v->n_draws++), second_scratch = (uint8_t)(first_scratch ^ 0xa5);
    mark_declared(v, true);
    make_noise(v);
    run(v, task, first_scratch);
    check_changes(v, found);
    keep_outputs(v);
    load_noise(v);
    run(v, task, second_scratch);
    check_rewrites(v, found);
    if (outputs_differ(v)) {
        find_culprit(v, task, first_scratch, second_scratch, found);
    }
    restore_outputs(v);
    mark_declared(v, false);
    return true;
}

/* ---- the run --------------------------------------------------------------------------------------------------------- */

/* Checks every block, in a random order that respects the edges. */
static bool check_all(isolating *v, rt_findings *found)
{
    const dsv4_graph *g = v->g;
    int32_t *left = malloc((size_t)(g->n_tasks + 1) * sizeof *left), *ready = malloc((size_t)(g->n_tasks + 1) * sizeof *ready);
    int64_t n_ready = 0;
    bool ok = left != NULL && ready != NULL;
    for (int64_t t = 0; ok && t < g->n_tasks; t++) {
        left[t] = g->tasks[t].n_before;
        if (left[t] == 0) {
            ready[n_ready++] = (int32_t)t;
        }
    }
    while (ok && n_ready > 0) {
        int64_t pick = (int64_t)rng_below(&v->random, v->n_draws++, (uint64_t)n_ready);
        const rt_task *task = &g->tasks[ready[pick]];
        ready[pick] = ready[--n_ready];
        ok = task->run == NULL || check_block(v, task, found);
        for (int64_t e = task->after; e < task->after_end; e++) {
            if (--left[g->after[e]] == 0) {
                ready[n_ready++] = g->after[e];
            }
        }
    }
    free(left);
    free(ready);
    return ok;
}

dsv4_status rt_verify_touches(const dsv4_graph *g, uint64_t seed, rt_findings *found, dsv4_error *err)
{
    isolating v = {.g = g, .random = {seed, rng_stream("verify")}};
    bool ok = init(&v) && check_all(&v, found);
    deinit(&v);
    return ok ? DSV4_OK : dsv4_fail(err, DSV4_E_NO_MEMORY, "graph %s: no memory to verify it", g->name);
}

dsv4_status dsv4_graph_verify(dsv4_graph *g, uint64_t seed, int64_t *n_findings, dsv4_error *err)
{
    rt_findings found = {0};
    dsv4_status status = rt_graph_check_sealed(g, err);
    if (status == DSV4_OK) {
        status = rt_verify_order(g, &found, err);
    }
    if (status == DSV4_OK) {
        status = rt_verify_touches(g, seed, &found, err);
    }
    if (n_findings != NULL) {
        *n_findings = found.n;
    }
    if (status == DSV4_OK && found.n > 0) {
        status = dsv4_fail(err, DSV4_E_GRAPH, "%s", found.first.text);
    }
    return status == DSV4_OK ? rt_graph_find_refusal(g, err) : status;
}
