/* cli/list.c - `dsv4 list [OP]`: the operators and their forms; or one operator's tensors, dimensions and tiles. */
#include <stdio.h>
#include <string.h>

#include "cli/compare.h"
#include "cli/launch.h"
#include "ops/chunk.h"

typedef struct list_options {
    int mode, ratio; /* OP_ANY: not given */
} list_options;

static const cli_option options_table[] = {
    {"mode", "decode|prefill", "which form of OP", launch_store_mode, offsetof(list_options, mode), 0, 0},
    {"compress-ratio", "R", "0, 4 or 128: which form of OP", launch_store_compress_ratio, offsetof(list_options, ratio), 0, 0},
    {.name = NULL},
};

/* ---- several operators ---------------------------------------------------------------------------------------------------- */

static const char *mode_text(const dsv4_op *op)
{
    return op->family == NULL || op->mode == OP_ANY ? "any" : op->mode == DSV4_DECODE ? "decode" : "prefill";
}

static void print_form(const dsv4_op *op)
{
    char ratio[16] = "any";
    if (op->family != NULL && op->ratio != OP_ANY) {
        snprintf(ratio, sizeof ratio, "%d", op->ratio);
    }
    cli_print("%s%-*s %-8s %-6s %s\n", op->family != NULL ? "  " : "", op->family != NULL ? 28 : 30, op->name, mode_text(op), ratio,
              op->summary);
}

/* Whether `family` (NULL: every one) has the operator. */
static bool is_listed(const dsv4_op *op, const char *family)
{
    return family == NULL || (op->family != NULL && strcmp(op->family, family) == 0);
}

/* The forms of a family; NULL: all operators, the forms under the names of their families. */
static void print_several(const char *family)
{
    const char *last = "";
    cli_print("%-30s %-8s %-6s %s\n", "operator, or forms of one", "mode", "ratio", "what it computes");
    for (size_t i = 0; dsv4_op_at(i) != NULL; i++) {
        const dsv4_op *op = dsv4_op_at(i);
        if (!is_listed(op, family)) {
            continue;
        }
        if (op->family != NULL && strcmp(op->family, last) != 0) {
            cli_print("%s\n", op->family);
            last = op->family;
        }
        print_form(op);
    }
    cli_print("\ndsv4 list OP [--mode M] [--compress-ratio R] tells an operator's tensors, dimensions and tiles\n");
}

/* ---- one operator ------------------------------------------------------------------------------------------------------- */

/* "in", "out", "io"; "in?" for one that may be missing. */
static const char *use_text(const op_tensor *t)
{
    static const char *const uses[] = {[OP_IN] = "in", [OP_OUT] = "out", [OP_INOUT] = "io"},
                             *const optional[] = {[OP_IN] = "in?", [OP_INOUT] = "io?"};
    return ((t->use & OP_OPTIONAL) != 0 ? optional : uses)[t->use & OP_INOUT];
}

/* "BF16", "BF16|I8" */
static const char *dtype_text(const op_tensor *t, char *text, size_t size)
{
    snprintf(text, size, "%s%s", dsv4_dtype_name(t->dtype), (t->use & OP_OR_I8) != 0 ? "|I8" : "");
    return text;
}

static int widest(int width, const char *text)
{
    return (int)strlen(text) > width ? (int)strlen(text) : width;
}

static void print_tensors(const dsv4_op *op)
{
    int name_width = 14, shape_width = 8;
    for (size_t i = 0; i < op->n_tensors; i++) {
        name_width = widest(name_width, op->tensors[i].name);
        shape_width = widest(shape_width, op->tensors[i].shape);
    }
    cli_print("  %-*s %-4s %-7s %-*s %s\n", name_width, "tensor", "", "dtype", shape_width + 2, "shape", "meaning");
    for (size_t i = 0; i < op->n_tensors; i++) {
        const op_tensor *t = &op->tensors[i];
        char shape[64], dtype[16];
        snprintf(shape, sizeof shape, "[%s]", t->shape);
        cli_print("  %-*s %-4s %-7s %-*s %s\n", name_width, t->name, use_text(t), dtype_text(t, dtype, sizeof dtype),
                  shape_width + 2, shape, t->meaning);
    }
}

/* Whether a shape such as "T,H*hd" has the symbol. */
static bool shape_has(const char *shape, const char *symbol)
{
    size_t n = strcspn(shape, "*/+,");
    bool here = strlen(symbol) == n && memcmp(shape, symbol, n) == 0;
    return here || (shape[n] != '\0' && shape_has(shape + n + 1, symbol));
}

static void print_dimension(const dsv4_op *op, const char *symbol, const char *meaning)
{
    for (size_t i = 0; i < op->n_tensors; i++) {
        if (shape_has(op->tensors[i].shape, symbol)) {
            cli_print("  %-14s %s\n", symbol, meaning);
            return;
        }
    }
}

static void print_dimensions(const dsv4_op *op)
{
    cli_print("\n  %-14s %s\n", "dimension", "meaning (hidden_size and the like are fields of the config)");
#define PRINT_DIMENSION(symbol, least, meaning) print_dimension(op, #symbol, meaning);
    OP_SYMBOLS(PRINT_DIMENSION)
#undef PRINT_DIMENSION
}

