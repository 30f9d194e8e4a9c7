/* model/graph.h - the graphs of a model: one sealed graph is a whole step of up to T rows, from token ids to logits.
 *
 *   trunk  embedding -> blocks of attention and experts on M residual streams -> [streams kept for the draft block] -> head
 *   draft  kept streams and the tokens behind them -> one block -> its own head streams, the trunk's head
 *
 * Nothing separates layers but the bytes that pass between them. */
#ifndef MODEL_GRAPH_H
#define MODEL_GRAPH_H

#include "model/step/step.h"

typedef enum model_graph_kind {
    MODEL_GRAPH_TRUNK,
    MODEL_GRAPH_DRAFT,
    MODEL_GRAPH_BLOCK /* one block of the trunk, from streams to streams: to look at a layer by itself */
} model_graph_kind;

typedef struct model_graph {
    dsv4_graph *g;
    dsv4_exec *exec;
    step_rows *rows;     /* to be filled before a run; memory of g */
    int64_t T, n_logits; /* rows; rows of which it makes logits at most */
    model_graph_kind kind;
    const struct step_product *logits; /* [n_logits, V]; NULL where n_logits is 0 */
} model_graph;

typedef struct model_graph_options {
    const model_weights *weights;
    const model_numerics *numerics;
    const model_kv *kv;
    dsv4_pool *pool;
    int64_t T, n_logits, context;
    model_graph_kind kind;
    int block;     /* of MODEL_GRAPH_BLOCK */
    void *streams; /* [T, M*D] of the numerics' dtype: written by a trunk (NULL: not), read by a draft; a block's are replaced */
    void *room;    /* for what passes between operators, of graphs that run one at a time (dsv4_graph_lend); NULL: none */
    size_t room_bytes;
    int trace_level;
} model_graph_options;

/* Builds and seals. Everything in options must outlive it; the caller ends it with model_graph_deinit. */
DSV4_MUST_CHECK dsv4_status model_graph_init(const model_graph_options *options, model_graph *out, dsv4_error *err);
void model_graph_deinit(model_graph *graph);

/* What such a graph takes; zeros without memory. The weights' memory is not looked at. */
typedef struct model_graph_size {
    size_t room; /* for what passes between operators */
    size_t own;  /* the rest: its blocks, their order, and scratch of workers. Nearly: how many edges it has, only its seal tells */
} model_graph_size;
model_graph_size model_graph_measure(const model_graph_options *options);

/* Row i of the logits of the last run, [V]. */
void model_graph_logits(const model_graph *graph, int64_t i, float *logits);

#endif
