/* cli/bench/context.c - `dsv4 bench context`: one attention layer in decode, at growing contexts.
 *
 * For each context the layer is built over inputs drawn at the end of that context, run until warm, and replayed: the same step
 * over the caches that the replay before left behind. Its weights may stay in the processor's caches. */
#include "cli/bench/context.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "cli/inputs.h"
#include "ops/rope.h"

enum { MAX_CONTEXTS = 16, WARM_RUNS = 5, DEFAULT_ROUNDS = 20, MAX_ROUNDS = 100000 };

typedef struct context_list {
    int n;
    int64_t at[MAX_CONTEXTS];
} context_list;

typedef struct context_options {
    launch_options launch;
    inputs_request inputs;
    context_list contexts;
    long long rounds;
    const char *markdown;
} context_options;

/* ---- options -------------------------------------------------------------------------------------------------------------- */

/* A number of tokens such as 1000, 16k or 1M, followed by a comma or the end; moves behind it. 0 if there is none. */
static int64_t read_tokens(const char **text)
{
    char *end = NULL;
    unsigned long long n = **text >= '0' && **text <= '9' ? strtoull(*text, &end, 10) : 0;
    if (n < 1) {
        return 0;
    }
    unsigned long long unit = *end == 'k' ? 1024 : *end == 'M' ? 1024 * 1024 : 1;
    *text = end + (unit > 1);
    return n <= OP_ROPE_MAX_POSITIONS / unit && (**text == ',' || **text == '\0') ? (int64_t)(n * unit) : 0;
}

/* False if text is no list of at most MAX_CONTEXTS of them. */
static bool read_contexts(const char *text, context_list *list)
{
    for (list->n = 0; list->n < MAX_CONTEXTS; text++) {
        int64_t n = read_tokens(&text);
        if (n == 0) {
            return false;
        }
        list->at[list->n++] = n;
        if (*text == '\0') {
            return true;
        }
    }
    return false;
}

static dsv4_status store_contexts(const cli_option *self, void *field, const char *text, dsv4_error *err)
{
    return read_contexts(text, field)
               ? DSV4_OK
               : dsv4_fail(err, DSV4_E_USAGE, "--%s: got \"%s\", expected 1 to %d contexts of 1 to 16M tokens, such as 1k,16k,1M",
                           self->name, text, MAX_CONTEXTS);
}

#define FIELD(name) offsetof(context_options, name)

static const cli_option options_table[] = {
    {"preset", "flash|pro|tiny", "dimensions (default flash)", cli_store_text, FIELD(inputs.preset), 0, 0},
    {"compress-ratio", "R", "0, 4 or 128: which layer (default 4)", launch_store_compress_ratio, FIELD(inputs.ratio), 0, 0},
    {"batch", "B", "requests (default 1)", cli_store_number, FIELD(inputs.batch), 1, 1 << 20},
    {"seq", "S", "tokens of each request in the step (default 1)", cli_store_number, FIELD(inputs.seq), 1, 128},
    {"contexts", "LIST", "tokens of each request with the step (default 1k,16k,128k,1M)", store_contexts, FIELD(contexts), 0, 0},
    {"index-cache", "bf16|int8", "form of the index cache (default bf16)", inputs_store_index_cache, FIELD(inputs.quantised_index),
     0, 0},
    {"rounds", "N", "replays of each context; medians are printed (default 20)", cli_store_number, FIELD(rounds), 1, MAX_ROUNDS},
    {"threads", "N", "workers (default: one per physical core)", cli_store_number, FIELD(launch.n_threads), 1, 1024},
    {"markdown", "FILE", "write the table as Markdown", cli_store_file, FIELD(markdown), 0, 0},
    {.name = NULL},
};

static context_options default_options(void)
{
    return (context_options){.inputs = {.preset = "flash", .batch = 1, .seq = 1, .mode = DSV4_DECODE, .ratio = OP_DEFAULT_RATIO},
                             .contexts = {4, {1 << 10, 1 << 14, 1 << 17, 1 << 20}},
                             .rounds = DEFAULT_ROUNDS};
}

static dsv4_status check_contexts(const context_options *o, dsv4_error *err)
{
    for (int i = 0; i < o->contexts.n; i++) {
        if (o->contexts.at[i] < o->inputs.seq) {
            return dsv4_fail(err, DSV4_E_USAGE, "--contexts: got %lld tokens, expected at least the %lld of --seq",
                             (long long)o->contexts.at[i], o->inputs.seq);
        }
    }
    return DSV4_OK;
}

/* ---- parts and caches ----------------------------------------------------------------------------------------------------- */

static const struct {
    const char *stage;
    context_part part;
} stage_parts[] = {
    {"index.score", CONTEXT_INDEX},    {"index.topk", CONTEXT_INDEX},         {"attn.core", CONTEXT_CORE},
    {"attn.merge", CONTEXT_CORE},      {"attention.plan", CONTEXT_PLAN},      {"compress.plan", CONTEXT_PLAN},
    {"attention.lists", CONTEXT_PLAN}, {"index.compress.plan", CONTEXT_PLAN}, {"attn.keys", CONTEXT_PLAN},
};

