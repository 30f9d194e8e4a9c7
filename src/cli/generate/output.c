/* cli/generate/output.c - a text as it comes: on stdout, and kept for those who ask for it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/generate/generate.h"

dsv4_status generate_output_init(generate_output *out, const generate_options *o, const generate_model *m, dsv4_error *err)
{
    *out = (generate_output){.o = o,
                             .words = m->words,
                             .end_token = (int32_t)model_engine_weights(m->engine)->config.eos_token_id,
                             .stops = {.texts = o->stops, .n_texts = o->n_stops},
                             .is_terminal = isatty(STDOUT_FILENO),
                             .bar = progress_begin("reading the prompt")};
    if (o->n_best >= 0) {
        out->logprobs = json_array();
    }
    return detokenizer_init(&out->pieces, m->words, false, err);
}

void generate_output_deinit(generate_output *out)
{
    detokenizer_deinit(&out->pieces);
    stop_filter_deinit(&out->stops);
    json_decref(out->logprobs);
    free(out->text);
}

/* ---- text ------------------------------------------------------------------------------------------------------------------------ */

static dsv4_status keep(generate_output *out, const char *text, size_t n, dsv4_error *err)
{
    if (out->n_text + n + 1 > out->text_size) {
        const size_t size = 2 * (out->n_text + n + 1);
        char *larger = realloc(out->text, size);
        if (larger == NULL) {
            return dsv4_fail(err, DSV4_E_NO_MEMORY, "no memory for %zu bytes of text", size);
        }
        out->text = larger;
        out->text_size = size;
    }
    memcpy(out->text + out->n_text, text, n);
    out->n_text += n;
    out->text[out->n_text] = '\0';
    return DSV4_OK;
}

