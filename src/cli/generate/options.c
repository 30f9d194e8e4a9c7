/* cli/generate/options.c - what `dsv4 generate` can be told. */
#include <string.h>

#include "cli/generate/generate.h"
#include "text/utf8.h"

enum { DEFAULT_CHUNK = 256, MAX_CHUNK = 1 << 14, MAX_TOKENS = 1 << 24 };

const generate_options generate_defaults = {
    .temperature = 0, .top_p = 1, .repetition = 1, .max_tokens = -1, .numerics = "w8a8", .chunk = DEFAULT_CHUNK, .n_best = -1};

static dsv4_status store_stop(const cli_option *self, void *field, const char *text, dsv4_error *err)
{
    generate_options *o = field;
    const size_t n = strlen(text);
    if (n == 0 || utf8_valid_bytes(text, n) < n) {
        return dsv4_fail(err, DSV4_E_USAGE, "--%s: got \"%s\", expected a text in UTF-8", self->name, text);
    }
    if (o->n_stops == GENERATE_MAX_STOPS) {
        return dsv4_fail(err, DSV4_E_USAGE, "--%s: more than %d of them", self->name, GENERATE_MAX_STOPS);
    }
    o->stops[o->n_stops++] = text;
    return DSV4_OK;
}

#define FIELD(name) offsetof(generate_options, name)

const cli_option generate_option_table[] = {
    {"m,model", "DIR", "a published or converted model (default: the small one that comes along)", cli_store_text, FIELD(model), 0,
     0},
    {"p,prompt", "TEXT", "continue this text", cli_store_text, FIELD(prompt), 0, 0},
    {"file", "FILE", "continue the text of a file", cli_store_file, FIELD(file), 0, 0},
    {"chat", "FILE", "answer a chat: {\"messages\": [{\"role\": \"user\", \"content\": ...}]}", cli_store_file, FIELD(chat), 0, 0},
    {"interactive", NULL, "answer line by line", cli_store_flag, FIELD(interactive), 0, 0},
    {"perplexity", "FILE", "say how well the model predicts a text", cli_store_file, FIELD(perplexity), 0, 0},
    {"think", NULL, "chat: think before the answer", cli_store_flag, FIELD(think), 0, 0},
    {"no-think", NULL, "chat: answer at once (default)", cli_store_flag, FIELD(no_think), 0, 0},
    {"n,max-tokens", "N", "generate at most N tokens (default 128; of a chat 2048)", cli_store_number, FIELD(max_tokens), 0,
     MAX_TOKENS},
    {"stop", "TEXT", "end before this text; may be given several times", store_stop, 0, 0, 0},
    {"temperature", "T", "divides logits before a draw (default 0: the most likely token)", cli_store_real, FIELD(temperature), 0,
     100},
    {"top-k", "K", "draw from the K most likely tokens (default 0: all)", cli_store_number, FIELD(top_k), 0, INT32_MAX},
    {"top-p", "P", "draw from the most likely that add up to P (default 1: all)", cli_store_real, FIELD(top_p), 0, 1},
    {"min-p", "P", "draw from those at least P times as likely as the first (default 0)", cli_store_real, FIELD(min_p), 0, 1},
    {"seed", "N", "seed of the draws (default 0)", cli_store_number, FIELD(seed), 0, INT64_MAX},
    {"repetition-penalty", "R", "divides logits of tokens that were there (default 1)", cli_store_real, FIELD(repetition), 0, 100},
    {"presence-penalty", "X", "subtracted from logits of tokens generated before (default 0)", cli_store_real, FIELD(presence),
     -100, 100},
    {"frequency-penalty", "X", "the same, for each time (default 0)", cli_store_real, FIELD(frequency), -100, 100},
    {"logprobs", "N", "instead of text a line per token: log-probability, and the N best", cli_store_number, FIELD(n_best), 0,
     MODEL_MAX_BEST},
    {"speculate", NULL, "draft tokens with the model's draft block: same text, other speed", cli_store_flag, FIELD(speculate), 0,
     0},
    {"numerics", "NAME", "official, w8a8, bf16, exact or quant_f32 (default w8a8)", cli_store_text, FIELD(numerics), 0, 0},
    {"threads", "N", "workers (default: one per core)", cli_store_number, FIELD(n_threads), 1, 1024},
    {"context", "N", "tokens of a text at most; of a segment of --perplexity (default: enough)", cli_store_number, FIELD(context),
     1, 1 << 24},
    {"chunk", "N", "tokens of a prompt that are read at once (default 256)", cli_store_number, FIELD(chunk), 2, MAX_CHUNK},
    {"save-state", "FILE", "write what the model remembers of the text", cli_store_file, FIELD(save), 0, 0},
    {"load-state", "FILE", "go on from there; a prompt is put behind it", cli_store_file, FIELD(load), 0, 0},
    {"quiet", NULL, "nothing on stderr but errors", cli_store_flag, FIELD(quiet), 0, 0},
    {.name = NULL},
};

/* The source of the text: the first given; *n: how many are. */
static const char *find_source(const generate_options *o, int *n)
{
    const struct {
        const char *name;
        bool given;
    } sources[] = {{"prompt", o->prompt != NULL},
                   {"file", o->file != NULL},
                   {"chat", o->chat != NULL},
                   {"interactive", o->interactive},
                   {"perplexity", o->perplexity != NULL}};
    const char *first = "load-state";
    *n = 0;
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        if (sources[i].given && ++*n == 1) {
            first = sources[i].name;
        }
    }
    return first;
}

dsv4_status generate_check_options(const generate_options *o, dsv4_error *err)
{
    int n_sources;
    const char *source = find_source(o, &n_sources);
    const bool is_chat = o->chat != NULL || o->interactive, is_measured = o->perplexity != NULL;
    const struct {
        const char *name;
        bool given, fits;
    } rules[] = {{"think", o->think, is_chat},
                 {"no-think", o->no_think, is_chat},
                 {"load-state", o->load != NULL, !is_chat && !is_measured},
                 {"save-state", o->save != NULL, !o->interactive && !is_measured},
                 {"logprobs", o->n_best >= 0, !o->interactive && !is_measured},
                 {"stop", o->n_stops > 0, !is_measured},
                 {"speculate", o->speculate, !is_measured},
                 {"max-tokens", o->max_tokens >= 0, !is_measured}};
    if (n_sources > 1 || (n_sources == 0 && o->load == NULL)) {
        return dsv4_fail(err, DSV4_E_USAGE, "generate: got %d of -p, --file, --chat, --interactive, --perplexity, expected one",
                         n_sources);
    }
    if (o->think && o->no_think) {
        return dsv4_fail(err, DSV4_E_USAGE, "generate: got --think and --no-think, expected one");
    }
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (rules[i].given && !rules[i].fits) {
            return dsv4_fail(err, DSV4_E_USAGE, "generate: --%s is not for --%s", rules[i].name, source);
        }
    }
    return DSV4_OK;
}

model_sampler_options generate_sampler_options(const generate_options *o)
{
    return (model_sampler_options){.temperature = o->temperature,
                                   .top_k = o->top_k,
                                   .top_p = o->top_p,
                                   .min_p = o->min_p,
                                   .repetition = o->repetition,
                                   .presence = o->presence,
                                   .frequency = o->frequency,
                                   .seed = (uint64_t)o->seed};
}
