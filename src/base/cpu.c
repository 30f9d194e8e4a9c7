#include "base/cpu.h"

#include <stdio.h>
#include <string.h>

/* The first "model name : TEXT" of the system's list of processors. */
void cpu_model_name(char *text, size_t size)
{
    char line[256];
    FILE *f = fopen("/proc/cpuinfo", "r");
    snprintf(text, size, "unknown");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        const char *value = strncmp(line, "model name", 10) == 0 ? strchr(line, ':') : NULL;
        if (value != NULL) {
            value += 1 + strspn(value + 1, " \t");
            snprintf(text, size, "%.*s", (int)strcspn(value, "\n"), value);
            break;
        }
    }
    if (f != NULL) {
        fclose(f);
    }
}
