/* Any bytes as the header of packed weights, whose checksum and file size are made to hold: either a one-line error, or a plan that
 * lies within the file. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "model/packed_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

enum { HEAD_BYTES = 64, FILE_BYTES_AT = 32, CHECKSUM_AT = 60 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    char *copy = malloc(n_bytes + 1);
    uint64_t file_bytes = n_bytes;
    packed_file *f = NULL;
    dsv4_error err = {0};
    if (copy == NULL) {
        return 0;
    }
    memcpy(copy, bytes, n_bytes);
    if (n_bytes >= HEAD_BYTES) {
        memset(copy + CHECKSUM_AT, 0, 4);
        const uint32_t sum = checksum_add(0, copy, n_bytes);
        memcpy(copy + CHECKSUM_AT, &sum, sizeof sum);
        memcpy(&file_bytes, copy + FILE_BYTES_AT, sizeof file_bytes);
    }
    if (packed_file_parse("fuzz", copy, n_bytes, file_bytes, &f, &err) != DSV4_OK) {
        if (err.text[0] == '\0' || f != NULL) {
            abort();
        }
    } else {
        for (size_t i = 0; i < f->plan.n; i++) {
            const packed_piece *p = &f->plan.pieces[i];
            if (p->offset > f->plan.bytes || packed_piece_bytes(p) > f->plan.bytes - p->offset ||
                f->data_offset + f->plan.bytes != file_bytes) {
                abort();
            }
        }
    }
    packed_file_destroy(f);
    free(copy);
    return 0;
}
