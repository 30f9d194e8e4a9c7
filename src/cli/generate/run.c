/* cli/generate/run.c - one generation, which Ctrl-C ends. */
#include <stdlib.h>
#include <string.h>

#include "cli/generate/generate.h"
#include "cli/stop.h"

static dsv4_status make_room(tokenizer_ids *ids, int64_t max_tokens, dsv4_error *err)
{
    const size_t size = ids->n + (size_t)max_tokens + 1;
    if (size > ids->size) {
        int32_t *larger = realloc(ids->items, size * sizeof *larger);
        if (larger == NULL) {
            return dsv4_fail(err, DSV4_E_NO_MEMORY, "no memory for %zu tokens", size);
        }
        ids->items = larger;
        ids->size = size;
    }
    return DSV4_OK;
}

dsv4_status generate_continue(const generate_options *o, generate_model *m, generate_run *run, int64_t max_tokens,
                              generate_output *out, dsv4_error *err)
{
    int64_t n = (int64_t)run->ids.n;
    const int64_t n_most = n <= m->context ? m->context - n + 1 : 0;
    const model_generation g = {.engine = m->engine,
                                .sampler = m->sampler,
                                .chunk = m->chunk,
                                .context = m->context,
                                .max_tokens = max_tokens,
                                .end_token = (int32_t)m->config.eos_token_id,
                                .speculate = o->speculate,
                                .logprobs = o->n_best >= 0,
                                .n_best = (int)(o->n_best < 0                      ? 0
                                                : o->n_best < m->config.vocab_size ? o->n_best
                                                                                   : m->config.vocab_size),
                                .stop = &cli_stop,
                                .listener = generate_output_listen(out)};
    dsv4_status status = make_room(&run->ids, max_tokens < n_most ? max_tokens : n_most, err);
    if (status == DSV4_OK) {
        run->n_prompt = n;
        cli_stop_arm();
        status = model_generate(&g, run->sequence, run->ids.items, &n, &run->done, err);
        run->ids.n = (size_t)n;
    }
    const dsv4_status shown = generate_output_end(out, status == DSV4_OK ? err : NULL);
    return status == DSV4_OK ? shown : status;
}
