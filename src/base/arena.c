#include "base/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum { ALIGNMENT = 64, CHUNK_BYTES = 64 * 1024 };

struct arena_chunk {
    arena_chunk *next;
    size_t used, size; /* bytes of data; multiples of ALIGNMENT */
    _Alignas(ALIGNMENT) unsigned char data[];
};

/* Chunks larger than the usual one are mappings. */
static arena_chunk *chunk_create(size_t size)
{
    arena_chunk *c = size > CHUNK_BYTES ? memory_map(sizeof *c + size) : memory_zeroed_array(1, sizeof *c + size);
    if (c) {
        c->size = size;
    }
    return c;
}

static void chunk_destroy(arena_chunk *c)
{
    if (c->size > CHUNK_BYTES) {
        memory_unmap(c, sizeof *c + c->size);
    } else {
        free(c);
    }
}

/* A block larger than the usual chunk gets a chunk of its own behind the newest, whose free space stays in use. */
static arena_chunk *add_chunk(arena *a, size_t size)
{
    arena_chunk *c = chunk_create(size > CHUNK_BYTES ? size : CHUNK_BYTES);
    if (!c) {
        return NULL;
    }
    if (size > CHUNK_BYTES && a->newest) {
        c->next = a->newest->next;
        a->newest->next = c;
    } else {
        c->next = a->newest;
        a->newest = c;
    }
    return c;
}

void *arena_alloc(arena *a, size_t n_bytes)
{
    if (n_bytes > SIZE_MAX / 2) {
        return NULL;
    }
    size_t size = n_bytes ? (n_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT : ALIGNMENT;
    arena_chunk *c = a->newest;
    if (!c || size > c->size - c->used) {
        c = add_chunk(a, size);
        if (!c) {
            return NULL;
        }
    }
    void *block = c->data + c->used;
    c->used += size;
    return block;
}

char *arena_copy_text(arena *a, const char *text)
{
    size_t n_bytes = strlen(text) + 1;
    char *copy = arena_alloc(a, n_bytes);
    return copy ? memcpy(copy, text, n_bytes) : NULL;
}

void arena_deinit(arena *a)
{
    for (arena_chunk *c = a->newest; c;) {
        arena_chunk *next = c->next;
        chunk_destroy(c);
        c = next;
    }
    *a = (arena){0};
}
