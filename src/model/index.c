/* index.c - model.safetensors.index.json: which file of the folder holds a tensor. */
#include <jansson.h>
#include <string.h>

#include "model/checkpoint.h"

/* A name that stays within the folder. Hidden files are none of ours. */
static bool is_plain_name(const char *name)
{
    static const char end[] = ".safetensors";
    const size_t n = strlen(name), n_end = sizeof end - 1;
    return n > n_end && n < 256 && name[0] != '.' && strchr(name, '/') == NULL && strcmp(name + n - n_end, end) == 0;
}

static dsv4_status check_entries(const char *source, json_t *weight_map, dsv4_error *err)
{
    const char *tensor;
    json_t *file;
    json_object_foreach(weight_map, tensor, file)
    {
        if (!json_is_string(file)) {
            return dsv4_fail(err, DSV4_E_FORMAT, "%s: tensor '%.80s': its file is no text, expected a name", source, tensor);
        }
        if (!is_plain_name(json_string_value(file))) {
            return dsv4_fail(
                err, DSV4_E_FORMAT,
                "%s: tensor '%.80s': its file is '%.80s', expected the plain name of a .safetensors file in the same folder",
                source, tensor, json_string_value(file));
        }
    }
    return DSV4_OK;
}

dsv4_status model_index_parse(const char *source, const char *text, size_t n_bytes, json_t **weight_map, dsv4_error *err)
{
    json_error_t at;
    json_t *root = json_loadb(text, n_bytes, JSON_REJECT_DUPLICATES, &at);
    if (root == NULL) {
        return dsv4_fail(err, json_error_code(&at) == json_error_out_of_memory ? DSV4_E_NO_MEMORY : DSV4_E_FORMAT,
                         "%s: line %d: %s", source, at.line, at.text);
    }
    json_t *map = json_object_get(root, "weight_map");
    dsv4_status status = json_is_object(map)
                             ? check_entries(source, map, err)
                             : dsv4_fail(err, DSV4_E_FORMAT, "%s: weight_map is no object, expected {tensor: file}", source);
    if (status == DSV4_OK) {
        *weight_map = json_incref(map);
    }
    json_decref(root);
    return status;
}
