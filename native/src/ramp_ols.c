/* Least-squares ramp fit; see lightmill/ramp_fit.h.
 *
 * Pixels whose groups are all good, but for groups no pixel of the block can use, are fitted 64 at a
 * time; the others one by one (ramp_ols_pixel.c). Both paths evaluate the same float expressions in
 * the same order, and so give the same bits. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "clones.h"
#include "line.h"
#include "networks.h"
#include "ramp_ols.h"

/* ---- coefficients --------------------------------------------------------------------------- */

static double weight_of(size_t group, size_t n, int power)
{
    const double middle = (double)(n - 1) / 2;
    return n < 3 ? 1 : pow(fabs(((double)group - middle) / middle), powers[power]);
}

/* Weighted least squares of d on `times` [n]: slope = sum of coefficient * d. */
static void fill_rows(const double *times, size_t n, power_row *rows, variance_row *variances)
{
    for (int p = 0; p < N_POWERS; p++) {
        lm_line line = {0};
        double read = 0;
        for (size_t i = 0; i < n; i++)
            lm_line_add(&line, times[i], weight_of(i, n, p));
        for (size_t i = n; i-- > 0;) {
            const double c = weight_of(i, n, p) * (times[i] - line.mean) / line.squares;
            rows[i].coefficients[p] = (float)c;
            read += c * c;
        }
        variances->poisson[p] = (float)(line.poisson / (line.squares * line.squares));
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

__attribute__((noinline)) const variance_row *lm_ols_variances(ols_fit *f, size_t start, size_t n, const power_row **rows)
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

/* ---- a block of pixels ---------------------------------------------------------------------- */

/* Whether no group of the block in this integration has a flag. */
LM_INLINE int is_clean(const uint8_t *from, size_t stride, size_t n_groups)
{
    enum { WORDS = LM_LANES / sizeof(uint64_t) };
    uint64_t any[WORDS] = {0}, all = 0, word;
    for (size_t k = 0; k < n_groups; k++) {
        lm_fetch_next(from + k * stride, sizeof *from);
        for (size_t w = 0; w < WORDS; w++) {
            memcpy(&word, from + k * stride + w * sizeof word, sizeof word);
            any[w] |= word;
        }
    }
    for (size_t w = 0; w < WORDS; w++)
        all |= any[w];
    return !all;
}

/* Find the run of groups that some lane can use in integration i; lanes whose flags are not just
 * that run are marked odd. Returns 0 if there is no run long enough. */
LM_INLINE int find_run(const ols_fit *f, size_t i, size_t pixel, uint8_t *restrict odd, lane_fit *run)
{
    size_t stride = f->dq_shape->group_stride, end = 0;
    const uint8_t *from =
        f->groupdq + i * f->dq_shape->int_stride + f->p->first_group * stride + pixel;
    if (is_clean(from, stride, f->n_groups)) {
        run->first = 0;
        run->n = f->n_groups;
        return run->n >= 3;
    }
    run->n = 0;
    for (size_t k = 0; k < f->n_groups; k++) {
        const uint8_t *restrict dq = from + k * stride;
        uint8_t any = 0, all = LM_DO_NOT_USE;
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

/* Median of the n differences of neighbouring groups, and the exponent of the weights. */
LM_INLINE void medians_of_few(size_t n, const float *restrict from, size_t stride,
                              const float *restrict gain, const float *restrict read,
                              float *restrict median, int32_t *restrict power)
{
    for (int l = 0; l < LM_LANES; l++) {
        float v[LM_FEW], base = from[l], before = base;
        for (size_t k = 0; k < n; k++) {
            float now = from[(k + 1) * stride + (size_t)l];
            v[k] = now - before;
            before = now;
        }
        lm_sort_few(v, n);
        median[l] = lm_median_few(v, n);
        power[l] = power_index(before - base, gain[l], read[l]);
    }
}

LM_INLINE void medians_of_many(size_t n, const float *restrict from, size_t stride,
                               const float *restrict gain, const float *restrict read,
                               float *restrict median, int32_t *restrict power, float *restrict rows)
{
    const float *last = from + n * stride;
    for (size_t k = 0; k < n; k++)
        for (int l = 0; l < LM_LANES; l++)
            rows[k * LM_LANES + (size_t)l] =
                from[(k + 1) * stride + (size_t)l] - from[k * stride + (size_t)l];
    lm_sort_lanes(rows, n);
    lm_median_lanes(rows, n, median);
    for (int l = 0; l < LM_LANES; l++)
        power[l] = power_index(last[l] - from[l], gain[l], read[l]);
}

/* Slope of the lanes whose exponent is number p, over n differences. */
LM_INLINE void slopes_of_few(size_t n, const float *restrict from, size_t stride,
                             const power_row *restrict rows, int32_t p, const int32_t *restrict power,
                             float *restrict slope)
{
    float c[LM_FEW];
    for (size_t k = 0; k < n; k++)
        c[k] = rows[k + 1].coefficients[p];
    for (int l = 0; l < LM_LANES; l++) {
        float base = from[l], sum = 0;
        for (size_t k = 0; k < n; k++)
            sum += c[k] * (from[(k + 1) * stride + (size_t)l] - base);
        slope[l] = power[l] == p ? sum : slope[l];
    }
}

LM_INLINE void slopes_of_many(size_t n, const float *restrict from, size_t stride,
                              const power_row *restrict rows, int32_t p,
                              const int32_t *restrict power, float *restrict slope)
{
    float sum[LM_LANES] = {0};
    for (size_t k = 1; k <= n; k++) {
        float c = rows[k].coefficients[p];
        const float *restrict d = from + k * stride;
        for (int l = 0; l < LM_LANES; l++)
            sum[l] += c * (d[l] - from[l]);
    }
    for (int l = 0; l < LM_LANES; l++)
        slope[l] = power[l] == p ? sum[l] : slope[l];
}

/* Median difference and slope of one integration, per group. */
LM_INLINE void fit_lanes(ols_fit *f, size_t i, size_t pixel, const float *restrict gain,
                         const float *restrict read, lane_fit *restrict run, float *restrict median)
{
    size_t n = run->n - 1, stride = f->shape->group_stride;
    const float *from =
        f->data + i * f->shape->int_stride + (run->first + f->p->first_group) * stride + pixel;
    for (size_t k = 0; k <= n; k++)
        lm_fetch_next(from + k * stride, sizeof *from);
    if (n <= LM_FEW)
        LM_FOR_FEW(n, medians_of_few, from, stride, gain, read, median, run->power)
    else
        medians_of_many(n, from, stride, gain, read, median, run->power, f->lanes);
    run->present = 0;
    for (int l = 0; l < LM_LANES; l++) {
        run->power[l] = f->p->unweighted ? 0 : run->power[l];
        run->present |= 1 << run->power[l];
    }

    const power_row *rows;
    lm_ols_variances(f, run->first, n + 1, &rows);
    for (int32_t p = 0; p < N_POWERS; p++) {
        if (!(run->present & (1 << p)))
            continue;
        if (n <= LM_FEW)
            LM_FOR_FEW(n, slopes_of_few, from, stride, rows, p, run->power, run->slope)
        else
            slopes_of_many(n, from, stride, rows, p, run->power, run->slope);
    }
}

/* What each lane's exponent makes of the variances; bounds are alike for all. */
LM_INLINE void take_factors(const variance_row *v, const lane_fit *restrict run, int exact,
                            float *restrict factor_p, float *restrict factor_r)
{
    for (int l = 0; l < LM_LANES; l++) {
        factor_p[l] = v->poisson[0];
        factor_r[l] = v->read[0];
    }
    for (int32_t p = 1; p < N_POWERS && exact; p++) {
        if (!(run->present & (1 << p)))
            continue;
        float poisson = v->poisson[p], read = v->read[p];
        for (int l = 0; l < LM_LANES; l++) {
            factor_p[l] = run->power[l] == p ? poisson : factor_p[l];
            factor_r[l] = run->power[l] == p ? read : factor_r[l];
        }
    }
}

LM_INLINE float positive(float value) { return value > 0 ? value : 0; }
LM_INLINE float inverse(float variance) { return variance > 0 ? 1 / variance : 0; }

/* Variances of the slopes of one integration, in the time and unit of the data. */
LM_INLINE void lane_variances(ols_fit *f, const lane_fit *restrict run, const float *restrict time_gain,
                              const float *restrict read, const float *restrict poisson_rate,
                              float *restrict var_p, float *restrict var_r)
{
    const power_row *rows;
    const variance_row *v = lm_ols_variances(f, run->first, run->n, &rows);
    float factor_p[LM_LANES], factor_r[LM_LANES];
    take_factors(v, run, f->p->exact_variances, factor_p, factor_r);
    for (int l = 0; l < LM_LANES; l++) {
        float noise = read[l] / time_gain[l];
        var_p[l] = poisson_rate[l] / time_gain[l] * factor_p[l];
        var_r[l] = noise * noise * factor_r[l];
    }
}

/* Rates of one integration to `out` and, if `twice`, to `copy`, whose error is a little different. */
LM_INLINE void write_lanes(const lm_rate_planes *out, size_t at, const uint32_t *dq, float time,
                           const float *slope, const float *var_p, const float *var_r, int twice,
                           const lm_rate_planes *copy, size_t copy_at)
{
    float *o_slope = out->slope + at, *o_err = out->err + at, *o_p = out->var_poisson + at;
    float *o_r = out->var_rnoise + at, *c_slope = copy->slope + copy_at, *c_err = copy->err + copy_at;
    float *c_p = copy->var_poisson + copy_at, *c_r = copy->var_rnoise + copy_at;
    uint32_t *o_dq = out->dq + at, *c_dq = copy->dq + copy_at;
    LM_NO_OVERLAP
    for (int l = 0; l < LM_LANES; l++) {
        float all_r = positive(var_r[l]), small_p = small_only(positive(var_p[l]));
        float rate = slope[l] / time;
        float small_r = small_only(all_r);
        uint32_t flags = dq[l];
        o_slope[l] = rate;
        o_err[l] = sqrtf(positive(var_p[l] + var_r[l]));
        o_p[l] = small_p;
        o_r[l] = small_r;
        o_dq[l] = flags;
        if (twice) {
            c_slope[l] = rate;
            c_err[l] = sqrtf(small_p + all_r);
            c_p[l] = small_p;
            c_r[l] = small_r;
            c_dq[l] = flags;
        }
    }
}

/* The rates of every lane from the slopes and medians; as fit_segment and combine do it. */
LM_INLINE void combine_lanes(ols_fit *f, size_t pixel, const float *restrict time_gain,
                             const float *restrict read, const float *restrict poisson_rate)
{
    size_t n_ints = f->shape->n_ints;
    float time = f->group_time, weights = 0;
    float sum[LM_LANES], inverse_p[LM_LANES], inverse_r[LM_LANES], var_p[LM_LANES], var_r[LM_LANES];
    const uint32_t *dq = f->pixeldq + pixel;
    for (size_t i = 0; i < n_ints; i++) {
        const lane_fit *restrict run = f->lane_fits + i;
        const power_row *rows;
        lane_variances(f, run, time_gain, read, poisson_rate, var_p, var_r);
        if (f->integrations)
            write_lanes(f->integrations, i * f->integrations->int_stride + pixel, dq, time, run->slope,
                        var_p, var_r, 0, f->exposure, pixel);
        float weight = lm_ols_variances(f, run->first, run->n, &rows)->weight * (time * time);
        weights += weight;
        for (int l = 0; l < LM_LANES; l++) {
            float slope = weight * (run->slope[l] / time);
            float of_p = inverse(positive(var_p[l])), of_r = inverse(positive(var_r[l]));
            sum[l] = i ? sum[l] + slope : 0 + slope;
            inverse_p[l] = i ? inverse_p[l] + of_p : of_p;
            inverse_r[l] = i ? inverse_r[l] + of_r : of_r;
        }
    }
    const lm_rate_planes *out = f->exposure;
    float *slope = out->slope + pixel, *err = out->err + pixel;
    float *poisson = out->var_poisson + pixel, *rnoise = out->var_rnoise + pixel;
    uint32_t *flags = out->dq + pixel;
    LM_NO_OVERLAP
    for (int l = 0; l < LM_LANES; l++) {
        float all_p = inverse_p[l] > 0 ? 1 / inverse_p[l] : 0;
        float all_r = inverse_r[l] > 0 ? 1 / inverse_r[l] : 0;
        float small_p = small_only(all_p);
        slope[l] = sum[l] / weights;
        err[l] = sqrtf(small_p + all_r);
        poisson[l] = small_p;
        rnoise[l] = small_only(all_r);
        flags[l] = dq[l];
    }
}

/* One integration is the exposure: computed once, written twice. */
LM_INLINE void write_single(ols_fit *f, size_t pixel, const float *restrict time_gain,
                            const float *restrict read, const float *restrict poisson_rate)
{
    float var_p[LM_LANES], var_r[LM_LANES];
    lane_variances(f, f->lane_fits, time_gain, read, poisson_rate, var_p, var_r);
    const lm_rate_planes *each = f->integrations ? f->integrations : f->exposure;
    write_lanes(each, pixel, f->pixeldq + pixel, f->group_time, f->lane_fits->slope, var_p, var_r, 1,
                f->exposure, pixel);
}

/* Fit the lanes that are not odd; returns 1 if any is odd. */
LM_CLONES
static int fit_block(ols_fit *f, size_t pixel, uint8_t *restrict odd)
{
    static const float no_dark[LM_LANES];
    size_t n_ints = f->shape->n_ints;
    float read[LM_LANES], poisson_rate[LM_LANES], time_gain[LM_LANES], median[LM_LANES];
    const float *gain = f->gain + pixel, *readnoise = f->readnoise + pixel;
    const uint32_t *pixeldq = f->pixeldq + pixel;
    if (f->times || f->report) {
        memset(odd, 1, LM_LANES);
        return 1;
    }
    uint32_t unusable[LM_LANES];
    for (int l = 0; l < LM_LANES; l++)
        unusable[l] = gain[l] > 0 ? pixeldq[l] & LM_DO_NOT_USE : 1;
    for (int l = 0; l < LM_LANES; l++)
        odd[l] = (uint8_t)unusable[l];
    for (size_t i = 0; i < n_ints; i++)
        if (!find_run(f, i, pixel, odd, f->lane_fits + i)) {
            memset(odd, 1, LM_LANES);
            return 1;
        }
    uint8_t any_odd = 0, all_odd = 1;
    for (int l = 0; l < LM_LANES; l++)
        all_odd &= odd[l] != 0;
    if (all_odd)
        return 1;

    float root = sqrtf(f->reads), time = f->group_time, n = (float)n_ints;
    for (int l = 0; l < LM_LANES; l++)
        read[l] = readnoise[l] * gain[l] / root;
    for (size_t i = 0; i < n_ints; i++) {
        lane_fit *run = f->lane_fits + i;
        fit_lanes(f, i, pixel, gain, read, run, median);
        for (int l = 0; l < LM_LANES; l++)
            poisson_rate[l] = i ? poisson_rate[l] + median[l] / time : median[l] / time;
        int32_t lost = 0;
        for (int l = 0; l < LM_LANES; l++)
            lost |= !(fabsf(run->slope[l]) <= 3.402823466e38f);
        for (int l = 0; lost && l < LM_LANES; l++)
            odd[l] = (uint8_t)(odd[l] | (isfinite(run->slope[l]) == 0)); /* a group that is no number */
    }
    const float *dark = f->dark ? f->dark + pixel : no_dark;
    int dark_in_electrons = f->p->dark_in_electrons;
    for (int l = 0; l < LM_LANES; l++) {
        float mean_rate = poisson_rate[l] / n;
        float dark_rate = dark_in_electrons ? dark[l] / gain[l] : dark[l];
        poisson_rate[l] = positive(mean_rate) + dark_rate;
        time_gain[l] = time * gain[l];
    }
    if (n_ints == 1)
        write_single(f, pixel, time_gain, read, poisson_rate);
    else
        combine_lanes(f, pixel, time_gain, read, poisson_rate);
    for (int l = 0; l < LM_LANES; l++)
        any_odd |= odd[l];
    return any_odd;
}

/* ---- entry ---------------------------------------------------------------------------------- */

static lm_status fit_all(ols_fit *f)
{
    size_t n_pixels = f->shape->n_rows * f->shape->n_cols, pixel = 0;
    uint8_t odd[LM_LANES];
    for (; pixel + LM_LANES <= n_pixels; pixel += LM_LANES) {
        if (!fit_block(f, pixel, odd))
            continue;
        for (size_t l = 0; l < LM_LANES; l++)
            if (odd[l])
                lm_ols_fit_pixel(f, pixel + l);
    }
    for (; pixel < n_pixels; pixel++) /* less than a block */
        lm_ols_fit_pixel(f, pixel);
    return LM_OK;
}

static lm_status allocate(ols_fit *f)
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
    f->ramp = malloc(n * sizeof *f->ramp);
    f->ramp_pixel = SIZE_MAX; /* none */
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

static void release(ols_fit *f)
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
    ols_fit f = {.data = data, .gain = gain, .readnoise = readnoise, .dark = average_dark,
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
