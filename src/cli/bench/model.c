/* cli/bench/model.c - `dsv4 bench model`: steps of a whole model against what the machine can read and multiply.
 *
 * Each step has other tokens, so it goes to other experts; a round is one step of each kind of decode, and in every few rounds one
 * prefill. Ceilings are measured between them. */
#include "cli/bench/model.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/rng.h"
#include "trace/trace.h"

enum { MAX_BATCHES = 8, DEFAULT_ROUNDS = 20, METER_ROUNDS = 5, WARM_STEPS = 2, PREFILL_EVERY = 5 };

typedef struct batch_list {
    int n;
    int64_t at[MAX_BATCHES];
} batch_list;

typedef struct model_options {
    bench_options shared;
    const char *model, *numerics, *trace;
    batch_list batches;
    long long n_prefill, start_pos;
    bool stages;
} model_options;

typedef struct suite {
    const model_options *o;
    const model_numerics *numerics;
    dsv4_pool *pool;
    model_weights *weights;
    model_engine *engine;
    bench_meter *meter;
    bench_ceilings ceilings;
    model_case cases[MAX_BATCHES + 1];
    int n_cases;
    int32_t *tokens;
    float *logits;
    uint64_t n_drawn;
} suite;

/* ---- options ---------------------------------------------------------------------------------------------------------------------- */

static dsv4_status store_batches(const cli_option *self, void *field, const char *text, dsv4_error *err)
{
    batch_list *list = field;
    const char *at = text;
    for (list->n = 0; list->n < MAX_BATCHES;) {
        char *end = NULL;
        const long n = *at >= '0' && *at <= '9' ? strtol(at, &end, 10) : 0;
        if (n < 1 || n > 1024 || (*end != ',' && *end != '\0')) {
            break;
        }
        list->at[list->n++] = n;
        if (*end == '\0') {
            return DSV4_OK;
        }
        at = end + 1;
    }
    return dsv4_fail(err, DSV4_E_USAGE, "--%s: got \"%s\", expected 1 to %d numbers of sequences from 1 to 1024, such as 1,8",
                     self->name, text, MAX_BATCHES);
}

#define FIELD(name) offsetof(model_options, name)

static const cli_option options_table[] = {
    {"m,model", "DIR", "a published or converted model", cli_store_text, FIELD(model), 0, 0},
    {"numerics", "NAME", "official, w8a8, bf16, exact or quant_f32 (default w8a8)", cli_store_text, FIELD(numerics), 0, 0},
    {"batch", "LIST", "sequences of the decode steps (default 1,8)", store_batches, FIELD(batches), 0, 0},
    {"prefill", "N", "tokens of the prefill step (default 512; 0: none)", cli_store_number, FIELD(n_prefill), 0, 1 << 14},
    {"start-pos", "P", "tokens that sequences have before the first decode step (default 0)", cli_store_number, FIELD(start_pos), 0,
     1 << 24},
    {"stages", NULL, "tell of each stage its time, bytes and bound", cli_store_flag, FIELD(stages), 0, 0},
    {"trace", "F.json", "write the last step of the first kind as a trace", cli_store_file, FIELD(trace), 0, 0},
    {.name = NULL},
};

/* ---- opening ---------------------------------------------------------------------------------------------------------------------- */

