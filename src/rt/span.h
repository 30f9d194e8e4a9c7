/* rt/span.h - the bytes of a box: n runs of len bytes, stride apart.
 *
 *   address   start            start+stride      start+2*stride
 *             |<- len ->|......|<- len ->|.......|<- len ->|        n = 3
 *
 * Normal form: runs that touch are one run; one run has stride = len. So a whole tensor, a range of its rows, and a vector are all
 * n = 1, and equal sets of bytes that come from boxes of the same view are equal spans. */
#ifndef RT_SPAN_H
#define RT_SPAN_H

#include <stdbool.h>
#include <stdint.h>

typedef struct rt_span {
    int64_t start, n, stride, len; /* n, len >= 1; len <= stride */
} rt_span;

rt_span rt_span_make(int64_t start, int64_t n, int64_t stride, int64_t len);

/* One past the last byte. */
int64_t rt_span_end(const rt_span *s);

/* Exact: true if some byte is in both. Constant time for equal strides or a single run, else linear in the smaller n. */
bool rt_span_overlaps(const rt_span *a, const rt_span *b);

/* True only if every byte of b is in a. May be false for contained spans of different strides. */
bool rt_span_contains(const rt_span *a, const rt_span *b);

#endif
