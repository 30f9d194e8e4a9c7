/* Simulated runs of graphs that are small enough to work out by hand. Times are in seconds of a device of round numbers. */
#include <math.h>

#include "require.h"
#include "sim/made.h"

static const sim_options cold = {0, 0}, warm = {0, 1};

/* Simulates m, keeps nothing but the result; the makespan. */
static double simulate(const made *m, const sim_device *d, const sim_options *o)
{
    trace t = made_trace(m);
    sim_result r = {0};
    dsv4_error err = {0};
    require_ok(sim_run(d, o, &t, &r, &err), &err);
    double makespan = r.makespan_s;
    sim_result_deinit(&r);
    trace_deinit(&t);
    return makespan;
}

static void require_s(double got, double expected)
{
    if (!(fabs(got - expected) <= 1e-9 * expected)) {
        fail_msg("got %.12g s, expected %.12g s", got, expected);
    }
}

/* ---- one block ------------------------------------------------------------------------------------------------------------- */

static void test_arithmetic(void **state)
{
    (void)state;
    sim_device d = made_device(1);
    made m = {0};
    made_stage(&m, 1, DSV4_CUBE);
    made_block(&m, 0, 0, (dsv4_work){.flops_bf16 = 3e6, .ops_i8 = 4e6, .vector_ops = 5e6});
    require_s(simulate(&m, &d, &cold), 3e-3 + 2e-3 + 5e-3);
}

static void test_steps_and_rows(void **state)
{
    (void)state;
    sim_device d = made_device(1);
    made m = {0};
    made_stage(&m, 1, DSV4_CUBE);
    made_block(&m, 0, 0, (dsv4_work){.flops_bf16 = 2.0 * 8 * 24 * 100, .product = {.m = 8, .n = 24, .k = 100}});
    require_s(simulate(&m, &d, &cold), 38400e-9);
    d.cores[0].bf16.step_m = 16; /* 8 rows as 16 */
    require_s(simulate(&m, &d, &cold), 76800e-9);
    d.cores[0].bf16.step_n = 16; /* 24 columns as 32 */
    require_s(simulate(&m, &d, &cold), 102400e-9);
    d.cores[0].bf16.by_rows = (sim_curve){{4, 12}, {0.25, 0.75}, 2}; /* at 8 rows half */
    require_s(simulate(&m, &d, &cold), 204800e-9);
}

static void test_overlap(void **state)
{
    (void)state;
    sim_device d = made_device(1);
    made m = {0};
    int view = made_view(&m, 1 << 20, 1, 1 << 20, 1 << 20);
    made_stage(&m, 1, DSV4_VECTOR);
    made_block(&m, 0, 0, (dsv4_work){.vector_ops = 16384});
    made_reads(&m, view, 0, 32768);
    require_s(simulate(&m, &d, &cold), 32768e-9);
    d.overlap = 0.25; /* three quarters of the shorter are added */
    require_s(simulate(&m, &d, &cold), 32768e-9 + 0.75 * 16384e-9);
    d.levels[0].latency_s = 1e-6;
    require_s(simulate(&m, &d, &cold), 1e-6 + 32768e-9 + 0.75 * 16384e-9);
}

static void test_lines(void **state)
{
    (void)state;
    sim_device d = made_device(1);
    made m = {0};
    int view = made_view(&m, 1 << 20, 8, 512, 8192);
    made_stage(&m, 1, DSV4_VECTOR);
    made_block(&m, 0, 0, (dsv4_work){0});
    made_touch(&m, view, DSV4_READ, (dsv4_box){0, 8, 0, 64});
    require_s(simulate(&m, &d, &cold), 8 * 64e-9);
    d.levels[0].line_bytes = d.levels[1].line_bytes = 512;
    require_s(simulate(&m, &d, &cold), 8 * 512e-9);
}

/* Lines of two levels: 64 bytes of a line of 512 from memory bring the line to a cache, whose own lines are smaller. */
static void test_lines_of_two_levels(void **state)
{
    (void)state;
    sim_device d = made_device(1);
    made m = {0};
    int view = made_view(&m, 1 << 20, 1, 4096, 4096);
    made_stage(&m, 2, DSV4_VECTOR);
    d.levels[0].line_bytes = 512;
    d.levels[1].read_bytes_s = d.levels[1].write_bytes_s = 1e9;
    made_block(&m, 0, 0, (dsv4_work){0});
    made_reads(&m, view, 0, 64); /* 512 bytes of memory, of which the cache keeps the line that it asked for */
    made_block(&m, 0, 1, (dsv4_work){0});
    made_reads(&m, view, 0, 64); /* 64 bytes of the cache */
    require_s(simulate(&m, &d, &cold), 512e-9 + 64e-9);
}

