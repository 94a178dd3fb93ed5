/* Likelihood ramp fit; see lightmill/ramp_fit.h.
 *
 * A block of 64 pixels walks through the recursions together. A difference that is left out keeps its
 * place with weight zero and no covariance, so lanes with flags need no path of their own, and
 * a lane whose search has ended computes the same numbers again while its neighbours go on. */
#include "lightmill/ramp_fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "clones.h"
#include "lanes.h"

#define ROW(array, k) ((array) + (k) * LM_LANES)

enum { UNUSABLE = LM_DO_NOT_USE | LM_SATURATED };

static const double least_read_variance = 1e-12; /* DN^2: a pixel without noise still has a rate */

/* One integration of a block. */
typedef struct {
    double slope[LM_LANES], chisq[LM_LANES];
    double poisson[LM_LANES]; /* Poisson variance of the slope for a rate of 1 DN/s */
    double expected[LM_LANES]; /* the rate it was weighted for, dark included, DN/s */
    double read[LM_LANES];    /* read-noise variance of the slope */
    int32_t used[LM_LANES];   /* differences */
    uint32_t flags[LM_LANES];
} lane_result;

typedef struct {
    const float *data, *gain, *readnoise, *dark;
    uint8_t *groupdq;
    const uint32_t *pixeldq;
    const lm_shape *shape, *dq_shape;
    const lm_likelihood_parameters *p;
    const lm_rate_planes *exposure, *integrations;
    float *chisq, *int_chisq;
    size_t int_chisq_stride;
    size_t n; /* differences */
    /* covariance of the differences: Poisson part for 1 DN/s at gain 1, read part for 1 DN */
    double *step, *diagonal_p, *diagonal_r, *beside_p, *beside_r;
    int *two_reads; /* group between differences k and k + 1 has several reads */
    /* [n][LM_LANES] */
    double *y, *mask, *inverse, *ratio, *x, *z;
    float *sorted;
    lane_result *results; /* [n_ints] */
} fit;

/* ---- reading a block ------------------------------------------------------------------------ */

/* Differences, their masks, and the flags of the groups. */
LM_INLINE void load_differences(fit *f, size_t i, size_t pixel, size_t n_lanes, lane_result *r)
{
    size_t stride = f->shape->group_stride, dq_stride = f->dq_shape->group_stride;
    const float *data = f->data + i * f->shape->int_stride + f->p->first_group * stride + pixel;
    const uint8_t *dq =
        f->groupdq + i * f->dq_shape->int_stride + f->p->first_group * dq_stride + pixel;
    float values[2][LM_LANES];
    uint8_t flags[2][LM_LANES], any[LM_LANES], others = (uint8_t)~LM_PERSISTENCE;
    lm_load_floats(data, n_lanes, values[0]);
    lm_load_bytes(dq, n_lanes, flags[0]);
    if (f->p->first_group > 0)
        for (int l = 0; l < LM_LANES; l++)
            flags[0][l] &= (uint8_t)~LM_JUMP_DET; /* what it jumped from was cut off */
    memcpy(any, flags[0], sizeof any);
    for (size_t k = 0; k < f->n; k++) {
        float *before = values[k & 1], *now = values[!(k & 1)];
        uint8_t *dq_before = flags[k & 1], *dq_now = flags[!(k & 1)];
        lm_load_floats(data + (k + 1) * stride, n_lanes, now);
        lm_load_bytes(dq + (k + 1) * dq_stride, n_lanes, dq_now);
        /* a jump lies before the mean time of its group, but within the group's reads if it has several */
        int spoils_next = f->p->jump_masks_both || f->p->n_reads[f->p->first_group + k] > 1;
        uint8_t forgiven = spoils_next ? others : (uint8_t)(others & ~LM_JUMP_DET);
        double per_step = 1 / f->step[k], *y = ROW(f->y, k), *mask = ROW(f->mask, k);
        for (int l = 0; l < LM_LANES; l++) {
            double d = ((double)now[l] - (double)before[l]) * per_step;
            int good = ((dq_now[l] & others) | (dq_before[l] & forgiven)) == 0 && fabs(d) <= 1e300;
            mask[l] = good ? 1 : 0;
            y[l] = good ? d : 0;
        }
        for (int l = 0; l < LM_LANES; l++)
            any[l] |= dq_now[l];
    }
    for (int l = 0; l < LM_LANES; l++)
        r->flags[l] = any[l] & (LM_SATURATED | LM_JUMP_DET | LM_PERSISTENCE);
}

