/* cli/generate/text.c - a prompt from the command line, a file or a chat, and what follows it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/generate/generate.h"
#include "cli/stop.h"
#include "text/chat.h"

enum { DEFAULT_TOKENS = 128, DEFAULT_CHAT_TOKENS = 2048, RESTORED_CONTEXT = 8192 };

static int64_t max_tokens(const generate_options *o)
{
    return o->max_tokens >= 0 ? o->max_tokens : o->chat != NULL ? DEFAULT_CHAT_TOKENS : DEFAULT_TOKENS;
}

/* ---- the prompt ------------------------------------------------------------------------------------------------------------------ */

static dsv4_status append_id(tokenizer_ids *ids, int32_t id, dsv4_error *err)
{
    if (ids->n == ids->size) {
        const size_t size = 2 * ids->size + 16;
        int32_t *larger = realloc(ids->items, size * sizeof *larger);
        if (larger == NULL) {
            return dsv4_fail(err, DSV4_E_NO_MEMORY, "no memory for %zu tokens", size);
        }
        ids->items = larger;
        ids->size = size;
    }
    ids->items[ids->n++] = id;
    return DSV4_OK;
}

static dsv4_status render_file(const generate_options *o, char **text, size_t *n_bytes, dsv4_error *err)
{
    json_t *messages = NULL;
    dsv4_status status = chat_messages_read(o->chat, &messages, err);
    if (status == DSV4_OK) {
        status = generate_render(o, o->chat, messages, text, n_bytes, err);
    }
    json_decref(messages);
    return status;
}

/* The text of a prompt; the caller frees. A chat's has its first token in it. */
static dsv4_status get_text(const generate_options *o, char **text, size_t *n_bytes, dsv4_error *err)
{
    if (o->file != NULL) {
        return file_read(o->file, GENERATE_MAX_FILE_BYTES, text, n_bytes, err);
    }
    if (o->chat != NULL) {
        return render_file(o, text, n_bytes, err);
    }
    *text = strdup(o->prompt != NULL ? o->prompt : "");
    *n_bytes = *text != NULL ? strlen(*text) : 0;
    return *text != NULL ? DSV4_OK : dsv4_fail(err, DSV4_E_NO_MEMORY, "no memory for the prompt");
}

static dsv4_status get_prompt(const generate_options *o, const generate_model *m, tokenizer_ids *ids, dsv4_error *err)
{
    char *text = NULL;
    size_t n_bytes;
    dsv4_status status = get_text(o, &text, &n_bytes, err);
    if (status == DSV4_OK && o->chat == NULL && o->load == NULL) {
        status = append_id(ids, (int32_t)m->config.bos_token_id, err);
    }
    if (status == DSV4_OK) {
        status = tokenizer_encode(m->words, text, n_bytes, ids, err);
        if (status != DSV4_OK) {
            status = cli_blame(o->file != NULL ? o->file : o->chat != NULL ? o->chat : "--prompt", err);
        }
    }
    free(text);
    return status;
}

/* What can be seen of states before the model is loaded. */
static dsv4_status check_states(const generate_options *o, dsv4_error *err)
{
    if (o->load != NULL && access(o->load, R_OK) != 0) {
        return dsv4_fail(err, DSV4_E_IO, "%.400s: cannot read: %s", o->load, strerror(errno));
    }
    return o->save != NULL ? file_check_writable(o->save, err) : DSV4_OK;
}

/* A prompt that cannot fit is refused before the model is loaded. */
static dsv4_status check_length(const generate_options *o, const generate_model *m, int64_t n, dsv4_error *err)
{
    const int64_t most = m->config.dims.max_position_embeddings, context = o->context > 0 && o->context < most ? o->context : most;
    return n <= context ? DSV4_OK
                        : dsv4_fail(err, DSV4_E_VALUE, "prompt: got %lld tokens, expected at most %lld, the context", (long long)n,
                                    (long long)context);
}

/* ---- states ---------------------------------------------------------------------------------------------------------------------- */

