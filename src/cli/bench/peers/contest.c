#include "cli/bench/peers/contest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/numbers.h"
#include "base/rng.h"
#include "cli/bench/peers/products.h"
#include "cli/bench/work.h"

static const struct {
    bool is_i8;
    int64_t k, n;
} product_shapes[] = {
    {false, 4096, 512}, {false, 4096, 1024}, {false, 4096, 2048}, {true, 1024, 32768},
    {true, 8192, 4096}, {true, 1024, 8192},  {true, 1024, 4096},
};
static const int64_t product_rows[] = {1, 8, 16, 128};

enum { N_SHAPES = sizeof product_shapes / sizeof *product_shapes, N_ROWS = sizeof product_rows / sizeof *product_rows };

/* A product and those that take part. */
typedef struct contest {
    peers_problem problem;
    const peers_contender *who[PEERS_MAX_CONTENDERS];
    peers_player players[PEERS_MAX_CONTENDERS];
    int n;
} contest;

static const char *type_text(bool is_i8)
{
    return is_i8 ? "i8" : "bf16";
}

/* INT8 weights have seven bits: where there is no VNNI, oneDNN adds pairs of products in INT16 and saturates with more. */
enum { ACTIVATIONS = 256, WEIGHTS = 128 };

/* Uniform in -1 .. 1, or n_values INT8 values around 0. The caller frees. */
static void *draw(bool is_i8, int n_values, int64_t n, const char *name)
{
    const rng r = {0, rng_stream(name)};
    void *x = memory_array((size_t)n, is_i8 ? 1 : 2);
    for (int64_t i = 0; x != NULL && i < n; i++) {
        if (is_i8) {
            ((int8_t *)x)[i] = (int8_t)((int)rng_below(&r, (uint64_t)i, (uint64_t)n_values) - n_values / 2);
        } else {
            ((uint16_t *)x)[i] = num_bf16_from_f32((float)rng_uniform(&r, (uint64_t)i, -1, 1));
        }
    }
    return x;
}

/* Whoever lacks a product stays away. */
static dsv4_status enter(const peers_suite *s, contest *c, dsv4_error *err)
{
    dsv4_status status = peers_begin_team(s, err); /* it stores the weights */
    for (int i = 0; peers_contenders[i] != NULL && status == DSV4_OK; i++) {
        const peers_contender *who = peers_contenders[i];
        peers_player *p = &c->players[c->n];
        if (who->of_i8 != c->problem.is_i8) {
            continue;
        }
        *p = (peers_player){.run = who->run, .is_openmp = !who->is_ours && who->rest_s == 0, .rest_s = who->rest_s};
        status = who->open(who, &c->problem, &p->state, &p->n_copies, err);
        if (status == DSV4_OK) {
            c->who[c->n++] = who;
        } else if (status == DSV4_E_UNSUPPORTED && !who->is_ours) {
            status = DSV4_OK;
        }
    }
    bench_peers_end();
    return status;
}

static void leave(contest *c)
{
    for (int i = 0; i < c->n; i++) {
        c->who[i]->close(c->players[i].state);
    }
}

/* Ours is contender 0. INT8 products are exact; the sums of the others are near. */
static dsv4_status compare(const contest *c, dsv4_error *err)
{
    const peers_problem *p = &c->problem;
    double tolerance = p->is_i8 ? 0 : 1e-5 * (double)p->k;
    for (int i = 1; i < c->n; i++) {
        for (int64_t at = 0; at < p->m * p->n; at++) {
            double ours = c->who[0]->value(c->players[0].state, at / p->n, at % p->n),
                   theirs = c->who[i]->value(c->players[i].state, at / p->n, at % p->n);
            if (!(ours - theirs <= tolerance && theirs - ours <= tolerance)) {
                return dsv4_fail(err, DSV4_E_MISMATCH, "bench peers: %lld x %lld x %lld: %s has %g at [%lld, %lld], dsv4 %g",
                                 (long long)p->m, (long long)p->k, (long long)p->n, c->who[i]->name, theirs, (long long)(at / p->n),
                                 (long long)(at % p->n), ours);
            }
        }
    }
    return DSV4_OK;
}

