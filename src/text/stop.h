/* text/stop.h - texts at which a stream ends: lets through what cannot belong to one of them. */
#ifndef TEXT_STOP_H
#define TEXT_STOP_H

#include <stdbool.h>
#include <stddef.h>

#include "dsv4/status.h"

/* Set texts and n_texts, the rest zero: texts are not empty, borrowed, each ends with a 0. End with stop_filter_deinit. */
typedef struct stop_filter {
    const char *const *texts;
    size_t n_texts;
    bool found;  /* one of them was there: the stream is over */
    char *bytes; /* not let through yet, behind what the latest call let through */
    size_t n, n_out, size;
} stop_filter;

/* Takes n bytes more. *n_out bytes at *out, until the next call, go on: up to the text that is complete first, or to the longest end that may
 * begin one. After a text was found nothing goes on. */
DSV4_MUST_CHECK dsv4_status stop_filter_next(stop_filter *f, const char *bytes, size_t n, const char **out, size_t *n_out,
                                             dsv4_error *err);

/* The stream ends here: what still waits. */
const char *stop_filter_end(stop_filter *f, size_t *n_out);

void stop_filter_deinit(stop_filter *f);

#endif
