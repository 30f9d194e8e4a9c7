#include "model/sampler.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/rng.h"

struct model_sampler {
    model_sampler_options o;
    int64_t n;
    rng random;
    double *value;         /* [n] logits behind the penalties */
    double *weight;        /* [n] probability by temperature, over that of the most likely */
    int32_t *heap;         /* [n] */
    uint32_t *n_generated; /* [n] */
    bool *seen;            /* [n] */
};

/* What the filters leave: tokens not behind `last` in the order of likelihood, of at least min_weight. */
typedef struct kept_tokens {
    double last_value;
    int32_t last;
    double min_weight;
} kept_tokens;

const model_sampler_options model_sampler_greedy = {.top_p = 1, .repetition = 1};

/* ---- making one ------------------------------------------------------------------------------------------------------- */

static dsv4_status check_options(const model_sampler_options *o, dsv4_error *err)
{
    const struct {
        const char *name;
        double value, low, high;
    } rules[] = {{"temperature", o->temperature, 0, 100},
                 {"top_k", (double)o->top_k, 0, INT32_MAX},
                 {"top_p", o->top_p, 0, 1},
                 {"min_p", o->min_p, 0, 1},
                 {"repetition", o->repetition, 0.01, 100},
                 {"presence", o->presence, -100, 100},
                 {"frequency", o->frequency, -100, 100}};
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (!(rules[i].value >= rules[i].low && rules[i].value <= rules[i].high)) {
            return dsv4_fail(err, DSV4_E_VALUE, "%s: got %g, expected %g to %g", rules[i].name, rules[i].value, rules[i].low,
                             rules[i].high);
        }
    }
    return DSV4_OK;
}

dsv4_status model_sampler_create(int64_t n, const model_sampler_options *options, model_sampler **out, dsv4_error *err)
{
    assert(n > 0 && n <= INT32_MAX);
    const dsv4_status status = check_options(options, err);
    if (status != DSV4_OK) {
        return status;
    }
    model_sampler *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "sampler: no memory");
    }
    const size_t size = (size_t)n;
    *s = (model_sampler){.o = *options,
                         .n = n,
                         .random = {options->seed, rng_stream("model.sampler")},
                         .value = memory_array(size, sizeof *s->value),
                         .weight = memory_array(size, sizeof *s->weight),
                         .heap = memory_array(size, sizeof *s->heap),
                         .n_generated = memory_zeroed_array(size, sizeof *s->n_generated),
                         .seen = memory_zeroed_array(size, sizeof *s->seen)};
    if (s->value == NULL || s->weight == NULL || s->heap == NULL || s->n_generated == NULL || s->seen == NULL) {
        model_sampler_destroy(s);
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "sampler: no memory for a vocabulary of %lld", (long long)n);
    }
    *out = s;
    return DSV4_OK;
}

void model_sampler_destroy(model_sampler *s)
{
    if (s != NULL) {
        free(s->value);
        free(s->weight);
        free(s->heap);
        free(s->n_generated);
        free(s->seen);
        free(s);
    }
}

void model_sampler_see(model_sampler *s, int32_t token, bool generated)
{
    if (token >= 0 && token < s->n) {
        s->seen[token] = true;
        s->n_generated[token] += generated;
    }
}

void model_sampler_forget(model_sampler *s)
{
    memset(s->seen, 0, (size_t)s->n * sizeof *s->seen);
    memset(s->n_generated, 0, (size_t)s->n * sizeof *s->n_generated);
}

/* ---- logits ------------------------------------------------------------------------------------------------------------- */

static dsv4_status check_logit(float logit, int64_t token, dsv4_error *err)
{
    if (logit < INFINITY) {
        return DSV4_OK;
    }
    return dsv4_fail(err, DSV4_E_VALUE, "logits: token %lld has %s, expected a number", (long long)token,
                     isnan(logit) ? "NaN" : "+inf");
}

static dsv4_status fail_without_tokens(dsv4_error *err)
{
    return dsv4_fail(err, DSV4_E_VALUE, "logits: all are -inf, expected a number");
}

static double penalise(const model_sampler *s, int64_t token, double value)
{
    if (s->seen[token]) {
        value = value > 0 ? value / s->o.repetition : value * s->o.repetition;
    }
    if (s->n_generated[token] > 0) {
        value -= s->o.presence + s->o.frequency * s->n_generated[token];
    }
    return value;
}

/* Fills value; *best is the most likely token. */
static dsv4_status take_logits(model_sampler *s, const float *logits, int32_t *best, dsv4_error *err)
{
    int64_t at = 0;
    for (int64_t i = 0; i < s->n; i++) {
        const dsv4_status status = check_logit(logits[i], i, err);
        if (status != DSV4_OK) {
            return status;
        }
        s->value[i] = penalise(s, i, logits[i]);
        at = s->value[i] > s->value[at] ? i : at;
    }
    *best = (int32_t)at;
    return s->value[at] > -INFINITY ? DSV4_OK : fail_without_tokens(err);
}

/* ---- filters ------------------------------------------------------------------------------------------------------------ */

/* More likely; a total order. */
static bool is_before(const model_sampler *s, int32_t a, int32_t b)
{
    const double of_a = s->value[a];
    const double of_b = s->value[b];
    return of_a > of_b || (of_a == of_b && a < b);
}

