/* Any bytes: either a one-line error, or tensors whose data lies within the bytes. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "dsv4/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

/* Reads the first and the last byte of a tensor. */
static void touch(const dsv4_tensor *t)
{
    const volatile unsigned char *data = t->data;
    const size_t n = dsv4_tensor_bytes(t);
    if (n > 0) {
        (void)data[0];
        (void)data[n - 1];
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    dsv4_safetensors *st = NULL;
    dsv4_error err = {0};
    if (dsv4_safetensors_open_memory("fuzz", bytes, n_bytes, &st, &err) != DSV4_OK) {
        if (err.text[0] == '\0' || st != NULL) {
            abort();
        }
        return 0;
    }
    const dsv4_tensor_list *tensors = dsv4_safetensors_tensors(st);
    for (size_t i = 0; i < tensors->n; i++) {
        touch(&tensors->items[i].tensor);
        if (dsv4_tensor_list_find(tensors, tensors->items[i].name) != &tensors->items[i].tensor) {
            abort();
        }
    }
    dsv4_tensor_list loaded = {0};
    const dsv4_status status = dsv4_safetensors_load(st, "", &loaded, &err);
    if (loaded.n != (status == DSV4_OK ? tensors->n : 0)) {
        abort();
    }
    dsv4_tensor_list_deinit(&loaded);
    dsv4_safetensors_close(st);
    return 0;
}
