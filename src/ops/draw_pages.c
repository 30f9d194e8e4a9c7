/* ops/draw_pages.c - page tables, and the slots of a call's tokens through them (SPEC 0.3, 8). */
#include <string.h>

#include "ops/draw.h"

/* ---- tables ------------------------------------------------------------------------------------------------------------- */

dsv4_status op_draw_table(const op_target *x, dsv4_error *err)
{
    int32_t *entry = x->t->data;
    (void)err;
    for (int64_t i = 0; i < dsv4_tensor_count(x->t); i++) {
        entry[i] = (int32_t)i;
    }
    return DSV4_OK;
}

static int64_t common_divisor(int64_t a, int64_t b)
{
    return b == 0 ? a : common_divisor(b, a % b);
}

/* Entry j is (step*j + b) mod n, step the first number from a on that shares no divisor with n: so that every page occurs once. */
dsv4_status op_draw_table_permuted(const op_target *x, dsv4_error *err)
{
    const int64_t n = dsv4_tensor_count(x->t), offset = (int64_t)x->row->fixture.b;
    int64_t step = (int64_t)x->row->fixture.a;
    int32_t *entry = x->t->data;
    (void)err;
    while (common_divisor(step, n) != 1) {
        step++;
    }
    for (int64_t j = 0; j < n; j++) {
        entry[j] = (int32_t)((step * j + offset) % n);
    }
    return DSV4_OK;
}

dsv4_status op_draw_table_swapped(const op_target *x, dsv4_error *err)
{
    const int64_t n_cols = fix_columns(x->t), other = n_cols - 1 < 31 ? n_cols - 1 : 31;
    const dsv4_status status = op_draw_table(x, err);
    for (int64_t first = 0; first < dsv4_tensor_count(x->t); first += n_cols) {
        int32_t *entry = (int32_t *)x->t->data + first, moved = entry[0];
        entry[0] = entry[other];
        entry[other] = moved;
    }
    return status;
}

/* ---- rows through tables ------------------------------------------------------------------------------------------------- */

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static dsv4_status pages_through(const op_target *x, op_symbol page, op_pages *out, dsv4_error *err)
{
    const dsv4_tensor *table = dsv4_tensor_list_find(x->d->list, x->argument);
    if (table == NULL || table->dtype != DSV4_I32 || table->n_dims < 1) {
        return dsv4_fail(err, DSV4_E_NOT_FOUND, "tensor %s: its fixture names the table \"%s\", expected an I32 input",
                         x->row->name, x->argument);
    }
    const int64_t n_cols = fix_columns(table);
    *out = (op_pages){table->data, n_cols > 0 ? dsv4_tensor_count(table) / n_cols : 0, n_cols, x->d->dims.of[page]};
    return DSV4_OK;
}

dsv4_status op_cache_pages(const op_target *x, op_pages *out, dsv4_error *err)
{
    const int64_t *dim = x->d->dims.of;
    if (x->argument[0] != '\0') {
        return pages_through(x, OP_BS, out, err);
    }
    *out = (op_pages){NULL, dim[OP_B], dim[starts_with(x->row->name, "idx_") ? OP_IPR : OP_CPR], dim[OP_BS]};
    return DSV4_OK;
}

dsv4_status op_state_pages(const op_target *x, op_pages *out, dsv4_error *err)
{
    return pages_through(x, starts_with(x->argument, "inner_") ? OP_JR : OP_SR, out, err);
}

int64_t op_pages_row(const op_pages *pages, int64_t b, int64_t i)
{
    if (b >= pages->n_requests || i / pages->page >= pages->n_cols) {
        return -1;
    }
    const int64_t entry = b * pages->n_cols + i / pages->page, page = pages->table != NULL ? pages->table[entry] : entry;
    return page * pages->page + i % pages->page;
}

/* ---- slots --------------------------------------------------------------------------------------------------------------- */

dsv4_status op_draw_state_slots(const op_target *x, dsv4_error *err)
{
    op_pages pages;
    const dsv4_status status = op_state_pages(x, &pages, err);
    for (int64_t t = 0; t < dsv4_tensor_count(x->t) && status == DSV4_OK; t++) {
        ((int64_t *)x->t->data)[t] = op_pages_row(&pages, t / x->d->dims.of[OP_S], op_position(x->d, t));
    }
    return status;
}

/* Of tokens that end a window of a positions; -1 for the others. */
dsv4_status op_draw_cache_slots(const op_target *x, dsv4_error *err)
{
    const int64_t ratio = op_target_ratio(x);
    op_pages pages;
    const dsv4_status status = op_cache_pages(x, &pages, err);
    for (int64_t t = 0; t < dsv4_tensor_count(x->t) && status == DSV4_OK; t++) {
        const int64_t position = op_position(x->d, t);
        const bool ends_window = ratio > 0 && (position + 1) % ratio == 0;
        ((int64_t *)x->t->data)[t] = ends_window ? op_pages_row(&pages, t / x->d->dims.of[OP_S], position / ratio) : -1;
    }
    return status;
}

dsv4_status op_draw_ring_slots(const op_target *x, dsv4_error *err)
{
    op_pages pages;
    const dsv4_status status = op_cache_pages(x, &pages, err);
    for (int64_t t = 0; t < dsv4_tensor_count(x->t) && status == DSV4_OK; t++) {
        ((int64_t *)x->t->data)[t] = op_pages_row(&pages, t / x->d->dims.of[OP_S], op_position(x->d, t) % x->d->dims.of[OP_W]);
    }
    return status;
}
