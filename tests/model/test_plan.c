/* A memory plan: its parts are what the parts take, and what does not fit is refused. */
#include "model_files.h"

#include "model/kv.h"
#include "model/packed.h"
#include "model/plan.h"

static model_plan_request request(const char *numerics)
{
    model_plan_request r = {.n_sequences = 2, .total_tokens = 1000, .step_bytes = 12345};
    dsv4_error err = {0};
    require_ok(model_numerics_find(numerics, &r.numerics, &err), &err);
    return r;
}

static void parts_are_what_is_taken(void **state)
{
    (void)state;
    static const char *const names[] = {"w8a8", "official"};
    model_checkpoint *c = NULL;
    dsv4_error err = {0};
    require_ok(model_checkpoint_open(TINY_ENGLISH, &c, &err), &err);
    for (int i = 0; i < 2; i++) {
        const model_plan_request r = request(names[i]);
        model_config config;
        model_plan p;
        model_weights *w = NULL;
        require_ok(model_folder_config(TINY_ENGLISH, &config, &err), &err);
        require_ok(model_plan_make(&config, &r, (memory_limits){1 << 30, SIZE_MAX, 1 << 30}, &p, &err), &err);
        require_ok(model_weights_pack(c, i == 0, NULL, NULL, &w, &err), &err);
        assert_int_equal(p.weights, w->bytes);
        assert_int_equal(p.sequences, model_kv_bytes(&c->config, r.numerics, 2, 1000));
        assert_int_equal(p.total, p.weights + p.sequences + 12345);
        require_ok(model_plan_check(&p, &err), &err);
        p.limits.available = p.total;
        require_ok(model_plan_check(&p, &err), &err);
        p.limits.available = p.total - 1;
        assert_int_equal(model_plan_check(&p, &err), DSV4_E_NO_MEMORY);
        assert_non_null(strstr(err.text, "on this machine"));
        p.limits.group = p.total - 1;
        assert_int_equal(model_plan_check(&p, &err), DSV4_E_NO_MEMORY);
        assert_non_null(strstr(err.text, "limit of the control group"));
        model_weights_free(w);
    }
    model_checkpoint_close(c);
}

/* Of a mapped file the draft block is read only where it is asked for. */
static void only_what_is_read_of_a_file_counts(void **state)
{
    (void)state;
    model_plan_request r = request("w8a8");
    model_config config;
    model_plan packed, mapped, drafting;
    dsv4_error err = {0};
    require_ok(model_folder_config(TINY_RANDOM, &config, &err), &err);
    assert_int_equal(model_config_n_blocks(&config), config.num_hidden_layers + 1);
    require_ok(model_plan_make(&config, &r, (memory_limits){0}, &packed, &err), &err);
    r.mapped = true;
    require_ok(model_plan_make(&config, &r, (memory_limits){0}, &mapped, &err), &err);
    r.drafts = true;
    require_ok(model_plan_make(&config, &r, (memory_limits){0}, &drafting, &err), &err);
    assert_int_equal(packed.weights, drafting.weights);
    const size_t block = packed.weights / (size_t)model_config_n_blocks(&config); /* blocks are alike, about */
    assert_in_range(packed.weights - mapped.weights, block / 2, block * 2);
    assert_int_equal(packed.total - mapped.total, packed.weights - mapped.weights);
}

/* Of the published model, from its configuration alone: FP4 experts are 17/32 bytes a value there and here. */
static void published_models_are_planned(void **state)
{
    (void)state;
    model_config config;
    model_plan p;
    dsv4_error err = {0};
    model_plan_request r = request("official");
    require_ok(model_config_read(CONFIGS "/flash.json", &config, &err), &err);
    require_ok(model_plan_make(&config, &r, (memory_limits){0}, &p, &err), &err);
    const double published = 159609485896.0; /* bytes of all tensors */
    assert_true((double)p.weights > published * 0.99 && (double)p.weights < published * 1.02);
    assert_int_equal(model_plan_check(&p, &err), DSV4_E_NO_MEMORY);
    r.total_tokens = INT64_MAX;
    r.n_sequences = INT64_MAX;
    assert_int_equal(model_plan_make(&config, &r, (memory_limits){0}, &p, &err), DSV4_E_VALUE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_are_what_is_taken),
        cmocka_unit_test(only_what_is_read_of_a_file_counts),
        cmocka_unit_test(published_models_are_planned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
