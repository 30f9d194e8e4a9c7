/* model/kv.h - what a model remembers of its sequences: window rows, compressed rows, indexer rows, compressor states.
 *
 * A sequence has a SLOT, of fixed size: for each block of the model a ring of window rows, and rings of the compressors' last
 * projections. Compressed rows grow with the sequence; they lie in PAGES that the sequence's table names. A page holds the rows of
 * MODEL_PAGE_TOKENS tokens of all blocks, is never written again once its tokens are past, and may then belong to several sequences
 * (fork); one that is not full is copied before a write.
 *
 * Rows are of the numerics' dtype; states are FP32. */
#ifndef MODEL_KV_H
#define MODEL_KV_H

#include "model/config.h"
#include "model/numerics.h"

enum {
    MODEL_PAGE_TOKENS = 512, /* a multiple of 128 */
    MODEL_ROLLBACK = 16,     /* tokens that can be taken back (truncate); rings are longer by that */
};

typedef struct model_kv_block {   /* of a block of the model: where its rows lie in a slot and in a page */
    int ratio;                    /* 0, 4, 128 */
    int64_t state_rows;           /* of its compressors' rings: positions behind each other, row = position % state_rows; 0: none */
    int64_t out, index_out;       /* columns of a state row, OUT of the compressor and of the indexer's (0: none) */
    size_t window;                /* byte offsets in a slot: [window_rows][hd] */
    size_t kv, score;             /* FP32 [state_rows][out] */
    size_t index_kv, index_score; /* FP32 [state_rows][index_out] */
    size_t entries, index_entries; /* byte offsets in a page: [PAGE_TOKENS/ratio][hd], [PAGE_TOKENS/4][ID] */
} model_kv_block;

typedef struct model_kv {
    model_config config;
    model_numerics numerics;
    dsv4_dtype dtype;                      /* of rows */
    size_t elem;                           /* its bytes */
    int64_t window_rows;                   /* of the ring: sliding_window + MODEL_ROLLBACK at least */
    int64_t n_slots, n_pages, table_pages; /* slots and pages there are; pages of a sequence at most */
    size_t slot_bytes, page_bytes;
    model_kv_block *blocks;           /* all of the model, draft blocks included */
    char *slots, *pages;              /* slots: [n_slots][slot_bytes] */
    int32_t *tables;                  /* [n_slots][table_pages]; -1: none */
    int32_t *page_users;              /* [n_pages]: sequences that a page belongs to; 0: free */
    struct model_sequence *sequences; /* [n_slots] */
    uint64_t n_opened;
} model_kv;

/* A sequence; a handle into its model_kv, valid until closed. */
typedef struct model_sequence {
    int slot;        /* -1: free */
    uint64_t id;     /* no other one of its model_kv ever had */
    int64_t length;  /* tokens seen by the trunk */
    int64_t drafted; /* tokens seen by the draft block */
    int64_t oldest;  /* length can be cut down to this */
} model_sequence;

/* Memory for n_slots sequences of up to max_tokens tokens each (rounded up to whole pages), n_tokens together. Address space is
 * taken at once, memory as it is used; what a closed sequence leaves is used by the next. The caller destroys. */
DSV4_MUST_CHECK dsv4_status model_kv_create(const model_config *config, const model_numerics *numerics, int64_t n_slots,
                                            int64_t max_tokens, int64_t n_tokens, model_kv **out, dsv4_error *err);
void model_kv_destroy(model_kv *kv);

/* Bytes that it takes when all of it is used, without creating it. */
size_t model_kv_bytes(const model_config *config, const model_numerics *numerics, int64_t n_slots, int64_t n_tokens);

/* A new empty sequence. DSV4_E_VALUE where no slot is free. */
DSV4_MUST_CHECK dsv4_status model_sequence_open(model_kv *kv, model_sequence **out, dsv4_error *err);
void model_sequence_close(model_kv *kv, model_sequence *s);

/* Pages for n more tokens, each of them this sequence's own where it will be written: to be called before each step that appends,
 * also if an earlier call had reserved more, as a fork may lie between. Changes nothing if it fails. */
DSV4_MUST_CHECK dsv4_status model_sequence_reserve(model_kv *kv, model_sequence *s, int64_t n, dsv4_error *err);

/* n tokens were appended: their rows and states are written. */
static inline void model_sequence_append(model_sequence *s, int64_t n)
{
    s->length += n;
    if (s->oldest < s->length - MODEL_ROLLBACK) {
        s->oldest = s->length - MODEL_ROLLBACK;
    }
}

/* A new sequence with the same past; later tokens of either do not show in the other. */
DSV4_MUST_CHECK dsv4_status model_sequence_fork(model_kv *kv, const model_sequence *s, model_sequence **out, dsv4_error *err);

/* Takes the tokens from `length` on back: down to s->oldest, at most MODEL_ROLLBACK behind the longest it was, or all (length 0).
 * Nothing is cleared: rows and states hold values of other tokens, or of another sequence, at every position that this sequence has
 * not written since, and no reader may look there. */
DSV4_MUST_CHECK dsv4_status model_sequence_truncate(model_kv *kv, model_sequence *s, int64_t length, dsv4_error *err);

/* A sequence in a file (versioned, checksummed; written whole or not at all), with the ids of its tokens. Restoring checks that the
 * file belongs to this architecture and numerics: `model` is a name that must be equal. tokens: [s->length]; those of
 * restore are the caller's to free. A failed restore takes no slot. */
DSV4_MUST_CHECK dsv4_status model_sequence_save(const model_kv *kv, const model_sequence *s, const char *model,
                                                const int32_t *tokens, const char *path, dsv4_error *err);
DSV4_MUST_CHECK dsv4_status model_sequence_restore(model_kv *kv, const char *model, const char *path, model_sequence **out,
                                                   int32_t **tokens, dsv4_error *err);

/* ---- where rows lie --------------------------------------------------------------------------------------------------- */

/* Window row of a position. */
static inline void *model_kv_window(const model_kv *kv, int block, int slot, int64_t position)
{
    int64_t row = position % kv->window_rows;
    return kv->slots + (size_t)slot * kv->slot_bytes + kv->blocks[block].window +
           (size_t)(row * kv->config.dims.head_dim) * kv->elem;
}

/* State rows of a position: offset is that of kv, score, index_kv or index_score, columns out or index_out. */
static inline float *model_kv_state(const model_kv *kv, int block, int slot, size_t offset, int64_t columns, int64_t position)
{
    int64_t row = position % kv->blocks[block].state_rows;
    return (float *)(void *)(kv->slots + (size_t)slot * kv->slot_bytes + offset) + row * columns;
}

/* Compressed row `entry` (of the tokens entry*ratio ..) of a sequence, width columns; offset is entries or index_entries. */
static inline void *model_kv_entry(const model_kv *kv, int block, int slot, size_t offset, int64_t width, int64_t entry)
{
    int64_t per_page = MODEL_PAGE_TOKENS / kv->blocks[block].ratio;
    int64_t page = kv->tables[slot * kv->table_pages + entry / per_page];
    return kv->pages + (size_t)page * kv->page_bytes + offset + (size_t)(entry % per_page * width) * kv->elem;
}

#endif
