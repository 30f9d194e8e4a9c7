/* What a call says when a tensor, a dimension, a tile or an option is not as it must be: one line that names it, its value and
 * the rule; and nothing is added to the graph or to the tensors. */
#include "ops/support.h"

#include <stdio.h>
#include <stdlib.h>

enum { T = 3, MAX_WORDS = 4 };

/* A call of tiny that would be accepted: a case breaks one thing. */
typedef struct call {
    const dsv4_op *op;
    dsv4_config config;
    dsv4_tensor_list io;
    dsv4_op_options options;
} call;

static call make_call(const char *op)
{
    call c = {.op = find_op(op), .config = preset("tiny")};
    c.io = draw_inputs(c.op, &c.config, T, 4);
    return c;
}

static call make_call_of(const char *op, dsv4_config config)
{
    call c = {.op = find_op(op), .config = config};
    c.io = draw_inputs(c.op, &config, T, 4);
    return c;
}

static dsv4_tensor *tensor_of(const call *c, const char *name)
{
    dsv4_tensor *t = dsv4_tensor_list_find(&c->io, name);
    assert_non_null(t);
    return t;
}

static void assert_line(const dsv4_error *err, const char *const *words)
{
    if (strchr(err->text, '\n') != NULL) {
        fail_msg("more than one line: %s", err->text);
    }
    for (; *words != NULL; words++) {
        if (strstr(err->text, *words) == NULL) {
            fail_msg("\"%s\" is not in: %s", *words, err->text);
        }
    }
}

/* The call is refused with a line that holds all the words, and leaves graph and tensors as they were. Ends the call. */
static void refuse(call *c, dsv4_status status, const char *const *words)
{
    dsv4_graph *g = dsv4_graph_create("refusals");
    const dsv4_graph_info before = dsv4_graph_get_info(g);
    const size_t n_tensors = c->io.n;
    dsv4_error err = {0};
    const dsv4_status got = dsv4_op_build(c->op, &c->config, &c->options, &c->io, g, &err);
    if (got != status || err.status != status) {
        fail_msg("status \"%s\" (%s), expected \"%s\" and %s", dsv4_status_text(got), err.text, dsv4_status_text(status), words[0]);
    }
    assert_line(&err, words);
    const dsv4_graph_info after = dsv4_graph_get_info(g);
    assert_memory_equal(&before, &after, sizeof before);
    assert_int_equal(c->io.n, n_tensors);
    require_ok(dsv4_graph_seal(g, DSV4_DEPS_BLOCK, &err), &err);
    dsv4_graph_destroy(g);
    dsv4_tensor_list_deinit(&c->io);
}

#define REFUSE(c, status, ...) refuse(c, status, (const char *const[]){__VA_ARGS__, NULL})

static void test_the_unbroken_call_is_accepted(void **state)
{
    const char *const names[] = {"rmsnorm", "qkv_proj_rope", "rope_tables"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        call c = make_call(names[i]);
        dsv4_error err = {0};
        dsv4_graph *g = dsv4_graph_create("accepted");
        require_ok(dsv4_op_build(c.op, &c.config, &c.options, &c.io, g, &err), &err);
        require_ok(dsv4_graph_seal(g, DSV4_DEPS_BLOCK, &err), &err);
        assert_true(dsv4_graph_get_info(g).n_blocks > 0);
        dsv4_graph_destroy(g);
        dsv4_tensor_list_deinit(&c.io);
    }
}

/* ---- operators ---------------------------------------------------------------------------------------------------------- */

static void test_unknown_operator(void **state)
{
    const char *const unknown[] = {"rms", "rmsnorm2", "", "RMSNORM"};
    (void)state;
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        const dsv4_op *op = NULL;
        dsv4_error err = {0};
        char quoted[32];
        snprintf(quoted, sizeof quoted, "\"%s\"", unknown[i]);
        assert_int_equal(dsv4_op_find(unknown[i], &op, &err), DSV4_E_NOT_FOUND);
        assert_line(&err, (const char *const[]){quoted, "rope_tables, rmsnorm, qkv_proj_rope", NULL});
        assert_null(op);
    }
}

