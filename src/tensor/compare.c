/* compare.c - point by point comparison of two tensors (SPEC 7). */
#include "tensor/compare.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tensor/internal.h"

/* The numbers of a rule in FP32, as the reference's comparators use them. */
typedef struct limits {
    float atol, rtol;
    float floor; /* RELDIFF: smallest denominator */
    float hard;
} limits;

static limits limits_of(const cmp_rule *rule)
{
    const limits l = {
        .atol = (float)rule->atol,
        .rtol = (float)rule->rtol,
        .floor = rule->kind == CMP_RELDIFF ? (float)(0x1p-14 / rule->atol) : 0,
        .hard = rule->hard == 0 ? INFINITY : (float)rule->hard,
    };
    return l;
}

bool tensor_is_close(float a, float e, float atol, float rtol)
{
    const float difference = fabsf(a - e);
    return a == e || (isfinite(difference) && difference <= atol + rtol * fabsf(e));
}

static float relative_difference(float a, float e, const limits *l)
{
    const float difference = fabsf(a - e);
    return difference < l->atol ? difference : difference / (fmaxf(fmaxf(fabsf(a), fabsf(e)), l->floor) + 1e-9f);
}

/* Python's round(budget * n), at most n. */
static int64_t allowed_points(const cmp_rule *rule, int64_t n)
{
    if (rule->kind == CMP_EXACT || rule->kind == CMP_TOPK) {
        return 0;
    }
    assert(rule->budget >= 0);
    const double allowed = rint(rule->budget * (double)n);
    return allowed < (double)n ? (int64_t)allowed : n;
}

/* One element of both tensors. */
typedef struct point {
    double a, e;
    bool same_bits;
} point;

static point read_point(const dsv4_tensor *actual, const dsv4_tensor *expected, int64_t a_offset, int64_t e_offset)
{
    const point p = {
        .a = tensor_value(actual, a_offset),
        .e = tensor_value(expected, e_offset),
        .same_bits = actual->dtype == expected->dtype &&
                     memcmp(tensor_at(actual, a_offset), tensor_at(expected, e_offset), dsv4_dtype_bytes(actual->dtype)) == 0,
    };
    return p;
}

/* *relative: the largest relative difference of a bad point so far, RELDIFF. */
static bool is_bad(const point *p, cmp_kind kind, const limits *l, float *relative)
{
    const float a = (float)p->a, e = (float)p->e;
    switch (kind) {
    case CMP_EXACT:
    case CMP_TOPK:
        return !p->same_bits;
    case CMP_ALLCLOSE:
        return !tensor_is_close(a, e, l->atol, l->rtol);
    case CMP_RATIO:
        return !isfinite(a) || fabsf(a - e) > l->atol + l->rtol * fabsf(e);
    case CMP_RELDIFF:
        break;
    }
    const float r = relative_difference(a, e, l);
    if (r > l->atol) {
        *relative = fmaxf(*relative, r);
    }
    return !isfinite(a) || r > l->atol;
}

/* Keeps the point with the largest error; a bad one is kept before good ones of the same error. */
static void track_worst(cmp_result *r, int64_t i, const point *p, bool bad)
{
    double error = p->a == p->e || p->same_bits ? 0 : fabs(p->a - p->e);
    if (isnan(error)) {
        error = INFINITY;
    }
    if (!(error > r->worst) && !(bad && r->worst_index < 0)) {
        return;
    }
    r->worst = error;
    r->worst_index = i;
    r->worst_actual = p->a;
    r->worst_expected = p->e;
}

static bool passes(const cmp_result *r, cmp_kind kind, const limits *l, float relative)
{
    if (kind == CMP_EXACT || kind == CMP_TOPK || kind == CMP_ALLCLOSE) {
        return r->n_bad <= r->n_allowed;
    }
    if (r->n_not_finite > 0 || r->n_bad > r->n_allowed) {
        return false;
    }
    return kind == CMP_RATIO || r->n_bad == 0 || relative < l->hard;
}

static dsv4_status check_alike(const char *name, const dsv4_tensor *actual, const dsv4_tensor *expected, cmp_kind kind,
                               dsv4_error *err)
{
    bool same = actual->n_dims == expected->n_dims;
    for (int d = 0; same && d < actual->n_dims; d++) {
        same = actual->shape[d] == expected->shape[d];
    }
    char a[160], e[160];
    if (!same) {
        return dsv4_fail(err, DSV4_E_SHAPE, "tensor '%s': shape %s, expected %s", name, dsv4_tensor_shape_text(actual, a, sizeof a),
                         dsv4_tensor_shape_text(expected, e, sizeof e));
    }
    if ((kind == CMP_EXACT || kind == CMP_TOPK) && actual->dtype != expected->dtype) {
        return dsv4_fail(err, DSV4_E_SHAPE, "tensor '%s': dtype %s, expected %s", name, dsv4_dtype_name(actual->dtype),
                         dsv4_dtype_name(expected->dtype));
    }
    return DSV4_OK;
}

dsv4_status cmp_tensors(const char *name, const dsv4_tensor *actual, const dsv4_tensor *expected, const cmp_rule *rule,
                        cmp_result *out, dsv4_error *err)
{
    const dsv4_status status = check_alike(name, actual, expected, rule->kind, err);
    if (status != DSV4_OK) {
        return status;
    }
    const int64_t n = dsv4_tensor_count(actual);
    const bool a_flat = dsv4_tensor_is_contiguous(actual), e_flat = dsv4_tensor_is_contiguous(expected);
    const limits l = limits_of(rule);
    cmp_result r = {.n = n, .n_allowed = allowed_points(rule, n), .worst_index = -1};
    float relative = 0;
    for (int64_t i = 0; i < n; i++) {
        const point p =
            read_point(actual, expected, a_flat ? i : tensor_offset(actual, i), e_flat ? i : tensor_offset(expected, i));
        const bool bad = is_bad(&p, rule->kind, &l, &relative);
        r.n_bad += bad;
        r.n_not_finite += !isfinite(p.a);
        track_worst(&r, i, &p, bad);
    }
    r.pass = passes(&r, rule->kind, &l, relative);
    *out = r;
    return DSV4_OK;
}

char *cmp_rule_text(const cmp_rule *rule, char *text, size_t size)
{
    char hard[48] = "";
    if (rule->hard > 0) {
        snprintf(hard, sizeof hard, ", none of them %g or more", rule->hard);
    }
    char allowed[48] = "";
    if (rule->budget > 0) {
        snprintf(allowed, sizeof allowed, ", up to %.4g %% bad", 100 * rule->budget);
    }
    switch (rule->kind) {
    case CMP_EXACT:
        snprintf(text, size, "same bits");
        break;
    case CMP_ALLCLOSE:
        snprintf(text, size, "|a-e| <= %.8g + %.8g*|e|%s", rule->atol, rule->rtol, allowed);
        break;
    case CMP_RATIO:
        snprintf(text, size, "|a-e| <= %.8g + %.8g*|e|, up to %.4g %% bad", rule->atol, rule->rtol, 100 * rule->budget);
        break;
    case CMP_RELDIFF:
        snprintf(text, size, "relative difference <= %.8g, up to %.4g %% bad%s", rule->atol, 100 * rule->budget, hard);
        break;
    case CMP_TOPK:
        snprintf(text, size, "scores descend and are those of e within %.8g + %.8g*|score|", rule->atol, rule->rtol);
        break;
    }
    return text;
}
