/* model/packed_file.h - packed weights as a file: weights.dsv4 in a folder beside the model's small files.
 *
 *   header      64 bytes: magic, version, flags, sizes, CRC-32 of all that stands before the data
 *   config      the text of config.json, filled up with zeros to a multiple of 8
 *   entries     128 bytes each, in the order of the plan (packed_plan.h): name, form, shape, place, CRC-32 of its data
 *   data        from a multiple of 2 MiB on, as in memory
 *
 * Numbers are little-endian. All but the checksums follows from the configuration and the flags, so a reader makes the header that
 * should be there and compares: no size or offset of a file is trusted. While it is being made the file is called weights.dsv4.part, and
 * its entries tell which pieces are there. */
#ifndef MODEL_PACKED_FILE_H
#define MODEL_PACKED_FILE_H

#include "model/packed_plan.h"

#define PACKED_FILE_NAME "weights.dsv4"
#define PACKED_PART_NAME "weights.dsv4.part"
#define PACKED_MAGIC "DSV4PACK"

enum { PACKED_VERSION = 2, PACKED_MAGIC_BYTES = 8 };

typedef struct packed_state { /* of a piece */
    bool is_done;
    uint32_t checksum;
} packed_state;

typedef struct packed_file {
    char *config; /* text of config.json */
    size_t config_bytes;
    bool int8;
    uint32_t source;        /* tells one published folder from another */
    model_weights *weights; /* not bound */
    packed_plan plan;
    packed_state *states; /* [plan.n] */
    size_t header_bytes, data_offset, file_bytes;
} packed_file;

/* Of a configuration's text; no piece is done. The caller: packed_file_destroy. */
DSV4_MUST_CHECK dsv4_status packed_file_create(const char *source_name, const char *config, size_t config_bytes,
                                               model_expert_dtype expert_dtype, bool int8, uint32_t source, packed_file **out,
                                               dsv4_error *err);
void packed_file_destroy(packed_file *f);

/* What stands before the data, header_bytes; the caller frees. NULL without memory. */
char *packed_file_header(const packed_file *f);

/* From the first n_bytes of a file of file_bytes. */
DSV4_MUST_CHECK dsv4_status packed_file_parse(const char *source_name, const char *bytes, size_t n_bytes, size_t file_bytes,
                                              packed_file **out, dsv4_error *err);

#endif
