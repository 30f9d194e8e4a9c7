/* text/utf8.h - one step through bytes that may or may not be UTF-8. */
#ifndef TEXT_UTF8_H
#define TEXT_UTF8_H

#include <stddef.h>

typedef enum utf8_kind {
    UTF8_CHARACTER, /* a well-formed character */
    UTF8_BAD,       /* bytes that begin no character: what one U+FFFD stands for (Unicode, "maximal subpart") */
    UTF8_CUT        /* the beginning of a character; its rest would lie behind the end */
} utf8_kind;

/* The number of bytes, 1 to 4, of the next step at bytes; n >= 1 bytes are there. */
size_t utf8_step(const char *bytes, size_t n, utf8_kind *kind);

/* n if the bytes are UTF-8, else the offset of the first that begins no character. */
size_t utf8_valid_bytes(const char *bytes, size_t n);

#endif
