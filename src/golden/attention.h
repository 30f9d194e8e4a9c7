/* golden/attention.h - attention over lists of keys, and its output projection (SPEC 5). Internal to golden/. */
#ifndef GOLDEN_ATTENTION_H
#define GOLDEN_ATTENTION_H

#include "base/arena.h"
#include "golden/golden.h"

/* What every variant shares: T tokens of H heads. Rows are contiguous. */
typedef struct golden_attention {
    int64_t T, H, hd, R, D;
    int64_t G, OL, GI;                     /* output groups, their low rank, H*hd / G */
    int64_t tile;                          /* slots of a key block */
    dsv4_act_scale act_scale;              /* which values in front of wo_b share a scale */
    const uint16_t *q;                     /* bf16 [T, H, hd] */
    const uint16_t *freqs_cos, *freqs_sin; /* bf16 [T, R], columns < R/2 are read */
    const uint16_t *wo_a;                  /* bf16 [G, OL, GI] */
    const int8_t *wo_b;                    /* i8 [D, G*OL] */
    const float *wo_b_scale, *attn_sink;   /* f32 [D], f32 [H] */
    uint16_t *attn_out;                    /* bf16 [T, D] */
} golden_attention;

/* The dimensions and act_scale; the config's rotary slice and output groups are checked. */
DSV4_MUST_CHECK dsv4_status golden_attention_init(golden_attention *a, const dsv4_config *config, const dsv4_numerics *numerics,
                                                  dsv4_error *err);

/* attn_sink, wo_a, wo_b, wo_b_scale. */
DSV4_MUST_CHECK dsv4_status golden_attention_bind(golden_attention *a, const dsv4_tensor_list *in, dsv4_error *err);

/* The slots of each token in the order of their blocks; block i is slots [i*tile, (i+1)*tile). */
typedef struct golden_keys {
    int64_t width;         /* slots of a row */
    const uint16_t **rows; /* [T, width]: bf16 [hd] each, NULL where a slot is masked */
    int64_t *n_slots;      /* [T]: slots in use, <= width */
} golden_keys;

/* T rows of width slots, all unused. False without memory. */
bool golden_keys_alloc(golden_keys *keys, arena *memory, int64_t T, int64_t width);

/* attn_out = projection of the attention of every token over its keys. */
DSV4_MUST_CHECK dsv4_status golden_attention_run(const golden_attention *a, const golden_keys *keys, progress *p, dsv4_error *err);

/* Steps 2 to 5 of SPEC 5.2: o bf16 [G, T, GI], rotated back already, to attn_out. */
DSV4_MUST_CHECK dsv4_status golden_out_proj(const golden_attention *a, const uint16_t *o, progress *p, dsv4_error *err);

#endif
