/* cli/ablate/alias.c - study: the rotation of decode_indexer in place or into a tensor of its own, and groups of tokens. */
#include "cli/ablate/alias.h"

static const alias_choice before = {true, true, 1, 1, 1}, by_block = {true, false, 1, 1, 1}, apart = {false, true, 1, 1, 1},
                          grouped = {true, true, 4, 2, 8}, grouped_block = {true, false, 4, 2, 8}, after = {false, true, 4, 2, 8};

enum { BEFORE, BY_BLOCK, APART, GROUPED, GROUPED_BLOCK, AFTER, ALL_BY_TENSOR, N_VARIANTS };

static const ablate_variant variants[N_VARIANTS] = {
    [BEFORE] = {"before", "in place, the tensor tracked as a whole, a token a task", &before, DSV4_DEPS_BLOCK},
    [BY_BLOCK] = {"block", "in place, tracked block by block, a token a task", &by_block, DSV4_DEPS_BLOCK},
    [APART] = {"apart", "into a tensor of its own, a token a task", &apart, DSV4_DEPS_BLOCK},
    [GROUPED] = {"grouped", "in place, tracked as a whole, 4 tokens a task", &grouped, DSV4_DEPS_BLOCK},
    [GROUPED_BLOCK] = {"grouped-block", "in place, tracked block by block, 4 tokens a task", &grouped_block, DSV4_DEPS_BLOCK},
    [AFTER] = {"after", "into a tensor of its own, 4 tokens a task", &after, DSV4_DEPS_BLOCK},
    [ALL_BY_TENSOR] = {"all-tensor", "as after, every tensor of the kernel tracked as a whole", &after, DSV4_DEPS_TENSOR},
};

#define ROPE_STAGES "rope_slice,rope_apply,rope_assemble,rope_write"

static const ablate_series series[] = {
    {"rotation: window",
     ABLATE_WINDOW,
     ROPE_STAGES,
     "us",
     true,
     6,
     {{BEFORE, 863, 1357}, {BY_BLOCK, 0, 0}, {APART, 0, 0}, {GROUPED, 0, 0}, {GROUPED_BLOCK, 0, 0}, {AFTER, 128, 0}}},
    {"whole kernel",
     ABLATE_MAKESPAN,
     NULL,
     "us",
     false,
     6,
     {{BEFORE, 1293, 1808}, {BY_BLOCK, 0, 0}, {APART, 0, 0}, {GROUPED, 0, 0}, {GROUPED_BLOCK, 0, 0}, {AFTER, 880, 0}}},
    {"every tensor tracked as a whole: whole kernel",
     ABLATE_MAKESPAN,
     NULL,
     NULL,
     false,
     2,
     {{AFTER, 0, 0}, {ALL_BY_TENSOR, 0, 0}}},
};

static const char text[] =
    "The indexer rotates the last elements of every query head in a loop over groups of tokens: even and odd elements are taken "
    "apart by a product with a selection, rotated, put together by another product and written. Written back into the tensor that "
    "the loop reads, the iterations touch disjoint rows, but a tracker that knows tensors and no boxes sees each iteration read "
    "what the one before wrote. It runs them one after another, each a chain of four tasks.\n\n"
    "*before* and *grouped* play such a tracker for this one tensor: a byte stands for it, and whoever reads any part of the "
    "tensor reads the byte, whoever writes any part updates it. *block* and *grouped-block* run the same loop in place with the "
    "exact boxes that this runtime tracks: no iteration waits for another, and nothing has to be rewritten. *apart* and *after* "
    "are the fix by hand: the rotated elements go to a tensor of their own, and the Hadamard product that follows splits its "
    "inner dimension between the two tensors. In *all-tensor* every tensor of the kernel is tracked as a whole (as `--deps "
    "tensor` does for `dsv4 run`): then column tiles of one product wait for each other, too.\n\n"
    "Groups of tokens make fewer, taller tasks (4 tokens for the rotation, 2 for the quantiser, 8 requests for the scores) with "
    "the same results. They pay where a launch costs microseconds.\n\n"
    "The compressor of the kernel is left out: the index cache is an input. On the device a thread submits one launch after the "
    "other, and each pass of the loop is four launches or more: that bounds the window of *after*, whatever the cores could do, "
    "and of *block* and *apart*, which launch as much as *before*. After the fix the whole kernel comes out shorter than "
    "published: the authors' kernel ran the compressor, too, and submitted every block of every stage by itself, where this graph "
    "launches each stage outside of the loop as a whole.";

static dsv4_status prepare(ablate_case *c, dsv4_error *err)
{
    const op_call call = {.mode = DSV4_DECODE,
                          .n_requests = c->tiny ? 8 : 64,
                          .n_tokens = 2,
                          .start_pos = c->tiny ? 62 : 254,
                          .ratio = ALIAS_RATIO,
                          .seed = c->seed};
    dsv4_status status = op_draw_inputs(&op_decode_indexer, &c->config, &call, &c->inputs, err);
    return status == DSV4_OK ? alias_expect(c, err) : status;
}

static const ablate_output outputs[] = {
    {"score", {CMP_RATIO, 1e-4, 1.0 / 128, 0.005, 0}, NULL},
    {"topk_idxs", {CMP_TOPK, 1e-4, 1.0 / 128, 0, 0}, "score"},
};

const ablate_study ablate_alias = {
    .name = "alias",
    .title = "A loop that writes into what it reads",
    .kernel = "decode_indexer without its compressor, 64 requests of 2 tokens",
    .text = text,
    .prepare = prepare,
    .build = alias_build,
    .outputs = outputs,
    .n_outputs = sizeof outputs / sizeof *outputs,
    .variants = variants,
    .n_variants = N_VARIANTS,
    .series = series,
    .n_series = sizeof series / sizeof *series,
};