/* Median of the differences in use, 0 where it is negative or there is none. */
LM_INLINE void first_guess(fit *f, double *restrict rate, int32_t *restrict used)
{
    for (int l = 0; l < LM_LANES; l++)
        used[l] = 0;
    for (size_t k = 0; k < f->n; k++)
        for (int l = 0; l < LM_LANES; l++) {
            ROW(f->sorted, k)[l] = ROW(f->mask, k)[l] > 0 ? (float)ROW(f->y, k)[l] : HUGE_VALF;
            used[l] += ROW(f->mask, k)[l] > 0;
        }
    lm_sort_lanes(f->sorted, f->n);
    for (size_t l = 0; l < LM_LANES; l++) {
        size_t n = (size_t)used[l];
        float median = n ? (f->sorted[n / 2 * LM_LANES + l] + f->sorted[(n - 1) / 2 * LM_LANES + l]) * 0.5f : 0;
        rate[l] = median > 0 ? (double)median : 0;
    }
}

/* ---- linear algebra ------------------------------------------------------------------------- */

typedef struct {
    double ones[LM_LANES], data[LM_LANES]; /* 1' C^-1 1 and 1' C^-1 y */
} lane_sums;

/* Factorise the covariance and solve C x = 1, C z = y, over the differences in use:
 * inverse[k] = 1 / pivot, ratio[k] = covariance with the next / pivot. */
LM_INLINE void solve(fit *f, const double *restrict poisson, const double *restrict read,
                     lane_sums *restrict sums)
{
    size_t n = f->n;
    double beside[LM_LANES] = {0}; /* covariance of the difference before with this one */
    for (size_t k = 0; k < n; k++) {
        double *inverse = ROW(f->inverse, k), *ratio = ROW(f->ratio, k);
        double *x = ROW(f->x, k), *z = ROW(f->z, k);
        const double *mask = ROW(f->mask, k), *y = ROW(f->y, k);
        double a_p = f->diagonal_p[k], a_r = f->diagonal_r[k];
        double b_p = f->beside_p[k], b_r = f->beside_r[k];
        const double *next_mask = k + 1 < n ? mask + LM_LANES : mask;
        const double *before_ratio = k ? ratio - LM_LANES : ratio;
        const double *before_x = k ? x - LM_LANES : x, *before_z = k ? z - LM_LANES : z;
        if (k == 0) /* nothing before: make 0 * these harmless */
            for (int l = 0; l < LM_LANES; l++)
                ratio[l] = x[l] = z[l] = 0;
        for (int l = 0; l < LM_LANES; l++) {
            double pivot = a_p * poisson[l] + a_r * read[l] - before_ratio[l] * beside[l];
            x[l] = mask[l] - before_ratio[l] * before_x[l];
            z[l] = y[l] - before_ratio[l] * before_z[l];
            beside[l] = (b_p * poisson[l] + b_r * read[l]) * mask[l] * next_mask[l];
            inverse[l] = 1 / pivot;
            ratio[l] = beside[l] * inverse[l];
        }
    }
    for (int l = 0; l < LM_LANES; l++)
        sums->ones[l] = sums->data[l] = 0;
    for (size_t k = n; k-- > 0;) {
        const double *inverse = ROW(f->inverse, k), *ratio = ROW(f->ratio, k), *mask = ROW(f->mask, k);
        double *x = ROW(f->x, k), *z = ROW(f->z, k);
        const double *next_x = k + 1 < n ? x + LM_LANES : x, *next_z = k + 1 < n ? z + LM_LANES : z;
        double coupled = k + 1 < n ? 1 : 0;
        for (int l = 0; l < LM_LANES; l++) {
            x[l] = x[l] * inverse[l] - coupled * (ratio[l] * next_x[l]);
            z[l] = z[l] * inverse[l] - coupled * (ratio[l] * next_z[l]);
            sums->ones[l] += mask[l] * x[l];
            sums->data[l] += mask[l] * z[l];
        }
    }
}

/* ---- jumps ---------------------------------------------------------------------------------- */

/* How much chi^2 drops when difference k has a value of its own: weight^2 / variance, with weight =
 * z_k - slope x_k and variance = W_kk - x_k^2 / C, W the inverse covariance. Here for two
 * differences, whose variances have a covariance. */
