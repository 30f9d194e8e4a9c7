/* golden/keys.c - from index lists to the rows they name (SPEC 0.3 paged addressing, 5.3, 5.4). */
#include "golden/keys.h"

#include <inttypes.h>

dsv4_status golden_paged_bind(golden_paged *cache, const dsv4_tensor_list *in, const golden_paged_names *names, bool one_request,
                              int64_t hd, golden_extents *extents, dsv4_error *err)
{
    enum { ROWS, TABLE, N_IN };
    const golden_tensor rows = {names->rows, DSV4_BF16, 4, {names->n_pages, names->page_rows, 1, hd}};
    const golden_tensor table = {names->table, DSV4_I32, 2, {GOLDEN_B, names->n_entries}};
    const golden_tensor table_of_one = {names->table, DSV4_I32, 1, {names->n_entries}};
    const golden_tensor want[N_IN] = {[ROWS] = rows, [TABLE] = one_request ? table_of_one : table};
    const void *data[N_IN];
    const dsv4_status status = golden_need(in, want, N_IN, data, extents, err);
    if (status == DSV4_OK) {
        *cache = (golden_paged){
            .pages = {.table = data[TABLE],
                      .n_entries = dsv4_tensor_list_find(in, names->table)->shape[one_request ? 0 : 1],
                      .n_pages = dsv4_tensor_list_find(in, names->rows)->shape[0],
                      .page_rows = dsv4_tensor_list_find(in, names->rows)->shape[1],
                      .name = names->table},
            .rows = data[ROWS],
            .hd = hd,
        };
    }
    return status;
}

/* row = the address of row i of request b. */
static dsv4_status find_row(const golden_paged *cache, int64_t b, int64_t i, const uint16_t **row, dsv4_error *err)
{
    const dsv4_status status = golden_check_pages(&cache->pages, b, i, i, err);
    if (status == DSV4_OK) {
        *row = cache->rows + golden_flat_row(&cache->pages, b, i) * cache->hd;
    }
    return status;
}

/* row = what list entry (t, slot) names, or NULL. */
static dsv4_status find_key(const golden_key_space *space, const golden_lists *lists, int64_t t, int64_t slot, const uint16_t **row,
                            dsv4_error *err)
{
    const int64_t index = lists->indices[t * lists->width + slot], b = t / space->S;
    const int64_t overlay_end = space->W + space->S;
    const int64_t end = overlay_end + space->compressed.pages.n_entries * space->compressed.pages.page_rows;
    *row = NULL;
    if (index == -1 || (space->prefill && lists->name != NULL && index >= end)) {
        return DSV4_OK;
    }
    if (lists->name != NULL && (index < 0 || index >= end)) {
        return dsv4_fail(err, DSV4_E_VALUE,
                         "input %s: token %" PRId64 ", slot %" PRId64 ": got %" PRId64 ", expected -1 to %" PRId64, lists->name, t,
                         slot, index, end - 1);
    }
    if (index < space->W) {
        return find_row(&space->ring, b, index, row, err);
    }
    if (index >= overlay_end) {
        return find_row(&space->compressed, b, index - overlay_end, row, err);
    }
    if (!space->prefill || index - space->W < space->n_tokens) {
        *row = space->overlay + (b * space->S + index - space->W) * space->ring.hd;
    }
    return DSV4_OK;
}

static dsv4_status alloc_keys(const golden_key_space *space, int64_t width, arena *memory, golden_keys *keys, dsv4_error *err)
{
    if (!golden_keys_alloc(keys, memory, space->B * space->S, width)) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "attention: no memory for %" PRId64 " lists of %" PRId64 " keys",
                         space->B * space->S, width);
    }
    return DSV4_OK;
}

dsv4_status golden_keys_decode(const golden_key_space *space, const golden_lists *lists, arena *memory, golden_keys *keys,
                               dsv4_error *err)
{
    const int64_t width = lists->width;
    dsv4_status status = alloc_keys(space, width, memory, keys, err);
    for (int64_t t = 0; status == DSV4_OK && t < space->B * space->S; t++) {
        keys->n_slots[t] = width;
        for (int64_t slot = 0; status == DSV4_OK && slot < width; slot++) {
            status = find_key(space, lists, t, slot, &keys->rows[t * width + slot], err);
        }
    }
    return status;
}

dsv4_status golden_keys_swa(const golden_key_space *space, const golden_lists *lists, int64_t tile, arena *memory,
                            golden_keys *keys, dsv4_error *err)
{
    const int64_t overlay_slot = (space->W + tile - 1) / tile * tile, width = overlay_slot + space->S;
    dsv4_status status = alloc_keys(space, width, memory, keys, err);
    for (int64_t t = 0; status == DSV4_OK && t < space->B * space->S; t++) {
        keys->n_slots[t] = width;
        for (int64_t slot = 0; status == DSV4_OK && slot < lists->width; slot++) {
            const uint16_t *row;
            status = find_key(space, lists, t, slot, &row, err);
            if (status == DSV4_OK && row != NULL) {
                const int64_t index = lists->indices[t * lists->width + slot];
                keys->rows[t * width + (index < space->W ? index : overlay_slot + index - space->W)] = row;
            }
        }
    }
    return status;
}

dsv4_status golden_keys_prefill(const golden_key_space *space, const golden_lists *lists, int64_t max_slots, arena *memory,
                                golden_keys *keys, dsv4_error *err)
{
    dsv4_status status = alloc_keys(space, lists->width, memory, keys, err);
    for (int64_t t = 0; status == DSV4_OK && t < space->n_tokens; t++) {
        const uint16_t **rows = keys->rows + t * lists->width;
        const int64_t n_slots = lists->lens[t] < max_slots ? lists->lens[t] : max_slots;
        for (int64_t slot = 0; status == DSV4_OK && slot < n_slots; slot++) {
            const uint16_t *row;
            status = find_key(space, lists, t, slot, &row, err);
            if (status == DSV4_OK && row != NULL) {
                rows[keys->n_slots[t]++] = row;
            }
        }
    }
    return status;
}

int64_t golden_prefill_slots(const dsv4_config *config)
{
    const int64_t W = config->sliding_window, KT = config->index_topk, tile = config->attn_tile;
    const int64_t compressed = KT < config->prefill_max_compressed ? KT : config->prefill_max_compressed;
    const int64_t padded = (W + compressed + tile - 1) / tile * tile;
    return padded < W + KT ? padded : W + KT;
}
