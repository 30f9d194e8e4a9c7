#include "rt/span.h"

rt_span rt_span_make(int64_t start, int64_t n, int64_t stride, int64_t len)
{
    if (n == 1 || stride == len) {
        return (rt_span){start, 1, n * len, n * len};
    }
    return (rt_span){start, n, stride, len};
}

int64_t rt_span_end(const rt_span *s)
{
    return s->start + (s->n - 1) * s->stride + s->len;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    int64_t q = a / b;
    return q - (a % b != 0 && a < 0);
}

/* Does the run [start, start+len) meet a run of s? Runs of s are disjoint and ascending: the first that ends behind `start`
 * decides. */
static bool run_meets(int64_t start, int64_t len, const rt_span *s)
{
    int64_t i = floor_div(start - s->start - s->len, s->stride) + 1;
    i = i < 0 ? 0 : i;
    return i < s->n && s->start + i * s->stride < start + len;
}

/* Same stride: only the two row offsets next to the distance of the starts can make runs meet. */
static bool same_stride_overlaps(const rt_span *a, const rt_span *b)
{
    int64_t distance = b->start - a->start;
    int64_t rows = floor_div(distance, a->stride);
    int64_t low = distance - rows * a->stride; /* b's run begins `low` bytes behind a's, and stride-low before a's next */
    bool meets_this = low < a->len && rows > -b->n && rows < a->n;
    bool meets_next = a->stride - low < b->len && rows + 1 > -b->n && rows + 1 < a->n;
    return meets_this || meets_next;
}

bool rt_span_overlaps(const rt_span *a, const rt_span *b)
{
    if (a->start >= rt_span_end(b) || b->start >= rt_span_end(a)) {
        return false;
    }
    if (a->n == 1) {
        return run_meets(a->start, a->len, b);
    }
    if (b->n == 1) {
        return run_meets(b->start, b->len, a);
    }
    if (a->stride == b->stride) {
        return same_stride_overlaps(a, b);
    }
    const rt_span *few = a->n <= b->n ? a : b, *many = a->n <= b->n ? b : a;
    for (int64_t i = 0; i < few->n; i++) {
        if (run_meets(few->start + i * few->stride, few->len, many)) {
            return true;
        }
    }
    return false;
}

bool rt_span_contains(const rt_span *a, const rt_span *b)
{
    if (a->start > b->start || rt_span_end(a) < rt_span_end(b)) {
        return false;
    }
    if (a->n == 1) {
        return true;
    }
    if (b->n > 1 && b->stride != a->stride) {
        return false;
    }
    int64_t offset = (b->start - a->start) % a->stride;
    return offset + b->len <= a->len;
}