static void test_tiled(void **state)
{
    (void)state;
    sim_device d = made_device(1);
    made m = {0};
    int view = made_view(&m, 1 << 20, 1, 1 << 20, 1 << 20);
    made_stage(&m, 1, DSV4_CUBE);
    made_block(&m, 0, 0, (dsv4_work){.flops_bf16 = 8000, .product = {.m = 1, .n = 1, .k = 4000, .k_tile = 1000}});
    made_reads(&m, view, 0, 4096);
    /* Four steps of 2000 ns of arithmetic and 1024 ns of loading, two loads in flight: arithmetic decides. */
    require_s(simulate(&m, &d, &cold), (1024 + 3 * 2000 + 2000) * 1e-9);
    /* Loading decides: 4096 ns of each. */
    d.levels[0].read_bytes_s = 0.25e9;
    require_s(simulate(&m, &d, &cold), (4096 + 3 * 4096 + 2000) * 1e-9);
    /* Latency decides: 10 us + 2 us + 4.096 us of a step, half of it each. */
    d.levels[0].latency_s = 10e-6;
    require_s(simulate(&m, &d, &cold), (14096 + 3 * 8048 + 2000) * 1e-9);
    /* One load in flight: nothing overlaps. */
    m.tasks[0].work.product.ahead = 1;
    require_s(simulate(&m, &d, &cold), 4 * 16096e-9);
}

static void test_gathered(void **state)
{
    (void)state;
    sim_device d = made_device(1);
    made m = {0};
    int view = made_view(&m, 1 << 20, 1000, 96, 128);
    made_stage(&m, 1, DSV4_VECTOR);
    made_block(&m, 0, 0, (dsv4_work){.gathered_bytes = 960});
    made_touch(&m, view, DSV4_READ | DSV4_UNTRACKED, (dsv4_box){0, 1000, 0, 96});
    require_s(simulate(&m, &d, &cold), 10 * 128e-9); /* ten rows of two lines each, of a view larger than the cache */
    m.views[view].rows = 500;
    m.touches[0].box.row1 = 500;
    require_s(simulate(&m, &d, &cold) + 1, 1); /* the cache holds it */
}

/* ---- caches ---------------------------------------------------------------------------------------------------------------- */

static void test_warm(void **state)
{
    (void)state;
    sim_device d = made_device(1);
    made m = {0};
    int view = made_view(&m, 1 << 20, 1, 1 << 20, 1 << 20);
    made_stage(&m, 2, DSV4_VECTOR);
    made_block(&m, 0, 0, (dsv4_work){0});
    made_reads(&m, view, 0, 65536);
    require_s(simulate(&m, &d, &cold), 65536e-9);
    require_s(simulate(&m, &d, &warm) + 1, 1);
    made_block(&m, 0, 1, (dsv4_work){0});
    made_reads(&m, view, 65536, 73728); /* two pages more than the cache holds: the first ones fall out, one after the other */
    require_s(simulate(&m, &d, &warm), 73728e-9);
    d.levels[1].bytes = 73728;
    require_s(simulate(&m, &d, &warm) + 1, 1);
}

static void test_writes(void **state)
{
    (void)state;
    sim_device d = made_device(1);
    made m = {0};
    int view = made_view(&m, 1 << 20, 1, 1 << 20, 1 << 20);
    made_stage(&m, 2, DSV4_VECTOR);
    made_block(&m, 0, 0, (dsv4_work){0});
    made_touch(&m, view, DSV4_WRITE, (dsv4_box){0, 1, 0, 8192});
    made_block(&m, 0, 1, (dsv4_work){0});
    made_touch(&m, view, DSV4_UPDATE, (dsv4_box){0, 1, 0, 8192});
    made_edge(&m, 0, 1);
    require_s(simulate(&m, &d, &cold), 8192 / 5e8); /* then the cache has it */
}

