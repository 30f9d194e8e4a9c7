/* tensor/internal.h - what the files of this folder share. */
#ifndef TENSOR_INTERNAL_H
#define TENSOR_INTERNAL_H

#include "dsv4/tensor.h"

/* Largest safetensors header, read or written. */
#define TENSOR_HEADER_BYTES_MAX ((size_t)100 << 20)

/* Bytes of a row-major tensor. False if n_dims is outside 0..DSV4_MAX_DIMS, an extent is negative, or a stride or the size in bytes
 * does not fit an int64_t. */
bool tensor_shape_bytes(dsv4_dtype dtype, int n_dims, const int64_t *shape, size_t *n_bytes);

/* Offset, in elements, of element i (row-major index). */
int64_t tensor_offset(const dsv4_tensor *t, int64_t i);

/* Address of, and value of, the element at an offset. */
void *tensor_at(const dsv4_tensor *t, int64_t offset);
double tensor_value(const dsv4_tensor *t, int64_t offset);

/* |a-e| <= atol + rtol*|e| in FP32. Equal infinities are close; otherwise nothing is close to an infinity or a NaN. */
bool tensor_is_close(float a, float e, float atol, float rtol);

/* Removes, and frees, every item from number n on. n <= list->n. */
void tensor_list_truncate(dsv4_tensor_list *list, size_t n);

#endif