static int64_t largest(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static dsv4_status add_case(suite *s, bool is_prefill, int64_t n, dsv4_error *err)
{
    const int rounds = (int)s->o->shared.rounds;
    const int64_t n_sequences = is_prefill ? 1 : n;
    model_case *c = &s->cases[s->n_cases++];
    *c = (model_case){.is_prefill = is_prefill, .n = n, .checksum = BENCH_CHECKSUM_OF_NOTHING};
    c->rounds = is_prefill ? (rounds + PREFILL_EVERY - 1) / PREFILL_EVERY : rounds;
    c->sequences = calloc((size_t)n_sequences, sizeof *c->sequences);
    c->seconds = calloc(3 * (size_t)c->rounds, sizeof *c->seconds);
    if (c->sequences == NULL || c->seconds == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "bench model: no memory for %d rounds", rounds);
    }
    c->idle = c->seconds + c->rounds;
    c->bytes = c->idle + c->rounds;
    dsv4_status status = DSV4_OK;
    for (int64_t i = 0; i < n_sequences && status == DSV4_OK; i++) {
        status = model_sequence_open(model_engine_kv(s->engine), &c->sequences[i], err);
        if (status == DSV4_OK && !is_prefill && s->o->start_pos > 0) {
            status = model_sequence_reserve(model_engine_kv(s->engine), c->sequences[i], s->o->start_pos, err);
            if (status == DSV4_OK) { /* rows of a sequence that were never written are zeros */
                model_sequence_append(c->sequences[i], s->o->start_pos);
            }
        }
    }
    return status;
}

static dsv4_status open_engine(suite *s, dsv4_error *err)
{
    const model_options *o = s->o;
    model_engine_options options = {.numerics = s->numerics, .n_sequences = 1, .step_tokens = largest(o->n_prefill, 1)};
    for (int i = 0; i < o->batches.n; i++) {
        options.n_sequences += o->batches.at[i];
        options.step_tokens = largest(options.step_tokens, o->batches.at[i]);
    }
    options.context = largest(o->start_pos + o->shared.rounds + WARM_STEPS + 1, o->n_prefill);
    options.trace_level = 1;
    dsv4_status status = model_engine_create(s->weights, s->pool, &options, &s->engine, err);
    for (int i = 0; i < o->batches.n && status == DSV4_OK; i++) {
        status = add_case(s, false, o->batches.at[i], err);
    }
    if (o->n_prefill > 0 && status == DSV4_OK) {
        status = add_case(s, true, o->n_prefill, err);
    }
    if (status == DSV4_OK) {
        s->tokens = calloc((size_t)options.step_tokens, sizeof *s->tokens);
        s->logits = calloc((size_t)(options.n_sequences * s->weights->config.vocab_size), sizeof *s->logits);
        if (s->tokens == NULL || s->logits == NULL) {
            status = dsv4_fail(err, DSV4_E_NO_MEMORY, "bench model: no memory for logits");
        }
    }
    return status;
}

static dsv4_status open_suite(suite *s, dsv4_error *err)
{
    const model_options *o = s->o;
    size_t cold_bytes = 0;
    dsv4_status status = o->model == NULL ? dsv4_fail(err, DSV4_E_USAGE, "bench model: got no --model")
                                          : model_numerics_find(o->numerics, &s->numerics, err);
    if (status == DSV4_OK) {
        status = dsv4_pool_create((int)o->shared.n_threads, &s->pool, err);
    }
    if (status == DSV4_OK) {
        progress bar = progress_begin("loading the model");
        status = model_weights_open(o->model, s->numerics->rows == MODEL_ROWS_I8, s->pool, &bar, &s->weights, err);
        progress_end(&bar);
    }
    if (status == DSV4_OK) {
        model_weights_preload(s->weights);
        status = open_engine(s, err);
    }
    if (status == DSV4_OK) {
        status = bench_cold_bytes(&cold_bytes, err);
    }
    return status == DSV4_OK ? bench_meter_open(s->pool, METER_ROUNDS, cold_bytes, &s->meter, err) : status;
}

static void close_suite(suite *s)
{
    bench_meter_close(s->meter);
    for (int i = 0; i < s->n_cases; i++) {
        bench_bounds_free(&s->cases[i].bounds);
        free(s->cases[i].sequences);
        free(s->cases[i].seconds);
    }
    model_engine_destroy(s->engine);
    model_weights_free(s->weights);
    dsv4_pool_destroy(s->pool);
    free(s->tokens);
    free(s->logits);
}

/* ---- steps ------------------------------------------------------------------------------------------------------------------------ */

