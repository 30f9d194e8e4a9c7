/* The graphs of whole steps: layers whose rooms of memory take turns, all declarations checked by dsv4_graph_verify, which runs every
 * block twice, with noise in what it did not declare. */
#include "running.h"

#include "model/graph.h"
#include "sanitized.h"

enum { N_TOKENS = 6, CONTEXT = 64 };

static const int32_t tokens[N_TOKENS + 1] = {1, 17, 130, 4, 4, 255, 99};

static void verify_latest(const running *r, int64_t least_stages, uint64_t seed)
{
    const model_graph *graph = model_engine_latest_graph(r->engine);
    dsv4_error err = {0};
    int64_t n_findings = 0;
    assert_non_null(graph);
    assert_true(dsv4_graph_get_info(graph->g).n_stages > least_stages);
    require_ok(dsv4_graph_verify(graph->g, seed, &n_findings, &err), &err);
    assert_int_equal(n_findings, 0);
}

static void steps_declare_what_they_touch(void **state)
{
    (void)state;
    static const char *const numerics[] = {"w8a8", "official"};
    if (SANITIZED) { /* ten seconds, of which each operator's own test shows every access */
        skip();
    }
    for (int i = 0; i < 2; i++) {
        static float logits[N_TOKENS * 512];
        running r = running_start(TINY_RANDOM, numerics[i], 2,
                                  (model_engine_options){.n_sequences = 2, .context = CONTEXT, .step_tokens = N_TOKENS});
        model_sequence *s = NULL;
        dsv4_error err = {0};
        require_ok(model_sequence_open(model_engine_kv(r.engine), &s, &err), &err);
        const model_feed all = {s, tokens, N_TOKENS, N_TOKENS, logits};
        require_ok(model_engine_step(r.engine, &all, 1, &err), &err);
        verify_latest(&r, 100, 3);
        const model_feed draft = {s, tokens + 1, N_TOKENS, N_TOKENS, logits};
        require_ok(model_engine_draft(r.engine, &draft, 1, &err), &err);
        verify_latest(&r, 20, 4);
        running_stop(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(steps_declare_what_they_touch)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
