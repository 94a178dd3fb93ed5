/* Likelihood ramp fit; see lightmill/ramp_fit.h.
 *
 * A block of 64 pixels walks through the recursions together. A difference that is left out keeps its
 * place with weight zero and no covariance, so lanes with flags need no path of their own, and
 * a lane whose search has ended computes the same numbers again while its neighbours go on. */
#include "lightmill/ramp_fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LM_REAL double
#define LM_COUNT int64_t
#include "clones.h"
#include "tridiagonal.h"

enum { UNUSABLE = LM_DO_NOT_USE | LM_SATURATED };

static const double least_read_variance = 1e-12; /* DN^2: a pixel without noise still has a rate */

/* One integration of a block. */
typedef struct {
    double slope[LM_LANES], chisq[LM_LANES];
    double poisson[LM_LANES]; /* Poisson variance of the slope for a rate of 1 DN/s */
    double expected[LM_LANES]; /* the rate it was weighted for, dark included, DN/s */
    double read[LM_LANES];    /* read-noise variance of the slope */
    double used[LM_LANES];    /* differences */
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
    /* rates are in DN/s at gain 1, read variances in DN^2 */
    double *step;
    chain h, few; /* of the block, of a few of its lanes */
    int *two_reads; /* group between differences k and k + 1 has several reads */
    float *sorted; /* [n][LM_LANES] */
    lane_result *results; /* [n_ints] */
} fit;

/* ---- reading a block ------------------------------------------------------------------------ */

LM_INLINE void mask_differences(const float *restrict now, const float *restrict before,
                                const uint8_t *restrict dq_now, const uint8_t *restrict dq_before,
                                uint8_t others, uint8_t forgiven, double per_step,
                                double *restrict y, double *restrict mask)
{
    for (int l = 0; l < LM_LANES; l++) {
        double d = ((double)now[l] - (double)before[l]) * per_step;
        double good = ((dq_now[l] & others) | (dq_before[l] & forgiven)) == 0 ? 1 : 0;
        mask[l] = fabs(d) <= 1e300 ? good : 0;
        y[l] = fabs(d) <= 1e300 && good > 0 ? d : 0;
    }
}

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
    lm_fetch_next(data, sizeof *data);
    lm_fetch_next(dq, sizeof *dq);
    if (f->p->first_group > 0)
        for (int l = 0; l < LM_LANES; l++)
            flags[0][l] &= (uint8_t)~LM_JUMP_DET; /* what it jumped from was cut off */
    memcpy(any, flags[0], sizeof any);
    for (size_t k = 0; k < f->n; k++) {
        float *before = values[k & 1], *now = values[!(k & 1)];
        uint8_t *dq_before = flags[k & 1], *dq_now = flags[!(k & 1)];
        lm_load_floats(data + (k + 1) * stride, n_lanes, now);
        lm_load_bytes(dq + (k + 1) * dq_stride, n_lanes, dq_now);
        lm_fetch_next(data + (k + 1) * stride, sizeof *data);
        lm_fetch_next(dq + (k + 1) * dq_stride, sizeof *dq);
        /* a jump lies before the mean time of its group, but within the group's reads if it has several */
        int spoils_next = f->p->jump_masks_both || f->p->n_reads[f->p->first_group + k] > 1;
        uint8_t forgiven = spoils_next ? others : (uint8_t)(others & ~LM_JUMP_DET);
        mask_differences(now, before, dq_now, dq_before, others, forgiven, 1 / f->step[k],
                         LM_ROW(f->h.y, k), LM_ROW(f->h.mask, k));
        for (int l = 0; l < LM_LANES; l++)
            any[l] |= dq_now[l];
    }
    for (int l = 0; l < LM_LANES; l++)
        r->flags[l] = any[l] & (LM_SATURATED | LM_JUMP_DET | LM_PERSISTENCE);
}

LM_INLINE void mark_unused(const double *restrict y, const double *restrict mask,
                           float *restrict sorted, double *restrict used)
{
    for (int l = 0; l < LM_LANES; l++) {
        double value = y[l]; /* loaded in any case: a load that depends is a branch */
        sorted[l] = (float)(mask[l] > 0 ? value : HUGE_VAL);
        used[l] += mask[l];
    }
}

