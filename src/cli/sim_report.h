/* cli/sim_report.h - what a simulation shows, as text and JSON. */
#ifndef CLI_SIM_REPORT_H
#define CLI_SIM_REPORT_H

#include "cli/cli.h"
#include "sim/sim.h"

/* Prints the result and adds it to results. */
DSV4_MUST_CHECK dsv4_status sim_report_print(const sim_device *d, const trace *t, const sim_result *r, json_t *results,
                                             dsv4_error *err);

/* A line for each number of cores, beside the first; head prints what stands above. */
typedef struct sim_scaling {
    const sim_device *device;
    double first_s; /* makespan of the first */
    int first_cores;
    json_t *rows; /* borrowed */
} sim_scaling;
void sim_report_scaling_head(const sim_device *d);
void sim_report_scaling(sim_scaling *s, const sim_result *r);

#endif
