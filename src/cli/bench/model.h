/* cli/bench/model.h - what `dsv4 bench model` measures, between its measuring and its tables. */
#ifndef CLI_BENCH_MODEL_H
#define CLI_BENCH_MODEL_H

#include "cli/bench/model_cost.h"
#include "model/engine.h"

/* Steps of one kind: decode of a token of each of n sequences, or prefill of n tokens of one. */
typedef struct model_case {
    bool is_prefill;
    int64_t n;
    int rounds, n_timed;
    model_sequence **sequences;
    double *seconds, *idle; /* [rounds] */
    double *bytes;          /* [rounds]: of weights, that the step had to read */
    uint64_t checksum;      /* of the logits of all rounds */
    bench_times times;
    double idle_share, median_bytes;
    int64_t n_experts;    /* that the last step read */
    bench_bounds bounds;  /* of the last step */
    bench_bound step;     /* its stages together */
    bench_ceilings peaks; /* measured between the rounds */
} model_case;

/* Seconds that a step takes at best where everything overlaps, and which ceiling binds. */
double model_case_bound_s(const model_case *c, bench_ceiling *which);

void model_print_heads(void);
void model_print_case(const model_case *c);
void model_print_stages(const model_case *c, int n_threads);
json_t *model_case_json(const model_case *c, int n_threads);
bench_row model_case_row(const model_case *c, const char *numerics);

#endif