/* Median of the differences in use, 0 where it is negative or there is none. */
LM_INLINE void first_guess(fit *f, double *rate, double *used)
{
    memset(used, 0, LM_LANES * sizeof *used);
    for (size_t k = 0; k < f->n; k++)
        mark_unused(LM_ROW(f->h.y, k), LM_ROW(f->h.mask, k), LM_ROW(f->sorted, k), used);
    lm_sort_lanes(f->sorted, f->n);
    for (size_t l = 0; l < LM_LANES; l++) {
        size_t n = (size_t)used[l];
        const float *column = f->sorted + l;
        float median = n ? (column[n / 2 * LM_LANES] + column[(n - 1) / 2 * LM_LANES]) * 0.5f : 0;
        rate[l] = median > 0 ? (double)median : 0;
    }
}

/* ---- jumps ---------------------------------------------------------------------------------- */

/* Of four or more: of three, either pair leaves one, which fits itself. */
LM_INLINE void keep_worst_pair(int width, size_t k, double two, const chain *h,
                               const double *restrict used, lane_search *restrict s)
{
    const double *restrict ratio = LM_ROW(h->ratio, k);
    const double *restrict x = LM_ROW(h->x, k), *restrict next_x = LM_ROW(h->x, k + 1);
    const double *restrict mask = LM_ROW(h->mask, k), *restrict next_mask = LM_ROW(h->mask, k + 1);
    const lane_residual *restrict now = lm_now(s, k), *restrict next = lm_next(s, k);
    const double number = (double)k;
    for (int l = 0; l < width; l++) {
        double between = -ratio[l] * next->own[l] - x[l] * next_x[l] * s->per_ones[l];
        double product = now->variance[l] * next->variance[l];
        double determinant = product - between * between;
        double sum = now->weight[l] * now->weight[l] * next->variance[l] -
                     2 * now->weight[l] * next->weight[l] * between +
                     next->weight[l] * next->weight[l] * now->variance[l];
        double drop = sum / determinant - two;
        int is_worse = determinant > 1e-12 * product && mask[l] * next_mask[l] > 0 &&
                       used[l] >= 4 && drop > s->excess[l];
        s->excess[l] = is_worse ? drop : s->excess[l];
        s->worst[l] = is_worse ? number : s->worst[l];
        s->pair[l] = is_worse ? 1 : s->pair[l];
    }
}

/* The lanes of a block that are still searched, side by side. */
typedef struct {
    size_t n;
    uint8_t lane[LM_LANES]; /* of the block */
} lane_list;

/* Find in `h` the worst difference, or pair, of every lane listed that has one beyond the limits, and
 * leave it out of the block. Those lanes are listed afterwards. The groups that jumped get
 * LM_JUMP_DET in `jumps` [n][LM_LANES], or NULL. */
LM_INLINE void leave_out_worst(fit *f, const chain *h, int width, lane_list *list, lane_result *r,
                               uint8_t *jumps)
{
    size_t n = f->n, n_left = 0;
    double one = f->p->one_omit, two = f->p->two_omit, limit[LM_LANES], used[LM_LANES];
    lane_search s;
    for (int j = 0; j < width; j++) {
        used[j] = (size_t)j < list->n ? r->used[list->lane[j]] : 0;
        limit[j] = used[j] >= 3 ? one : LM_NO_LIMIT; /* of fewer, none can be told to be wrong */
    }
    lm_begin_search(h, width, limit, &s);
    for (size_t k = n; k-- > 0;) {
        if (look_at_one(width, k, h, &s))
            keep_worst_one(width, k, &s);
        if (k + 1 < n && f->two_reads[k])
            keep_worst_pair(width, k, two, h, used, &s);
    }
    for (size_t j = 0; j < list->n; j++) {
        if (s.worst[j] < 0)
            continue;
        const uint8_t l = list->lane[j];
        size_t at = (size_t)s.worst[j] * LM_LANES + l;
        list->lane[n_left++] = l;
        r->flags[l] |= LM_JUMP_DET;
        if (jumps)
            jumps[at] = LM_JUMP_DET;
        for (double side = 0; side <= s.pair[j]; side++, at += LM_LANES) {
            f->h.mask[at] = f->h.y[at] = 0;
            r->used[l]--;
        }
    }
    list->n = n_left;
}