/* A block on one core writes, which takes the bytes out of the cache of the other, but not out of the shared level. */
static void test_other_cores_caches(void **state)
{
    (void)state;
    sim_device d = made_device(2);
    d.levels[2] = d.levels[1];
    d.levels[1] = (sim_level){"L3", true, 1 << 20, 4e9, 4e9, 0, 0, 0, 64};
    d.n_levels = 3;
    made m = {0};
    int view = made_view(&m, 1 << 20, 1, 1 << 20, 1 << 20);
    made_stage(&m, 6, DSV4_VECTOR); /* blocks 0 .. 2 belong to core 0, 3 .. 5 to core 1 */
    int reads = made_block(&m, 0, 0, (dsv4_work){0});
    made_reads(&m, view, 0, 4096);
    int writes = made_block(&m, 0, 3, (dsv4_work){0});
    made_touch(&m, view, DSV4_WRITE, (dsv4_box){0, 1, 0, 64});
    int busy0 = made_block(&m, 0, 1, (dsv4_work){.vector_ops = 1000}),
        busy1 = made_block(&m, 0, 4, (dsv4_work){.vector_ops = 1000});
    int again = made_block(&m, 0, 2, (dsv4_work){0});
    made_reads(&m, view, 0, 4096);
    made_edge(&m, reads, writes);
    made_edge(&m, reads, busy0);
    made_edge(&m, reads, busy1);
    made_edge(&m, writes, again);
    m.tasks[writes].spread = m.tasks[busy1].spread = m.tasks[again].spread = true;
    /* Core 0 reads 4096 bytes from memory, is busy while core 1 writes, then reads one line from the shared level. */
    require_s(simulate(&m, &d, &cold), 4096e-9 + 1000e-9 + 64 / 4e9);
}

/* ---- several blocks ---------------------------------------------------------------------------------------------------------- */

static made readers(int n, int64_t bytes)
{
    made m = {0};
    int view = made_view(&m, 1 << 20, 1, n * bytes, n * bytes);
    made_stage(&m, n, DSV4_VECTOR);
    for (int i = 0; i < n; i++) {
        made_block(&m, 0, i, (dsv4_work){0});
        made_reads(&m, view, i * bytes, (i + 1) * bytes);
    }
    return m;
}

static void test_shared_bandwidth(void **state)
{
    (void)state;
    sim_device d = made_device(2);
    made m = readers(2, 4096);
    require_s(simulate(&m, &d, &cold), 2 * 4096e-9);
    d.levels[0].read_bytes_s = 1.5e9; /* of both; 1e9 of one */
    d.levels[0].core_read_bytes_s = 1e9;
    require_s(simulate(&m, &d, &cold), 2 * 4096e-9 / 1.5);
    m.touches[1].box.col1 = 4096 + 1024; /* both at 0.75 while two read, then one at 1 */
    require_s(simulate(&m, &d, &cold), 1024e-9 / 0.75 + (4096 - 1024) * 1e-9);
}

/* A block that calculates most of the time takes little of the bandwidth: it does not slow the other down. */
static void test_bandwidth_that_is_not_needed(void **state)
{
    (void)state;
    sim_device d = made_device(2);
    made m = readers(2, 4096);
    d.levels[0].read_bytes_s = 1.25e9;
    d.levels[0].core_read_bytes_s = 1e9;
    m.tasks[1].work.vector_ops = 16384; /* a quarter of the bandwidth */
    require_s(simulate(&m, &d, &cold), 16384e-9);
    sim_options one = {1, 0};
    require_s(simulate(&m, &d, &one), 4096e-9 + 16384e-9);
}

static void test_chain(void **state)
{
    (void)state;
    sim_device d = made_device(2);
    d.schedule = (sim_schedule){.dispatch_s = 1e-6, .edge_s = 1e-7, .pickup_s = 1e-5};
    made m = {0};
    made_stage(&m, 3, DSV4_VECTOR);
    for (int i = 0; i < 3; i++) {
        made_block(&m, 0, i, (dsv4_work){.vector_ops = 5000});
    }
    made_edge(&m, 0, 1);
    made_edge(&m, 1, 2);
    /* A worker goes on with what it released: three blocks, three dispatches, two edges. */
    require_s(simulate(&m, &d, &cold), 3 * 5e-6 + 3 * 1e-6 + 2 * 1e-7);
}

