/* ops/tiles.c - tile parameters: defaults, and the rules that a chosen value must obey. */
#include "ops/tiles.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ops/bind.h"
#include "ops/chunk.h"
#include "ops/names.h"

static int64_t largest_divisor(int64_t n, int64_t at_most)
{
    int64_t d = at_most < n ? at_most : n;
    while (d > 1 && n % d != 0) {
        d--;
    }
    return d;
}

static int64_t extent_of(const op_context *c, const char *symbol)
{
    return c->dims.of[op_find_symbol(symbol, strlen(symbol))];
}

static int64_t chunk_limit(const op_context *c, const op_tile *tile)
{
    return tile->chunks_of == NULL ? INT32_MAX : op_chunks(extent_of(c, tile->chunks_of));
}

void op_set_default_tiles(const dsv4_op *op, op_context *c)
{
    for (size_t i = 0; i < op->n_tiles; i++) {
        const op_tile *tile = &op->tiles[i];
        int64_t value = c->mode == DSV4_DECODE ? tile->decode : tile->prefill, limit = chunk_limit(c, tile);
        value = value < limit ? value : limit;
        c->tile[i] = tile->divides != NULL ? largest_divisor(extent_of(c, tile->divides), value) : value;
    }
}

static dsv4_status find_tile(const dsv4_op *op, const char *set, size_t name_bytes, size_t *out, dsv4_error *err)
{
    char known[256] = "";
    for (size_t i = 0; i < op->n_tiles; i++) {
        if (strlen(op->tiles[i].name) == name_bytes && memcmp(op->tiles[i].name, set, name_bytes) == 0) {
            *out = i;
            return DSV4_OK;
        }
        op_append_name(known, sizeof known, op->tiles[i].name);
    }
    return dsv4_fail(err, DSV4_E_NOT_FOUND, "%s: tile %.*s is unknown, expected one of %s", op->name, (int)name_bytes, set, known);
}

static dsv4_status check_tile(const dsv4_op *op, const op_context *c, const op_tile *tile, int64_t value, dsv4_error *err)
{
    if (value % tile->multiple_of != 0) {
        return dsv4_fail(err, DSV4_E_VALUE, "%s: %s=%lld, rule %s %% %lld == 0: expected a multiple of %lld", op->name, tile->name,
                         (long long)value, tile->name, (long long)tile->multiple_of, (long long)tile->multiple_of);
    }
    if (tile->divides != NULL && extent_of(c, tile->divides) % value != 0) {
        return dsv4_fail(err, DSV4_E_VALUE, "%s: %s=%lld, rule %s %% %s == 0: expected a divisor of %lld (%s)", op->name,
                         tile->name, (long long)value, tile->divides, tile->name, (long long)extent_of(c, tile->divides),
                         op_symbol_meaning(op_find_symbol(tile->divides, strlen(tile->divides))));
    }
    if (value > chunk_limit(c, tile)) {
        return dsv4_fail(err, DSV4_E_VALUE, "%s: %s=%lld, rule %s <= ceil(%s/%d): expected at most %lld", op->name, tile->name,
                         (long long)value, tile->name, tile->chunks_of, OP_SUM_CHUNK, (long long)chunk_limit(c, tile));
    }
    return DSV4_OK;
}

bool op_tile_may_be(const op_context *c, size_t tile, int64_t value)
{
    return value >= 1 && value <= INT32_MAX && check_tile(c->op, c, &c->op->tiles[tile], value, NULL) == DSV4_OK;
}

dsv4_status op_set_tile(const dsv4_op *op, op_context *c, const char *set, dsv4_error *err)
{
    const char *equals = strchr(set, '=');
    if (equals == NULL) {
        return dsv4_fail(err, DSV4_E_USAGE, "%s: got --set \"%s\", expected NAME=VALUE", op->name, set);
    }
    size_t i = 0;
    dsv4_status status = find_tile(op, set, (size_t)(equals - set), &i, err);
    if (status != DSV4_OK) {
        return status;
    }
    char *end;
    errno = 0;
    long long value = strtoll(equals + 1, &end, 10);
    if (end == equals + 1 || *end != '\0' || errno != 0 || value < 1 || value > INT32_MAX) {
        return dsv4_fail(err, DSV4_E_VALUE, "%s: %s, expected a whole number from 1 to %d", op->name, set, INT32_MAX);
    }
    status = check_tile(op, c, &op->tiles[i], value, err);
    if (status == DSV4_OK) {
        c->tile[i] = value;
    }
    return status;
}
