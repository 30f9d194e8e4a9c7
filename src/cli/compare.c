#include "cli/compare.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- what is compared --------------------------------------------------------------------------------------------------- */

/* An output, the one expected of it, and where both come from. */
typedef struct pair {
    const dsv4_op *op;
    const dsv4_config *config;
    const dsv4_tensor_list *io, *others; /* of actual; of expected */
    const op_tensor *row;
    dsv4_tensor actual, expected;
} pair;

/* Whether only the rows of valid tokens count. */
static bool counts_valid_tokens(const dsv4_op *op, const op_tensor *row)
{
    return op->valid_tokens != NULL && strncmp(row->shape, "T,", 2) == 0;
}

/* Leaves the rows of valid tokens; all where the call does not say how many there are. */
static dsv4_status cut_to_valid(pair *p, dsv4_error *err)
{
    const dsv4_tensor *t = dsv4_tensor_list_find(p->io, p->op->valid_tokens);
    double n = t != NULL ? dsv4_tensor_get(t, 0) : (double)p->actual.shape[0];
    if (n < 0 || n > (double)p->actual.shape[0]) {
        return dsv4_fail(err, DSV4_E_VALUE, "tensor %s: got %lld, expected 0 to %lld", p->op->valid_tokens, (long long)n,
                         (long long)p->actual.shape[0]);
    }
    if (p->expected.n_dims == p->actual.n_dims && p->expected.shape[0] == p->actual.shape[0]) {
        p->actual.shape[0] = p->expected.shape[0] = (int64_t)n;
    }
    return DSV4_OK;
}

/* What was added to every chosen row. */
static dsv4_status find_offset(const pair *p, int32_t *out, dsv4_error *err)
{
    const dsv4_tensor *t = dsv4_tensor_list_find(p->io, p->op->topk_offset);
    op_dims dims = op_dims_of_config(p->config);
    int n = 0;
    int64_t offset[DSV4_MAX_DIMS] = {0};
    dsv4_status status = DSV4_OK;
    if (t != NULL) {
        offset[0] = (int64_t)dsv4_tensor_get(t, 0);
    } else {
        status = op_bind(p->op, p->io, &dims, err);
        if (status == DSV4_OK) {
            status = op_eval_shape(p->op->topk_offset, &dims, &n, offset, err);
        }
    }
    if (status == DSV4_OK) {
        *out = (int32_t)offset[0];
    }
    return status;
}

static bool has_form(const dsv4_tensor *t, const dsv4_tensor *like)
{
    return t->dtype == like->dtype && t->n_dims == like->n_dims &&
           memcmp(t->shape, like->shape, (size_t)t->n_dims * sizeof *t->shape) == 0;
}

/* Rows chosen by their scores. Where expected has no scores, only the order is judged. */
static dsv4_status compare_topk(const pair *p, cmp_result *out, dsv4_error *err)
{
    const dsv4_tensor *a = &p->actual, *scores = dsv4_tensor_list_find(p->io, p->op->topk_scores),
                      *expected = dsv4_tensor_list_find(p->others, p->op->topk_scores);
    cmp_topk t = {.actual = a->data, .expected = p->expected.data, .actual_scores = scores->data};
    if (!has_form(&p->expected, a) || (expected != NULL && !has_form(expected, scores))) {
        return dsv4_fail(err, DSV4_E_SHAPE, "tensors %s and %s: dtype or shape differs from the expected", p->row->name,
                         p->op->topk_scores);
    }
    t.expected_scores = expected != NULL ? expected->data : NULL;
    t.k = t.row_stride = a->shape[a->n_dims - 1];
    t.rows = dsv4_tensor_count(a) / t.k;
    t.n_scores = scores->shape[scores->n_dims - 1];
    t.atol = p->row->rule.atol;
    t.rtol = p->row->rule.rtol;
    dsv4_status status = find_offset(p, &t.offset, err);
    return status == DSV4_OK ? cmp_topk_rows(&t, expected != NULL, out, err) : status;
}

/* The rule of a tensor in the form that it has: a quantised one may be off by one step where its rule allows any difference. */
static cmp_rule rule_of(const pair *p)
{
    cmp_rule rule = p->row->rule;
    if ((p->row->use & OP_OR_I8) != 0 && p->actual.dtype == DSV4_I8) {
        rule.atol = 1;
        rule.rtol = 0;
    }
    return rule;
}

