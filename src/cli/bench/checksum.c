#include "cli/bench/bench.h"

uint64_t bench_checksum_bytes(uint64_t sum, const void *data, size_t n_bytes)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < n_bytes; i++) {
        sum = (sum ^ bytes[i]) * UINT64_C(1099511628211);
    }
    return sum;
}

uint64_t bench_checksum(uint64_t sum, const dsv4_tensor *t)
{
    return bench_checksum_bytes(sum, t->data, dsv4_tensor_bytes(t));
}

uint64_t bench_outputs_checksum(const dsv4_op *op, const dsv4_tensor_list *io)
{
    uint64_t sum = BENCH_CHECKSUM_OF_NOTHING;
    for (size_t i = 0; i < op->n_tensors; i++) {
        const dsv4_tensor *t = dsv4_tensor_list_find(io, op->tensors[i].name);
        sum = op_is_output(&op->tensors[i]) && t != NULL ? bench_checksum(sum, t) : sum;
    }
    return sum;
}