static void test_list_of_operators(void **state)
{
    const char *const first[] = {"rope_tables", "rmsnorm", "qkv_proj_rope"};
    size_t n = 0;
    (void)state;
    for (; dsv4_op_at(n) != NULL; n++) {
        assert_ptr_equal(find_op(dsv4_op_name(dsv4_op_at(n))), dsv4_op_at(n));
        assert_true(strlen(dsv4_op_summary(dsv4_op_at(n))) > 0);
        assert_true(dsv4_op_at(n)->n_tensors <= OP_MAX_TENSORS && dsv4_op_at(n)->n_tiles <= OP_MAX_TILES);
    }
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(dsv4_op_name(dsv4_op_at(i)), first[i]);
    }
    assert_int_equal(n, 33);
    assert_null(dsv4_op_at(SIZE_MAX));
}

/* ---- tensors ------------------------------------------------------------------------------------------------------------ */

/* The inputs of a call without one of them. */
static dsv4_tensor_list without(const call *c, const char *name)
{
    dsv4_tensor_list rest = {0};
    for (size_t i = 0; i < c->io.n; i++) {
        if (strcmp(c->io.items[i].name, name) != 0) {
            put_tensor(&rest, c->io.items[i].name, c->io.items[i].tensor);
        }
    }
    return rest;
}

static void test_every_input_must_be_there(void **state)
{
    (void)state;
    for (size_t o = 0; dsv4_op_at(o) != NULL; o++) {
        const dsv4_op *op = dsv4_op_at(o);
        call whole = make_call(op->name);
        for (size_t i = 0; i < op->n_tensors; i++) {
            if (op_is_input(&op->tensors[i]) && (op->tensors[i].use & OP_OPTIONAL) == 0) {
                call c = whole;
                c.io = without(&whole, op->tensors[i].name);
                REFUSE(&c, DSV4_E_NOT_FOUND, op->name, op->tensors[i].name, "missing", dsv4_dtype_name(op->tensors[i].dtype));
            }
        }
        dsv4_tensor_list_deinit(&whole.io);
    }
}

/* Whether the last extent is the caller's choice: pages of a table, or the width of a list. */
static bool has_free_width(const op_tensor *row)
{
    const char *const widths[] = {"WPR", "CPR", "IPR", "SPR", "JPR", "KL", "KB"};
    const char *comma = strrchr(row->shape, ','), *last = comma != NULL ? comma + 1 : row->shape;
    bool is_free = false;
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        is_free = is_free || strcmp(last, widths[i]) == 0;
    }
    return is_free;
}

enum { DTYPE, SHORT, DEEPER, SCALAR, N_FAULTS };

static void break_tensor(dsv4_tensor *t, int fault)
{
    if (fault == DTYPE) {
        t->dtype = t->dtype == DSV4_F32 ? DSV4_I32 : t->dtype == DSV4_I8 ? DSV4_U8 : DSV4_F16;
    } else if (fault == SHORT) {
        t->shape[t->n_dims - 1]--;
    } else if (fault == DEEPER) {
        t->shape[t->n_dims] = t->stride[t->n_dims] = 1;
        t->n_dims++;
    } else {
        t->n_dims = 0;
    }
}

/* Each input in turn with another dtype, one element short, a dimension more, none at all, and with gaps between its rows. */
static void test_every_input_must_fit(void **state)
{
    (void)state;
    for (size_t o = 0; dsv4_op_at(o) != NULL; o++) {
        const dsv4_op *op = dsv4_op_at(o);
        call whole = make_call(op->name);
        for (size_t i = 0; i < op->n_tensors * N_FAULTS; i++) {
            const op_tensor *row = &op->tensors[i / N_FAULTS];
            const int fault = (int)(i % N_FAULTS);
            const dsv4_tensor *intact = dsv4_tensor_list_find(&whole.io, row->name);
            if (intact == NULL || (intact->n_dims == 0 && (fault == SHORT || fault == SCALAR)) ||
                (fault == SHORT && has_free_width(row))) {
                continue;
            }
            call c = whole;
            char name[64];
            c.io = without(&whole, "");
            break_tensor(tensor_of(&c, row->name), fault);
            snprintf(name, sizeof name, "tensor %s:", row->name);
            REFUSE(&c, DSV4_E_SHAPE, name, "got", "expected", dsv4_dtype_name(row->dtype));
        }
        dsv4_tensor_list_deinit(&whole.io);
    }
}