static dsv4_status compare_pair(pair *p, cmp_result *out, dsv4_error *err)
{
    const cmp_rule rule = rule_of(p);
    dsv4_status status = counts_valid_tokens(p->op, p->row) ? cut_to_valid(p, err) : DSV4_OK;
    if (status != DSV4_OK) {
        return status;
    }
    return rule.kind == CMP_TOPK ? compare_topk(p, out, err) : cmp_tensors(p->row->name, &p->actual, &p->expected, &rule, out, err);
}

/* ---- what is told ------------------------------------------------------------------------------------------------------- */

char *compare_rule_text(const dsv4_op *op, const op_tensor *row, char *text, size_t size)
{
    cmp_rule_text(&row->rule, text, size);
    if (counts_valid_tokens(op, row)) {
        size_t used = strlen(text);
        snprintf(text + used, size - used, "; the first %s rows", op->valid_tokens);
    }
    return text;
}

/* Row-major index as "[3, 17, 500]". */
static const char *index_text(const dsv4_tensor *t, int64_t index, char *text, size_t size)
{
    int64_t at[DSV4_MAX_DIMS] = {0};
    for (int d = t->n_dims - 1; d >= 0; d--) {
        at[d] = index % t->shape[d];
        index /= t->shape[d];
    }
    dsv4_tensor position = *t; /* its shape is printed in place of the tensor's */
    memcpy(position.shape, at, sizeof at);
    return dsv4_tensor_shape_text(&position, text, size);
}

/* Of the longest name of an output. */
static int name_width(const dsv4_op *op)
{
    int width = 12;
    for (size_t i = 0; i < op->n_tensors; i++) {
        int length = (int)strlen(op->tensors[i].name);
        width = op_is_output(&op->tensors[i]) && length > width ? length : width;
    }
    return width;
}

static void print_result(const pair *p, const cmp_result *r)
{
    char rule[160], where[128];
    cli_print("  %s %-*s %lld of %lld over tolerance (%lld allowed), ", r->pass ? "PASS" : "FAIL", name_width(p->op), p->row->name,
              (long long)r->n_bad, (long long)r->n, (long long)r->n_allowed);
    if (r->worst_index >= 0) {
        cli_print("worst error %.3g at %s: got %.6g, expected %.6g", r->worst,
                  index_text(&p->actual, r->worst_index, where, sizeof where), r->worst_actual, r->worst_expected);
    } else {
        cli_print("all equal");
    }
    cli_print("%s%s\n", r->pass ? "" : "; tolerance ", r->pass ? "" : compare_rule_text(p->op, p->row, rule, sizeof rule));
}

static json_t *result_json(const op_tensor *row, const cmp_result *r)
{
    json_t *worst = isfinite(r->worst) ? json_real(r->worst) : json_null();
    return json_pack("{s:s, s:b, s:I, s:I, s:I, s:o, s:I}", "name", row->name, "pass", r->pass, "n", (json_int_t)r->n, "bad",
                     (json_int_t)r->n_bad, "allowed", (json_int_t)r->n_allowed, "worst", worst, "worst_index",
                     (json_int_t)r->worst_index);
}

dsv4_status compare_outputs(const dsv4_op *op, const dsv4_config *config, const dsv4_tensor_list *io,
                            const dsv4_tensor_list *expected, json_t *outputs, bool *pass, dsv4_error *err)
{
    *pass = true;
    for (size_t i = 0; i < op->n_tensors; i++) {
        const op_tensor *row = &op->tensors[i];
        const dsv4_tensor *a = dsv4_tensor_list_find(io, row->name), *e = dsv4_tensor_list_find(expected, row->name);
        cmp_result result;
        if (!op_is_output(row) || a == NULL) {
            continue;
        }
        if (e == NULL) {
            cli_print("  SKIP %-*s nothing to compare with\n", name_width(op), row->name);
            continue;
        }
        pair p = {op, config, io, expected, row, *a, *e};
        dsv4_status status = compare_pair(&p, &result, err);
        if (status != DSV4_OK) {
            return status;
        }
        print_result(&p, &result);
        json_array_append_new(outputs, result_json(row, &result));
        *pass = *pass && result.pass;
    }
    return DSV4_OK;
}
