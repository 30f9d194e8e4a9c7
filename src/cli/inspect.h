/* cli/inspect.h - what the two forms of `dsv4 inspect` share. */
#ifndef CLI_INSPECT_H
#define CLI_INSPECT_H

#include "cli/cli.h"
#include "model/checkpoint.h"
#include "model/summary.h"

typedef struct inspect_view {
    const model_checkpoint *checkpoint;
    const model_summary *summary;
    bool with_tensors, with_values;
} inspect_view;

/* "window", "compressed 4", "compressed 128"; "fp4", "fp8"; "none", "mtp", "dspark"; "missing", "unexpected", "wrong". */
const char *inspect_attention(int ratio);
const char *inspect_expert_dtype(const model_config *config);
const char *inspect_draft(const model_config *config);
const char *inspect_problem_kind(model_problem_kind kind);

/* A folder that holds packed weights: tells of them. with_values: compares all checksums. */
DSV4_MUST_CHECK dsv4_status inspect_packed(const char *folder, bool with_values, dsv4_error *err);

json_t *inspect_json(const inspect_view *view);

#endif
