#include "text/utf8.h"

/* Well-formed sequences (Unicode, table 3-7): the first byte decides the length and the range of the second. */
static size_t length_of(unsigned char first, unsigned char *low, unsigned char *high)
{
    *low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    *high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    return first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
}

size_t utf8_step(const char *bytes, size_t n, utf8_kind *kind)
{
    unsigned char low, high;
    size_t length = length_of((unsigned char)bytes[0], &low, &high), i = 1;
    while (i < length && i < n && (unsigned char)bytes[i] >= low && (unsigned char)bytes[i] <= high) {
        low = 0x80;
        high = 0xbf;
        i++;
    }
    *kind = i == length ? UTF8_CHARACTER : i == n && length > 0 ? UTF8_CUT : UTF8_BAD;
    return i;
}

size_t utf8_valid_bytes(const char *bytes, size_t n)
{
    size_t at = 0;
    while (at < n) {
        utf8_kind kind = UTF8_CHARACTER;
        size_t step = utf8_step(bytes + at, n - at, &kind);
        if (kind != UTF8_CHARACTER) {
            return at;
        }
        at += step;
    }
    return n;
}
