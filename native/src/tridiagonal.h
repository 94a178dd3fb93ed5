/* Generalised least squares of a constant, for 64 pixels at once, where the covariance of the values
 * is tridiagonal: the differences of the groups of a ramp (Brandt 2024, PASP 136, 045004).
 *
 * Include after defining LM_REAL, the type of the arithmetic, and LM_COUNT, an integer
 * as wide. A value that is left out keeps its place
 * with mask and value zero, and so has no part in the solution (x = z = 0); chains that do not touch
 * are one chain with no covariance between.
 *
 * `width` is how many lanes are computed: a constant, LM_LANES or less, so that loops become vector
 * code. Rows are LM_LANES apart in any case. */
#ifndef LM_TRIDIAGONAL_H
#define LM_TRIDIAGONAL_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "lanes.h"

typedef LM_REAL lm_real;
typedef LM_COUNT lm_count;

/* A value whose residual has less than this part of its variance left is all there is. */
#define LM_NOT_ALONE (sizeof(lm_real) == 4 ? (lm_real)1e-5 : (lm_real)1e-12)

#define LM_ROW(array, k) ((array) + (k) * LM_LANES)

/* Covariance of a value with itself and with the next: Poisson part for a rate of one, read part for
 * a read variance of one. */
typedef struct {
    lm_real own_p, own_r, beside_p, beside_r;
} covariance;

typedef struct {
    size_t n;
    covariance *c;                             /* [n] */
    lm_real *y, *mask;                         /* [n][LM_LANES] */
    lm_real *inverse, *ratio;                  /* 1 / pivot, covariance with the next / pivot */
    lm_real *x, *z;                            /* C^-1 1 and C^-1 y */
    lm_real ones[LM_LANES], data[LM_LANES];    /* 1' C^-1 1 and 1' C^-1 y */
} chain;

static const lm_real lm_zeros[LM_LANES];

/* One step of the factorisation: inverse = 1 / pivot, ratio = covariance with the next / pivot;
 * `beside` holds the covariance with the row before, and then with the next. */
LM_INLINE void step_forward(int width, covariance c, const lm_real *restrict poisson, const lm_real *restrict read,
                            const lm_real *restrict mask, const lm_real *restrict next_mask,
                            const lm_real *restrict y, const lm_real *restrict before_ratio,
                            const lm_real *restrict before_x, const lm_real *restrict before_z,
                            lm_real *restrict beside, lm_real *restrict inverse,
                            lm_real *restrict ratio, lm_real *restrict x, lm_real *restrict z)
{
    for (int l = 0; l < width; l++) {
        lm_real pivot = c.own_p * poisson[l] + c.own_r * read[l] - before_ratio[l] * beside[l];
        x[l] = mask[l] - before_ratio[l] * before_x[l];
        z[l] = y[l] - before_ratio[l] * before_z[l];
        beside[l] = (c.beside_p * poisson[l] + c.beside_r * read[l]) * mask[l] * next_mask[l];
        inverse[l] = 1 / pivot;
        ratio[l] = beside[l] * inverse[l];
    }
}

LM_INLINE void step_back(int width, const lm_real *restrict inverse, const lm_real *restrict ratio,
                         const lm_real *restrict next_x, const lm_real *restrict next_z,
                         lm_real *restrict x, lm_real *restrict z, lm_real *restrict ones,
                         lm_real *restrict data)
{
    for (int l = 0; l < width; l++) {
        x[l] = x[l] * inverse[l] - ratio[l] * next_x[l];
        z[l] = z[l] * inverse[l] - ratio[l] * next_z[l];
        ones[l] += x[l];
        data[l] += z[l];
    }
}

/* Factorise the covariance C and solve C x = 1, C z = y, over the values in use. */
LM_INLINE void lm_solve(chain *h, int width, const lm_real *poisson, const lm_real *read)
{
    size_t n = h->n;
    lm_real beside[LM_LANES] = {0};
    for (size_t k = 0; k < n; k++)
        step_forward(width, h->c[k], poisson, read, LM_ROW(h->mask, k),
                     k + 1 < n ? LM_ROW(h->mask, k + 1) : lm_zeros, LM_ROW(h->y, k),
                     k ? LM_ROW(h->ratio, k - 1) : lm_zeros, k ? LM_ROW(h->x, k - 1) : lm_zeros,
                     k ? LM_ROW(h->z, k - 1) : lm_zeros, beside, LM_ROW(h->inverse, k),
                     LM_ROW(h->ratio, k), LM_ROW(h->x, k), LM_ROW(h->z, k));
    memset(h->ones, 0, sizeof h->ones);
    memset(h->data, 0, sizeof h->data);
    for (size_t k = n; k-- > 0;)
        step_back(width, LM_ROW(h->inverse, k), LM_ROW(h->ratio, k),
                  k + 1 < n ? LM_ROW(h->x, k + 1) : lm_zeros,
                  k + 1 < n ? LM_ROW(h->z, k + 1) : lm_zeros, LM_ROW(h->x, k), LM_ROW(h->z, k),
                  h->ones, h->data);
}

