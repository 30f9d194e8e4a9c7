/* kernels/table.c - which rows the build has, and the choice of one. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/fastest.h"
#include "kernels/kernels.h"
#include "kernels/rows.h"

static const uk_table *const rows[] = {
#ifdef DSV4_X86
    &uk_row_avx512bf16, &uk_row_avx512, &uk_row_avx2vnni, &uk_row_avx2,
#endif
    &uk_row_scalar,     NULL,
};

const uk_table *const *uk_all(void)
{
    return rows;
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

/* The row for this machine. Products of BF16 take avx512bf16 half the instructions of avx512, but some processors execute them at
 * less than half the rate: these two are measured. Both compute the same bits. */
static const uk_table *choose(void)
{
    const uk_table *const *row = rows;
    while (!uk_is_supported(*row)) {
        row++;
    }
#ifdef DSV4_X86
    if (*row == &uk_row_avx512bf16) {
        return uk_faster(&uk_row_avx512bf16, &uk_row_avx512);
    }
#endif
    return *row;
}

/* Chosen at the first call. Of threads that come at once each may choose; the first to finish decides for the process. */
static const uk_table *chosen_row(void)
{
    static _Atomic(const uk_table *) chosen;
    const uk_table *row = atomic_load(&chosen);
    if (!row) {
        const uk_table *choice = choose();
        row = atomic_compare_exchange_strong(&chosen, &row, choice) ? choice : row;
    }
    return row;
}

dsv4_status uk_find(const char *isa, const uk_table **out, dsv4_error *err)
{
    if (isa) {
        return find_named("isa", isa, out, err);
    }
    const char *named = getenv("DSV4_ISA");
    if (named && *named) {
        return find_named("DSV4_ISA", named, out, err);
    }
    *out = chosen_row();
    return DSV4_OK;
}