/* Puts what a state has read before the prompt. */
static dsv4_status restore(const generate_options *o, generate_model *m, generate_run *run, dsv4_error *err)
{
    tokenizer_ids all = {NULL, 0, 0};
    dsv4_status status = model_sequence_restore(model_engine_kv(m->engine), m->name, o->load, &run->sequence, &all.items, err);
    if (status != DSV4_OK) {
        return status;
    }
    all.n = all.size = (size_t)run->sequence->length;
    for (size_t i = 0; i < run->ids.n && status == DSV4_OK; i++) {
        status = append_id(&all, run->ids.items[i], err);
    }
    free(run->ids.items);
    run->ids = all;
    if (status == DSV4_OK && all.n == 0) {
        status = dsv4_fail(err, DSV4_E_VALUE, "%s: has no tokens, expected one at least", o->load);
    }
    return status;
}

/* The last token is not read yet: nothing asked for what follows it. */
static dsv4_status save(const generate_options *o, generate_model *m, generate_run *run, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    if (cli_stop == 0 && (int64_t)run->ids.n <= m->context) {
        const model_generation g = {.engine = m->engine, .sampler = m->sampler, .chunk = m->chunk, .context = m->context};
        model_generated done;
        int64_t n = (int64_t)run->ids.n;
        status = model_generate(&g, run->sequence, run->ids.items, &n, &done, err);
    }
    return status == DSV4_OK ? model_sequence_save(model_engine_kv(m->engine), run->sequence, m->name, run->ids.items, o->save, err)
                             : status;
}

/* ---- the run --------------------------------------------------------------------------------------------------------------------- */

static json_t *ids_json(const int32_t *ids, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(list, json_integer(ids[i]));
    }
    return list;
}

static json_t *results_json(const generate_options *o, const generate_model *m, const generate_run *run, const generate_output *out)
{
    const size_t n = (size_t)run->n_prompt;
    json_t *result =
        json_pack("{s:o, s:s, s:i, s:o, s:o, s:o, s:s}", "model", cli_json_text(m->folder), "numerics", m->numerics->name,
                  "threads", dsv4_pool_n_threads(m->pool), "prompt_tokens", ids_json(run->ids.items, n), "tokens",
                  ids_json(run->ids.items + n, run->ids.n - n), "text",
                  json_stringn(out->text != NULL ? out->text : "", out->n_text), "end", generate_end_text(run->done.end));
    json_t *speed = generate_speed_json(&run->done);
    json_object_update(result, speed);
    json_decref(speed);
    if (o->n_best >= 0) {
        json_object_set(result, "logprobs", out->logprobs);
    }
    return result;
}

static dsv4_status generate_and_show(const generate_options *o, generate_model *m, generate_run *run, dsv4_error *err)
{
    generate_output out;
    dsv4_status status = generate_output_init(&out, o, m, err);
    if (status == DSV4_OK) {
        status = generate_continue(o, m, run, max_tokens(o), &out, err);
    }
    if (status == DSV4_OK) {
        if (o->n_best < 0) {
            cli_print("\n");
        }
        generate_print_speed(&run->done, o);
        status = o->save != NULL ? save(o, m, run, err) : DSV4_OK;
    }
    if (status == DSV4_OK) {
        status = cli_write_json(results_json(o, m, run, &out), err);
    }
    generate_output_deinit(&out);
    return status;
}

dsv4_status generate_text(const generate_options *o, generate_model *m, dsv4_error *err)
{
    generate_run run = {.sequence = NULL};
    dsv4_status status = check_states(o, err);
    if (status == DSV4_OK) {
        status = get_prompt(o, m, &run.ids, err);
    }
    if (status == DSV4_OK) {
        status = check_length(o, m, (int64_t)run.ids.n, err);
    }
    if (status == DSV4_OK) {
        const int64_t n = (int64_t)run.ids.n + max_tokens(o) + (o->load != NULL ? RESTORED_CONTEXT : 0);
        const generate_use use = {.context = o->context > 0 ? o->context : n,
                                  .prompt_tokens = o->load != NULL ? 0 : (int64_t)run.ids.n,
                                  .step_tokens = o->chunk};
        status = generate_model_load(o, &use, m, err);
    }
    if (status == DSV4_OK) {
        status = o->load != NULL ? restore(o, m, &run, err) : model_sequence_open(model_engine_kv(m->engine), &run.sequence, err);
    }
    if (status == DSV4_OK) {
        status = generate_and_show(o, m, &run, err);
    }
    free(run.ids.items);
    return status;
}
