#include "sim/fields.h"

#include <math.h>
#include <stddef.h>

#define MOST_OPS_S 1e21
#define MOST_BYTES_S 1e18
#define MOST_BYTES 1e18
#define MOST_S 1e3
#define CORE(member) offsetof(sim_core_kind, member)
#define RATE(member) offsetof(sim_rate, member)
#define LEVEL(member) offsetof(sim_level, member)
#define SCHEDULE(member) offsetof(sim_schedule, member)

const sim_field sim_core_fields[] = {
    {"count", SIM_INT, CORE(count), 1, SIM_MAX_CORES, true, 0},
    {"runs_cube", SIM_BOOL, CORE(runs_cube), 0, 1, true, 0},
    {"runs_vector", SIM_BOOL, CORE(runs_vector), 0, 1, true, 0},
    {.name = NULL},
};

const sim_field sim_rate_fields[] = {
    {"ops_s", SIM_REAL, RATE(ops_s), 1, MOST_OPS_S, true, 0},
    {"step_m", SIM_REAL, RATE(step_m), 1, 65536, false, 1},
    {"step_n", SIM_REAL, RATE(step_n), 1, 65536, false, 1},
    {"step_k", SIM_REAL, RATE(step_k), 1, 65536, false, 1},
    {.name = NULL},
};

const sim_field sim_buffer_fields[] = {
    {"bytes", SIM_REAL, offsetof(sim_buffer, bytes), 1, MOST_BYTES, true, 0},
    {.name = NULL},
};

const sim_field sim_level_fields[] = {
    {"is_shared", SIM_BOOL, LEVEL(is_shared), 0, 1, true, 0},
    {"bytes", SIM_REAL, LEVEL(bytes), 0, MOST_BYTES, false, 0},
    {"read_bytes_s", SIM_REAL, LEVEL(read_bytes_s), 0, MOST_BYTES_S, true, 0},
    {"write_bytes_s", SIM_REAL, LEVEL(write_bytes_s), 0, MOST_BYTES_S, true, 0},
    {"core_read_bytes_s", SIM_REAL, LEVEL(core_read_bytes_s), 0, MOST_BYTES_S, false, 0},
    {"core_write_bytes_s", SIM_REAL, LEVEL(core_write_bytes_s), 0, MOST_BYTES_S, false, 0},
    {"latency_s", SIM_REAL, LEVEL(latency_s), 0, MOST_S, false, 0},
    {"line_bytes", SIM_REAL, LEVEL(line_bytes), SIM_MIN_LINE_BYTES, SIM_MAX_LINE_BYTES, true, 0},
    {.name = NULL},
};

const sim_field sim_schedule_fields[] = {
    {"n_threads", SIM_INT, SCHEDULE(n_threads), 0, SIM_MAX_CORES, true, 0},
    {"submit_s", SIM_REAL, SCHEDULE(submit_s), 0, MOST_S, false, 0},
    {"dispatch_s", SIM_REAL, SCHEDULE(dispatch_s), 0, MOST_S, true, 0},
    {"edge_s", SIM_REAL, SCHEDULE(edge_s), 0, MOST_S, false, 0},
    {"pickup_s", SIM_REAL, SCHEDULE(pickup_s), 0, MOST_S, false, 0},
    {"steal_s", SIM_REAL, SCHEDULE(steal_s), 0, MOST_S, false, 0},
    {.name = NULL},
};

const sim_field sim_device_fields[] = {
    {"overlap", SIM_REAL, offsetof(sim_device, overlap), 0, 1, true, 0},
    {"overlap_lost", SIM_REAL, offsetof(sim_device, overlap_lost), 0, 1, false, 0},
    {.name = NULL},
};

const char *const sim_buffer_use_names[SIM_N_BUFFER_USES] = {[SIM_BUFFER_A] = "a",
                                                             [SIM_BUFFER_B] = "b",
                                                             [SIM_BUFFER_C] = "c",
                                                             [SIM_BUFFER_STAGING] = "staging",
                                                             [SIM_BUFFER_VECTOR] = "vector"};

const sim_rate_name sim_rate_names[] = {{"bf16", CORE(bf16)}, {"i8", CORE(i8)}, {"vector", CORE(vector)}, {NULL, 0}};

double sim_field_get(const sim_field *f, const void *object)
{
    const char *at = (const char *)object + f->offset;
    switch (f->type) {
    case SIM_INT:
        return *(const int *)(const void *)at;
    case SIM_BOOL:
        return *(const bool *)(const void *)at ? 1 : 0;
    default:
        return *(const double *)(const void *)at;
    }
}

bool sim_field_put(const sim_field *f, void *object, double value)
{
    void *at = (char *)object + f->offset;
    if (!isfinite(value) || value < f->low || value > f->high || (f->type != SIM_REAL && value != floor(value))) {
        return false;
    }
    switch (f->type) {
    case SIM_INT:
        *(int *)at = (int)value;
        break;
    case SIM_BOOL:
        *(bool *)at = value != 0;
        break;
    default:
        *(double *)at = value;
    }
    return true;
}
