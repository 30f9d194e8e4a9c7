/* tensor_list.c - named lists of tensors: an array in order of arrival, and a hash table (open addressing, linear probing, at most
 * half full) from names to item numbers. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/internal.h"

enum { DATA_ALIGNMENT = 64 };

/* FNV-1a, 64 bit. */
static uint64_t hash_name(const char *name)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *name != '\0'; name++) {
        hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
    }
    return hash;
}

/* The slot of a name: the one that holds its item, or else the free one where it belongs. capacity > 0. */
static uint32_t *find_slot(const dsv4_tensor_list *list, const char *name)
{
    const size_t mask = 2 * list->capacity - 1;
    size_t at = (size_t)hash_name(name) & mask;
    while (list->slots[at] != 0 && strcmp(list->items[list->slots[at] - 1].name, name) != 0) {
        at = (at + 1) & mask;
    }
    return &list->slots[at];
}

static void fill_slots(dsv4_tensor_list *list)
{
    memset(list->slots, 0, 2 * list->capacity * sizeof *list->slots);
    for (size_t i = 0; i < list->n; i++) {
        *find_slot(list, list->items[i].name) = (uint32_t)(i + 1);
    }
}

/* Makes room for one more item. The capacity stays a power of two. */
static bool reserve_one(dsv4_tensor_list *list)
{
    if (list->n < list->capacity) {
        return true;
    }
    const size_t capacity = list->capacity == 0 ? 16 : 2 * list->capacity;
    if (capacity > UINT32_MAX / 2) {
        return false;
    }
    uint32_t *slots = malloc(2 * capacity * sizeof *slots);
    dsv4_named_tensor *items = realloc(list->items, capacity * sizeof *items);
    if (items != NULL) {
        list->items = items;
    }
    if (slots == NULL || items == NULL) {
        free(slots);
        return false;
    }
    free(list->slots);
    list->slots = slots;
    list->capacity = capacity;
    fill_slots(list);
    return true;
}

void dsv4_tensor_list_deinit(dsv4_tensor_list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        free(list->items[i].owned);
    }
    free(list->items);
    free(list->slots);
    *list = (dsv4_tensor_list){0};
}

void tensor_list_truncate(dsv4_tensor_list *list, size_t n)
{
    assert(n <= list->n);
    if (n == list->n) {
        return;
    }
    for (size_t i = n; i < list->n; i++) {
        free(list->items[i].owned);
    }
    list->n = n;
    fill_slots(list);
}

dsv4_tensor *dsv4_tensor_list_find(const dsv4_tensor_list *list, const char *name)
{
    if (list->n == 0) {
        return NULL;
    }
    const uint32_t found = *find_slot(list, name);
    return found == 0 ? NULL : &list->items[found - 1].tensor;
}

static dsv4_status check_name(const dsv4_tensor_list *list, const char *name, dsv4_error *err)
{
    const size_t length = strlen(name);
    if (length == 0) {
        return dsv4_fail(err, DSV4_E_VALUE, "tensor: empty name");
    }
    if (length >= DSV4_NAME_BYTES) {
        return dsv4_fail(err, DSV4_E_VALUE, "tensor '%.40s...': name of %zu bytes, at most %d allowed", name, length,
                         DSV4_NAME_BYTES - 1);
    }
    if (dsv4_tensor_list_find(list, name) != NULL) {
        return dsv4_fail(err, DSV4_E_VALUE, "tensor '%s': name already in the list", name);
    }
    return DSV4_OK;
}

/* Takes over `owned` on success. */
static dsv4_status append(dsv4_tensor_list *list, const char *name, const dsv4_tensor *t, void *owned, dsv4_error *err)
{
    const dsv4_status status = check_name(list, name, err);
    if (status != DSV4_OK) {
        return status;
    }
    if (!reserve_one(list)) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "tensor '%s': no memory for item %zu of the list", name, list->n);
    }
    dsv4_named_tensor *item = &list->items[list->n];
    *item = (dsv4_named_tensor){.tensor = *t, .owned = owned};
    memcpy(item->name, name, strlen(name) + 1);
    *find_slot(list, name) = (uint32_t)++list->n;
    return DSV4_OK;
}

dsv4_status dsv4_tensor_list_put(dsv4_tensor_list *list, const char *name, const dsv4_tensor *t, dsv4_error *err)
{
    return append(list, name, t, NULL, err);
}

dsv4_status dsv4_tensor_list_alloc(dsv4_tensor_list *list, const char *name, dsv4_dtype dtype, int n_dims, const int64_t *shape,
                                   dsv4_tensor *out, dsv4_error *err)
{
    size_t n_bytes;
    if (!tensor_shape_bytes(dtype, n_dims, shape, &n_bytes)) {
        return dsv4_fail(err, DSV4_E_SHAPE, "tensor '%s': %d dimensions, an extent or the size in bytes is out of range", name,
                         n_dims);
    }
    const size_t padded = (n_bytes / DATA_ALIGNMENT + 1) * DATA_ALIGNMENT;
    void *data = aligned_alloc(DATA_ALIGNMENT, padded);
    if (data == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "tensor '%s': no memory for %zu bytes", name, n_bytes);
    }
    memset(data, 0, padded);
    const dsv4_tensor t = dsv4_tensor_make(dtype, n_dims, shape, data);
    const dsv4_status status = append(list, name, &t, data, err);
    if (status != DSV4_OK) {
        free(data);
        return status;
    }
    if (out != NULL) {
        *out = t;
    }
    return DSV4_OK;
}