static void test_shapes_are_named(void **state)
{
    (void)state;
    call c = make_call("rmsnorm");
    tensor_of(&c, "x")->shape[1] = 255;
    REFUSE(&c, DSV4_E_SHAPE, "x", "BF16 [3, 255]", "BF16 [3, 256]", "[T,D]");
    c = make_call("qkv_proj_rope");
    tensor_of(&c, "rope_sin")->shape[0] = 2;
    REFUSE(&c, DSV4_E_SHAPE, "rope_sin", "BF16 [2, 32]", "BF16 [3, 32]", "[T,R]");
    c = make_call("qkv_proj_rope");
    tensor_of(&c, "x")->n_dims = 0;
    REFUSE(&c, DSV4_E_SHAPE, "tensor x", "BF16 []", "BF16 [T,D]");
}

static void test_no_tokens(void **state)
{
    const char *const per_token[] = {"x", "rope_cos", "rope_sin"};
    (void)state;
    call c = make_call("rmsnorm");
    tensor_of(&c, "x")->shape[0] = 0;
    REFUSE(&c, DSV4_E_VALUE, "rmsnorm", "T (tokens of the call) is 0", "at least 1");
    c = make_call("qkv_proj_rope");
    for (size_t i = 0; i < 3; i++) {
        tensor_of(&c, per_token[i])->shape[0] = 0;
    }
    REFUSE(&c, DSV4_E_VALUE, "qkv_proj_rope", "T (tokens of the call) is 0", "at least 1");
}

static void test_gaps_between_rows(void **state)
{
    const char *const names[] = {"x", "wq_a", "wq_b", "wkv", "rope_cos", "rope_sin"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        call c = make_call("qkv_proj_rope");
        tensor_of(&c, names[i])->stride[0]++;
        REFUSE(&c, DSV4_E_SHAPE, names[i], "gaps");
    }
    call c = make_call("qkv_proj_rope"); /* a vector has gaps between its elements */
    tensor_of(&c, "gamma_cq")->stride[0] = 2;
    REFUSE(&c, DSV4_E_SHAPE, "gamma_cq", "gaps");
    c = make_call("rmsnorm"); /* transposed */
    *tensor_of(&c, "x") = (dsv4_tensor){DSV4_BF16, 2, {T, 256}, {1, T}, tensor_of(&c, "x")->data};
    REFUSE(&c, DSV4_E_SHAPE, "x", "gaps");
}

/* ---- outputs of the caller ---------------------------------------------------------------------------------------------- */

static void test_wrong_output_is_refused(void **state)
{
    uint16_t memory[4 * 256];
    const dsv4_tensor tall = dsv4_tensor_make(DSV4_BF16, 2, (int64_t[]){4, 256}, memory);
    const dsv4_tensor other = dsv4_tensor_make(DSV4_F16, 2, (int64_t[]){3, 256}, memory);
    const dsv4_tensor gaps = {DSV4_BF16, 2, {3, 256}, {300, 1}, memory};
    (void)state;
    call c = make_call("rmsnorm");
    put_tensor(&c.io, "x_normed", tall);
    REFUSE(&c, DSV4_E_SHAPE, "x_normed", "BF16 [4, 256]", "BF16 [3, 256]");
    c = make_call("rmsnorm");
    put_tensor(&c.io, "x_normed", other);
    REFUSE(&c, DSV4_E_SHAPE, "x_normed", "F16", "BF16");
    c = make_call("rmsnorm");
    put_tensor(&c.io, "x_normed", gaps);
    REFUSE(&c, DSV4_E_SHAPE, "x_normed", "gaps");
    c = make_call("qkv_proj_rope"); /* the last of the outputs: the first ones are not left in io */
    put_tensor(&c.io, "qr_scale", dsv4_tensor_make(DSV4_F32, 1, (int64_t[]){3}, memory));
    REFUSE(&c, DSV4_E_SHAPE, "qr_scale", "F32 [3]", "F32 [3, 1]");
}

