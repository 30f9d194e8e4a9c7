/* model/problems.h - the list of what is not as it must be. */
#ifndef MODEL_PROBLEMS_H
#define MODEL_PROBLEMS_H

#include "model/checkpoint.h"

/* Adds one line; counts it where MODEL_MAX_PROBLEMS lines are there already or memory is short. */
void model_problem_add(model_checkpoint *c, model_problem_kind kind, const char *format, ...) DSV4_PRINTF(3, 4);

#endif
