/* cli/inspect.c - `dsv4 inspect DIR`: the architecture of a published checkpoint, its tensors and sizes, and what is not right. */
#include "cli/inspect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/progress.h"
#include "base/size_text.h"
#include "model/packed.h"

enum { MAX_PROBLEMS_SHOWN = 20 };

typedef struct inspect_options {
    bool tensors, values;
} inspect_options;

static const cli_option options_table[] = {
    {"tensors", NULL, "print every tensor", cli_store_flag, offsetof(inspect_options, tensors), 0, 0},
    {"values", NULL, "check every value too: scales, numbers, hash tables (reads all files)", cli_store_flag,
     offsetof(inspect_options, values), 0, 0},
    {.name = NULL},
};

const char *inspect_attention(int ratio)
{
    return ratio == 0 ? "window" : ratio == 4 ? "compressed 4" : "compressed 128";
}

const char *inspect_expert_dtype(const model_config *config)
{
    return config->expert_dtype == MODEL_EXPERT_FP8 ? "fp8" : "fp4";
}

const char *inspect_draft(const model_config *config)
{
    static const char *const names[] = {[MODEL_DRAFT_NONE] = "none", [MODEL_DRAFT_MTP] = "mtp", [MODEL_DRAFT_DSPARK] = "dspark"};
    return names[config->draft];
}

const char *inspect_problem_kind(model_problem_kind kind)
{
    static const char *const names[] = {[MODEL_MISSING] = "missing", [MODEL_UNEXPECTED] = "unexpected", [MODEL_WRONG] = "wrong"};
    return names[kind];
}

/* ---- text ------------------------------------------------------------------------------------------------------------------- */

static void print_architecture(const model_checkpoint *c)
{
    const model_config *m = &c->config;
    const dsv4_config *d = &m->dims;
    cli_print("%s: DeepSeek-V4, dimensions \"%s\", %d layers, %d draft blocks (%s)\n\n", c->folder, d->name,
              (int)m->num_hidden_layers, m->n_draft_blocks, inspect_draft(m));
    cli_print("  width      hidden %lld, residual streams %lld (%lld Sinkhorn rounds), vocabulary %lld, context %lld\n",
              (long long)d->hidden_size, (long long)d->hc_mult, (long long)d->hc_sinkhorn_iters, (long long)m->vocab_size,
              (long long)d->max_position_embeddings);
    cli_print("  attention  %lld heads of %lld (%lld rotated), q rank %lld, output %lld groups of rank %lld, window %lld\n",
              (long long)d->num_attention_heads, (long long)d->head_dim, (long long)d->qk_rope_head_dim, (long long)d->q_lora_rank,
              (long long)d->o_groups, (long long)d->o_lora_rank, (long long)d->sliding_window);
    cli_print("  indexer    %lld heads of %lld, picks %lld\n", (long long)d->index_n_heads, (long long)d->index_head_dim,
              (long long)d->index_topk);
    cli_print("  experts    %lld routed (%s), %lld for a token, 1 shared, inner %lld, limit %g, scaled by %g\n",
              (long long)m->n_routed_experts, inspect_expert_dtype(m), (long long)m->num_experts_per_tok,
              (long long)m->moe_intermediate_size, m->swiglu_limit, m->routed_scaling_factor);
    cli_print("  rotation   theta %g, compressed %g with YaRN: factor %g from %lld positions, beta %g to %g\n", d->rope_theta,
              d->compress_rope_theta, d->rope_factor, (long long)d->original_max_position_embeddings, d->beta_fast, d->beta_slow);
}

static void print_layers(const inspect_view *view)
{
    const model_config *c = &view->checkpoint->config;
    cli_print("\n%-10s %-16s %-9s %12s %16s\n", "layer", "attention", "routing", "size", "read per token");
    for (int b = 0; b < model_config_n_blocks(c); b++) {
        const model_amount *a = &view->summary->block[b];
        const bool is_draft = b >= c->num_hidden_layers;
        char name[24];
        snprintf(name, sizeof name, "%s%d", is_draft ? "draft " : "", is_draft ? b - (int)c->num_hidden_layers : b);
        cli_print("%-10s %-16s %-9s %12s %16s\n", name, inspect_attention(c->compress_ratio[b]),
                  model_config_is_hashed(c, b) ? "token id" : "score", size_text_of((double)a->bytes).text,
                  size_text_of(a->active_bytes).text);
    }
}

/* "F8_E4M3 F8_E8M0"; routed experts that are I8 hold two FP4 each. */
static const char *dtypes_text(const model_amount *a, char *text, size_t size)
{
    size_t n = 0;
    text[0] = '\0';
    for (dsv4_dtype d = 0; d < DSV4_N_DTYPES && n < size; d++) {
        if (a->has_dtype[d]) {
            n += (size_t)snprintf(text + n, size - n, "%s%s", n > 0 ? " " : "", d == DSV4_I8 ? "FP4(I8)" : dsv4_dtype_name(d));
        }
    }
    return text;
}

