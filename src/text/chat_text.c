/* text/chat_text.c - text that grows, and JSON as Python writes it. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/chat_parts.h"

void chat_add_bytes(chat_text *t, const char *bytes, size_t n)
{
    if (t->no_memory || n >= SIZE_MAX / 4 - t->n) {
        t->no_memory = true;
        return;
    }
    if (t->n + n + 1 > t->size) {
        size_t size = 2 * (t->n + n + 1);
        char *moved = realloc(t->bytes, size);
        if (moved == NULL) {
            t->no_memory = true;
            return;
        }
        t->bytes = moved;
        t->size = size;
    }
    if (n > 0) {
        memcpy(t->bytes + t->n, bytes, n);
    }
    t->n += n;
    t->bytes[t->n] = '\0';
}

void chat_add(chat_text *t, const char *text)
{
    chat_add_bytes(t, text, strlen(text));
}

void chat_add_string(chat_text *t, const json_t *string)
{
    if (json_is_string(string)) {
        chat_add_bytes(t, json_string_value(string), json_string_length(string));
    }
}

/* ---- JSON --------------------------------------------------------------------------------------------------------------- */

void chat_add_json_string(chat_text *t, const char *bytes, size_t n)
{
    static const char escaped[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    chat_add(t, "\"");
    size_t begin = 0; /* of what needs no escape */
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c >= 0x20 && c != '"' && c != '\\') {
            continue;
        }
        const char *found = c != 0 ? strchr(escaped, c) : NULL;
        char text[8];
        if (found != NULL) {
            snprintf(text, sizeof text, "\\%c", letters[found - escaped]);
        } else {
            snprintf(text, sizeof text, "\\u%04x", c);
        }
        chat_add_bytes(t, bytes + begin, i - begin);
        chat_add(t, text);
        begin = i + 1;
    }
    chat_add_bytes(t, bytes + begin, n - begin);
    chat_add(t, "\"");
}

/* The fewest digits that give the number back; with an exponent below 1e-4 and from 1e16 on. */
static void add_real(chat_text *t, double value)
{
    char text[64], digits[24];
    int n_digits = 1;
    do {
        snprintf(text, sizeof text, "%.*e", n_digits - 1, fabs(value));
    } while (strtod(text, NULL) != fabs(value) && ++n_digits <= 17);
    const int exponent = atoi(strchr(text, 'e') + 1);
    snprintf(digits, sizeof digits, "%c%.*s", text[0], n_digits - 1, text + 2);
    chat_add(t, signbit(value) ? "-" : "");
    if (exponent < -4 || exponent >= 16) {
        snprintf(text, sizeof text, "%c%s%se%c%02d", digits[0], n_digits > 1 ? "." : "", digits + 1, exponent < 0 ? '-' : '+',
                 abs(exponent));
    } else if (exponent < 0) {
        snprintf(text, sizeof text, "0.%.*s%s", -exponent - 1, "000", digits);
    } else if (n_digits <= exponent + 1) {
        snprintf(text, sizeof text, "%s%.*s.0", digits, exponent + 1 - n_digits, "000000000000000");
    } else {
        snprintf(text, sizeof text, "%.*s.%s", exponent + 1, digits, digits + exponent + 1);
    }
    chat_add(t, text);
}

static void add_object(chat_text *t, json_t *object)
{
    const char *before = "{";
    for (void *i = json_object_iter(object); i != NULL; i = json_object_iter_next(object, i)) {
        chat_add(t, before);
        chat_add_json_string(t, json_object_iter_key(i), json_object_iter_key_len(i));
        chat_add(t, ": ");
        chat_add_json(t, json_object_iter_value(i));
        before = ", ";
    }
    chat_add(t, json_object_size(object) == 0 ? "{}" : "}");
}

static void add_array(chat_text *t, const json_t *array)
{
    chat_add(t, "[");
    for (size_t i = 0; i < json_array_size(array); i++) {
        chat_add(t, i > 0 ? ", " : "");
        chat_add_json(t, json_array_get(array, i));
    }
    chat_add(t, "]");
}

/* Jansson reads no more than 2048 levels, so recursion ends. */
void chat_add_json(chat_text *t, json_t *value)
{
    char integer[32];
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        add_object(t, value);
        break;
    case JSON_ARRAY:
        add_array(t, value);
        break;
    case JSON_STRING:
        chat_add_json_string(t, json_string_value(value), json_string_length(value));
        break;
    case JSON_INTEGER:
        snprintf(integer, sizeof integer, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        chat_add(t, integer);
        break;
    case JSON_REAL:
        add_real(t, json_real_value(value));
        break;
    case JSON_TRUE:
        chat_add(t, "true");
        break;
    case JSON_FALSE:
        chat_add(t, "false");
        break;
    case JSON_NULL:
        chat_add(t, "null");
        break;
    }
}
