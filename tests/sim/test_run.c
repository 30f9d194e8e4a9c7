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

int main(void)
{
    (void)warm;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arithmetic),
        cmocka_unit_test(test_steps_and_rows),
        cmocka_unit_test(test_overlap),
        cmocka_unit_test(test_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