/* heap[0 .. n) with the most likely of all on top, but for what lies below `at`, which may be out of order. */
static void sink(model_sampler *s, int64_t at, int64_t n)
{
    const int32_t token = s->heap[at];
    for (int64_t child; (child = 2 * at + 1) < n; at = child) {
        child += child + 1 < n && is_before(s, s->heap[child + 1], s->heap[child]);
        if (!is_before(s, s->heap[child], token)) {
            break;
        }
        s->heap[at] = s->heap[child];
    }
    s->heap[at] = token;
}

static void build_heap(model_sampler *s)
{
    for (int64_t i = 0; i < s->n; i++) {
        s->heap[i] = (int32_t)i;
    }
    for (int64_t i = s->n / 2; i-- > 0;) {
        sink(s, i, s->n);
    }
}

/* Moves the most likely of heap[0 .. n) to heap[n - 1]. */
static int32_t pop(model_sampler *s, int64_t n)
{
    const int32_t token = s->heap[0];
    s->heap[0] = s->heap[n - 1];
    s->heap[n - 1] = token;
    sink(s, 0, n - 1);
    return token;
}

/* The last token that top-k and top-p keep. */
static int32_t find_last(model_sampler *s)
{
    const int64_t k = s->o.top_k > 0 && s->o.top_k < s->n ? s->o.top_k : s->n;
    double sum = 0, sum_kept = 0;
    int64_t n_popped = 0;
    build_heap(s);
    if (k < s->n) {
        for (; n_popped < k; n_popped++) {
            sum += s->weight[pop(s, s->n - n_popped)];
        }
    } else {
        for (int64_t i = 0; i < s->n; i++) {
            sum += s->weight[i];
        }
    }
    int64_t n_kept = 0; /* popped tokens lie behind the heap, the first one last */
    do {
        if (n_kept == n_popped) {
            pop(s, s->n - n_popped++);
        }
        sum_kept += s->weight[s->heap[s->n - 1 - n_kept++]];
    } while (n_kept < k && (s->o.top_p >= 1 || sum_kept < s->o.top_p * sum));
    return s->heap[s->n - n_kept];
}

static kept_tokens filter(model_sampler *s)
{
    kept_tokens kept = {.last_value = -INFINITY, .last = (int32_t)(s->n - 1), .min_weight = s->o.min_p};
    if ((s->o.top_k > 0 && s->o.top_k < s->n) || s->o.top_p < 1) {
        kept.last = find_last(s);
        kept.last_value = s->value[kept.last];
    }
    return kept;
}

static bool is_kept(const model_sampler *s, const kept_tokens *kept, int32_t token)
{
    const double value = s->value[token];
    return s->weight[token] > 0 && s->weight[token] >= kept->min_weight &&
           (value > kept->last_value || (value == kept->last_value && token <= kept->last));
}

/* ---- choosing ----------------------------------------------------------------------------------------------------------- */

static int32_t draw(const model_sampler *s, const kept_tokens *kept, int64_t position)
{
    double sum = 0, passed = 0;
    int32_t token = -1;
    for (int32_t i = 0; i < s->n; i++) {
        sum += is_kept(s, kept, i) ? s->weight[i] : 0;
    }
    const double share = rng_uniform(&s->random, (uint64_t)position, 0, 1) * sum;
    for (int32_t i = 0; i < s->n && (token < 0 || passed <= share); i++) {
        if (is_kept(s, kept, i)) {
            passed += s->weight[i];
            token = i;
        }
    }
    return token;
}

dsv4_status model_sampler_choose(model_sampler *s, const float *logits, int64_t position, int32_t *token, dsv4_error *err)
{
    int32_t best;
    const dsv4_status status = take_logits(s, logits, &best, err);
    if (status != DSV4_OK) {
        return status;
    }
    if (s->o.temperature > 0) {
        for (int64_t i = 0; i < s->n; i++) {
            s->weight[i] = i == best ? 1 : exp((s->value[i] - s->value[best]) / s->o.temperature);
        }
        const kept_tokens kept = filter(s);
        best = draw(s, &kept, position);
    }
    *token = best;
    return DSV4_OK;
}

/* ---- probabilities ------------------------------------------------------------------------------------------------------- */

/* Puts a token where it belongs among best[0 .. *n), which has room for n_best. Tokens come by ascending id. */
static void insert_best(model_candidate *best, int *n, int n_best, int32_t token, double logit)
{
    int at = *n < n_best ? (*n)++ : n_best;
    for (; at > 0 && best[at - 1].logprob < logit; at--) {
        if (at < n_best) {
            best[at] = best[at - 1];
        }
    }
    if (at < n_best) {
        best[at] = (model_candidate){token, logit};
    }
}

dsv4_status model_logprobs(const float *logits, int64_t n, int32_t token, double *logprob, model_candidate *best, int n_best,
                           dsv4_error *err)
{
    assert(token >= 0 && token < n && n_best <= n && n_best <= MODEL_MAX_BEST);
    double largest = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++) {
        const dsv4_status status = check_logit(logits[i], i, err);
        if (status != DSV4_OK) {
            return status;
        }
        largest = logits[i] > largest ? logits[i] : largest;
    }
    if (largest == -INFINITY) {
        return fail_without_tokens(err);
    }
    int n_found = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += exp(logits[i] - largest);
        if (n_found < n_best || (n_best > 0 && logits[i] > best[n_best - 1].logprob)) {
            insert_best(best, &n_found, n_best, (int32_t)i, logits[i]);
        }
    }
    const double log_sum = largest + log(sum);
    for (int i = 0; i < n_best; i++) {
        best[i].logprob -= log_sum;
    }
    *logprob = logits[token] - log_sum;
    return DSV4_OK;
}
