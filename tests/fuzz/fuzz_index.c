/* Any bytes: either a one-line error, or a map whose files are plain names. */
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "model/checkpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    json_t *map = NULL;
    dsv4_error err = {0};
    if (model_index_parse("fuzz", (const char *)bytes, n_bytes, &map, &err) != DSV4_OK) {
        if (err.text[0] == '\0' || map != NULL) {
            abort();
        }
        return 0;
    }
    const char *tensor;
    json_t *file;
    json_object_foreach(map, tensor, file)
    {
        const char *name = json_string_value(file);
        if (name == NULL || strchr(name, '/') != NULL || name[0] == '.') {
            abort();
        }
    }
    json_decref(map);
    return 0;
}
