/* cli/ablate/norm.c - study: partial sums, folded amax, K tile and load-ahead of qkv_proj_rope with the norm in front. */
#include "cli/ablate/norm.h"
#include "golden/golden.h"

static const norm_choice before = {1, false, 256, 2}, after = {2, true, 512, 4};
static const norm_choice serial = {1, true, 512, 4}, four = {4, true, 512, 4};
static const norm_choice separate = {2, false, 512, 4}, k_256 = {2, true, 256, 4}, ahead_2 = {2, true, 512, 2};

enum { BEFORE, SERIAL, FOUR, SEPARATE, K_256, AHEAD_2, AFTER, N_VARIANTS };

static const ablate_variant variants[N_VARIANTS] = {
    [BEFORE] = {"before", "serial sums of squares, amax by a stage of its own, K tile 256, 2 loads ahead", &before,
                DSV4_DEPS_BLOCK},
    [SERIAL] = {"serial", "as after, but serial sums of squares", &serial, DSV4_DEPS_BLOCK},
    [FOUR] = {"4-way", "as after, but 4-way sums of squares", &four, DSV4_DEPS_BLOCK},
    [SEPARATE] = {"separate", "as after, but amax by a stage of its own", &separate, DSV4_DEPS_BLOCK},
    [K_256] = {"k256", "as after, but K tile 256 of the q projection", &k_256, DSV4_DEPS_BLOCK},
    [AHEAD_2] = {"ahead2", "as after, but 2 loads ahead", &ahead_2, DSV4_DEPS_BLOCK},
    [AFTER] = {"after", "2-way sums of squares, amax folded into the norm, K tile 512, 4 loads ahead", &after, DSV4_DEPS_BLOCK},
};

#define RMS_STAGES "attn_norm_rms,attn_norm_rms_partial,attn_norm_rms_final"

static const ablate_series series[] = {
    {"whole kernel", ABLATE_MAKESPAN, NULL, "us", true, 2, {{BEFORE, 624, 0}, {AFTER, 545, 0}}},
    {"sums of squares of the hidden rows: window",
     ABLATE_WINDOW,
     RMS_STAGES,
     "us",
     false,
     3,
     {{SERIAL, 93, 0}, {AFTER, 0, 0}, {FOUR, 0, 0}}},
    {"sums of squares: whole kernel", ABLATE_MAKESPAN, NULL, NULL, false, 3, {{SERIAL, 0, 0}, {AFTER, 0, 0}, {FOUR, 0, 0}}},
    {"amax of the quantiser: its stage", ABLATE_TASK, "qr_quant_amax", "us", false, 2, {{SEPARATE, 30, 0}, {AFTER, 1.7, 0}}},
    {"K tile of the q projection: a block", ABLATE_TASK, "qproj_matmul", "us", false, 2, {{K_256, 74, 0}, {AFTER, 56, 0}}},
    {"loads ahead in qr_proj and kv_proj: a block",
     ABLATE_TASK,
     "qr_proj_matmul,kv_proj_matmul",
     NULL,
     false,
     2,
     {{AHEAD_2, 0, 0}, {AFTER, 0, 0}}},
};

static const char text[] =
    "The norm in front of qkv_proj_rope and the kernel itself, as stages over all rows and a range of columns. Sums of squares "
    "are made by one block, or in parts by several, which another stage adds: two parts, whose sum is the same in either order, "
    "or four. The scale of the INT8 quantiser needs the largest value of a row: either a stage of its own reads all values again, "
    "or each block of the norm leaves the largest of its own and a tiny stage takes the largest of these. They are the largest of "
    "values rounded to BF16, as the quantiser reads them, so the scale keeps every bit. The q projection loads K tiles of 256 or "
    "512 values, and the low-rank products keep 2 or 4 loads in flight.\n\n"
    "The low-rank row is rounded to BF16 before it is quantised, as the kernel of that time did; the reference of this study does "
    "so, too.\n\n"
    "On the device more than two parts shorten the sums further, but hardly the kernel, of which they are a small part by then. "
    "More loads in flight hide latency, so they make no difference where a step along K waits for bandwidth: here a step is 128 "
    "rows of 32 columns, and most of each line that it loads is wasted.";

static dsv4_status prepare(ablate_case *c, dsv4_error *err)
{
    const fix_rule gamma = {FIX_NORMAL, 1, 0.1, NULL};
    const dsv4_numerics numerics = {0};
    dsv4_tensor_list normed = {0};
    dsv4_tensor norm_w;
    dsv4_status status = qkv_draw(c, err);
    if (status == DSV4_OK) {
        status = dsv4_tensor_list_alloc(&c->inputs, "norm_w", DSV4_BF16, 1, &c->config.hidden_size, &norm_w, err);
    }
    if (status == DSV4_OK) {
        status = fix_fill("norm_w", &gamma, c->seed, &norm_w, NULL, err);
    }
    if (status == DSV4_OK) {
        status = golden_find("rmsnorm")->run(&c->config, &numerics, &c->inputs, &normed, NULL, err);
    }
    if (status == DSV4_OK) {
        status = norm_expect(c, dsv4_tensor_list_find(&normed, "x_normed"), err);
    }
    dsv4_tensor_list_deinit(&normed);
    return status;
}

const ablate_study ablate_norm = {
    .name = "norm",
    .title = "Partial sums, folded amax, deeper tiles",
    .kernel = "qkv_proj_rope and the norm in front of it, decode, 128 tokens",
    .text = text,
    .prepare = prepare,
    .build = norm_build,
    .outputs = qkv_outputs,
    .n_outputs = QKV_N_OUTPUTS,
    .variants = variants,
    .n_variants = N_VARIANTS,
    .series = series,
    .n_series = sizeof series / sizeof *series,
};
