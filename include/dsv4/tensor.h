/* dsv4/tensor.h - typed views of memory, and named lists of them.
 *
 * A dsv4_tensor never owns its data. A dsv4_tensor_list names tensors (the names of SPEC section 8) and owns the memory of those
 * that it allocated itself; it is how inputs and outputs travel: file or fixture -> operator -> golden -> comparison -> file. */
#ifndef DSV4_TENSOR_H
#define DSV4_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dsv4/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* dtype, safetensors name, bytes per element. F4_E2M1 values come two to a byte, as I8 in published files, and have no row. */
#define DSV4_DTYPE_LIST(X)        \
    X(DSV4_F32, "F32", 4)         \
    X(DSV4_F16, "F16", 2)         \
    X(DSV4_BF16, "BF16", 2)       \
    X(DSV4_F8_E4M3, "F8_E4M3", 1) \
    X(DSV4_F8_E8M0, "F8_E8M0", 1) \
    X(DSV4_I8, "I8", 1)           \
    X(DSV4_U8, "U8", 1)           \
    X(DSV4_I32, "I32", 4)         \
    X(DSV4_I64, "I64", 8)

typedef enum dsv4_dtype {
#define DSV4_DTYPE_ENUM(code, name, bytes) code,
    DSV4_DTYPE_LIST(DSV4_DTYPE_ENUM)
#undef DSV4_DTYPE_ENUM
        DSV4_N_DTYPES
} dsv4_dtype;

const char *dsv4_dtype_name(dsv4_dtype dtype);
size_t dsv4_dtype_bytes(dsv4_dtype dtype);

#define DSV4_MAX_DIMS 6

/* A view: shape and stride count elements; n_dims = 0 is a scalar. data is borrowed. */
typedef struct dsv4_tensor {
    dsv4_dtype dtype;
    int n_dims;
    int64_t shape[DSV4_MAX_DIMS];
    int64_t stride[DSV4_MAX_DIMS];
    void *data;
} dsv4_tensor;

/* Row-major view of data. n_dims in 0..DSV4_MAX_DIMS, every extent >= 0, bytes within int64_t (asserted). */
dsv4_tensor dsv4_tensor_make(dsv4_dtype dtype, int n_dims, const int64_t *shape, void *data);

/* Number of elements (1 for a scalar); bytes of a row-major tensor of this shape. */
int64_t dsv4_tensor_count(const dsv4_tensor *t);
size_t dsv4_tensor_bytes(const dsv4_tensor *t);

/* True if the elements lie row-major without gaps. */
bool dsv4_tensor_is_contiguous(const dsv4_tensor *t);

/* Element i (row-major index) widened to double; exact for every dtype but I64 beyond 2^53. i in [0, count) (asserted). The data
 * need not be aligned. */
double dsv4_tensor_get(const dsv4_tensor *t, int64_t i);

/* Writes "[8, 256]" (or "[]") to text, cut to size; returns text. */
char *dsv4_tensor_shape_text(const dsv4_tensor *t, char *text, size_t size);

#define DSV4_NAME_BYTES 128

typedef struct dsv4_named_tensor {
    char name[DSV4_NAME_BYTES];
    dsv4_tensor tensor;
    void *owned; /* memory to free with the list, or NULL when borrowed */
} dsv4_named_tensor;

/* An ordered list; names are unique, not empty and shorter than DSV4_NAME_BYTES. Zero-initialise, fill with the functions below,
 * end with dsv4_tensor_list_deinit. Pointers to items are valid until the next put or alloc. */
typedef struct dsv4_tensor_list {
    size_t n, capacity;
    dsv4_named_tensor *items;
    uint32_t *slots; /* hash table of the names: 2 * capacity slots, each 0 or 1 + the number of an item */
} dsv4_tensor_list;

/* Frees what the list owns and leaves it empty. */
void dsv4_tensor_list_deinit(dsv4_tensor_list *list);

/* The tensor of that name, or NULL. Constant time. */
dsv4_tensor *dsv4_tensor_list_find(const dsv4_tensor_list *list, const char *name);

/* Adds a borrowed view. DSV4_E_VALUE for an empty, over-long or duplicate name; DSV4_E_NO_MEMORY. */
DSV4_MUST_CHECK dsv4_status dsv4_tensor_list_put(dsv4_tensor_list *list, const char *name, const dsv4_tensor *t, dsv4_error *err);

/* Adds a zeroed row-major tensor, 64-byte aligned, owned by the list; *out (may be NULL) is a copy of its view. Fails like put,
 * and with DSV4_E_SHAPE if n_dims or an extent is out of range or the bytes overflow. */
DSV4_MUST_CHECK dsv4_status dsv4_tensor_list_alloc(dsv4_tensor_list *list, const char *name, dsv4_dtype dtype, int n_dims,
                                                   const int64_t *shape, dsv4_tensor *out, dsv4_error *err);

#ifdef __cplusplus
}
#endif
#endif
