/* The attention layers under random page tables, positions, lengths, slots, valid tokens and key lists: a step is refused and
 * leaves caches and states as they were, or gives finite results, the same in any order of its blocks, and those of the golden. */
#include "ops/layer.h"

#include <math.h>

#include "base/rng.h"
#include "golden/golden.h"

enum { N_STEPS = SANITIZED ? 60 : 400, GOLDEN_EVERY = 8, MAX_CHANGES = 4 };

/* Random numbers in the order in which they are asked for. */
typedef struct dice {
    rng r;
    uint64_t n;
} dice;

static int64_t roll(dice *d, int64_t n)
{
    return (int64_t)rng_below(&d->r, d->n++, (uint64_t)n);
}

/* A layer whose graph is sealed once; its integers change from step to step. */
typedef struct subject {
    layer l;
    dsv4_numerics numerics;
    dsv4_tensor_list right; /* the integers of the step that is right */
    sealed s, again;
    int64_t n_accepted, n_compared;
} subject;

/* ---- changes ------------------------------------------------------------------------------------------------------------ */

static bool is_integer(const dsv4_tensor *t)
{
    return t->dtype == DSV4_I32 || t->dtype == DSV4_I64;
}

/* A value for an integer that holds `now`: near it, another one of its tensor, small, or a limit of its type. */
static int64_t draw_value(dice *d, const dsv4_tensor *t, int64_t now)
{
    static const int64_t limits[] = {INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, INT32_MAX - 1, -2};
    switch (roll(d, 6)) {
    case 0:
        return -1;
    case 1:
        return now + roll(d, 7) - 3;
    case 2:
        return get_int(t, roll(d, dsv4_tensor_count(t)));
    case 3:
        return limits[roll(d, 6)];
    default:
        return roll(d, 200);
    }
}

static void change_one(dice *d, const subject *x)
{
    const dsv4_named_tensor *item;
    do {
        item = &x->right.items[roll(d, (int64_t)x->right.n)];
    } while (dsv4_tensor_count(&item->tensor) == 0);
    const dsv4_tensor t = get_tensor(&x->l.in, item->name);
    const int64_t i = roll(d, dsv4_tensor_count(&t));
    set_int(&t, i, draw_value(d, &t, get_int(&t, i)));
}

/* The slots of tokens [t0, t1), where they are written out. */
static void follow(const layer *l, int64_t t0, int64_t t1)
{
    for (size_t i = 0; i < sizeof slot_sources / sizeof *slot_sources; i++) {
        const slot_source *from = &slot_sources[i];
        if (has_tensor(l, from->slots) && has_tensor(l, from->table)) {
            const dsv4_tensor slots = get_tensor(&l->in, from->slots);
            for (int64_t t = t0; t < t1; t++) {
                set_int(&slots, t, slot_of(l, from, t));
            }
        }
    }
}

/* Moves a request to other positions, its slots with it. */
static void move_request(dice *d, const subject *x)
{
    const layer *l = &x->l;
    const int64_t b = roll(d, n_requests(l)), S = tokens_per_request(l), first = roll(d, l->config.max_position_embeddings - S + 1);
    for (int64_t t = b * S; t < (b + 1) * S; t++) {
        i32_of(&l->in, "position_ids")[t] = (int32_t)(first + t - b * S);
    }
    if (has_tensor(l, "kv_seq_lens")) {
        i32_of(&l->in, "kv_seq_lens")[b] = (int32_t)(first + S);
    }
    follow(l, b * S, (b + 1) * S);
}

static void draw_step(dice *d, const subject *x)
{
    for (size_t i = 0; i < x->right.n; i++) {
        memcpy(get_tensor(&x->l.in, x->right.items[i].name).data, x->right.items[i].tensor.data,
               dsv4_tensor_bytes(&x->right.items[i].tensor));
    }
    if (roll(d, 2) == 0) {
        move_request(d, x);
    }
    if (!is_decode(&x->l) && roll(d, 2) == 0) {
        set_valid(&x->l, roll(d, n_tokens(&x->l) + 1));
    }
    for (int64_t n = roll(d, MAX_CHANGES); n > 0; n--) {
        change_one(d, x);
    }
}

