/* cli/tune/tune.h - the parts of `dsv4 tune`: which values a tile can have, how fast each is, which to keep.
 *
 * All times are ratios to the default tiles measured in the same interleaved rounds, so that times of different batches compare. */
#ifndef CLI_TUNE_TUNE_H
#define CLI_TUNE_TUNE_H

#include "cli/launch.h"

enum { TUNE_MAX_VALUES = 8, TUNE_GRID = 5, TUNE_MAX_PAIRS = 3, TUNE_MAX_FINALISTS = 6, TUNE_MAX_REPEATS = 3 };

/* ---- candidates --------------------------------------------------------------------------------------------------------- */

/* A tile and the values that it may have in a call, ascending. */
typedef struct tune_axis {
    size_t tile; /* in the operator's table */
    int64_t value[TUNE_MAX_VALUES];
    int n, start; /* value[start] is the default */
} tune_axis;

/* Powers of two times the default, as the rules of the tile allow: divisors, multiples, at most so many chunks. A tile named t_tile
 * or *_t_tile counts tokens: values above the tokens of the call, which all do the same, are one value. */
tune_axis tune_axis_of(const op_context *c, size_t tile);

/* ---- choosing ----------------------------------------------------------------------------------------------------------- */

/* A median of n samples, and its standard error as far as their median absolute deviation tells it. */
typedef struct tune_time {
    double median_s, error_s;
} tune_time;

/* Of n >= 1 samples; changes their order. */
tune_time tune_time_of(double *samples, int n);

/* What is known of one choice of tiles. */
typedef struct tune_result {
    double ratio, error; /* median time as a multiple of the default's, and its standard error; ratio 0: not measured */
    int n_changed;       /* tiles that differ from the default */
    int64_t n_blocks;    /* of the graph */
} tune_result;

/* n >= 1 measurements of the same choice as one: the median ratio; an error that also tells how far they lie apart. */
tune_result tune_combine(const tune_result *r, int n);

/* Whether the difference is no more than two standard errors, or `floor`. */
bool tune_is_noise(const tune_result *a, const tune_result *b, double floor);

/* The simplest of those that are as fast as the fastest, within noise: the fewest changed tiles, then the fewest blocks, then the
 * least time. -1 where none is measured. */
int tune_choose(const tune_result *r, int n, double floor);

/* How much an axis matters: what its fastest value gains over the default, if that is no noise, and how far its values lie apart. */
typedef struct tune_weight {
    double gain, spread;
} tune_weight;
tune_weight tune_weigh(const tune_result *r, int n, int start, double floor);

/* Orders n axes: out[0] matters most. By gain, then by spread, then as they stand. */
void tune_rank(const tune_weight *weights, int n, int *out);

/* ---- measuring ----------------------------------------------------------------------------------------------------------- */

/* One choice of tiles, and what was found. */
typedef struct tune_point {
    int64_t tile[OP_MAX_TILES]; /* in the order of the operator's table */
    tune_result result;
    double median_s;
} tune_point;

/* A call that is measured with many tiles. */
typedef struct tune_call {
    const dsv4_config *config;
    launch_options options;
    const dsv4_tensor_list *pristine;
    dsv4_tensor_list *io; /* what launch_isolate made of pristine, with outputs; shared by all */
    dsv4_pool *pool;
    op_context context; /* with the default tiles */
    uint64_t checksum;  /* of the outputs of the default tiles, which every other choice must reproduce */
    int64_t n_blocks;   /* of the graph with the default tiles */
    size_t weight_bytes, cache_bytes;
    int rounds;
    double begin_s, budget_s; /* of the clock; for the progress bar */
    progress *bar;
} tune_call;

/* Measures the first of n points in interleaved rounds: as many as fit in a batch and can be built in half of the time until until_s,
 * *n_measured >= 1. Stops after a few rounds when the time is up. Checks the outputs of each: DSV4_E_MISMATCH where a bit differs. No
 * error is smaller than what two graphs with the default tiles, measured among the points, are apart from their mean. */
DSV4_MUST_CHECK dsv4_status tune_measure(const tune_call *call, tune_point *const *points, int n, double until_s, int *n_measured,
                                         dsv4_error *err);

/* ---- searching ----------------------------------------------------------------------------------------------------------- */

/* All values of an axis, the other tiles at their defaults. */
typedef struct tune_sweep {
    tune_axis axis;
    tune_point point[TUNE_MAX_VALUES];
    tune_weight weight;
} tune_sweep;

/* The fastest values of two axes, all together; the other tiles at their defaults. */
typedef struct tune_pair {
    const tune_axis *axis[2]; /* down, across */
    int n[2];
    int64_t value[2][TUNE_GRID];
    tune_point point[TUNE_GRID][TUNE_GRID];
} tune_pair;

typedef struct tune_search {
    tune_sweep sweep[OP_MAX_TILES];
    int n_sweeps;
    tune_pair pair[TUNE_MAX_PAIRS];
    int n_pairs;
    tune_point finalist[TUNE_MAX_FINALISTS]; /* measured again, together, on new graphs; [0] has the default tiles */
    int n_finalists, chosen;                 /* of the finalists */
    int n_measured;
    bool cut; /* the budget ended before all points were measured */
} tune_search;

/* Fills s->sweep with the axes of the tiles in wanted ("n_tile,t_tile"; NULL: all). */
DSV4_MUST_CHECK dsv4_status tune_plan(const op_context *c, const char *wanted, tune_search *s, dsv4_error *err);

/* Differences up to this are noise, whatever the errors say. */
#define TUNE_FLOOR 0.01

/* Single axes, pairs of those that matter most, and what was fastest once more. */
DSV4_MUST_CHECK dsv4_status tune_run(const tune_call *call, double budget_s, tune_search *s, dsv4_error *err);

/* ---- showing ------------------------------------------------------------------------------------------------------------- */

/* "n_tile=64 t_tile=8", or "the default tiles". Cut to size; returns text. */
char *tune_tiles_text(const op_context *c, const tune_point *p, char *text, size_t size);

void tune_print(const op_context *c, const tune_search *s);
json_t *tune_to_json(const op_context *c, const tune_search *s);

/* DSV4_E_USAGE for a name of neither form. */
DSV4_MUST_CHECK dsv4_status tune_check_map_name(const char *path, dsv4_error *err);

/* Maps of the pairs: F.svg, or F.html, a page that holds it. */
DSV4_MUST_CHECK dsv4_status tune_write_map(const char *path, const op_context *c, const tune_search *s, const char *title,
                                           dsv4_error *err);

#endif