static void test_steal(void **state)
{
    (void)state;
    sim_device d = made_device(2);
    d.schedule = (sim_schedule){.pickup_s = 1e-6, .steal_s = 3e-6};
    made m = {0};
    made_stage(&m, 4, DSV4_VECTOR);
    int first = made_block(&m, 0, 0, (dsv4_work){.vector_ops = 1000}), join;
    for (int i = 1; i < 3; i++) {
        made_block(&m, 0, i, (dsv4_work){.vector_ops = 10000});
    }
    join = made_join(&m);
    made_edge(&m, first, join);
    made_edge(&m, join, 1);
    made_edge(&m, join, 2);
    trace t = made_trace(&m);
    sim_result r = {0};
    dsv4_error err = {0};
    require_ok(sim_run(&d, &cold, &t, &r, &err), &err);
    /* Core 0 ends at 1 us and keeps block 1; core 1 notices block 2 at 2 us and fetches it in 3. */
    require_s(r.makespan_s, 15e-6);
    require_s(r.path_s, 11e-6);
    require_s(r.busy_s[0], 21e-6);
    assert_int_equal(t.run.n_events, 3);
    const trace_event *kept = &t.run.events[1], *stolen = &t.run.events[2];
    assert_int_equal(kept->found, TRACE_KEPT);
    require_s(kept->start_s, 1e-6);
    assert_int_equal(stolen->worker, 1);
    assert_int_equal(stolen->found, 0);
    require_s(stolen->ready_s, 1e-6);
    require_s(stolen->dispatch_s, 2e-6);
    require_s(stolen->start_s, 5e-6);
    assert_true(t.run.is_simulated);
    assert_string_equal(t.run.workers[1].name, "core 1");
    sim_result_deinit(&r);
    trace_deinit(&t);
}

/* Urgency is the task's number; a share of a stage belongs to each worker. */
static void test_own_sets(void **state)
{
    (void)state;
    sim_device d = made_device(2);
    made m = {0};
    made_stage(&m, 4, DSV4_VECTOR);
    static const int64_t blocks[] = {0, 3, 1, 2};
    for (int i = 0; i < 4; i++) {
        made_block(&m, 0, blocks[i], (dsv4_work){.vector_ops = 1000});
    }
    trace t = made_trace(&m);
    sim_result r = {0};
    dsv4_error err = {0};
    require_ok(sim_run(&d, &cold, &t, &r, &err), &err);
    static const int32_t tasks[] = {0, 2, 1, 3}, workers[] = {0, 0, 1, 1};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(t.run.events[i].task, tasks[i]);
        assert_int_equal(t.run.events[i].worker, workers[i]);
    }
    sim_result_deinit(&r);
    trace_deinit(&t);
}

/* ---- scheduler threads --------------------------------------------------------------------------------------------------------- */

static sim_device threaded(int n_threads)
{
    sim_device d = made_device(8);
    d.schedule = (sim_schedule){.n_threads = n_threads, .dispatch_s = 1e-6, .edge_s = 1e-6, .pickup_s = 5e-7};
    return d;
}

static void test_threads_dispatch_in_turn(void **state)
{
    (void)state;
    made m = {0};
    made_stage(&m, 6, DSV4_VECTOR);
    for (int i = 0; i < 6; i++) {
        made_block(&m, 0, i, (dsv4_work){.vector_ops = 20000});
    }
    sim_device one = threaded(1), two = threaded(2), six = threaded(6);
    require_s(simulate(&m, &one, &cold), 6e-6 + 0.5e-6 + 20e-6);
    require_s(simulate(&m, &two, &cold), 3e-6 + 0.5e-6 + 20e-6);
    require_s(simulate(&m, &six, &cold), 1e-6 + 0.5e-6 + 20e-6);
}

static void test_threads_handle_ends(void **state)
{
    (void)state;
    made m = {0};
    made_stage(&m, 2, DSV4_VECTOR);
    made_block(&m, 0, 0, (dsv4_work){.vector_ops = 20000});
    made_block(&m, 0, 1, (dsv4_work){.vector_ops = 20000});
    made_edge(&m, 0, 1);
    sim_device d = threaded(1);
    require_s(simulate(&m, &d, &cold), 1.5e-6 + 20e-6 + 1e-6 + 1.5e-6 + 20e-6);
}

/* Stages become known one by one, each 10 us after the one before. */
static void test_submits(void **state)
{
    (void)state;
    made m = {0};
    for (int i = 0; i < 3; i++) {
        made_stage(&m, 1, DSV4_VECTOR);
        made_block(&m, i, 0, (dsv4_work){.vector_ops = 20000});
    }
    sim_device d = threaded(6);
    d.schedule.submit_s = 1e-5;
    require_s(simulate(&m, &d, &cold), 30e-6 + 1.5e-6 + 20e-6);
    made_edge(&m, 0, 2); /* its end comes later than the submission */
    require_s(simulate(&m, &d, &cold), 10e-6 + 1.5e-6 + 20e-6 + 1e-6 + 1.5e-6 + 20e-6);
    d.schedule.submit_s = 0;
    require_s(simulate(&m, &d, &cold), 1.5e-6 + 20e-6 + 1e-6 + 1.5e-6 + 20e-6);
}

