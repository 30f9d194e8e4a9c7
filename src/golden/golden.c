/* golden/golden.c - the table of references, and the checks of what they are given. */
#include "golden/golden.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "golden/operators.h"

static const golden goldens[] = {
    {"rmsnorm", golden_rmsnorm},
    {"qkv_proj_rope", golden_qkv_proj_rope},
    {"rope_tables", golden_rope_tables},
    {"decode_indexer_compressor", golden_decode_indexer_compressor},
    {"decode_compressor_ratio4", golden_decode_compressor_ratio4},
    {"decode_compressor_ratio128", golden_decode_compressor_ratio128},
    {"prefill_indexer_compressor", golden_prefill_indexer_compressor},
    {"prefill_compressor_ratio4", golden_prefill_compressor_ratio4},
    {"prefill_compressor_ratio128", golden_prefill_compressor_ratio128},
    {"decode_indexer", golden_decode_indexer},
    {"prefill_indexer", golden_prefill_indexer},
    {"hc_pre", golden_hc_pre},
    {"hc_post", golden_hc_post},
    {"hc_head", golden_hc_head},
    {"decode_sparse_attn", golden_decode_sparse_attn},
    {"decode_sparse_attn_hca", golden_decode_sparse_attn_hca},
    {"decode_sparse_attn_swa", golden_decode_sparse_attn_swa},
    {"prefill_sparse_attn", golden_prefill_sparse_attn},
    {"decode_attention_swa", golden_decode_attention_swa},
    {"decode_attention_hca", golden_decode_attention_hca},
    {"decode_attention_csa", golden_decode_attention_csa},
    {"prefill_attention_swa", golden_prefill_attention_swa},
    {"prefill_attention_hca", golden_prefill_attention_hca},
    {"prefill_attention_csa", golden_prefill_attention_csa},
    {"gate", golden_gate},
    {"expert_shared", golden_expert_shared},
    {"expert_routed", golden_expert_routed},
    {"expert_routed_fp4", golden_expert_routed_fp4},
    {"dispatch", golden_dispatch},
    {"combine", golden_combine},
    {"moe", golden_moe},
    {"lm_head", golden_lm_head},
    {"mtp_projection", golden_mtp_projection},
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

static const struct {
    const char *name;
    size_t offset;
} extent_table[GOLDEN_N_EXTENTS] = {
#define EXTENT_ROW(code, field, name) {name, offsetof(golden_extents, field)},
    GOLDEN_EXTENT_LIST(EXTENT_ROW)
#undef EXTENT_ROW
};

static int64_t known_extent(const golden_extents *extents, int64_t extent)
{
    int64_t known = extent;
    if (extent < 0) {
        memcpy(&known, (const char *)extents + extent_table[-1 - extent].offset, sizeof known);
    }
    return known;
}

static void decide_extent(golden_extents *extents, int64_t code, int64_t value)
{
    memcpy((char *)extents + extent_table[-1 - code].offset, &value, sizeof value);
}

static bool shape_fits(const dsv4_tensor *t, const golden_tensor *want, golden_extents *extents)
{
    if (t->n_dims != want->n_dims) {
        return false;
    }
    for (int i = 0; i < want->n_dims; i++) {
        if (want->shape[i] < 0 && known_extent(extents, want->shape[i]) == 0) {
            decide_extent(extents, want->shape[i], t->shape[i]);
        }
        const int64_t extent = known_extent(extents, want->shape[i]);
        if (extent < 1 || t->shape[i] != extent) {
            return false;
        }
    }
    return true;
}

/* "[T, 256]", or "[8, 256]" once T is known. */
static void write_wanted_shape(const golden_tensor *want, const golden_extents *extents, char *text, size_t size)
{
    size_t used = (size_t)snprintf(text, size, "[");
    for (int i = 0; i < want->n_dims && used < size; i++) {
        const char *comma = i > 0 ? ", " : "";
        const int64_t extent = known_extent(extents, want->shape[i]);
        if (extent > 0) {
            used += (size_t)snprintf(text + used, size - used, "%s%" PRId64, comma, extent);
        } else {
            used += (size_t)snprintf(text + used, size - used, "%s%s", comma, extent_table[-1 - want->shape[i]].name);
        }
    }
    if (used < size) {
        snprintf(text + used, size - used, "]");
    }
}

static dsv4_status need_one(const dsv4_tensor_list *in, const golden_tensor *want, const void **data, golden_extents *extents,
                            dsv4_error *err)
{
    char got[160], expected[160];
    const golden_extents before = *extents;
    const dsv4_tensor *t = dsv4_tensor_list_find(in, want->name);
    if (t == NULL) {
        write_wanted_shape(want, &before, expected, sizeof expected);
        return dsv4_fail(err, DSV4_E_NOT_FOUND, "input %s: missing, expected %s %s", want->name, dsv4_dtype_name(want->dtype),
                         expected);
    }
    if (t->dtype != want->dtype || !shape_fits(t, want, extents)) {
        write_wanted_shape(want, &before, expected, sizeof expected);
        return dsv4_fail(err, DSV4_E_SHAPE, "input %s: got %s %s, expected %s %s", want->name, dsv4_dtype_name(t->dtype),
                         dsv4_tensor_shape_text(t, got, sizeof got), dsv4_dtype_name(want->dtype), expected);
    }
    if (!dsv4_tensor_is_contiguous(t)) {
        return dsv4_fail(err, DSV4_E_SHAPE, "input %s: has gaps between its elements, expected row-major without gaps", want->name);
    }
    *data = t->data;
    return DSV4_OK;
}

dsv4_status golden_need(const dsv4_tensor_list *in, const golden_tensor *want, int n, const void **data, golden_extents *extents,
                        dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    for (int i = 0; i < n && status == DSV4_OK; i++) {
        status = need_one(in, &want[i], &data[i], extents, err);
    }
    return status;
}

dsv4_status golden_need_if_given(const dsv4_tensor_list *in, const golden_tensor *want, int n, const void **data,
                                 golden_extents *extents, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    for (int i = 0; i < n && status == DSV4_OK; i++) {
        data[i] = NULL;
        if (dsv4_tensor_list_find(in, want[i].name) != NULL) {
            status = need_one(in, &want[i], &data[i], extents, err);
        }
    }
    return status;
}

dsv4_status golden_make(dsv4_tensor_list *out, const golden_tensor *make, int n, const golden_extents *extents, void **data,
                        dsv4_error *err)
{
    for (int i = 0; i < n; i++) {
        int64_t shape[DSV4_MAX_DIMS];
        for (int d = 0; d < make[i].n_dims; d++) {
            shape[d] = known_extent(extents, make[i].shape[d]);
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

dsv4_status golden_copy(dsv4_tensor_list *out, const dsv4_tensor_list *in, const char *const *names, int n, void **data,
                        dsv4_error *err)
{
    for (int i = 0; i < n; i++) {
        const dsv4_tensor from = *dsv4_tensor_list_find(in, names[i]);
        dsv4_tensor to;
        const dsv4_status status = dsv4_tensor_list_alloc(out, names[i], from.dtype, from.n_dims, from.shape, &to, err);
        if (status != DSV4_OK) {
            return status;
        }
        memcpy(to.data, from.data, dsv4_tensor_bytes(&from));
        data[i] = to.data;
    }
    return DSV4_OK;
}

dsv4_status golden_check_rope_dim(const dsv4_config *config, const char *head, int64_t head_dim, dsv4_error *err)
{
    const int64_t n_rope = config->qk_rope_head_dim;
    if (n_rope < 2 || n_rope % 2 != 0 || n_rope > head_dim) {
        return dsv4_fail(err, DSV4_E_VALUE,
                         "config qk_rope_head_dim: got %" PRId64 ", expected an even number from 2 to %s = %" PRId64, n_rope, head,
                         head_dim);
    }
    return DSV4_OK;
}
