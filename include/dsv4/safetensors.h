/* dsv4/safetensors.h - read (mapped) and write .safetensors files.
 *
 * FORMAT   u64 little-endian N; N bytes of JSON {name: {dtype, shape, data_offsets: [a, b)}, "__metadata__": {key: text}}; data.
 *          Offsets count from the end of the JSON. Tensors lie row-major, without overlap, and cover the data exactly.
 * LIMITS   N <= 100 MiB, dtypes of DSV4_DTYPE_LIST, DSV4_MAX_DIMS dimensions, names shorter than DSV4_NAME_BYTES.
 * A file is untrusted: every length, offset, shape and name is checked before use; a violation is one line in err. A file must not
 * shrink while it is open: touching a page that is gone raises SIGBUS. */
#ifndef DSV4_SAFETENSORS_H
#define DSV4_SAFETENSORS_H

#include "dsv4/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dsv4_safetensors dsv4_safetensors;

/* Maps the file read-only. The caller closes. Fails with DSV4_E_IO (cannot open, not a regular file) or DSV4_E_FORMAT. */
DSV4_MUST_CHECK dsv4_status dsv4_safetensors_open(const char *path, dsv4_safetensors **out, dsv4_error *err);

/* The same over bytes in memory, of any alignment, which must outlive the reader. `name` appears in messages. */
DSV4_MUST_CHECK dsv4_status dsv4_safetensors_open_memory(const char *name, const void *bytes, size_t n_bytes,
                                                         dsv4_safetensors **out, dsv4_error *err);
void dsv4_safetensors_close(dsv4_safetensors *st);

/* Path (or name) it was opened under. */
const char *dsv4_safetensors_name(const dsv4_safetensors *st);

/* Tensors in the order of their data; views borrow the mapping (read-only memory) and die with the reader. A tensor's data may be
 * unaligned for its dtype: copy it (dsv4_safetensors_load) before computing on it. */
const dsv4_tensor_list *dsv4_safetensors_tensors(const dsv4_safetensors *st);

/* Metadata text of a key, or NULL. */
const char *dsv4_safetensors_metadata(const dsv4_safetensors *st, const char *key);

/* Copies every tensor whose name starts with prefix into list, under the rest of its name, aligned and owned by the list. A
 * floating tensor that holds a NaN is refused (DSV4_E_VALUE) with the index of the first one. On failure the list is as before. */
DSV4_MUST_CHECK dsv4_status dsv4_safetensors_load(const dsv4_safetensors *st, const char *prefix, dsv4_tensor_list *list,
                                                  dsv4_error *err);

/* The tensors of a list as they are named in a file: "in.", "out." or "" before each name. */
typedef struct dsv4_safetensors_part {
    const char *prefix;
    const dsv4_tensor_list *list;
} dsv4_safetensors_part;

/* Writes a new file: n_metadata pairs {key, text} and every tensor of the parts, data aligned to each dtype. Written beside the
 * target under a temporary name, synced, then renamed: an existing file is replaced whole or not at all. DSV4_E_VALUE for a name or
 * text that the format does not allow, DSV4_E_IO when the file cannot be written. */
DSV4_MUST_CHECK dsv4_status dsv4_safetensors_write(const char *path, const char *const (*metadata)[2], size_t n_metadata,
                                                   const dsv4_safetensors_part *parts, size_t n_parts, dsv4_error *err);

#ifdef __cplusplus
}
#endif
#endif
