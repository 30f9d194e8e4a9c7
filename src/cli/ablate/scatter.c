/* cli/ablate/scatter.c - study: the pool of prefill_indexer_compressor over a scan of the chunk, or over a state that the chunk has
 * been scattered to. */
#include "cli/ablate/compressor.h"
#include "golden/golden.h"

static const compressor_choice before = {.scans = true, .carries = true}, tracked = {.scans = true}, after = {.scans = false};

enum { BEFORE, TRACKED, AFTER, BEFORE_LAUNCH, AFTER_LAUNCH, N_VARIANTS };

static const ablate_variant variants[N_VARIANTS] = {
    [BEFORE] = {"before", "a scan of all tokens in each pool block, state written last, its order carried as data", &before,
                DSV4_DEPS_BLOCK},
    [TRACKED] = {"tracked", "as before, but the write waits for the reads because it is tracked", &tracked, DSV4_DEPS_BLOCK},
    [AFTER] = {"after", "state written first, pool reads the state alone", &after, DSV4_DEPS_BLOCK},
    [BEFORE_LAUNCH] = {"before-launch", "as before, a block waits for whole launches", &before, DSV4_DEPS_STAGE},
    [AFTER_LAUNCH] = {"after-launch", "as after, a block waits for whole launches", &after, DSV4_DEPS_STAGE},
};

#define STATE_STAGES "state_update,state_scatter_pre"

static const ablate_series series[] = {
    {"whole kernel", ABLATE_MAKESPAN, NULL, "s", true, 3, {{BEFORE, 3.82, 0}, {TRACKED, 0, 0}, {AFTER, 3.16, 0}}},
    {"softmax pool: all blocks", ABLATE_BUSY, "softmax_pool", "cycles", false, 2, {{BEFORE, 2829455, 0}, {AFTER, 1540161, 0}}},
    {"softmax pool and state rows: all blocks",
     ABLATE_BUSY,
     "softmax_pool," STATE_STAGES,
     "cycles",
     false,
     3,
     {{BEFORE, 6701356, 0}, {TRACKED, 0, 0}, {AFTER, 4444453, 0}}},
    {"blocks wait for whole launches: whole kernel",
     ABLATE_MAKESPAN,
     NULL,
     NULL,
     false,
     2,
     {{BEFORE_LAUNCH, 0, 0}, {AFTER_LAUNCH, 0, 0}}},
};

static const char text[] =
    "A window of the pool is 8 positions: its own 4 and the 4 before them. *Before*, a block (a window, 32 channels) loads the 8 "
    "rows of values and scores that the state has, then looks at the position of each of the 128 tokens and loads values, score "
    "and bias of those in its window over them; 512 blocks write the state last. Their order behind the pool is carried as data, "
    "a pooled row times zero, because the authors' tracker does not order a write behind earlier reads. *Tracked* is the same "
    "without that: here the hazard is an edge. *After*, the same 512 blocks write the state first and the pool reads nothing "
    "else. All variants have as many blocks, and norm, rotation, Hadamard product and cache rows are the same in all.\n\n"
    "**What the scan costs.** Its comparisons are few beside the exponentials of the softmax (operations below). Its loads are "
    "many: a row of 32 channels is 128 bytes, a quarter of a line, and rows are known one behind the other. A pool block in the "
    "middle of the chunk loads 44 rows and lists before and 19 after; a block that writes a state row, 6 and 5. The authors' "
    "counters fall by less in the pool than the simulation says: a block on the NPU has a fixed part, too, the 7 softmax steps on "
    "32 channels, each waiting for the one before. The simulation counts these at the rate of long vectors.\n\n"
    "**The whole kernel.** The authors' seconds are of the run of a test program with its counters on; the kernel is less than a "
    "thousandth of that. The two tables with their cycles compare like with like. The simulated makespan falls for two reasons: "
    "the edges that carry the order go (512 blocks no longer wait for two of the pool, see *tracked*), and pool blocks are "
    "shorter. Against them, the state rows now stand in front of the pool, where before they were written beside norm, product "
    "and cache rows. With tracked blocks a window waits for its 8 tokens alone. Where a block waits for whole launches, as in the "
    "authors' runtime, this costs more than the shorter blocks bring: 512 small blocks, limited by the scheduler's threads and "
    "not by the cores, come onto the longest path (last table). Less work in blocks is a shorter kernel only where blocks are the "
    "limit.\n\n"
    "**On this machine** the two projections are nearly all of the kernel; of the pool's own time the scan is the larger part.\n\n"
    "**When it holds.** Every valid token has a state row, and it is its position's: a step without one is refused. *Before*, "
    "*tracked* and *after* agree with the reference where the chunk starts at 0, 1, 2, 3, 4, 5, 63, 64, 127 and 128, as the "
    "authors tested.";

/* ---- inputs and reference --------------------------------------------------------------------------------------------------- */

