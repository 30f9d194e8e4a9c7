/* base/memory.h - arrays from the heap and mappings, with huge pages for large ones.
 *
 * A block of 2 MiB or more asks the system for huge pages before it is touched: fewer page faults while it is filled, fewer address
 * translations while it is streamed. Where the system gives none, nothing changes. */
#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H

#include <stddef.h>

/* n items of item_bytes (at least one byte in all), 64-byte aligned, contents undefined or zero; release with free. NULL without
 * memory or if the product overflows. */
void *memory_array(size_t n, size_t item_bytes);
void *memory_zeroed_array(size_t n, size_t item_bytes);

/* n_bytes >= 1 of zeros that no page of memory backs yet: the thread that first touches a page has it near its core. Page-aligned;
 * release with memory_unmap and the same n_bytes. NULL without memory. */
void *memory_map(size_t n_bytes);

/* The same for what may never be used whole: it may be larger than the memory that there is. Released likewise. */
void *memory_reserve(size_t n_bytes);
void memory_unmap(void *start, size_t n_bytes);

/* Asks for huge pages under [start, start + n_bytes) if that is large. For memory that is not yet touched. */
void memory_prefer_huge(void *start, size_t n_bytes);

#endif
