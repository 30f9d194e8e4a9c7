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
