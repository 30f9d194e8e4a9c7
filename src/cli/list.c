/* cli/list.c - `dsv4 list [OP]`: the operators; or one operator's tensors, dimensions and tiles. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "ops/chunk.h"
#include "ops/op.h"

static void print_all(void)
{
    for (size_t i = 0; dsv4_op_at(i) != NULL; i++) {
        cli_print("%-16s decode prefill  %s\n", dsv4_op_name(dsv4_op_at(i)), dsv4_op_summary(dsv4_op_at(i)));
    }
    cli_print("\ndsv4 list OP tells an operator's tensors, dimensions and tiles\n");
}

/* ---- one operator ------------------------------------------------------------------------------------------------------- */

static const char *const directions[] = {"in", "out"};

static void print_tensors(const dsv4_op *op)
{
    cli_print("  %-14s %-5s %-7s %-10s %s\n", "tensor", "", "dtype", "shape", "meaning");
    for (size_t i = 0; i < op->n_tensors; i++) {
        const op_tensor *t = &op->tensors[i];
        char shape[64];
        snprintf(shape, sizeof shape, "[%s]", t->shape);
        cli_print("  %-14s %-5s %-7s %-10s %s\n", t->name, directions[t->direction], dsv4_dtype_name(t->dtype), shape, t->meaning);
    }
}

/* Whether a shape such as "T,H*hd" has the symbol. */
static bool shape_has(const char *shape, const char *symbol)
{
    size_t n = strcspn(shape, "*,");
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
    cli_print("\n  %-14s %s\n", "output", "tolerance (a: actual, e: expected)");
    for (size_t i = 0; i < op->n_tensors; i++) {
        char rule[128];
        if (op->tensors[i].direction != OP_IN) {
            cli_print("  %-14s %s\n", op->tensors[i].name, cmp_rule_text(&op->tensors[i].rule, rule, sizeof rule));
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

static json_t *tensor_json(const op_tensor *t)
{
    char rule[128];
    json_t *tolerance = t->direction == OP_IN ? json_null() : json_string(cmp_rule_text(&t->rule, rule, sizeof rule));
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:s}", "name", t->name, "dtype", dsv4_dtype_name(t->dtype), "shape", t->shape,
                     "direction", directions[t->direction], "tolerance", tolerance, "meaning", t->meaning);
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
    for (size_t i = 0; i < op->n_tensors; i++) {
        json_array_append_new(tensors, tensor_json(&op->tensors[i]));
    }
    for (size_t i = 0; i < op->n_tiles; i++) {
        json_array_append_new(tiles, tile_json(&op->tiles[i]));
    }
    return json_pack("{s:s, s:s, s:[s,s], s:o, s:o}", "name", op->name, "summary", op->summary, "modes", "decode", "prefill",
                     "tensors", tensors, "tiles", tiles);
}

static json_t *all_json(void)
{
    json_t *all = json_array();
    for (size_t i = 0; dsv4_op_at(i) != NULL; i++) {
        json_array_append_new(all, op_json(dsv4_op_at(i)));
    }
    return all;
}

static int run(const cli_command *self, int argc, char **argv)
{
    dsv4_error err = {0};
    const dsv4_op *op = NULL;
    int first = 0, code = cli_parse(self, argc, argv, NULL, &first);
    if (code >= 0) {
        return code;
    }
    if (first + 1 < argc) {
        dsv4_fail(&err, DSV4_E_USAGE, "list: got %d operators, expected at most one", argc - first);
        return cli_fail(&err);
    }
    if (first < argc && dsv4_op_find(argv[first], &op, &err) != DSV4_OK) {
        return cli_fail(&err);
    }
    if (cli_write_json(op != NULL ? op_json(op) : all_json(), &err) != DSV4_OK) {
        return cli_fail(&err);
    }
    if (op != NULL) {
        print_one(op);
    } else {
        print_all();
    }
    return CLI_PASS;
}

const cli_command cli_list = {
    "list", "[OP] [options]", "the operators; or one operator's tensors, dimensions and tiles", NULL, NULL, run};
