/* summary.c - sums over a table of tensors. */
#include "model/summary.h"

#include <string.h>

static void add(model_amount *amount, const model_tensor *t, double active_bytes)
{
    amount->n_tensors++;
    amount->bytes += model_tensor_bytes(t);
    amount->active_bytes += active_bytes;
    amount->has_dtype[t->dtype] = 1;
}

void model_summarise(const model_config *config, const model_table *table, model_summary *out)
{
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < table->n; i++) {
        const model_tensor *t = &table->items[i];
        const double active_bytes = model_tensor_active_bytes(config, t);
        const bool is_draft = t->block >= config->num_hidden_layers;
        add(is_draft ? &out->draft : &out->trunk, t, active_bytes);
        if (!is_draft) {
            add(&out->group[t->group], t, active_bytes);
        }
        if (t->block != MODEL_OUTSIDE_BLOCKS) {
            add(&out->block[t->block], t, active_bytes);
        }
    }
}
