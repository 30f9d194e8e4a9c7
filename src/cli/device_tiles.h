/* cli/device_tiles.h - the user's table of tiles that `dsv4 tune` has measured, and what it says about a call. */
#ifndef CLI_DEVICE_TILES_H
#define CLI_DEVICE_TILES_H

#include "ops/tile_table.h"

enum { DEVICE_TILES_PATH_BYTES = 4096, DEVICE_TILES_SET_BYTES = OP_TILE_NAME_BYTES + 16 };

/* Of a call: "n_tile=64", ... Zero-initialise. */
typedef struct device_tiles {
    char path[DEVICE_TILES_PATH_BYTES]; /* of the table that has an entry for the call; "" where none has */
    char cpu[128];
    char text[OP_MAX_TILES][DEVICE_TILES_SET_BYTES];
    const char *sets[OP_MAX_TILES]; /* into text */
    size_t n;
} device_tiles;

/* $DSV4_TILES, else $XDG_CONFIG_HOME/dsv4/tiles.json, else ~/.config/dsv4/tiles.json. False where there is no place for a table:
 * $DSV4_TILES is empty, or the environment names no home. */
bool device_tiles_path(char *path, size_t size);

/* The entry of the user's table for a call that op_plan has bound. A table that is damaged is refused, one that is not there has no
 * entry; so is an entry that breaks a rule of the call, by name of the file. out points into itself. */
DSV4_MUST_CHECK dsv4_status device_tiles_find(const op_context *c, int n_threads, device_tiles *out, dsv4_error *err);

#endif
