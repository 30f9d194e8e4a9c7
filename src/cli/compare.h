/* cli/compare.h - the outputs of an operator beside those that are expected: a line and a JSON object for each. */
#ifndef CLI_COMPARE_H
#define CLI_COMPARE_H

#include "cli/cli.h"
#include "ops/op.h"

/* Compares every output in io, which holds the inputs too, with the one in expected by its rule. Prints a line for each (SKIP for
 * one that expected lacks), and appends to the JSON array outputs. *pass tells whether all agree. */
DSV4_MUST_CHECK dsv4_status compare_outputs(const dsv4_op *op, const dsv4_config *config, const dsv4_tensor_list *io,
                                            const dsv4_tensor_list *expected, json_t *outputs, bool *pass, dsv4_error *err);

/* One line of text for an output's rule. Cut to size; returns text. */
char *compare_rule_text(const dsv4_op *op, const op_tensor *row, char *text, size_t size);

#endif
