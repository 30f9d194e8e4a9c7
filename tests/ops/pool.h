/* ops/pool.h - the pool that the tests of a file share: set-up and tear-down for cmocka_run_group_tests. */
#ifndef OPS_POOL_H
#define OPS_POOL_H

#include "ops/support.h"

enum { N_THREADS = 3 };

static dsv4_pool *pool;

static inline int create_pool(void **state)
{
    (void)state;
    pool = make_pool(N_THREADS);
    return 0;
}

static inline int destroy_pool(void **state)
{
    (void)state;
    dsv4_pool_destroy(pool);
    return 0;
}

#endif