static void test_right_output_is_used(void **state)
{
    uint16_t memory[3 * 256] = {0};
    const dsv4_tensor right = dsv4_tensor_make(DSV4_BF16, 2, (int64_t[]){3, 256}, memory);
    call c = make_call("rmsnorm");
    dsv4_graph *g = dsv4_graph_create("borrowed output");
    dsv4_pool *pool = make_pool(1);
    dsv4_exec *exec;
    dsv4_error err = {0};
    (void)state;
    put_tensor(&c.io, "x_normed", right);
    const size_t n_tensors = c.io.n;
    require_ok(dsv4_op_build(c.op, &c.config, &c.options, &c.io, g, &err), &err);
    assert_int_equal(c.io.n, n_tensors);
    assert_ptr_equal(get_tensor(&c.io, "x_normed").data, memory);
    require_ok(dsv4_graph_seal(g, DSV4_DEPS_BLOCK, &err), &err);
    require_ok(dsv4_exec_create(g, pool, 0, &exec, &err), &err);
    assert_int_equal(dsv4_exec_run(exec, 0, NULL), DSV4_OK);
    assert_true(memory[0] != 0 && memory[3 * 256 - 1] != 0);
    dsv4_exec_destroy(exec);
    dsv4_pool_destroy(pool);
    dsv4_graph_destroy(g);
    dsv4_tensor_list_deinit(&c.io);
}

/* ---- tiles -------------------------------------------------------------------------------------------------------------- */

static void refuse_tile(const char *op, const char *set, dsv4_status status, const char *const *words)
{
    call c = make_call_of(op, model(1030, 1100, 6, 96, 10));
    c.options.sets = &set;
    c.options.n_sets = 1;
    refuse(&c, status, words);
}

#define REFUSE_TILE(op, set, status, ...) refuse_tile(op, set, status, (const char *const[]){__VA_ARGS__, NULL})

static void test_tile_names(void **state)
{
    (void)state;
    REFUSE_TILE("rmsnorm", "m_tile=4", DSV4_E_NOT_FOUND, "rmsnorm", "m_tile", "t_tile, norm_parts");
    REFUSE_TILE("rmsnorm", "t_til=4", DSV4_E_NOT_FOUND, "t_til ", "t_tile, norm_parts");
    REFUSE_TILE("rmsnorm", "t_tile2=4", DSV4_E_NOT_FOUND, "t_tile2");
    REFUSE_TILE("rmsnorm", "=4", DSV4_E_NOT_FOUND, "t_tile, norm_parts");
    REFUSE_TILE("rmsnorm", "n_tile=64", DSV4_E_NOT_FOUND, "n_tile");
    REFUSE_TILE("qkv_proj_rope", "x=1", DSV4_E_NOT_FOUND, "n_tile, k_split, norm_t_tile");
    REFUSE_TILE("rmsnorm", "t_tile", DSV4_E_USAGE, "t_tile", "NAME=VALUE");
    REFUSE_TILE("rmsnorm", "", DSV4_E_USAGE, "NAME=VALUE");
}

static void test_tile_numbers(void **state)
{
    const char *const bad[] = {"t_tile=",
                               "t_tile=four",
                               "t_tile=4x",
                               "t_tile=4.5",
                               "t_tile=0",
                               "t_tile=-1",
                               "t_tile=2147483648",
                               "t_tile=99999999999999999999",
                               "t_tile=-99999999999999999999",
                               "t_tile=0x10",
                               "t_tile=4,5",
                               "t_tile==4"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        REFUSE_TILE("rmsnorm", bad[i], DSV4_E_VALUE, "rmsnorm", bad[i], "1 to 2147483647");
        REFUSE_TILE("qkv_proj_rope", bad[i], DSV4_E_VALUE, "qkv_proj_rope", bad[i], "1 to 2147483647");
    }
}

static void test_tile_rules(void **state)
{
    const char *const op = "qkv_proj_rope"; /* of D 1030: 3 chunks, QL 1100: 3 chunks, H 6 */
    (void)state;
    REFUSE_TILE(op, "n_tile=48", DSV4_E_VALUE, "n_tile=48", "multiple of 32");
    REFUSE_TILE(op, "n_tile=1", DSV4_E_VALUE, "n_tile=1", "multiple of 32");
    REFUSE_TILE(op, "n_tile=33", DSV4_E_VALUE, "n_tile=33", "multiple of 32");
    REFUSE_TILE(op, "head_group=4", DSV4_E_VALUE, "head_group=4", "6", "num_attention_heads");
    REFUSE_TILE(op, "head_group=12", DSV4_E_VALUE, "head_group=12", "6", "num_attention_heads");
    REFUSE_TILE(op, "k_split=4", DSV4_E_VALUE, "k_split=4", "at most 3");
    REFUSE_TILE(op, "norm_parts=4", DSV4_E_VALUE, "norm_parts=4", "at most 3");
    REFUSE_TILE("rmsnorm", "norm_parts=4", DSV4_E_VALUE, "norm_parts=4", "at most 3");
}

