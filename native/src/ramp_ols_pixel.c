/* Least-squares fit of one pixel: its segments, their variances, what they add up to. */
#include <math.h>
#include <string.h>

#include "networks.h"
#include "ramp_ols.h"

enum { UNUSABLE = LM_DO_NOT_USE | LM_SATURATED };

static int is_good(uint8_t dq) { return (dq & ~LM_PERSISTENCE) == 0; }

static void note_run(segment *segments, size_t *n, const uint8_t *dq, size_t start, size_t end)
{
    if (start > 0 && (dq[start - 1] & ~LM_PERSISTENCE) == LM_JUMP_DET)
        start--;
    segments[(*n)++] = (segment){.start = start, .length = end - start};
}

/* Runs of good groups; those of one group only if there is no longer one, and then the first. */
static size_t find_segments(const uint8_t *dq, size_t n_groups, segment *segments)
{
    size_t n = 0, kept = 0, start = n_groups;
    for (size_t k = 0; k <= n_groups; k++) {
        int good = k < n_groups && is_good(dq[k]);
        if (good && start == n_groups) {
            start = k;
        } else if (!good && start < n_groups) {
            note_run(segments, &n, dq, start, k);
            start = n_groups;
        }
    }
    for (size_t k = 0; k < n; k++)
        if (segments[k].length > 1)
            segments[kept++] = segments[k];
    return kept ? kept : n > 0;
}

static float median_rate(ols_fit *f, const float *d, const uint8_t *dq, float time, int zero)
{
    size_t n = 0;
    for (size_t k = 0; !zero && k + 1 < f->n_groups; k++)
        if (!((dq[k] | dq[k + 1]) & UNUSABLE) && !(dq[k + 1] & LM_JUMP_DET)) {
            f->sorted[n] = d[k + 1] - d[k];
            if (f->times)
                f->sorted[n] /= f->times[k + 1] - f->times[k];
            n++;
        }
    if (n) {
        lm_sort_floats(f->sorted, n);
        return lm_median_sorted(f->sorted, n) / time;
    }
    return zero || !(dq[0] & UNUSABLE) ? d[0] / time : 0;
}

static void fit_segment(ols_fit *f, segment *s, const float *d, float gain, float read, float rate,
                        float time)
{
    const power_row *rows;
    const variance_row *v = lm_ols_variances(f, s->start, s->length, &rows);
    int p = 0;
    float slope = 0, time_gain = time * gain;
    d += s->start;
    if (s->length == 1) {
        slope = d[0];
    } else {
        if (s->length > 2 && !f->p->unweighted)
            p = power_index(d[s->length - 1] - d[0], gain, read);
        for (size_t i = 1; i < s->length; i++)
            slope += rows[i].coefficients[p] * (d[i] - d[0]);
    }
    s->power = p;
    s->slope = slope / time;
    s->var_poisson = rate / time_gain * v->poisson[p];
    s->var_rnoise = read / time_gain * (read / time_gain) * v->read[p];
    s->weight = v->weight * (time * time);
}

/* Variance of the inverse-variance mean; a single term is itself, terms of zero do not count. */
LM_INLINE float in_parallel(float inverses, float only, size_t n)
{
    return n == 1 ? only : inverses > 0 ? 1 / inverses : 0;
}

static float sum_in_parallel(const float *variances, size_t n)
{
    float inverses = 0, only = 0;
    size_t terms = 0;
    for (size_t k = 0; k < n; k++)
        if (variances[k] > 0) {
            inverses += 1 / variances[k];
            only = variances[k];
            terms++;
        }
    return in_parallel(inverses, only, terms);
}

typedef struct {
    float slope, err, var_poisson, var_rnoise;
    uint32_t dq;
} rate;

