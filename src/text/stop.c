#include "text/stop.h"

#include <stdlib.h>
#include <string.h>

/* The offset of the text that is complete first, of those the longest; or n. So it does not matter how a stream is cut. */
static size_t find_first(const stop_filter *f)
{
    size_t first = f->n, first_end = f->n + 1;
    for (size_t i = 0; i < f->n_texts; i++) {
        const size_t length = strlen(f->texts[i]);
        const char *at = f->n > 0 ? memmem(f->bytes, f->n, f->texts[i], length) : NULL;
        const size_t start = at != NULL ? (size_t)(at - f->bytes) : f->n;
        if (at != NULL && (start + length < first_end || (start + length == first_end && start < first))) {
            first = start;
            first_end = start + length;
        }
    }
    return first;
}

/* The offset of the longest end of bytes[0 .. n) that begins a text, or n. */
static size_t find_beginning(const stop_filter *f)
{
    size_t first = f->n;
    for (size_t i = 0; i < f->n_texts; i++) {
        const size_t length = strlen(f->texts[i]);
        for (size_t at = f->n > length ? f->n - length : 0; at < first; at++) {
            if (memcmp(f->bytes + at, f->texts[i], f->n - at) == 0) {
                first = at;
            }
        }
    }
    return first;
}

/* Drops what went on and appends. */
static dsv4_status append(stop_filter *f, const char *bytes, size_t n, dsv4_error *err)
{
    const size_t n_waiting = f->n - f->n_out;
    if (n_waiting > 0 && f->n_out > 0) {
        memmove(f->bytes, f->bytes + f->n_out, n_waiting);
    }
    f->n = n_waiting;
    f->n_out = 0;
    if (n_waiting + n > f->size) {
        char *larger = realloc(f->bytes, 2 * (n_waiting + n));
        if (larger == NULL) {
            return dsv4_fail(err, DSV4_E_NO_MEMORY, "no memory for %zu bytes of text", n_waiting + n);
        }
        f->bytes = larger;
        f->size = 2 * (n_waiting + n);
    }
    if (n > 0) {
        memcpy(f->bytes + n_waiting, bytes, n);
    }
    f->n += n;
    return DSV4_OK;
}

dsv4_status stop_filter_next(stop_filter *f, const char *bytes, size_t n, const char **out, size_t *n_out, dsv4_error *err)
{
    const dsv4_status status = append(f, bytes, f->found ? 0 : n, err);
    if (status != DSV4_OK) {
        return status;
    }
    f->n_out = find_first(f);
    if (f->n_out < f->n) {
        f->found = true;
        f->n = f->n_out;
    } else {
        f->n_out = find_beginning(f);
    }
    *out = f->bytes != NULL ? f->bytes : "";
    *n_out = f->n_out;
    return DSV4_OK;
}

const char *stop_filter_end(stop_filter *f, size_t *n_out)
{
    *n_out = f->n - f->n_out;
    const char *out = *n_out > 0 ? f->bytes + f->n_out : "";
    f->n_out = f->n;
    return out;
}

void stop_filter_deinit(stop_filter *f)
{
    free(f->bytes);
    *f = (stop_filter){.texts = NULL};
}