/* The rules' limits themselves are legal, and of two settings of one tile the last one counts. */
static void test_tile_limits_are_accepted(void **state)
{
    const char *const sets[] = {"t_tile=2147483647", "n_tile=2147483616",     "k_split=3", "norm_parts=3", "head_group=6",
                                "norm_t_tile=1",     "norm_t_tile=2147483647"};
    call c = make_call_of("qkv_proj_rope", model(1030, 1100, 6, 96, 10));
    dsv4_graph *g = dsv4_graph_create("limits");
    dsv4_error err = {0};
    (void)state;
    c.options.sets = sets;
    c.options.n_sets = sizeof sets / sizeof *sets;
    require_ok(dsv4_op_build(c.op, &c.config, &c.options, &c.io, g, &err), &err);
    require_ok(dsv4_graph_seal(g, DSV4_DEPS_BLOCK, &err), &err);
    assert_int_equal(dsv4_graph_get_info(g).n_blocks, 1 + 3 + 3 + 3 * 3 + 1 + 1 + 1);
    dsv4_graph_destroy(g);
    dsv4_tensor_list_deinit(&c.io);
}

/* The second setting is wrong: the first one leaves nothing behind. */
static void test_one_bad_tile_of_two(void **state)
{
    const char *const sets[] = {"t_tile=8", "k_split=9"};
    call c = make_call("qkv_proj_rope");
    (void)state;
    c.options.sets = sets;
    c.options.n_sets = 2;
    REFUSE(&c, DSV4_E_VALUE, "k_split=9", "at most 1");
}

/* ---- options ------------------------------------------------------------------------------------------------------------ */

static void test_isa(void **state)
{
    const char *const set_by_user = getenv("DSV4_ISA");
    char saved[64];
    (void)state;
    snprintf(saved, sizeof saved, "%s", set_by_user != NULL ? set_by_user : "");
    call c = make_call("rmsnorm");
    c.options.isa = "avx1024";
    REFUSE(&c, DSV4_E_NOT_FOUND, "avx1024", "scalar");

    setenv("DSV4_ISA", "sse9", 1);
    c = make_call("rmsnorm");
    REFUSE(&c, DSV4_E_NOT_FOUND, "DSV4_ISA", "sse9", "scalar");
    c = make_call("rmsnorm"); /* the option comes before the variable */
    c.options.isa = "scalar";
    dsv4_graph *g = dsv4_graph_create("isa");
    dsv4_error err = {0};
    require_ok(dsv4_op_build(c.op, &c.config, &c.options, &c.io, g, &err), &err);
    dsv4_graph_destroy(g);
    dsv4_tensor_list_deinit(&c.io);
    if (set_by_user != NULL) {
        setenv("DSV4_ISA", saved, 1);
    } else {
        unsetenv("DSV4_ISA");
    }
}

static void test_isa_that_the_machine_lacks(void **state)
{
    int n_lacking = 0;
    (void)state;
    for (const uk_table *const *uk = uk_all(); *uk != NULL; uk++) {
        if (!uk_is_supported(*uk)) {
            call c = make_call("rmsnorm");
            c.options.isa = (*uk)->isa;
            REFUSE(&c, DSV4_E_UNSUPPORTED, (*uk)->isa, uk_missing_feature(*uk));
            n_lacking++;
        }
    }
    if (n_lacking == 0) {
        skip();
    }
}

/* ---- dimensions --------------------------------------------------------------------------------------------------------- */

static void test_rope_dim(void **state)
{
    (void)state;
    call c = make_call_of("qkv_proj_rope", model(64, 64, 2, 40, 7));
    REFUSE(&c, DSV4_E_VALUE, "qk_rope_head_dim=7", "even", "head_dim=40");
    c = make_call_of("qkv_proj_rope", model(64, 64, 2, 40, 42));
    REFUSE(&c, DSV4_E_VALUE, "qk_rope_head_dim=42", "at most", "head_dim=40");
    c = make_call_of("rope_tables", model(64, 64, 2, 40, 7));
    REFUSE(&c, DSV4_E_VALUE, "qk_rope_head_dim=7", "% 2");
}

