/* packed_team.c - workers that pack. */
#include "model/packed_team.h"

#include <stdlib.h>

#include "base/memory.h"
#include "rt/pool.h"

typedef struct team_member {
    packed_packer *packer;
    dsv4_status status;
    dsv4_error err;
} team_member;

struct packed_team {
    dsv4_pool *pool;
    int n_workers;
    team_member *members;
    packed_team_work *work;
    void *context;
};

dsv4_status packed_team_create(const packed_plan *plan, dsv4_pool *pool, packed_team **out, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    packed_team *t = calloc(1, sizeof *t);
    const int n = pool == NULL ? 1 : dsv4_pool_n_threads(pool);
    if (t == NULL || (t->members = memory_zeroed_array((size_t)n, sizeof *t->members)) == NULL) {
        free(t);
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "no memory for %d workers", n);
    }
    t->pool = pool;
    t->n_workers = n;
    for (int i = 0; status == DSV4_OK && i < n; i++) {
        status = packed_packer_create(plan, &t->members[i].packer, err);
    }
    if (status != DSV4_OK) {
        packed_team_destroy(t);
        return status;
    }
    *out = t;
    return DSV4_OK;
}

void packed_team_destroy(packed_team *t)
{
    if (t != NULL) {
        for (int i = 0; i < t->n_workers; i++) {
            packed_packer_destroy(t->members[i].packer);
        }
        free(t->members);
        free(t);
    }
}

int64_t packed_team_share(const packed_team *t, int worker, int64_t n)
{
    return (worker * n + t->n_workers - 1) / t->n_workers;
}

static void work_as_member(void *context, int worker)
{
    packed_team *t = context;
    team_member *m = &t->members[worker];
    m->status = t->work(t->context, t, worker, m->packer, &m->err);
}

dsv4_status packed_team_run(packed_team *t, packed_team_work *work, void *context, dsv4_error *err)
{
    t->work = work;
    t->context = context;
    if (t->pool == NULL) {
        work_as_member(t, 0);
    } else {
        rt_pool_run_all(t->pool, work_as_member, t);
    }
    for (int i = 0; i < t->n_workers; i++) {
        if (t->members[i].status != DSV4_OK) {
            return dsv4_fail(err, t->members[i].status, "%s", t->members[i].err.text);
        }
    }
    return DSV4_OK;
}

dsv4_status packed_team_weight(const packed_team *t, int worker, packed_packer *packer, const model_checkpoint *c,
                               const packed_piece *piece, int64_t e, void *memory, dsv4_error *err)
{
    const model_weight w = packed_form_in(piece->form, piece->k, piece->n, memory);
    const int64_t begin = packed_team_share(t, worker, w.packed.n_panels), end = packed_team_share(t, worker + 1, w.packed.n_panels);
    char name[MODEL_NAME_BYTES];
    model_matrix m;
    dsv4_status status = DSV4_OK;
    if (begin == end) {
        return DSV4_OK;
    }
    if ((status = packed_source_find(c, piece, e, name, &m, err)) != DSV4_OK ||
        (status = packed_panels(packer, name, &m, &w, begin, end, err)) != DSV4_OK) {
        return status;
    }
    packed_source_drop(&m, begin * UK_PANEL, end * UK_PANEL < m.rows ? end * UK_PANEL : m.rows);
    return DSV4_OK;
}
