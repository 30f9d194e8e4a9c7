/* base/memory.h - arrays from the heap, with huge pages for large ones.
 *
 * A block of 4 MiB or more asks the system for huge pages before it is touched: fewer page faults while it is filled, fewer address
 * translations while it is streamed. Where the system gives none, nothing changes. */
#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H

#include <stddef.h>

/* n items of item_bytes (at least one byte in all), 64-byte aligned, contents undefined or zero; release with free. NULL without
 * memory or if the product overflows. */
void *memory_array(size_t n, size_t item_bytes);
void *memory_zeroed_array(size_t n, size_t item_bytes);

/* Asks for huge pages under [start, start + n_bytes) if that is large. For memory that is not yet touched. */
void memory_prefer_huge(void *start, size_t n_bytes);

#endif
