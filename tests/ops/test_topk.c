/* The best rows of a stream of scores, against sorting all of it. */
#include "ops/topk.h"

#include <float.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/rng.h"
#include "require.h"

enum { MAX_N = 5000 };

typedef struct candidate {
    float score;
    int32_t row;
} candidate;

/* The order by its definition, without keys. */
static int by_merit(const void *left, const void *right)
{
    const candidate *a = left, *b = right;
    const bool a_is_nan = isnan(a->score), b_is_nan = isnan(b->score);
    if (a_is_nan != b_is_nan) {
        return a_is_nan ? 1 : -1;
    }
    if (!a_is_nan && a->score != b->score) {
        return a->score > b->score ? -1 : 1;
    }
    return a->row < b->row ? -1 : 1;
}

/* The first k of n scores in that order. */
static void sort_all(const float *scores, int64_t n, int64_t k, int32_t *rows)
{
    static candidate all[MAX_N];
    for (int64_t i = 0; i < n; i++) {
        all[i] = (candidate){scores[i], (int32_t)i};
    }
    qsort(all, (size_t)n, sizeof *all, by_merit);
    for (int64_t i = 0; i < k; i++) {
        rows[i] = all[i].row;
    }
}

/* The best k of n scores dealt in tiles to so many lists of k, which are then merged. */
static int64_t choose(const float *scores, int64_t n, int64_t k, int64_t tile, int64_t parts, int32_t *rows)
{
    uint64_t *keys = calloc((size_t)((parts + 1) * 2 * k), sizeof *keys);
    assert_non_null(keys);
    topk_list chosen = {keys + parts * 2 * k, 0, k, UINT64_MAX};
    for (int64_t part = 0; part < parts; part++) {
        topk_list list = {keys + part * 2 * k, 0, k, UINT64_MAX};
        for (int64_t begin = part * tile; begin < n; begin += parts * tile) {
            topk_add_scores(&list, scores + begin, begin + tile < n ? tile : n - begin, (int32_t)begin);
        }
        topk_add_keys(&chosen, list.keys, list.n);
    }
    topk_sort(&chosen);
    for (int64_t i = 0; i < chosen.n; i++) {
        rows[i] = topk_row(chosen.keys[i]);
    }
    free(keys);
    return chosen.n;
}

static void check(const float *scores, int64_t n, int64_t k, const char *what)
{
    static const int64_t tiles[] = {1, 7, 64, MAX_N}, parts[] = {1, 2, 5, 16};
    static int32_t want[MAX_N], got[MAX_N];
    const int64_t n_chosen = n < k ? n : k;
    sort_all(scores, n, n_chosen, want);
    for (size_t i = 0; i < sizeof tiles / sizeof *tiles; i++) {
        for (size_t j = 0; j < sizeof parts / sizeof *parts; j++) {
            assert_int_equal(choose(scores, n, k, tiles[i], parts[j], got), n_chosen);
            for (int64_t r = 0; r < n_chosen; r++) {
                if (got[r] != want[r]) {
                    fail_msg("%s, n=%d k=%d tile %d, %d parts: rank %d is row %d, expected %d", what, (int)n, (int)k, (int)tiles[i],
                             (int)parts[j], (int)r, got[r], want[r]);
                }
            }
        }
    }
}

static void check_lengths(const float *scores, const char *what)
{
    static const int64_t lengths[] = {0, 1, 2, 3, 63, 64, 65, 512, 1000}, counts[] = {1, 2, 3, 8, 64, 511, 512};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        for (size_t j = 0; j < sizeof counts / sizeof *counts; j++) {
            check(scores, lengths[i], counts[j], what);
        }
    }
    check(scores, MAX_N, 512, what);
}

static float random_score(uint64_t i)
{
    return (float)rng_uniform(&(rng){0}, i, -1, 1);
}

static float rising(uint64_t i)
{
    return (float)i - 700.0f;
}

static float falling(uint64_t i)
{
    return 700.0f - (float)i;
}

static float all_equal(uint64_t i)
{
    (void)i;
    return 0.0f;
}

static float few_values(uint64_t i)
{
    return (float)(i * 7 % 5) - 2.0f;
}

static float saw(uint64_t i)
{
    return (float)(i % 97) - (float)(i % 31);
}

/* Every kind of value, most of them often. */
static float special(uint64_t i)
{
    static const float values[] = {0.0f,     -0.0f,    FLT_MAX, -FLT_MAX, INFINITY,       -INFINITY, NAN,
                                   -FLT_MIN, 1.0e-45f, -1e-45f, 1.0f,     0x1.fffffep-1f, -1.0f,     1.0f};
    return values[i * 11 % 14];
}

static const struct {
    const char *name;
    float (*score)(uint64_t i);
} streams[] = {
    {"random", random_score},   {"rising", rising}, {"falling", falling}, {"all equal", all_equal},
    {"few values", few_values}, {"saw", saw},       {"special", special},
};

static void test_against_sorting(void **state)
{
    static float scores[MAX_N];
    (void)state;
    for (size_t s = 0; s < sizeof streams / sizeof *streams; s++) {
        for (uint64_t i = 0; i < MAX_N; i++) {
            scores[i] = streams[s].score(i);
        }
        check_lengths(scores, streams[s].name);
    }
}

/* A worst key must not be mistaken for an empty place, nor a large row change the score above it. */
static void test_keys(void **state)
{
    const int32_t rows[] = {0, 1, 262143, INT32_MAX};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(topk_row(topk_key(-1.5f, rows[i])), rows[i]);
        assert_int_equal(topk_row(topk_key(NAN, rows[i])), rows[i]);
        assert_true(topk_key(0.0f, rows[i]) == topk_key(-0.0f, rows[i]));
        assert_true(topk_key(1e-45f, INT32_MAX) < topk_key(0.0f, rows[i]));
        assert_true(topk_key(-1e-45f, 0) > topk_key(0.0f, rows[i]));
        assert_true(topk_key(-INFINITY, INT32_MAX) < topk_key(-NAN, rows[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_sorting),
        cmocka_unit_test(test_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
