/* running.h - a model with its engine, for tests of several files. */
#ifndef RUNNING_H
#define RUNNING_H

#include "model/engine.h"
#include "model_files.h"

typedef struct running {
    model_weights *weights;
    dsv4_pool *pool;
    model_engine *engine;
} running;

/* options.numerics is set from the name. */
static inline running running_start(const char *folder, const char *numerics, int n_threads, model_engine_options options)
{
    running r = {0};
    model_checkpoint *c = NULL;
    dsv4_error err = {0};
    require_ok(model_numerics_find(numerics, &options.numerics, &err), &err);
    require_ok(dsv4_pool_create(n_threads, &r.pool, &err), &err);
    require_ok(model_checkpoint_open(folder, &c, &err), &err);
    require_ok(model_weights_pack(c, options.numerics->rows == MODEL_ROWS_I8, r.pool, NULL, &r.weights, &err), &err);
    model_checkpoint_close(c);
    require_ok(model_engine_create(r.weights, r.pool, &options, &r.engine, &err), &err);
    return r;
}

static inline void running_stop(running *r)
{
    model_engine_destroy(r->engine);
    model_weights_free(r->weights);
    dsv4_pool_destroy(r->pool);
}

#endif