LM_INLINE double drop_of_two(double weight, double next_weight, double variance, double next_variance,
                             double covariance)
{
    double determinant = variance * next_variance - covariance * covariance;
    double sum = weight * weight * next_variance - 2 * weight * next_weight * covariance +
                 next_weight * next_weight * variance;
    return determinant > 1e-12 * variance * next_variance ? sum / determinant : 0;
}

/* Leave out the worst difference, or pair, of every lane that has one beyond the limits; returns
 * whether any lane had. Found groups are marked in `jumps` [n][LM_LANES] when it is given. */
LM_INLINE int leave_out_worst(fit *f, const lane_sums *sums, int32_t *restrict used,
                              uint32_t *restrict flags, uint8_t *jumps)
{
    size_t n = f->n;
    double excess[LM_LANES] = {0}, slope[LM_LANES], per_ones[LM_LANES];
    int32_t worst[LM_LANES], pair[LM_LANES] = {0};
    double own[LM_LANES], next_own[LM_LANES]; /* diagonal of the inverse covariance */
    double variance[LM_LANES], next_variance[LM_LANES], weight[LM_LANES], next_weight[LM_LANES];
    double one = f->p->one_omit, two = f->p->two_omit;
    int32_t any = 0;
    for (int l = 0; l < LM_LANES; l++) {
        worst[l] = -1;
        per_ones[l] = used[l] >= 3 ? 1 / sums->ones[l] : 0;
        slope[l] = sums->data[l] * per_ones[l];
        next_own[l] = next_variance[l] = next_weight[l] = 0;
    }
    for (size_t k = n; k-- > 0;) {
        const double *inverse = ROW(f->inverse, k), *ratio = ROW(f->ratio, k), *mask = ROW(f->mask, k);
        const double *x = ROW(f->x, k), *z = ROW(f->z, k);
        int32_t found = 0;
        for (int l = 0; l < LM_LANES; l++) {
            own[l] = inverse[l] + ratio[l] * ratio[l] * next_own[l];
            variance[l] = own[l] - x[l] * x[l] * per_ones[l];
            weight[l] = (z[l] - slope[l] * x[l]) * mask[l];
            found |= (used[l] >= 3) & (weight[l] * weight[l] > one * variance[l]);
        }
        if (found)
            for (int l = 0; l < LM_LANES; l++) {
                double drop = used[l] >= 3 && mask[l] > 0 && variance[l] > 1e-12 * own[l]
                                  ? weight[l] * weight[l] / variance[l] - one
                                  : 0;
                if (drop > excess[l]) {
                    excess[l] = drop;
                    worst[l] = (int32_t)k;
                    pair[l] = 0;
                    any = 1;
                }
            }
        if (k + 1 < n && f->two_reads[k]) {
            const double *next_x = x + LM_LANES, *next_mask = mask + LM_LANES;
            for (int l = 0; l < LM_LANES; l++) {
                double covariance = -ratio[l] * next_own[l] - x[l] * next_x[l] * per_ones[l];
                double drop = drop_of_two(weight[l], next_weight[l], variance[l], next_variance[l], covariance) - two;
                if (drop > excess[l] && used[l] >= 3 && mask[l] > 0 && next_mask[l] > 0) {
                    excess[l] = drop;
                    worst[l] = (int32_t)k;
                    pair[l] = 1;
                    any = 1;
                }
            }
        }
        memcpy(next_own, own, sizeof own);
        memcpy(next_variance, variance, sizeof variance);
        memcpy(next_weight, weight, sizeof weight);
    }
    if (!any)
        return 0;
    for (size_t l = 0; l < LM_LANES; l++)
        for (int32_t side = 0; worst[l] >= 0 && side <= pair[l]; side++) {
            size_t at = (size_t)(worst[l] + side) * LM_LANES + l;
            f->mask[at] = f->y[at] = 0;
            used[l]--;
            flags[l] |= LM_JUMP_DET;
            if (side == 0 && jumps)
                jumps[at] = 1;
        }
    return 1;
}

/* ---- one integration of a block ------------------------------------------------------------- */

