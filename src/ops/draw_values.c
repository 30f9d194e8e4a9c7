/* ops/draw_values.c - recipes whose values depend on nothing but the tensor's name and shape (SPEC 8). */
#include <math.h>

#include "ops/draw.h"

static dsv4_status fill(const op_target *x, fix_rule rule, dsv4_error *err)
{
    return fix_fill(x->row->name, &rule, x->d->call->seed, x->t, NULL, err);
}

static double first_extent(const dsv4_tensor *t)
{
    return t->n_dims > 0 ? (double)t->shape[0] : 1;
}

static double last_extent(const dsv4_tensor *t)
{
    return (double)fix_columns(t);
}

dsv4_status op_draw_hadamard(const op_target *x, dsv4_error *err)
{
    return fix_fill_hadamard(x->row->name, x->t, err);
}

/* U(0, 1) / sqrt(columns). */
dsv4_status op_draw_random_matrix(const op_target *x, dsv4_error *err)
{
    return fill(x, (fix_rule){FIX_UNIFORM, 0, 1 / sqrt(last_extent(x->t)), NULL}, err);
}

/* a / sqrt(K): K inputs are the last extent, or the first one where b is 1. */
static double fan_in_scale(const op_target *x)
{
    return x->row->fixture.a / sqrt(x->row->fixture.b == 1 ? first_extent(x->t) : last_extent(x->t));
}

dsv4_status op_draw_uniform_fan_in(const op_target *x, dsv4_error *err)
{
    const double a = fan_in_scale(x);
    return fill(x, (fix_rule){FIX_UNIFORM, -a, a, NULL}, err);
}

dsv4_status op_draw_normal_fan_in(const op_target *x, dsv4_error *err)
{
    return fill(x, (fix_rule){FIX_NORMAL, 0, fan_in_scale(x), NULL}, err);
}

static dsv4_tensor *scale_of(const op_target *x)
{
    return dsv4_tensor_list_find(x->d->list, x->argument);
}

/* U(-a, a) / sqrt(K), or N(-a) / sqrt(K) where a is negative, over K inputs; output channels are columns, or rows where b is 1. */
dsv4_status op_draw_wq(const op_target *x, dsv4_error *err)
{
    const bool per_row = x->row->fixture.b == 1;
    const double a = x->row->fixture.a, root = sqrt(per_row ? last_extent(x->t) : first_extent(x->t));
    const fix_rule uniform = {FIX_UNIFORM, -a / root, a / root, NULL}, normal = {FIX_NORMAL, 0, -a / root, NULL};
    return fix_fill_weight(x->row->name, a > 0 ? &uniform : &normal, per_row ? FIX_PER_ROW : FIX_PER_COLUMN, x->d->call->seed, x->t,
                           scale_of(x), err);
}

dsv4_status op_draw_mx8(const op_target *x, dsv4_error *err)
{
    return fix_fill_mx8(x->row->name, x->argument, x->row->fixture.a, x->row->fixture.b, x->d->call->seed, x->t, scale_of(x), err);
}

dsv4_status op_draw_mx4(const op_target *x, dsv4_error *err)
{
    return fix_fill_mx4(x->row->name, x->row->fixture.a, x->d->call->seed, x->t, scale_of(x), err);
}

dsv4_status op_draw_mx4_codes(const op_target *x, dsv4_error *err)
{
    return fix_fill_mx4_codes(x->row->name, x->row->fixture.a, x->d->call->seed, x->t, scale_of(x), err);
}

/* U(0, 1), or N(a) where a is positive. */
dsv4_status op_draw_rq(const op_target *x, dsv4_error *err)
{
    const double a = x->row->fixture.a;
    const fix_rule rule = {a > 0 ? FIX_NORMAL : FIX_UNIFORM, 0, a > 0 ? a : 1, NULL};
    return fix_fill_quantised_rows(x->row->name, &rule, x->d->call->seed, x->t, scale_of(x), err);
}

dsv4_status op_draw_unit_rows(const op_target *x, dsv4_error *err)
{
    return fix_fill_unit_rows(x->row->name, x->d->call->seed, x->t, err);
}

dsv4_status op_draw_hc(const op_target *x, dsv4_error *err)
{
    return fix_fill_hc(x->row->name, x->argument, x->d->dims.of[OP_M], x->d->call->seed, x->t, err);
}

dsv4_status op_draw_hc_post(const op_target *x, dsv4_error *err)
{
    return fix_fill_hc_post(x->row->name, x->d->call->seed, x->t, err);
}

dsv4_status op_draw_hc_comb(const op_target *x, dsv4_error *err)
{
    return fix_fill_hc_comb(x->row->name, x->d->dims.of[OP_M], x->d->call->seed, x->t, err);
}
