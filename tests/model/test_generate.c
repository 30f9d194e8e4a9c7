/* The loop that generates, over a fake engine whose every logit depends on every token: against the plain loop. */
#include "require.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fake_engine.h"
#include "model/generate.h"

enum { PROMPT = 23, MAX_TOKENS = 100 };

typedef struct notes {
    int64_t n_tokens, enough_at; /* 0: never */
    int32_t tokens[MAX_TOKENS];
    double logprobs[MAX_TOKENS];
    int64_t progress_done, progress_all, n_progress;
    volatile sig_atomic_t *stop; /* set by progress */
} notes;

static void note_progress(void *context, int64_t n_done, int64_t n)
{
    notes *o = context;
    assert_true(n_done > o->progress_done);
    o->progress_done = n_done;
    o->progress_all = n;
    o->n_progress++;
    if (o->stop != NULL) {
        *o->stop = 1;
    }
}

static bool note_token(void *context, const model_token *token)
{
    notes *o = context;
    if (token->n_best > 0) {
        assert_true(token->best[0].logprob >= token->logprob);
    }
    o->logprobs[o->n_tokens] = token->logprob;
    o->tokens[o->n_tokens++] = token->id;
    return o->n_tokens != o->enough_at;
}

typedef struct fixture {
    model_engine engine;
    model_generation g;
    notes notes;
    int32_t tokens[PROMPT + MAX_TOKENS];
    int64_t n;
    model_generated out;
} fixture;

static void setup(fixture *f, int64_t chunk, bool speculate, const model_sampler_options *options)
{
    dsv4_error err = {0};
    memset(f, 0, sizeof *f);
    fake_engine_init(&f->engine, 50);
    f->g = (model_generation){.engine = &f->engine,
                              .chunk = chunk,
                              .context = FAKE_LENGTH,
                              .max_tokens = MAX_TOKENS,
                              .end_token = -1,
                              .speculate = speculate,
                              .logprobs = true,
                              .n_best = 2,
                              .listener = {&f->notes, note_progress, note_token}};
    require_ok(model_sampler_create(FAKE_VOCABULARY, options, &f->g.sampler, &err), &err);
    for (; f->n < PROMPT; f->n++) {
        f->tokens[f->n] = (int32_t)(f->n * 7 % FAKE_VOCABULARY);
    }
}

static void generate(fixture *f)
{
    dsv4_error err = {0};
    require_ok(model_generate(&f->g, &f->engine.sequence, f->tokens, &f->n, &f->out, &err), &err);
}

static void teardown(fixture *f)
{
    /* what the sequence and the draft block have read is what the list has */
    assert_true(f->engine.sequence.length <= f->n);
    assert_memory_equal(f->engine.tokens, f->tokens, (size_t)f->engine.sequence.length * sizeof *f->tokens);
    for (int64_t p = 0; p < f->engine.sequence.drafted; p++) {
        assert_int_equal(f->engine.behind[p], f->tokens[p + 1]);
    }
    model_sampler_destroy(f->g.sampler);
}

/* What must come out, token by token. */
static void expect(const model_sampler_options *options, int64_t n_prompt, int64_t n, int32_t *tokens)
{
    model_sampler *s = NULL;
    dsv4_error err = {0};
    require_ok(model_sampler_create(FAKE_VOCABULARY, options, &s, &err), &err);
    for (int64_t i = 0; i < n_prompt; i++) {
        model_sampler_see(s, tokens[i], false);
    }
    for (int64_t i = n_prompt; i < n; i++) {
        float logits[FAKE_VOCABULARY];
        fake_logits(tokens, i, logits);
        require_ok(model_sampler_choose(s, logits, i, &tokens[i], &err), &err);
        model_sampler_see(s, tokens[i], true);
    }
    model_sampler_destroy(s);
}

static const model_sampler_options samplers[] = {
    {.top_p = 1, .repetition = 1},
    {.temperature = 1, .top_p = 0.9, .min_p = 0.01, .repetition = 1.2, .frequency = 0.3, .seed = 5},
};

/* ---- the same tokens ---------------------------------------------------------------------------------------------------- */

