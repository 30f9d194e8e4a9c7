/* ops/choose.c - operators by name: their own, or a family's with the mode and the compress ratio of one of its forms. */
#include <string.h>

#include "ops/names.h"
#include "ops/op.h"

static const char *mode_name(int mode)
{
    return mode == DSV4_DECODE ? "decode" : "prefill";
}

static const dsv4_op *find_exact(const char *name)
{
    for (size_t i = 0; dsv4_op_at(i) != NULL; i++) {
        if (strcmp(dsv4_op_at(i)->name, name) == 0) {
            return dsv4_op_at(i);
        }
    }
    return NULL;
}

static bool is_of_family(const dsv4_op *op, const char *name)
{
    return op->family != NULL && strcmp(op->family, name) == 0;
}

bool op_is_family(const char *name)
{
    for (size_t i = 0; dsv4_op_at(i) != NULL; i++) {
        if (is_of_family(dsv4_op_at(i), name)) {
            return true;
        }
    }
    return false;
}

static dsv4_status fail_unknown(const char *name, dsv4_error *err)
{
    char known[256] = "", families[160] = "";
    const char *last = "";
    for (size_t i = 0; dsv4_op_at(i) != NULL; i++) {
        const dsv4_op *op = dsv4_op_at(i);
        if (op->family == NULL) {
            op_append_name(known, sizeof known, op->name);
        } else if (strcmp(op->family, last) != 0) {
            op_append_name(families, sizeof families, op->family);
            last = op->family;
        }
    }
    return dsv4_fail(err, DSV4_E_NOT_FOUND, "operator: got \"%.64s\", expected one of %s%s%s", name, known,
                     families[0] != '\0' ? ", or a form of " : "", families);
}

static dsv4_status fail_form(const char *name, int mode, int ratio, dsv4_error *err)
{
    char known[320] = "";
    for (size_t i = 0; dsv4_op_at(i) != NULL; i++) {
        if (is_of_family(dsv4_op_at(i), name)) {
            op_append_name(known, sizeof known, dsv4_op_at(i)->name);
        }
    }
    return dsv4_fail(err, DSV4_E_USAGE, "%s: has no form for %s with compress ratio %d, expected one of %s", name, mode_name(mode),
                     ratio, known);
}

static bool fits(int form, int wanted)
{
    return form == OP_ANY || wanted == OP_ANY || form == wanted;
}

static dsv4_status check_exact(const dsv4_op *op, int mode, int ratio, dsv4_error *err)
{
    if (op->family != NULL && !fits(op->mode, mode)) {
        return dsv4_fail(err, DSV4_E_USAGE, "%s: is a form for %s, got mode %s", op->name, mode_name(op->mode), mode_name(mode));
    }
    if (op->family != NULL && !fits(op->ratio, ratio)) {
        return dsv4_fail(err, DSV4_E_USAGE, "%s: is a form for compress ratio %d, got %d", op->name, op->ratio, ratio);
    }
    return DSV4_OK;
}

dsv4_status op_choose(const char *name, int mode, int ratio, const dsv4_op **out, dsv4_error *err)
{
    const dsv4_op *op = find_exact(name);
    if (op != NULL) {
        dsv4_status status = check_exact(op, mode, ratio, err);
        *out = status == DSV4_OK ? op : *out;
        return status;
    }
    if (!op_is_family(name)) {
        return fail_unknown(name, err);
    }
    int form_mode = mode != OP_ANY ? mode : DSV4_DECODE, form_ratio = ratio != OP_ANY ? ratio : OP_DEFAULT_RATIO;
    for (size_t i = 0; dsv4_op_at(i) != NULL; i++) {
        op = dsv4_op_at(i);
        if (is_of_family(op, name) && fits(op->mode, form_mode) && fits(op->ratio, form_ratio)) {
            *out = op;
            return DSV4_OK;
        }
    }
    return fail_form(name, form_mode, form_ratio, err);
}

dsv4_mode op_mode_of(const dsv4_op *op, int wanted)
{
    int mode = op->family != NULL && op->mode != OP_ANY ? op->mode : wanted;
    return mode == DSV4_PREFILL ? DSV4_PREFILL : DSV4_DECODE;
}

int op_ratio_of(const dsv4_op *op, int wanted)
{
    int ratio = op->family != NULL && op->ratio != OP_ANY ? op->ratio : wanted;
    return ratio != OP_ANY ? ratio : op->family != NULL ? OP_DEFAULT_RATIO : 0;
}

dsv4_status dsv4_op_find(const char *name, const dsv4_op **out, dsv4_error *err)
{
    const dsv4_op *op = find_exact(name);
    if (op == NULL) {
        return fail_unknown(name, err);
    }
    *out = op;
    return DSV4_OK;
}
