#include "cli/bench/origin.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/machine.h"

#ifdef __clang__
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

/* The first "model name : TEXT" of the system's list of processors; "unknown" without one. */
static void find_cpu(char *text, size_t size)
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

static void find_date(char *text, size_t size)
{
    time_t now = time(NULL);
    struct tm utc;
    if (gmtime_r(&now, &utc) == NULL || strftime(text, size, "%Y-%m-%d", &utc) == 0) {
        snprintf(text, size, "unknown");
    }
}

dsv4_status origin_get(origin *out, dsv4_error *err)
{
    machine *m = NULL;
    dsv4_status status = machine_open(&m, err);
    if (status == DSV4_OK) {
        out->n_cores = machine_n_cores(m);
        find_cpu(out->cpu, sizeof out->cpu);
        find_date(out->date, sizeof out->date);
        snprintf(out->compiler, sizeof out->compiler, "%s", COMPILER);
    }
    machine_close(m);
    return status;
}
