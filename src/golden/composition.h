/* golden/composition.h - an attention layer from streams to streams (SPEC 6.10): what its six kinds share. Internal to golden/. */
#ifndef GOLDEN_COMPOSITION_H
#define GOLDEN_COMPOSITION_H

#include "golden/lists.h"

/* One call. Begin, then front, then what the kind adds, then finish; end in any case. */
typedef struct golden_composition {
    const dsv4_config *config;
    const dsv4_numerics *numerics;
    const dsv4_tensor_list *in;
    int64_t ratio; /* tokens of a compressed row: 4 (CSA), 128 (HCA), 0 (SWA) */
    int64_t T, M, D;
    int64_t n_positions;                          /* rows of the rope table */
    const uint16_t *x_hc, *freqs_cos, *freqs_sin; /* [T, M, D], [n_positions, R] */
    golden_hc hc;
    golden_tokens tokens;
    golden_attention attention;
    golden_key_space space;    /* its ring is that of the input: the step's own keys come from the overlay */
    const int64_t *ring_slots; /* [T] */
    const uint16_t *xn, *kv;   /* [T, D], [T, hd] */
    const int8_t *qr;          /* [T, QL] */
    const float *qr_scale;     /* [T] */
    float *post, *comb;        /* [T, M], [T, M * M] */
    dsv4_tensor_list made;     /* results, put into out when nothing can fail but memory */
    dsv4_tensor_list parts;    /* the memory of xn, q, kv, qr, qr_scale */
    arena memory;
} golden_composition;

/* Finds the tensors that all kinds have, and the tokens with their ring slots; nothing is computed. */
DSV4_MUST_CHECK dsv4_status golden_composition_begin(golden_composition *c, const dsv4_config *config,
                                                     const dsv4_numerics *numerics, bool prefill, int64_t ratio,
                                                     const dsv4_tensor_list *in, dsv4_error *err);

/* Streams mixed and normed (xn, post, comb); queries and keys (q, kv, qr, qr_scale). */
DSV4_MUST_CHECK dsv4_status golden_composition_front(golden_composition *c, dsv4_error *err);

/* The compressor of the layer, and space.compressed: the cache with the rows of this call. ratio > 0. */
DSV4_MUST_CHECK dsv4_status golden_composition_compress(golden_composition *c, dsv4_error *err);

/* The indexer with its own compressor: of each token the KT best rows, as indices of the key space. */
DSV4_MUST_CHECK dsv4_status golden_composition_index(golden_composition *c, golden_chosen *chosen, dsv4_error *err);

/* The keys of each token, in decode and in prefill: decode_keys.c, prefill_keys.c. */
DSV4_MUST_CHECK dsv4_status golden_decode_keys(golden_composition *c, golden_keys *keys, dsv4_error *err);
DSV4_MUST_CHECK dsv4_status golden_prefill_keys(golden_composition *c, golden_keys *keys, dsv4_error *err);

/* Attention over the keys, ring write-back, streams; puts every result into out. */
DSV4_MUST_CHECK dsv4_status golden_composition_finish(golden_composition *c, const golden_keys *keys, dsv4_tensor_list *out,
                                                      progress *p, dsv4_error *err);

void golden_composition_end(golden_composition *c);

#endif