static void print_tolerances(const dsv4_op *op)
{
    int width = 14;
    for (size_t i = 0; i < op->n_tensors; i++) {
        width = op_is_output(&op->tensors[i]) ? widest(width, op->tensors[i].name) : width;
    }
    cli_print("\n  %-*s %s\n", width, "output", "tolerance (a: actual, e: expected)");
    for (size_t i = 0; i < op->n_tensors; i++) {
        char rule[160];
        if (op_is_output(&op->tensors[i])) {
            cli_print("  %-*s %s\n", width, op->tensors[i].name, compare_rule_text(op, &op->tensors[i], rule, sizeof rule));
        }
    }
}

/* "multiple of 32, divides H, at most ceil(D/512)"; "any" without a rule. */
static const char *tile_rules(const op_tile *t, char *text, size_t size)
{
    char multiple[48] = "", divides[48] = "", chunks[48] = "";
    if (t->multiple_of > 1) {
        snprintf(multiple, sizeof multiple, ", multiple of %lld", (long long)t->multiple_of);
    }
    if (t->divides != NULL) {
        snprintf(divides, sizeof divides, ", divides %s", t->divides);
    }
    if (t->chunks_of != NULL) {
        snprintf(chunks, sizeof chunks, ", at most ceil(%s/%d)", t->chunks_of, OP_SUM_CHUNK);
    }
    snprintf(text, size, "%s%s%s", multiple, divides, chunks);
    return text[0] != '\0' ? text + 2 : "any";
}

static void print_tiles(const dsv4_op *op)
{
    cli_print("\n  %-14s %-7s %-8s %-19s %s\n", "tile", "decode", "prefill", "allowed",
              "meaning (--set NAME=VALUE; results stay the same)");
    for (size_t i = 0; i < op->n_tiles; i++) {
        const op_tile *t = &op->tiles[i];
        char rules[160];
        cli_print("  %-14s %-7lld %-8lld %-19s %s\n", t->name, (long long)t->decode, (long long)t->prefill,
                  tile_rules(t, rules, sizeof rules), t->meaning);
    }
}

static void print_one(const dsv4_op *op)
{
    cli_print("%s - %s\n\n", op->name, op->summary);
    print_tensors(op);
    print_dimensions(op);
    print_tolerances(op);
    print_tiles(op);
}

/* ---- JSON --------------------------------------------------------------------------------------------------------------- */

static json_t *tensor_json(const dsv4_op *op, const op_tensor *t)
{
    char rule[160], dtype[16];
    json_t *tolerance = !op_is_output(t) ? json_null() : json_string(compare_rule_text(op, t, rule, sizeof rule));
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:s}", "name", t->name, "dtype", dtype_text(t, dtype, sizeof dtype), "shape",
                     t->shape, "direction", use_text(t), "tolerance", tolerance, "meaning", t->meaning);
}

static json_t *tile_json(const op_tile *t)
{
    char rules[160];
    return json_pack("{s:s, s:I, s:I, s:s, s:s}", "name", t->name, "decode", (json_int_t)t->decode, "prefill",
                     (json_int_t)t->prefill, "allowed", tile_rules(t, rules, sizeof rules), "meaning", t->meaning);
}

static json_t *op_json(const dsv4_op *op)
{
    json_t *tensors = json_array(), *tiles = json_array();
    bool has_ratio = op->family != NULL && op->ratio != OP_ANY;
    for (size_t i = 0; i < op->n_tensors; i++) {
        json_array_append_new(tensors, tensor_json(op, &op->tensors[i]));
    }
    for (size_t i = 0; i < op->n_tiles; i++) {
        json_array_append_new(tiles, tile_json(&op->tiles[i]));
    }
    return json_pack("{s:s, s:s, s:o, s:s, s:o, s:o, s:o}", "name", op->name, "summary", op->summary, "family",
                     op->family != NULL ? json_string(op->family) : json_null(), "mode", mode_text(op), "ratio",
                     has_ratio ? json_integer(op->ratio) : json_null(), "tensors", tensors, "tiles", tiles);
}

static json_t *several_json(const char *family)
{
    json_t *all = json_array();
    for (size_t i = 0; dsv4_op_at(i) != NULL; i++) {
        if (is_listed(dsv4_op_at(i), family)) {
            json_array_append_new(all, op_json(dsv4_op_at(i)));
        }
    }
    return all;
}

/* ---- the command ----------------------------------------------------------------------------------------------------------- */

/* Lists the family, or all operators where family and op are NULL, or the one operator. */
static int list(const char *family, const dsv4_op *op)
{
    dsv4_error err = {0};
    if (cli_write_json(op != NULL ? op_json(op) : several_json(family), &err) != DSV4_OK) {
        return cli_fail(&err);
    }
    if (op != NULL) {
        print_one(op);
    } else {
        print_several(family);
    }
    return CLI_PASS;
}

static int run(const cli_command *self, int argc, char **argv)
{
    list_options options = {OP_ANY, OP_ANY};
    dsv4_error err = {0};
    const dsv4_op *op = NULL;
    int first = 0, code = cli_parse(self, argc, argv, &options, &first);
    if (code >= 0) {
        return code;
    }
    if (first + 1 < argc) {
        dsv4_fail(&err, DSV4_E_USAGE, "list: got %d operators, expected at most one", argc - first);
        return cli_fail(&err);
    }
    if (first == argc) {
        return list(NULL, NULL);
    }
    if (op_is_family(argv[first]) && options.mode == OP_ANY && options.ratio == OP_ANY) {
        return list(argv[first], NULL);
    }
    return op_choose(argv[first], options.mode, options.ratio, &op, &err) == DSV4_OK ? list(NULL, op) : cli_fail(&err);
}

const cli_command cli_list = {
    "list", "[OP] [options]", "the operators and their forms; or one operator's tensors, dimensions and tiles", options_table, NULL,
    run};