/* ---- what must hold ----------------------------------------------------------------------------------------------------- */

static void assert_finite(const char *name, const dsv4_tensor *t)
{
    for (int64_t i = 0; i < dsv4_tensor_count(t); i++) {
        if (!isfinite(dsv4_tensor_get(t, i))) {
            fail_msg("%s: element %lld is %g", name, (long long)i, dsv4_tensor_get(t, i));
        }
    }
}

/* Every output that is defined: x_out of valid tokens, and what is updated. */
static void for_each_output(const subject *x, void (*visit)(const subject *x, const op_tensor *row, const dsv4_tensor *t))
{
    for (size_t i = 0; i < x->l.op->n_tensors; i++) {
        const op_tensor *row = &x->l.op->tensors[i];
        if (!op_is_output(row) || dsv4_tensor_list_find(&x->s.io, row->name) == NULL) {
            continue;
        }
        const dsv4_tensor t = get_tensor(&x->s.io, row->name), valid = op_is_input(row) ? t : rows_of(t, 0, n_valid(&x->l));
        visit(x, row, &valid);
    }
}

static void assert_untouched(const subject *x, const op_tensor *row, const dsv4_tensor *t)
{
    if (op_is_input(row)) {
        const dsv4_tensor before = get_tensor(&x->l.in, row->name);
        assert_int_equal(count_bit_mismatches(t, &before), 0);
    }
}

static void assert_result(const subject *x, const op_tensor *row, const dsv4_tensor *t)
{
    dsv4_tensor other = get_tensor(&x->again.io, row->name);
    other.shape[0] = t->shape[0];
    assert_finite(row->name, t);
    if (count_bit_mismatches(t, &other) > 0) {
        fail_msg("%s: bits of %s depend on the order of blocks", x->l.op->name, row->name);
    }
}

/* Sharp inputs: a step of INT8 or a BF16 rounding that falls the other way moves a few values this far. */
static const cmp_rule golden_rule = {CMP_RATIO, 1.0 / 32, 1.0 / 64, 0.002, 0};

static void compare_tensor(const subject *x, const char *name, dsv4_tensor expected)
{
    const int64_t n = strcmp(name, "x_out") == 0 ? n_valid(&x->l) : expected.shape[0];
    const dsv4_tensor got = rows_of(get_tensor(&x->s.io, name), 0, n), want = rows_of(expected, 0, n);
    cmp_result result;
    dsv4_error err = {0};
    require_ok(cmp_tensors(name, &got, &want, &golden_rule, &result, &err), &err);
    if (!result.pass) {
        fail_msg("%s: %lld of %lld elements of %s are not the golden's, worst %g, expected %g", x->l.op->name,
                 (long long)result.n_bad, (long long)result.n, name, result.worst_actual, result.worst_expected);
    }
}

/* The golden also looks at some table entries that no row is read through; it may refuse them. */
static void compare_with_golden(subject *x)
{
    dsv4_tensor_list expected = {0};
    dsv4_error err = {0};
    if (golden_find(x->l.op->name)->run(&x->l.config, &x->numerics, &x->l.in, &expected, NULL, &err) == DSV4_OK) {
        for (size_t i = 0; i < expected.n; i++) {
            compare_tensor(x, expected.items[i].name, expected.items[i].tensor);
        }
        x->n_compared++;
    }
    dsv4_tensor_list_deinit(&expected);
}

static void run_both(subject *x, uint64_t order)
{
    dsv4_error err = {0}, err_again = {0};
    reset_state(&x->s, &x->l.in);
    reset_state(&x->again, &x->l.in);
    const dsv4_status status = try_sealed(&x->s, pool, 0, &err);
    assert_int_equal(try_sealed(&x->again, pool, order, &err_again), status);
    if (status == DSV4_OK) {
        for_each_output(x, assert_result);
        if (x->n_accepted++ % GOLDEN_EVERY == 0) {
            compare_with_golden(x);
        }
    } else {
        assert_int_equal(status, DSV4_E_VALUE);
        assert_string_equal(err.text, err_again.text);
        assert_true(err.text[0] != '\0' && strchr(err.text, '\n') == NULL);
        for_each_output(x, assert_untouched);
    }
}