/* Feeds with tokens that no step before had; logits of the last token of each. */
static void fill_feeds(suite *s, const model_case *c, model_feed *feeds)
{
    const rng r = {.seed = 1, .stream = rng_stream("tokens")};
    const int64_t V = s->weights->config.vocab_size, per_feed = c->is_prefill ? c->n : 1;
    for (int64_t i = 0; i < c->n; i++) {
        s->tokens[i] = (int32_t)rng_below(&r, s->n_drawn++, (uint64_t)V);
    }
    for (int64_t i = 0; i < c->n / per_feed; i++) {
        feeds[i] = (model_feed){c->sequences[i], s->tokens + i * per_feed, per_feed, 1, s->logits + i * V};
    }
}

static dsv4_status take_step(suite *s, model_case *c, double *seconds, dsv4_error *err)
{
    const int64_t n_feeds = c->is_prefill ? 1 : c->n;
    model_feed *feeds = calloc((size_t)n_feeds, sizeof *feeds);
    dsv4_status status = feeds == NULL ? dsv4_fail(err, DSV4_E_NO_MEMORY, "bench model: no memory") : DSV4_OK;
    if (status == DSV4_OK && c->is_prefill) {
        status = model_sequence_truncate(model_engine_kv(s->engine), c->sequences[0], 0, err);
    }
    if (status == DSV4_OK) {
        fill_feeds(s, c, feeds);
        const double begin_s = clock_s();
        status = model_engine_step(s->engine, feeds, n_feeds, err);
        *seconds = clock_s() - begin_s;
    }
    free(feeds);
    return status;
}

/* Takes a step into the samples; what it had to read, only its routes tell. */
static dsv4_status timed_step(suite *s, model_case *c, dsv4_error *err)
{
    const int64_t V = s->weights->config.vocab_size, n_logits = c->is_prefill ? 1 : c->n;
    const int i = c->n_timed;
    dsv4_status status = take_step(s, c, &c->seconds[i], err);
    if (status != DSV4_OK) {
        return status;
    }
    const model_graph *graph = model_engine_latest_graph(s->engine);
    c->idle[i] = 1 - dsv4_exec_get_summary(graph->exec).busy_share;
    c->checksum = bench_checksum_bytes(c->checksum, s->logits, (size_t)(n_logits * V) * sizeof *s->logits);
    bench_bounds_free(&c->bounds);
    status = model_cost_find(graph, s->weights, &c->bounds, &c->n_experts, err);
    if (status == DSV4_OK) {
        c->step = model_cost_total(&c->bounds);
        c->bytes[i] = c->step.bytes;
        c->n_timed++;
    }
    return status;
}

static dsv4_status warm(suite *s, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    double unused;
    for (int i = 0; i < s->n_cases && status == DSV4_OK; i++) {
        for (int k = 0; k < (s->cases[i].is_prefill ? 1 : WARM_STEPS) && status == DSV4_OK; k++) {
            status = take_step(s, &s->cases[i], &unused, err);
        }
    }
    return status;
}

static dsv4_status write_trace(suite *s, dsv4_error *err)
{
    trace t = {0};
    double seconds;
    dsv4_status status = take_step(s, &s->cases[0], &seconds, err);
    if (status == DSV4_OK) {
        status = trace_capture(model_engine_latest_graph(s->engine)->exec, &t, err);
    }
    if (status == DSV4_OK) {
        t.run.read_bytes_s = s->ceilings.read_bytes_s;
        t.run.ops_i8_s = s->ceilings.ops_i8_s;
        t.run.flops_bf16_s = s->ceilings.flops_bf16_s;
        t.run.vector_ops_s = s->ceilings.flops_f32_s / 2;
        status = trace_write(&t, s->o->trace, err);
    }
    trace_deinit(&t);
    return status;
}

