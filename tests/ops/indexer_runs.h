/* ops/indexer_runs.h - what the tests of the indexer share: drawn steps, runs on tensors of their own, outputs compared. */
#ifndef OPS_INDEXER_RUNS_H
#define OPS_INDEXER_RUNS_H

#include "ops/pool.h"

#include <float.h>
#include <stdio.h>

#include "golden/golden.h"

/* A step to run: an operator and its inputs. */
typedef struct step {
    const dsv4_op *op;
    dsv4_config config;
    dsv4_tensor_list in;
} step;

/* The Hadamard matrix is drawn at random: there is none of most orders. */
static inline step draw_step(dsv4_mode mode, dsv4_config config, int64_t n_requests, int64_t n_tokens, int64_t start_pos)
{
    const op_call call = {mode, n_requests, n_tokens, start_pos, 4, false, 3};
    step s = {.op = find_op(mode == DSV4_DECODE ? "decode_indexer" : "prefill_indexer"), .config = config};
    op_tensor rows[OP_MAX_TENSORS];
    dsv4_op drawn = *s.op;
    dsv4_error err = {0};
    for (size_t i = 0; i < s.op->n_tensors; i++) {
        rows[i] = s.op->tensors[i];
        if (strcmp(rows[i].name, "hadamard") == 0) {
            rows[i].fixture = (fix_rule){FIX_CALL, 0, 0, "random_matrix"};
        }
    }
    drawn.tensors = rows;
    require_ok(op_draw_inputs(&drawn, &s.config, &call, &s.in, &err), &err);
    return s;
}

static inline int32_t *i32_of(const dsv4_tensor_list *list, const char *name)
{
    const dsv4_tensor t = get_tensor(list, name);
    assert_int_equal(t.dtype, DSV4_I32);
    return t.data;
}

/* The model tiny with an indexer of its own. */
static inline dsv4_config indexer_model(int64_t n_heads, int64_t head_dim, int64_t rope, int64_t topk)
{
    dsv4_config config = model(52, 36, 2, 80, rope);
    config.index_n_heads = n_heads;
    config.index_head_dim = head_dim;
    config.index_topk = topk;
    return config;
}

/* ---- runs --------------------------------------------------------------------------------------------------------------- */

static inline sealed seal_step(const step *s, dsv4_op_options options, dsv4_deps deps)
{
    return seal_rows(s->op, &s->config, &s->in, 0, 0, options, deps);
}

static inline sealed run_step(const step *s, dsv4_op_options options)
{
    return run_rows(s->op, &s->config, &s->in, 0, 0, options, pool);
}

static inline dsv4_op_options compat_options(const step *s, dsv4_compat compat)
{
    return (dsv4_op_options){.mode = (dsv4_mode)s->op->mode, .numerics.compat = compat};
}

/* ---- outputs ------------------------------------------------------------------------------------------------------------ */

static inline void assert_same_bits(const dsv4_tensor_list *a, const dsv4_tensor_list *b, const char *name, const char *what)
{
    const dsv4_tensor ta = get_tensor(a, name), tb = get_tensor(b, name);
    const int64_t n = count_bit_mismatches(&ta, &tb);
    if (n > 0) {
        fail_msg("%s: %d of %d elements of %s differ", what, (int)n, (int)dsv4_tensor_count(&ta), name);
    }
}

static inline void assert_same_outputs(const sealed *run, const sealed *reference, const char *what)
{
    assert_same_rows(run, reference, 0, what);
}

static inline int32_t offset_of(const step *s)
{
    const dsv4_tensor *offset = dsv4_tensor_list_find(&s->in, "offset");
    return offset != NULL ? *(const int32_t *)offset->data : (int32_t)(s->config.sliding_window + get_tensor(&s->in, "x").shape[0]);
}

static inline bool is_better(const float *score, int64_t row, int64_t than)
{
    return score[row] > score[than] || (score[row] == score[than] && row < than);
}

/* The chosen rows of one token are those that sorting its scores gives: larger first, of equal ones the smaller row. */
static inline void assert_choice(const float *score, int64_t columns, int64_t topk, const int32_t *chosen, int32_t offset)
{
    int64_t n_visible = 0, n_better = 0;
    for (int64_t c = 0; c < columns; c++) {
        n_visible += score[c] != -FLT_MAX;
    }
    const int64_t n = n_visible < topk ? n_visible : topk;
    for (int64_t k = 0; k < n; k++) {
        const int64_t row = (int64_t)chosen[k] - offset;
        assert_in_range(row, 0, n_visible - 1);
        assert_true(k == 0 || is_better(score, chosen[k - 1] - offset, row));
    }
    for (int64_t c = 0; c < n_visible && n > 0; c++) {
        n_better += is_better(score, c, chosen[n - 1] - offset);
    }
    assert_int_equal(n_better, n > 0 ? n - 1 : 0);
    for (int64_t k = n; k < columns; k++) {
        assert_int_equal(chosen[k], -1);
    }
}

static inline void assert_rows_follow_scores(const step *s, const sealed *run)
{
    const dsv4_tensor score = get_tensor(&run->io, "score");
    const int64_t columns = score.shape[score.n_dims - 1], T = dsv4_tensor_count(&score) / columns;
    const int32_t *chosen = i32_of(&run->io, "topk_idxs");
    for (int64_t t = 0; t < T; t++) {
        assert_choice((const float *)score.data + t * columns, columns, s->config.index_topk, chosen + t * columns, offset_of(s));
    }
}

#endif
