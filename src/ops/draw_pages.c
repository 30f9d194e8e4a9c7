/* ops/draw_pages.c - page tables, and the slots of a call's tokens through them (SPEC 0.3, 8). */
#include <assert.h>
#include <string.h>

#include "ops/bind.h"
#include "ops/draw.h"

/* ---- tables ------------------------------------------------------------------------------------------------------------- */

/* Pages of a request: as many as its row of the table has entries, or as the symbol behind the recipe's colon gives it. */
static int64_t pages_of_request(const op_target *x)
{
    const int symbol = op_find_symbol(x->argument, strlen(x->argument));
    assert(x->argument[0] == '\0' || symbol < OP_N_SYMBOLS);
    return symbol == OP_N_SYMBOLS ? fix_columns(x->t) : x->d->dims.of[symbol] / x->d->dims.of[OP_B];
}

/* Entry j of request b is page (step*j + offset) mod n of its n pages: where a table has more entries, pages are used in turn. */
static void fill_table(const op_target *x, int64_t n, int64_t step, int64_t offset)
{
    const int64_t n_cols = fix_columns(x->t);
    for (int64_t i = 0; i < dsv4_tensor_count(x->t); i++) {
        ((int32_t *)x->t->data)[i] = (int32_t)(i / n_cols * n + (step * (i % n_cols) + offset) % n);
    }
}

dsv4_status op_draw_table(const op_target *x, dsv4_error *err)
{
    (void)err;
    fill_table(x, pages_of_request(x), 1, 0);
    return DSV4_OK;
}

static int64_t common_divisor(int64_t a, int64_t b)
{
    return b == 0 ? a : common_divisor(b, a % b);
}

/* The step is the first number from a on that shares no divisor with the number of pages: so that every page occurs. */
dsv4_status op_draw_table_permuted(const op_target *x, dsv4_error *err)
{
    const int64_t n = pages_of_request(x);
    int64_t step = (int64_t)x->row->fixture.a;
    (void)err;
    while (common_divisor(step, n) != 1) {
        step++;
    }
    fill_table(x, n, step, (int64_t)x->row->fixture.b);
    return DSV4_OK;
}

/* Pages 0 and 31, or the last, of each request change places. */
dsv4_status op_draw_table_swapped(const op_target *x, dsv4_error *err)
{
    const int64_t n = pages_of_request(x), other = n - 1 < 31 ? n - 1 : 31;
    (void)err;
    fill_table(x, n, 1, 0);
    for (int64_t i = 0; i < dsv4_tensor_count(x->t); i++) {
        int32_t *entry = (int32_t *)x->t->data + i;
        *entry += (int32_t)(*entry % n == 0 ? other : *entry % n == other ? -other : 0);
    }
    return DSV4_OK;
}

/* ---- rows through tables ------------------------------------------------------------------------------------------------- */

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static dsv4_status pages_through(const op_target *x, op_symbol page, op_page_map *out, dsv4_error *err)
{
    const dsv4_tensor *table = dsv4_tensor_list_find(x->d->list, x->argument);
    if (table == NULL || table->dtype != DSV4_I32 || table->n_dims < 1) {
        return dsv4_fail(err, DSV4_E_NOT_FOUND, "tensor %s: its fixture names the table \"%s\", expected an I32 input",
                         x->row->name, x->argument);
    }
    const int64_t n_cols = fix_columns(table);
    *out = (op_page_map){table->data, n_cols > 0 ? dsv4_tensor_count(table) / n_cols : 0, n_cols, x->d->dims.of[page]};
    return DSV4_OK;
}

dsv4_status op_cache_pages(const op_target *x, op_page_map *out, dsv4_error *err)
{
    const int64_t *dim = x->d->dims.of;
    if (x->argument[0] != '\0') {
        return pages_through(x, OP_BS, out, err);
    }
    *out = (op_page_map){NULL, dim[OP_B], dim[starts_with(x->row->name, "idx_") ? OP_IPR : OP_CPR], dim[OP_BS]};
    return DSV4_OK;
}

dsv4_status op_state_pages(const op_target *x, op_page_map *out, dsv4_error *err)
{
    return pages_through(x, starts_with(x->argument, "inner_") ? OP_JR : OP_SR, out, err);
}

int64_t op_page_map_row(const op_page_map *pages, int64_t b, int64_t i)
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
    op_page_map pages;
    const dsv4_status status = op_state_pages(x, &pages, err);
    for (int64_t t = 0; t < dsv4_tensor_count(x->t) && status == DSV4_OK; t++) {
        ((int64_t *)x->t->data)[t] = op_page_map_row(&pages, t / x->d->dims.of[OP_S], op_position(x->d, t));
    }
    return status;
}

/* Of tokens that end a window of a positions; -1 for the others. */
dsv4_status op_draw_cache_slots(const op_target *x, dsv4_error *err)
{
    const int64_t ratio = op_target_ratio(x);
    op_page_map pages;
    const dsv4_status status = op_cache_pages(x, &pages, err);
    for (int64_t t = 0; t < dsv4_tensor_count(x->t) && status == DSV4_OK; t++) {
        const int64_t position = op_position(x->d, t);
        const bool ends_window = ratio > 0 && (position + 1) % ratio == 0;
        ((int64_t *)x->t->data)[t] = ends_window ? op_page_map_row(&pages, t / x->d->dims.of[OP_S], position / ratio) : -1;
    }
    return status;
}

dsv4_status op_draw_ring_slots(const op_target *x, dsv4_error *err)
{
    op_page_map pages;
    const dsv4_status status = op_cache_pages(x, &pages, err);
    for (int64_t t = 0; t < dsv4_tensor_count(x->t) && status == DSV4_OK; t++) {
        ((int64_t *)x->t->data)[t] = op_page_map_row(&pages, t / x->d->dims.of[OP_S], op_position(x->d, t) % x->d->dims.of[OP_W]);
    }
    return status;
}
