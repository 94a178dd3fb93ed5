/* Least-squares ramp fit; see lightmill/ramp_fit.h.
 *
 * Pixels whose groups are all good, but for groups no pixel of the block can use, are fitted 64 at a
 * time; the others one by one (ramp_ols_pixel.c). Both paths evaluate the same float expressions in
 * the same order, and so give the same bits. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "clones.h"
#include "ramp_ols.h"

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

const variance_row *lm_ols_variances(ols_fit *f, size_t start, size_t n, const power_row **rows)
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

/* Find the run of groups that some lane can use in integration i; lanes whose flags are not just
 * that run are marked odd. Returns 0 if there is no run long enough. */
LM_INLINE int find_run(const ols_fit *f, size_t i, size_t pixel, size_t n_lanes, uint8_t *restrict odd,
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
LM_INLINE void fit_lanes(ols_fit *f, size_t i, size_t pixel, size_t n_lanes, const float *restrict gain,
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
    lm_ols_variances(f, run->first, n, &rows);
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
LM_INLINE void combine_lanes(ols_fit *f, size_t pixel, size_t n_lanes, const float *restrict time_gain,
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
        const variance_row *v = lm_ols_variances(f, run->first, run->n, &rows);
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
static int fit_block(ols_fit *f, size_t pixel, size_t n_lanes, uint8_t *odd)
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

static lm_status fit_all(ols_fit *f)
{
    size_t n_pixels = f->shape->n_rows * f->shape->n_cols;
    uint8_t odd[LM_LANES];
    for (size_t pixel = 0; pixel < n_pixels; pixel += LM_LANES) {
        size_t n_lanes = n_pixels - pixel < LM_LANES ? n_pixels - pixel : LM_LANES;
        if (!fit_block(f, pixel, n_lanes, odd))
            continue;
        for (size_t l = 0; l < n_lanes; l++)
            if (odd[l])
                lm_ols_fit_pixel(f, pixel + l);
    }
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
