/* base/size_text.h - a number of bytes in a fitting unit, for people: "20.7 MiB". */
#ifndef BASE_SIZE_TEXT_H
#define BASE_SIZE_TEXT_H

typedef struct size_text {
    char text[32];
} size_text;

/* n_bytes >= 0; B, KiB, MiB, GiB or TiB, all but B with one decimal. */
size_text size_text_of(double n_bytes);

#endif
