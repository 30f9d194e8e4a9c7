/* packed_file.c - the header of a file of packed weights. */
#include "model/packed_file.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "base/memory.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files are little-endian, and so is memory that is mapped from them");

enum { FLAG_INT8 = 1, FLAG_EXPERTS_FP8 = 2, ENTRY_IS_DONE = 1 };

typedef struct file_head {
    char magic[PACKED_MAGIC_BYTES];
    uint32_t version, flags;
    uint64_t header_bytes, data_offset, file_bytes;
    uint32_t n_pieces, config_bytes, source, zero;
    uint32_t also_zero, checksum; /* of the header, with 0 here */
} file_head;

typedef struct file_entry {
    char name[MODEL_NAME_BYTES];
    uint32_t kind, form;
    int64_t k, n, count;
    uint64_t bytes, offset;
    uint32_t is_done, checksum;
    uint64_t stride;
} file_entry;

_Static_assert(sizeof(file_head) == 64 && sizeof(file_entry) == 128 && MODEL_NAME_BYTES == 64, "no padding");

static size_t round_up(size_t n, size_t unit)
{
    return (n + unit - 1) / unit * unit;
}

/* ---- made of a configuration ---------------------------------------------------------------------------------------------------- */

/* config.expert_dtype where the text does not say it; DSV4_E_FORMAT where it says something else. */
static dsv4_status settle(const char *source_name, model_config *config, model_expert_dtype expert_dtype, dsv4_error *err)
{
    if (config->expert_dtype != MODEL_EXPERT_UNKNOWN && config->expert_dtype != expert_dtype) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%s: its flags and its configuration name different forms of experts", source_name);
    }
    config->expert_dtype = expert_dtype;
    return DSV4_OK;
}

dsv4_status packed_file_create(const char *source_name, const char *config, size_t config_bytes, model_expert_dtype expert_dtype,
                               bool int8, uint32_t source, packed_file **out, dsv4_error *err)
{
    dsv4_status status = DSV4_E_NO_MEMORY;
    model_config parsed;
    packed_file *f = calloc(1, sizeof *f);
    if (f == NULL || (f->config = malloc(config_bytes + 1)) == NULL) {
        dsv4_fail(err, status, "%s: no memory for its header", source_name);
        goto fail;
    }
    memcpy(f->config, config, config_bytes);
    f->config[config_bytes] = '\0';
    f->config_bytes = config_bytes;
    f->int8 = int8;
    f->source = source;
    if ((status = model_config_parse(source_name, config, config_bytes, &parsed, err)) != DSV4_OK ||
        (status = settle(source_name, &parsed, expert_dtype, err)) != DSV4_OK ||
        (status = packed_plan_make(&parsed, int8, &f->weights, &f->plan, err)) != DSV4_OK) {
        goto fail;
    }
    f->states = memory_zeroed_array(f->plan.n, sizeof *f->states);
    if (f->states == NULL) {
        status = dsv4_fail(err, DSV4_E_NO_MEMORY, "%s: no memory for its header", source_name);
        goto fail;
    }
    f->header_bytes = sizeof(file_head) + round_up(config_bytes, 8) + f->plan.n * sizeof(file_entry);
    f->data_offset = round_up(f->header_bytes, PACKED_HUGE_PAGE);
    f->file_bytes = f->data_offset + f->plan.bytes;
    *out = f;
    return DSV4_OK;
fail:
    packed_file_destroy(f);
    return status;
}

void packed_file_destroy(packed_file *f)
{
    if (f != NULL) {
        packed_plan_deinit(&f->plan);
        model_weights_free(f->weights);
        free(f->states);
        free(f->config);
        free(f);
    }
}

/* ---- as bytes --------------------------------------------------------------------------------------------------------------------- */

static uint32_t header_checksum(const char *bytes, size_t n_bytes)
{
    file_head head;
    memcpy(&head, bytes, sizeof head);
    head.checksum = 0;
    return checksum_add(checksum_add(0, &head, sizeof head), bytes + sizeof head, n_bytes - sizeof head);
}

static void write_entry(const packed_piece *p, const packed_state *s, char *at)
{
    file_entry e = {.kind = p->kind,
                    .form = p->form,
                    .k = p->k,
                    .n = p->n,
                    .count = p->count,
                    .bytes = p->bytes,
                    .offset = p->offset,
                    .stride = p->stride,
                    .is_done = s->is_done ? ENTRY_IS_DONE : 0,
                    .checksum = s->checksum};
    memcpy(e.name, p->name, sizeof e.name);
    memcpy(at, &e, sizeof e);
}

