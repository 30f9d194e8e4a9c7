/* Any bytes: either a one-line error, or a configuration whose table of tensors is bounded and well formed. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "model/table.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

static void check_table(const model_config *config)
{
    model_table table = {0};
    dsv4_error err = {0};
    if (model_table_make(config, &table, &err) != DSV4_OK) {
        return;
    }
    for (size_t i = 0; i < table.n; i++) {
        const model_tensor *t = &table.items[i];
        if (t->name[0] == '\0' || t->shape[0] < 1 || (t->n_dims == 2 && t->shape[1] < 1) ||
            !(model_tensor_active_bytes(config, t) <= (double)model_tensor_bytes(t))) {
            abort();
        }
    }
    model_table_deinit(&table);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    model_config config;
    dsv4_error err = {0};
    if (model_config_parse("fuzz", (const char *)bytes, n_bytes, &config, &err) != DSV4_OK) {
        if (err.text[0] == '\0') {
            abort();
        }
        return 0;
    }
    if (config.expert_dtype == MODEL_EXPERT_UNKNOWN) {
        config.expert_dtype = MODEL_EXPERT_FP4;
    }
    if (config.n_routed_experts * model_config_n_blocks(&config) <= 4096) { /* a larger table takes longer than it teaches */
        check_table(&config);
    }
    return 0;
}
