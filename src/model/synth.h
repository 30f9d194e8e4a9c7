/* model/synth.h - checkpoints in the published format with random weights, for measurements at real dimensions without real files.
 *
 * Scales are such that activations stay of the size that they have in a trained model: a matrix of K inputs has values of about
 * 1/sqrt(K). A value depends on the seed, its tensor's name and its place, not on threads. */
#ifndef MODEL_SYNTH_H
#define MODEL_SYNTH_H

#include <signal.h>

#include "dsv4/graph.h"
#include "model/checkpoint.h"

typedef struct model_synth_options {
    const char *preset; /* "flash", "pro", "tiny": dimensions */
    int64_t n_layers;   /* their kinds of attention are 0, 4, 128, 4, 128, ... */
    int64_t n_experts;  /* 0: those of the preset */
    bool draft, fp8;    /* with a draft block; routed experts in FP8 instead of FP4 */
    uint64_t seed;
    const volatile sig_atomic_t *stop; /* not 0: end soon; NULL: none */
} model_synth_options;

typedef struct model_synth_result {
    size_t bytes, n_tensors, n_files; /* of weights */
    bool was_stopped;                 /* and nothing is left of it */
} model_synth_result;

struct progress;

/* Writes config.json, shards, and last their index into a new or empty folder; no tokenizer. Looks at the room on the disk before, and
 * takes away what it wrote where it fails or is stopped. pool, bar: may be NULL. */
DSV4_MUST_CHECK dsv4_status model_synth(const char *folder, const model_synth_options *options, dsv4_pool *pool,
                                        struct progress *bar, model_synth_result *result, dsv4_error *err);

#endif
