#include "model/step_sizes.h"

#include "ops/tile.h"

/* Powers of two up to 16, then fours of them. */
static int64_t round_up(int64_t n, int64_t max)
{
    int64_t size = 1;
    while (size < n) {
        size *= size < 16 ? 2 : 4;
    }
    return size < max ? size : max;
}

model_step_size model_step_size_for(const model_engine_options *o, model_graph_kind kind, int64_t n_rows, int64_t n_logits)
{
    const int64_t T = round_up(n_rows, o->step_tokens);
    return (model_step_size){kind, T, n_logits == 0 ? 0 : round_up(n_logits, T)};
}

static void add(model_step_size *sizes, int *n, model_step_size size)
{
    for (int i = 0; i < *n; i++) {
        if (sizes[i].kind == size.kind && sizes[i].T == size.T && sizes[i].n_logits == size.n_logits) {
            return;
        }
    }
    sizes[(*n)++] = size;
}

int model_step_sizes(const model_engine_options *o, bool drafts, int64_t prompt_tokens, model_step_size sizes[MODEL_MAX_STEP_SIZES])
{
    const int64_t most = o->step_tokens, last = prompt_tokens == 0 ? most : (prompt_tokens - 1) % most + 1;
    const int64_t n_logits = tile_min(tile_max(o->step_logits, 1), last);
    const bool has_chunks = prompt_tokens == 0 || prompt_tokens > most, all_logits = o->step_logits >= most;
    int n = 0;
    for (int is_draft = 0; is_draft <= (drafts ? 1 : 0); is_draft++) {
        const model_graph_kind kind = is_draft ? MODEL_GRAPH_DRAFT : MODEL_GRAPH_TRUNK;
        if (has_chunks) { /* with logits of all tokens or of none */
            add(sizes, &n, model_step_size_for(o, kind, most, all_logits ? most : 0));
        }
        add(sizes, &n, model_step_size_for(o, kind, last, is_draft ? 1 : n_logits));
        add(sizes, &n, model_step_size_for(o, kind, 1, 1));
        if (drafts) {
            add(sizes, &n, model_step_size_for(o, kind, tile_min(2, most), is_draft ? 1 : tile_min(2, most)));
        }
    }
    return n;
}
