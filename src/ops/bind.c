/* ops/bind.c - dimensions: from the model and the call to the extents of every tensor, and whether the tensors have them. */
#include "ops/bind.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    int64_t least;
    const char *meaning;
} symbols[] = {
#define OP_SYMBOL_ROW(symbol, least, meaning) {#symbol, least, meaning},
    OP_SYMBOLS(OP_SYMBOL_ROW)
#undef OP_SYMBOL_ROW
};

/* A field that a config may lack. */
static int64_t known_or_unknown(int64_t value)
{
    return value > 0 ? value : OP_UNKNOWN;
}

op_dims op_dims_of_config(const dsv4_config *config)
{
    op_dims dims;
    for (int s = 0; s < OP_N_SYMBOLS; s++) {
        dims.of[s] = OP_UNKNOWN;
    }
    dims.of[OP_D] = config->hidden_size;
    dims.of[OP_H] = config->num_attention_heads;
    dims.of[OP_hd] = config->head_dim;
    dims.of[OP_R] = config->qk_rope_head_dim;
    dims.of[OP_QL] = config->q_lora_rank;
    dims.of[OP_OL] = config->o_lora_rank;
    dims.of[OP_G] = config->o_groups;
    dims.of[OP_W] = config->sliding_window;
    dims.of[OP_M] = config->hc_mult;
    dims.of[OP_IH] = config->index_n_heads;
    dims.of[OP_ID] = config->index_head_dim;
    dims.of[OP_KT] = config->index_topk;
    dims.of[OP_tile] = config->attn_tile;
    dims.of[OP_V] = known_or_unknown(config->vocab_size);
    dims.of[OP_F] = known_or_unknown(config->moe_intermediate_size);
    dims.of[OP_E] = known_or_unknown(config->n_routed_experts);
    dims.of[OP_K] = known_or_unknown(config->num_experts_per_tok);
    dims.of[OP_SL] = config->max_position_embeddings < 4 ? OP_UNKNOWN : config->max_position_embeddings / 4;
    return dims;
}

int op_find_symbol(const char *text, size_t n)
{
    int s = 0;
    while (s < OP_N_SYMBOLS && (strlen(symbols[s].name) != n || memcmp(symbols[s].name, text, n) != 0)) {
        s++;
    }
    return s;
}

const char *op_symbol_meaning(int symbol)
{
    return symbols[symbol].meaning;
}

/* ---- shapes ------------------------------------------------------------------------------------------------------------ */

/* Value of one factor at *text, a number or a symbol, and moves behind it; OP_UNKNOWN for an unbound symbol. */
static int64_t eval_factor(const char **text, const op_dims *dims)
{
    size_t n = strcspn(*text, "*/+,");
    int symbol = op_find_symbol(*text, n);
    int64_t value = symbol < OP_N_SYMBOLS ? dims->of[symbol] : strtoll(*text, NULL, 10);
    *text += n;
    return value;
}

/* Value of a product such as "H*hd/G", and moves behind it; OP_UNKNOWN if a symbol is unbound or the product overflows. */
static int64_t eval_product(const char **text, const op_dims *dims)
{
    int64_t product = eval_factor(text, dims);
    bool known = product != OP_UNKNOWN;
    while (**text == '*' || **text == '/') {
        bool divides = *(*text)++ == '/';
        int64_t factor = eval_factor(text, dims);
        known = known && factor != OP_UNKNOWN && !(divides && factor < 1);
        if (known && divides) {
            product = product / factor + (product % factor != 0);
        } else {
            known = known && !__builtin_mul_overflow(product, factor, &product);
        }
    }
    return known ? product : OP_UNKNOWN;
}

/* Value of one extent such as "W+KT", and moves behind it; OP_UNKNOWN likewise. */
static int64_t eval_extent(const char **text, const op_dims *dims)
{
    int64_t sum = eval_product(text, dims);
    while (**text == '+') {
        (*text)++;
        int64_t product = eval_product(text, dims);
        if (sum == OP_UNKNOWN || product == OP_UNKNOWN || __builtin_add_overflow(sum, product, &sum)) {
            sum = OP_UNKNOWN;
        }
    }
    return sum;
}

dsv4_status op_eval_shape(const char *shape, const op_dims *dims, int *n_dims, int64_t *extents, dsv4_error *err)
{
    const char *text = shape;
    int n = 0;
    while (*text != '\0') {
        extents[n] = eval_extent(&text, dims);
        if (extents[n] == OP_UNKNOWN) {
            return dsv4_fail(err, DSV4_E_SHAPE, "shape [%s] has an unknown or too large extent", shape);
        }
        n++;
        text += *text == ',';
    }
    *n_dims = n;
    return DSV4_OK;
}

/* ---- binding ----------------------------------------------------------------------------------------------------------- */

/* Binds the dimensions of the call that stand alone in a shape, such as T in "T,D". */
static void bind_shape(const char *shape, const dsv4_tensor *t, op_dims *dims)
{
    for (int i = 0; i < t->n_dims && *shape != '\0'; i++) {
        size_t n = strcspn(shape, ",");
        int symbol = op_find_symbol(shape, n);
        if (symbol < OP_N_SYMBOLS && dims->of[symbol] == OP_UNKNOWN) {
            dims->of[symbol] = t->shape[i];
        }
        shape += n + (shape[n] == ',');
    }
}

