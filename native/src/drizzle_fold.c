#include "lightmill/drizzle.h"

#include <float.h>

#include "clones.h"
#include "lanes.h"

/* Sums of neighbouring elements, quantity by quantity. */
typedef struct {
    float weight[LM_LANES], values[LM_LANES], sigma[LM_DRIZZLE_COMPONENTS][LM_LANES], share[LM_LANES];
} block;

/* Read n elements and clear them; the lanes after them weigh nothing. Nonzero if any weighs something. */
LM_INLINE int take(float *restrict sums, size_t depth, size_t n_components, size_t n, block *restrict b)
{
    float heaviest = 0;
    for (size_t l = 0; l < n; l++) {
        b->weight[l] = sums[l * depth];
        b->values[l] = sums[l * depth + 1];
        heaviest = heaviest > b->weight[l] ? heaviest : b->weight[l];
        for (size_t k = 0; k < n_components; k++)
            b->sigma[k][l] = sums[l * depth + 2 + k];
    }
    if (!(heaviest > 0))
        return 0;
    memset(sums, 0, n * depth * sizeof *sums);
    return 1;
}

LM_INLINE void add_row(float *restrict plane, const float *restrict row, size_t n)
{
    for (size_t l = 0; l < n; l++)
        plane[l] += row[l];
}

LM_INLINE void fold_context(const block *b, int32_t bit, size_t n, int32_t *restrict context)
{
    for (size_t l = 0; l < n; l++)
        context[l] |= b->weight[l] > 0 ? bit : 0;
}

LM_INLINE void fold_exptime(const block *b, float exptime, size_t n, float *restrict plane)
{
    for (size_t l = 0; l < n; l++)
        plane[l] += b->weight[l] > 0 ? exptime : 0;
}

LM_INLINE void find_share(block *restrict b, float share, size_t n)
{
    for (size_t l = 0; l < n; l++) {
        const float inverse = 1 / (b->sigma[0][l] * b->sigma[0][l]);
        const float own = inverse <= FLT_MAX ? inverse : 0; /* also for NaN */
        b->share[l] = share > 0 ? share : own;
    }
}

LM_INLINE void fold_component(const block *b, const float *restrict sigma, size_t n, float *restrict squares,
                              float *restrict shares)
{
    for (size_t l = 0; l < n; l++) {
        const float term = sigma[l] * b->share[l], square = term * term;
        const int known = (square <= FLT_MAX) & (b->share[l] > 0) & (b->weight[l] > 0);
        squares[l] += known ? square : 0;
        shares[l] += known ? b->share[l] : 0;
    }
}

LM_INLINE void fold_row(float *restrict sums, size_t depth, size_t n_components, size_t n_cols,
                        const lm_drizzle_mosaic *m, size_t at, float exptime, int32_t bit, float share)
{
    block b;
    for (size_t x = 0; x < n_cols; x += LM_LANES) {
        const size_t n = n_cols - x < LM_LANES ? n_cols - x : LM_LANES;
        if (!take(sums + x * depth, depth, n_components, n, &b))
            continue;
        if (m->values)
            add_row(m->values + at + x, b.values, n);
        if (m->weight)
            add_row(m->weight + at + x, b.weight, n);
        if (m->exptime)
            fold_exptime(&b, exptime, n, m->exptime + at + x);
        if (m->context)
            fold_context(&b, bit, n, m->context + at + x);
        for (size_t k = 0; k < n_components; k++)
            for (size_t l = 0; l < n; l++)
                b.sigma[k][l] /= b.weight[l]; /* 0 / 0 is not known, below */
        if (n_components)
            find_share(&b, share, n);
        for (size_t k = 0; k < n_components; k++)
            if (m->squares[k])
                fold_component(&b, b.sigma[k], n, m->squares[k] + at + x, m->shares[k] + at + x);
    }
}

LM_CLONES static void fold_rows(float *sums, size_t n_components, size_t n_rows, size_t n_cols,
                                const lm_drizzle_mosaic *m, float exptime, int32_t bit, float share)
{
    for (size_t y = 0; y < n_rows; y++) {
        const size_t at = y * m->stride;
        if (n_components == 0)
            fold_row(sums + y * n_cols * 2, 2, 0, n_cols, m, at, exptime, bit, share);
        else if (n_components == 1)
            fold_row(sums + y * n_cols * 4, 4, 1, n_cols, m, at, exptime, bit, share);
        else if (n_components == 2)
            fold_row(sums + y * n_cols * 4, 4, 2, n_cols, m, at, exptime, bit, share);
        else
            fold_row(sums + y * n_cols * 8, 8, 3, n_cols, m, at, exptime, bit, share);
    }
}

lm_status lm_drizzle_fold(float *sums, size_t n_components, size_t n_rows, size_t n_cols,
                          const lm_drizzle_mosaic *mosaic, float exptime, int32_t bit, float share)
{
    if (n_components > LM_DRIZZLE_COMPONENTS || mosaic->stride < n_cols)
        return LM_BAD_SHAPE;
    for (size_t k = 0; k < n_components; k++)
        if (!mosaic->squares[k] != !mosaic->shares[k])
            return LM_BAD_ARGUMENT;
    if (!(share >= 0 && share <= FLT_MAX))
        return LM_BAD_ARGUMENT;
    fold_rows(sums, n_components, n_rows, n_cols, mosaic, exptime, bit, share);
    return LM_OK;
}
