/* cli/inputs.h - what `dsv4 run` runs an operator on: a config, and inputs drawn or from a file. */
#ifndef CLI_INPUTS_H
#define CLI_INPUTS_H

#include "cli/cli.h"
#include "ops/op.h"

/* Zeros in batch and seq: the operator's usual sizes. */
typedef struct inputs_request {
    const char *preset, *path; /* NULL: flash; drawn */
    long long batch, seq, start_pos, seed;
    bool quantised_index;
    dsv4_mode mode;
    int ratio;
} inputs_request;

cli_store_fn inputs_store_index_cache; /* bool: whether it is INT8 */

/* Fills config and inputs, both zeroed before. Drawn inputs: max_position_embeddings is raised to the end of the call where that is
 * larger. Refuses what would exhaust the machine's memory. Errors name the file. */
DSV4_MUST_CHECK dsv4_status inputs_get(const inputs_request *r, const dsv4_op *op, dsv4_config *config, dsv4_tensor_list *inputs,
                                       dsv4_error *err);

#endif
