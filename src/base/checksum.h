/* base/checksum.h - CRC-32 of bytes (that of zlib and of Ethernet): whether a file is as it was written. */
#ifndef BASE_CHECKSUM_H
#define BASE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* Of the bytes that `sum` is of (0: none) and of n_bytes behind them. */
uint32_t checksum_add(uint32_t sum, const void *bytes, size_t n_bytes);

#endif
