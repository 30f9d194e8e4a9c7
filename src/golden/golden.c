/* golden/golden.c - the table of references, and the checks of what they are given. */
#include "golden/golden.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "golden/operators.h"

static const golden goldens[] = {
    {"rmsnorm", golden_rmsnorm},
    {"qkv_proj_rope", golden_qkv_proj_rope},
    {"rope_tables", golden_rope_tables},
};

const golden *golden_find(const char *op)
{
    for (size_t i = 0; i < sizeof goldens / sizeof goldens[0]; i++) {
        if (strcmp(goldens[i].op, op) == 0) {
            return &goldens[i];
        }
    }
    return NULL;
}

/* GOLDEN_T is *n_tokens, or sets it while it is 0. */
static bool shape_fits(const dsv4_tensor *t, const golden_tensor *want, int64_t *n_tokens)
{
    if (t->n_dims != want->n_dims) {
        return false;
    }
    for (int i = 0; i < want->n_dims; i++) {
        int64_t extent = want->shape[i];
        if (extent == GOLDEN_T) {
            if (*n_tokens == 0) {
                *n_tokens = t->shape[i];
            }
            extent = *n_tokens;
        }
        if (extent < 1 || t->shape[i] != extent) {
            return false;
        }
    }
    return true;
}

/* "[T, 256]", or "[8, 256]" once T is known. */
static void write_wanted_shape(const golden_tensor *want, int64_t n_tokens, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "[");
    for (int i = 0; i < want->n_dims && used < size; i++) {
        const char *comma = i > 0 ? ", " : "";
        const int64_t extent = want->shape[i] == GOLDEN_T ? n_tokens : want->shape[i];
        if (extent > 0) {
            used += (size_t)snprintf(text + used, size - used, "%s%" PRId64, comma, extent);
        } else {
            used += (size_t)snprintf(text + used, size - used, "%sT", comma);
        }
    }
    if (used < size) {
        snprintf(text + used, size - used, "]");
    }
}

static dsv4_status need_one(const dsv4_tensor_list *in, const golden_tensor *want, const void **data, int64_t *n_tokens,
                            dsv4_error *err)
{
    char got[160], expected[160];
    const int64_t known_tokens = *n_tokens;
    const dsv4_tensor *t = dsv4_tensor_list_find(in, want->name);
    if (t == NULL) {
        write_wanted_shape(want, known_tokens, expected, sizeof expected);
        return dsv4_fail(err, DSV4_E_NOT_FOUND, "input %s: missing, expected %s %s", want->name, dsv4_dtype_name(want->dtype),
                         expected);
    }
    if (t->dtype != want->dtype || !shape_fits(t, want, n_tokens)) {
        write_wanted_shape(want, known_tokens, expected, sizeof expected);
        return dsv4_fail(err, DSV4_E_SHAPE, "input %s: got %s %s, expected %s %s", want->name, dsv4_dtype_name(t->dtype),
                         dsv4_tensor_shape_text(t, got, sizeof got), dsv4_dtype_name(want->dtype), expected);
    }
    if (!dsv4_tensor_is_contiguous(t)) {
        return dsv4_fail(err, DSV4_E_SHAPE, "input %s: has gaps between its elements, expected row-major without gaps", want->name);
    }
    *data = t->data;
    return DSV4_OK;
}

dsv4_status golden_need(const dsv4_tensor_list *in, const golden_tensor *want, int n, const void **data, int64_t *n_tokens,
                        dsv4_error *err)
{
    int64_t tokens = 0;
    for (int i = 0; i < n; i++) {
        const dsv4_status status = need_one(in, &want[i], &data[i], &tokens, err);
        if (status != DSV4_OK) {
            return status;
        }
    }
    if (n_tokens != NULL) {
        *n_tokens = tokens;
    }
    return DSV4_OK;
}

dsv4_status golden_make(dsv4_tensor_list *out, const golden_tensor *make, int n, int64_t n_tokens, void **data, dsv4_error *err)
{
    for (int i = 0; i < n; i++) {
        int64_t shape[DSV4_MAX_DIMS];
        for (int d = 0; d < make[i].n_dims; d++) {
            shape[d] = make[i].shape[d] == GOLDEN_T ? n_tokens : make[i].shape[d];
        }
        dsv4_tensor t;
        const dsv4_status status = dsv4_tensor_list_alloc(out, make[i].name, make[i].dtype, make[i].n_dims, shape, &t, err);
        if (status != DSV4_OK) {
            return status;
        }
        data[i] = t.data;
    }
    return DSV4_OK;
}

dsv4_status golden_check_rope_dim(const dsv4_config *config, dsv4_error *err)
{
    const int64_t n_rope = config->qk_rope_head_dim;
    if (n_rope < 2 || n_rope % 2 != 0 || n_rope > config->head_dim) {
        return dsv4_fail(err, DSV4_E_VALUE,
                         "config qk_rope_head_dim: got %" PRId64 ", expected an even number from 2 to head_dim = %" PRId64, n_rope,
                         config->head_dim);
    }
    return DSV4_OK;
}
