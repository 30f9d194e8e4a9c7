/* cli/generate/interactive.c - `dsv4 generate --interactive`: a chat line by line. The model reads what is new alone, as long as the
 * prompt of a turn begins with what it has read; else from where they part. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/generate/generate.h"
#include "cli/stop.h"

enum { LINE_BYTES = 1 << 20, DEFAULT_CONTEXT = 8192, DEFAULT_TOKENS = 2048 };

typedef struct talk {
    const generate_options *o;
    generate_model *m;
    json_t *messages;
    generate_run run;
    char *text; /* that run.ids stand for; NULL: not known */
    size_t n_text;
} talk;

static const char help_text[] = "/help   this text\n"
                                "/reset  forget the chat\n"
                                "/quit   end (or Ctrl-D); Ctrl-C ends an answer\n";

/* ---- what the model reads ------------------------------------------------------------------------------------------------------------ */

static void forget_text(talk *t)
{
    free(t->text);
    t->text = NULL;
    t->n_text = 0;
}

/* The ids of a whole prompt in place of those that were; the sequence goes back to where they part. */
static dsv4_status replace_ids(talk *t, const char *text, size_t n_bytes, dsv4_error *err)
{
    tokenizer_ids ids = {NULL, 0, 0}, *old = &t->run.ids;
    model_sequence *s = t->run.sequence;
    dsv4_status status = tokenizer_encode(t->m->words, text, n_bytes, &ids, err);
    int64_t n_same = 0;
    if (status == DSV4_OK) {
        while (n_same < s->length && n_same < (int64_t)ids.n && ids.items[n_same] == old->items[n_same]) {
            n_same++;
        }
        n_same = n_same >= s->oldest ? n_same : 0;
        status = n_same < s->length ? model_sequence_truncate(model_engine_kv(t->m->engine), s, n_same, err) : DSV4_OK;
    }
    if (status != DSV4_OK) {
        free(ids.items);
        return status;
    }
    free(old->items);
    *old = ids;
    return DSV4_OK;
}

static dsv4_status take_prompt(talk *t, const char *text, size_t n_bytes, dsv4_error *err)
{
    if (t->text != NULL && n_bytes > t->n_text && memcmp(text, t->text, t->n_text) == 0) {
        return tokenizer_encode(t->m->words, text + t->n_text, n_bytes - t->n_text, &t->run.ids, err);
    }
    return replace_ids(t, text, n_bytes, err);
}

/* The prompt and all that was generated, as text. */
static dsv4_status note_text(talk *t, const char *prompt, size_t n_prompt, dsv4_error *err)
{
    char *answer = NULL;
    size_t n_answer;
    const int32_t *first = t->run.ids.items + t->run.n_prompt;
    forget_text(t);
    const dsv4_status status =
        tokenizer_decode(t->m->words, first, t->run.ids.n - (size_t)t->run.n_prompt, false, &answer, &n_answer, err);
    if (status != DSV4_OK) {
        return status;
    }
    t->text = malloc(n_prompt + n_answer + 1);
    if (t->text != NULL) {
        memcpy(t->text, prompt, n_prompt);
        memcpy(t->text + n_prompt, answer, n_answer);
        t->n_text = n_prompt + n_answer;
    }
    free(answer);
    return DSV4_OK;
}

/* ---- a turn -------------------------------------------------------------------------------------------------------------------------- */

static void add_message(json_t *messages, const char *role, const char *content, size_t n)
{
    json_array_append_new(messages, json_pack("{s:s, s:s%}", "role", role, "content", content, n));
}

static dsv4_status answer(talk *t, const char *prompt, size_t n_prompt, dsv4_error *err)
{
    generate_output out;
    dsv4_status status = generate_output_init(&out, t->o, t->m, err);
    if (status == DSV4_OK) {
        status = generate_continue(t->o, t->m, &t->run, t->o->max_tokens >= 0 ? t->o->max_tokens : DEFAULT_TOKENS, &out, err);
    }
    cli_stop_disarm();
    if (status == DSV4_OK) {
        status = note_text(t, prompt, n_prompt, err);
    }
    if (status == DSV4_OK) {
        cli_print("\n");
        generate_print_speed(&t->run.done, t->o);
        status = generate_note_answer(t->o, t->messages, out.text != NULL ? out.text : "", out.n_text, err);
    }
    generate_output_deinit(&out);
    return status;
}