dsv4_status op_check_tensor(const op_tensor *row, const dsv4_tensor *t, const op_dims *dims, dsv4_error *err)
{
    dsv4_tensor wanted = {.dtype = row->dtype};
    char got[128], expected[128];
    dsv4_tensor_shape_text(t, got, sizeof got);
    if (op_eval_shape(row->shape, dims, &wanted.n_dims, wanted.shape, NULL) != DSV4_OK) {
        return dsv4_fail(err, DSV4_E_SHAPE, "tensor %s: got %s %s, expected %s [%s]", row->name, dsv4_dtype_name(t->dtype), got,
                         dsv4_dtype_name(row->dtype), row->shape);
    }
    bool dtype_fits = t->dtype == row->dtype || ((row->use & OP_OR_I8) != 0 && t->dtype == DSV4_I8);
    bool same =
        dtype_fits && t->n_dims == wanted.n_dims && memcmp(t->shape, wanted.shape, (size_t)t->n_dims * sizeof *t->shape) == 0;
    if (!same) {
        return dsv4_fail(err, DSV4_E_SHAPE, "tensor %s: got %s %s, expected %s %s = [%s]", row->name, dsv4_dtype_name(t->dtype),
                         got, dsv4_dtype_name(row->dtype), dsv4_tensor_shape_text(&wanted, expected, sizeof expected), row->shape);
    }
    if (!dsv4_tensor_is_contiguous(t)) {
        return dsv4_fail(err, DSV4_E_SHAPE, "tensor %s: its rows have gaps; pass a row-major copy", row->name);
    }
    return DSV4_OK;
}

/* A scalar input that names a dimension gives it its value. */
static dsv4_status bind_scalar(const op_tensor *row, const dsv4_tensor *t, op_dims *dims, dsv4_error *err)
{
    int symbol = op_find_symbol(row->symbol, strlen(row->symbol));
    double value = dsv4_tensor_get(t, 0);
    if (value < (double)symbols[symbol].least) {
        return dsv4_fail(err, DSV4_E_VALUE, "tensor %s: got %lld, expected at least %lld (%s)", row->name, (long long)value,
                         (long long)symbols[symbol].least, symbols[symbol].meaning);
    }
    dims->of[symbol] = (int64_t)value;
    return DSV4_OK;
}

static dsv4_status check_dims(const dsv4_op *op, const op_dims *dims, dsv4_error *err)
{
    for (int s = 0; s < OP_N_SYMBOLS; s++) {
        if (dims->of[s] != OP_UNKNOWN && dims->of[s] < symbols[s].least) {
            return dsv4_fail(err, DSV4_E_VALUE, "%s: %s (%s) is %lld, expected at least %lld", op->name, symbols[s].name,
                             symbols[s].meaning, (long long)dims->of[s], (long long)symbols[s].least);
        }
    }
    return DSV4_OK;
}

/* Checks one input and binds what it decides. */
static dsv4_status bind_input(const dsv4_op *op, const op_tensor *row, const dsv4_tensor *t, op_dims *dims, dsv4_error *err)
{
    if (t == NULL && (row->use & OP_OPTIONAL) != 0) {
        return DSV4_OK;
    }
    if (t == NULL) {
        return dsv4_fail(err, DSV4_E_NOT_FOUND, "%s: input %s is missing, expected %s [%s]", op->name, row->name,
                         dsv4_dtype_name(row->dtype), row->shape);
    }
    bind_shape(row->shape, t, dims);
    dsv4_status status = op_check_tensor(row, t, dims, err);
    return status == DSV4_OK && row->symbol != NULL ? bind_scalar(row, t, dims, err) : status;
}

/* What no input of a call tells (SPEC 1.3): one rank has all experts, and each expert room for RECV_SAFETY times its share of the
 * routes. */
static void derive_receivers(op_dims *d)
{
    enum { RECV_SAFETY = 4, RECV_LEAST = 16 };
    int64_t T = d->of[OP_T], K = d->of[OP_K], E = d->of[OP_E];
    d->of[OP_EL] = d->of[OP_EL] == OP_UNKNOWN ? E : d->of[OP_EL];
    if (d->of[OP_RM] == OP_UNKNOWN && T > 0 && K > 0 && E > 0 && T <= INT64_MAX / RECV_SAFETY / K) {
        int64_t rows = T * K * RECV_SAFETY / E;
        d->of[OP_RM] = rows < RECV_LEAST ? RECV_LEAST : rows;
    }
}

dsv4_status op_bind(const dsv4_op *op, const dsv4_tensor_list *io, op_dims *dims, dsv4_error *err)
{
    dsv4_status status = check_dims(op, dims, err);
    for (size_t i = 0; i < op->n_tensors && status == DSV4_OK; i++) {
        const op_tensor *row = &op->tensors[i];
        if (op_is_input(row)) {
            status = bind_input(op, row, dsv4_tensor_list_find(io, row->name), dims, err);
        }
    }
    derive_receivers(dims);
    return status == DSV4_OK ? check_dims(op, dims, err) : status;
}