static rate combine(ols_fit *f, const segment *s, size_t n, const float *read, size_t n_read, uint32_t dq,
                    int of_exposure)
{
    rate r = {NAN, 0, 0, 0, dq};
    if (!n)
        return r;
    float sum = 0, weights = 0;
    for (size_t k = 0; k < n; k++) {
        sum += s[k].weight * s[k].slope;
        weights += s[k].weight;
    }
    r.slope = n == 1 ? s[0].slope : sum / weights;
    for (size_t k = 0; k < n; k++)
        f->values[k] = s[k].var_poisson;
    float var_poisson = sum_in_parallel(f->values, n);
    for (size_t k = 0; k < n; k++)
        f->values[k] = s[k].var_rnoise;
    float var_rnoise = sum_in_parallel(f->values, n);
    if (of_exposure) {
        r.err = sqrtf(small_only(var_poisson) + var_rnoise);
    } else {
        for (size_t k = 0; k < n; k++)
            f->values[k] = s[k].var_poisson + s[k].var_rnoise;
        r.err = sqrtf(sum_in_parallel(f->values, n));
    }
    r.var_poisson = small_only(var_poisson);
    r.var_rnoise = small_only(read ? sum_in_parallel(read, n_read) : var_rnoise);
    return r;
}

static void write_rate(const lm_rate_planes *out, size_t at, rate r)
{
    out->slope[at] = r.slope;
    out->err[at] = r.err;
    out->var_poisson[at] = r.var_poisson;
    out->var_rnoise[at] = r.var_rnoise;
    out->dq[at] = r.dq;
}

/* Read-noise variances of the segments there would be had no charge been lost to neighbours. */
static size_t read_variances_with_lost(ols_fit *f, const uint8_t *dq, float gain, float read, float time,
                                       segment *scratch, float *variances)
{
    for (size_t k = 0; k < f->n_groups; k++)
        f->kept[k] = dq[k] & LM_CHARGELOSS ? (uint8_t)(dq[k] & ~(LM_CHARGELOSS | LM_DO_NOT_USE)) : dq[k];
    size_t n = find_segments(f->kept, f->n_groups, scratch);
    for (size_t k = 0; k < n; k++) {
        const power_row *rows;
        const variance_row *v = lm_ols_variances(f, scratch[k].start, scratch[k].length, &rows);
        variances[k] = read / (time * gain) * (read / (time * gain)) * v->read[0];
    }
    return n;
}

static const float *ramp_of(ols_fit *f, size_t i, size_t pixel)
{
    if (f->ramp_pixel == pixel && f->ramp_int == i)
        return f->ramp;
    f->ramp_pixel = pixel;
    f->ramp_int = i;
    const float *from = f->data + i * f->shape->int_stride + pixel;
    for (size_t k = 0; k < f->n_groups; k++)
        f->ramp[k] = from[(k + f->p->first_group) * f->shape->group_stride];
    return f->ramp;
}

/* Flags of one integration into f->dq, groups that are no number marked; how many are good. */
static size_t copy_flags(ols_fit *f, size_t i, size_t pixel)
{
    uint8_t *dq = f->dq + i * f->n_groups;
    const uint8_t *from = f->groupdq + i * f->dq_shape->int_stride + pixel;
    const float *d = ramp_of(f, i, pixel);
    size_t n_good = 0;
    for (size_t k = 0; k < f->n_groups; k++) {
        dq[k] = from[(k + f->p->first_group) * f->dq_shape->group_stride];
        if (k == 0 && f->p->first_group > 0)
            dq[k] &= (uint8_t)~LM_JUMP_DET; /* what it jumped from was cut off */
        if (!isfinite(d[k]))
            dq[k] |= LM_DO_NOT_USE;
        n_good += (size_t)is_good(dq[k]);
    }
    return n_good;
}

static int all_saturated(const uint8_t *dq, size_t n)
{
    uint8_t all = LM_SATURATED;
    for (size_t k = 0; k < n; k++)
        all &= dq[k];
    return all != 0;
}

static int none_usable(const uint8_t *dq, size_t n)
{
    for (size_t k = 0; k < n; k++)
        if (!(dq[k] & UNUSABLE))
            return 0;
    return 1;
}

