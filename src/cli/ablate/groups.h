/* cli/ablate/groups.h - the graph of prefill_sparse_attn.
 *
 *   groups_graph.c       matrices, the graph                  groups_attention.c  in front, the same in all variants
 *   groups_projection.c  the output projection */
#ifndef CLI_ABLATE_GROUPS_H
#define CLI_ABLATE_GROUPS_H

#include "cli/ablate/inputs.h"
#include "cli/ablate/pieces.h"
#include "cli/ablate/tiles.h"

typedef struct groups_choice {
    const char *output; /* the expected tensor */
    bool by_row;        /* one scale for a row of all groups: a barrier */
    int64_t k_tile;     /* of proj_a */
    bool is_operator;   /* the library's own, instead of this study's graph */
} groups_choice;

enum {
    GROUPS_A_TILE = 128,   /* columns of a block of proj_a, and of an amax */
    GROUPS_QUANT_PARTS = 2 /* blocks that quantise a row of all groups */
};

/* In memory of the graph. */
typedef struct groups {
    op_matrix q, lists, cos, sin, sink, wo_b, wo_b_scale; /* wo_b [D, G*OL] */
    const uint16_t *wo_a;                                 /* [G, OL, GI] */
    op_matrix ring, overlay, compressed;                  /* BF16 [rows, hd] */
    const int32_t *ring_table, *compressed_table, *lens;
    op_matrix keys;          /* BF16 [T, slots*hd]: gathered */
    op_matrix scores, p;     /* F32, BF16 [T, H*slots] */
    op_matrix m, l;          /* F32 [T, blocks*H]: largest score and sum of a key block */
    op_matrix o_blocks;      /* F32 [T, blocks*H*hd] */
    op_matrix o_rope, o;     /* F32 [T, H*R]; BF16 [T, H*hd] */
    op_matrix r, amax, r_i8; /* F32 [T, G*OL]; F32 [T, G*OL/GROUPS_A_TILE]; I8 [T, G*OL] */
    op_matrix r_scale;       /* F32 [T, GROUPS_QUANT_PARTS], each the same, or [T, G] */
    op_matrix sums;          /* I32 [T, D] or [T, G*D] */
    op_matrix out;           /* BF16 [T, D] */
    int64_t T, H, hd, R, D, G, OL, GI, W, page, tile, blocks, slots;
} groups;

/* The attention of every token over its gathered keys, in key blocks: products, softmax, products, a merge of the blocks, the inverse
 * rotation. */
void groups_add_attention(const op_context *ctx, const groups *o);

/* The first product of a group. */
void groups_add_proj_a(const op_context *ctx, const groups *o, int64_t g, int64_t k_tile);

/* All that follows: all groups, then their amax, then all quantised, then multiplied. Every part of a row writes its scale. */
void groups_add_by_row(const op_context *ctx, const groups *o);

/* The same: a group is quantised as soon as it is there, and multiplied while others are not. */
void groups_add_by_group(const op_context *ctx, const groups *o);

/* Everything up to the first products; NULL without memory. */
groups *groups_add_front(const ablate_case *c, const op_context *ctx, const groups_choice *x);

/* choice: a groups_choice; its output of io is written. */
void groups_build(const ablate_case *c, const op_context *ctx, const dsv4_tensor_list *io, const void *choice);

#endif
