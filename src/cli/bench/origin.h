/* cli/bench/origin.h - where figures come from. */
#ifndef CLI_BENCH_ORIGIN_H
#define CLI_BENCH_ORIGIN_H

#include "dsv4/status.h"

enum { ORIGIN_TEXT_BYTES = 128 };

extern const char origin_commit[]; /* made by the build (cmake/commit.cmake) */

typedef struct origin {
    char cpu[ORIGIN_TEXT_BYTES], compiler[ORIGIN_TEXT_BYTES], date[16]; /* "2026-01-31" */
    int n_cores;
} origin;

DSV4_MUST_CHECK dsv4_status origin_get(origin *out, dsv4_error *err);

#endif
