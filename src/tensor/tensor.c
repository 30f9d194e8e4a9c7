/* tensor.c - typed views of memory. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/numbers.h"
#include "tensor/internal.h"

static const struct {
    const char *name;
    size_t n_bytes;
} dtypes[DSV4_N_DTYPES] = {
#define DTYPE_ROW(code, name, bytes) [code] = {name, bytes},
    DSV4_DTYPE_LIST(DTYPE_ROW)
#undef DTYPE_ROW
};

const char *dsv4_dtype_name(dsv4_dtype dtype)
{
    assert(dtype < DSV4_N_DTYPES);
    return dtypes[dtype].name;
}

size_t dsv4_dtype_bytes(dsv4_dtype dtype)
{
    assert(dtype < DSV4_N_DTYPES);
    return dtypes[dtype].n_bytes;
}

bool tensor_shape_bytes(dsv4_dtype dtype, int n_dims, const int64_t *shape, size_t *n_bytes)
{
    if (n_dims < 0 || n_dims > DSV4_MAX_DIMS) {
        return false;
    }
    int64_t extent = (int64_t)dsv4_dtype_bytes(dtype); /* bytes with every empty dimension counted as one: bounds the strides too */
    bool empty = false;
    for (int d = 0; d < n_dims; d++) {
        if (shape[d] < 0) {
            return false;
        }
        empty |= shape[d] == 0;
        if (shape[d] > 0 && __builtin_mul_overflow(extent, shape[d], &extent)) {
            return false;
        }
    }
    *n_bytes = empty ? 0 : (size_t)extent;
    return true;
}

dsv4_tensor dsv4_tensor_make(dsv4_dtype dtype, int n_dims, const int64_t *shape, void *data)
{
    size_t n_bytes = 0;
    const bool valid = tensor_shape_bytes(dtype, n_dims, shape, &n_bytes);
    assert(valid);
    (void)valid;
    dsv4_tensor t = {.dtype = dtype, .n_dims = n_dims, .data = data};
    int64_t stride = 1;
    for (int d = n_dims - 1; d >= 0; d--) {
        t.shape[d] = shape[d];
        t.stride[d] = stride;
        stride *= shape[d];
    }
    return t;
}

int64_t dsv4_tensor_count(const dsv4_tensor *t)
{
    int64_t count = 1;
    for (int d = 0; d < t->n_dims; d++) {
        count *= t->shape[d];
    }
    return count;
}

size_t dsv4_tensor_bytes(const dsv4_tensor *t)
{
    return (size_t)dsv4_tensor_count(t) * dsv4_dtype_bytes(t->dtype);
}

bool dsv4_tensor_is_contiguous(const dsv4_tensor *t)
{
    if (dsv4_tensor_count(t) == 0) {
        return true;
    }
    int64_t stride = 1;
    for (int d = t->n_dims - 1; d >= 0; d--) {
        if (t->shape[d] != 1 && t->stride[d] != stride) {
            return false;
        }
        stride *= t->shape[d];
    }
    return true;
}

int64_t tensor_offset(const dsv4_tensor *t, int64_t i)
{
    int64_t offset = 0;
    for (int d = t->n_dims - 1; d >= 0; d--) {
        offset += i % t->shape[d] * t->stride[d];
        i /= t->shape[d];
    }
    return offset;
}

void *tensor_at(const dsv4_tensor *t, int64_t offset)
{
    return (unsigned char *)t->data + offset * (int64_t)dsv4_dtype_bytes(t->dtype);
}

static uint16_t load_u16(const void *at)
{
    uint16_t bits;
    memcpy(&bits, at, sizeof bits);
    return bits;
}

static uint32_t load_u32(const void *at)
{
    uint32_t bits;
    memcpy(&bits, at, sizeof bits);
    return bits;
}

static int64_t load_i64(const void *at)
{
    int64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

double tensor_value(const dsv4_tensor *t, int64_t offset)
{
    const void *at = tensor_at(t, offset);
    switch (t->dtype) {
    case DSV4_F32:
        return num_f32_from_bits(load_u32(at));
    case DSV4_F16:
        return num_f32_from_fp16(load_u16(at));
    case DSV4_BF16:
        return num_f32_from_bf16(load_u16(at));
    case DSV4_F8_E4M3:
        return num_f32_from_e4m3(*(const uint8_t *)at);
    case DSV4_F8_E8M0:
        return num_f32_from_e8m0(*(const uint8_t *)at);
    case DSV4_I8:
        return *(const int8_t *)at;
    case DSV4_U8:
        return *(const uint8_t *)at;
    case DSV4_I32:
        return (int32_t)load_u32(at);
    case DSV4_I64:
        return (double)load_i64(at);
    case DSV4_N_DTYPES:
        break;
    }
    assert(!"dtype out of range");
    return 0;
}

double dsv4_tensor_get(const dsv4_tensor *t, int64_t i)
{
    assert(i >= 0 && i < dsv4_tensor_count(t));
    return tensor_value(t, tensor_offset(t, i));
}

char *dsv4_tensor_shape_text(const dsv4_tensor *t, char *text, size_t size)
{
    char full[2 + DSV4_MAX_DIMS * 22 + 1] = "[";
    size_t n = 1;
    for (int d = 0; d < t->n_dims; d++) {
        n += (size_t)snprintf(full + n, sizeof full - n, "%s%" PRId64, d == 0 ? "" : ", ", t->shape[d]);
    }
    snprintf(text, size, "%s]", full);
    return text;
}