static void test_kinds(void **state)
{
    (void)state;
    sim_device d = threaded(2);
    d.schedule.dispatch_s = d.schedule.pickup_s = 0;
    d.cores[1] = d.cores[0];
    d.n_core_kinds = 2;
    d.cores[0].name = "cube";
    d.cores[0].count = 1;
    d.cores[0].runs_vector = false;
    d.cores[1].name = "vector";
    d.cores[1].count = 2;
    d.cores[1].runs_cube = false;
    made m = {0};
    made_stage(&m, 2, DSV4_CUBE);
    made_stage(&m, 4, DSV4_VECTOR);
    for (int i = 0; i < 2; i++) {
        made_block(&m, 0, i, (dsv4_work){.flops_bf16 = 7000});
    }
    for (int i = 0; i < 4; i++) {
        made_block(&m, 1, i, (dsv4_work){.vector_ops = 1000});
    }
    trace t = made_trace(&m);
    sim_result r = {0};
    dsv4_error err = {0};
    require_ok(sim_run(&d, &cold, &t, &r, &err), &err);
    require_s(r.makespan_s, 14e-6);
    require_s(r.busy_s[0], 14e-6);
    require_s(r.busy_s[1], 4e-6);
    assert_int_equal(r.n_cores[1], 2);
    assert_string_equal(t.run.workers[2].name, "vector 1");
    sim_result_deinit(&r);
    trace_clear_run(&t);
    d.n_core_kinds = 1;
    assert_int_equal(sim_run(&d, &cold, &t, &r, &err), DSV4_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "no cores of device made run vector stages"));
    sim_result_deinit(&r);
    d.n_core_kinds = 2;
    d.cores[1].vector.ops_s = 0;
    assert_int_equal(sim_run(&d, &cold, &t, &r, &err), DSV4_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "no rate for vector operations"));
    sim_result_deinit(&r);
    trace_deinit(&t);
}

/* ---- the rest ------------------------------------------------------------------------------------------------------------------ */

static void test_misfits(void **state)
{
    (void)state;
    sim_device d = made_device(1);
    d.cores[0].n_buffers = 5;
    d.cores[0].buffers[0] = (sim_buffer){"A", SIM_BUFFER_A, 16 * 64 * 2};
    d.cores[0].buffers[1] = (sim_buffer){"B", SIM_BUFFER_B, 64 * 32 * 2 - 1};
    d.cores[0].buffers[2] = (sim_buffer){"C", SIM_BUFFER_C, 16 * 32 * 4 - 100};
    d.cores[0].buffers[3] = (sim_buffer){"staging", SIM_BUFFER_STAGING, 48 * 64 * 2 * 4 - 10};
    d.cores[0].buffers[4] = (sim_buffer){"vector", SIM_BUFFER_VECTOR, 4000};
    made m = {0};
    int view = made_view(&m, 1 << 20, 1, 8192, 8192);
    made_stage(&m, 2, DSV4_CUBE);
    made_stage(&m, 1, DSV4_VECTOR);
    dsv4_work work = {.flops_bf16 = 1, .product = {.m = 16, .n = 32, .k = 512, .k_tile = 64, .ahead = 4}};
    made_block(&m, 0, 0, work);
    made_block(&m, 0, 1, work);
    made_block(&m, 1, 0, (dsv4_work){0});
    made_reads(&m, view, 0, 4096);
    m.stages[1].scratch_bytes = 904;
    trace t = made_trace(&m);
    sim_result r = {0};
    dsv4_error err = {0};
    require_ok(sim_run(&d, &cold, &t, &r, &err), &err);
    static const double excess[] = {1, 100, 10, 1000};
    static const char *const names[] = {"B", "C", "staging", "vector"};
    assert_int_equal(r.n_misfits, 4);
    for (int i = 0; i < 4; i++) {
        assert_string_equal(r.misfits[i].buffer, names[i]);
        require_s(r.misfits[i].excess_bytes, excess[i]);
        assert_int_equal(r.misfits[i].n_blocks, i < 3 ? 2 : 1);
    }
    sim_result_deinit(&r);
    trace_deinit(&t);
}

