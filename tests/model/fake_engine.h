/* fake_engine.h - an engine for tests of what drives one: its logits are a hash of all tokens of the sequence, so that one token too
 * many, too few or wrong shows in all that follow. It stands in for engine.c and kv.c, and checks how it is called. */
#ifndef FAKE_ENGINE_H
#define FAKE_ENGINE_H

#include "require.h"

#include "base/rng.h"
#include "model/engine.h"

enum { FAKE_VOCABULARY = 24, FAKE_LENGTH = 512 };

struct model_engine {
    model_weights weights;
    model_kv kv;
    model_sequence sequence;
    int64_t step_tokens;
    int32_t tokens[FAKE_LENGTH]; /* that the sequence has read */
    int32_t behind[FAKE_LENGTH]; /* behind[p]: the token that the draft block had beside row p */
    int64_t step_start, n_rows;  /* of the latest step */
    int64_t n_steps, n_fed, n_draft_rows, longest_step;
    int64_t draft_error; /* of so many drafts one is wrong */
    int64_t fails_at;    /* this step fails; 0: none */
};

static inline void fake_engine_init(model_engine *e, int64_t step_tokens)
{
    memset(e, 0, sizeof *e);
    e->weights.config.vocab_size = FAKE_VOCABULARY;
    e->step_tokens = step_tokens;
    e->draft_error = 3;
}

static inline uint64_t fake_hash(const int32_t *tokens, int64_t n)
{
    uint64_t h = 17;
    for (int64_t i = 0; i < n; i++) {
        h = rng_u64(&(rng){h, (uint64_t)tokens[i]}, (uint64_t)i);
    }
    return h;
}

/* The logits behind tokens[0 .. n). */
static inline void fake_logits(const int32_t *tokens, int64_t n, float *logits)
{
    const rng r = {fake_hash(tokens, n), 1};
    for (int i = 0; i < FAKE_VOCABULARY; i++) {
        logits[i] = (float)rng_normal(&r, (uint64_t)i, 0, 2);
    }
}

model_kv *model_engine_kv(model_engine *e)
{
    return &e->kv;
}

const model_weights *model_engine_weights(const model_engine *e)
{
    return &e->weights;
}

dsv4_status model_engine_step(model_engine *e, const model_feed *feeds, int64_t n_feeds, dsv4_error *err)
{
    assert_int_equal(n_feeds, 1);
    assert_ptr_equal(feeds->sequence, &e->sequence);
    assert_in_range(feeds->n_tokens, 1, e->step_tokens);
    assert_in_range(feeds->n_logits, 0, feeds->n_tokens);
    assert_true(e->sequence.length + feeds->n_tokens <= FAKE_LENGTH);
    if (++e->n_steps == e->fails_at) {
        return dsv4_fail(err, DSV4_E_VALUE, "step %d fails", (int)e->n_steps);
    }
    e->step_start = e->sequence.length;
    for (int64_t i = 0; i < feeds->n_tokens; i++) {
        e->tokens[e->sequence.length++] = feeds->tokens[i];
        if (i >= feeds->n_tokens - feeds->n_logits) {
            fake_logits(e->tokens, e->sequence.length, feeds->logits + (i - feeds->n_tokens + feeds->n_logits) * FAKE_VOCABULARY);
        }
    }
    e->n_rows = feeds->n_tokens;
    e->n_fed += feeds->n_tokens;
    e->longest_step = feeds->n_tokens > e->longest_step ? feeds->n_tokens : e->longest_step;
    if (e->sequence.length - e->sequence.oldest > MODEL_ROLLBACK) {
        e->sequence.oldest = e->sequence.length - MODEL_ROLLBACK;
    }
    return DSV4_OK;
}

/* Says what the trunk will say, but for one of draft_error times. */
dsv4_status model_engine_draft(model_engine *e, const model_feed *feeds, int64_t n_feeds, dsv4_error *err)
{
    (void)err;
    assert_int_equal(n_feeds, 1);
    assert_in_range(feeds->n_tokens, 1, e->n_rows);
    assert_int_equal(e->step_start + feeds->n_tokens, e->sequence.length);
    assert_int_equal(e->sequence.drafted, e->step_start);
    for (int64_t i = 0; i < feeds->n_tokens; i++) {
        e->behind[e->sequence.drafted++] = feeds->tokens[i];
    }
    e->n_draft_rows += feeds->n_tokens;
    if (feeds->n_logits > 0) {
        int32_t tokens[FAKE_LENGTH + 1];
        memcpy(tokens, e->tokens, (size_t)e->sequence.length * sizeof *tokens);
        tokens[e->sequence.length] = feeds->tokens[feeds->n_tokens - 1];
        fake_logits(tokens, e->sequence.length + 1, feeds->logits);
        if (fake_hash(tokens, e->sequence.length) % (uint64_t)e->draft_error == 0) {
            feeds->logits[fake_hash(tokens, e->sequence.length) / 7 % FAKE_VOCABULARY] += 30;
        }
    }
    return DSV4_OK;
}

dsv4_status model_sequence_truncate(model_kv *kv, model_sequence *s, int64_t length, dsv4_error *err)
{
    (void)kv, (void)err;
    assert_true(length == 0 || (length >= s->oldest && length <= s->length));
    s->length = length;
    s->drafted = s->drafted < length ? s->drafted : length;
    s->oldest = s->oldest < length ? s->oldest : length;
    return DSV4_OK;
}

#endif
