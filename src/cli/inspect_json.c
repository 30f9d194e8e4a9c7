/* cli/inspect_json.c - a checkpoint as JSON. */
#include "cli/inspect.h"

static json_t *architecture_json(const model_config *c)
{
    json_t *all = json_object(), *ratios = json_array();
    json_object_set_new(all, "name", json_string(c->dims.name));
#define PUT_INT(field, ...) json_object_set_new(all, #field, json_integer(FROM(field)));
#define PUT_REAL(field, ...) json_object_set_new(all, #field, json_real(FROM(field)));
#define FROM(field) c->dims.field
    DSV4_CONFIG_INT_LIST(PUT_INT)
    DSV4_CONFIG_REAL_LIST(PUT_REAL)
#undef FROM
#define FROM(field) c->field
    MODEL_CONFIG_INT_LIST(PUT_INT)
    MODEL_CONFIG_REAL_LIST(PUT_REAL)
#undef FROM
#undef PUT_INT
#undef PUT_REAL
    for (int i = 0; i < model_config_n_blocks(c); i++) {
        json_array_append_new(ratios, json_integer(c->compress_ratio[i]));
    }
    json_object_set_new(all, "compress_ratios", ratios);
    json_object_set_new(all, "expert_dtype", json_string(inspect_expert_dtype(c)));
    json_object_set_new(all, "draft", json_string(inspect_draft(c)));
    json_object_set_new(all, "n_draft_blocks", json_integer(c->n_draft_blocks));
    return all;
}

static json_t *amount_json(const char *name, const model_amount *a)
{
    json_t *dtypes = json_array();
    for (dsv4_dtype d = 0; d < DSV4_N_DTYPES; d++) {
        if (a->has_dtype[d]) {
            json_array_append_new(dtypes, json_string(dsv4_dtype_name(d)));
        }
    }
    return json_pack("{s:s, s:I, s:I, s:f, s:o}", "name", name, "tensors", (json_int_t)a->n_tensors, "bytes", (json_int_t)a->bytes,
                     "active_bytes_per_token", a->active_bytes, "dtypes", dtypes);
}

static json_t *layers_json(const inspect_view *view)
{
    const model_config *c = &view->checkpoint->config;
    json_t *all = json_array();
    for (int b = 0; b < model_config_n_blocks(c); b++) {
        const model_amount *a = &view->summary->block[b];
        json_array_append_new(all, json_pack("{s:i, s:b, s:s, s:i, s:s, s:I, s:f}", "block", b, "draft", b >= c->num_hidden_layers,
                                             "attention", inspect_attention(c->compress_ratio[b]), "compress_ratio",
                                             c->compress_ratio[b], "routing", model_config_is_hashed(c, b) ? "token id" : "score",
                                             "bytes", (json_int_t)a->bytes, "active_bytes_per_token", a->active_bytes));
    }
    return all;
}

static json_t *tensor_json(const model_checkpoint *c, size_t i)
{
    const model_tensor *t = &c->table.items[i];
    json_t *shape = t->n_dims == 2 ? json_pack("[I, I]", (json_int_t)t->shape[0], (json_int_t)t->shape[1])
                                   : json_pack("[I]", (json_int_t)t->shape[0]);
    json_t *file = c->shard_of[i] < 0 ? json_null() : cli_json_text(c->shards[c->shard_of[i]].name);
    return json_pack("{s:s, s:s, s:s, s:o, s:I, s:o}", "name", t->name, "group", model_group_name(t->group), "dtype",
                     dsv4_dtype_name(t->dtype), "shape", shape, "bytes", (json_int_t)model_tensor_bytes(t), "file", file);
}

static json_t *problems_json(const model_checkpoint *c)
{
    json_t *all = json_array();
    for (size_t i = 0; i < c->n_problems; i++) {
        json_array_append_new(all, json_pack("{s:s, s:o}", "kind", inspect_problem_kind(c->problems[i].kind), "text",
                                             cli_json_text(c->problems[i].text)));
    }
    return all;
}

json_t *inspect_json(const inspect_view *view)
{
    const model_checkpoint *c = view->checkpoint;
    json_t *groups = json_array(), *tensors = view->with_tensors ? json_array() : NULL;
    for (model_group g = 0; g < MODEL_N_GROUPS; g++) {
        if (view->summary->group[g].n_tensors > 0) {
            json_array_append_new(groups, amount_json(model_group_name(g), &view->summary->group[g]));
        }
    }
    for (size_t i = 0; tensors != NULL && i < c->table.n; i++) {
        json_array_append_new(tensors, tensor_json(c, i));
    }
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:b, s:o, s:o*}", "folder", cli_json_text(c->folder),
                     "architecture", architecture_json(&c->config), "layers", layers_json(view), "groups", groups, "trunk",
                     amount_json("trunk", &view->summary->trunk), "draft", amount_json("draft", &view->summary->draft), "n_missing",
                     (json_int_t)c->n_of_kind[MODEL_MISSING], "n_unexpected", (json_int_t)c->n_of_kind[MODEL_UNEXPECTED], "n_wrong",
                     (json_int_t)c->n_of_kind[MODEL_WRONG], "values_checked", view->with_values, "problems", problems_json(c),
                     "tensors", tensors);
}