/* Solve again for the lanes listed, and leave out what is still wrong in them. */
LM_INLINE void search_again(fit *f, int width, const double *restrict poisson, const double *restrict read,
                            lane_list *list, lane_result *r, uint8_t *jumps)
{
    chain *few = &f->few;
    double poisson_of[LM_LANES], read_of[LM_LANES];
    for (size_t j = 0; j < (size_t)width; j++) {
        const size_t l = list->lane[j < list->n ? j : 0];
        poisson_of[j] = poisson[l];
        read_of[j] = read[l];
        for (size_t k = 0; k < f->n; k++) {
            LM_ROW(few->y, k)[j] = LM_ROW(f->h.y, k)[l];
            LM_ROW(few->mask, k)[j] = LM_ROW(f->h.mask, k)[l];
        }
    }
    lm_solve(few, width, poisson_of, read_of);
    for (size_t j = 0; j < list->n; j++) {
        f->h.ones[list->lane[j]] = few->ones[j];
        f->h.data[list->lane[j]] = few->data[j];
    }
    leave_out_worst(f, few, width, list, r, jumps);
}

/* Leave out one difference, or pair, after the other, until chi^2 tells of none any more. Most pixels
 * have none, so only those that had one are looked at again. */
LM_INLINE void leave_out_jumps(fit *f, const double *restrict poisson, const double *restrict read,
                               lane_result *r, uint8_t *jumps)
{
    lane_list list = {.n = LM_LANES};
    for (int l = 0; l < LM_LANES; l++)
        list.lane[l] = (uint8_t)l;
    leave_out_worst(f, &f->h, LM_LANES, &list, r, jumps);
    while (list.n) {
        if (list.n <= 8)
            search_again(f, 8, poisson, read, &list, r, jumps);
        else
            search_again(f, LM_LANES, poisson, read, &list, r, jumps);
    }
}

/* ---- one integration of a block ------------------------------------------------------------- */

LM_INLINE void add_variance(covariance c, const double *restrict x, const double *restrict next_x,
                            const double *restrict z, const double *restrict y,
                            const double *restrict slope, double *restrict poisson,
                            double *restrict noise, double *restrict chisq)
{
    for (int l = 0; l < LM_LANES; l++) {
        double square = x[l] * x[l];
        double product = 2 * x[l] * next_x[l];
        poisson[l] += c.own_p * square + c.beside_p * product;
        noise[l] += c.own_r * square + c.beside_r * product;
        chisq[l] += (y[l] - slope[l]) * (z[l] - slope[l] * x[l]);
    }
}

LM_INLINE void summarise(fit *f, const double *restrict expected,
                         const double *restrict gain, const double *restrict read, lane_result *r)
{
    double poisson[LM_LANES] = {0}, noise[LM_LANES] = {0}, chisq[LM_LANES] = {0};
    double slope[LM_LANES];
    size_t n = f->n;
    for (int l = 0; l < LM_LANES; l++)
        slope[l] = f->h.data[l] / f->h.ones[l];
    for (size_t k = 0; k < n; k++) {
        add_variance(f->h.c[k], LM_ROW(f->h.x, k), k + 1 < n ? LM_ROW(f->h.x, k + 1) : lm_zeros,
                     LM_ROW(f->h.z, k), LM_ROW(f->h.y, k), slope, poisson, noise, chisq);
    }
    for (int l = 0; l < LM_LANES; l++) {
        double norm = 1 / (f->h.ones[l] * f->h.ones[l]);
        r->poisson[l] = poisson[l] * norm / gain[l];
        r->read[l] = noise[l] * norm * read[l];
    }
    memcpy(r->slope, slope, sizeof slope);
    memcpy(r->chisq, chisq, sizeof chisq);
    memcpy(r->expected, expected, sizeof r->expected);
}

