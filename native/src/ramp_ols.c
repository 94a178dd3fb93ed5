/* Least-squares ramp fit; see lightmill/ramp_fit.h.
 *
 * Pixels whose groups are all good, but for groups no pixel of the block can use, are fitted 64 at a
 * time; the others one by one. Both paths evaluate the same float expressions in the same
 * order, and so give the same bits. */
#include "lightmill/ramp_fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "clones.h"
#include "lanes.h"

enum { N_POWERS = 6, UNUSABLE = LM_DO_NOT_USE | LM_SATURATED };

/* Weight exponents and the signal to noise ratios they end at; Fixsen et al. 2000, table 2. */
static const double powers[N_POWERS] = {0, 0.4, 1, 3, 6, 10};
static const float power_limits[N_POWERS - 1] = {5, 10, 20, 50, 100};

static const float largest_variance = 1e6f;

/* Coefficients of the slope of n groups for every exponent, and the factors of its variance. */
typedef struct {
    float coefficients[N_POWERS]; /* of the group in this row */
} power_row;

typedef struct {
    float poisson[N_POWERS], read[N_POWERS]; /* of rate/(time gain), of (R/(time gain))^2 */
    float weight;                            /* for combining, 1 / read[0] */
    int known;
} variance_row;

typedef struct {
    size_t start, length;
    float slope, var_poisson, var_rnoise, weight;
    int power; /* which of `powers` */
} segment;

/* One integration of a block: the run of groups all its lanes share, and their rates. */
typedef struct {
    size_t first, n;
    float slope[LM_LANES];
    int32_t power[LM_LANES];
} lane_fit;

typedef struct {
    const float *data, *gain, *readnoise, *dark;
    const uint8_t *groupdq;
    const uint32_t *pixeldq;
    const lm_shape *shape, *dq_shape;
    const lm_ols_parameters *p;
    const lm_rate_planes *exposure, *integrations;
    const lm_segment_planes *report;
    size_t n_groups; /* first to last */
    float group_time, one_group_time, frame_time, reads; /* reads: 2 * n_frames */
    float *times;             /* [n_groups] group times in units of group_time, or NULL */
    power_row *rows;          /* triangle: rows of n groups start at n (n - 1) / 2 */
    variance_row *variances;  /* by n */
    power_row *uneven_rows;   /* the last uneven run asked for */
    variance_row uneven;
    size_t uneven_start, uneven_length;
    /* one pixel */
    uint8_t *dq, *kept;
    float *values, *sorted, *int_times;
    double *scratch_times;
    segment *segments;
    float *read_variances;
    /* a block */
    float *ramp, *lanes;  /* [n_groups][LM_LANES] each */
    lane_fit *lane_fits;  /* [n_ints] */
} fit;

/* ---- coefficients --------------------------------------------------------------------------- */

/* Weighted least squares of d on `times` [n]: slope = sum of coefficient * d. */
static void fill_rows(const double *times, size_t n, power_row *rows, variance_row *variances)
{
    double middle = (double)(n - 1) / 2;
    for (int p = 0; p < N_POWERS; p++) {
        double sum = 0, sum_t = 0, sum_tt = 0, poisson = 0, read = 0, tail = 0;
        for (size_t i = 0; i < n; i++) {
            double w = n < 3 ? 1 : pow(fabs(((double)i - middle) / middle), powers[p]);
            sum += w;
            sum_t += w * times[i];
        }
        double centre = sum_t / sum;
        for (size_t i = 0; i < n; i++) {
            double w = n < 3 ? 1 : pow(fabs(((double)i - middle) / middle), powers[p]);
            sum_tt += w * (times[i] - centre) * (times[i] - centre);
        }
        for (size_t i = n; i-- > 0;) {
            double w = n < 3 ? 1 : pow(fabs(((double)i - middle) / middle), powers[p]);
            double c = w * (times[i] - centre) / sum_tt;
            rows[i].coefficients[p] = (float)c;
            read += c * c;
            tail += c;
            if (i > 0)
                poisson += tail * tail * (times[i] - times[i - 1]);
        }
        variances->poisson[p] = (float)poisson;
        variances->read[p] = (float)read;
    }
    variances->weight = 1 / variances->read[0];
    variances->known = 1;
}

