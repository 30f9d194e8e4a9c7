/* usage: change_file FROM TO TENSOR [INDEX VALUE]
 * Copies a vector file, with one element of an integer tensor set to a value; or without the tensor. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dsv4/safetensors.h"

static void require(dsv4_status status, const dsv4_error *err)
{
    if (status != DSV4_OK) {
        fprintf(stderr, "change_file: %s\n", err->text);
        exit(EXIT_FAILURE);
    }
}

static void set_element(dsv4_tensor *t, long long index, long long value)
{
    if (t == NULL || index < 0 || index >= dsv4_tensor_count(t) || (t->dtype != DSV4_I32 && t->dtype != DSV4_I64)) {
        fprintf(stderr, "change_file: no such integer\n");
        exit(EXIT_FAILURE);
    }
    if (t->dtype == DSV4_I32) {
        ((int32_t *)t->data)[index] = (int32_t)value;
    } else {
        ((int64_t *)t->data)[index] = value;
    }
}

/* All tensors but one, borrowed. */
static dsv4_tensor_list without(const dsv4_tensor_list *all, const char *name)
{
    dsv4_tensor_list rest = {0};
    dsv4_error err = {0};
    for (size_t i = 0; i < all->n; i++) {
        if (strcmp(all->items[i].name, name) != 0) {
            require(dsv4_tensor_list_put(&rest, all->items[i].name, &all->items[i].tensor, &err), &err);
        }
    }
    return rest;
}

int main(int argc, char **argv)
{
    dsv4_safetensors *from;
    dsv4_tensor_list all = {0};
    dsv4_error err = {0};
    if (argc != 4 && argc != 6) {
        fprintf(stderr, "usage: change_file FROM TO TENSOR [INDEX VALUE]\n");
        return EXIT_FAILURE;
    }
    require(dsv4_safetensors_open(argv[1], &from, &err), &err);
    require(dsv4_safetensors_load(from, "", &all, &err), &err);
    if (argc == 6) {
        set_element(dsv4_tensor_list_find(&all, argv[3]), strtoll(argv[4], NULL, 0), strtoll(argv[5], NULL, 0));
    }
    dsv4_tensor_list kept = without(&all, argc == 6 ? "" : argv[3]);
    const char *metadata[][2] = {{"kernel", dsv4_safetensors_metadata(from, "kernel")},
                                 {"config", dsv4_safetensors_metadata(from, "config")}};
    const dsv4_safetensors_part part = {"", &kept};
    require(dsv4_safetensors_write(argv[2], metadata, 2, &part, 1, &err), &err);
    dsv4_tensor_list_deinit(&kept);
    dsv4_tensor_list_deinit(&all);
    dsv4_safetensors_close(from);
    return EXIT_SUCCESS;
}