static void finish_case(suite *s, model_case *c)
{
    const double last_s = c->seconds[c->n_timed - 1];
    c->peaks = s->ceilings;
    c->median_bytes = bench_times_of(c->bytes, c->n_timed).median_s;
    c->idle_share = bench_times_of(c->idle, c->n_timed).median_s;
    c->times = bench_times_of(c->seconds, c->n_timed);
    c->seconds[c->n_timed - 1] = last_s;
}

static dsv4_status measure(suite *s, dsv4_error *err)
{
    const int rounds = (int)s->o->shared.rounds;
    dsv4_status status = warm(s, err);
    progress bar = progress_begin("steps");
    for (int round = 0; round < rounds && status == DSV4_OK; round++) {
        if (round % ((rounds + METER_ROUNDS - 1) / METER_ROUNDS) == 0) {
            bench_meter_round(s->meter);
        }
        for (int i = 0; i < s->n_cases && status == DSV4_OK; i++) {
            model_case *c = &s->cases[i];
            status = !c->is_prefill || round % PREFILL_EVERY == 0 ? timed_step(s, c, err) : DSV4_OK;
        }
        progress_report(&bar, (double)(round + 1) / rounds);
    }
    progress_end(&bar);
    if (status != DSV4_OK) {
        return status;
    }
    s->ceilings = bench_meter_get(s->meter);
    for (int i = 0; i < s->n_cases; i++) {
        finish_case(s, &s->cases[i]);
    }
    return s->o->trace != NULL ? write_trace(s, err) : DSV4_OK;
}

/* ---- the suite -------------------------------------------------------------------------------------------------------------------- */

static void print(const suite *s)
{
    const int n_threads = dsv4_pool_n_threads(s->pool);
    cli_print("%s, numerics %s, %lld layers, weights %.3f GB; start position %lld\n", s->o->model, s->numerics->name,
              (long long)s->weights->config.num_hidden_layers, (double)s->weights->bytes * 1e-9, s->o->start_pos);
    model_print_heads();
    for (int i = 0; i < s->n_cases; i++) {
        model_print_case(&s->cases[i]);
        if (s->o->stages) {
            model_print_stages(&s->cases[i], n_threads);
        }
    }
    bench_print_ceilings(&s->ceilings, n_threads);
}

static int run(const cli_command *self, int argc, char **argv)
{
    model_options o = {.shared = {.rounds = DEFAULT_ROUNDS}, .numerics = "w8a8", .batches = {2, {1, 8}}, .n_prefill = 512};
    suite s = {.o = &o};
    bench_row rows[MAX_BATCHES + 1];
    dsv4_error err = {0};
    int first = 0, code = cli_parse(self, argc, argv, &o, &first);
    if (code >= 0) {
        return code;
    }
    dsv4_status status = first < argc
                             ? dsv4_fail(&err, DSV4_E_USAGE, "bench model: got \"%s\", expected options alone", argv[first])
                             : open_suite(&s, &err);
    if (status == DSV4_OK) {
        status = measure(&s, &err);
    }
    json_t *cases = json_array();
    if (status == DSV4_OK) {
        print(&s);
        for (int i = 0; i < s.n_cases; i++) {
            rows[i] = model_case_row(&s.cases[i], s.numerics->name);
            json_array_append_new(cases, model_case_json(&s.cases[i], dsv4_pool_n_threads(s.pool)));
        }
    }
    const bench_results results = {.suite = "model",
                                   .n_threads = s.pool != NULL ? dsv4_pool_n_threads(s.pool) : 0,
                                   .rounds = (int)o.shared.rounds,
                                   .ceilings = s.ceilings,
                                   .rows = rows,
                                   .n_rows = s.n_cases};
    code = bench_results_finish_with(&results, &o.shared, "steps", cases, status, &err);
    close_suite(&s);
    return code;
}

const cli_command bench_model = {
    "bench model",
    "-m DIR [options]",
    "decode and prefill steps of a whole model: tokens per second, and the share of what the machine can read and multiply",
    options_table,
    bench_option_table,
    run};
