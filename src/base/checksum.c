#include "base/checksum.h"

#include <zlib.h>

uint32_t checksum_add(uint32_t sum, const void *bytes, size_t n_bytes)
{
    return (uint32_t)crc32_z(sum, bytes, n_bytes);
}
