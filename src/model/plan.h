/* model/plan.h - how much memory a model will take, before anything of it is loaded. */
#ifndef MODEL_PLAN_H
#define MODEL_PLAN_H

#include "base/memory_limits.h"
#include "model/config.h"
#include "model/numerics.h"

typedef struct model_plan_request {
    const model_numerics *numerics;
    int64_t n_sequences, total_tokens; /* of model_kv_bytes */
    size_t step_bytes;                 /* of model_engine_bytes, and what the caller keeps of steps */
    bool mapped;                       /* weights lie in a packed file: only what is read of it takes memory */
    bool drafts;                       /* the draft blocks are read */
} model_plan_request;

typedef struct model_plan {
    size_t weights;   /* in packed form: all of them, or those of a mapped file that the run can read */
    size_t sequences; /* when all of their memory is used */
    size_t steps;
    size_t total; /* what the process will hold more than before, once all weights and the whole context were used */
    memory_limits limits;
} model_plan;

/* config.expert_dtype is known. DSV4_E_VALUE: dimensions that cannot be packed, or more bytes than can be counted. */
DSV4_MUST_CHECK dsv4_status model_plan_make(const model_config *config, const model_plan_request *request, memory_limits limits,
                                            model_plan *out, dsv4_error *err);

/* DSV4_E_NO_MEMORY, with what is needed and what there is, if the total is not available. */
DSV4_MUST_CHECK dsv4_status model_plan_check(const model_plan *plan, dsv4_error *err);

/* The configuration of a folder, published or packed, with expert_dtype known; reads headers only. */
DSV4_MUST_CHECK dsv4_status model_folder_config(const char *folder, model_config *out, dsv4_error *err);

#endif