static void test_low_rank_too_large(void **state)
{
    (void)state;
    call c = make_call_of("qkv_proj_rope", model(1, 65537, 1, 2, 2));
    REFUSE(&c, DSV4_E_VALUE, "q_lora_rank=65537", "65536");
}

/* A config that was not read from a file may hold anything. */
static void test_impossible_config(void **state)
{
    const int64_t impossible[] = {0, -1, -5, INT64_MIN + 1};
    (void)state;
    for (size_t i = 0; i < sizeof impossible / sizeof *impossible; i++) {
        char value[32];
        snprintf(value, sizeof value, "is %lld", (long long)impossible[i]);
        call c = make_call("rmsnorm");
        c.config.hidden_size = impossible[i];
        REFUSE(&c, DSV4_E_VALUE, "hidden_size", value, "at least 1");
        c = make_call("qkv_proj_rope");
        c.config.num_attention_heads = impossible[i];
        REFUSE(&c, DSV4_E_VALUE, "num_attention_heads", value, "at least 1");
        c = make_call("rope_tables");
        c.config.qk_rope_head_dim = impossible[i];
        REFUSE(&c, DSV4_E_VALUE, "qk_rope_head_dim", value, "at least 1");
    }
    call c = make_call("qkv_proj_rope");
    c.config.q_lora_rank = c.config.hidden_size = INT64_MAX;
    REFUSE(&c, DSV4_E_SHAPE, "tensor x", "9223372036854775807");
    c = make_call("qkv_proj_rope");
    c.config.num_attention_heads = INT64_MAX / 2;
    REFUSE(&c, DSV4_E_SHAPE, "tensor wq_b", "[QL,H*hd]");
    c = make_call("rope_tables");
    c.config.qk_rope_head_dim = INT64_MAX - 1;
    REFUSE(&c, DSV4_E_SHAPE, "freqs_cos");
}

static void test_scalars(void **state)
{
    static const struct {
        const char *name;
        int32_t value;
        const char *got, *rule;
    } cases[] = {
        {"max_seq_len", 0, "got 0", "at least 1"},
        {"max_seq_len", -1, "got -1", "at least 1"},
        {"max_seq_len", INT32_MIN, "got -2147483648", "at least 1"},
        {"max_seq_len", (1 << 24) + 1, "max_seq_len=16777217", "at most 16777216"},
        {"max_seq_len", INT32_MAX, "max_seq_len=2147483647", "at most 16777216"},
        {"compress_ratio", -1, "got -1", "at least 0"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        call c = make_call("rope_tables");
        *(int32_t *)tensor_of(&c, cases[i].name)->data = cases[i].value;
        REFUSE(&c, DSV4_E_VALUE, cases[i].name, cases[i].got, cases[i].rule);
    }
    call c = make_call("rope_tables");
    tensor_of(&c, "max_seq_len")->dtype = DSV4_F32;
    REFUSE(&c, DSV4_E_SHAPE, "max_seq_len", "F32 []", "I32 []");
    c = make_call("rope_tables");
    tensor_of(&c, "compress_ratio")->dtype = DSV4_U8;
    REFUSE(&c, DSV4_E_SHAPE, "compress_ratio", "U8 []", "I32 []");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_unbroken_call_is_accepted),
        cmocka_unit_test(test_unknown_operator),
        cmocka_unit_test(test_list_of_operators),
        cmocka_unit_test(test_every_input_must_be_there),
        cmocka_unit_test(test_every_input_must_fit),
        cmocka_unit_test(test_shapes_are_named),
        cmocka_unit_test(test_no_tokens),
        cmocka_unit_test(test_gaps_between_rows),
        cmocka_unit_test(test_wrong_output_is_refused),
        cmocka_unit_test(test_right_output_is_used),
        cmocka_unit_test(test_tile_names),
        cmocka_unit_test(test_tile_numbers),
        cmocka_unit_test(test_tile_rules),
        cmocka_unit_test(test_tile_limits_are_accepted),
        cmocka_unit_test(test_one_bad_tile_of_two),
        cmocka_unit_test(test_isa),
        cmocka_unit_test(test_isa_that_the_machine_lacks),
        cmocka_unit_test(test_rope_dim),
        cmocka_unit_test(test_low_rank_too_large),
        cmocka_unit_test(test_impossible_config),
        cmocka_unit_test(test_scalars),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
