/* ops/made.h - operators that are nothing but a table of inputs to draw. */
#ifndef OPS_MADE_H
#define OPS_MADE_H

#include "ops/support.h"
#include "ops/table.h"

/* A row whose input is made by a recipe. */
#define MADE(name, dtype, shape, a, b, recipe) ROW_IN(name, dtype, shape, "", DRAW_BY(recipe, a, b))

#define ROWS(rows) rows, sizeof(rows) / sizeof *(rows)

/* The operator's name decides its default positions, ratio its dimensions. */
static inline dsv4_op op_of(const char *name, dsv4_mode mode, int ratio, const op_tensor *rows, size_t n)
{
    return (dsv4_op){.name = name, .family = "drawn", .mode = (int)mode, .ratio = ratio, .tensors = rows, .n_tensors = n};
}

static inline op_call call_of(dsv4_mode mode, int64_t n_requests, int64_t n_tokens, int64_t start_pos)
{
    return (op_call){.mode = mode, .n_requests = n_requests, .n_tokens = n_tokens, .start_pos = start_pos, .seed = 5};
}

static inline dsv4_tensor_list draw(const dsv4_op *op, const dsv4_config *config, const op_call *call)
{
    dsv4_tensor_list list = {0};
    dsv4_error err = {0};
    require_ok(op_draw_inputs(op, config, call, &list, &err), &err);
    return list;
}

/* ---- expectations -------------------------------------------------------------------------------------------------------- */

static inline void expect_values(const dsv4_tensor_list *list, const char *name, int64_t first, const int64_t *expected, int64_t n)
{
    const dsv4_tensor t = get_tensor(list, name);
    assert_true(first + n <= dsv4_tensor_count(&t));
    for (int64_t i = 0; i < n; i++) {
        const int64_t got = (int64_t)dsv4_tensor_get(&t, first + i);
        if (got != expected[i]) {
            fail_msg("%s[%d]: got %d, expected %d", name, (int)(first + i), (int)got, (int)expected[i]);
        }
    }
}

/* Elements from `first` on. */
#define EXPECT_VALUES(list, name, first, ...)                        \
    expect_values(list, name, first, (const int64_t[]){__VA_ARGS__}, \
                  (int64_t)(sizeof(const int64_t[]){__VA_ARGS__} / sizeof(int64_t)))

#endif
