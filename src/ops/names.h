/* ops/names.h - lists of names for messages. */
#ifndef OPS_NAMES_H
#define OPS_NAMES_H

#include <stdio.h>
#include <string.h>

/* Appends ", name" to a list of names, cut to size. */
static inline void op_append_name(char *list, size_t size, const char *name)
{
    size_t used = strlen(list);
    snprintf(list + used, size - used, "%s%s", used == 0 ? "" : ", ", name);
}

#endif
