/* packed_source.c - the pieces of a plan in a checkpoint. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "model/packed_plan.h"

dsv4_status packed_source_find(const model_checkpoint *c, const packed_piece *p, int64_t e, char name[MODEL_NAME_BYTES],
                               model_matrix *out, dsv4_error *err)
{
    const char *star = p->kind == PACKED_BANK ? strchr(p->name, '*') : NULL;
    if (star != NULL) {
        snprintf(name, MODEL_NAME_BYTES, "%.*s%" PRId64 "%s", (int)(star - p->name), p->name, e, star + 1);
    } else {
        memcpy(name, p->name, MODEL_NAME_BYTES);
    }
    return model_matrix_find(c, name, out, err);
}

dsv4_status packed_routes_check(const char *name, const int32_t *routes, int64_t n, int64_t n_experts, dsv4_error *err)
{
    for (int64_t i = 0; i < n; i++) {
        if (routes[i] < 0 || routes[i] >= n_experts) {
            return dsv4_fail(err, DSV4_E_VALUE, "%s: value %" PRId64 " is %d, expected an expert below %" PRId64, name, i,
                             routes[i], n_experts);
        }
    }
    return DSV4_OK;
}

static dsv4_status copy_routes(const model_checkpoint *c, const packed_piece *p, int64_t begin, int64_t end, int32_t *dst,
                               dsv4_error *err)
{
    const int64_t item = model_checkpoint_find(c, p->name);
    if (item < 0 || c->data[item] == NULL) {
        return dsv4_fail(err, DSV4_E_NOT_FOUND, "%s: tensor '%s' is missing or wrong", c->folder, p->name);
    }
    const char *from = c->data[item];
    for (int64_t i = begin * p->n; i < end * p->n; i++) {
        int64_t expert;
        memcpy(&expert, from + 8 * i, sizeof expert);
        if (expert < 0 || expert >= c->config.n_routed_experts) {
            return dsv4_fail(err, DSV4_E_VALUE, "%s: token %" PRId64 " goes to expert %" PRId64 ", expected below %" PRId64,
                             p->name, i / p->n, expert, c->config.n_routed_experts);
        }
        dst[i - begin * p->n] = (int32_t)expert;
    }
    return DSV4_OK;
}

static size_t stored_row_bytes(const model_matrix *m)
{
    static const size_t halves[] = {[MODEL_FP8] = 2, [MODEL_FP4] = 1, [MODEL_BF16] = 4, [MODEL_F32] = 8};
    return (size_t)m->columns * halves[m->kind] / 2;
}

dsv4_status packed_source_rows(const model_checkpoint *c, const packed_piece *p, int64_t begin, int64_t end, void *dst,
                               dsv4_error *err)
{
    if (p->kind == PACKED_ROUTES) {
        return copy_routes(c, p, begin, end, dst, err);
    }
    model_matrix m;
    dsv4_status status = model_matrix_find(c, p->name, &m, err);
    if (status == DSV4_OK) {
        const size_t row_bytes = stored_row_bytes(&m);
        memcpy(dst, m.data + (size_t)begin * row_bytes, (size_t)(end - begin) * row_bytes);
        status = model_values_require_finite(p->name, m.kind, dst, (end - begin) * m.columns, err);
        packed_source_drop(&m, begin, end);
    }
    return status;
}

void packed_source_drop(const model_matrix *m, int64_t begin, int64_t end)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), row_bytes = stored_row_bytes(m);
    const uintptr_t first = ((uintptr_t)m->data + (size_t)begin * row_bytes + page - 1) / page * page,
                    last = ((uintptr_t)m->data + (size_t)end * row_bytes) / page * page;
    if (first < last) {
        madvise((void *)first, last - first, MADV_DONTNEED);
    }
}