static void test_same_tokens(void **state)
{
    (void)state;
    static const int64_t chunks[] = {1, 2, 7, 22, 23, 50};
    for (size_t s = 0; s < sizeof samplers / sizeof *samplers; s++) {
        for (size_t c = 0; c < 2 * sizeof chunks / sizeof *chunks; c++) {
            fixture f;
            int32_t expected[PROMPT + MAX_TOKENS];
            const bool speculate = c % 2 != 0;
            setup(&f, chunks[c / 2], speculate, &samplers[s]);
            memcpy(expected, f.tokens, sizeof expected);
            expect(&samplers[s], PROMPT, PROMPT + MAX_TOKENS, expected);
            generate(&f);
            assert_int_equal(f.n, PROMPT + MAX_TOKENS);
            assert_memory_equal(f.tokens, expected, sizeof expected);
            assert_int_equal(f.notes.n_tokens, MAX_TOKENS);
            assert_memory_equal(f.notes.tokens, expected + PROMPT, sizeof f.notes.tokens);
            assert_int_equal(f.out.end, MODEL_END_LENGTH);
            assert_int_equal(f.out.n_prefilled, PROMPT);
            assert_int_equal(f.out.n_decoded, MAX_TOKENS - 1);
            assert_int_equal(f.notes.progress_done, PROMPT);
            assert_int_equal(f.notes.progress_all, PROMPT);
            assert_int_equal(f.notes.n_progress, (PROMPT + chunks[c / 2] - 1) / chunks[c / 2]);
            assert_int_equal(f.engine.sequence.length, PROMPT + MAX_TOKENS - 1);
            assert_int_equal(f.out.n_steps + f.out.n_accepted, MAX_TOKENS - 1);
            if (speculate) {
                assert_in_range(f.out.n_accepted, f.out.n_drafted / 4, f.out.n_drafted - 1);
                assert_int_equal(f.engine.n_fed, PROMPT + f.out.n_steps + f.out.n_drafted);
            } else {
                assert_int_equal(f.out.n_drafted + f.engine.n_draft_rows, 0);
                assert_int_equal(f.engine.n_fed, PROMPT + MAX_TOKENS - 1);
            }
            teardown(&f);
        }
    }
}

static void test_perfect_and_useless_drafts(void **state)
{
    (void)state;
    fixture f;
    setup(&f, 8, true, &samplers[0]);
    f.engine.draft_error = INT64_MAX;
    generate(&f);
    assert_int_equal(f.out.n_accepted, f.out.n_drafted);
    assert_int_equal(f.out.n_steps, MAX_TOKENS / 2);
    teardown(&f);
    setup(&f, 8, true, &samplers[0]);
    f.engine.draft_error = 1;
    generate(&f);
    assert_in_range(f.out.n_accepted, 0, MAX_TOKENS / 8);
    teardown(&f);
}

static void test_logprobs(void **state)
{
    (void)state;
    fixture f;
    setup(&f, 8, true, &samplers[1]);
    generate(&f);
    for (int64_t i = 0; i < MAX_TOKENS; i++) {
        float logits[FAKE_VOCABULARY];
        double sum = 0;
        fake_logits(f.tokens, PROMPT + i, logits);
        for (int v = 0; v < FAKE_VOCABULARY; v++) {
            sum += exp((double)logits[v]);
        }
        assert_true(fabs(f.notes.logprobs[i] - (logits[f.tokens[PROMPT + i]] - log(sum))) < 1e-9);
    }
    teardown(&f);
}

/* ---- ends ----------------------------------------------------------------------------------------------------------------- */

