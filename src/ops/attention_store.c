/* ops/attention_store.c - the keys of a step go to the window cache, behind all readers of the window (SPEC 6.10 step 7). */
#include <string.h>

#include "ops/attention.h"
#include "ops/verdict.h"

typedef struct store {
    attention_store a;
    op_gate gate;
} store;

static void describe_store(const void *arg, int64_t b, dsv4_describe *d)
{
    const store *o = arg;
    int64_t t = b * o->a.tokens_per_request, end = t + o->a.tokens_per_request;
    dsv4_reads(d, o->a.kv.view, t, end, 0, o->a.kv.cols);
    dsv4_reads(d, o->a.rows.view, 0, 1, t, end);
    dsv4_writes(d, o->a.ring_reads.view, b, b + 1, 0, 1);
    dsv4_touch(d, DSV4_UPDATE | DSV4_UNTRACKED, o->a.ring.view, (dsv4_box){0, o->a.ring.rows, 0, o->a.ring.cols});
    op_gate_reads(d, &o->gate);
}

static void run_store(const void *arg, int64_t b, void *scratch)
{
    const store *o = arg;
    const int64_t *rows = o->a.rows.data;
    int64_t t = b * o->a.tokens_per_request, end = t + o->a.tokens_per_request;
    size_t row_bytes = (size_t)o->a.kv.cols * sizeof(uint16_t);
    (void)scratch;
    for (; t < end && op_gate_is_open(&o->gate); t++) {
        if (rows[t] >= 0) {
            memcpy((uint16_t *)o->a.ring.data + rows[t] * o->a.ring.ld, (const uint16_t *)o->a.kv.data + t * o->a.kv.ld, row_bytes);
        }
    }
    ((int8_t *)o->a.ring_reads.data)[b] = 1;
}

void attention_store_add(const op_context *c, const attention_store *a)
{
    store *o = dsv4_graph_memory(c->g, sizeof *o);
    if (o == NULL) {
        return;
    }
    *o = (store){*a, op_gate_of(c)};
    dsv4_graph_stage(
        c->g,
        &(dsv4_stage_desc){
            .name = "attention.store", .n_blocks = a->ring_reads.rows, .run = run_store, .describe = describe_store, .arg = o});
}
