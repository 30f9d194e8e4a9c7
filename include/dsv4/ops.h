/* dsv4/ops.h - the operators of DeepSeek-V4 as tile-task graphs.
 *
 *   dsv4_op_find -> inputs in a dsv4_tensor_list (SPEC 8 names) -> dsv4_op_build adds the operator's stages to a graph
 *   -> dsv4_graph_seal, dsv4_exec_create, dsv4_exec_run (graph.h) -> outputs in the same list
 *
 * RESULTS  An operator's output depends on its inputs and on nothing else: not on tiles, threads, schedule, instruction set, nor on
 * which other rows share the call. The order of every sum is part of its definition. */
#ifndef DSV4_OPS_H
#define DSV4_OPS_H

#include "dsv4/config.h"
#include "dsv4/graph.h"
#include "dsv4/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dsv4_op dsv4_op; /* static description of an operator */

typedef enum dsv4_mode { DSV4_DECODE, DSV4_PREFILL } dsv4_mode; /* chooses default tiles, never results */

typedef struct dsv4_op_options {
    dsv4_mode mode;
    dsv4_numerics numerics;  /* zeros: the defaults */
    const char *isa;         /* microkernel row; NULL: the DSV4_ISA environment variable, else the best of the machine */
    const char *const *sets; /* tiles by name: "n_tile=256" */
    size_t n_sets;
    dsv4_pool
        *pool; /* of the calling thread, used during the build only: each worker packs the weights that it would stream when the
                      * graph is replayed on this pool. NULL: the calling thread packs all */
} dsv4_op_options;

/* All operators, in a fixed order; NULL behind the last. */
const dsv4_op *dsv4_op_at(size_t i);
DSV4_MUST_CHECK dsv4_status dsv4_op_find(const char *name, const dsv4_op **out, dsv4_error *err);
const char *dsv4_op_name(const dsv4_op *op);
const char *dsv4_op_summary(const dsv4_op *op);

/* Appends the operator's stages to g. io holds its inputs; dimensions come from config and from their shapes, and every dtype,
 * shape and value rule is checked. Outputs missing in io are allocated there. Weights are packed into memory of the graph. The
 * tensors of io must outlive the graph. One line in err names the tensor or tile, got, expected. Nothing is added to g on failure.
 */
DSV4_MUST_CHECK dsv4_status dsv4_op_build(const dsv4_op *op, const dsv4_config *config, const dsv4_op_options *options,
                                          dsv4_tensor_list *io, dsv4_graph *g, dsv4_error *err);

#ifdef __cplusplus
}
#endif
#endif
