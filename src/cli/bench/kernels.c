/* cli/bench/kernels.c - `dsv4 bench kernels`: every family of products, on the shapes of a model, at growing numbers of rows,
 * beside the ceilings of the machine; and the other kernels.
 *
 * Products, other kernels and ceilings take turns within a round, so that a drift of the machine hits all alike. Results must be
 * the same before the first round and behind the last. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/progress.h"
#include "cli/bench/products.h"
#include "cli/bench/vectors.h"

enum { MAX_ROWS = 16, DEFAULT_ROUNDS = 15, MEGABYTE = 1000000 };

typedef struct row_list {
    int n;
    int64_t at[MAX_ROWS];
} row_list;

typedef struct kernels_options {
    bench_options bench;
    bool tiny;
    const char *family; /* NULL: all */
    row_list rows;
    long long megabytes; /* 0: more than the caches hold */
} kernels_options;

/* What is measured: products, then the other kernels, each with a row of results. */
typedef struct suite {
    const kernels_options *o;
    product_setting setting;
    product_weights *weights; /* of each family */
    product *products;
    vectors vectors;
    bench_meter *meter;
    int n_products, n_rows, n_rounds;
    bench_row *rows;
    double *samples; /* [n_rows][n_rounds] */
} suite;

/* ---- options -------------------------------------------------------------------------------------------------------------- */

static dsv4_status store_rows(const cli_option *self, void *field, const char *text, dsv4_error *err)
{
    row_list *list = field;
    const char *at = text;
    for (list->n = 0; list->n < MAX_ROWS; at++) {
        char *end = NULL;
        long long n = *at >= '1' && *at <= '9' ? strtoll(at, &end, 10) : 0;
        if (n < 1 || n > self->high || (*end != ',' && *end != '\0')) {
            break;
        }
        list->at[list->n++] = n;
        at = end;
        if (*at == '\0') {
            return DSV4_OK;
        }
    }
    return dsv4_fail(err, DSV4_E_USAGE, "--%s: got \"%s\", expected 1 to %d numbers from 1 to %lld, such as 1,8,128", self->name,
                     text, MAX_ROWS, self->high);
}

static dsv4_status store_family(const cli_option *self, void *field, const char *text, dsv4_error *err)
{
    char names[64] = "";
    for (const family *f = families; f->name != NULL; f++) {
        if (strcmp(f->name, text) == 0) {
            *(const char **)field = f->name;
            return DSV4_OK;
        }
        strcat(strcat(names, f == families ? "" : ", "), f->name);
    }
    return dsv4_fail(err, DSV4_E_USAGE, "--%s: got \"%s\", expected one of %s", self->name, text, names);
}

static dsv4_status store_preset(const cli_option *self, void *field, const char *text, dsv4_error *err)
{
    if (strcmp(text, "flash") != 0 && strcmp(text, "tiny") != 0) {
        return dsv4_fail(err, DSV4_E_USAGE, "--%s: got \"%s\", expected flash or tiny", self->name, text);
    }
    *(bool *)field = strcmp(text, "tiny") == 0;
    return DSV4_OK;
}

#define FIELD(name) offsetof(kernels_options, name)

static const cli_option options_table[] = {
    {"preset", "flash|tiny", "shapes of the products (default flash)", store_preset, FIELD(tiny), 0, 0},
    {"family", "NAME", "one family of products alone, and no other kernels", store_family, FIELD(family), 0, 0},
    {"rows", "LIST", "rows of activations (default 1,2,4,8,16,32,128,512)", store_rows, FIELD(rows), 1, 4096},
    {"memory", "MB", "cold weights of a family (default: 2.5 x the caches, 600 at least)", cli_store_number, FIELD(megabytes), 1,
     1000000},
    {.name = NULL},
};

/* ---- opening -------------------------------------------------------------------------------------------------------------- */

static const family_shape *shapes_of(const suite *s, const family *f)
{
    return s->o->tiny ? f->tiny : f->flash;
}

static bool is_wanted(const suite *s, const family *f)
{
    return s->o->family == NULL || strcmp(s->o->family, f->name) == 0;
}