static context_part part_of(const char *stage)
{
    for (size_t i = 0; i < sizeof stage_parts / sizeof *stage_parts; i++) {
        if (strcmp(stage_parts[i].stage, stage) == 0) {
            return stage_parts[i].part;
        }
    }
    return CONTEXT_REST;
}

static const struct {
    const char *tensor;
    context_cache cache;
} cache_tensors[] = {
    {"kv_cache", CONTEXT_WINDOW},         {"cmp_kv", CONTEXT_COMPRESSED},     {"idx_kv_cache", CONTEXT_INDEX_KEYS},
    {"idx_kv_scale", CONTEXT_INDEX_KEYS}, {"compress_state", CONTEXT_STATES}, {"inner_compress_state", CONTEXT_STATES},
};

static void count_cache_bytes(const dsv4_tensor_list *io, int64_t *bytes)
{
    for (size_t i = 0; i < sizeof cache_tensors / sizeof *cache_tensors; i++) {
        const dsv4_tensor *t = dsv4_tensor_list_find(io, cache_tensors[i].tensor);
        bytes[cache_tensors[i].cache] += t != NULL ? (int64_t)dsv4_tensor_bytes(t) : 0;
    }
}

/* ---- one context ---------------------------------------------------------------------------------------------------------- */

/* Seconds of each round: of the whole layer, then of its parts. */
typedef struct sample_lists {
    double *layer, *part[CONTEXT_N_PARTS];
} sample_lists;

/* What is being measured. */
typedef struct subject {
    const context_options *o;
    const dsv4_op *op;
    dsv4_config config;
    dsv4_tensor_list inputs, io; /* as drawn; what the layer works on */
    launch launch;
    dsv4_stage_time *stages; /* [n_stages] */
    int64_t n_stages;
} subject;

static dsv4_status open_subject(subject *x, int64_t context, dsv4_error *err)
{
    inputs_request request = x->o->inputs;
    request.start_pos = context - request.seq;
    dsv4_status status = inputs_get(&request, x->op, &x->config, &x->inputs, err);
    if (status == DSV4_OK) {
        status = launch_isolate(x->op, &x->inputs, &x->io, err);
    }
    if (status == DSV4_OK) {
        status = launch_open(&x->launch, x->op, &x->config, &x->o->launch, &x->io, err);
    }
    if (status != DSV4_OK) {
        return status;
    }
    x->n_stages = dsv4_graph_get_info(x->launch.graph).n_stages;
    x->stages = calloc((size_t)x->n_stages + 1, sizeof *x->stages);
    return x->stages != NULL ? DSV4_OK : dsv4_fail(err, DSV4_E_NO_MEMORY, "%s: no memory for stage times", x->op->name);
}

static void close_subject(subject *x)
{
    free(x->stages);
    launch_close(&x->launch);
    dsv4_tensor_list_deinit(&x->io);
    dsv4_tensor_list_deinit(&x->inputs);
}

static dsv4_status time_round(const subject *x, const sample_lists *samples, int round, dsv4_error *err)
{
    double begin_s = clock_s();
    dsv4_status status = dsv4_exec_run(x->launch.exec, 0, err);
    samples->layer[round] = clock_s() - begin_s;
    if (status == DSV4_OK) {
        status = dsv4_exec_stage_times(x->launch.exec, x->stages, err);
    }
    for (int part = 0; part < CONTEXT_N_PARTS; part++) {
        samples->part[part][round] = 0;
    }
    for (int64_t i = 0; i < x->n_stages && status == DSV4_OK; i++) {
        samples->part[part_of(x->stages[i].name)][round] += x->stages[i].total_s / dsv4_pool_n_threads(x->launch.pool);
    }
    return status;
}

/* Runs the step over the caches as they were drawn. */
static dsv4_status run_as_drawn(subject *x, uint64_t *checksum, dsv4_error *err)
{
    launch_restore(x->op, &x->inputs, &x->io);
    dsv4_status status = dsv4_exec_run(x->launch.exec, 0, err);
    *checksum = bench_checksum(BENCH_CHECKSUM_OF_NOTHING, dsv4_tensor_list_find(&x->io, "x_out"));
    return status;
}

static dsv4_status time_rounds(const subject *x, const sample_lists *samples, dsv4_error *err)
{
    int rounds = (int)x->o->rounds;
    dsv4_status status = DSV4_OK;
    progress bar = progress_begin("replays");
    for (int i = 0; i < rounds && status == DSV4_OK; i++) {
        status = time_round(x, samples, i, err);
        progress_report(&bar, (double)(i + 1) / rounds);
    }
    progress_end(&bar);
    return status;
}