/* Bytes of a control character at text: of ASCII one, of U+0080 to U+009F two; 0: it is none, or one that a text has. */
static size_t control_bytes(const char *text, size_t n)
{
    const unsigned char c = (unsigned char)text[0];
    if (c == 0xc2 && n > 1 && (unsigned char)text[1] < 0xa0) {
        return 2;
    }
    return (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f ? 1 : 0;
}

/* On a terminal control characters are shown as ^[ or <9B>: a model must not steer it. */
static bool show_on_terminal(const char *text, size_t n)
{
    bool ok = true;
    size_t start = 0;
    for (size_t i = 0; i < n; i++) {
        const size_t n_control = control_bytes(text + i, n - i);
        if (n_control > 0) {
            char visible[8];
            const int last = (unsigned char)text[i + n_control - 1];
            const int n_visible = n_control == 1 ? snprintf(visible, sizeof visible, "^%c", last ^ 0x40)
                                                 : snprintf(visible, sizeof visible, "<%02X>", (unsigned)last);
            cli_print_bytes(text + start, i - start);
            cli_print_bytes(visible, (size_t)n_visible);
            i += n_control - 1;
            start = i + 1;
        }
    }
    ok = cli_print_bytes(text + start, n - start);
    return ok;
}

static dsv4_status show(generate_output *out, const char *text, size_t n, dsv4_error *err)
{
    const dsv4_status status = n > 0 ? keep(out, text, n, err) : DSV4_OK;
    if (status != DSV4_OK || n == 0 || out->o->n_best >= 0) {
        return status;
    }
    const bool ok = out->is_terminal ? show_on_terminal(text, n) : cli_print_bytes(text, n);
    return ok ? DSV4_OK : dsv4_fail(err, DSV4_E_IO, "stdout: cannot write the text");
}

static dsv4_status pass(generate_output *out, const char *text, size_t n, dsv4_error *err)
{
    const char *through;
    size_t n_through;
    const dsv4_status status = stop_filter_next(&out->stops, text, n, &through, &n_through, err);
    return status == DSV4_OK ? show(out, through, n_through, err) : status;
}

/* ---- log-probabilities ------------------------------------------------------------------------------------------------------------- */

/* A token's bytes in quotes, controls and what is not ASCII or UTF-8 escaped by JSON's rules. */
static void print_token(const generate_output *out, int32_t id, double logprob)
{
    size_t n = 0;
    const char *bytes = tokenizer_bytes(out->words, id, &n);
    json_t *text = json_stringn(bytes != NULL ? bytes : "", n);
    char *quoted = text != NULL ? json_dumps(text, JSON_ENCODE_ANY) : NULL;
    cli_print("  %6d %9.4f %-16s", id, logprob, quoted != NULL ? quoted : "(bytes)");
    free(quoted);
    json_decref(text);
}

static dsv4_status note_logprobs(generate_output *out, const model_token *token, dsv4_error *err)
{
    json_t *best = json_array();
    cli_print("%6lld", (long long)token->position);
    print_token(out, token->id, token->logprob);
    for (int i = 0; i < token->n_best; i++) {
        print_token(out, token->best[i].token, token->best[i].logprob);
        json_array_append_new(best, json_pack("{s:i, s:f}", "id", token->best[i].token, "logprob", token->best[i].logprob));
    }
    cli_print("\n");
    json_array_append_new(out->logprobs, json_pack("{s:i, s:I, s:f, s:o}", "id", token->id, "position", (json_int_t)token->position,
                                                   "logprob", token->logprob, "best", best));
    return cli_print_bytes("", 0) ? DSV4_OK : dsv4_fail(err, DSV4_E_IO, "stdout: cannot write the text");
}

/* ---- what a generation reports to ---------------------------------------------------------------------------------------------------- */

static void hear_progress(void *context, int64_t n_done, int64_t n)
{
    generate_output *out = context;
    if (!out->o->quiet) {
        progress_report(&out->bar, (double)n_done / (double)n);
    }
}

static bool hear_token(void *context, const model_token *token)
{
    generate_output *out = context;
    const char *text;
    size_t n;
    progress_end(&out->bar);
    dsv4_status status = out->logprobs != NULL ? note_logprobs(out, token, &out->err) : DSV4_OK;
    if (status == DSV4_OK && token->id != out->end_token) {
        status = detokenizer_next(&out->pieces, token->id, &text, &n, &out->err);
        if (status == DSV4_OK) {
            status = pass(out, text, n, &out->err);
        }
    }
    out->failed = status != DSV4_OK;
    return !out->failed && !out->stops.found;
}

model_listener generate_output_listen(generate_output *out)
{
    return (model_listener){.context = out, .progress = hear_progress, .token = hear_token};
}

dsv4_status generate_output_end(generate_output *out, dsv4_error *err)
{
    size_t n;
    progress_end(&out->bar);
    if (out->failed) {
        return dsv4_fail(err, out->err.status, "%s", out->err.text);
    }
    const char *text = detokenizer_end(&out->pieces, &n);
    dsv4_status status = pass(out, text, n, err);
    if (status == DSV4_OK) {
        text = stop_filter_end(&out->stops, &n);
        status = show(out, text, n, err);
    }
    return status;
}

/* ---- numbers at the end ---------------------------------------------------------------------------------------------------------------- */

static double rate(int64_t n, double seconds)
{
    return seconds > 0 ? (double)n / seconds : 0;
}

void generate_print_speed(const model_generated *g, const generate_options *o)
{
    if (o->quiet) {
        return;
    }
    fflush(stdout);
    fprintf(stderr, "prompt %lld tokens, %.1f tokens/s; generated %lld tokens, %.1f tokens/s", (long long)g->n_prefilled,
            rate(g->n_prefilled, g->prefill_s), (long long)g->n_tokens, rate(g->n_decoded, g->decode_s));
    if (o->speculate) {
        fprintf(stderr, ", %lld of %lld drafts held (%.0f %%)", (long long)g->n_accepted, (long long)g->n_drafted,
                100 * rate(g->n_accepted, (double)g->n_drafted));
    }
    fprintf(stderr, "; %s\n", generate_end_text(g->end));
}

json_t *generate_speed_json(const model_generated *g)
{
    return json_pack("{s:{s:I, s:f, s:f}, s:{s:I, s:f, s:f}, s:{s:I, s:I}}", "prefill", "tokens", (json_int_t)g->n_prefilled,
                     "seconds", g->prefill_s, "tokens_per_s", rate(g->n_prefilled, g->prefill_s), "decode", "tokens",
                     (json_int_t)g->n_decoded, "seconds", g->decode_s, "tokens_per_s", rate(g->n_decoded, g->decode_s), "drafts",
                     "made", (json_int_t)g->n_drafted, "held", (json_int_t)g->n_accepted);
}

const char *generate_end_text(model_end end)
{
    static const char *const texts[] = {[MODEL_END_TOKEN] = "end of text",
                                        [MODEL_END_LENGTH] = "length",
                                        [MODEL_END_CONTEXT] = "context is full",
                                        [MODEL_END_ENOUGH] = "stop",
                                        [MODEL_END_STOPPED] = "interrupted"};
    return texts[end];
}