/* Calls itself twice: to count, then with s->products. */
static int list_products(suite *s)
{
    int n = 0;
    for (const family *f = families; f->name != NULL; f++) {
        for (const family_shape *shape = shapes_of(s, f); is_wanted(s, f) && shape->k > 0; shape++) {
            for (int i = 0; i < s->o->rows.n; i++, n++) {
                if (s->products != NULL) {
                    product_init(&s->products[n], f, *shape, s->o->rows.at[i], dsv4_pool_n_threads(s->setting.pool));
                }
            }
        }
    }
    return n;
}

static dsv4_status open_lists(suite *s, dsv4_error *err)
{
    int n_families = 0;
    while (families[n_families].name != NULL) {
        n_families++;
    }
    s->n_products = list_products(s);
    s->n_rows = s->n_products + (s->o->family == NULL ? vectors_n() : 0);
    s->weights = calloc((size_t)n_families, sizeof *s->weights);
    s->products = calloc((size_t)s->n_products, sizeof *s->products);
    s->rows = calloc((size_t)s->n_rows, sizeof *s->rows);
    s->samples = calloc((size_t)s->n_rows * (size_t)s->n_rounds, sizeof *s->samples);
    if (s->weights == NULL || s->products == NULL || s->rows == NULL || s->samples == NULL) {
        return dsv4_fail(err, DSV4_E_NO_MEMORY, "bench kernels: no memory for %d rows", s->n_rows);
    }
    list_products(s);
    return DSV4_OK;
}

/* Outputs, scratch and weights, as the largest product needs them. */
static dsv4_status open_memory(suite *s, size_t cold_bytes, dsv4_error *err)
{
    size_t y_bytes = 0;
    for (int i = 0; i < s->n_products; i++) {
        const product *p = &s->products[i];
        product_weights *w = &s->weights[p->family - families];
        size_t scratch_bytes = p->family->scratch_bytes(p->shape.k);
        int64_t n_bytes = p->run_bytes > (int64_t)cold_bytes ? p->run_bytes : (int64_t)cold_bytes;
        y_bytes = product_output_bytes(p) > y_bytes ? product_output_bytes(p) : y_bytes;
        s->setting.scratch_bytes = scratch_bytes > s->setting.scratch_bytes ? scratch_bytes : s->setting.scratch_bytes;
        w->n_bytes = n_bytes > w->n_bytes ? n_bytes : w->n_bytes;
    }
    s->setting.y = memory_zeroed_array(y_bytes, 1);
    s->setting.scratch = memory_zeroed_array((size_t)dsv4_pool_n_threads(s->setting.pool), s->setting.scratch_bytes);
    bool complete = s->setting.y != NULL && s->setting.scratch != NULL;
    for (const family *f = families; f->name != NULL && complete; f++) {
        product_weights *w = &s->weights[f - families];
        w->data = memory_array((size_t)w->n_bytes, 1);
        complete = w->data != NULL;
        if (complete) {
            product_draw_weights(s->setting.pool, f, w);
        }
    }
    return complete ? DSV4_OK
                    : dsv4_fail(err, DSV4_E_NO_MEMORY, "bench kernels: no memory for %zu MB of weights a family; see --memory",
                                cold_bytes / MEGABYTE);
}

static dsv4_status open_suite(suite *s, dsv4_error *err)
{
    size_t cold_bytes = (size_t)s->o->megabytes * MEGABYTE;
    dsv4_status status = cold_bytes > 0 ? DSV4_OK : bench_cold_bytes(&cold_bytes, err);
    if (status == DSV4_OK) {
        status = uk_find(NULL, &s->setting.uk, err);
    }
    if (status == DSV4_OK) {
        status = dsv4_pool_create((int)s->o->bench.n_threads, &s->setting.pool, err);
    }
    if (status == DSV4_OK) {
        status = open_lists(s, err);
    }
    if (status == DSV4_OK) {
        status = open_memory(s, cold_bytes, err);
    }
    if (status == DSV4_OK) {
        status = bench_meter_open(s->setting.pool, s->n_rounds, cold_bytes, &s->meter, err);
    }
    for (int i = 0; i < s->n_products && status == DSV4_OK; i++) {
        status = product_prepare(&s->products[i], &s->setting, &s->weights[s->products[i].family - families], err);
    }
    return status == DSV4_OK ? vectors_open(&s->vectors, s->setting.pool, s->setting.uk, err) : status;
}

