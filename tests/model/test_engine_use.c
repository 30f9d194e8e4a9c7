/* How an engine is used, rightly and wrongly: more tokens than the context has, drafts of sequences that are not what they were, many
 * sizes of steps. */
#include "model_files.h"

#include "model/engine.h"

enum { V = 512, CONTEXT = 300, STEP_TOKENS = 64 };

typedef struct running {
    model_weights *weights;
    dsv4_pool *pool;
    model_engine *engine;
    model_kv *kv;
} running;

static int32_t tokens[CONTEXT + 1];
static float logits[STEP_TOKENS * V], first[V];

static int start(void **state)
{
    static running r;
    model_checkpoint *c = NULL;
    model_engine_options options = {.n_sequences = 2, .context = CONTEXT, .step_tokens = STEP_TOKENS};
    dsv4_error err = {0};
    require_ok(model_numerics_find("official", &options.numerics, &err), &err);
    require_ok(dsv4_pool_create(1, &r.pool, &err), &err);
    require_ok(model_checkpoint_open(TINY_RANDOM, &c, &err), &err);
    require_ok(model_weights_pack(c, false, r.pool, NULL, &r.weights, &err), &err);
    model_checkpoint_close(c);
    require_ok(model_engine_create(r.weights, r.pool, &options, &r.engine, &err), &err);
    r.kv = model_engine_kv(r.engine);
    for (int i = 0; i <= CONTEXT; i++) {
        tokens[i] = i * i % V;
    }
    *state = &r;
    return 0;
}

static int stop(void **state)
{
    running *r = *state;
    model_engine_destroy(r->engine);
    model_weights_free(r->weights);
    dsv4_pool_destroy(r->pool);
    return 0;
}

static model_sequence *open_with(running *r, int64_t n)
{
    model_sequence *s = NULL;
    dsv4_error err = {0};
    require_ok(model_sequence_open(r->kv, &s, &err), &err);
    const model_feed feed = {.sequence = s, .tokens = tokens, .n_tokens = n};
    require_ok(n > 0 ? model_engine_step(r->engine, &feed, 1, &err) : DSV4_OK, &err);
    return s;
}

static void require_refusal(dsv4_status status, const dsv4_error *err, const char *text)
{
    assert_int_equal(status, DSV4_E_VALUE);
    if (strstr(err->text, text) == NULL) {
        fail_msg("got \"%s\", expected \"%s\" in it", err->text, text);
    }
}

static void the_context_is_the_end(void **state)
{
    running *r = *state;
    model_sequence *s = open_with(r, CONTEXT - 1);
    dsv4_error err = {0};
    const model_feed two = {.sequence = s, .tokens = tokens, .n_tokens = 2}, one = {.sequence = s, .tokens = tokens, .n_tokens = 1};
    require_refusal(model_engine_step(r->engine, &two, 1, &err), &err, "got 2 more, the context is 300");
    assert_int_equal(s->length, CONTEXT - 1);
    require_ok(model_engine_step(r->engine, &one, 1, &err), &err);
    require_refusal(model_engine_step(r->engine, &one, 1, &err), &err, "got 1 more, the context is 300");
    model_sequence_close(r->kv, s);
}

static dsv4_status draft(running *r, model_sequence *s, int64_t n, dsv4_error *err)
{
    const model_feed feed = {.sequence = s, .tokens = tokens + 1, .n_tokens = n, .n_logits = 1, .logits = logits};
    return model_engine_draft(r->engine, &feed, 1, err);
}

/* The latest step's streams are of one sequence as it was, not of whatever has its slot. */
static void drafts_are_of_their_sequence(void **state)
{
    running *r = *state;
    dsv4_error err = {0};
    model_sequence *s = open_with(r, 9), *fork = NULL;
    require_ok(draft(r, s, 9, &err), &err);
    require_ok(model_sequence_truncate(r->kv, s, 4, &err), &err);
    require_refusal(draft(r, s, 9, &err), &err, "got 9 tokens, the latest step left 4");
    require_ok(draft(r, s, 4, &err), &err);
    require_ok(model_sequence_truncate(r->kv, s, 0, &err), &err);
    require_refusal(draft(r, s, 1, &err), &err, "got 1 tokens, the latest step left 0");
    model_sequence_close(r->kv, s);
    s = open_with(r, 9);
    require_ok(model_sequence_fork(r->kv, s, &fork, &err), &err);
    require_refusal(draft(r, fork, 9, &err), &err, "the latest step left 0");
    const int slot = s->slot;
    model_sequence_close(r->kv, s);
    require_ok(model_sequence_fork(r->kv, fork, &s, &err), &err);
    assert_int_equal(s->slot, slot);
    require_refusal(draft(r, s, 9, &err), &err, "the latest step left 0");
    model_sequence_close(r->kv, s);
    model_sequence_close(r->kv, fork);
}