static void report_jumps(const ols_fit *f, size_t i, size_t pixel, const uint8_t *dq, const float *d)
{
    size_t n_pixels = f->shape->n_rows * f->shape->n_cols, n = 0;
    for (size_t k = 1; k < f->n_groups && n < f->report->n_jumps; k++)
        if (dq[k] & LM_JUMP_DET)
            f->report->jump[(i * f->report->n_jumps + n++) * n_pixels + pixel] =
                isfinite(d[k] - d[k - 1]) ? d[k] - d[k - 1] : 0;
}

static void report_segment(const ols_fit *f, const segment *s, size_t at, const float *d, float noise)
{
    const lm_segment_planes *r = f->report;
    double sum = 0, sum_t = 0, sum_tt = 0, sum_d = 0, middle = (double)(s->length - 1) / 2;
    double squares = 0, squares_t = 0, squares_tt = 0;
    for (size_t k = 0; k < s->length; k++) {
        double w = s->length < 3 ? 1 : pow(fabs(((double)k - middle) / middle), powers[s->power]);
        double t = f->times ? (double)f->times[s->start + k] : (double)(s->start + k);
        sum += w;
        sum_t += w * t;
        sum_tt += w * t * t;
        sum_d += w * (double)d[s->start + k];
        squares += w * w;
        squares_t += w * w * t;
        squares_tt += w * w * t * t;
    }
    double determinant = sum * sum_tt - sum_t * sum_t, time = (double)f->group_time;
    r->slope[at] = s->slope;
    r->var_poisson[at] = s->var_poisson;
    r->var_rnoise[at] = s->var_rnoise;
    r->weight[at] = s->var_rnoise > 0 ? 1 / s->var_rnoise : 0;
    r->sigma_slope[at] = sqrtf(s->var_rnoise);
    if (s->length < 2)
        return;
    /* of sums over the groups with coefficients w (sum t - sum_t) and w (sum_tt - sum_t t) */
    double in_slope = sum * sum * squares_tt - 2 * sum * sum_t * squares_t + sum_t * sum_t * squares;
    double in_intercept =
        sum_tt * sum_tt * squares - 2 * sum_tt * sum_t * squares_t + sum_t * sum_t * squares_tt;
    r->sigma_slope[at] = (float)((double)noise / time * sqrt(in_slope) / determinant);
    r->sigma_intercept[at] = (float)((double)noise * sqrt(in_intercept) / determinant);
    r->intercept[at] = (float)((sum_d - (double)s->slope * time * sum_t) / sum);
}

/* Signal at the reset, from the first group that can be used; 0 if a jump came before it. */
static float pedestal_of(const ols_fit *f, const uint8_t *dq, const float *d, float slope)
{
    size_t k = 0;
    while (k < f->n_groups && (dq[k] & UNUSABLE))
        k++;
    if (k == f->n_groups || (dq[k] & LM_JUMP_DET) || !isfinite(slope))
        return 0;
    const double *times = f->p->group_times;
    size_t first = f->p->first_group + k;
    double later = times ? times[first] - times[0] : (double)first * f->p->group_time;
    return (float)((double)d[k] - (double)slope * (f->report->first_group_age + later));
}

/* `noise`: read noise of one group, DN. */
static void report_integration(const ols_fit *f, size_t i, size_t pixel, const segment *s, size_t n,
                               const uint8_t *dq, const float *d, float noise, float slope)
{
    const lm_segment_planes *r = f->report;
    size_t n_pixels = f->shape->n_rows * f->shape->n_cols;
    for (size_t k = 0; k < n && k < r->n_segments; k++)
        report_segment(f, s + k, (i * r->n_segments + k) * n_pixels + pixel, d, noise);
    r->pedestal[i * n_pixels + pixel] = pedestal_of(f, dq, d, slope);
    report_jumps(f, i, pixel, dq, d);
}

