/* model/packed_memory.h - what owns the bytes of packed weights: one mapping, of memory or of a file. */
#ifndef MODEL_PACKED_MEMORY_H
#define MODEL_PACKED_MEMORY_H

#include <stddef.h>

struct model_weights_memory {
    void *start;
    size_t bytes;
};

#endif
