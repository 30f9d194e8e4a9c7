#include "model/step/attention.h"

step_product step_attention_add(const step *s, int block, const model_block_weights *w, step_matrix x)
{
    step_qkv qkv = step_qkv_add(s, w->ratio, w, x);
    step_chosen chosen = {0};
    op_matrix done = op_no_matrix;
    if (w->ratio == 4) {
        step_compress index = {"index.compress", block, w->ratio, true, &w->index_compress};
        op_matrix index_done = step_compress_add(s, &index, &qkv.x_plain);
        chosen = step_index_add(s, block, w, &qkv, index_done);
    }
    if (w->ratio > 0) {
        step_compress main = {"compress", block, w->ratio, false, &w->compress};
        done = step_compress_add(s, &main, &qkv.x_plain);
    }
    step_matrix o = step_attend_add(s, block, w, &qkv, &chosen, done);
    /* What is stored in FP8 is multiplied as if it were BF16: rows of o are not rounded to e4m3. */
    model_form form = w->wo_a.form == MODEL_FORM_I8 ? MODEL_FORM_I8 : MODEL_FORM_BF16;
    step_operand groups = step_operand_add(s, "attn.o_pack", o, form, s->config->dims.o_groups);
    step_product u = step_linear_add(s, "attn.o_a", &groups, &w->wo_a, true);
    step_operand ranks = step_operand_add_product(s, "attn.u_pack", &u, w->wo_b.form);
    return step_linear_add(s, "attn.o_b", &ranks, &w->wo_b, true);
}