LM_INLINE void fit_integration(fit *f, size_t i, size_t pixel, size_t n_lanes,
                               const double *restrict gain, const double *restrict read,
                               const double *restrict dark, lane_result *r, uint8_t *jumps)
{
    double rate[LM_LANES], poisson[LM_LANES];
    load_differences(f, i, pixel, n_lanes, r);
    first_guess(f, rate, r->used);
    for (int l = 0; l < LM_LANES; l++)
        poisson[l] = rate[l] / gain[l];
    lm_solve(&f->h, LM_LANES, poisson, read);
    if (f->p->one_omit > 0)
        leave_out_jumps(f, poisson, read, r, jumps);
    for (int l = 0; l < LM_LANES; l++) {
        double slope = f->h.data[l] / f->h.ones[l];
        rate[l] = (slope > 0 ? slope : 0) + dark[l];
        poisson[l] = rate[l] / gain[l];
    }
    lm_solve(&f->h, LM_LANES, poisson, read);
    summarise(f, rate, gain, read, r);
}

/* ---- results -------------------------------------------------------------------------------- */

/* Combine the integrations, each weighted for the rate they have in common: a bright integration must
 * not weigh less because its own noise made it bright. */
LM_INLINE void add_integration(const lane_result *restrict r, const double *restrict expected,
                               double *restrict weights, double *restrict sum,
                               double *restrict poisson, double *restrict read)
{
    for (int l = 0; l < LM_LANES; l++) {
        int ok = r->used[l] > 0;
        double w = ok ? 1 / (r->poisson[l] * expected[l] + r->read[l]) : 0;
        weights[l] += w;
        sum[l] += ok ? w * r->slope[l] : 0;
        poisson[l] += ok ? w * w * r->poisson[l] : 0;
        read[l] += ok ? w * w * r->read[l] : 0;
    }
}

LM_INLINE void combine(fit *f, const double *restrict dark, lane_result *restrict total)
{
    size_t n_ints = f->shape->n_ints;
    double rate[LM_LANES] = {0}, n[LM_LANES] = {0}, expected[LM_LANES];
    memset(total, 0, sizeof *total);
    for (size_t i = 0; i < n_ints; i++) {
        const lane_result *restrict r = f->results + i;
        for (int l = 0; l < LM_LANES; l++) {
            int ok = r->used[l] > 0;
            rate[l] += ok ? r->slope[l] : 0;
            n[l] += ok ? 1 : 0;
            total->chisq[l] += ok ? r->chisq[l] : 0;
            total->used[l] += r->used[l];
        }
        for (int l = 0; l < LM_LANES; l++)
            total->flags[l] |= r->flags[l];
    }
    for (int l = 0; l < LM_LANES; l++)
        rate[l] /= n[l] > 0 ? n[l] : 1;
    for (int round = 0; round < 2; round++) {
        double weights[LM_LANES] = {0}, sum[LM_LANES] = {0};
        double poisson[LM_LANES] = {0}, read[LM_LANES] = {0};
        for (int l = 0; l < LM_LANES; l++)
            expected[l] = (rate[l] > 0 ? rate[l] : 0) + dark[l];
        for (size_t i = 0; i < n_ints; i++)
            add_integration(f->results + i, expected, weights, sum, poisson, read);
        for (int l = 0; l < LM_LANES; l++) {
            rate[l] = sum[l] / weights[l];
            total->poisson[l] = poisson[l] / (weights[l] * weights[l]);
            total->read[l] = read[l] / (weights[l] * weights[l]);
        }
    }
    memcpy(total->slope, rate, sizeof rate);
    memcpy(total->expected, expected, sizeof expected);
}

typedef struct {
    float slope[LM_LANES], var_poisson[LM_LANES], var_rnoise[LM_LANES], err[LM_LANES], chisq[LM_LANES];
    uint32_t dq[LM_LANES];
} lane_output;

