/* model/packed.h - all weights of a model in the order in which the products stream them, ready for a graph.
 *
 *   published folder ──pack──> memory ─┐
 *            └──convert──> packed file ─┴─mmap──> model_weights
 *
 * A weight's FORM is how it is stored here. FP4, BF16 and F32 weights keep their published form; FP8 weights keep it too, or become
 * INT8 with one scale per output for numerics that take INT8 rows. Packed layouts are those of kernels/kernels.h, the same for every
 * instruction set. */
#ifndef MODEL_PACKED_H
#define MODEL_PACKED_H

#include <signal.h>

#include "dsv4/graph.h"
#include "kernels/pack_fp.h"
#include "model/checkpoint.h"
#include "model/numerics.h"

typedef enum model_form {
    MODEL_FORM_NONE,
    MODEL_FORM_BF16,
    MODEL_FORM_F32,
    MODEL_FORM_FP8,
    MODEL_FORM_FP4,
    MODEL_FORM_I8
} model_form;

/* y[n] = sum over k of x[k] * w[k][n]; borrowed from its model_weights. */
typedef struct model_weight {
    model_form form; /* NONE: this block has no such weight */
    uk_packed packed;
    const float *scales; /* FP8 [n_panels][ceil(k/128)] (uk_scales_fp8); I8 [n_panels * 32], of the outputs; else NULL */
} model_weight;

/* n_experts weights of one form and shape, behind each other. */
typedef struct model_expert_bank {
    model_weight first;
    size_t stride; /* bytes from a weight's panels to those of the next expert, and from its corrections and scales to the next */
    int64_t n_experts;
} model_expert_bank;

typedef struct model_streams_weights { /* hyper-connections: M residual streams */
    model_weight fn;                   /* F32 [M*D, (2+M)*M]; of a head [M*D, M] */
    const float *base, *scale;
} model_streams_weights;

typedef struct model_compressor_weights {
    model_weight wkv, wgate; /* BF16 [D, OUT], OUT = 2*width for ratio 4, width for 128 */
    const float *ape;        /* [ratio][OUT] */
    const uint16_t *norm;    /* [width] */
} model_compressor_weights;

typedef struct model_expert_weights {
    model_weight w1, w3, w2; /* gate, up [D, F], down [F, D] */
} model_expert_weights;

typedef struct model_block_weights {
    int ratio; /* 0, 4, 128 */
    model_streams_weights attn_streams, ffn_streams;
    const uint16_t *attn_norm, *ffn_norm; /* [D] */
    /* attention */
    model_weight wq_a, wq_b, wkv;            /* [D, QL], [QL, H*hd], [D, hd] */
    model_weight wo_a, wo_b;                 /* [GI, G*OL]: columns [g*OL, (g+1)*OL) belong to group g; [G*OL, D] */
    const uint16_t *q_norm, *kv_norm;        /* [QL], [hd] */
    const float *sink;                       /* [H] */
    model_compressor_weights compress;       /* ratio > 0 */
    model_weight index_wq_b;                 /* ratio 4: [QL, IH*ID] */
    model_weight index_weights;              /* ratio 4: BF16 [D, IH] */
    model_compressor_weights index_compress; /* ratio 4 */
    /* mixture of experts */
    model_weight gate;      /* BF16 [D, E] */
    const float *gate_bias; /* [E]; NULL: routes by token id */
    const int32_t *routes;  /* [V][K]; NULL: routes by score */
    model_expert_weights shared;
    model_expert_bank w1, w3, w2;
    /* what a draft block has besides; NONE and NULL in the trunk */
    model_weight e_proj, h_proj; /* [D, D] */
    const uint16_t *enorm, *hnorm, *norm;
    model_streams_weights head_streams;
} model_block_weights;

