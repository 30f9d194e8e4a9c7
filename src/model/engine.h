/* model/engine.h - a model that runs: weights, memory of sequences, and the graphs of its steps.
 *
 * A STEP takes some tokens of some sequences and appends them. The result of a token depends on its sequence alone, bit for bit: not
 * on how its tokens were cut into steps, nor on what else was in a step, nor on the number of threads. */
#ifndef MODEL_ENGINE_H
#define MODEL_ENGINE_H

#include "dsv4/graph.h"
#include "model/kv.h"
#include "model/packed.h"

typedef struct model_engine model_engine;

typedef struct model_engine_options {
    const model_numerics *numerics;
    int64_t n_sequences;  /* at once */
    int64_t context;      /* tokens of a sequence at most */
    int64_t total_tokens; /* of all sequences together; 0: n_sequences * context */
    int64_t step_tokens;  /* of a step at most (prefill chunk) */
    int64_t step_logits;  /* rows of logits of a step; 0: one. For the plan: a step may have more, and takes more memory then */
    bool drafts;          /* model_engine_draft is going to be called; for the plan likewise */
    int trace_level;      /* of the execs, dsv4_exec_create */
} model_engine_options;

/* Weights and pool are borrowed and must outlive the engine. */
DSV4_MUST_CHECK dsv4_status model_engine_create(const model_weights *weights, dsv4_pool *pool, const model_engine_options *options,
                                                model_engine **out, dsv4_error *err);
void model_engine_destroy(model_engine *e);

/* Bytes that the steps of a run take: those that read a prompt of that many tokens (0: any, of step_tokens at least), and steps of one
 * token behind it, or of two with drafts. What passes between operators counts once, for the largest: no two steps run at a time. The
 * weights' memory is not looked at. */
DSV4_MUST_CHECK dsv4_status model_engine_bytes(const model_weights *weights, dsv4_pool *pool, const model_engine_options *options,
                                               int64_t prompt_tokens, size_t *n_bytes, dsv4_error *err);

model_kv *model_engine_kv(model_engine *e); /* sequences are opened, forked, cut and saved there */
const model_weights *model_engine_weights(const model_engine *e);

/* The graph of the latest run, its rows as they were; NULL before the first. Lives as long as the engine. */
const struct model_graph *model_engine_latest_graph(const model_engine *e);

/* Tokens of one sequence in a step. */
typedef struct model_feed {
    model_sequence *sequence;
    const int32_t *tokens;
    int64_t n_tokens;
    int64_t n_logits; /* logits are wanted of the last n_logits of them */
    float *logits;    /* [n_logits][V], the caller's; NULL where n_logits is 0 */
} model_feed;

/* One step: all tokens of all feeds are appended; a sequence is in one feed at most. More tokens than step_tokens are cut into several
 * steps; where one of these fails, what those before it appended stays, nothing else. Pages may stay reserved. */
DSV4_MUST_CHECK dsv4_status model_engine_step(model_engine *e, const model_feed *feeds, int64_t n_feeds, dsv4_error *err);

/* The draft block (multi-token prediction): row p takes the trunk's last streams of position p, which the latest step left for its
 * tokens, and the token at p + 1, and predicts the token at p + 2. tokens[i] is the token behind the i-th token that the feed of
 * the same sequence had in the latest step; n_tokens at most as many. Feeds in any order, of some of that step's sequences or all.
 * DSV4_E_UNSUPPORTED where the model has no such block. */
DSV4_MUST_CHECK dsv4_status model_engine_draft(model_engine *e, const model_feed *feeds, int64_t n_feeds, dsv4_error *err);

#endif