/* Of its values as doubles: the same for all who computed the same. */
static uint64_t checksum_of(const contest *c, int contender)
{
    uint64_t sum = BENCH_CHECKSUM_OF_NOTHING;
    for (int64_t at = 0; at < c->problem.m * c->problem.n; at++) {
        double value = c->who[contender]->value(c->players[contender].state, at / c->problem.n, at % c->problem.n);
        sum = bench_checksum_bytes(sum, &value, sizeof value);
    }
    return sum;
}

static void report_contest(peers_suite *s, const contest *c)
{
    const peers_problem *p = &c->problem;
    double bytes = (double)(p->k * p->n) * (p->is_i8 ? 1 : 2), ops = 2 * (double)p->m * (double)(p->k * p->n), ours_s = 0;
    double read_s = bytes / s->ceilings.read_bytes_s,
           multiply_s = ops / (p->is_i8 ? s->ceilings.ops_i8_s : s->ceilings.flops_bf16_s);
    for (int i = 0; i < c->n; i++) {
        bench_row row = {.name = type_text(p->is_i8),
                         .by = c->who[i]->name,
                         .weights = "cold",
                         .m = p->m,
                         .bytes = bytes,
                         .ops = ops,
                         .bound_s = read_s > multiply_s ? read_s : multiply_s,
                         .times = bench_times_of(peers_samples_of(s, i), peers_n_samples(s)),
                         .checksum = checksum_of(c, i)};
        snprintf(row.shape, sizeof row.shape, "%lldx%lld", (long long)p->k, (long long)p->n);
        ours_s = i == 0 ? row.times.median_s : ours_s;
        row.ratio = i == 0 ? 0 : row.times.median_s / ours_s;
        peers_add_row(s, &row);
    }
}

static dsv4_status measure_product(peers_suite *s, bool is_i8, int64_t m, int64_t k, int64_t n, dsv4_error *err)
{
    void *x = draw(is_i8, ACTIVATIONS, m * k, "x"), *w = draw(is_i8, WEIGHTS, k * n, "w");
    contest c = {.problem = {is_i8, m, k, n, x, w, s->cold_bytes, s->pool}};
    dsv4_status status =
        x == NULL || w == NULL ? dsv4_fail(err, DSV4_E_NO_MEMORY, "bench peers: no memory for a product") : DSV4_OK;
    if (status == DSV4_OK) {
        status = enter(s, &c, err);
    }
    if (status == DSV4_OK) {
        status = peers_play(s, "products", c.players, c.n, err);
    }
    if (status == DSV4_OK) {
        status = compare(&c, err);
    }
    if (status == DSV4_OK) {
        report_contest(s, &c);
    }
    leave(&c);
    free(x);
    free(w);
    return status;
}

/* only: NULL, "bf16", or "bf16 4096x512". */
static bool is_wanted_shape(int shape, const char *only)
{
    char text[64];
    snprintf(text, sizeof text, "%s %lldx%lld", type_text(product_shapes[shape].is_i8), (long long)product_shapes[shape].k,
             (long long)product_shapes[shape].n);
    return only == NULL || strcmp(only, text) == 0 || strcmp(only, type_text(product_shapes[shape].is_i8)) == 0;
}

dsv4_status peers_measure_products(peers_suite *s, dsv4_error *err)
{
    dsv4_status status = DSV4_OK;
    for (int i = 0; i < N_SHAPES; i++) {
        bool is_wanted = is_wanted_shape(i, s->o->only);
        for (int row = 0; row < N_ROWS && is_wanted && status == DSV4_OK; row++) {
            status = measure_product(s, product_shapes[i].is_i8, product_rows[row], product_shapes[i].k, product_shapes[i].n, err);
        }
    }
    return status;
}

bool peers_has_product(const char *only)
{
    for (int i = 0; i < N_SHAPES && only != NULL; i++) {
        if (is_wanted_shape(i, only)) {
            return true;
        }
    }
    return false;
}
