#include "dsv4/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef struct status_row {
    const char *text, *remedy;
} status_row;

static const status_row rows[] = {
#define STATUS_ROW(code, text, remedy) [code] = {text, remedy},
    DSV4_STATUS_LIST(STATUS_ROW)
#undef STATUS_ROW
};

static const status_row *row_of(dsv4_status status)
{
    static const status_row unknown = {"unknown status", ""};
    return (unsigned)status < DSV4_N_STATUS ? &rows[status] : &unknown;
}

const char *dsv4_status_text(dsv4_status status)
{
    return row_of(status)->text;
}

const char *dsv4_status_remedy(dsv4_status status)
{
    return row_of(status)->remedy;
}

/* C0 controls and DEL; bytes of 0x80 and above pass, so that UTF-8 names stay readable. */
static void mask_controls(char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c == 0x7f) {
            *text = '?';
        }
    }
}

dsv4_status dsv4_fail(dsv4_error *err, dsv4_status status, const char *format, ...)
{
    if (!err) {
        return status;
    }
    char line[sizeof err->text] = ""; /* an argument may point into err->text */
    va_list args;
    va_start(args, format);
    if (vsnprintf(line, sizeof line, format, args) < 0) {
        line[0] = '\0';
    }
    va_end(args);
    mask_controls(line);
    err->status = status;
    memcpy(err->text, line, sizeof line);
    return status;
}
