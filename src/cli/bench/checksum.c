#include "cli/bench/bench.h"

uint64_t bench_checksum(uint64_t sum, const dsv4_tensor *t)
{
    const unsigned char *bytes = t->data;
    size_t n_bytes = dsv4_tensor_bytes(t);
    for (size_t i = 0; i < n_bytes; i++) {
        sum = (sum ^ bytes[i]) * UINT64_C(1099511628211);
    }
    return sum;
}