static dsv4_status draw(ablate_case *c, int64_t start_pos, dsv4_error *err)
{
    const dsv4_numerics numerics = {0};
    op_call call = {
        .mode = DSV4_PREFILL, .n_requests = 1, .n_tokens = c->tiny ? 16 : 128, .start_pos = start_pos, .ratio = 4, .seed = c->seed};
    dsv4_status status = op_draw_inputs(&op_prefill_indexer_compressor, &c->config, &call, &c->inputs, err);
    if (status == DSV4_OK) {
        status = compressor_check(c, err);
    }
    return status == DSV4_OK
               ? golden_find("prefill_indexer_compressor")->run(&c->config, &numerics, &c->inputs, &c->expected, NULL, err)
               : status;
}

static dsv4_status prepare(ablate_case *c, dsv4_error *err)
{
    return draw(c, 0, err);
}

static const ablate_output outputs[] = {
    {"kv", {CMP_RATIO, 1e-4, 1.0 / 128, 16.0 / (32 * 128), 0}, NULL},
    {"kv_state", {CMP_RATIO, 1e-3, 1e-3, 0, 0}, NULL},
    {"score_state", {CMP_RATIO, 1e-3, 1e-3, 0, 0}, NULL},
    {"idx_kv_cache", {CMP_RATIO, 1e-4, 1.0 / 128, 16.0 / (2 * 128 * 128), 0}, NULL},
};

/* ---- figures ---------------------------------------------------------------------------------------------------------------- */

static const int64_t starts[] = {0, 1, 2, 3, 4, 5, 63, 64, 127, 128};

enum { N_STARTS = sizeof starts / sizeof *starts };

/* The variants that wait for blocks, where the chunk starts at start_pos, beside the reference. */
static dsv4_status check_start(const ablate_case *c, int64_t start_pos, dsv4_pool *pool, dsv4_error *err)
{
    ablate_case at = *c;
    at.inputs = at.expected = (dsv4_tensor_list){0};
    dsv4_status status = draw(&at, start_pos, err);
    for (int v = BEFORE; v <= AFTER && status == DSV4_OK; v++) {
        ablate_result result = {0};
        status = ablate_check(&ablate_scatter, v, &at, pool, &result, err);
        if (status == DSV4_OK && !result.pass) {
            status = dsv4_fail(err, DSV4_E_MISMATCH, "ablate scatter: %s, start position %lld: got %g %% of points over tolerance",
                               variants[v].name, (long long)start_pos, 100 * result.worst_share);
        }
    }
    dsv4_tensor_list_deinit(&at.inputs);
    dsv4_tensor_list_deinit(&at.expected);
    return status;
}

static dsv4_status check_starts(const ablate_case *c, dsv4_error *err)
{
    dsv4_pool *pool = NULL;
    progress bar = progress_begin("start positions");
    dsv4_status status = dsv4_pool_create(1, &pool, err);
    for (int i = 0; i < N_STARTS && status == DSV4_OK; i++) {
        status = check_start(c, starts[i], pool, err);
        progress_report(&bar, (double)(i + 1) / N_STARTS);
    }
    progress_end(&bar);
    dsv4_pool_destroy(pool);
    return status;
}

static void add_figure(ablate_figures *out, const char *name, int64_t value, double published)
{
    out->at[out->n++] = (ablate_figure){.name = name, .unit = "", .value = (double)value, .low = published};
}

static dsv4_status figures(const ablate_case *c, ablate_figures *out, dsv4_error *err)
{
    compressor_work pool[] = {compressor_pool_work(c, &before), compressor_pool_work(c, &after)};
    compressor_work state[] = {compressor_state_work(c, &before), compressor_state_work(c, &after)};
    add_figure(out, "pool: tokens scanned, before", pool[0].tokens, 0);
    add_figure(out, "pool: tokens scanned, after", pool[1].tokens, 0);
    add_figure(out, "pool: rows and lists loaded, before", pool[0].loads, 0);
    add_figure(out, "pool: rows and lists loaded, after", pool[1].loads, 0);
    add_figure(out, "pool: operations, before", pool[0].vector_ops, 0);
    add_figure(out, "pool: operations, after", pool[1].vector_ops, 0);
    add_figure(out, "pool and state: rows and lists, before", pool[0].loads + state[0].loads, 0);
    add_figure(out, "pool and state: rows and lists, after", pool[1].loads + state[1].loads, 0);
    add_figure(out, "pool and state: operations, before", pool[0].vector_ops + state[0].vector_ops, 0);
    add_figure(out, "pool and state: operations, after", pool[1].vector_ops + state[1].vector_ops, 0);
    add_figure(out, "start positions like the reference", N_STARTS, N_STARTS);
    return check_starts(c, err);
}

const ablate_study ablate_scatter = {
    .name = "scatter",
    .title = "Pool over the state, not over a scan of the tokens",
    .kernel = "prefill_indexer_compressor, 128 tokens",
    .text = text,
    .prepare = prepare,
    .build = compressor_build,
    .figures = figures,
    .outputs = outputs,
    .n_outputs = sizeof outputs / sizeof *outputs,
    .variants = variants,
    .n_variants = N_VARIANTS,
    .series = series,
    .n_series = sizeof series / sizeof *series,
};
