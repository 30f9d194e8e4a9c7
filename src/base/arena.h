/* base/arena.h - memory that is freed all at once.
 *
 *   +-- chunk ---------------------+   +-- chunk ---------------------+
 *   | next | used | size | aaa bb..| ->| next | used | size | cccccc..| -> NULL
 *   +------------------------------+   +------------------------------+
 *
 * Every block is zeroed and 64-byte aligned. A block above 64 KiB is a mapping of its own, backed with memory only as it is touched
 * (memory.h). Not for several threads at once. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

typedef struct arena_chunk arena_chunk;

/* Zero-initialise; end with arena_deinit. */
typedef struct arena {
    arena_chunk *newest;
} arena;

/* n_bytes zeroed bytes (at least one), valid until arena_deinit; NULL without memory. */
void *arena_alloc(arena *a, size_t n_bytes);

/* Copy of a text in the arena; NULL without memory. */
char *arena_copy_text(arena *a, const char *text);

void arena_deinit(arena *a);

#endif