char *packed_file_header(const packed_file *f)
{
    char *bytes = calloc(1, f->header_bytes);
    if (bytes == NULL) {
        return NULL;
    }
    file_head head = {.version = PACKED_VERSION,
                      .header_bytes = f->header_bytes,
                      .data_offset = f->data_offset,
                      .file_bytes = f->file_bytes,
                      .n_pieces = (uint32_t)f->plan.n,
                      .config_bytes = (uint32_t)f->config_bytes,
                      .source = f->source};
    memcpy(head.magic, PACKED_MAGIC, sizeof head.magic);
    head.flags = (f->int8 ? FLAG_INT8 : 0) | (f->weights->config.expert_dtype == MODEL_EXPERT_FP8 ? FLAG_EXPERTS_FP8 : 0);
    memcpy(bytes, &head, sizeof head);
    memcpy(bytes + sizeof head, f->config, f->config_bytes);
    char *entries = bytes + sizeof head + round_up(f->config_bytes, 8);
    for (size_t i = 0; i < f->plan.n; i++) {
        write_entry(&f->plan.pieces[i], &f->states[i], entries + i * sizeof(file_entry));
    }
    head.checksum = header_checksum(bytes, f->header_bytes);
    memcpy(bytes, &head, sizeof head);
    return bytes;
}

/* ---- from bytes -------------------------------------------------------------------------------------------------------------------- */

static dsv4_status check_head(const char *name, const char *bytes, size_t n_bytes, size_t file_bytes, file_head *head,
                              dsv4_error *err)
{
    if (n_bytes < sizeof *head) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%s: got %zu bytes, expected a header of packed weights", name, n_bytes);
    }
    memcpy(head, bytes, sizeof *head);
    if (memcmp(head->magic, PACKED_MAGIC, sizeof head->magic) != 0) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%s: is no file of packed weights", name);
    }
    if (head->version != PACKED_VERSION) {
        return dsv4_fail(err, DSV4_E_UNSUPPORTED, "%s: got version %" PRIu32 ", expected %d: convert the model again", name,
                         head->version, PACKED_VERSION);
    }
    if (head->config_bytes > MODEL_MAX_CONFIG_BYTES || head->header_bytes > n_bytes ||
        head->header_bytes != sizeof *head + round_up(head->config_bytes, 8) + (uint64_t)head->n_pieces * sizeof(file_entry)) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%s: its header is cut or damaged", name);
    }
    if (header_checksum(bytes, head->header_bytes) != head->checksum) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%s: its header is damaged: the checksum differs", name);
    }
    if (head->file_bytes != file_bytes) {
        return dsv4_fail(err, DSV4_E_FORMAT, "%s: got %zu bytes, expected %" PRIu64 " by its header", name, file_bytes,
                         head->file_bytes);
    }
    return DSV4_OK;
}

static void read_states(packed_file *f, const char *entries)
{
    for (size_t i = 0; i < f->plan.n; i++) {
        file_entry e;
        memcpy(&e, entries + i * sizeof e, sizeof e);
        f->states[i] = (packed_state){e.is_done == ENTRY_IS_DONE, e.checksum};
    }
}

dsv4_status packed_file_parse(const char *source_name, const char *bytes, size_t n_bytes, size_t file_bytes, packed_file **out,
                              dsv4_error *err)
{
    file_head head;
    packed_file *f = NULL;
    dsv4_status status = check_head(source_name, bytes, n_bytes, file_bytes, &head, err);
    if (status == DSV4_OK) {
        const model_expert_dtype experts = head.flags & FLAG_EXPERTS_FP8 ? MODEL_EXPERT_FP8 : MODEL_EXPERT_FP4;
        status = packed_file_create(source_name, bytes + sizeof head, head.config_bytes, experts, head.flags & FLAG_INT8,
                                    head.source, &f, err);
    }
    if (status != DSV4_OK) {
        return status;
    }
    if (f->plan.n == head.n_pieces) {
        read_states(f, bytes + head.header_bytes - f->plan.n * sizeof(file_entry));
    }
    char *expected = packed_file_header(f);
    if (expected == NULL || f->header_bytes != head.header_bytes || memcmp(expected, bytes, f->header_bytes) != 0) {
        status = expected == NULL
                     ? dsv4_fail(err, DSV4_E_NO_MEMORY, "%s: no memory for its header", source_name)
                     : dsv4_fail(err, DSV4_E_FORMAT, "%s: its table of weights is not that of its configuration", source_name);
        free(expected);
        packed_file_destroy(f);
        return status;
    }
    free(expected);
    *out = f;
    return DSV4_OK;
}