LM_INLINE void summarise(fit *f, const lane_sums *sums, const double *restrict expected,
                         const double *restrict gain, const double *restrict read, lane_result *r)
{
    double poisson[LM_LANES] = {0}, noise[LM_LANES] = {0}, chisq[LM_LANES] = {0};
    double slope[LM_LANES];
    size_t n = f->n;
    for (int l = 0; l < LM_LANES; l++)
        slope[l] = sums->data[l] / sums->ones[l];
    for (size_t k = 0; k < n; k++) {
        const double *x = ROW(f->x, k), *z = ROW(f->z, k), *y = ROW(f->y, k), *mask = ROW(f->mask, k);
        const double *next_x = k + 1 < n ? x + LM_LANES : x;
        const double *next_mask = k + 1 < n ? mask + LM_LANES : mask;
        for (int l = 0; l < LM_LANES; l++) {
            double square = x[l] * x[l] * mask[l];
            double product = 2 * x[l] * next_x[l] * mask[l] * next_mask[l];
            poisson[l] += f->diagonal_p[k] * square + f->beside_p[k] * product;
            noise[l] += f->diagonal_r[k] * square + f->beside_r[k] * product;
            chisq[l] += mask[l] * (y[l] - slope[l]) * (z[l] - slope[l] * x[l]);
        }
    }
    for (int l = 0; l < LM_LANES; l++) {
        double norm = 1 / (sums->ones[l] * sums->ones[l]);
        r->slope[l] = slope[l];
        r->chisq[l] = chisq[l];
        r->expected[l] = expected[l];
        r->poisson[l] = poisson[l] * norm / gain[l];
        r->read[l] = noise[l] * norm * read[l];
    }
}

LM_INLINE void fit_integration(fit *f, size_t i, size_t pixel, size_t n_lanes,
                               const double *restrict gain, const double *restrict read,
                               const double *restrict dark, lane_result *r, uint8_t *jumps)
{
    double rate[LM_LANES], poisson[LM_LANES];
    lane_sums sums;
    load_differences(f, i, pixel, n_lanes, r);
    first_guess(f, rate, r->used);
    for (int l = 0; l < LM_LANES; l++)
        poisson[l] = rate[l] / gain[l];
    do
        solve(f, poisson, read, &sums);
    while (f->p->one_omit > 0 && leave_out_worst(f, &sums, r->used, r->flags, jumps));
    for (int l = 0; l < LM_LANES; l++) {
        double slope = sums.data[l] / sums.ones[l];
        rate[l] = (slope > 0 ? slope : 0) + dark[l];
        poisson[l] = rate[l] / gain[l];
    }
    solve(f, poisson, read, &sums);
    summarise(f, &sums, rate, gain, read, r);
}

/* ---- results -------------------------------------------------------------------------------- */

/* Combine the integrations, each weighted for the rate they have in common: a bright integration must
 * not weigh less because its own noise made it bright. */
LM_INLINE void combine(fit *f, const double *restrict dark, lane_result *total)
{
    size_t n_ints = f->shape->n_ints;
    double rate[LM_LANES] = {0}, n[LM_LANES] = {0};
    for (int l = 0; l < LM_LANES; l++) {
        total->chisq[l] = 0;
        total->used[l] = 0;
        total->flags[l] = 0;
    }
    for (size_t i = 0; i < n_ints; i++) {
        const lane_result *r = f->results + i;
        for (int l = 0; l < LM_LANES; l++) {
            int ok = r->used[l] > 0;
            rate[l] += ok ? r->slope[l] : 0;
            n[l] += ok ? 1 : 0;
            total->chisq[l] += ok ? r->chisq[l] : 0;
            total->used[l] += r->used[l];
            total->flags[l] |= r->flags[l];
        }
    }
    for (int l = 0; l < LM_LANES; l++)
        rate[l] /= n[l] > 0 ? n[l] : 1;
    for (int round = 0; round < 2; round++) {
        double weights[LM_LANES] = {0}, sum[LM_LANES] = {0}, poisson[LM_LANES] = {0}, read[LM_LANES] = {0};
        for (size_t i = 0; i < n_ints; i++) {
            const lane_result *r = f->results + i;
            for (int l = 0; l < LM_LANES; l++) {
                double own = r->poisson[l] * ((rate[l] > 0 ? rate[l] : 0) + dark[l]);
                double w = r->used[l] > 0 ? 1 / (own + r->read[l]) : 0;
                weights[l] += w;
                sum[l] += r->used[l] > 0 ? w * r->slope[l] : 0;
                poisson[l] += r->used[l] > 0 ? w * w * r->poisson[l] : 0;
                read[l] += r->used[l] > 0 ? w * w * r->read[l] : 0;
            }
        }
        for (int l = 0; l < LM_LANES; l++) {
            total->expected[l] = (rate[l] > 0 ? rate[l] : 0) + dark[l];
            rate[l] = total->slope[l] = sum[l] / weights[l];
            total->poisson[l] = poisson[l] / (weights[l] * weights[l]);
            total->read[l] = read[l] / (weights[l] * weights[l]);
        }
    }
}

