/* tensor/compare.h - when two tensors agree (SPEC 7).
 *
 * a = actual, e = expected, both widened to FP32, N elements, arithmetic in FP32 as the reference's comparators do it. RATIO and
 * RELDIFF fail if a holds a NaN or an infinity; an infinite or NaN e beside a finite a is not bad for them. ALLCLOSE follows
 * torch.isclose: equal infinities are close, an infinity and a number are not, a NaN is close to nothing. */
#ifndef TENSOR_COMPARE_H
#define TENSOR_COMPARE_H

#include "dsv4/tensor.h"

typedef enum cmp_kind {
    CMP_EXACT,    /* same dtype, same bits */
    CMP_ALLCLOSE, /* bad = count(not |a-e| <= atol + rtol*|e|); bad <= round-half-even(budget*N), SPEC 7: budget 0 */
    CMP_RATIO,    /* RA: bad = count(|a-e| > atol + rtol*|e|); bad <= round-half-even(budget*N) */
    CMP_RELDIFF,  /* RR: d = |a-e|, r = d < atol ? d : d / (max(|a|, |e|, 2^-14/atol) + 1e-9), bad = count(r > atol);
                     bad <= round-half-even(budget*N), and every bad r < hard */
    CMP_TOPK,     /* lists of chosen rows: cmp_topk_rows with atol and rtol; for cmp_tensors, which knows no scores, EXACT */
} cmp_kind;

typedef struct cmp_rule {
    cmp_kind kind;
    double atol, rtol;
    double budget; /* share of bad points allowed; EXACT and TOPK have none */
    double hard;   /* RELDIFF: largest allowed relative difference of a bad point; 0 = infinite */
} cmp_rule;

typedef struct cmp_result {
    bool pass;
    int64_t n, n_bad, n_allowed; /* RATIO and RELDIFF: n_bad includes the points of a that are not finite */
    int64_t n_not_finite;        /* NaN or infinite points of a */
    double worst;                /* largest |a-e|; infinite where a NaN or an infinity meets another value */
    int64_t worst_index;         /* row-major, the first such point; -1 when no point differs */
    double worst_actual, worst_expected;
} cmp_result;

/* Compares; shapes must be equal, and for EXACT dtypes too (else DSV4_E_SHAPE in err). A mismatch is no error: *out says so. */
DSV4_MUST_CHECK dsv4_status cmp_tensors(const char *name, const dsv4_tensor *actual, const dsv4_tensor *expected,
                                        const cmp_rule *rule, cmp_result *out, dsv4_error *err);

/* One line of text for a rule: "|a-e| <= 0.0001 + 0.0078125*|e|, up to 0.5 % bad". Cut to size; returns text. */
char *cmp_rule_text(const cmp_rule *rule, char *text, size_t size);

/* PAIR (SPEC 7 topk_pair_compare) and the stricter membership rule, over rows of k chosen indices:
 *   order       where actual and expected index differ at i, the actual scores must be non-increasing across (i-1, i) and (i, i+1);
 *   membership  (strict only) the multiset of the expected scores that the two index lists point at must be equal within
 *               atol + rtol*|e|, and actual names no score twice. So candidates of equal score may stand for each other.
 * An index i refers to score i - offset of its row; entries below offset (such as -1) are empty and count as -inf. An index
 * >= offset + n_scores makes the row fail. */
typedef struct cmp_topk {
    const int32_t *actual, *expected; /* [rows, k], rows row_stride elements apart */
    int64_t rows, k, row_stride;
    const float *actual_scores, *expected_scores; /* [rows, n_scores]; expected_scores is read when strict */
    int64_t n_scores;
    int32_t offset;
    double atol, rtol;
} cmp_topk;

/* out: n = rows * k, n_bad counts violations, none is allowed. worst_actual and worst_expected are the score at a position and the
 * neighbour's that breaks its order, or the actual and expected score of one rank (membership), or NaN and the index itself (out of
 * range, or named twice). worst_index is row * k + position or rank. Fails with DSV4_E_NO_MEMORY only. */
DSV4_MUST_CHECK dsv4_status cmp_topk_rows(const cmp_topk *t, bool strict, cmp_result *out, dsv4_error *err);

#endif
