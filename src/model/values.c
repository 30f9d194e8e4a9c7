/* values.c - whether the values of stored tensors are ones that a model can have. */
#include <math.h>
#include <string.h>

#include "base/numbers.h"
#include "model/problems.h"
#include "model/weights.h"

/* The first element that is not allowed, or -1. */
typedef int64_t find_bad_fn(const unsigned char *data, int64_t n, int64_t limit);

static int64_t find_bad_scale(const unsigned char *data, int64_t n, int64_t limit)
{
    for (int64_t i = 0; i < n; i++) {
        if (data[i] > limit) {
            return i;
        }
    }
    return -1;
}

static int64_t find_bad_e4m3(const unsigned char *data, int64_t n, int64_t limit)
{
    (void)limit;
    for (int64_t i = 0; i < n; i++) {
        if ((data[i] & 0x7f) == 0x7f) {
            return i;
        }
    }
    return -1;
}

static int64_t find_bad_bf16(const unsigned char *data, int64_t n, int64_t limit)
{
    (void)limit;
    for (int64_t i = 0; i < n; i++) {
        if ((data[2 * i + 1] & 0x7f) == 0x7f && (data[2 * i] & 0x80) != 0) { /* the exponent of infinities and NaNs */
            return i;
        }
    }
    return -1;
}

static int64_t find_bad_f32(const unsigned char *data, int64_t n, int64_t limit)
{
    (void)limit;
    for (int64_t i = 0; i < n; i++) {
        float value;
        memcpy(&value, data + 4 * i, sizeof value);
        if (!isfinite(value)) {
            return i;
        }
    }
    return -1;
}

static int64_t find_bad_i64(const unsigned char *data, int64_t n, int64_t limit)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t value;
        memcpy(&value, data + 8 * i, sizeof value);
        if (value < 0 || value > limit) {
            return i;
        }
    }
    return -1;
}

dsv4_status model_values_require_finite(const char *name, model_weight_kind kind, const uint8_t *data, int64_t n, dsv4_error *err)
{
    const int64_t bad = kind == MODEL_BF16 ? find_bad_bf16(data, n, 0) : find_bad_f32(data, n, 0);
    return bad < 0 ? DSV4_OK
                   : dsv4_fail(err, DSV4_E_VALUE, "%s: has a value that is not finite (dsv4 inspect --values tells which)", name);
}

typedef struct value_rule {
    find_bad_fn *find_bad;
    int64_t limit;
    const char *expected;
} value_rule;

static value_rule rule_of(const model_config *config, dsv4_dtype dtype)
{
    switch (dtype) {
    case DSV4_F8_E8M0:
        return (value_rule){find_bad_scale, MODEL_MAX_SCALE_CODE, "a scale of at most 2^119"};
    case DSV4_F8_E4M3:
        return (value_rule){find_bad_e4m3, 0, "a number"};
    case DSV4_BF16:
        return (value_rule){find_bad_bf16, 0, "a finite number"};
    case DSV4_F32:
        return (value_rule){find_bad_f32, 0, "a finite number"};
    case DSV4_I64:
        return (value_rule){find_bad_i64, config->n_routed_experts - 1, "the number of an expert"};
    default:
        return (value_rule){NULL, 0, ""}; /* every code of FP4 is a number */
    }
}

static void check_item(model_checkpoint *c, size_t i)
{
    const model_tensor *t = &c->table.items[i];
    const value_rule rule = rule_of(&c->config, t->dtype);
    const int64_t n = t->shape[0] * (t->n_dims == 2 ? t->shape[1] : 1);
    const int64_t bad = rule.find_bad == NULL || c->data[i] == NULL ? -1 : rule.find_bad(c->data[i], n, rule.limit);
    if (bad < 0) {
        return;
    }
    void *data = (void *)(uintptr_t)c->data[i]; /* only read */
    const dsv4_tensor view = dsv4_tensor_make(t->dtype, t->n_dims, t->shape, data);
    model_problem_add(c, MODEL_WRONG, "%s: tensor '%s': element %lld is %.9g, expected %s", c->shards[c->shard_of[i]].name, t->name,
                      (long long)bad, dsv4_tensor_get(&view, bad), rule.expected);
    c->data[i] = NULL;
}

void model_checkpoint_check_values(model_checkpoint *c, size_t first, size_t n)
{
    for (size_t i = first; i < first + n && i < c->table.n; i++) {
        check_item(c, i);
    }
}