/* Drafts of two sequences at once are those of each alone, in any order, also where one takes back tokens. */
static void drafts_of_some_rows(void **state)
{
    enum { N_A = 5, N_B = 7, USED = 3 };
    static float alone_a[N_A * V], alone_b[N_B * V], got_a[N_A * V], got_b[N_B * V];
    running *r = *state;
    dsv4_error err = {0};
    model_sequence *a = open_with(r, 0), *b = open_with(r, 0);
    const int32_t *tokens_b = tokens + 100;
    const model_feed step[] = {{.sequence = a, .tokens = tokens, .n_tokens = N_A},
                               {.sequence = b, .tokens = tokens_b, .n_tokens = N_B}};
    const model_feed one_a = {a, tokens + 1, N_A, N_A, alone_a}, one_b = {b, tokens_b + 1, N_B, N_B, alone_b};
    require_ok(model_engine_step(r->engine, step, 2, &err), &err);
    require_ok(model_engine_draft(r->engine, &one_a, 1, &err), &err);
    require_ok(model_engine_draft(r->engine, &one_b, 1, &err), &err);
    const model_feed some_a = {a, tokens + 1, USED, USED, got_a}, all_a = {a, tokens + 1, N_A, N_A, got_a},
                     all_b = {b, tokens_b + 1, N_B, N_B, got_b}, last_b = {b, tokens_b + 1, N_B, 1, got_b};
    const model_feed runs[][2] = {{some_a, all_b}, {all_b, some_a}, {all_a, all_b}, {all_b, all_a}, {some_a, last_b}};
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        memset(got_a, 0, sizeof got_a);
        memset(got_b, 0, sizeof got_b);
        require_ok(model_engine_draft(r->engine, runs[i], 2, &err), &err);
        const int first_a = runs[i][0].sequence == a ? 0 : 1;
        const int64_t n_a = runs[i][first_a].n_tokens, n_b = runs[i][1 - first_a].n_logits;
        assert_memory_equal(got_a, alone_a, (size_t)n_a * V * sizeof *got_a);
        assert_memory_equal(got_b, alone_b + (N_B - n_b) * V, (size_t)n_b * V * sizeof *got_b);
        assert_int_equal(a->drafted, n_a);
        assert_int_equal(b->drafted, N_B);
    }
    require_ok(model_sequence_truncate(r->kv, a, 2, &err), &err);
    require_refusal(model_engine_draft(r->engine, runs[0], 2, &err), &err, "sequence 0: got 3 tokens, the latest step left 2");
    model_sequence_close(r->kv, a);
    model_sequence_close(r->kv, b);
}

/* The block's own keys of tokens that it has not seen are not there. */
static void drafts_leave_no_token_out(void **state)
{
    running *r = *state;
    dsv4_error err = {0};
    model_sequence *s = open_with(r, 9);
    const model_feed more = {.sequence = s, .tokens = tokens, .n_tokens = 3};
    require_ok(model_engine_step(r->engine, &more, 1, &err), &err);
    require_refusal(draft(r, s, 3, &err), &err, "is at token 9, the block has seen those before 0");
    model_sequence_close(r->kv, s);
}

/* More sizes than graphs are kept, and the first one again. */
static void steps_of_many_sizes(void **state)
{
    running *r = *state;
    dsv4_error err = {0};
    for (int64_t n = 1; n <= STEP_TOKENS; n *= 2) {
        for (int64_t n_logits = 0; n_logits <= n; n_logits = n_logits == 0 ? 1 : 2 * n_logits) {
            model_sequence *s = open_with(r, 0);
            const model_feed feed = {s, tokens, n, n_logits, logits};
            require_ok(model_engine_step(r->engine, &feed, 1, &err), &err);
            if (n == 1 && n_logits == 1) {
                memcpy(first, logits, sizeof first);
            }
            model_sequence_close(r->kv, s);
        }
    }
    model_sequence *s = open_with(r, 0);
    const model_feed feed = {s, tokens, 1, 1, logits};
    require_ok(model_engine_step(r->engine, &feed, 1, &err), &err);
    assert_memory_equal(logits, first, sizeof first);
    model_sequence_close(r->kv, s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_context_is_the_end), cmocka_unit_test(drafts_are_of_their_sequence),
        cmocka_unit_test(drafts_of_some_rows),    cmocka_unit_test(drafts_leave_no_token_out),
        cmocka_unit_test(steps_of_many_sizes),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
