/* model/generate.h - tokens from a model that runs: prefill in chunks, then decode, with drafts where asked; and perplexity.
 *
 *   tokens  p p p p p p p | a b c ...          one list: the prompt, then what is generated
 *   prefill [chunk][chunk]  ^ sampled from the logits of the last prompt token
 *   decode                  [a] -> b           a step of one row
 *   drafts                  [a d] -> b, c      d is what the draft block expects behind a; two rows, one step
 *                                              b == d: c holds, two tokens for one step; else d is taken back
 *
 * A token is chosen from the trunk's logits and by its position alone (sampler.h), so drafts change the speed and not the tokens. */
#ifndef MODEL_GENERATE_H
#define MODEL_GENERATE_H

#include <signal.h>

#include "model/engine.h"
#include "model/sampler.h"

/* A token that was generated. */
typedef struct model_token {
    int32_t id;
    int64_t position;
    double logprob;              /* where asked for */
    const model_candidate *best; /* [n_best], until the callback returns */
    int n_best;
} model_token;

/* Callbacks of the calling thread; each may be NULL. */
typedef struct model_listener {
    void *context;
    void (*progress)(void *context, int64_t n_done, int64_t n); /* tokens of a prompt, or of a text */
    bool (*token)(void *context, const model_token *token);     /* false: enough */
} model_listener;

typedef struct model_generation {
    model_engine *engine;
    model_sampler *sampler; /* forgets, then sees all tokens */
    int64_t chunk;          /* of a prompt at once; at most the engine's step_tokens */
    int64_t context;        /* tokens that the sequence may have */
    int64_t max_tokens;     /* to generate; 0: the prompt is read only */
    int32_t end_token;      /* ends the text; -1: none */
    bool speculate;         /* the model has a draft block of kind MTP */
    bool logprobs;
    int n_best;                        /* with logprobs: most likely tokens beside the chosen one */
    const volatile sig_atomic_t *stop; /* not 0: end soon; NULL: none */
    model_listener listener;
} model_generation;

typedef enum model_end {
    MODEL_END_TOKEN,   /* end_token, which is the last one generated */
    MODEL_END_LENGTH,  /* max_tokens */
    MODEL_END_CONTEXT, /* the sequence is full */
    MODEL_END_ENOUGH,  /* the listener said so */
    MODEL_END_STOPPED
} model_end;

typedef struct model_generated {
    model_end end;
    int64_t n_prefilled, n_tokens; /* tokens fed before the first choice; tokens generated */
    int64_t n_decoded;             /* of them, by decode steps: all but the first */
    int64_t n_steps;               /* of decode */
    int64_t n_drafted, n_accepted;
    double prefill_s, decode_s;
} model_generated;

/* Continues a sequence. tokens[0 .. *n), *n >= 1, is all of it, and the sequence has read the first of them, `sequence->length`; it
 * reads the rest. What is generated is appended: tokens has room for *n + max_tokens. On return the sequence has read all but the
 * last one generated, fewer where it was stopped before. Fails where a step does, or a logit is no number; *n and *out then tell how
 * far it came. DSV4_E_VALUE: more tokens than the context has. */
DSV4_MUST_CHECK dsv4_status model_generate(const model_generation *g, model_sequence *sequence, int32_t *tokens, int64_t *n,
                                           model_generated *out, dsv4_error *err);

/* ---- perplexity ------------------------------------------------------------------------------------------------------- */

/* A text in segments, each read from nothing: first_token, then the segment's own tokens but the last. */
typedef struct model_perplexity_task {
    model_engine *engine;
    int32_t first_token;
    int64_t segment; /* tokens; the last segment may be shorter */
    int64_t chunk;
    const volatile sig_atomic_t *stop;
    model_listener listener;
} model_perplexity_task;

typedef struct model_perplexity {
    int64_t n_tokens, n_segments; /* that were read: all, unless stopped */
    double nats;                  /* minus the sum of their log-probabilities; perplexity is exp(nats / n_tokens) */
    double seconds;
} model_perplexity;

/* Tokens of a step, each with its row of logits. */
int64_t model_perplexity_rows(int64_t chunk, int64_t vocabulary);

/* segment_nats (may be NULL): [ceil(n / segment)], nats of each segment that was read whole. The sequence is empty before and after.
 * n >= 1. */
DSV4_MUST_CHECK dsv4_status model_perplexity_of(const model_perplexity_task *task, model_sequence *sequence, const int32_t *tokens,
                                                int64_t n, double *segment_nats, model_perplexity *out, dsv4_error *err);

#endif