/* ---- subjects ----------------------------------------------------------------------------------------------------------- */

/* A window of a moved request may have any row of the state: none is without a score. */
static void fill_states(const layer *l)
{
    for (size_t i = 0; i < l->op->n_tensors; i++) {
        const op_tensor *row = &l->op->tensors[i];
        if (strstr(row->name, "state") != NULL && row->dtype == DSV4_F32) {
            const dsv4_tensor t = get_tensor(&l->in, row->name);
            const rng r = {3, rng_stream(row->name)};
            for (int64_t j = 0; j < dsv4_tensor_count(&t); j++) {
                ((float *)t.data)[j] = (float)rng_uniform(&r, (uint64_t)j, -1, 1);
            }
        }
    }
}

static void fuzz(layer l, dsv4_numerics numerics)
{
    subject x = {.l = l, .numerics = numerics};
    dice d = {{17, rng_stream(l.op->name)}, 0};
    fill_states(&x.l);
    for (size_t i = 0; i < x.l.in.n; i++) {
        if (is_integer(&x.l.in.items[i].tensor)) {
            put_copy(&x.right, x.l.in.items[i].name, x.l.in.items[i].tensor);
        }
    }
    x.s = seal_layer(&x.l, numerics);
    x.again = seal_layer(&x.l, numerics);
    for (uint64_t i = 1; i <= N_STEPS; i++) {
        draw_step(&d, &x);
        run_both(&x, i);
    }
    print_message("  %s: %lld of %d steps accepted, %lld compared\n", x.l.op->name, (long long)x.n_accepted, N_STEPS,
                  (long long)x.n_compared);
    assert_in_range(x.n_accepted, N_STEPS / 20, N_STEPS - N_STEPS / 20);
    assert_in_range(x.n_compared, x.n_accepted / GOLDEN_EVERY / 2, x.n_accepted);
    sealed_deinit(&x.s);
    sealed_deinit(&x.again);
    dsv4_tensor_list_deinit(&x.right);
    layer_deinit(&x.l);
}

/* Room behind the step in every table, so that requests can move. */
static layer spacious(dsv4_mode mode, int ratio, int64_t B, int64_t S, bool i8)
{
    const op_call call = {.mode = mode, .n_requests = B, .n_tokens = S, .start_pos = 158 - S, .quantised_index = i8};
    return draw_layer(ratio, preset("tiny"), call, SHARP);
}

static void test_decode(void **state)
{
    const int ratio = *(const int *)*state;
    layer given = spacious(DSV4_DECODE, ratio, 3, 2, false);
    write_out_integers(&given);
    fuzz(given, (dsv4_numerics){.compat = DSV4_REFERENCE});
    fuzz(spacious(DSV4_DECODE, ratio, 4, 1, ratio == 4), (dsv4_numerics){.compat = DSV4_CORRECT});
}

static void test_prefill(void **state)
{
    const int ratio = *(const int *)*state;
    layer given = spacious(DSV4_PREFILL, ratio, 1, 40, false);
    write_out_integers(&given);
    fuzz(given, (dsv4_numerics){.compat = DSV4_REFERENCE});
    fuzz(spacious(DSV4_PREFILL, ratio, 1, 13, ratio == 4), (dsv4_numerics){.compat = DSV4_CORRECT});
}

#define LAYER(test, ratio)                                  \
    {                                                       \
#test "_of_ratio_" #ratio, test, NULL, NULL, &(int) \
        {                                                   \
            ratio                                           \
        }                                                   \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        LAYER(test_decode, 0),  LAYER(test_decode, 4),  LAYER(test_decode, 128),
        LAYER(test_prefill, 0), LAYER(test_prefill, 4), LAYER(test_prefill, 128),
    };
    return cmocka_run_group_tests(tests, create_pool, destroy_pool);
}
