/* plan.c - how much memory a model will take. */
#include "model/plan.h"

#include "base/size_text.h"
#include "model/kv.h"
#include "model/packed_plan.h"

dsv4_status model_plan_make(const model_config *config, const model_plan_request *request, memory_limits limits, model_plan *out,
                            dsv4_error *err)
{
    model_weights *weights = NULL;
    packed_plan packed = {0};
    const dsv4_status status = packed_plan_make(config, request->numerics->rows == MODEL_ROWS_I8, &weights, &packed, err);
    if (status != DSV4_OK) {
        return status;
    }
    model_plan plan = {.weights = packed.bytes, .steps = request->step_bytes, .limits = limits};
    for (size_t i = 0; request->mapped && !request->drafts && i < packed.n; i++) {
        plan.weights -= packed.pieces[i].is_draft ? packed_piece_bytes(&packed.pieces[i]) : 0;
    }
    plan.sequences = model_kv_bytes(&weights->config, request->numerics, request->n_sequences, request->total_tokens);
    packed_plan_deinit(&packed);
    model_weights_free(weights);
    if (plan.sequences == SIZE_MAX || __builtin_add_overflow(plan.weights, plan.sequences, &plan.total) ||
        __builtin_add_overflow(plan.total, plan.steps, &plan.total)) {
        return dsv4_fail(err, DSV4_E_VALUE, "%lld sequences with %lld tokens have more bytes than can be counted",
                         (long long)request->n_sequences, (long long)request->total_tokens);
    }
    *out = plan;
    return DSV4_OK;
}

dsv4_status model_plan_check(const model_plan *p, dsv4_error *err)
{
    if (p->total <= p->limits.available) {
        return DSV4_OK;
    }
    return dsv4_fail(err, DSV4_E_NO_MEMORY, "the model needs %s of memory (weights %s, sequences %s, steps %s), %s are available%s",
                     size_text_of((double)p->total).text, size_text_of((double)p->weights).text,
                     size_text_of((double)p->sequences).text, size_text_of((double)p->steps).text,
                     size_text_of((double)p->limits.available).text,
                     p->limits.group < p->limits.machine ? " (limit of the control group)" : " on this machine");
}
