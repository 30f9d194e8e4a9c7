/* cli/numerics.h - dsv4_numerics in words: on the command line and in the metadata of vector files. */
#ifndef CLI_NUMERICS_H
#define CLI_NUMERICS_H

#include "dsv4/config.h"

/* Words for numerics; NULL: not said. */
typedef struct numerics_words {
    const char *compat;    /* "reference", "correct" */
    const char *act_scale; /* "group", "row", "block" */
} numerics_words;

const char *numerics_compat_word(dsv4_compat compat);
const char *numerics_act_scale_word(dsv4_act_scale act_scale);

/* Sets in *out what words say, and leaves the rest as it is. DSV4_E_VALUE names the words that there are. */
DSV4_MUST_CHECK dsv4_status numerics_read(const numerics_words *words, dsv4_numerics *out, dsv4_error *err);

#endif
