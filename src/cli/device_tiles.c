#include "cli/device_tiles.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cpu.h"
#include "ops/tiles.h"

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

bool device_tiles_path(char *path, size_t size)
{
    const char *own = getenv("DSV4_TILES"), *config = variable("XDG_CONFIG_HOME"), *home = variable("HOME");
    int n = own != NULL      ? snprintf(path, size, "%s", own)
            : config != NULL ? snprintf(path, size, "%s/dsv4/tiles.json", config)
            : home != NULL   ? snprintf(path, size, "%s/.config/dsv4/tiles.json", home)
                             : 0;
    return n > 0 && (size_t)n < size;
}

/* Applies the entry to a copy of the call, so that its rules speak. */
static dsv4_status take_entry(const op_context *c, const op_tile_entry *entry, device_tiles *out, dsv4_error *err)
{
    dsv4_error at_fault = {0};
    op_context call = *c;
    for (size_t i = 0; i < entry->n_tiles; i++) {
        snprintf(out->text[i], sizeof out->text[i], "%s=%lld", entry->tiles[i].name, (long long)entry->tiles[i].value);
        out->sets[i] = out->text[i];
        if (op_set_tile(c->op, &call, out->sets[i], &at_fault) != DSV4_OK) {
            return dsv4_fail(err, at_fault.status, "%.200s: entry of \"%.60s\": %s", out->path, entry->cpu, at_fault.text);
        }
    }
    out->n = entry->n_tiles;
    return DSV4_OK;
}

dsv4_status device_tiles_find(const op_context *c, int n_threads, device_tiles *out, dsv4_error *err)
{
    op_tile_table table = {0};
    *out = (device_tiles){0};
    if (!device_tiles_path(out->path, sizeof out->path)) {
        out->path[0] = '\0';
        return DSV4_OK;
    }
    cpu_model_name(out->cpu, sizeof out->cpu);
    dsv4_status status = op_tile_table_read(out->path, &table, err);
    if (status == DSV4_OK) {
        op_tile_key key = op_tile_key_of(c, n_threads);
        const op_tile_entry *entry = op_tile_table_find(&table, out->cpu, &key);
        if (entry != NULL) {
            status = take_entry(c, entry, out, err);
        } else {
            out->path[0] = '\0';
        }
        op_tile_table_deinit(&table);
    } else if (status == DSV4_E_NOT_FOUND) {
        out->path[0] = '\0';
        status = DSV4_OK;
    }
    return status;
}
