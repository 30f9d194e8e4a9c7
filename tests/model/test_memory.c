/* Memory of a running model: no growth over 10,000 steps, and what a plan says is what weights and sequences take. */
#include "resident.h"
#include "running.h"
#include "sanitized.h"

#include <malloc.h>

enum { CONTEXT = 1024, WARM_STEPS = CONTEXT + 200, N_THREADS = 2, PAGE = 4096, N_STEPS = SANITIZED ? 1000 : 10000 };

/* AddressSanitizer is not to keep for a while what was freed, which looks like growth. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "quarantine_size_mb=0:thread_local_quarantine_size_kb=0";
}

static running start(const char *numerics, int64_t n_sequences, int64_t context)
{
    return running_start(TINY_ENGLISH, numerics, N_THREADS,
                         (model_engine_options){.n_sequences = n_sequences, .context = context, .step_tokens = 64});
}

static size_t heap_bytes(void)
{
    const struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static void step(running *r, model_sequence *s, int32_t token, float *logits)
{
    dsv4_error err = {0};
    const model_feed f = {s, &token, 1, 1, logits};
    require_ok(model_engine_step(r->engine, &f, 1, &err), &err);
}

/* A sequence grows until the context is full, then begins again; in between the last tokens are taken back and a fork comes and goes. */
static void decode(running *r, int n_steps, float *logits)
{
    model_kv *kv = model_engine_kv(r->engine);
    model_sequence *s = NULL, *fork = NULL;
    dsv4_error err = {0};
    require_ok(model_sequence_open(kv, &s, &err), &err);
    for (int i = 0; i < n_steps; i++) {
        if (s->length == CONTEXT) {
            require_ok(model_sequence_truncate(kv, s, 0, &err), &err);
        } else if (i % 100 == 99) {
            require_ok(model_sequence_fork(kv, s, &fork, &err), &err);
            step(r, fork, 7, logits);
            model_sequence_close(kv, fork);
            require_ok(model_sequence_truncate(kv, s, s->length - s->length % 8, &err), &err);
        }
        step(r, s, i * 37 % 500, logits);
    }
    model_sequence_close(kv, s);
}

static void steps_leave_nothing_behind(void **state)
{
    (void)state;
    running r = start("w8a8", 2, CONTEXT);
    float *logits = malloc((size_t)r.weights->config.vocab_size * sizeof *logits);
    assert_non_null(logits);
    decode(&r, WARM_STEPS, logits);
    const size_t heap = heap_bytes(), resident = resident_bytes();
    decode(&r, N_STEPS, logits);
    assert_int_equal(heap_bytes(), heap);
    assert_in_range(resident_bytes(), 0, resident + 16 * PAGE);
    free(logits);
    running_stop(&r);
}

/* All slots and pages in use: what that adds to resident memory is what model_kv_bytes promised. */
static void sequences_take_what_was_planned(void **state)
{
    enum { N = 48, LONG = 4096 };
    (void)state;
    running r = start("exact", N, LONG);
    model_kv *kv = model_engine_kv(r.engine);
    model_sequence *s = NULL;
    dsv4_error err = {0};
    const size_t before = resident_bytes(), planned = model_kv_bytes(&r.weights->config, &kv->numerics, N, N * LONG);
    for (int i = 0; i < N; i++) {
        require_ok(model_sequence_open(kv, &s, &err), &err);
        require_ok(model_sequence_reserve(kv, s, LONG, &err), &err);
    }
    assert_true(planned > 16 << 20);
    memset(kv->slots, 1, (size_t)kv->n_slots * kv->slot_bytes);
    memset(kv->pages, 1, (size_t)kv->n_pages * kv->page_bytes);
    const double taken = (double)(resident_bytes() - before);
    assert_true(taken > 0.95 * (double)planned && taken < 1.05 * (double)planned);
    running_stop(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sequences_take_what_was_planned),
        cmocka_unit_test(steps_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
