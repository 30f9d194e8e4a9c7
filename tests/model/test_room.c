/* What passes between the operators of a step lies in memory that graphs share: nothing that it held before shows in a result. */
#include "running.h"
#include "sanitized.h"

#include "model/graph.h"

enum { T = 256, N_ROWS = 200, N_LOGITS = 2, V = 512, M_D_MAX = 4096 };

typedef struct bench {
    running r;
    model_sequence *sequence;
    model_graph trunk, draft;
    char *room;
    size_t room_bytes;
    void *streams;
} bench;

static void fill_rows(const bench *b, step_rows *rows)
{
    *rows = (step_rows){.capacity = rows->capacity,
                        .n = N_ROWS,
                        .token = rows->token,
                        .position = rows->position,
                        .slot = rows->slot,
                        .end = rows->end,
                        .first = rows->first,
                        .n_logits = 1,
                        .logits_capacity = rows->logits_capacity,
                        .logit_row = rows->logit_row};
    for (int i = 0; i < N_ROWS; i++) {
        rows->token[i] = i * 37 % V;
        rows->position[i] = i;
        rows->slot[i] = b->sequence->slot;
        rows->end[i] = N_ROWS;
        rows->first[i] = 0;
    }
    rows->logit_row[0] = N_ROWS - 1;
}

static model_graph make_graph(bench *b, model_graph_options options, model_graph_kind kind)
{
    model_graph graph;
    dsv4_error err = {0};
    options.kind = kind;
    require_ok(model_graph_init(&options, &graph, &err), &err);
    fill_rows(b, graph.rows);
    return graph;
}

/* Slot, pages and streams of the engine's sequence; graphs of the test. */
static bench start(const char *numerics)
{
    bench b = {
        .r = running_start(TINY_RANDOM, numerics, 2, (model_engine_options){.n_sequences = 1, .context = 512, .step_tokens = 1})};
    model_kv *kv = model_engine_kv(b.r.engine);
    dsv4_error err = {0};
    model_graph_options o = {.weights = b.r.weights, .numerics = &kv->numerics, .kv = kv, .pool = b.r.pool, .context = 512};
    require_ok(model_sequence_open(kv, &b.sequence, &err), &err);
    require_ok(model_sequence_reserve(kv, b.sequence, N_ROWS, &err), &err);
    b.streams = calloc((size_t)T * M_D_MAX, sizeof(float));
    assert_non_null(b.streams);
    assert_true(kv->config.dims.hc_mult * kv->config.dims.hidden_size <= M_D_MAX);
    o.T = T;
    o.n_logits = N_LOGITS;
    o.streams = b.streams;
    b.room_bytes = model_graph_measure(&o).room;
    b.room = aligned_alloc(64, b.room_bytes);
    assert_non_null(b.room);
    o.room = b.room;
    o.room_bytes = b.room_bytes;
    b.trunk = make_graph(&b, o, MODEL_GRAPH_TRUNK);
    b.draft = make_graph(&b, o, MODEL_GRAPH_DRAFT);
    return b;
}

static void stop(bench *b)
{
    model_graph_deinit(&b->trunk);
    model_graph_deinit(&b->draft);
    running_stop(&b->r);
    free(b->room);
    free(b->streams);
}

static void run(const bench *b, const model_graph *graph, int garbage, float *logits)
{
    dsv4_error err = {0};
    memset(b->room, garbage, b->room_bytes);
    require_ok(dsv4_exec_run(graph->exec, 0, &err), &err);
    model_graph_logits(graph, 0, logits);
}

static void garbage_does_not_show(void **state)
{
    enum { N_NUMERICS = SANITIZED ? 2 : 5 };
    static const char *const numerics[] = {"official", "w8a8", "bf16", "exact", "quant_f32"};
    static const int garbage[] = {0xff /* NaN, -1 */, 0x7e /* huge */, 0x01};
    static float expected[2][V], got[2][V];
    (void)state;
    for (size_t i = 0; i < N_NUMERICS; i++) {
        bench b = start(numerics[i]);
        run(&b, &b.trunk, 0, expected[0]);
        run(&b, &b.draft, 0, expected[1]);
        for (size_t j = 0; j < sizeof garbage / sizeof *garbage; j++) {
            run(&b, &b.trunk, garbage[j], got[0]);
            run(&b, &b.draft, garbage[j], got[1]);
            assert_memory_equal(got, expected, sizeof got);
        }
        assert_memory_not_equal(expected[0], expected[1], sizeof *expected);
        stop(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(garbage_does_not_show)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
