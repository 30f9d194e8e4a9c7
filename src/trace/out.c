#include "trace/out.h"

#include <locale.h>
#include <stdlib.h>

#include "base/file.h"

const char *const trace_deps_names[] = {"block", "stage", "tensor"};
const char *const trace_kind_names[] = {"vector", "cube"};

void trace_out_text(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < 0x20) {
            fprintf(out, "\\u%04x", (unsigned)*text);
            continue;
        }
        if (*text == '"' || *text == '\\') {
            fputc('\\', out);
        }
        fputc(*text, out);
    }
    fputc('"', out);
}

void trace_out_number(FILE *out, double x)
{
    char text[32];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if (strtod(text, NULL) == x) {
            break;
        }
    }
    fputs(text, out);
}

dsv4_status trace_out_file(const trace *t, trace_out_fn *write, const char *path, dsv4_error *err)
{
    file_writer writer;
    dsv4_status status = file_writer_open(&writer, path, err);
    if (status != DSV4_OK) {
        return status;
    }
    locale_t c_locale = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0);
    bool ok = c_locale != (locale_t)0;
    if (ok) {
        locale_t before = uselocale(c_locale);
        ok = write(t, writer.stream);
        uselocale(before);
        freelocale(c_locale);
    }
    if (ok) {
        return file_writer_commit(&writer, err);
    }
    file_writer_abort(&writer);
    return dsv4_fail(err, DSV4_E_NO_MEMORY, "%s: no memory to write the trace", path);
}