static void close_suite(suite *s)
{
    for (int i = 0; i < s->n_products && s->products != NULL; i++) {
        product_deinit(&s->products[i]);
    }
    for (const family *f = families; f->name != NULL && s->weights != NULL; f++) {
        free(s->weights[f - families].data);
    }
    vectors_close(&s->vectors);
    bench_meter_close(s->meter);
    free(s->setting.y);
    free(s->setting.scratch);
    free(s->weights);
    free(s->products);
    free(s->rows);
    free(s->samples);
    dsv4_pool_destroy(s->setting.pool);
}

/* ---- measuring ------------------------------------------------------------------------------------------------------------ */

typedef struct turn {
    suite *s;
    int row;
} turn;

static double take_turn(void *context)
{
    const turn *t = context;
    suite *s = t->s;
    int i = t->row;
    return i < s->n_products ? product_take_turn(&s->products[i]) : vectors_take_turn(&s->vectors, i - s->n_products);
}

static uint64_t find_checksum(suite *s, int i)
{
    return i < s->n_products ? product_checksum(&s->products[i]) : vectors_checksum(&s->vectors, i - s->n_products);
}

static void take_rounds(suite *s)
{
    progress bar = progress_begin("rounds");
    for (int round = 0; round < s->n_rounds; round++) {
        bench_meter_round(s->meter);
        for (int i = 0; i < s->n_rows; i++) {
            s->samples[i * s->n_rounds + round] = bench_quiet_turn(take_turn, &(turn){s, i});
        }
        progress_report(&bar, (double)(round + 1) / s->n_rounds);
    }
    progress_end(&bar);
}

static void describe(suite *s, int i, const bench_ceilings *c)
{
    if (i < s->n_products) {
        product_describe(&s->products[i], c, &s->rows[i]);
    } else {
        vectors_describe(&s->vectors, i - s->n_products, &s->rows[i]);
    }
    s->rows[i].times = bench_times_of(s->samples + i * s->n_rounds, s->n_rounds);
}

static void print_rows(const suite *s, const bench_ceilings *c)
{
    bench_print_ceilings(c, dsv4_pool_n_threads(s->setting.pool));
    bench_print_heads();
    for (int i = 0; i < s->n_rows; i++) {
        if (i == s->n_products) {
            cli_print("\nother kernels: a call on each worker at the same time, all data in the nearest caches\n");
            bench_print_heads();
        }
        bench_print_row(&s->rows[i]);
    }
}

static dsv4_status measure(suite *s, bench_ceilings *c, dsv4_error *err)
{
    for (int i = 0; i < s->n_rows; i++) {
        s->rows[i].checksum = find_checksum(s, i);
    }
    take_rounds(s);
    *c = bench_meter_get(s->meter);
    for (int i = 0; i < s->n_rows; i++) {
        describe(s, i, c);
        if (find_checksum(s, i) != s->rows[i].checksum) {
            return dsv4_fail(err, DSV4_E_MISMATCH, "bench kernels: two runs of %s %s gave different results", s->rows[i].name,
                             s->rows[i].shape);
        }
    }
    print_rows(s, c);
    return DSV4_OK;
}

static int run(const cli_command *self, int argc, char **argv)
{
    kernels_options options = {.bench = {.rounds = DEFAULT_ROUNDS}, .rows = {8, {1, 2, 4, 8, 16, 32, 128, 512}}};
    dsv4_error err = {0};
    int first = 0, code = cli_parse(self, argc, argv, &options, &first);
    if (code >= 0) {
        return code;
    }
    suite s = {.o = &options, .n_rounds = (int)options.bench.rounds};
    bench_results results = {.suite = "kernels", .rounds = s.n_rounds};
    dsv4_status status = first < argc
                             ? dsv4_fail(&err, DSV4_E_USAGE, "bench kernels: got \"%s\", expected options alone", argv[first])
                             : open_suite(&s, &err);
    if (status == DSV4_OK) {
        status = measure(&s, &results.ceilings, &err);
    }
    if (status == DSV4_OK) {
        results.n_threads = dsv4_pool_n_threads(s.setting.pool);
        results.rows = s.rows;
        results.n_rows = s.n_rows;
    }
    code = bench_results_finish(&results, &options.bench, status, &err);
    close_suite(&s);
    return code;
}

const cli_command bench_kernels = {"bench kernels", "[options]",        "every kernel beside the ceilings of the machine",
                                   options_table,   bench_option_table, run};