static void write_lanes(const lm_rate_planes *out, size_t at, float *chisq, const uint32_t *pixeldq,
                        size_t n_lanes, const lane_result *r)
{
    for (size_t l = 0; l < n_lanes; l++) {
        int ok = !(pixeldq[l] & LM_DO_NOT_USE) && r->used[l] > 0;
        float var_poisson = ok ? (float)(r->poisson[l] * r->expected[l]) : 0;
        float var_rnoise = ok ? (float)r->read[l] : 0;
        out->slope[at + l] = ok ? (float)r->slope[l] : NAN;
        out->var_poisson[at + l] = var_poisson;
        out->var_rnoise[at + l] = var_rnoise;
        out->err[at + l] = sqrtf(var_poisson + var_rnoise);
        out->dq[at + l] = pixeldq[l] | r->flags[l] | (ok ? 0u : (uint32_t)LM_DO_NOT_USE);
        if (chisq)
            chisq[l] = ok ? (float)r->chisq[l] : NAN;
    }
}

static void flag_found(fit *f, size_t i, size_t pixel, size_t n_lanes, const uint8_t *jumps)
{
    for (size_t k = 0; k < f->n; k++) {
        size_t group = f->p->first_group + k + 1;
        uint8_t *dq = f->groupdq + i * f->dq_shape->int_stride + group * f->dq_shape->group_stride + pixel;
        for (size_t l = 0; l < n_lanes; l++)
            if (jumps[k * LM_LANES + l])
                dq[l] |= LM_JUMP_DET;
    }
}

LM_CLONES
static void fit_block(fit *f, size_t pixel, size_t n_lanes, uint8_t *jumps)
{
    float gains[LM_LANES], noises[LM_LANES], darks[LM_LANES] = {0};
    double gain[LM_LANES], read[LM_LANES], dark[LM_LANES];
    uint32_t pixeldq[LM_LANES] = {0};
    lane_result total;
    lm_load_floats(f->gain + pixel, n_lanes, gains);
    lm_load_floats(f->readnoise + pixel, n_lanes, noises);
    if (f->dark)
        lm_load_floats(f->dark + pixel, n_lanes, darks);
    memcpy(pixeldq, f->pixeldq + pixel, n_lanes * sizeof *pixeldq);
    for (int l = 0; l < LM_LANES; l++) {
        int good = gains[l] > 0;
        pixeldq[l] |= good ? 0u : (uint32_t)LM_NO_GAIN_VALUE | LM_DO_NOT_USE;
        gain[l] = good ? (double)gains[l] : 1;
        read[l] = 0.5 * (double)noises[l] * (double)noises[l];
        read[l] = read[l] > least_read_variance ? read[l] : least_read_variance;
        dark[l] = f->p->dark_in_electrons ? (double)darks[l] / gain[l] : (double)darks[l];
    }
    for (size_t i = 0; i < f->shape->n_ints; i++) {
        lane_result *r = f->results + i;
        if (jumps)
            memset(jumps, 0, f->n * LM_LANES);
        fit_integration(f, i, pixel, n_lanes, gain, read, dark, r, jumps);
        if (jumps)
            flag_found(f, i, pixel, n_lanes, jumps);
        if (f->integrations)
            write_lanes(f->integrations, i * f->integrations->int_stride + pixel,
                        f->int_chisq ? f->int_chisq + i * f->int_chisq_stride + pixel : NULL,
                        pixeldq, n_lanes, r);
    }
    if (f->shape->n_ints > 1)
        combine(f, dark, &total);
    write_lanes(f->exposure, pixel, f->chisq ? f->chisq + pixel : NULL, pixeldq, n_lanes,
                f->shape->n_ints > 1 ? &total : f->results);
}

/* ---- entry ---------------------------------------------------------------------------------- */

