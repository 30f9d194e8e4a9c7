#include "text/split.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <string.h>

/* A step budget of one match: more than backtracking over a whole text takes, less than exponential patterns want. */
enum { LEAST_STEPS = 10000000, STEPS_PER_BYTE = 16, MAX_HEAP_KIB = 256 << 10, JIT_STACK_BYTES = 1 << 20 };

typedef struct split_run {
    const splitter *s;
    pcre2_match_data *match;
    pcre2_match_context *limits;
    split_word_fn *word;
    void *context;
    dsv4_error *err;
} split_run;

/* PCRE2's \s also has U+180E. In or outside of a class, \p{wspace} stands where \s may. */
static size_t write_pattern(const char *pattern, char *out)
{
    size_t n = 0;
    for (const char *p = pattern; *p != '\0'; p++) {
        if (p[0] == '\\' && (p[1] == 's' || p[1] == 'S')) {
            const char *property = *++p == 's' ? "\\p{wspace}" : "\\P{wspace}";
            memcpy(out + n, property, strlen(property));
            n += strlen(property);
        } else {
            out[n++] = *p;
            if (p[0] == '\\' && p[1] != '\0') {
                out[n++] = *++p;
            }
        }
    }
    return n;
}

dsv4_status splitter_add(splitter *s, const char *source, const char *pattern, dsv4_error *err)
{
    if (s->n_patterns == SPLIT_MAX_PATTERNS || strlen(pattern) > SPLIT_MAX_PATTERN_BYTES) {
        return dsv4_fail(err, DSV4_E_UNSUPPORTED, "%.200s: more than %d patterns, or one of more than %d bytes", source,
                         SPLIT_MAX_PATTERNS, SPLIT_MAX_PATTERN_BYTES);
    }
    char text[5 * SPLIT_MAX_PATTERN_BYTES + 1]; /* two bytes become ten */
    size_t n = write_pattern(pattern, text), at = 0;
    int code = 0;
    pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)text, n, PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &code, &at, NULL);
    if (compiled == NULL) {
        char why[160] = "";
        pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof why);
        return dsv4_fail(err, DSV4_E_UNSUPPORTED, "%.200s: pattern %d, byte %zu: %s", source, s->n_patterns, at, why);
    }
    (void)pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE); /* where there is none, the interpreter matches */
    s->patterns[s->n_patterns++] = compiled;
    return DSV4_OK;
}

void splitter_deinit(splitter *s)
{
    for (int i = 0; i < s->n_patterns; i++) {
        pcre2_code_free(s->patterns[i]);
    }
    *s = (splitter){0};
}

/* The next match that is not empty at or behind `at`; false if there is none. */
static dsv4_status next_match(const split_run *r, int level, const char *text, size_t n, size_t at, size_t *begin, size_t *end)
{
    int found =
        pcre2_match(r->s->patterns[level], (PCRE2_SPTR)text, n, at, PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, r->match, r->limits);
    if (found == PCRE2_ERROR_NOMATCH) {
        *begin = *end = n;
        return DSV4_OK;
    }
    const PCRE2_SIZE *bounds = pcre2_get_ovector_pointer(r->match);
    if (found < 0 || bounds[0] < at || bounds[0] >= bounds[1]) { /* \K can move the begin */
        char why[160] = "bounds out of order";
        if (found < 0) {
            pcre2_get_error_message(found, (PCRE2_UCHAR *)why, sizeof why);
        }
        return dsv4_fail(r->err, found == PCRE2_ERROR_NOMEMORY ? DSV4_E_NO_MEMORY : DSV4_E_VALUE,
                         "tokenizer: pattern %d cannot split the text: %s", level, why);
    }
    *begin = bounds[0];
    *end = bounds[1];
    return DSV4_OK;
}

/* A piece goes through the patterns from `level` on. */
static dsv4_status split_piece(const split_run *r, int level, const char *text, size_t n)
{
    if (n == 0 || level == r->s->n_patterns) {
        return n == 0 ? DSV4_OK : r->word(r->context, text, n, r->err);
    }
    dsv4_status status = DSV4_OK;
    for (size_t at = 0, begin = 0, end = 0; at < n && status == DSV4_OK; at = end) {
        status = next_match(r, level, text, n, at, &begin, &end);
        status = status == DSV4_OK ? split_piece(r, level + 1, text + at, begin - at) : status;
        status = status == DSV4_OK ? split_piece(r, level + 1, text + begin, end - begin) : status;
    }
    return status;
}

dsv4_status splitter_run(const splitter *s, const char *text, size_t n, split_word_fn *word, void *context, dsv4_error *err)
{
    split_run r = {s, pcre2_match_data_create(1, NULL), pcre2_match_context_create(NULL), word, context, err};
    pcre2_jit_stack *stack = pcre2_jit_stack_create(JIT_STACK_BYTES / 32, JIT_STACK_BYTES, NULL);
    dsv4_status status = DSV4_OK;
    if (r.match == NULL || r.limits == NULL) {
        status = dsv4_fail(err, DSV4_E_NO_MEMORY, "tokenizer: no memory to split %zu bytes", n);
    } else {
        size_t steps = LEAST_STEPS / STEPS_PER_BYTE > n ? LEAST_STEPS : n * STEPS_PER_BYTE;
        pcre2_set_match_limit(r.limits, steps < UINT32_MAX ? (uint32_t)steps : UINT32_MAX);
        pcre2_set_heap_limit(r.limits, MAX_HEAP_KIB);
        if (stack != NULL) {
            pcre2_jit_stack_assign(r.limits, NULL, stack);
        }
        status = split_piece(&r, 0, text, n);
    }
    pcre2_jit_stack_free(stack);
    pcre2_match_context_free(r.limits);
    pcre2_match_data_free(r.match);
    return status;
}
