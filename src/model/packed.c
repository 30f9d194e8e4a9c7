/* packed.c - the weights of a checkpoint in memory. */
#include "model/packed.h"

#include <stdlib.h>

#include "base/memory.h"
#include "base/progress.h"
#include "model/packed_memory.h"
#include "model/packed_team.h"

typedef struct packing {
    const model_checkpoint *checkpoint;
    const packed_plan *plan;
    char *data;
    progress *bar;
} packing;

static dsv4_status pack_share(void *context, const packed_team *t, int worker, packed_packer *packer, dsv4_error *err)
{
    const packing *p = context;
    dsv4_status status = DSV4_OK;
    for (size_t i = 0; status == DSV4_OK && i < p->plan->n; i++) {
        const packed_piece *piece = &p->plan->pieces[i];
        for (int64_t e = 0; status == DSV4_OK && e < piece->count; e++) {
            const packed_part part = {piece, e, 0, packed_part_count(piece)};
            const size_t offset = packed_part_offset(&part);
            status = packed_team_part(t, worker, packer, p->checkpoint, &part, p->data + offset, err);
            progress_report(worker == 0 ? p->bar : NULL, (double)offset / (double)p->plan->bytes);
        }
    }
    return status;
}

static dsv4_status pack_all(packing *p, dsv4_pool *pool, dsv4_error *err)
{
    packed_team *team = NULL;
    dsv4_error cause = {0};
    dsv4_status status = packed_team_create(p->plan, pool, &team, err);
    if (status == DSV4_OK && (status = packed_team_run(team, pack_share, p, &cause)) != DSV4_OK) {
        dsv4_fail(err, status, "%.100s: %s", p->checkpoint->folder, cause.text);
    }
    packed_team_destroy(team);
    return status;
}

dsv4_status model_weights_pack(const model_checkpoint *c, bool int8, dsv4_pool *pool, struct progress *bar, model_weights **out,
                               dsv4_error *err)
{
    model_weights *w = NULL;
    packed_plan plan = {0};
    dsv4_status status = model_checkpoint_require(c, err);
    if (status != DSV4_OK || (status = packed_plan_make(&c->config, int8, &w, &plan, err)) != DSV4_OK) {
        return status;
    }
    void *data = memory_map(plan.bytes);
    if (data == NULL || (w->memory = malloc(sizeof *w->memory)) == NULL) {
        if (data != NULL) {
            memory_unmap(data, plan.bytes);
        }
        status = dsv4_fail(err, DSV4_E_NO_MEMORY, "%.200s: no memory for %zu bytes of weights", c->folder, plan.bytes);
        goto fail;
    }
    *w->memory = (struct model_weights_memory){data, plan.bytes};
    packing p = {.checkpoint = c, .plan = &plan, .data = data, .bar = bar};
    if ((status = pack_all(&p, pool, err)) != DSV4_OK) {
        goto fail;
    }
    packed_plan_bind(&plan, data);
    packed_plan_deinit(&plan);
    *out = w;
    return DSV4_OK;
fail:
    packed_plan_deinit(&plan);
    model_weights_free(w);
    return status;
}

void model_weights_free(model_weights *w)
{
    if (w != NULL) {
        if (w->memory != NULL) {
            memory_unmap(w->memory->start, w->memory->bytes);
        }
        free(w->memory);
        free(w->blocks);
        free(w);
    }
}