/* The optima of Poisson noise alone and of read noise alone, instead of the estimate's own. */
static void use_bounds(double span, variance_row *v)
{
    float read = v->read[0]; /* P = 0 is the read-noise optimum */
    for (int p = 0; p < N_POWERS; p++) {
        v->poisson[p] = (float)(1 / span);
        v->read[p] = read;
    }
}

static const variance_row *variances_of(fit *f, size_t start, size_t n, const power_row **rows)
{
    if (n == 1) { /* exposed for its own time; read noise as of two groups */
        f->variances[1].weight = 0.5f;
        for (int p = 0; p < N_POWERS; p++) {
            f->variances[1].poisson[p] = 1;
            f->variances[1].read[p] = 2;
        }
        *rows = NULL;
        return &f->variances[1];
    }
    variance_row *v = f->times ? &f->uneven : &f->variances[n];
    power_row *r = f->times ? f->uneven_rows : f->rows + n * (n - 1) / 2;
    *rows = r;
    if (f->times ? f->uneven_start == start && f->uneven_length == n : v->known)
        return v;
    double *times = f->scratch_times;
    for (size_t i = 0; i < n; i++)
        times[i] = f->times ? (double)f->times[start + i] : (double)i;
    fill_rows(times, n, r, v);
    if (!f->p->exact_variances)
        use_bounds(times[n - 1] - times[0], v);
    f->uneven_start = start;
    f->uneven_length = n;
    return v;
}

LM_INLINE int power_index(float difference, float gain, float read)
{
    float signal = difference * gain, radicand = read * read + signal;
    float snr = radicand > 0 ? signal / sqrtf(radicand) : 0;
    int p = 0;
    for (int k = 0; k < N_POWERS - 1; k++)
        p += snr >= power_limits[k];
    return p;
}

/* ---- one pixel ------------------------------------------------------------------------------ */

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

static float median_rate(fit *f, const float *d, const uint8_t *dq, float time, int zero)
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

