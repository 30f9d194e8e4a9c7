#include "model/numerics.h"

#include <string.h>

const model_numerics model_numerics_table[MODEL_N_NUMERICS] = {
    {"official", DSV4_BF16, MODEL_ROWS_E4M3, true, true}, {"w8a8", DSV4_BF16, MODEL_ROWS_I8, false, false},
    {"bf16", DSV4_BF16, MODEL_ROWS_PLAIN, false, false},  {"exact", DSV4_F32, MODEL_ROWS_PLAIN, false, false},
    {"quant_f32", DSV4_F32, MODEL_ROWS_E4M3, true, true},
};

dsv4_status model_numerics_find(const char *name, const model_numerics **out, dsv4_error *err)
{
    for (int i = 0; i < MODEL_N_NUMERICS; i++) {
        if (strcmp(model_numerics_table[i].name, name) == 0) {
            *out = &model_numerics_table[i];
            return DSV4_OK;
        }
    }
    return dsv4_fail(err, DSV4_E_NOT_FOUND, "numerics: got '%.40s', expected official, w8a8, bf16, exact or quant_f32", name);
}
