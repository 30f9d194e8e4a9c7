/* trace/write.c - a trace file, whole or not at all. */
#include "dsv4/trace.h"
#include "trace/out.h"

static bool write_trace(const trace *t, FILE *out)
{
    fputs("{\"displayTimeUnit\":\"ns\",\"traceEvents\":", out);
    if (!trace_out_events(t, out)) {
        return false;
    }
    fputs(",\n\"dsv4\":", out);
    trace_out_data(t, out);
    fputs("}\n", out);
    return true;
}

dsv4_status trace_write(const trace *t, const char *path, dsv4_error *err)
{
    return trace_out_file(t, write_trace, path, err);
}

dsv4_status dsv4_exec_write_trace(const dsv4_exec *exec, const char *path, dsv4_error *err)
{
    trace t = {0};
    dsv4_status status = trace_capture(exec, &t, err);
    if (status == DSV4_OK) {
        status = trace_write(&t, path, err);
    }
    trace_deinit(&t);
    return status;
}