static void test_ends(void **state)
{
    (void)state;
    for (int speculate = 0; speculate < 2; speculate++) {
        int32_t expected[PROMPT + MAX_TOKENS];
        fixture f;
        setup(&f, 8, speculate, &samplers[0]);
        memcpy(expected, f.tokens, sizeof expected);
        expect(&samplers[0], PROMPT, PROMPT + MAX_TOKENS, expected);
        teardown(&f);
        for (int64_t n = 0; n <= 12; n++) { /* tokens until the end */
            setup(&f, 8, speculate, &samplers[0]);
            f.g.max_tokens = n;
            generate(&f);
            assert_int_equal(f.out.end, MODEL_END_LENGTH);
            assert_int_equal(f.n, PROMPT + n);
            assert_int_equal(f.engine.sequence.length, n == 0 ? PROMPT : PROMPT + n - 1);
            teardown(&f);
            if (n == 0) {
                continue;
            }
            setup(&f, 8, speculate, &samplers[0]);
            f.notes.enough_at = n;
            generate(&f);
            assert_int_equal(f.out.end, MODEL_END_ENOUGH);
            assert_int_equal(f.n, PROMPT + n);
            assert_int_equal(f.notes.n_tokens, n);
            teardown(&f);
            setup(&f, 8, speculate, &samplers[0]);
            f.g.context = PROMPT + n - 1; /* the last one generated is not read */
            generate(&f);
            assert_int_equal(f.out.end, MODEL_END_CONTEXT);
            assert_int_equal(f.n, PROMPT + n);
            assert_memory_equal(f.tokens, expected, (size_t)f.n * sizeof *expected);
            teardown(&f);
            setup(&f, 8, speculate, &samplers[0]);
            f.g.end_token = expected[PROMPT + n - 1];
            generate(&f);
            assert_int_equal(f.out.end, MODEL_END_TOKEN);
            assert_true(f.n <= PROMPT + n);
            for (int64_t i = PROMPT; i < f.n; i++) {
                assert_int_equal(f.tokens[i] == f.g.end_token, i == f.n - 1);
            }
            teardown(&f);
        }
    }
}

static void test_stop_flag(void **state)
{
    (void)state;
    volatile sig_atomic_t stop = 1;
    fixture f;
    setup(&f, 8, true, &samplers[0]);
    f.g.stop = &stop;
    generate(&f);
    assert_int_equal(f.out.end, MODEL_END_STOPPED);
    assert_int_equal(f.engine.n_steps + f.out.n_tokens, 0);
    stop = 0;
    f.notes.stop = &stop;
    generate(&f); /* one chunk */
    assert_int_equal(f.out.end, MODEL_END_STOPPED);
    assert_int_equal(f.engine.sequence.length, 8);
    assert_int_equal(f.n, PROMPT);
    teardown(&f);
}

static void test_failures(void **state)
{
    (void)state;
    for (int64_t step = 1; step < 9; step++) { /* three of prefill */
        fixture f;
        dsv4_error err = {0};
        setup(&f, 8, true, &samplers[0]);
        f.engine.fails_at = step;
        assert_int_equal(model_generate(&f.g, &f.engine.sequence, f.tokens, &f.n, &f.out, &err), DSV4_E_VALUE);
        assert_int_equal(f.n, PROMPT + f.notes.n_tokens);
        assert_int_equal(f.out.n_tokens, f.notes.n_tokens);
        assert_int_equal(step <= 3, f.notes.n_tokens == 0);
        teardown(&f);
    }
    fixture f;
    dsv4_error err = {0};
    setup(&f, 8, true, &samplers[0]);
    f.g.context = PROMPT - 1;
    assert_int_equal(model_generate(&f.g, &f.engine.sequence, f.tokens, &f.n, &f.out, &err), DSV4_E_VALUE);
    assert_string_equal(err.text, "prompt: got 23 tokens, expected at most 22, the context");
    teardown(&f);
}

/* ---- going on ------------------------------------------------------------------------------------------------------------- */

