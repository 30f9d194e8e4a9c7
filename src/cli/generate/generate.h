/* cli/generate/generate.h - what the parts of `dsv4 generate` share. */
#ifndef CLI_GENERATE_GENERATE_H
#define CLI_GENERATE_GENERATE_H

#include "base/progress.h"
#include "cli/cli.h"
#include "model/generate.h"
#include "text/stop.h"
#include "text/tokenizer.h"

enum { GENERATE_MAX_STOPS = 16, GENERATE_MAX_FILE_BYTES = 256 << 20 };

typedef struct generate_options {
    const char *model; /* NULL: the default one */
    const char *prompt, *file, *chat, *perplexity;
    bool interactive, think, no_think;
    const char *stops[GENERATE_MAX_STOPS];
    size_t n_stops;
    double temperature, top_p, min_p, repetition, presence, frequency;
    long long top_k, seed;
    long long max_tokens; /* -1: not given */
    const char *numerics;
    long long n_threads; /* 0: one per core */
    long long context;   /* 0: not given */
    long long chunk;
    long long n_best; /* of --logprobs; -1: not given */
    bool speculate, quiet;
    const char *save, *load;
} generate_options;

extern const generate_options generate_defaults;
extern const cli_option generate_option_table[];

/* Options that do not go together, or are of no use to what is asked for. */
DSV4_MUST_CHECK dsv4_status generate_check_options(const generate_options *o, dsv4_error *err);

model_sampler_options generate_sampler_options(const generate_options *o);

/* ---- the model ---------------------------------------------------------------------------------------------------------------- */

/* A model and what it needs to run; zero-initialise, generate_model_close always. */
typedef struct generate_model {
    char *folder;
    model_config config;
    tokenizer *words;
    model_weights *weights;
    const model_numerics *numerics;
    dsv4_pool *pool;
    model_engine *engine;
    model_sampler *sampler;
    int64_t context, chunk;             /* of the engine */
    int64_t prompt_tokens, step_logits; /* that it is planned for */
    double load_s;
    char name[40]; /* of its weights, for saved states */
} generate_model;

/* Finds the folder, reads its config.json and tokenizer.json. */
DSV4_MUST_CHECK dsv4_status generate_model_find(const generate_options *o, generate_model *m, dsv4_error *err);

/* What a model is loaded for. */
typedef struct generate_use {
    int64_t context;       /* tokens of a sequence at most; fewer where the model cannot have as many */
    int64_t prompt_tokens; /* that are read; 0: not known */
    int64_t step_tokens;   /* that are read at once at most */
    int64_t step_logits;   /* rows of logits of a step; 0: of its last token */
} generate_use;

/* Prints the memory plan and loads the rest. */
DSV4_MUST_CHECK dsv4_status generate_model_load(const generate_options *o, const generate_use *use, generate_model *m,
                                                dsv4_error *err);

void generate_model_close(generate_model *m);

/* ---- what is shown ------------------------------------------------------------------------------------------------------------ */

/* Shows a text as it comes, and keeps it. */
typedef struct generate_output {
    const generate_options *o;
    const tokenizer *words;
    int32_t end_token; /* is not shown */
    detokenizer pieces;
    stop_filter stops;
    bool is_terminal; /* stdout */
    bool failed;      /* status says why */
    dsv4_error err;
    char *text; /* what was shown */
    size_t n_text, text_size;
    json_t *logprobs; /* of --logprobs; NULL: none */
    progress bar;
} generate_output;

DSV4_MUST_CHECK dsv4_status generate_output_init(generate_output *out, const generate_options *o, const generate_model *m,
                                                 dsv4_error *err);
void generate_output_deinit(generate_output *out);

/* What a generation reports to, until generate_output_end: progress on stderr, text on stdout. */
model_listener generate_output_listen(generate_output *out);

/* Shows what still waits. Fails where the text could not be kept or shown; what went wrong before goes before. */
DSV4_MUST_CHECK dsv4_status generate_output_end(generate_output *out, dsv4_error *err);

/* The line of numbers at the end, on stderr. */
void generate_print_speed(const model_generated *g, const generate_options *o);

/* "until the text ended" */
const char *generate_end_text(model_end end);

/* {"tokens", "seconds", "tokens_per_s"} and so on; NULL without memory. */
json_t *generate_speed_json(const model_generated *g);

/* ---- a run ----------------------------------------------------------------------------------------------------------------------- */

/* Tokens that a sequence has read or is to read, and what they become. */
typedef struct generate_run {
    model_sequence *sequence;
    tokenizer_ids ids;
    int64_t n_prompt; /* of ids */
    model_generated done;
} generate_run;

/* Continues run->ids by at most max_tokens, to `out`. Fails as model_generate and generate_output_end. */
DSV4_MUST_CHECK dsv4_status generate_continue(const generate_options *o, generate_model *m, generate_run *run, int64_t max_tokens,
                                              generate_output *out, dsv4_error *err);

/* ---- what can be asked for ----------------------------------------------------------------------------------------------------- */

/* Messages as the text of a prompt; the caller frees. */
DSV4_MUST_CHECK dsv4_status generate_render(const generate_options *o, const char *source, const json_t *messages, char **text,
                                            size_t *n_bytes, dsv4_error *err);

/* Adds an answer as it was generated, thoughts first where it thinks, to a chat's messages. */
DSV4_MUST_CHECK dsv4_status generate_note_answer(const generate_options *o, json_t *messages, const char *text, size_t n,
                                                 dsv4_error *err);

DSV4_MUST_CHECK dsv4_status generate_text(const generate_options *o, generate_model *m, dsv4_error *err);
DSV4_MUST_CHECK dsv4_status generate_perplexity(const generate_options *o, generate_model *m, dsv4_error *err);
DSV4_MUST_CHECK dsv4_status generate_interactive(const generate_options *o, generate_model *m, dsv4_error *err);

#endif
