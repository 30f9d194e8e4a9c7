/* Whom a refusal holds back: the stages behind it, in its own run. */
#include "ops/pool.h"
#include "ops/verdict.h"

/* A stage that refuses where *bad, and one that counts its open gates. */
typedef struct judge {
    op_verdict verdict;
    const bool *bad;
} judge;

typedef struct writer {
    op_gate gate;
    int64_t n_written;
} writer;

static void describe_judge(const void *arg, int64_t block, dsv4_describe *d)
{
    (void)block;
    op_verdict_writes(d, &((const judge *)arg)->verdict);
}

static void run_judge(const void *arg, int64_t block, void *scratch)
{
    const judge *j = arg;
    (void)block;
    (void)scratch;
    memset(j->verdict.own, 0, sizeof *j->verdict.own);
    if (*j->bad) {
        dsv4_fail(j->verdict.own, DSV4_E_VALUE, "bad step");
    }
}

static void describe_writer(const void *arg, int64_t block, dsv4_describe *d)
{
    (void)block;
    op_gate_reads(d, &(*(writer *const *)arg)->gate);
}

static void run_writer(const void *arg, int64_t block, void *scratch)
{
    writer *w = *(writer *const *)arg;
    (void)block;
    (void)scratch;
    w->n_written += op_gate_is_open(&w->gate);
}

static void test_refusal_holds_back_what_is_behind(void **state)
{
    (void)state;
    bool bad_before = false, bad_behind = false;
    dsv4_error err = {0};
    const op_context c = {.op = find_op("rmsnorm"), .g = dsv4_graph_create("verdicts")};
    judge before = {op_verdict_new(&c), &bad_before};
    dsv4_graph_stage(c.g, &(dsv4_stage_desc){"before", 1, run_judge, describe_judge, &before, 0, DSV4_VECTOR});
    writer w = {op_gate_of(&c), 0}, *at = &w;
    dsv4_graph_stage(c.g, &(dsv4_stage_desc){"write", 1, run_writer, describe_writer, &at, 0, DSV4_VECTOR});
    judge behind = {op_verdict_new(&c), &bad_behind};
    dsv4_graph_stage(c.g, &(dsv4_stage_desc){"behind", 1, run_judge, describe_judge, &behind, 0, DSV4_VECTOR});
    require_ok(dsv4_graph_seal(c.g, DSV4_DEPS_BLOCK, &err), &err);
    assert_int_equal(dsv4_graph_get_info(c.g).n_edges, 1);
    dsv4_exec *exec;
    require_ok(dsv4_exec_create(c.g, pool, 0, &exec, &err), &err);

    bad_behind = true;
    assert_int_equal(dsv4_exec_run(exec, 0, &err), DSV4_E_VALUE);
    assert_int_equal(w.n_written, 1);
    bad_behind = false;
    require_ok(dsv4_exec_run(exec, 0, &err), &err);
    assert_int_equal(w.n_written, 2);
    bad_before = true;
    assert_int_equal(dsv4_exec_run(exec, 0, &err), DSV4_E_VALUE);
    assert_int_equal(w.n_written, 2);

    dsv4_exec_destroy(exec);
    dsv4_graph_destroy(c.g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusal_holds_back_what_is_behind),
    };
    return cmocka_run_group_tests(tests, create_pool, destroy_pool);
}
