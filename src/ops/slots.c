#include "ops/slots.h"

#include <string.h>

#include "ops/tile.h"

op_slots op_slots_new(const op_context *c, const char *name, int64_t n_experts, int64_t n_routes)
{
    op_slots s = {.n_slots = tile_min(n_experts, n_routes), .n_experts = n_experts};
    s.expert = op_matrix_new(c, name, 1, s.n_slots, DSV4_I32);
    s.begin = op_matrix_new(c, name, 1, s.n_slots + 1, DSV4_I32);
    s.route = op_matrix_new(c, name, 1, n_routes, DSV4_I32);
    return s;
}

size_t op_slots_scratch(const op_slots *s)
{
    return (size_t)s->n_experts * sizeof(int32_t);
}

/* Slots from `slot` on are idle. */
static void finish(const op_slots *s, int64_t slot, int32_t place)
{
    int32_t *expert = s->expert.data, *begin = s->begin.data;
    for (; slot < s->n_slots; slot++) {
        expert[slot] = -1;
        begin[slot] = place;
    }
    begin[s->n_slots] = place;
}

void op_slots_fill(const op_slots *s, const int32_t *experts, int64_t n_routes, void *scratch)
{
    int32_t *next = scratch, *expert = s->expert.data, *begin = s->begin.data, *route = s->route.data, place = 0;
    int64_t slot = 0;
    memset(next, 0, op_slots_scratch(s));
    for (int64_t i = 0; i < n_routes; i++) {
        next[experts[i]]++;
    }
    for (int64_t e = 0; e < s->n_experts; e++) {
        int32_t n = next[e];
        next[e] = place;
        if (n > 0) {
            expert[slot] = (int32_t)e;
            begin[slot++] = place;
            place += n;
        }
    }
    finish(s, slot, place);
    for (int64_t i = 0; i < n_routes; i++) {
        route[next[experts[i]]++] = (int32_t)i;
    }
}

void op_slots_fill_counts(const op_slots *s, const int32_t *counts, int64_t room)
{
    int32_t *expert = s->expert.data, *begin = s->begin.data, *route = s->route.data, place = 0;
    int64_t slot = 0;
    for (int64_t e = 0; e < s->n_experts; e++) {
        if (counts[e] > 0) {
            expert[slot] = (int32_t)e;
            begin[slot++] = place;
        }
        for (int32_t r = 0; r < counts[e]; r++) {
            route[place++] = (int32_t)(e * room) + r;
        }
    }
    finish(s, slot, place);
}

void op_slots_writes(dsv4_describe *d, const op_slots *s)
{
    op_matrix_writes(d, &s->expert);
    op_matrix_writes(d, &s->begin);
    op_matrix_writes(d, &s->route);
}

void op_slots_reads(dsv4_describe *d, const op_slots *s)
{
    op_matrix_reads(d, &s->expert);
    op_matrix_reads(d, &s->begin);
    op_matrix_reads(d, &s->route);
}

op_slot op_slot_at(const op_slots *s, int64_t i)
{
    const int32_t *begin = op_matrix_ints(&s->begin);
    return (op_slot){op_matrix_ints(&s->expert)[i], begin[i], begin[i + 1] - begin[i], op_matrix_ints(&s->route) + begin[i]};
}