void lm_ols_fit_pixel(ols_fit *f, size_t pixel)
{
    const lm_ols_parameters *p = f->p;
    size_t n_ints = f->shape->n_ints, n_groups = f->n_groups, n_all = 0, n_read_all = 0;
    float gain = f->gain[pixel], read = f->readnoise[pixel] * gain / sqrtf(f->reads), rates = 0;
    uint32_t pixeldq = f->pixeldq[pixel], dq_all = 0, dnu_all = LM_DO_NOT_USE;
    if (!(gain > 0))
        pixeldq |= LM_NO_GAIN_VALUE | LM_DO_NOT_USE;
    int lost_any = 0;

    for (size_t i = 0; i < n_ints; i++) {
        uint8_t *dq = f->dq + i * n_groups;
        size_t n_good = copy_flags(f, i, pixel);
        if (p->suppress_one_group && n_good == 1) {
            for (size_t k = 0; k < n_groups; k++)
                dq[k] |= LM_DO_NOT_USE;
            n_good = 0;
        }
        f->int_times[i] = f->group_time;
        float zero = p->zeroframe ? p->zeroframe[i * p->zeroframe_stride + pixel] : 0;
        int use_zero = zero != 0 && all_saturated(dq, n_groups);
        if (use_zero)
            f->int_times[i] = f->frame_time;
        else if (n_good == 1 && is_good(dq[0]))
            f->int_times[i] = f->one_group_time;
        rates += median_rate(f, use_zero ? &zero : ramp_of(f, i, pixel), dq, f->int_times[i], use_zero);
    }
    float dark = f->dark ? f->dark[pixel] : 0, mean_rate = rates / (float)n_ints;
    if (p->dark_in_electrons)
        dark /= gain;
    float poisson_rate = (mean_rate > 0 ? mean_rate : 0) + dark;

    for (size_t i = 0; i < n_ints; i++) {
        const uint8_t *dq = f->dq + i * n_groups;
        uint8_t any = 0;
        uint32_t flags = pixeldq;
        float time = f->int_times[i];
        segment *s = f->segments + n_all;
        size_t n = 0, n_read = 0;
        for (size_t k = 0; k < n_groups; k++)
            any |= dq[k];
        flags |= any & (LM_SATURATED | LM_JUMP_DET | LM_PERSISTENCE);
        float zero = p->zeroframe ? p->zeroframe[i * p->zeroframe_stride + pixel] : 0;
        int use_zero = zero != 0 && all_saturated(dq, n_groups);
        if (!(pixeldq & LM_DO_NOT_USE)) {
            if (use_zero) {
                s[0] = (segment){.length = 1};
                n = 1;
                fit_segment(f, s, &zero, gain, read, poisson_rate, time);
            } else if (!(dq[0] & LM_SATURATED) && !none_usable(dq, n_groups)) {
                const float *d = ramp_of(f, i, pixel);
                n = find_segments(dq, n_groups, s);
                for (size_t k = 0; k < n; k++)
                    fit_segment(f, s + k, d, gain, read, poisson_rate, time);
            }
        }
        if (!n)
            flags |= LM_DO_NOT_USE;
        float *variances = f->read_variances + n_read_all;
        if (n && (any & LM_CHARGELOSS) && !use_zero) {
            n_read = read_variances_with_lost(f, dq, gain, read, time, s + n, variances);
            lost_any = 1;
        } else {
            for (; n_read < n; n_read++)
                variances[n_read] = s[n_read].var_rnoise;
        }
        rate of_one = combine(f, s, n, variances, n_read, flags, 0);
        if (f->integrations)
            write_rate(f->integrations, i * f->integrations->int_stride + pixel, of_one);
        if (f->report)
            report_integration(f, i, pixel, s, n, dq, use_zero ? &zero : ramp_of(f, i, pixel),
                               read / gain, of_one.slope);
        n_all += n;
        n_read_all += n_read;
        dq_all |= flags;
        dnu_all &= flags;
    }
    dq_all = (dq_all & ~(uint32_t)LM_DO_NOT_USE) | dnu_all;
    write_rate(f->exposure, pixel,
               combine(f, f->segments, n_all, lost_any ? f->read_variances : NULL, n_read_all, dq_all, 1));
}