static void fill_covariance(fit *f)
{
    const double *t = f->p->mean_times + f->p->first_group, *tau = f->p->taus + f->p->first_group;
    const double *reads = f->p->n_reads + f->p->first_group;
    for (size_t k = 0; k < f->n; k++) {
        double step = f->step[k] = t[k + 1] - t[k];
        f->diagonal_p[k] = (tau[k] + tau[k + 1] - 2 * t[k]) / (step * step);
        f->diagonal_r[k] = (1 / reads[k] + 1 / reads[k + 1]) / (step * step);
        f->beside_p[k] = f->beside_r[k] = 0;
        f->two_reads[k] = reads[k + 1] > 1;
        if (k + 1 < f->n) {
            double next = t[k + 2] - t[k + 1];
            f->beside_p[k] = (t[k + 1] - tau[k + 1]) / (step * next);
            f->beside_r[k] = -1 / (reads[k + 1] * step * next);
        }
    }
}

static lm_status check(const lm_shape *a, const lm_shape *b, const lm_likelihood_parameters *p)
{
    if (!a->n_ints || a->n_groups < 2 || !a->n_rows || !a->n_cols || a->n_ints != b->n_ints ||
        a->n_groups != b->n_groups || a->n_rows != b->n_rows || a->n_cols != b->n_cols)
        return LM_BAD_SHAPE;
    if (p->first_group >= p->last_group || p->last_group >= a->n_groups)
        return LM_BAD_ARGUMENT;
    for (size_t g = p->first_group; g <= p->last_group; g++)
        if (!(p->n_reads[g] >= 1) ||
            (g > p->first_group && !(p->mean_times[g] > p->mean_times[g - 1])))
            return LM_BAD_ARGUMENT;
    return LM_OK;
}

lm_status lm_fit_ramps_likelihood(const float *data, const lm_shape *shape, uint8_t *groupdq,
                                  const lm_shape *dq_shape, const uint32_t *pixeldq,
                                  const float *gain, const float *readnoise,
                                  const float *average_dark,
                                  const lm_likelihood_parameters *parameters,
                                  const lm_rate_planes *exposure, const lm_rate_planes *integrations,
                                  float *chisq, float *int_chisq, size_t int_chisq_stride)
{
    lm_status status = check(shape, dq_shape, parameters);
    if (status)
        return status;
    fit f = {.data = data, .gain = gain, .readnoise = readnoise, .dark = average_dark,
             .groupdq = groupdq, .pixeldq = pixeldq, .shape = shape, .dq_shape = dq_shape,
             .p = parameters, .exposure = exposure, .integrations = integrations, .chisq = chisq,
             .int_chisq = int_chisq, .int_chisq_stride = int_chisq_stride,
             .n = parameters->last_group - parameters->first_group};
    size_t n = f.n, rows = n * LM_LANES;
    double *constants = malloc(5 * n * sizeof *constants);
    double *buffers = aligned_alloc(64, 6 * rows * sizeof *buffers);
    f.two_reads = malloc(n * sizeof *f.two_reads);
    f.sorted = malloc(rows * sizeof *f.sorted);
    f.results = malloc(shape->n_ints * sizeof *f.results);
    uint8_t *jumps = parameters->flag_groups ? malloc(rows) : NULL;
    status = LM_NO_MEMORY;
    if (constants && buffers && f.two_reads && f.sorted && f.results &&
        (jumps || !parameters->flag_groups)) {
        double **constant[] = {&f.step, &f.diagonal_p, &f.diagonal_r, &f.beside_p, &f.beside_r};
        double **buffer[] = {&f.y, &f.mask, &f.inverse, &f.ratio, &f.x, &f.z};
        for (size_t k = 0; k < 5; k++)
            *constant[k] = constants + k * n;
        for (size_t k = 0; k < 6; k++)
            *buffer[k] = buffers + k * rows;
        fill_covariance(&f);
        size_t n_pixels = shape->n_rows * shape->n_cols;
        for (size_t pixel = 0; pixel < n_pixels; pixel += LM_LANES)
            fit_block(&f, pixel, n_pixels - pixel < LM_LANES ? n_pixels - pixel : LM_LANES, jumps);
        status = LM_OK;
    }
    free(constants);
    free(buffers);
    free(f.two_reads);
    free(f.sorted);
    free(f.results);
    free(jumps);
    return status;
}
