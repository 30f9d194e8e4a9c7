#include "base/size_text.h"

#include <stddef.h>
#include <stdio.h>

size_text size_text_of(double n_bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_text out;
    size_t u = 0;
    while (n_bytes >= 1024 && u + 1 < sizeof units / sizeof *units) {
        n_bytes /= 1024;
        u++;
    }
    snprintf(out.text, sizeof out.text, u == 0 ? "%.0f %s" : "%.1f %s", n_bytes, units[u]);
    return out;
}
