/* model/perplexity.c - how well a model predicts a text. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "model/generate.h"

enum { LOGITS_BYTES = 64 << 20 }; /* of a step, about */

typedef struct reader {
    const model_perplexity_task *task;
    model_sequence *sequence;
    int64_t vocabulary, rows; /* of a step at most */
    int32_t *input;           /* [rows] */
    float *logits;            /* [rows][vocabulary] */
} reader;

/* Adds up the nats of tokens[first .. first + n) of a segment, which the sequence has read up to there. */
static dsv4_status read_part(reader *r, const int32_t *segment, int64_t first, int64_t n, double *nats, dsv4_error *err)
{
    for (int64_t i = 0; i < n; i++) {
        r->input[i] = first + i > 0 ? segment[first + i - 1] : r->task->first_token;
    }
    const model_feed feed = {.sequence = r->sequence, .tokens = r->input, .n_tokens = n, .n_logits = n, .logits = r->logits};
    dsv4_status status = model_engine_step(r->task->engine, &feed, 1, err);
    for (int64_t i = 0; i < n && status == DSV4_OK; i++) {
        double logprob;
        status = model_logprobs(r->logits + i * r->vocabulary, r->vocabulary, segment[first + i], &logprob, NULL, 0, err);
        *nats -= status == DSV4_OK ? logprob : 0;
    }
    return status;
}

/* *whole: it was not stopped. */
static dsv4_status read_segment(reader *r, const int32_t *segment, int64_t n, double *nats, bool *whole, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    int64_t n_read = 0;
    *nats = 0;
    while (n_read < n && status == DSV4_OK && !(r->task->stop != NULL && *r->task->stop != 0)) {
        const int64_t n_part = r->rows < n - n_read ? r->rows : n - n_read;
        status = read_part(r, segment, n_read, n_part, nats, err);
        n_read += n_part;
    }
    *whole = n_read == n;
    const dsv4_status back =
        model_sequence_truncate(model_engine_kv(r->task->engine), r->sequence, 0, status == DSV4_OK ? err : NULL);
    return status == DSV4_OK ? back : status;
}

static dsv4_status read_all(reader *r, const int32_t *tokens, int64_t n, double *segment_nats, model_perplexity *out,
                            dsv4_error *err)
{
    const model_listener *listener = &r->task->listener;
    dsv4_status status = DSV4_OK;
    bool goes_on = true;
    while (out->n_tokens < n && goes_on && status == DSV4_OK) {
        const int64_t n_left = n - out->n_tokens, n_segment = n_left < r->task->segment ? n_left : r->task->segment;
        double nats;
        status = read_segment(r, tokens + out->n_tokens, n_segment, &nats, &goes_on, err);
        if (status != DSV4_OK || !goes_on) {
            break;
        }
        if (segment_nats != NULL) {
            segment_nats[out->n_segments] = nats;
        }
        out->nats += nats;
        out->n_tokens += n_segment;
        out->n_segments++;
        if (listener->progress != NULL) {
            listener->progress(listener->context, out->n_tokens, n);
        }
    }
    return status;
}

int64_t model_perplexity_rows(int64_t chunk, int64_t vocabulary)
{
    const int64_t affordable = LOGITS_BYTES / (vocabulary * (int64_t)sizeof(float)) + 1;
    return chunk < affordable ? chunk : affordable;
}

dsv4_status model_perplexity_of(const model_perplexity_task *task, model_sequence *sequence, const int32_t *tokens, int64_t n,
                                double *segment_nats, model_perplexity *out, dsv4_error *err)
{
    assert(n >= 1 && task->segment >= 1 && task->chunk >= 1 && sequence->length == 0);
    reader r = {.task = task, .sequence = sequence, .vocabulary = model_engine_weights(task->engine)->config.vocab_size};
    r.rows = model_perplexity_rows(task->chunk, r.vocabulary);
    r.input = memory_array((size_t)r.rows, sizeof *r.input);
    r.logits = memory_array((size_t)r.rows, (size_t)r.vocabulary * sizeof *r.logits);
    *out = (model_perplexity){0};
    const double started_s = clock_s();
    const dsv4_status status = r.input == NULL || r.logits == NULL
                                   ? dsv4_fail(err, DSV4_E_NO_MEMORY, "no memory for the logits of %lld tokens", (long long)r.rows)
                                   : read_all(&r, tokens, n, segment_nats, out, err);
    out->seconds = clock_s() - started_s;
    free(r.input);
    free(r.logits);
    return status;
}