static void fit_segment(fit *f, segment *s, const float *d, float gain, float read, float rate,
                        float time)
{
    const power_row *rows;
    const variance_row *v = variances_of(f, s->start, s->length, &rows);
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

LM_INLINE float small_only(float variance) { return variance < largest_variance ? variance : 0; }

typedef struct {
    float slope, err, var_poisson, var_rnoise;
    uint32_t dq;
} rate;

static rate combine(fit *f, const segment *s, size_t n, const float *read, size_t n_read, uint32_t dq,
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
static size_t read_variances_with_lost(fit *f, const uint8_t *dq, float gain, float read, float time,
                                       segment *scratch, float *variances)
{
    for (size_t k = 0; k < f->n_groups; k++)
        f->kept[k] = dq[k] & LM_CHARGELOSS ? (uint8_t)(dq[k] & ~(LM_CHARGELOSS | LM_DO_NOT_USE)) : dq[k];
    size_t n = find_segments(f->kept, f->n_groups, scratch);
    for (size_t k = 0; k < n; k++) {
        const power_row *rows;
        const variance_row *v = variances_of(f, scratch[k].start, scratch[k].length, &rows);
        variances[k] = read / (time * gain) * (read / (time * gain)) * v->read[0];
    }
    return n;
}

static const float *ramp_of(fit *f, size_t i, size_t pixel)
{
    const float *from = f->data + i * f->shape->int_stride + pixel;
    for (size_t k = 0; k < f->n_groups; k++)
        f->ramp[k] = from[(k + f->p->first_group) * f->shape->group_stride];
    return f->ramp;
}

/* Flags of one integration into f->dq, groups that are no number marked; how many are good. */
static size_t copy_flags(fit *f, size_t i, size_t pixel)
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

static void report_jumps(const fit *f, size_t i, size_t pixel, const uint8_t *dq, const float *d)
{
    size_t n_pixels = f->shape->n_rows * f->shape->n_cols, n = 0;
    for (size_t k = 1; k < f->n_groups && n < f->report->n_jumps; k++)
        if (dq[k] & LM_JUMP_DET)
            f->report->jump[(i * f->report->n_jumps + n++) * n_pixels + pixel] =
                isfinite(d[k] - d[k - 1]) ? d[k] - d[k - 1] : 0;
}

static void report_segment(const fit *f, const segment *s, size_t at, const float *d, float noise)
{
    const lm_segment_planes *r = f->report;
    double sum = 0, sum_t = 0, sum_tt = 0, sum_d = 0, middle = (double)(s->length - 1) / 2;
    for (size_t k = 0; k < s->length; k++) {
        double w = s->length < 3 ? 1 : pow(fabs(((double)k - middle) / middle), powers[s->power]);
        double t = f->times ? (double)f->times[s->start + k] : (double)(s->start + k);
        sum += w;
        sum_t += w * t;
        sum_tt += w * t * t;
        sum_d += w * (double)d[s->start + k];
    }
    double determinant = sum * sum_tt - sum_t * sum_t, time = (double)f->group_time;
    r->slope[at] = s->slope;
    r->var_poisson[at] = s->var_poisson;
    r->var_rnoise[at] = s->var_rnoise;
    r->weight[at] = s->var_rnoise > 0 ? 1 / s->var_rnoise : 0;
    r->sigma_slope[at] = sqrtf(s->var_rnoise);
    if (s->length < 2)
        return;
    r->sigma_slope[at] = (float)((double)noise / time * sqrt(sum / determinant));
    r->sigma_intercept[at] = (float)((double)noise * sqrt(sum_tt / determinant));
    r->intercept[at] = (float)((sum_d - (double)s->slope * time * sum_t) / sum);
}

/* `noise`: read noise of one group, DN. */
static void report_integration(const fit *f, size_t i, size_t pixel, const segment *s, size_t n,
                               const uint8_t *dq, const float *d, float noise, float slope)
{
    const lm_segment_planes *r = f->report;
    size_t n_pixels = f->shape->n_rows * f->shape->n_cols;
    for (size_t k = 0; k < n && k < r->n_segments; k++)
        report_segment(f, s + k, (i * r->n_segments + k) * n_pixels + pixel, d, noise);
    if (isfinite(slope) && !(dq[0] & UNUSABLE))
        r->pedestal[i * n_pixels + pixel] = d[0] - slope * (float)r->first_group_age;
    report_jumps(f, i, pixel, dq, d);
}

static void fit_pixel(fit *f, size_t pixel)
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

/* ---- a block of pixels ---------------------------------------------------------------------- */

/* Find the run of groups that some lane can use in integration i; lanes whose flags are not just
 * that run are marked odd. Returns 0 if there is no run long enough. */
LM_INLINE int find_run(const fit *f, size_t i, size_t pixel, size_t n_lanes, uint8_t *restrict odd,
                       lane_fit *run)
{
    size_t stride = f->dq_shape->group_stride, end = 0;
    const uint8_t *from =
        f->groupdq + i * f->dq_shape->int_stride + f->p->first_group * stride + pixel;
    run->n = 0;
    for (size_t k = 0; k < f->n_groups; k++) {
        uint8_t dq[LM_LANES], any = 0, all = LM_DO_NOT_USE;
        lm_load_bytes(from + k * stride, n_lanes, dq);
        for (int l = 0; l < LM_LANES; l++)
            any |= dq[l];
        if (any) {
            for (int l = 0; l < LM_LANES; l++)
                all &= dq[l];
            for (int l = 0; l < LM_LANES; l++)
                odd[l] |= dq[l] ^ all;
        }
        if (any && all)
            continue;
        if (!run->n)
            run->first = k;
        else if (end != k)
            return 0; /* interrupted */
        run->n++;
        end = k + 1;
    }
    return run->n >= 3;
}

/* Median difference and slope of one integration, per group. */
LM_INLINE void fit_lanes(fit *f, size_t i, size_t pixel, size_t n_lanes, const float *restrict gain,
                         const float *restrict read, lane_fit *restrict run, float *restrict median)
{
    size_t n = run->n, stride = f->shape->group_stride;
    const float *from =
        f->data + i * f->shape->int_stride + (run->first + f->p->first_group) * stride + pixel;
    lm_load_floats(from, n_lanes, f->ramp);
    for (size_t k = 1; k < n; k++) {
        float *before = f->ramp + (k - 1) * LM_LANES, *now = before + LM_LANES;
        float *difference = f->lanes + (k - 1) * LM_LANES;
        lm_load_floats(from + k * stride, n_lanes, now);
        for (int l = 0; l < LM_LANES; l++)
            difference[l] = now[l] - before[l];
    }
    lm_sort_lanes(f->lanes, n - 1);
    lm_median_lanes(f->lanes, n - 1, median);

    const power_row *rows;
    variances_of(f, run->first, n, &rows);
    const float *base = f->ramp, *last = f->ramp + (n - 1) * LM_LANES;
    int32_t present = 0;
    memset(run->slope, 0, sizeof run->slope);
    for (int l = 0; l < LM_LANES; l++) {
        run->power[l] = f->p->unweighted ? 0 : power_index(last[l] - base[l], gain[l], read[l]);
        present |= 1 << run->power[l];
    }
    for (int p = 0; p < N_POWERS; p++) {
        if (!(present & (1 << p)))
            continue;
        float sum[LM_LANES] = {0};
        for (size_t k = 1; k < n; k++) {
            float c = rows[k].coefficients[p];
            const float *d = f->ramp + k * LM_LANES;
            for (int l = 0; l < LM_LANES; l++)
                sum[l] += c * (d[l] - base[l]);
        }
        for (int l = 0; l < LM_LANES; l++)
            run->slope[l] += run->power[l] == p ? sum[l] : 0;
    }
}

typedef struct {
    float slope[LM_LANES], err[LM_LANES], var_poisson[LM_LANES], var_rnoise[LM_LANES];
} lane_rates;

LM_INLINE void write_lanes(const lm_rate_planes *out, size_t at, const uint32_t *dq, size_t n_lanes,
                           const lane_rates *r)
{
    lm_store(out->slope + at, r->slope, n_lanes);
    lm_store(out->err + at, r->err, n_lanes);
    lm_store(out->var_poisson + at, r->var_poisson, n_lanes);
    lm_store(out->var_rnoise + at, r->var_rnoise, n_lanes);
    lm_store(out->dq + at, dq, n_lanes);
}

LM_INLINE float inverse(float variance) { return variance > 0 ? 1 / variance : 0; }

/* The rates of every lane from the slopes and medians; as fit_segment and combine do it. */
LM_INLINE void combine_lanes(fit *f, size_t pixel, size_t n_lanes, const float *restrict time_gain,
                             const float *restrict read, const float *restrict poisson_rate)
{
    size_t n_ints = f->shape->n_ints;
    float time = f->group_time, weights = 0;
    float sum[LM_LANES] = {0}, inverse_p[LM_LANES] = {0}, inverse_r[LM_LANES] = {0};
    float factor_p[LM_LANES], factor_r[LM_LANES], all_p[LM_LANES], all_r[LM_LANES];
    lane_rates one;
    for (size_t i = 0; i < n_ints; i++) {
        const lane_fit *restrict run = f->lane_fits + i;
        const power_row *rows;
        const variance_row *v = variances_of(f, run->first, run->n, &rows);
        float weight = v->weight * (time * time);
        weights += weight;
        for (int l = 0; l < LM_LANES; l++) {
            factor_p[l] = v->poisson[run->power[l]];
            factor_r[l] = v->read[run->power[l]];
        }
        for (int l = 0; l < LM_LANES; l++) {
            float slope = run->slope[l] / time;
            float var_p = poisson_rate[l] / time_gain[l] * factor_p[l];
            float var_r = read[l] / time_gain[l] * (read[l] / time_gain[l]) * factor_r[l];
            all_p[l] = var_p > 0 ? var_p : 0;
            all_r[l] = var_r > 0 ? var_r : 0;
            float var = var_p + var_r;
            one.slope[l] = slope;
            one.err[l] = sqrtf(var > 0 ? var : 0);
            one.var_poisson[l] = small_only(all_p[l]);
            one.var_rnoise[l] = small_only(all_r[l]);
        }
        for (int l = 0; l < LM_LANES && n_ints > 1; l++) {
            sum[l] += weight * one.slope[l];
            inverse_p[l] += inverse(all_p[l]);
            inverse_r[l] += inverse(all_r[l]);
        }
        if (f->integrations)
            write_lanes(f->integrations, i * f->integrations->int_stride + pixel,
                        f->pixeldq + pixel, n_lanes, &one);
    }
    if (n_ints == 1)
        for (int l = 0; l < LM_LANES; l++)
            one.err[l] = sqrtf(one.var_poisson[l] + all_r[l]);
    if (n_ints > 1)
        for (int l = 0; l < LM_LANES; l++) {
            float var_p = inverse_p[l] > 0 ? 1 / inverse_p[l] : 0;
            float var_r = inverse_r[l] > 0 ? 1 / inverse_r[l] : 0;
            one.slope[l] = sum[l] / weights;
            one.err[l] = sqrtf(small_only(var_p) + var_r);
            one.var_poisson[l] = small_only(var_p);
            one.var_rnoise[l] = small_only(var_r);
        }
    write_lanes(f->exposure, pixel, f->pixeldq + pixel, n_lanes, &one);
}

/* Fit the lanes that are not odd; returns 1 if any is odd. */
LM_CLONES
static int fit_block(fit *f, size_t pixel, size_t n_lanes, uint8_t *odd)
{
    size_t n_ints = f->shape->n_ints;
    float gain[LM_LANES], read[LM_LANES], poisson_rate[LM_LANES], rates[LM_LANES] = {0};
    float dark[LM_LANES] = {0}, median[LM_LANES];
    lm_load_floats(f->gain + pixel, n_lanes, gain);
    for (int l = 0; l < LM_LANES; l++)
        odd[l] = (uint8_t)(f->times != NULL || f->report != NULL || !(gain[l] > 0));
    for (size_t l = 0; l < n_lanes; l++)
        odd[l] |= (f->pixeldq[pixel + l] & LM_DO_NOT_USE) != 0;
    for (size_t i = 0; i < n_ints; i++)
        if (!find_run(f, i, pixel, n_lanes, odd, f->lane_fits + i))
            memset(odd, 1, LM_LANES);
    uint8_t any_even = 0, any_odd = 0;
    for (size_t l = 0; l < n_lanes; l++)
        any_even |= odd[l] == 0;
    if (!any_even)
        return 1;

    lm_load_floats(f->readnoise + pixel, n_lanes, read);
    if (f->dark)
        lm_load_floats(f->dark + pixel, n_lanes, dark);
    float root = sqrtf(f->reads), time = f->group_time, n = (float)n_ints;
    for (int l = 0; l < LM_LANES; l++)
        read[l] = read[l] * gain[l] / root;
    for (size_t i = 0; i < n_ints; i++) {
        lane_fit *run = f->lane_fits + i;
        fit_lanes(f, i, pixel, n_lanes, gain, read, run, median);
        for (int l = 0; l < LM_LANES; l++) {
            rates[l] += median[l] / time;
            odd[l] = (uint8_t)(odd[l] | (isfinite(run->slope[l]) == 0)); /* a group that is no number */
        }
    }
    for (int l = 0; l < LM_LANES; l++) {
        float mean_rate = rates[l] / n;
        float dark_rate = f->p->dark_in_electrons ? dark[l] / gain[l] : dark[l];
        poisson_rate[l] = (mean_rate > 0 ? mean_rate : 0) + dark_rate;
        gain[l] = time * gain[l];
    }
    combine_lanes(f, pixel, n_lanes, gain, read, poisson_rate);
    for (size_t l = 0; l < n_lanes; l++)
        any_odd |= odd[l];
    return any_odd != 0;
}

/* ---- entry ---------------------------------------------------------------------------------- */

static lm_status fit_all(fit *f)
{
    size_t n_pixels = f->shape->n_rows * f->shape->n_cols;
    uint8_t odd[LM_LANES];
    for (size_t pixel = 0; pixel < n_pixels; pixel += LM_LANES) {
        size_t n_lanes = n_pixels - pixel < LM_LANES ? n_pixels - pixel : LM_LANES;
        if (!fit_block(f, pixel, n_lanes, odd))
            continue;
        for (size_t l = 0; l < n_lanes; l++)
            if (odd[l])
                fit_pixel(f, pixel + l);
    }
    return LM_OK;
}

static lm_status allocate(fit *f)
{
    size_t n = f->n_groups, n_ints = f->shape->n_ints;
    f->rows = malloc(n * (n + 1) / 2 * sizeof *f->rows);
    f->variances = calloc(n + 1, sizeof *f->variances);
    f->uneven_rows = malloc(n * sizeof *f->uneven_rows);
    f->dq = malloc(n_ints * n);
    f->kept = malloc(n);
    f->values = malloc(n_ints * n * sizeof *f->values);
    f->sorted = malloc(n * sizeof *f->sorted);
    f->int_times = malloc(n_ints * sizeof *f->int_times);
    f->scratch_times = malloc(n * sizeof *f->scratch_times);
    f->segments = malloc((n_ints + 1) * n * sizeof *f->segments);
    f->read_variances = malloc(n_ints * n * sizeof *f->read_variances);
    f->ramp = malloc(n * LM_LANES * sizeof *f->ramp);
    f->lanes = malloc(n * LM_LANES * sizeof *f->lanes);
    f->lane_fits = malloc(n_ints * sizeof *f->lane_fits);
    f->times = f->p->group_times ? malloc(n * sizeof *f->times) : NULL;
    if (!f->rows || !f->variances || !f->uneven_rows || !f->dq || !f->kept || !f->values ||
        !f->sorted || !f->int_times || !f->scratch_times || !f->segments || !f->read_variances ||
        !f->ramp || !f->lanes || !f->lane_fits || (f->p->group_times && !f->times))
        return LM_NO_MEMORY;
    for (size_t k = 0; f->times && k < n; k++)
        f->times[k] = (float)(f->p->group_times[k + f->p->first_group] / f->p->group_time);
    return LM_OK;
}

static void release(fit *f)
{
    void *buffers[] = {f->rows, f->variances, f->uneven_rows, f->dq, f->kept, f->values,
                       f->sorted, f->int_times, f->scratch_times, f->segments, f->read_variances,
                       f->ramp, f->lanes, f->lane_fits, f->times};
    for (size_t k = 0; k < sizeof buffers / sizeof *buffers; k++)
        free(buffers[k]);
}

lm_status lm_fit_ramps(const float *data, const lm_shape *shape, const uint8_t *groupdq,
                       const lm_shape *dq_shape, const uint32_t *pixeldq, const float *gain,
                       const float *readnoise, const float *average_dark,
                       const lm_ols_parameters *parameters, const lm_rate_planes *exposure,
                       const lm_rate_planes *integrations, const lm_segment_planes *segments)
{
    const lm_ols_parameters *p = parameters;
    if (!shape->n_ints || !shape->n_groups || !shape->n_rows || !shape->n_cols ||
        shape->n_ints != dq_shape->n_ints || shape->n_groups != dq_shape->n_groups ||
        shape->n_rows != dq_shape->n_rows || shape->n_cols != dq_shape->n_cols)
        return LM_BAD_SHAPE;
    if (p->first_group > p->last_group || p->last_group >= shape->n_groups ||
        !(p->group_time > 0) || !(p->frame_time > 0) || !(p->n_frames > 0))
        return LM_BAD_ARGUMENT;
    fit f = {.data = data, .gain = gain, .readnoise = readnoise, .dark = average_dark,
             .groupdq = groupdq, .pixeldq = pixeldq, .shape = shape, .dq_shape = dq_shape, .p = p,
             .exposure = exposure, .integrations = integrations, .report = segments,
             .n_groups = p->last_group - p->first_group + 1, .group_time = (float)p->group_time,
             .one_group_time = (float)((p->n_frames + 1) * p->frame_time / 2),
             .frame_time = (float)p->frame_time, .reads = (float)(2 * p->n_frames)};
    lm_status status = allocate(&f);
    if (!status)
        status = fit_all(&f);
    release(&f);
    return status;
}
