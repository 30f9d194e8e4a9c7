#include "cli/numerics.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

static const char *const compats[] = {[DSV4_CORRECT] = "correct", [DSV4_REFERENCE] = "reference", NULL};
static const char *const act_scales[] = {
    [DSV4_SCALE_GROUP] = "group", [DSV4_SCALE_ROW] = "row", [DSV4_SCALE_BLOCK] = "block", NULL};

const char *numerics_compat_word(dsv4_compat compat)
{
    return compats[compat];
}

const char *numerics_act_scale_word(dsv4_act_scale act_scale)
{
    return act_scales[act_scale];
}

/* The place of word among words; expected is how they are told in a message. */
static dsv4_status find_word(const char *what, const char *word, const char *const *words, const char *expected, int *out,
                             dsv4_error *err)
{
    for (int i = 0; words[i] != NULL; i++) {
        if (strcmp(words[i], word) == 0) {
            *out = i;
            return DSV4_OK;
        }
    }
    return dsv4_fail(err, DSV4_E_VALUE, "%s: got \"%.64s\", expected %s", what, word, expected);
}

dsv4_status numerics_read(const numerics_words *words, dsv4_numerics *out, dsv4_error *err)
{
    int compat = (int)out->compat, act_scale = (int)out->act_scale;
    dsv4_status status = DSV4_OK;
    if (words->compat != NULL) {
        status = find_word("compat", words->compat, compats, "reference or correct", &compat, err);
    }
    if (status == DSV4_OK && words->act_scale != NULL) {
        status = find_word("act_scale", words->act_scale, act_scales, "group, row or block", &act_scale, err);
    }
    if (status == DSV4_OK) {
        *out = (dsv4_numerics){(dsv4_compat)compat, (dsv4_act_scale)act_scale};
    }
    return status;
}