#define LM_NO_LIMIT ((lm_real)1e30)

/* chi^2 drops by weight^2 / variance when difference k has a value of its own: own = W_kk of the
 * inverse covariance W, variance = W_kk - x_k^2 / 1'W1, weight = z_k - slope x_k. */
typedef struct {
    lm_real own[LM_LANES], variance[LM_LANES], weight[LM_LANES];
} lane_residual;

typedef struct {
    lm_real slope[LM_LANES], per_ones[LM_LANES], limit[LM_LANES];
    lane_residual residuals[2]; /* of differences k and k + 1: see lm_now, lm_next */
    lm_real excess[LM_LANES], worst[LM_LANES], pair[LM_LANES];
} lane_search;

LM_INLINE lane_residual *lm_now(lane_search *s, size_t k)
{
    return &s->residuals[k & 1];
}

LM_INLINE const lane_residual *lm_next(const lane_search *s, size_t k)
{
    return &s->residuals[~k & 1];
}

/* Start a search: `limit` is the drop of chi^2 that makes a value wrong, LM_NO_LIMIT for none. */
LM_INLINE void lm_begin_search(const chain *h, int width, const lm_real *restrict limit, lane_search *restrict s)
{
    for (int l = 0; l < width; l++) {
        lm_real per_ones = 1 / h->ones[l];
        per_ones = limit[l] < LM_NO_LIMIT ? per_ones : 0;
        s->per_ones[l] = per_ones;
        s->slope[l] = h->data[l] * per_ones;
        s->limit[l] = limit[l];
        s->worst[l] = -1;
        s->excess[l] = s->pair[l] = 0;
        for (int side = 0; side < 2; side++)
            s->residuals[side].own[l] = s->residuals[side].variance[l] = s->residuals[side].weight[l] = 0;
    }
}

/* Look at difference k, after k + 1; returns whether some lane has a drop of chi^2 above its limit. */
LM_INLINE int look_at_one(int width, size_t k, const chain *h, lane_search *restrict s)
{
    const lm_real *restrict inverse = LM_ROW(h->inverse, k), *restrict ratio = LM_ROW(h->ratio, k);
    const lm_real *restrict x = LM_ROW(h->x, k), *restrict z = LM_ROW(h->z, k);
    const lane_residual *restrict next = lm_next(s, k);
    lane_residual *restrict now = lm_now(s, k);
    lm_count found = 0;
    for (int l = 0; l < width; l++) {
        lm_real own = inverse[l] + ratio[l] * ratio[l] * next->own[l];
        lm_real variance = own - x[l] * x[l] * s->per_ones[l];
        lm_real weight = z[l] - s->slope[l] * x[l];
        now->own[l] = own;
        now->variance[l] = variance;
        now->weight[l] = weight;
        found |= weight * weight > s->limit[l] * variance;
    }
    return found != 0;
}

LM_INLINE void keep_worst_one(int width, size_t k, lane_search *restrict s)
{
    const lane_residual *restrict now = lm_now(s, k);
    const lm_real number = (lm_real)k;
    for (int l = 0; l < width; l++) {
        lm_real drop = now->weight[l] * now->weight[l] / now->variance[l] - s->limit[l];
        int is_worse = now->variance[l] > LM_NOT_ALONE * now->own[l] &&
                       now->weight[l] * now->weight[l] > s->limit[l] * now->variance[l] &&
                       s->limit[l] < LM_NO_LIMIT && drop > s->excess[l];
        s->excess[l] = is_worse ? drop : s->excess[l];
        s->worst[l] = is_worse ? number : s->worst[l];
        s->pair[l] = is_worse ? 0 : s->pair[l];
    }
}

#endif