/* A turn that fails leaves no trace in the chat. */
static dsv4_status turn(talk *t, const char *line, dsv4_error *err)
{
    const size_t n_before = json_array_size(t->messages);
    char *prompt = NULL;
    size_t n_prompt;
    add_message(t->messages, "user", line, strlen(line));
    dsv4_status status = json_array_size(t->messages) == n_before + 1
                             ? generate_render(t->o, "chat", t->messages, &prompt, &n_prompt, err)
                             : dsv4_fail(err, DSV4_E_VALUE, "the line is not UTF-8");
    if (status == DSV4_OK) {
        status = take_prompt(t, prompt, n_prompt, err);
    }
    if (status == DSV4_OK && (int64_t)t->run.ids.n > t->m->context) {
        status =
            dsv4_fail(err, DSV4_E_VALUE, "the chat has %zu tokens with that, expected at most %lld, the context: /reset forgets it",
                      t->run.ids.n, (long long)t->m->context);
    }
    if (status == DSV4_OK) {
        status = answer(t, prompt, n_prompt, err);
    }
    if (status != DSV4_OK) {
        while (json_array_size(t->messages) > n_before) {
            json_array_remove(t->messages, n_before);
        }
        forget_text(t);
    }
    free(prompt);
    return status;
}

static dsv4_status reset(talk *t, dsv4_error *err)
{
    json_array_clear(t->messages);
    forget_text(t);
    t->run.ids.n = 0;
    return model_sequence_truncate(model_engine_kv(t->m->engine), t->run.sequence, 0, err);
}

/* ---- lines --------------------------------------------------------------------------------------------------------------------------- */

/* A line without its end, in line[LINE_BYTES]; false: there are no more. One that is no text of that size becomes "", with a word
 * about it. */
static bool read_line(char *line)
{
    size_t n = 0;
    bool has_zero = false;
    int c;
    if (isatty(STDIN_FILENO)) {
        cli_print_bytes("> ", 2);
    }
    for (c = getc(stdin); c != EOF && c != '\n'; c = getc(stdin)) {
        has_zero = has_zero || c == '\0';
        line[n < LINE_BYTES ? n : LINE_BYTES - 1] = (char)c;
        n += n < LINE_BYTES;
    }
    if (n == LINE_BYTES || has_zero) {
        fflush(stdout);
        fprintf(stderr, "dsv4: got a line %s, ignored\n", has_zero ? "with a zero byte" : "of a megabyte or more");
        n = 0;
    }
    line[n] = '\0';
    return c != EOF || n > 0;
}

/* *over: the chat ends. A turn that fails is told about, and the chat goes on, but where no answer can be shown. */
static dsv4_status obey(talk *t, const char *line, bool *over, dsv4_error *err)
{
    dsv4_error trouble = {0};
    *over = strcmp(line, "/quit") == 0;
    if (*over || line[0] == '\0') {
        return DSV4_OK;
    }
    if (strcmp(line, "/help") == 0) {
        cli_print("%s", help_text);
        return DSV4_OK;
    }
    if (strcmp(line, "/reset") == 0) {
        return reset(t, err);
    }
    if (line[0] == '/') {
        dsv4_fail(&trouble, DSV4_E_USAGE, "got \"%.40s\", expected /help, /reset, /quit or a text", line);
        cli_fail(&trouble);
        return DSV4_OK;
    }
    const dsv4_status status = turn(t, line, &trouble);
    if (status != DSV4_OK && ferror(stdout)) {
        return dsv4_fail(err, status, "%s", trouble.text);
    }
    if (status != DSV4_OK) {
        cli_fail(&trouble);
    }
    return DSV4_OK;
}

static dsv4_status talk_on(talk *t, dsv4_error *err)
{
    char *line = malloc(LINE_BYTES);
    if (line == NULL || t->messages == NULL) {
        free(line);
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "no memory for a line");
    }
    dsv4_status status = DSV4_OK;
    bool over = false;
    cli_stop_disarm();
    while (status == DSV4_OK && !over && read_line(line)) {
        status = obey(t, line, &over, err);
    }
    free(line);
    if (status == DSV4_OK && ferror(stdin)) {
        status = dsv4_fail(err, DSV4_E_IO, "stdin: cannot read");
    }
    return status == DSV4_OK ? cli_write_json(json_pack("{s:O}", "messages", t->messages), err) : status;
}

dsv4_status generate_interactive(const generate_options *o, generate_model *m, dsv4_error *err)
{
    talk t = {.o = o, .m = m, .messages = json_array()};
    const generate_use use = {.context = o->context > 0 ? o->context : DEFAULT_CONTEXT, .step_tokens = o->chunk};
    dsv4_status status = generate_model_load(o, &use, m, err);
    if (status == DSV4_OK) {
        status = model_sequence_open(model_engine_kv(m->engine), &t.run.sequence, err);
    }
    if (status == DSV4_OK) {
        status = talk_on(&t, err);
    }
    forget_text(&t);
    free(t.run.ids.items);
    json_decref(t.messages);
    return status;
}
