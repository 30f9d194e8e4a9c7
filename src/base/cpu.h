/* base/cpu.h - which processor this is. */
#ifndef BASE_CPU_H
#define BASE_CPU_H

#include <stddef.h>

/* The system's name of the processor, "AMD EPYC 7763 64-Core Processor", cut to size; "unknown" where the system tells none. */
void cpu_model_name(char *text, size_t size);

#endif
