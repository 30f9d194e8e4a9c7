/* A sequence that was saved and restored, by another engine whose memory is full of another text, goes on with the bits of one that
 * never stopped: its logits and its drafts. */
#include <unistd.h>

#include "running.h"
#include "sanitized.h"

#define SAVED TEST_TEMPORARY "/resumed"

enum { V = 512, N = 300, STEP = 16 };

static int32_t tokens[N + 1];
static float expected[N * V], expected_drafts[N * V], got[STEP * V];

/* Reads up to `end` in steps, each followed by a draft where there is one; with `is_reference` the rows are kept, else compared. */
static void read_on(running *r, model_sequence *s, int64_t end, bool is_reference)
{
    dsv4_error err = {0};
    while (s->length < end) {
        const int64_t start = s->length, n = end - start < STEP ? end - start : STEP;
        const model_feed feed = {s, tokens + start, n, n, is_reference ? expected + start * V : got};
        require_ok(model_engine_step(r->engine, &feed, 1, &err), &err);
        if (!is_reference && memcmp(got, expected + start * V, (size_t)n * V * sizeof *got) != 0) {
            fail_msg("logits of tokens %d to %d differ", (int)start, (int)(start + n - 1));
        }
        const model_feed behind = {s, tokens + start + 1, n, n, is_reference ? expected_drafts + start * V : got};
        require_ok(model_engine_draft(r->engine, &behind, 1, &err), &err);
        if (!is_reference && memcmp(got, expected_drafts + start * V, (size_t)n * V * sizeof *got) != 0) {
            fail_msg("drafts of tokens %d to %d differ", (int)start, (int)(start + n - 1));
        }
    }
}

/* Fills the slot and the pages that are going to be used with something else. */
static void dirty(running *r)
{
    static int32_t other[N];
    dsv4_error err = {0};
    model_sequence *s = NULL;
    for (int i = 0; i < N; i++) {
        other[i] = (7 * i + 3) % V;
    }
    require_ok(model_sequence_open(model_engine_kv(r->engine), &s, &err), &err);
    const model_feed feed = {.sequence = s, .tokens = other, .n_tokens = N};
    require_ok(model_engine_step(r->engine, &feed, 1, &err), &err);
    model_sequence_close(model_engine_kv(r->engine), s);
}

/* Saved at `stop`, restored, cut by `cut` tokens, and on to `end`. */
static void resume(running *first, running *second, int64_t stop, int64_t cut, int64_t end)
{
    dsv4_error err = {0};
    model_sequence *s = NULL;
    int32_t *ids = NULL;
    require_ok(model_sequence_open(model_engine_kv(first->engine), &s, &err), &err);
    read_on(first, s, stop, false);
    require_ok(model_sequence_save(model_engine_kv(first->engine), s, "m", tokens, SAVED, &err), &err);
    model_sequence_close(model_engine_kv(first->engine), s);
    dirty(second);
    require_ok(model_sequence_restore(model_engine_kv(second->engine), "m", SAVED, &s, &ids, &err), &err);
    assert_int_equal(s->length, stop);
    assert_memory_equal(ids, tokens, (size_t)stop * sizeof *ids);
    if (cut > 0) {
        require_ok(model_sequence_truncate(model_engine_kv(second->engine), s, stop - cut, &err), &err);
    }
    read_on(second, s, end, false);
    model_sequence_close(model_engine_kv(second->engine), s);
    free(ids);
}

static void resume_all(const char *numerics)
{
    const model_engine_options options = {.n_sequences = 1, .context = N, .step_tokens = STEP};
    running first = running_start(TINY_RANDOM, numerics, 2, options), second = running_start(TINY_RANDOM, numerics, 1, options);
    model_sequence *s = NULL;
    dsv4_error err = {0};
    for (int i = 0; i <= N; i++) {
        tokens[i] = i * i % V;
    }
    require_ok(model_sequence_open(model_engine_kv(first.engine), &s, &err), &err);
    read_on(&first, s, N, true);
    model_sequence_close(model_engine_kv(first.engine), s);
    /* within and at the ends of the window and of compressed runs of 4 and 128 tokens */
    static const struct {
        int64_t stop, cut, end;
    } cases[] = {{1, 0, 40},    {6, 2, 40},    {8, 0, 40},     {31, 0, 70}, {33, 16, 70},
                 {127, 0, 170}, {128, 0, 170}, {133, 16, 170}, {256, 3, N}, {N - 1, 0, N}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i += SANITIZED ? 4 : 1) {
        resume(&first, &second, cases[i].stop, cases[i].cut, cases[i].end);
    }
    running_stop(&first);
    running_stop(&second);
    unlink(SAVED);
}

static void official_goes_on(void **state)
{
    (void)state;
    resume_all("official");
}

static void w8a8_goes_on(void **state)
{
    (void)state;
    resume_all("w8a8");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(official_goes_on),
        cmocka_unit_test(w8a8_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
