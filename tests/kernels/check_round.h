/* kernels/check_round.h - roundings and the Hadamard product of a row against those of the scalar one. */
#ifndef TESTS_KERNELS_CHECK_ROUND_H
#define TESTS_KERNELS_CHECK_ROUND_H

#include "kernels/row_case.h"

static inline void check_round_e4m3(const uk_table *row, test_case *t)
{
    static const int64_t blocks[] = {128, 64, 1, 13};
    while (next_case(t)) {
        int64_t block = blocks[t->step % 4];
        const float *x = input_f32(0, t->n, t);
        outputs y = place_outputs(t->n, sizeof(float), t);
        ref->round_e4m3(t->n, block, x, y.want);
        row->round_e4m3(t->n, block, x, y.got);
        expect_same_f32(y, t);

        outputs in_place = place_updated(t->n, t);
        ref->round_e4m3(t->n, block, in_place.want, in_place.want);
        row->round_e4m3(t->n, block, in_place.got, in_place.got);
        expect_same_f32(in_place, t);
    }
}

static inline void check_round_e2m1(const uk_table *row, test_case *t)
{
    while (next_case(t)) {
        const float *x = input_f32(0, t->n, t);
        outputs y = place_outputs(t->n, sizeof(float), t);
        ref->round_e2m1(t->n, x, y.want);
        row->round_e2m1(t->n, x, y.got);
        expect_same_f32(y, t);
    }
}

static inline void check_hadamard(const uk_table *row, test_case *t)
{
    for (int64_t n = 1; n <= 2048; n *= 2) {
        for (int f = 0; f < N_FLAVOURS; f++) {
            t->n = n;
            t->f = (flavour)f;
            t->gap = f % 2 ? 0 : 64;
            outputs x = place_updated(n, t);
            ref->hadamard(n, x.want);
            row->hadamard(n, x.got);
            expect_same_f32(x, t);
        }
    }
}

#endif