static dsv4_status replay(subject *x, const sample_lists *samples, context_row *row, dsv4_error *err)
{
    uint64_t checksum = 0;
    dsv4_status status = run_as_drawn(x, &row->checksum, err);
    for (int i = 1; i < WARM_RUNS && status == DSV4_OK; i++) {
        status = dsv4_exec_run(x->launch.exec, 0, err);
    }
    if (status == DSV4_OK) {
        status = time_rounds(x, samples, err);
    }
    if (status == DSV4_OK) {
        status = run_as_drawn(x, &checksum, err);
    }
    if (status == DSV4_OK && checksum != row->checksum) {
        status = dsv4_fail(err, DSV4_E_MISMATCH, "%s: two runs at context %lld gave different x_out", x->op->name,
                           (long long)row->context);
    }
    return status;
}

static dsv4_status measure(subject *x, const sample_lists *samples, context_row *row, dsv4_error *err)
{
    int rounds = (int)x->o->rounds, ratio = x->op->ratio;
    dsv4_status status = open_subject(x, row->context, err);
    if (status == DSV4_OK) {
        status = replay(x, samples, row, err);
    }
    if (status != DSV4_OK) {
        return status;
    }
    row->n_compressed = ratio > 0 ? row->context / ratio : 0;
    row->layer_s = bench_times_of(samples->layer, rounds).median_s;
    for (int part = 0; part < CONTEXT_N_PARTS; part++) {
        row->part_s[part] = bench_times_of(samples->part[part], rounds).median_s;
    }
    row->between_bytes = dsv4_graph_get_info(x->launch.graph).between_bytes;
    count_cache_bytes(&x->io, row->cache_bytes);
    return DSV4_OK;
}

/* ---- all contexts --------------------------------------------------------------------------------------------------------- */

static dsv4_status measure_row(const context_options *o, const sample_lists *samples, context_setting *setting, context_row *row,
                               dsv4_error *err)
{
    subject x = {.o = o};
    dsv4_status status = op_choose("attention", DSV4_DECODE, o->inputs.ratio, &x.op, err);
    if (status == DSV4_OK) {
        status = measure(&x, samples, row, err);
    }
    if (status == DSV4_OK && setting->op == NULL) {
        setting->op = x.op->name;
        setting->n_workers = dsv4_pool_n_threads(x.launch.pool);
        context_print_setting(setting);
        context_print_heads();
    }
    if (status == DSV4_OK) {
        context_print_row(row);
    }
    close_subject(&x);
    return status;
}

static dsv4_status write_markdown(const context_options *o, const context_setting *setting, const context_row *rows,
                                  dsv4_error *err)
{
    file_writer writer;
    if (o->markdown == NULL) {
        return DSV4_OK;
    }
    dsv4_status status = file_writer_open(&writer, o->markdown, err);
    if (status != DSV4_OK) {
        return status;
    }
    context_write_markdown(writer.stream, setting, rows, o->contexts.n);
    return file_writer_commit(&writer, err);
}

static dsv4_status measure_all(const context_options *o, json_t **results, dsv4_error *err)
{
    context_row rows[MAX_CONTEXTS] = {{0}};
    context_setting setting = {.config = o->inputs.preset,
                               .index_cache = o->inputs.quantised_index ? "int8" : "bf16",
                               .batch = o->inputs.batch,
                               .seq = o->inputs.seq,
                               .rounds = (int)o->rounds};
    double *memory = calloc((size_t)o->rounds * (1 + CONTEXT_N_PARTS), sizeof *memory);
    dsv4_status status =
        memory == NULL ? dsv4_fail(err, DSV4_E_NO_MEMORY, "bench context: no memory for %lld rounds", o->rounds) : DSV4_OK;
    sample_lists samples = {.layer = memory};
    for (int part = 0; part < CONTEXT_N_PARTS && status == DSV4_OK; part++) {
        samples.part[part] = memory + (1 + part) * o->rounds;
    }
    for (int i = 0; i < o->contexts.n && status == DSV4_OK; i++) {
        rows[i].context = o->contexts.at[i];
        status = measure_row(o, &samples, &setting, &rows[i], err);
    }
    free(memory);
    if (status == DSV4_OK) {
        *results = context_json(&setting, rows, o->contexts.n);
        status = write_markdown(o, &setting, rows, err);
    }
    return status;
}

static int run(const cli_command *self, int argc, char **argv)
{
    context_options options = default_options();
    dsv4_error err = {0};
    json_t *results = NULL;
    int first = 0, code = cli_parse(self, argc, argv, &options, &first);
    if (code >= 0) {
        return code;
    }
    dsv4_status status = first < argc
                             ? dsv4_fail(&err, DSV4_E_USAGE, "bench context: got \"%s\", expected options alone", argv[first])
                             : check_contexts(&options, &err);
    if (status == DSV4_OK) {
        status = measure_all(&options, &results, &err);
    }
    return bench_finish(results, status, &err);
}

const cli_command bench_context = {
    "bench context", "[options]", "one attention layer in decode at growing contexts: what grows, and what does not",
    options_table,   NULL,        run};
