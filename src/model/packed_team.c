/* packed_team.c - workers that pack. */
#include "model/packed_team.h"

#include <assert.h>
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

/* ---- parts -------------------------------------------------------------------------------------------------------------------- */

static bool is_weight(const packed_piece *piece)
{
    return piece->kind == PACKED_WEIGHT || piece->kind == PACKED_BANK;
}

int64_t packed_part_count(const packed_piece *piece)
{
    return is_weight(piece) ? (piece->n + UK_PANEL - 1) / UK_PANEL : piece->k;
}

/* Of a panel or a row. */
static size_t unit_bytes(const packed_piece *piece)
{
    return is_weight(piece) ? (size_t)packed_form_in(piece->form, piece->k, piece->n, NULL).packed.panel_bytes
                            : piece->bytes / (size_t)piece->k;
}

size_t packed_part_offset(const packed_part *part)
{
    return part->piece->offset + (size_t)part->e * part->piece->stride + (size_t)part->begin * unit_bytes(part->piece);
}

size_t packed_part_bytes(const packed_part *part)
{
    const size_t begin = (size_t)part->begin * unit_bytes(part->piece), end = (size_t)part->end * unit_bytes(part->piece);
    return (part->end == packed_part_count(part->piece) ? part->piece->stride : end) - begin;
}

/* Rows [begin, end) of a BF16 or F32 matrix. */
static model_matrix part_of_matrix(const model_matrix *m, int64_t begin, int64_t end)
{
    model_matrix out = *m;
    assert(m->kind == MODEL_BF16 || m->kind == MODEL_F32 || (begin == 0 && end == m->rows));
    out.data += begin * m->columns * (m->kind == MODEL_BF16 ? 2 : 4) * (begin > 0);
    out.rows = end - begin;
    return out;
}

static dsv4_status pack_weight_share(const packed_team *t, int worker, packed_packer *packer, const model_checkpoint *c,
                                     const packed_part *part, char *memory, dsv4_error *err)
{
    const packed_piece *piece = part->piece;
    const int64_t row = part->begin * UK_PANEL, row_end = part->end * UK_PANEL < piece->n ? part->end * UK_PANEL : piece->n;
    const model_weight w = packed_form_in(piece->form, piece->k, row_end - row, memory);
    const int64_t begin = packed_team_share(t, worker, w.packed.n_panels),
                  end = packed_team_share(t, worker + 1, w.packed.n_panels);
    char name[MODEL_NAME_BYTES];
    model_matrix whole;
    dsv4_status status = begin == end ? DSV4_OK : packed_source_find(c, piece, part->e, name, &whole, err);
    if (begin == end || status != DSV4_OK) {
        return status;
    }
    const model_matrix m = part_of_matrix(&whole, row, row_end);
    status = packed_panels(packer, name, &m, &w, begin, end, err);
    packed_source_drop(&m, begin * UK_PANEL, end * UK_PANEL < m.rows ? end * UK_PANEL : m.rows);
    return status;
}

dsv4_status packed_team_part(const packed_team *t, int worker, packed_packer *packer, const model_checkpoint *c,
                             const packed_part *part, char *memory, dsv4_error *err)
{
    if (is_weight(part->piece)) {
        return pack_weight_share(t, worker, packer, c, part, memory, err);
    }
    const int64_t n = part->end - part->begin, begin = packed_team_share(t, worker, n), end = packed_team_share(t, worker + 1, n);
    return begin == end ? DSV4_OK
                        : packed_source_rows(c, part->piece, part->begin + begin, part->begin + end,
                                             memory + (size_t)begin * unit_bytes(part->piece), err);
}
