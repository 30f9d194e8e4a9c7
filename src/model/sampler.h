/* model/sampler.h - the next token from logits.
 *
 *   logits -> penalties -> / temperature -> top-k -> top-p -> min-p -> draw
 *
 * PENALTIES  of a token that the sampler has seen: repetition r divides a logit above 0 by r and multiplies one below by r. Of a token
 *            that was generated n > 0 times: presence + n * frequency is subtracted
 * TOP-K      the k most likely stay
 * TOP-P      of these the fewest most likely stay whose probabilities add up to p of all of them; one at least
 * MIN-P      of these stay those that are at least p times as likely as the most likely
 * DRAW       one uniform number for a position, from seed and position alone; the kept tokens are walked by ascending id until their
 *            weights have passed that share of their sum. So the same logits give the same token at a position, whatever came between
 *
 * Temperature 0 takes the largest logit behind the penalties. Equal logits are ordered by id, the smaller first. All arithmetic is in
 * double; results agree between machines as far as exp and log of their C libraries do. A logit may be -inf: never chosen. */
#ifndef MODEL_SAMPLER_H
#define MODEL_SAMPLER_H

#include <stdbool.h>
#include <stdint.h>

#include "dsv4/status.h"

enum { MODEL_MAX_BEST = 100 };

typedef struct model_sampler_options {
    double temperature;         /* 0: the most likely */
    int64_t top_k;              /* 0: all */
    double top_p;               /* 1: all */
    double min_p;               /* 0: all */
    double repetition;          /* 1: no penalty */
    double presence, frequency; /* 0: no penalty */
    uint64_t seed;
} model_sampler_options;

/* The most likely token, no penalties. */
extern const model_sampler_options model_sampler_greedy;

typedef struct model_sampler model_sampler;

/* For a vocabulary of n tokens; the caller destroys. DSV4_E_VALUE names the option that is out of its range. */
DSV4_MUST_CHECK dsv4_status model_sampler_create(int64_t n, const model_sampler_options *options, model_sampler **out,
                                                 dsv4_error *err);
void model_sampler_destroy(model_sampler *s);

/* Notes a token of the sequence, for the penalties. A token outside the vocabulary is ignored. */
void model_sampler_see(model_sampler *s, int32_t token, bool generated);
void model_sampler_forget(model_sampler *s); /* all of them */

/* The token at `position` of its sequence, from logits[n]. DSV4_E_VALUE: a logit is NaN or +inf, or all are -inf. */
DSV4_MUST_CHECK dsv4_status model_sampler_choose(model_sampler *s, const float *logits, int64_t position, int32_t *token,
                                                 dsv4_error *err);

/* A token and the natural logarithm of its probability, by the logits as they are. */
typedef struct model_candidate {
    int32_t token;
    double logprob;
} model_candidate;

/* *logprob of `token`, which lies in the vocabulary, and best[0 .. n_best), the most likely first; n_best <= MODEL_MAX_BEST and <= n.
 * Fails like model_sampler_choose. */
DSV4_MUST_CHECK dsv4_status model_logprobs(const float *logits, int64_t n, int32_t token, double *logprob, model_candidate *best,
                                           int n_best, dsv4_error *err);

#endif
