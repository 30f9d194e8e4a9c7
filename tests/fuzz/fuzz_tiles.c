/* Any bytes: either a one-line error, or a table whose entries are found by their own keys and have values that a tile can have. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "ops/tile_table.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

static void check_entry(const op_tile_table *t, const op_tile_entry *e)
{
    if (op_tile_table_find(t, e->cpu, &e->key) != e || e->n_tiles > OP_MAX_TILES || !isfinite(e->default_s) ||
        !isfinite(e->chosen_s)) {
        abort();
    }
    for (size_t i = 0; i < e->n_tiles; i++) {
        if (e->tiles[i].value < 1 || e->tiles[i].value > INT32_MAX || e->tiles[i].name[0] == '\0') {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    op_tile_table t = {0};
    dsv4_error err = {0};
    if (op_tile_table_parse("fuzz", (const char *)bytes, n_bytes, &t, &err) != DSV4_OK) {
        if (err.text[0] == '\0' || t.entries != NULL) {
            abort();
        }
        return 0;
    }
    for (size_t i = 0; i < t.n; i++) {
        check_entry(&t, &t.entries[i]);
    }
    op_tile_table_deinit(&t);
    return 0;
}
