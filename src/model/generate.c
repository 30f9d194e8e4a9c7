#include "model/generate.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"

enum { MAX_ROWS = 2 }; /* of a decode step: a token and a draft */

typedef struct generator {
    const model_generation *g;
    model_sequence *sequence;
    int32_t *tokens;
    int64_t n;
    int64_t step_start; /* position of the first row of the latest step */
    int64_t vocabulary;
    float *logits; /* [MAX_ROWS][vocabulary] */
    bool ended;
    model_generated *out;
} generator;

static bool is_stopped(const volatile sig_atomic_t *stop)
{
    return stop != NULL && *stop != 0;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void end(generator *r, model_end why)
{
    r->out->end = why;
    r->ended = true;
}

/* ---- steps ------------------------------------------------------------------------------------------------------------ */

/* The sequence reads up to tokens[stop). */
static dsv4_status read_to(generator *r, int64_t stop, int64_t n_logits, dsv4_error *err)
{
    const int64_t start = r->sequence->length;
    const model_feed feed = {.sequence = r->sequence,
                             .tokens = r->tokens + start,
                             .n_tokens = stop - start,
                             .n_logits = n_logits,
                             .logits = n_logits > 0 ? r->logits : NULL};
    r->step_start = start;
    return model_engine_step(r->g->engine, &feed, 1, err);
}

/* The draft block reads what the latest step left of the sequence. */
static dsv4_status draft(generator *r, int64_t n_logits, dsv4_error *err)
{
    const model_feed feed = {.sequence = r->sequence,
                             .tokens = r->tokens + r->step_start + 1,
                             .n_tokens = r->sequence->length - r->step_start,
                             .n_logits = n_logits,
                             .logits = n_logits > 0 ? r->logits : NULL};
    return model_engine_draft(r->g->engine, &feed, 1, err);
}

/* Takes back what the sequence has read beyond `length`; all of it where it cannot go back that little. */
static dsv4_status go_back(generator *r, int64_t length, dsv4_error *err)
{
    if (length >= r->sequence->length) {
        return DSV4_OK;
    }
    return model_sequence_truncate(model_engine_kv(r->g->engine), r->sequence, length >= r->sequence->oldest ? length : 0, err);
}

/* ---- choosing --------------------------------------------------------------------------------------------------------- */

/* Chooses the next token from a row of logits, appends it and tells the listener. */
static dsv4_status generate_from(generator *r, const float *logits, dsv4_error *err)
{
    const model_generation *g = r->g;
    model_candidate best[MODEL_MAX_BEST];
    model_token token = {.position = r->n, .best = best, .n_best = g->logprobs ? g->n_best : 0};
    dsv4_status status = model_sampler_choose(g->sampler, logits, r->n, &token.id, err);
    if (status == DSV4_OK && g->logprobs) {
        status = model_logprobs(logits, r->vocabulary, token.id, &token.logprob, best, token.n_best, err);
    }
    if (status != DSV4_OK) {
        return status;
    }
    model_sampler_see(g->sampler, token.id, true);
    r->tokens[r->n++] = token.id;
    r->out->n_tokens++;
    const bool goes_on = g->listener.token == NULL || g->listener.token(g->listener.context, &token);
    if (token.id == g->end_token) {
        end(r, MODEL_END_TOKEN);
    } else if (!goes_on) {
        end(r, MODEL_END_ENOUGH);
    } else if (r->out->n_tokens == g->max_tokens) {
        end(r, MODEL_END_LENGTH);
    } else if (r->n > g->context) {
        end(r, MODEL_END_CONTEXT);
    }
    return DSV4_OK;
}

/* ---- prefill ------------------------------------------------------------------------------------------------------------ */

/* Where reading begins: behind what the sequence has read, but the last token is read again if its logits are gone, and so is what the
 * draft block has not seen. */
static dsv4_status begin(generator *r, dsv4_error *err)
{
    const model_generation *g = r->g;
    int64_t start = r->sequence->length;
    if (r->n > g->context) {
        return dsv4_fail(err, DSV4_E_VALUE, "prompt: got %lld tokens, expected at most %lld, the context", (long long)r->n,
                         (long long)g->context);
    }
    start = g->max_tokens > 0 ? least(start, r->n - 1) : start;
    start = g->speculate ? least(start, r->sequence->drafted) : start;
    model_sampler_forget(g->sampler);
    for (int64_t i = 0; i < r->n; i++) {
        model_sampler_see(g->sampler, r->tokens[i], false);
    }
    return go_back(r, start, err);
}

static dsv4_status prefill(generator *r, dsv4_error *err)
{
    const model_generation *g = r->g;
    const int64_t start = r->sequence->length;
    const double started_s = clock_s();
    dsv4_status status = DSV4_OK;
    while (status == DSV4_OK && r->sequence->length < r->n && !r->ended) {
        const int64_t stop = least(r->sequence->length + g->chunk, r->n);
        if (is_stopped(g->stop)) {
            end(r, MODEL_END_STOPPED);
            break;
        }
        status = read_to(r, stop, stop == r->n && g->max_tokens > 0, err);
        if (status == DSV4_OK && g->speculate && stop < r->n) {
            status = draft(r, 0, err);
        }
        r->out->n_prefilled = r->sequence->length - start;
        r->out->prefill_s = clock_s() - started_s;
        if (status == DSV4_OK && g->listener.progress != NULL) {
            g->listener.progress(g->listener.context, r->out->n_prefilled, r->n - start);
        }
    }
    return status;
}

/* ---- decode ------------------------------------------------------------------------------------------------------------- */

/* Puts the draft behind the tokens, where a second token can still be used. *n_drafts: 0 or 1. */
static dsv4_status propose(generator *r, int64_t *n_drafts, dsv4_error *err)
{
    const model_generation *g = r->g;
    *n_drafts = 0;
    if (!g->speculate || r->n + 1 > g->context || r->out->n_tokens + 2 > g->max_tokens) {
        return DSV4_OK;
    }
    dsv4_status status = draft(r, 1, err);
    if (status == DSV4_OK) {
        status = model_sampler_choose(g->sampler, r->logits, r->n, &r->tokens[r->n], err);
    }
    if (status == DSV4_OK) {
        *n_drafts = 1;
        r->out->n_drafted++;
    }
    return status;
}

static dsv4_status decode_step(generator *r, dsv4_error *err)
{
    int64_t n_drafts = 0;
    dsv4_status status = propose(r, &n_drafts, err);
    const int32_t drafted = n_drafts > 0 ? r->tokens[r->n] : -1;
    if (status == DSV4_OK) {
        status = read_to(r, r->n + n_drafts, 1 + n_drafts, err);
    }
    for (int64_t row = 0; row <= n_drafts && status == DSV4_OK && !r->ended; row++) {
        status = generate_from(r, r->logits + row * r->vocabulary, err);
        if (status == DSV4_OK && row < n_drafts) {
            if (r->tokens[r->n - 1] != drafted) {
                break;
            }
            r->out->n_accepted++;
        }
    }
    r->out->n_steps++;
    return status == DSV4_OK ? go_back(r, r->n - 1, err) : status;
}

static dsv4_status decode(generator *r, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    const double started_s = clock_s();
    while (status == DSV4_OK && !r->ended) {
        if (is_stopped(r->g->stop)) {
            end(r, MODEL_END_STOPPED);
            break;
        }
        status = decode_step(r, err);
    }
    r->out->decode_s = clock_s() - started_s;
    r->out->n_decoded = r->out->n_tokens - 1;
    return status;
}

dsv4_status model_generate(const model_generation *g, model_sequence *sequence, int32_t *tokens, int64_t *n, model_generated *out,
                           dsv4_error *err)
{
    assert(*n >= 1 && sequence->length <= *n && g->chunk >= 1 && g->max_tokens >= 0);
    *out = (model_generated){.end = MODEL_END_LENGTH};
    generator r = {.g = g, .sequence = sequence, .tokens = tokens, .n = *n, .out = out};
    r.vocabulary = model_engine_weights(g->engine)->config.vocab_size;
    r.logits = memory_array((size_t)(MAX_ROWS * r.vocabulary), sizeof *r.logits);
    if (r.logits == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "no memory for logits of a vocabulary of %lld", (long long)r.vocabulary);
    }
    dsv4_status status = begin(&r, err);
    if (status == DSV4_OK) {
        status = prefill(&r, err);
    }
    if (status == DSV4_OK && !r.ended && g->max_tokens > 0) {
        status = generate_from(&r, r.logits, err);
        if (status == DSV4_OK) {
            status = decode(&r, err);
        }
    }
    free(r.logits);
    *n = r.n;
    return status;
}
