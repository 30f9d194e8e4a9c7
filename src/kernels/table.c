/* kernels/table.c - which rows the build has, which the machine runs, and the choice of one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "kernels/rows.h"

static const uk_table *const rows[] = {
#ifdef DSV4_X86
    &uk_row_avx512bf16, &uk_row_avx512, &uk_row_avx2,
#endif
    &uk_row_scalar,     NULL,
};

const uk_table *const *uk_all(void)
{
    return rows;
}

#ifdef DSV4_X86
/* __builtin_cpu_supports takes a literal and includes the operating system's part (saved registers). */
#define RETURN_IF_MISSING(feature)        \
    if (!__builtin_cpu_supports(feature)) \
    return feature

static const char *missing_for_avx2(void)
{
    RETURN_IF_MISSING("avx2");
    RETURN_IF_MISSING("fma");
    return NULL;
}

static const char *missing_for_avx512(void)
{
    RETURN_IF_MISSING("avx512f");
    RETURN_IF_MISSING("avx512bw");
    RETURN_IF_MISSING("avx512dq");
    RETURN_IF_MISSING("avx512vl");
    RETURN_IF_MISSING("avx512vnni");
    return missing_for_avx2();
}

static const char *missing_for_avx512bf16(void)
{
    RETURN_IF_MISSING("avx512bf16");
    RETURN_IF_MISSING("avx512vbmi");
    return missing_for_avx512();
}
#endif

const char *uk_missing_feature(const uk_table *table)
{
#ifdef DSV4_X86
    if (table == &uk_row_avx512bf16) {
        return missing_for_avx512bf16();
    }
    if (table == &uk_row_avx512) {
        return missing_for_avx512();
    }
    if (table == &uk_row_avx2) {
        return missing_for_avx2();
    }
#endif
    (void)table;
    return NULL;
}

bool uk_is_supported(const uk_table *table)
{
    return !uk_missing_feature(table);
}

static dsv4_status fail_not_found(const char *source, const char *isa, dsv4_error *err)
{
    char names[128] = "";
    size_t length = 0;
    for (const uk_table *const *row = rows; *row && length < sizeof names; row++) {
        length += (size_t)snprintf(names + length, sizeof names - length, "%s%s", row == rows ? "" : ", ", (*row)->isa);
    }
    return dsv4_fail(err, DSV4_E_NOT_FOUND, "%s '%s': no such kernels; this build has %s", source, isa, names);
}

static dsv4_status find_named(const char *source, const char *isa, const uk_table **out, dsv4_error *err)
{
    for (const uk_table *const *row = rows; *row; row++) {
        if (strcmp((*row)->isa, isa) != 0) {
            continue;
        }
        const char *missing = uk_missing_feature(*row);
        if (missing) {
            return dsv4_fail(err, DSV4_E_UNSUPPORTED, "%s '%s': this machine lacks %s", source, isa, missing);
        }
        *out = *row;
        return DSV4_OK;
    }
    return fail_not_found(source, isa, err);
}

dsv4_status uk_find(const char *isa, const uk_table **out, dsv4_error *err)
{
    if (isa) {
        return find_named("isa", isa, out, err);
    }
    const char *chosen = getenv("DSV4_ISA");
    if (chosen && *chosen) {
        return find_named("DSV4_ISA", chosen, out, err);
    }
    const uk_table *const *row = rows;
    while (!uk_is_supported(*row)) {
        row++;
    }
    *out = *row;
    return DSV4_OK;
}