LM_INLINE void write_lanes(const lm_rate_planes *out, size_t at, float *chisq,
                           const uint32_t *restrict pixeldq, size_t n_lanes,
                           const lane_result *restrict r)
{
    lane_output o;
    double ok[LM_LANES];
    for (int l = 0; l < LM_LANES; l++)
        ok[l] = pixeldq[l] & LM_DO_NOT_USE ? 0 : r->used[l];
    for (int l = 0; l < LM_LANES; l++) {
        double slope = r->slope[l], chisq_of = r->chisq[l], var_rnoise = r->read[l];
        double var_poisson = r->poisson[l] * r->expected[l];
        o.slope[l] = (float)(ok[l] > 0 ? slope : (double)NAN);
        o.chisq[l] = (float)(ok[l] > 0 ? chisq_of : (double)NAN);
        o.var_poisson[l] = (float)(ok[l] > 0 ? var_poisson : 0);
        o.var_rnoise[l] = (float)(ok[l] > 0 ? var_rnoise : 0);
    }
    for (int l = 0; l < LM_LANES; l++) {
        o.err[l] = sqrtf(o.var_poisson[l] + o.var_rnoise[l]);
        o.dq[l] = pixeldq[l] | r->flags[l] | (ok[l] > 0 ? 0u : (uint32_t)LM_DO_NOT_USE);
    }
    lm_store(out->slope + at, o.slope, n_lanes);
    lm_store(out->err + at, o.err, n_lanes);
    lm_store(out->var_poisson + at, o.var_poisson, n_lanes);
    lm_store(out->var_rnoise + at, o.var_rnoise, n_lanes);
    lm_store(out->dq + at, o.dq, n_lanes);
    if (chisq)
        lm_store(chisq, o.chisq, n_lanes);
}

LM_INLINE void flag_found(fit *f, size_t i, size_t pixel, size_t n_lanes, const uint8_t *restrict jumps)
{
    for (size_t k = 0; k < f->n; k++) {
        const size_t group = f->p->first_group + k + 1;
        uint8_t *restrict dq =
            f->groupdq + i * f->dq_shape->int_stride + group * f->dq_shape->group_stride + pixel;
        for (size_t l = 0; l < n_lanes; l++)
            dq[l] |= jumps[k * LM_LANES + l];
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
        covariance *c = f->h.c + k;
        c->own_p = (tau[k] + tau[k + 1] - 2 * t[k]) / (step * step);
        c->own_r = (1 / reads[k] + 1 / reads[k + 1]) / (step * step);
        c->beside_p = c->beside_r = 0;
        f->two_reads[k] = reads[k + 1] > 1;
        if (k + 1 < f->n) {
            double next = t[k + 2] - t[k + 1];
            c->beside_p = (t[k + 1] - tau[k + 1]) / (step * next);
            c->beside_r = -1 / (reads[k + 1] * step * next);
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
    f.step = malloc(n * sizeof *f.step);
    f.h.c = malloc(n * sizeof *f.h.c);
    f.h.n = n;
    double *buffers = aligned_alloc(64, 12 * rows * sizeof *buffers);
    f.two_reads = malloc(n * sizeof *f.two_reads);
    f.sorted = malloc(rows * sizeof *f.sorted);
    f.results = malloc(shape->n_ints * sizeof *f.results);
    uint8_t *jumps = parameters->flag_groups ? malloc(rows) : NULL;
    status = LM_NO_MEMORY;
    if (f.step && f.h.c && buffers && f.two_reads && f.sorted && f.results &&
        (jumps || !parameters->flag_groups)) {
        double **buffer[] = {&f.h.y, &f.h.mask, &f.h.inverse, &f.h.ratio, &f.h.x, &f.h.z,
                             &f.few.y, &f.few.mask, &f.few.inverse, &f.few.ratio, &f.few.x, &f.few.z};
        for (size_t k = 0; k < 12; k++)
            *buffer[k] = buffers + k * rows;
        fill_covariance(&f);
        f.few.c = f.h.c;
        f.few.n = n;
        size_t n_pixels = shape->n_rows * shape->n_cols;
        for (size_t pixel = 0; pixel < n_pixels; pixel += LM_LANES)
            fit_block(&f, pixel, n_pixels - pixel < LM_LANES ? n_pixels - pixel : LM_LANES, jumps);
        status = LM_OK;
    }
    free(f.step);
    free(f.h.c);
    free(buffers);
    free(f.two_reads);
    free(f.sorted);
    free(f.results);
    free(jumps);
    return status;
}
