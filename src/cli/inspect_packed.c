/* cli/inspect_packed.c - `dsv4 inspect` of a folder that `dsv4 convert` made. */
#include "base/progress.h"
#include "base/size_text.h"
#include "cli/inspect.h"
#include "model/packed.h"

static dsv4_status verify(const char *folder, dsv4_error *err)
{
    progress bar = progress_begin("checking values");
    const dsv4_status status = model_packed_verify(folder, &bar, err);
    progress_end(&bar);
    return status;
}

dsv4_status inspect_packed(const char *folder, bool with_values, dsv4_error *err)
{
    model_weights *w = NULL;
    dsv4_status status = model_weights_map(folder, &w, err);
    if (status != DSV4_OK || (with_values && (status = verify(folder, err)) != DSV4_OK)) {
        model_weights_free(w);
        return status;
    }
    const model_config *c = &w->config;
    status = cli_write_json(json_pack("{s:o, s:b, s:b, s:I, s:I, s:I, s:s}", "folder", cli_json_text(folder), "packed", 1, "int8",
                                      w->int8, "bytes", (json_int_t)w->bytes, "layers", (json_int_t)c->num_hidden_layers,
                                      "draft_blocks", (json_int_t)c->n_draft_blocks, "expert_dtype", inspect_expert_dtype(c)),
                            err);
    if (status == DSV4_OK) {
        cli_print("%s: packed DeepSeek-V4, dimensions \"%s\", %d layers, %d draft blocks (%s)\n", folder, c->dims.name,
                  (int)c->num_hidden_layers, c->n_draft_blocks, inspect_draft(c));
        cli_print("%zu bytes (%s) of weights for %s, experts %s\n", w->bytes, size_text_of((double)w->bytes).text,
                  w->int8 ? "w8a8 (FP8 weights as INT8)" : "all numerics but w8a8", inspect_expert_dtype(c));
        cli_print("header checked%s\n", with_values ? ", all checksums hold" : "; values not checked (--values)");
    }
    model_weights_free(w);
    return status;
}
