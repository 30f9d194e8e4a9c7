/* compare_topk.c - comparison of lists of chosen indices (SPEC 7, topk_pair_compare and the membership rule). */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "tensor/compare.h"
#include "tensor/internal.h"

/* One row of a cmp_topk, with room to sort its k entries. */
typedef struct row {
    const int32_t *actual, *expected;
    const float *actual_scores, *expected_scores;
    int64_t first; /* position of its first entry among all rows */
    int32_t *indices;
    float *actual_sorted, *expected_sorted;
} row;

/* The score an index points at; NaN when it is too large. */
static float score_of(const cmp_topk *t, const float *scores, int32_t index)
{
    const int64_t i = (int64_t)index - t->offset;
    if (i < 0) {
        return -INFINITY;
    }
    return i < t->n_scores ? scores[i] : NAN;
}

static void add_violation(cmp_result *r, int64_t position, double actual, double expected)
{
    double error = fabs(actual - expected);
    if (isnan(error)) {
        error = INFINITY;
    }
    if (r->n_bad++ > 0 && !(error > r->worst)) {
        return;
    }
    r->worst = error;
    r->worst_index = position;
    r->worst_actual = actual;
    r->worst_expected = expected;
}

static void check_range(const cmp_topk *t, const row *w, cmp_result *r)
{
    for (int64_t i = 0; i < t->k; i++) {
        if ((int64_t)w->actual[i] - t->offset >= t->n_scores) {
            add_violation(r, w->first + i, NAN, w->actual[i]);
        } else if ((int64_t)w->expected[i] - t->offset >= t->n_scores) {
            add_violation(r, w->first + i, NAN, w->expected[i]);
        }
    }
}

static void check_order(const cmp_topk *t, const row *w, cmp_result *r)
{
    for (int64_t i = 0; i < t->k; i++) {
        if (w->actual[i] == w->expected[i]) {
            continue;
        }
        const float value = score_of(t, w->actual_scores, w->actual[i]);
        const float before = i > 0 ? score_of(t, w->actual_scores, w->actual[i - 1]) : INFINITY;
        const float after = i + 1 < t->k ? score_of(t, w->actual_scores, w->actual[i + 1]) : -INFINITY;
        if (!(before >= value)) {
            add_violation(r, w->first + i, value, before);
        } else if (!(value >= after)) {
            add_violation(r, w->first + i, value, after);
        }
    }
}

/* Descending; NaN first. */
static int compare_scores(const void *left, const void *right)
{
    const float l = *(const float *)left, r = *(const float *)right;
    if (isnan(l) || isnan(r)) {
        return isnan(r) - isnan(l);
    }
    return (l < r) - (l > r);
}

static int compare_indices(const void *left, const void *right)
{
    const int32_t l = *(const int32_t *)left, r = *(const int32_t *)right;
    return (l > r) - (l < r);
}

static void check_membership(const cmp_topk *t, const row *w, cmp_result *r)
{
    for (int64_t i = 0; i < t->k; i++) {
        w->actual_sorted[i] = score_of(t, w->expected_scores, w->actual[i]);
        w->expected_sorted[i] = score_of(t, w->expected_scores, w->expected[i]);
    }
    qsort(w->actual_sorted, (size_t)t->k, sizeof(float), compare_scores);
    qsort(w->expected_sorted, (size_t)t->k, sizeof(float), compare_scores);
    for (int64_t i = 0; i < t->k; i++) {
        if (!tensor_is_close(w->actual_sorted[i], w->expected_sorted[i], (float)t->atol, (float)t->rtol)) {
            add_violation(r, w->first + i, w->actual_sorted[i], w->expected_sorted[i]);
        }
    }
}

static void check_twice(const cmp_topk *t, const row *w, cmp_result *r)
{
    for (int64_t i = 0; i < t->k; i++) {
        w->indices[i] = w->actual[i];
    }
    qsort(w->indices, (size_t)t->k, sizeof(int32_t), compare_indices);
    for (int64_t i = 1; i < t->k; i++) {
        if (w->indices[i] == w->indices[i - 1] && w->indices[i] >= t->offset) {
            add_violation(r, w->first + i, NAN, w->indices[i]);
        }
    }
}

static dsv4_status allocate_sorting(const cmp_topk *t, row *w, dsv4_error *err)
{
    const size_t k = (size_t)t->k + 1;
    w->indices = calloc(k, sizeof *w->indices);
    w->actual_sorted = calloc(k, sizeof *w->actual_sorted);
    w->expected_sorted = calloc(k, sizeof *w->expected_sorted);
    if (w->indices == NULL || w->actual_sorted == NULL || w->expected_sorted == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "top-k comparison: no memory for rows of %" PRId64, t->k);
    }
    return DSV4_OK;
}

static void free_sorting(row *w)
{
    free(w->indices);
    free(w->actual_sorted);
    free(w->expected_sorted);
}

static void check_row(const cmp_topk *t, const row *w, bool strict, cmp_result *r)
{
    check_range(t, w, r);
    check_order(t, w, r);
    if (!strict) {
        return;
    }
    check_membership(t, w, r);
    check_twice(t, w, r);
}

dsv4_status cmp_topk_rows(const cmp_topk *t, bool strict, cmp_result *out, dsv4_error *err)
{
    row w = {0};
    cmp_result r = {.n = t->rows * t->k, .worst_index = -1};
    const dsv4_status status = allocate_sorting(t, &w, err);
    if (status != DSV4_OK) {
        goto done;
    }
    for (int64_t i = 0; i < t->rows; i++) {
        w.actual = t->actual + i * t->row_stride;
        w.expected = t->expected + i * t->row_stride;
        w.actual_scores = t->actual_scores + i * t->n_scores;
        w.expected_scores = strict ? t->expected_scores + i * t->n_scores : NULL;
        w.first = i * t->k;
        check_row(t, &w, strict, &r);
    }
    r.pass = r.n_bad == 0;
    *out = r;
done:
    free_sorting(&w);
    return status;
}