/* Blocks that need bandwidth and arithmetic, on workers that steal: twice the same, and no faster than the bounds allow. */
static void test_same_again(void **state)
{
    (void)state;
    sim_device d = made_device(5);
    d.schedule = (sim_schedule){.dispatch_s = 1e-7, .edge_s = 1e-8, .pickup_s = 2e-7, .steal_s = 1e-7};
    d.overlap = 0.5;
    made m = readers(40, 2048);
    for (int i = 0; i < 40; i++) {
        m.tasks[i].work.vector_ops = 100.0 * (double)(i * 7 % 13);
        if (i >= 3) {
            made_edge(&m, i - 3, i);
        }
    }
    trace t = made_trace(&m);
    sim_result first = {0}, second = {0};
    dsv4_error err = {0};
    require_ok(sim_run(&d, &cold, &t, &first, &err), &err);
    trace_event events[40];
    memcpy(events, t.run.events, sizeof events);
    trace_clear_run(&t);
    require_ok(sim_run(&d, &cold, &t, &second, &err), &err);
    assert_memory_equal(events, t.run.events, sizeof events);
    assert_true(first.makespan_s == second.makespan_s);
    assert_true(first.makespan_s >= 40 * 2048e-9);
    assert_true(first.makespan_s >= first.path_s);
    assert_true(first.busy_s[0] <= 5 * first.makespan_s);
    sim_result_deinit(&first);
    sim_result_deinit(&second);
    trace_deinit(&t);
}

static void test_waits_for_itself(void **state)
{
    (void)state;
    sim_device d = made_device(1);
    made m = {0};
    made_stage(&m, 2, DSV4_VECTOR);
    made_block(&m, 0, 0, (dsv4_work){0});
    made_block(&m, 0, 1, (dsv4_work){0});
    made_edge(&m, 0, 1);
    made_edge(&m, 1, 0);
    trace t = made_trace(&m);
    sim_result r = {0};
    dsv4_error err = {0};
    assert_int_equal(sim_run(&d, &cold, &t, &r, &err), DSV4_E_GRAPH);
    sim_result_deinit(&r);
    trace_deinit(&t);
}

static void test_too_many_pages(void **state)
{
    (void)state;
    sim_device d = made_device(1);
    made m = {0};
    int view = made_view(&m, 1 << 20, INT64_C(1) << 40, 64, 4096);
    made_stage(&m, 1, DSV4_VECTOR);
    made_block(&m, 0, 0, (dsv4_work){0});
    made_touch(&m, view, DSV4_READ, (dsv4_box){0, INT64_C(1) << 40, 0, 64});
    trace t = made_trace(&m);
    sim_result r = {0};
    dsv4_error err = {0};
    assert_int_equal(sim_run(&d, &cold, &t, &r, &err), DSV4_E_UNSUPPORTED);
    sim_result_deinit(&r);
    trace_deinit(&t);
}

/* A trace holds times up to 1e9 s. */
static void test_too_long(void **state)
{
    (void)state;
    sim_device d = made_device(1);
    made m = {0};
    made_stage(&m, 1, DSV4_VECTOR);
    made_block(&m, 0, 0, (dsv4_work){.vector_ops = 1e300});
    trace t = made_trace(&m);
    sim_result r = {0};
    dsv4_error err = {0};
    assert_int_equal(sim_run(&d, &cold, &t, &r, &err), DSV4_E_UNSUPPORTED);
    sim_result_deinit(&r);
    trace_deinit(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arithmetic),
        cmocka_unit_test(test_steps_and_rows),
        cmocka_unit_test(test_overlap),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_lines_of_two_levels),
        cmocka_unit_test(test_tiled),
        cmocka_unit_test(test_gathered),
        cmocka_unit_test(test_warm),
        cmocka_unit_test(test_writes),
        cmocka_unit_test(test_other_cores_caches),
        cmocka_unit_test(test_shared_bandwidth),
        cmocka_unit_test(test_bandwidth_that_is_not_needed),
        cmocka_unit_test(test_chain),
        cmocka_unit_test(test_steal),
        cmocka_unit_test(test_own_sets),
        cmocka_unit_test(test_threads_dispatch_in_turn),
        cmocka_unit_test(test_threads_handle_ends),
        cmocka_unit_test(test_submits),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_misfits),
        cmocka_unit_test(test_same_again),
        cmocka_unit_test(test_waits_for_itself),
        cmocka_unit_test(test_too_many_pages),
        cmocka_unit_test(test_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
