/* Any bytes as a saved sequence, as they are and with the checksum put right: either a one-line error and no slot or page taken, or a
 * sequence whose lengths and tokens are possible. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include "model/kv.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

enum { MAX_TOKENS = 2048, VOCAB = 1000 };

static model_kv *create(void)
{
    model_config c = {.num_hidden_layers = 3, .n_draft_blocks = 1, .vocab_size = VOCAB, .draft = MODEL_DRAFT_MTP};
    c.dims.head_dim = c.dims.index_head_dim = c.dims.sliding_window = 2;
    c.compress_ratio[1] = 4;
    c.compress_ratio[2] = 128;
    model_kv *kv = NULL;
    if (model_kv_create(&c, &model_numerics_table[0], 2, MAX_TOKENS, MAX_TOKENS, &kv, NULL) != DSV4_OK) {
        abort();
    }
    return kv;
}

static void check_sequence(const model_kv *kv, const model_sequence *s, const int32_t *tokens)
{
    if (s->length < 0 || s->length > MAX_TOKENS || s->drafted > s->length || s->length - s->oldest > MODEL_ROLLBACK) {
        abort();
    }
    for (int64_t i = 0; i < s->length; i++) {
        if (tokens[i] < 0 || tokens[i] >= VOCAB || kv->tables[s->slot * kv->table_pages + i / MODEL_PAGE_TOKENS] < 0) {
            abort();
        }
    }
}

static void restore(model_kv *kv, const char *path)
{
    model_sequence *s = NULL;
    int32_t *tokens = NULL;
    dsv4_error err = {0};
    if (model_sequence_restore(kv, "fuzz", path, &s, &tokens, &err) == DSV4_OK) {
        check_sequence(kv, s, tokens);
        free(tokens);
        model_sequence_close(kv, s);
    } else if (err.text[0] == '\0' || s != NULL || tokens != NULL) {
        abort();
    }
    for (int64_t i = 0; i < kv->n_pages; i++) {
        if (kv->page_users[i] != 0) {
            abort();
        }
    }
    for (int64_t i = 0; i < kv->n_slots; i++) {
        if (kv->sequences[i].slot >= 0) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    static model_kv *kv;
    kv = kv == NULL ? create() : kv;
    const int fd = memfd_create("saved", MFD_CLOEXEC);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (fd < 0 || pwrite(fd, bytes, n_bytes, 0) != (ssize_t)n_bytes) {
        abort();
    }
    restore(kv, path);
    uint32_t crc;
    if (n_bytes >= sizeof crc) {
        crc = (uint32_t)crc32_z(0, bytes, n_bytes - sizeof crc);
        if (pwrite(fd, &crc, sizeof crc, (off_t)(n_bytes - sizeof crc)) != (ssize_t)sizeof crc) {
            abort();
        }
        restore(kv, path);
    }
    close(fd);
    return 0;
}
