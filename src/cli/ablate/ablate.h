/* cli/ablate/ablate.h - studies: the techniques of a kernel as variants of its graph over the same inputs.
 *
 *   ablate.c  the command        study.c   builds, checks, times and simulates the variants of one study
 *   report.c  tables, JSON, docs/ABLATIONS.md
 *   tiles.h   stages on grids of tiles, products that load K tiles      pieces.h  what bodies of blocks are made of
 *   inputs.h  inputs by name, references
 *
 *   alias.c, norm.c, tiling.c, groups.c, scatter.c: one study each - variants, series, text. Its graph lies in the files that alias.h,
 *   norm.h, qkv.h (norm and tiling), groups.h and compressor.h (scatter) name.
 *
 * A VARIANT adds the stages of the whole kernel to a graph. All variants of a study get the same inputs; every output is compared
 * with the same reference. A SERIES puts variants side by side under one measure, with what the authors of the technique published. */
#ifndef CLI_ABLATE_ABLATE_H
#define CLI_ABLATE_ABLATE_H

#include <stdio.h>

#include "cli/cli.h"
#include "ops/op.h"

/* ---- what a study says ------------------------------------------------------------------------------------------------------- */

/* What all variants of a study share. */
typedef struct ablate_case {
    dsv4_config config;
    bool tiny; /* few tokens, small dimensions: for tests */
    uint64_t seed;
    const uk_table *uk;
    dsv4_tensor_list inputs, expected;
} ablate_case;

typedef struct ablate_variant {
    const char *name, *what;
    const void *choice; /* the study's: what differs */
    dsv4_deps deps;
} ablate_variant;

typedef struct ablate_output {
    const char *name;
    cmp_rule rule;
    const char *scores; /* CMP_TOPK: the output that the rows were chosen by; the input "offset" was added to them */
} ablate_output;

typedef enum ablate_measure {
    ABLATE_MAKESPAN,
    ABLATE_WINDOW, /* from the first start to the last end of the stages in question */
    ABLATE_BUSY,   /* time in their blocks, all cores together */
    ABLATE_TASK,   /* mean time of one of their blocks */
    ABLATE_N_MEASURES
} ablate_measure;

/* A variant in a series. Published: what the authors measured, in the series' unit; low < high where they gave a range; 0: nothing. */
typedef struct ablate_row {
    int variant;
    double low, high;
} ablate_row;

enum { ABLATE_MAX_ROWS = 6, ABLATE_MAX_VARIANTS = 20, ABLATE_MAX_SERIES = 12 };

typedef struct ablate_series {
    const char *title;
    ablate_measure measure;
    const char *stages; /* names with commas between; NULL: all */
    const char *unit;   /* of what was published: "us" */
    bool is_headline;   /* the first and the last row are the before and after of the study */
    int n_rows;
    ablate_row rows[ABLATE_MAX_ROWS];
} ablate_series;

/* A number beside the tables: an error, operations counted. Published 0: nothing. */
typedef struct ablate_figure {
    const char *name, *unit;
    double value, low, high;
} ablate_figure;

enum { ABLATE_MAX_FIGURES = 12 };

typedef struct ablate_figures {
    int n;
    ablate_figure at[ABLATE_MAX_FIGURES];
} ablate_figures;

typedef struct ablate_study {
    const char *name, *title;
    const char *kernel; /* "qkv_proj_rope, decode, 128 tokens" */
    const char *text;   /* paragraphs of Markdown: what is compared, and what explains the outcome */
    /* Draws c->inputs and computes c->expected. */
    dsv4_status (*prepare)(ablate_case *c, dsv4_error *err);
    /* Adds the stages of a variant. ctx->g is the graph; io holds an output of the name and shape of each in c->expected. */
    void (*build)(const ablate_case *c, const op_context *ctx, const dsv4_tensor_list *io, const void *choice);
    /* Figures of the study, or NULL. */
    dsv4_status (*figures)(const ablate_case *c, ablate_figures *out, dsv4_error *err);
    /* The one output that a variant writes, or NULL: every variant writes all. */
    const char *(*output_of)(const void *choice);
    const ablate_output *outputs;
    int n_outputs;
    const ablate_variant *variants;
    int n_variants;
    const ablate_series *series;
    int n_series;
} ablate_study;

extern const ablate_study ablate_alias, ablate_norm, ablate_tiling, ablate_groups, ablate_scatter;

/* ---- what is found ---------------------------------------------------------------------------------------------------------- */

typedef struct ablate_options {
    const char *preset, *device, *markdown;
    long long rounds, n_threads, seed;
    bool verify;
    const uk_table *uk;
} ablate_options;

typedef struct ablate_result {
    bool pass;                           /* every output agrees with the reference */
    double worst_share;                  /* largest share of points over tolerance among its outputs */
    int64_t launches, blocks;            /* stages that have blocks; their blocks */
    double machine_s[ABLATE_MAX_SERIES]; /* by series: median of rounds; 0: not in it */
    double device_s[ABLATE_MAX_SERIES];  /* likewise, simulated */
    double moved_bytes[ABLATE_MAX_SERIES], wanted_bytes[ABLATE_MAX_SERIES]; /* likewise: whole lines; what the boxes hold */
    double vector_ops;                                                      /* declared by all blocks */
} ablate_result;

typedef struct ablate_report {
    const ablate_study *study;
    ablate_result variants[ABLATE_MAX_VARIANTS];
    ablate_figures figures;
    int n_workers, rounds;
    const char *config;
    char device[40]; /* "": not simulated */
} ablate_report;

/* Everything about one study. A variant that disagrees with its reference is no error: the result says so. */
DSV4_MUST_CHECK dsv4_status ablate_run(const ablate_study *study, const ablate_options *o, ablate_report *out, dsv4_error *err);

/* One run of a variant over the inputs of c, compared with c->expected: for studies that check more than the case of prepare. */
DSV4_MUST_CHECK dsv4_status ablate_check(const ablate_study *study, int variant, const ablate_case *c, dsv4_pool *pool,
                                         ablate_result *out, dsv4_error *err);

void ablate_print(const ablate_report *r);
json_t *ablate_json(const ablate_report *r); /* NULL without memory */
void ablate_write_markdown(FILE *f, const ablate_report *reports, int n);

#endif
