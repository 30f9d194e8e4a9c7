/* model/step_sizes.h - which graphs serve the steps of an engine. */
#ifndef MODEL_STEP_SIZES_H
#define MODEL_STEP_SIZES_H

#include "model/engine.h"
#include "model/graph.h"

enum { MODEL_MAX_STEP_SIZES = 8 };

typedef struct model_step_size {
    model_graph_kind kind;
    int64_t T, n_logits;
} model_step_size;

/* The graph that serves n_rows of at most step_tokens rows, and n_logits. */
model_step_size model_step_size_for(const model_engine_options *o, model_graph_kind kind, int64_t n_rows, int64_t n_logits);

/* The different graphs that a run needs: for a prompt's chunks, for its last tokens, for decode. prompt_tokens 0: any number, at least
 * step_tokens. Returns their number. */
int model_step_sizes(const model_engine_options *o, bool drafts, int64_t prompt_tokens,
                     model_step_size sizes[MODEL_MAX_STEP_SIZES]);

#endif
