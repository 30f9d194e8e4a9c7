/* base/cpu.h - which processor this is, for reports and tables by model. */
#ifndef BASE_CPU_H
#define BASE_CPU_H

#include <stddef.h>

/* Fills text with the model name that the system gives ("AMD EPYC 7R13 Processor"), cut to size; "unknown" without one. */
void cpu_model_name(char *text, size_t size);

#endif
