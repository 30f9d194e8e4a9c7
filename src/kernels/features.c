/* kernels/features.c - what each row of the table needs of the processor and the operating system. */
#include "kernels/rows.h"

#ifdef DSV4_X86
#include <cpuid.h>

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

/* Not every compiler's own test knows the name "avxvnni". Its registers are those of AVX2. */
static bool has_avx_vnni(void)
{
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax & 1u << 4) != 0;
}

static const char *missing_for_avx2vnni(void)
{
    return has_avx_vnni() ? missing_for_avx2() : "avxvnni";
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
    if (table == &uk_row_avx2vnni) {
        return missing_for_avx2vnni();
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
