/* sim/device.h - the description of a machine: what a JSON file in devices/ says, checked.
 *
 *   core kinds   how many, which kinds of stages they run, how fast they calculate by type, on-chip buffers
 *   levels       memory from the farthest to the nearest: shared bandwidth, bandwidth of one core, latency, line, capacity
 *   schedule     who hands out blocks (the workers themselves, or scheduler threads), and what that costs
 *
 * One description serves every operator: nothing in it names one. */
#ifndef SIM_DEVICE_H
#define SIM_DEVICE_H

#include <stdbool.h>

#include "base/arena.h"
#include "dsv4/status.h"

enum { SIM_MAX_CORE_KINDS = 4, SIM_MAX_LEVELS = 5, SIM_MAX_POINTS = 16, SIM_MAX_BUFFERS = 8, SIM_MAX_SOURCES = 16 };
enum { SIM_MAX_CORES = 1024, SIM_MIN_LINE_BYTES = 64, SIM_MAX_LINE_BYTES = 4096 };

/* Share of the peak that a product of so many rows reaches; linear in between, constant outside. No points: 1. */
typedef struct sim_curve {
    double at[SIM_MAX_POINTS], share[SIM_MAX_POINTS];
    int n;
} sim_curve;

/* Operations per second of one core; a multiplication and an addition are two, an fma in `vector` is one. 0: cannot. */
typedef struct sim_rate {
    double ops_s;
    sim_curve by_rows;             /* m of the product */
    double step_m, step_n, step_k; /* a product is rounded up to multiples of these; 1: not */
} sim_rate;

/* What a block's product or scratch must fit into. */
typedef enum sim_buffer_use {
    SIM_BUFFER_A,       /* m x k_tile values of the left operand */
    SIM_BUFFER_B,       /* k_tile x n values of the right operand */
    SIM_BUFFER_C,       /* m x n sums of 4 bytes */
    SIM_BUFFER_STAGING, /* the operand tiles in flight */
    SIM_BUFFER_VECTOR   /* boxes and scratch of an elementwise block */
} sim_buffer_use;

typedef struct sim_buffer {
    const char *name; /* "L0C" */
    sim_buffer_use use;
    double bytes;
} sim_buffer;

typedef struct sim_core_kind {
    const char *name; /* "cube" */
    int count;
    bool runs_cube, runs_vector;
    sim_rate bf16, i8, vector;
    sim_buffer buffers[SIM_MAX_BUFFERS];
    int n_buffers;
} sim_core_kind;

/* What a block reads from the level that holds it costs that level's bandwidth. 0 in the nearest level: nothing, the rates of the
 * cores were measured with operands there. */
typedef struct sim_level {
    const char *name;                             /* "memory", "L3", "L2" */
    bool is_shared;                               /* by all cores; else each core has its own */
    double bytes;                                 /* capacity; 0: holds everything (the first level, and only that one) */
    double read_bytes_s, write_bytes_s;           /* of all cores together (of the core, where it has its own) */
    double core_read_bytes_s, core_write_bytes_s; /* of one core alone, at most; 0: no other limit */
    double latency_s;
    double line_bytes; /* moved at least: a power of two */
} sim_level;

typedef struct sim_schedule {
    int n_threads;     /* scheduler threads; 0: workers take blocks themselves, from their own ready sets or another's */
    double submit_s;   /* threads: of one more that makes stages known, in program order, each so long; 0: all are from the start */
    double dispatch_s; /* a scheduler thread's, or the worker's own time to take a block */
    double edge_s;     /* likewise for each edge behind a finished block */
    double pickup_s;   /* until a worker that waits notices a ready block; until a core starts what a thread has dispatched */
    double steal_s;    /* more for a block out of another worker's set */
} sim_schedule;

typedef struct sim_device {
    arena memory; /* names */
    const char *name, *note;
    const char *sources[SIM_MAX_SOURCES]; /* where its figures come from */
    int n_sources;
    sim_core_kind cores[SIM_MAX_CORE_KINDS];
    int n_core_kinds;
    sim_level levels[SIM_MAX_LEVELS]; /* farthest first */
    int n_levels;
    sim_schedule schedule;
    double overlap;      /* of arithmetic and transfers within a block whose operands are streamed: 1 all, 0 none */
    double overlap_lost; /* of that, where cores share a bandwidth that is less than they ask for: requests come in bursts */
} sim_device;

/* Reads and checks a description; d zeroed before, sim_device_deinit always. One line in err names file, member, got, expected. */
DSV4_MUST_CHECK dsv4_status sim_device_read(const char *path, sim_device *d, dsv4_error *err);

/* The same from n_bytes of text; source stands for the file's name in messages. */
DSV4_MUST_CHECK dsv4_status sim_device_parse(const char *source, const char *text, size_t n_bytes, sim_device *d, dsv4_error *err);

/* Whether the members fit each other; source stands before the message. */
DSV4_MUST_CHECK dsv4_status sim_device_check(const sim_device *d, const char *source, dsv4_error *err);

/* Changes one number by its path: "levels.memory.read_bytes_s=2e11", "cores.cube.count=12", "cores.cube.bf16.ops_s=1e13",
 * "cores.cube.buffers.L0C.bytes=262144", "schedule.dispatch_s=1e-6", "overlap=0". On failure d is as it was. */
DSV4_MUST_CHECK dsv4_status sim_device_set(sim_device *d, const char *set, dsv4_error *err);

/* Writes a description that sim_device_read takes. */
DSV4_MUST_CHECK dsv4_status sim_device_write(const sim_device *d, const char *path, dsv4_error *err);

void sim_device_deinit(sim_device *d);

#endif
