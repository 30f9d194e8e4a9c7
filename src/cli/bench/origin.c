#include "cli/bench/origin.h"

#include <stdio.h>
#include <time.h>

#include "base/cpu.h"
#include "cli/machine.h"

#ifdef __clang__
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

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
        cpu_model_name(out->cpu, sizeof out->cpu);
        find_date(out->date, sizeof out->date);
        snprintf(out->compiler, sizeof out->compiler, "%s", COMPILER);
    }
    machine_close(m);
    return status;
}