static void print_amount(const char *name, const model_amount *a, size_t all_bytes)
{
    char dtypes[80];
    if (a->n_tensors > 0) {
        cli_print("%-18s %8zu %12s %6.1f %% %16s  %s\n", name, a->n_tensors, size_text_of((double)a->bytes).text,
                  100.0 * (double)a->bytes / (double)all_bytes, size_text_of(a->active_bytes).text,
                  dtypes_text(a, dtypes, sizeof dtypes));
    }
}

static void print_groups(const inspect_view *view)
{
    const model_summary *s = view->summary;
    const size_t all_bytes = s->trunk.bytes + s->draft.bytes;
    cli_print("\n%-18s %8s %12s %8s %16s  %s\n", "group", "tensors", "size", "share", "read per token", "stored as");
    for (model_group g = 0; g < MODEL_N_GROUPS; g++) {
        print_amount(model_group_name(g), &s->group[g], all_bytes);
    }
    print_amount("draft blocks", &s->draft, all_bytes);
    cli_print("\n%zu tensors, %zu bytes (%s) in %zu files; without drafts a token reads %.0f bytes\n",
              s->trunk.n_tensors + s->draft.n_tensors, all_bytes, size_text_of((double)all_bytes).text, view->checkpoint->n_shards,
              s->trunk.active_bytes);
}

static void print_tensors(const model_checkpoint *c)
{
    cli_print("\n%-50s %-8s %-18s %14s  %s\n", "tensor", "dtype", "shape", "bytes", "file");
    for (size_t i = 0; i < c->table.n; i++) {
        const model_tensor *t = &c->table.items[i];
        char shape[64];
        cli_print("%-50s %-8s %-18s %14zu  %s\n", t->name, dsv4_dtype_name(t->dtype),
                  model_tensor_shape_text(t, shape, sizeof shape), model_tensor_bytes(t),
                  c->shard_of[i] < 0 ? "-" : c->shards[c->shard_of[i]].name);
    }
}

static void print_problems(const inspect_view *view)
{
    const model_checkpoint *c = view->checkpoint;
    const size_t n = c->n_of_kind[MODEL_MISSING] + c->n_of_kind[MODEL_UNEXPECTED] + c->n_of_kind[MODEL_WRONG];
    cli_print("\nmissing %zu, unexpected %zu, wrong %zu%s\n", c->n_of_kind[MODEL_MISSING], c->n_of_kind[MODEL_UNEXPECTED],
              c->n_of_kind[MODEL_WRONG], view->with_values ? "; all values checked" : "; values not checked (--values)");
    size_t n_shown = 0;
    for (; n_shown < c->n_problems && n_shown < MAX_PROBLEMS_SHOWN; n_shown++) {
        cli_print("  %-10s %s\n", inspect_problem_kind(c->problems[n_shown].kind), c->problems[n_shown].text);
    }
    if (n > n_shown) {
        cli_print("  and %zu more (--json FILE)\n", n - n_shown);
    }
}

/* ---- the command ------------------------------------------------------------------------------------------------------------- */

static void check_values(model_checkpoint *c)
{
    progress bar = progress_begin("checking values");
    for (size_t i = 0; i < c->table.n; i++) {
        model_checkpoint_check_values(c, i, 1);
        progress_report(&bar, (double)(i + 1) / (double)c->table.n);
    }
    progress_end(&bar);
}

static dsv4_status show(model_checkpoint *c, const inspect_options *options, dsv4_error *err)
{
    model_summary *summary = malloc(sizeof *summary);
    if (summary == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "%s: no memory for a summary", c->folder);
    }
    if (options->values) {
        check_values(c);
    }
    model_summarise(&c->config, &c->table, summary);
    const inspect_view view = {c, summary, options->tensors, options->values};
    const dsv4_status status = cli_write_json(inspect_json(&view), err);
    if (status == DSV4_OK) {
        print_architecture(c);
        print_layers(&view);
        print_groups(&view);
        if (options->tensors) {
            print_tensors(c);
        }
        print_problems(&view);
    }
    free(summary);
    return status;
}

static int run(const cli_command *self, int argc, char **argv)
{
    inspect_options options = {false, false};
    dsv4_error err = {0};
    model_checkpoint *c = NULL;
    int first = 0, code = cli_parse(self, argc, argv, &options, &first);
    if (code >= 0) {
        return code;
    }
    if (first + 1 != argc) {
        dsv4_fail(&err, DSV4_E_USAGE, "inspect: got %d folders, expected one", argc - first);
        return cli_fail(&err);
    }
    if (model_folder_is_packed(argv[first])) {
        return inspect_packed(argv[first], options.values, &err) == DSV4_OK ? CLI_PASS : cli_fail(&err);
    }
    if (model_folder_require_finished(argv[first], &err) != DSV4_OK || model_checkpoint_open(argv[first], &c, &err) != DSV4_OK) {
        return cli_fail(&err);
    }
    code = show(c, &options, &err) != DSV4_OK             ? cli_fail(&err)
           : model_checkpoint_require(c, &err) != DSV4_OK ? CLI_MISMATCH
                                                          : CLI_PASS;
    model_checkpoint_close(c);
    return code;
}

const cli_command cli_inspect = {
    "inspect", "DIR [options]", "a published checkpoint: architecture, tensors, sizes, what is missing", options_table, NULL, run};
