/* Which graphs a run needs. */
#include "require.h"

#include "model/step_sizes.h"

enum { TRUNK = MODEL_GRAPH_TRUNK, DRAFT = MODEL_GRAPH_DRAFT, END = -1 };

typedef struct wanted {
    int kind;
    int64_t T, n_logits;
} wanted;

static void rows_are_rounded(void **state)
{
    static const int64_t rows[][2] = {{1, 1}, {2, 2}, {3, 4}, {9, 16}, {16, 16}, {17, 64}, {64, 64}, {65, 200}, {200, 200}};
    const model_engine_options o = {.step_tokens = 200};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(model_step_size_for(&o, MODEL_GRAPH_TRUNK, rows[i][0], 0).T, rows[i][1]);
    }
    const model_step_size s = model_step_size_for(&o, MODEL_GRAPH_DRAFT, 10, 3);
    assert_true(s.kind == MODEL_GRAPH_DRAFT && s.T == 16 && s.n_logits == 4);
    assert_int_equal(model_step_size_for(&o, MODEL_GRAPH_TRUNK, 200, 150).n_logits, 200);
}

static void runs_need_these(void **state)
{
    static const struct {
        int64_t step_tokens, step_logits, prompt;
        bool drafts;
        wanted sizes[MODEL_MAX_STEP_SIZES + 1];
    } runs[] = {
        {256, 0, 0, false, {{TRUNK, 256, 0}, {TRUNK, 256, 1}, {TRUNK, 1, 1}, {END, 0, 0}}},
        {256, 0, 1000, false, {{TRUNK, 256, 0}, {TRUNK, 256, 1}, {TRUNK, 1, 1}, {END, 0, 0}}},
        {256, 0, 512 + 9, false, {{TRUNK, 256, 0}, {TRUNK, 16, 1}, {TRUNK, 1, 1}, {END, 0, 0}}},
        {256, 0, 256, false, {{TRUNK, 256, 1}, {TRUNK, 1, 1}, {END, 0, 0}}},
        {9, 0, 9, false, {{TRUNK, 9, 1}, {TRUNK, 1, 1}, {END, 0, 0}}},
        {1, 0, 7, false, {{TRUNK, 1, 0}, {TRUNK, 1, 1}, {END, 0, 0}}},
        {100, 100, 250, false, {{TRUNK, 100, 100}, {TRUNK, 64, 64}, {TRUNK, 1, 1}, {END, 0, 0}}},
        {64,
         0,
         130,
         true,
         {{TRUNK, 64, 0}, {TRUNK, 2, 1}, {TRUNK, 1, 1}, {TRUNK, 2, 2}, {DRAFT, 64, 0}, {DRAFT, 2, 1}, {DRAFT, 1, 1}, {END, 0, 0}}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        const model_engine_options o = {.step_tokens = runs[i].step_tokens, .step_logits = runs[i].step_logits};
        model_step_size sizes[MODEL_MAX_STEP_SIZES];
        const int n = model_step_sizes(&o, runs[i].drafts, runs[i].prompt, sizes);
        for (int j = 0; j < n; j++) {
            const wanted *w = &runs[i].sizes[j];
            assert_true((int)sizes[j].kind == w->kind && sizes[j].T == w->T && sizes[j].n_logits == w->n_logits);
        }
        assert_int_equal(runs[i].sizes[n].kind, END);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_rounded),
        cmocka_unit_test(runs_need_these),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
