/* cli/generate/perplexity.c - `dsv4 generate --perplexity FILE`. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "cli/generate/generate.h"
#include "cli/stop.h"

enum { DEFAULT_SEGMENT = 2048 };

static void hear_progress(void *context, int64_t n_done, int64_t n)
{
    progress_report(context, (double)n_done / (double)n);
}

static json_t *results_json(const generate_model *m, const model_perplexity *p, int64_t segment, const double *nats)
{
    json_t *segments = json_array();
    for (int64_t i = 0; i < p->n_segments; i++) {
        const int64_t left = p->n_tokens - i * segment;
        json_array_append_new(segments, json_real(nats[i] / (double)(left < segment ? left : segment)));
    }
    const double mean = p->nats / (double)p->n_tokens;
    return json_pack("{s:o, s:s, s:I, s:I, s:f, s:f, s:o, s:f}", "model", cli_json_text(m->folder), "numerics", m->numerics->name,
                     "tokens", (json_int_t)p->n_tokens, "segment", (json_int_t)segment, "nats_per_token", mean, "perplexity",
                     exp(mean), "nats_per_token_of_segments", segments, "tokens_per_s",
                     p->seconds > 0 ? (double)p->n_tokens / p->seconds : 0);
}

static dsv4_status report(const generate_options *o, const generate_model *m, const model_perplexity *p, int64_t segment,
                          const double *nats, dsv4_error *err)
{
    if (p->n_tokens == 0) {
        return dsv4_fail(err, DSV4_E_VALUE, "%s: interrupted before the first segment was read", o->perplexity);
    }
    const double mean = p->nats / (double)p->n_tokens;
    cli_print("perplexity %.4f (%.5f nats per token) of %lld tokens in %lld segments of up to %lld, numerics %s\n", exp(mean), mean,
              (long long)p->n_tokens, (long long)p->n_segments, (long long)segment, m->numerics->name);
    if (!o->quiet) {
        fflush(stdout);
        fprintf(stderr, "%.1f tokens/s\n", p->seconds > 0 ? (double)p->n_tokens / p->seconds : 0);
    }
    return cli_write_json(results_json(m, p, segment, nats), err);
}

static dsv4_status measure(const generate_options *o, generate_model *m, const tokenizer_ids *ids, dsv4_error *err)
{
    progress bar = progress_begin("reading");
    model_sequence *sequence;
    model_perplexity result;
    const model_perplexity_task task = {.engine = m->engine,
                                        .first_token = (int32_t)m->config.bos_token_id,
                                        .segment = m->context,
                                        .chunk = m->chunk,
                                        .stop = &cli_stop,
                                        .listener = {&bar, o->quiet ? NULL : hear_progress, NULL}};
    double *nats = calloc(ids->n / (size_t)m->context + 1, sizeof *nats);
    if (nats == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "no memory for the results");
    }
    dsv4_status status = model_sequence_open(model_engine_kv(m->engine), &sequence, err);
    if (status == DSV4_OK) {
        cli_stop_arm();
        status = model_perplexity_of(&task, sequence, ids->items, (int64_t)ids->n, nats, &result, err);
    }
    progress_end(&bar);
    if (status == DSV4_OK) {
        status = report(o, m, &result, m->context, nats, err);
    }
    free(nats);
    return status;
}

dsv4_status generate_perplexity(const generate_options *o, generate_model *m, dsv4_error *err)
{
    char *text = NULL;
    size_t n;
    tokenizer_ids ids = {NULL, 0, 0};
    dsv4_status status = file_read(o->perplexity, GENERATE_MAX_FILE_BYTES, &text, &n, err);
    if (status == DSV4_OK) {
        status = tokenizer_encode(m->words, text, n, &ids, err);
        status = status != DSV4_OK ? cli_blame(o->perplexity, err) : status;
    }
    if (status == DSV4_OK && ids.n == 0) {
        status = dsv4_fail(err, DSV4_E_VALUE, "%s: is empty, expected a text", o->perplexity);
    }
    if (status == DSV4_OK) {
        generate_use use = {.context = o->context > 0 ? o->context : DEFAULT_SEGMENT};
        use.prompt_tokens = (int64_t)ids.n < use.context ? (int64_t)ids.n : use.context;
        use.step_tokens = use.step_logits = model_perplexity_rows(o->chunk, m->config.vocab_size);
        status = generate_model_load(o, &use, m, err);
    }
    if (status == DSV4_OK) {
        status = measure(o, m, &ids, err);
    }
    free(text);
    free(ids.items);
    return status;
}
