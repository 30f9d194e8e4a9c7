/* cli/stages.h - the last run of an operator by stage: a table for people, "stages" in the results. */
#ifndef CLI_STAGES_H
#define CLI_STAGES_H

#include "cli/cli.h"
#include "dsv4/graph.h"

/* Of the last run of exec, which was created with level >= 1 on graph. */
DSV4_MUST_CHECK dsv4_status stages_report(const dsv4_exec *exec, const dsv4_graph *graph, json_t *results, dsv4_error *err);

#endif