typedef struct model_weights {
    model_config config;
    bool int8;                 /* FP8 weights became INT8 */
    const uint16_t *embedding; /* BF16 [V][D] */
    model_weight head;         /* BF16 [D, V] */
    const uint16_t *norm;      /* [D] */
    model_streams_weights head_streams;
    int n_blocks; /* trunk, then draft blocks */
    model_block_weights *blocks;
    size_t bytes;                        /* of all of it */
    struct model_weights_memory *memory; /* what owns the bytes */
} model_weights;

struct progress;

/* Packs a checkpoint's weights into memory, on the workers of the pool (NULL: on the caller); each packs the panels that it will
 * stream. int8: FP8 weights become INT8. Weights of DSPARK draft blocks are left out, and config has none then. bar may be NULL. The
 * checkpoint may be closed afterwards. Fails where a tensor is missing, wrong, or has a scale, a weight or an expert's number that is
 * not allowed. The caller frees. */
DSV4_MUST_CHECK dsv4_status model_weights_pack(const model_checkpoint *c, bool int8, dsv4_pool *pool, struct progress *bar,
                                               model_weights **out, dsv4_error *err);
void model_weights_free(model_weights *w);

/* The weights of a packed folder, mapped: started at once, read as they are used. Checks the header, that config.json belongs to it, and
 * all that could lead out of the file or its tables; model_packed_verify reads every byte. */
DSV4_MUST_CHECK dsv4_status model_weights_map(const char *folder, model_weights **out, dsv4_error *err);
DSV4_MUST_CHECK dsv4_status model_packed_verify(const char *folder, struct progress *bar, dsv4_error *err);

/* The weights of a folder, a published or a packed one. DSV4_E_UNSUPPORTED: packed for other numerics. */
DSV4_MUST_CHECK dsv4_status model_weights_open(const char *folder, bool int8, dsv4_pool *pool, struct progress *bar,
                                               model_weights **out, dsv4_error *err);
bool model_folder_is_packed(const char *folder);

/* DSV4_E_FORMAT: the folder holds what a conversion has done until it was stopped, and nothing else. */
DSV4_MUST_CHECK dsv4_status model_folder_require_finished(const char *folder, dsv4_error *err);

/* Reads all of a mapped file, so that no step waits for the disk while memory lasts; nothing to do for packed weights. */
void model_weights_preload(const model_weights *w);

typedef struct model_convert_options {
    bool int8;                         /* FP8 weights become INT8 */
    bool restart;                      /* what an earlier conversion left is not used */
    const volatile sig_atomic_t *stop; /* not 0: end soon, so that a later conversion goes on; NULL: none */
} model_convert_options;

typedef struct model_convert_result {
    size_t file_bytes;
    size_t n_pieces, n_done, n_kept; /* kept: done by an earlier conversion */
    bool was_complete;               /* nothing was to be done */
    bool was_stopped;                /* before all were done */
    bool was_given_up;               /* and what was done is removed: whole weights were to be replaced, which stay */
} model_convert_result;

/* Writes the packed form of a published folder into another folder, which is made if it is not there: weights.dsv4, and copies of
 * config.json, tokenizer.json, tokenizer_config.json and generation_config.json. Goes on where an earlier conversion of the same files
 * was stopped. weights.dsv4 appears when all is there. Nothing is overwritten in a folder that is no output of this function. Takes the
 * memory of one weight. */
DSV4_MUST_CHECK dsv4_status model_convert(const char *folder, const char *out_folder, const model_convert_options *options,
                                          dsv4_pool *pool, struct progress *bar, model_convert_result *result, dsv4_error *err);

/* The weight of expert e. */
static inline model_weight model_expert_weight(const model_expert_bank *bank, int64_t e)
{
    model_weight w = bank->first;
    const size_t offset = (size_t)e * bank->stride;
    w.packed.panels = (char *)w.packed.panels + offset;
    w.packed.correction = w.packed.correction == NULL ? NULL : (int32_t *)(void *)((char *)w.packed.correction + offset);
    w.scales = w.scales == NULL ? NULL : (const float *)(const void *)((const char *)w.scales + offset);
    return w;
}

#endif