/* A conversation: generated tokens and new ones of the prompt in turns; only what is new is read, whether drafts come and go. */
static void test_turns(void **state)
{
    (void)state;
    for (int pattern = 0; pattern < 8; pattern++) {
        fixture f;
        int32_t expected[PROMPT + MAX_TOKENS];
        setup(&f, 4, false, &samplers[1]);
        f.g.max_tokens = 10;
        for (int turn = 0; turn < 3; turn++) {
            const int64_t n_before = f.n, fed_before = f.engine.n_fed;
            f.notes = (notes){0};
            f.g.speculate = pattern >> turn & 1;
            memcpy(expected, f.tokens, sizeof expected);
            expect(&samplers[1], f.n, f.n + 10, expected);
            generate(&f);
            assert_int_equal(f.n, n_before + 10);
            assert_memory_equal(f.tokens, expected, (size_t)f.n * sizeof *expected);
            if (turn > 0 && pattern == 0) {
                assert_int_equal(f.engine.n_fed - fed_before, 1 + 5 + 9);
            }
            for (int i = 0; i < 5 && turn < 2; i++) {
                f.tokens[f.n++] = (turn + 3 * i) % FAKE_VOCABULARY;
            }
        }
        teardown(&f);
    }
}

/* All tokens have been read, as of a sequence that was restored: the last one is read again. */
static void test_nothing_new(void **state)
{
    (void)state;
    for (int speculate = 0; speculate < 2; speculate++) {
        fixture f;
        int32_t expected[PROMPT + MAX_TOKENS];
        setup(&f, 8, speculate, &samplers[0]);
        f.g.max_tokens = 0;
        generate(&f);
        assert_int_equal(f.engine.sequence.length, PROMPT);
        assert_int_equal(f.out.n_tokens, 0);
        f.g.max_tokens = 5;
        memcpy(expected, f.tokens, sizeof expected);
        expect(&samplers[0], PROMPT, PROMPT + 5, expected);
        f.notes = (notes){0};
        generate(&f);
        assert_int_equal(f.n, PROMPT + 5);
        assert_memory_equal(f.tokens, expected, (size_t)f.n * sizeof *expected);
        teardown(&f);
    }
}

/* ---- perplexity ------------------------------------------------------------------------------------------------------------ */

static void test_perplexity(void **state)
{
    (void)state;
    enum { N = 40 };
    int32_t tokens[N];
    for (int i = 0; i < N; i++) {
        tokens[i] = i * i % FAKE_VOCABULARY;
    }
    for (int64_t segment = 1; segment < N + 2; segment += 13) { /* 1, 14, 27, 40 */
        double expected[N] = {0}, all = 0;
        for (int64_t i = 0; i < N; i++) {
            int32_t input[N + 1] = {3};
            float logits[FAKE_VOCABULARY];
            double sum = 0;
            memcpy(input + 1, tokens + i / segment * segment, (size_t)(i % segment) * sizeof *input);
            fake_logits(input, i % segment + 1, logits);
            for (int v = 0; v < FAKE_VOCABULARY; v++) {
                sum += exp((double)logits[v]);
            }
            expected[i / segment] -= logits[tokens[i]] - log(sum);
        }
        for (int64_t chunk = 1; chunk < 50; chunk *= 7) {
            model_engine e;
            notes heard = {0};
            double nats[N] = {0};
            model_perplexity out;
            dsv4_error err = {0};
            fake_engine_init(&e, 50);
            const model_perplexity_task task = {
                .engine = &e, .first_token = 3, .segment = segment, .chunk = chunk, .listener = {&heard, note_progress, NULL}};
            require_ok(model_perplexity_of(&task, &e.sequence, tokens, N, nats, &out, &err), &err);
            all = 0;
            for (int64_t i = 0; i < (N + segment - 1) / segment; i++) {
                assert_true(fabs(nats[i] - expected[i]) < 1e-9);
                all += expected[i];
            }
            assert_true(fabs(out.nats - all) < 1e-9);
            assert_int_equal(out.n_tokens, N);
            assert_int_equal(out.n_segments, (N + segment - 1) / segment);
            assert_int_equal(e.sequence.length, 0);
            assert_int_equal(heard.progress_done, N);
            assert_true(e.longest_step <= chunk);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_tokens), cmocka_unit_test(test_perfect_and_useless_drafts),
        cmocka_unit_test(test_logprobs),    cmocka_unit_test(test_ends),
        cmocka_unit_test(test_stop_flag),   cmocka_unit_test(test_failures),
        cmocka_unit_test(test_turns),       cmocka_unit_test(test_nothing_new),
        cmocka_unit_test(test_perplexity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
