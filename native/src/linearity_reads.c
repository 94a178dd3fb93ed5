#include <math.h>
#include <string.h>

#include "clones.h"
#include "lightmill/linearity.h"
#include "shape.h"

/* Columns worked on at a time: the reads of one group of them, in double, stay in the first-level cache. */
enum { BLOCK = 256 };

#define ALWAYS_INLINE static inline __attribute__((always_inline))

ALWAYS_INLINE void evaluate_known(const double *restrict at, const float *restrict coeffs, const size_t n,
                                  size_t stride, double *restrict value, size_t count)
{
    for (size_t x = 0; x < count; x++) {
        double v = (double)coeffs[(n - 1) * stride + x];
        for (size_t j = n - 1; j-- > 0;)
            v = v * at[x] + (double)coeffs[j * stride + x];
        value[x] = v;
    }
}

LM_CLONES static void evaluate(const double *restrict at, const float *restrict coeffs, size_t n, size_t stride,
                               double *restrict value, size_t count)
{
    switch (n) {
    case 2: evaluate_known(at, coeffs, 2, stride, value, count); return;
    case 3: evaluate_known(at, coeffs, 3, stride, value, count); return;
    case 4: evaluate_known(at, coeffs, 4, stride, value, count); return;
    case 5: evaluate_known(at, coeffs, 5, stride, value, count); return;
    case 6: evaluate_known(at, coeffs, 6, stride, value, count); return;
    default: break;
    }
    for (size_t x = 0; x < count; x++)
        value[x] = (double)coeffs[(n - 1) * stride + x];
    for (size_t j = n - 1; j-- > 0;)
        for (size_t x = 0; x < count; x++)
            value[x] = value[x] * at[x] + (double)coeffs[j * stride + x];
}

typedef struct {
    const float *coeffs;
    size_t n, stride;
} polynomial;

typedef struct {
    polynomial forward, inverse;
    const float *saturation; /* of this block, or NULL */
    const size_t *n_reads;
    const double *read_times;
    const double *group_times; /* mean of each group's reads */
} reads;

typedef struct {
    double rate[BLOCK], time[BLOCK], sum[BLOCK], shift[BLOCK], value[BLOCK];
    float first[BLOCK], reached[BLOCK], linear[BLOCK];
    uint16_t good[BLOCK];
    double raw[]; /* [most reads of a group][BLOCK] */
} block;

/* `linear` = the polynomial in float32, as for single reads; SATURATED counts stay. */
LM_CLONES static void linearise(const float *restrict data, const uint8_t *restrict groupdq, const polynomial *p,
                                float *restrict linear, size_t count)
{
    memcpy(linear, p->coeffs + (p->n - 1) * p->stride, count * sizeof *linear);
    for (size_t j = p->n - 1; j-- > 0;)
        for (size_t x = 0; x < count; x++)
            linear[x] = linear[x] * data[x] + p->coeffs[j * p->stride + x];
    for (size_t x = 0; x < count; x++)
        linear[x] = groupdq[x] & LM_SATURATED ? data[x] : linear[x];
}

LM_CLONES static void count_good(const uint8_t *restrict groupdq, uint16_t *restrict good, size_t count)
{
    for (size_t x = 0; x < count; x++)
        good[x] = (uint16_t)(good[x] + (groupdq[x] & LM_SATURATED ? 0 : 1));
}

/* Take a group's signal and time where it is the last but one good one; group 1 where there are fewer. */
LM_CLONES static void take_reached(block *b, size_t group, double time, size_t count)
{
    for (size_t x = 0; x < count; x++) {
        const int is_last = group == 1 ? b->good[x] <= 3 : (size_t)b->good[x] == group + 2;
        b->reached[x] = is_last ? b->linear[x] : b->reached[x];
        b->time[x] = is_last ? time : b->time[x];
    }
}

LM_CLONES static void find_rate(block *b, double first_time, size_t count)
{
    for (size_t x = 0; x < count; x++)
        b->rate[x] = (double)(b->reached[x] - b->first[x]) / (b->time[x] - first_time);
}

LM_CLONES static void predict(const block *b, double elapsed, double *restrict signal, size_t count)
{
    for (size_t x = 0; x < count; x++)
        signal[x] = (double)b->first[x] + b->rate[x] * elapsed;
}

LM_CLONES static void add(double *restrict sum, const double *restrict value, size_t count)
{
    for (size_t x = 0; x < count; x++)
        sum[x] += value[x];
}

LM_CLONES static void find_shift(const float *restrict data, const double *restrict sum, double n,
                                 double *restrict shift, size_t count)
{
    for (size_t x = 0; x < count; x++)
        shift[x] = (double)data[x] - sum[x] / n;
}

LM_CLONES static void limit(double *restrict raw, const float *restrict saturation, size_t count)
{
    for (size_t x = 0; x < count; x++) {
        const double most = (double)(1.2f * saturation[x]);
        raw[x] = raw[x] > most ? most : raw[x]; /* a NaN limits nothing */
    }
}

LM_CLONES static void accept(float *restrict data, const uint8_t *restrict groupdq, const double *restrict sum,
                             double n, size_t count)
{
    for (size_t x = 0; x < count; x++)
        data[x] = groupdq[x] & LM_SATURATED ? data[x] : (float)(sum[x] / n);
}

/* One group of one block of columns. */
static void correct_group(float *data, const uint8_t *groupdq, const reads *r, size_t n_reads, const double *times,
                          block *b, size_t count)
{
    memset(b->sum, 0, sizeof b->sum);
    for (size_t k = 0; k < n_reads; k++) {
        predict(b, times[k] - r->group_times[0], b->value, count);
        evaluate(b->value, r->inverse.coeffs, r->inverse.n, r->inverse.stride, b->raw + k * BLOCK, count);
        add(b->sum, b->raw + k * BLOCK, count);
    }
    find_shift(data, b->sum, (double)n_reads, b->shift, count);
    memset(b->sum, 0, sizeof b->sum);
    for (size_t k = 0; k < n_reads; k++) {
        double *raw = b->raw + k * BLOCK;
        add(raw, b->shift, count);
        if (r->saturation)
            limit(raw, r->saturation, count);
        evaluate(raw, r->forward.coeffs, r->forward.n, r->forward.stride, b->value, count);
        add(b->sum, b->value, count);
    }
    accept(data, groupdq, b->sum, (double)n_reads, count);
}

/* One integration of one block of columns; `data` and `groupdq` point to group 0. */
static void correct_block(float *data, const lm_shape *shape, const uint8_t *groupdq, const lm_shape *dq_shape,
                          const reads *r, block *b, size_t count)
{
    const size_t groups = shape->n_groups;
    memset(b->good, 0, sizeof b->good);
    for (size_t g = 0; g < groups; g++)
        count_good(groupdq + g * dq_shape->group_stride, b->good, count);
    linearise(data, groupdq, &r->forward, b->first, count);
    memset(b->rate, 0, sizeof b->rate);
    for (size_t g = 1; g < groups; g++) {
        linearise(data + g * shape->group_stride, groupdq + g * dq_shape->group_stride, &r->forward, b->linear, count);
        take_reached(b, g, r->group_times[g], count);
    }
    if (groups > 1)
        find_rate(b, r->group_times[0], count);
    const double *times = r->read_times;
    for (size_t g = 0; g < groups; times += r->n_reads[g++])
        correct_group(data + g * shape->group_stride, groupdq + g * dq_shape->group_stride, r, r->n_reads[g], times,
                      b, count);
}

/* Means of the read times, and the most reads of a group; 0 if the times do not rise. */
static size_t mean_times(const size_t *n_reads, const double *read_times, size_t n_groups, double *means)
{
    size_t most = 0;
    for (size_t g = 0; g < n_groups; g++) {
        means[g] = 0.0;
        for (size_t k = 0; k < n_reads[g]; k++)
            means[g] += *read_times++;
        means[g] /= (double)n_reads[g];
        if (!isfinite(means[g]) || (g > 0 && !(means[g] > means[g - 1])))
            return 0;
        most = n_reads[g] > most ? n_reads[g] : most;
    }
    return most;
}

lm_status lm_correct_linearity_reads(float *data, const lm_shape *shape, const uint8_t *groupdq,
                                     const lm_shape *dq_shape, const float *coeffs, size_t n_coeffs,
                                     size_t coeff_stride, const float *inverse, size_t n_inverse,
                                     size_t inverse_stride, const size_t *n_reads, const double *read_times,
                                     const uint32_t *reference_dq, uint32_t *pixeldq, const float *saturation)
{
    if (!lm_shape_is_sound(shape) || !lm_shape_is_sound(dq_shape) || !lm_shapes_agree(shape, dq_shape))
        return LM_BAD_SHAPE;
    const size_t cols = shape->n_cols, pixels = shape->n_rows * cols;
    if (n_coeffs < 2 || n_inverse < 2 || coeff_stride < pixels || inverse_stride < pixels ||
        shape->n_groups > UINT16_MAX)
        return LM_BAD_SHAPE;
    double *group_times = malloc(shape->n_groups * sizeof *group_times);
    if (!group_times)
        return LM_NO_MEMORY;
    const size_t most = mean_times(n_reads, read_times, shape->n_groups, group_times);
    if (most == 0) {
        free(group_times);
        return LM_BAD_ARGUMENT;
    }
    block *b = malloc(sizeof *b + most * BLOCK * sizeof(double));
    float *usable = malloc((n_coeffs + n_inverse) * BLOCK * sizeof *usable);
    lm_status status = b && usable ? LM_OK : LM_NO_MEMORY;
    for (size_t at = 0; status == LM_OK && at < pixels; at += BLOCK) { /* rows are contiguous: blocks may cross */
        const size_t count = pixels - at < BLOCK ? pixels - at : BLOCK;
        reads r = {.forward = {coeffs + at, n_coeffs, coeff_stride},
                   .inverse = {inverse + at, n_inverse, inverse_stride},
                   .saturation = saturation ? saturation + at : NULL,
                   .n_reads = n_reads, .read_times = read_times, .group_times = group_times};
        if (reference_dq) {
            uint32_t unwanted[BLOCK];
            uint32_t *flags = pixeldq ? pixeldq + at : unwanted;
            memset(unwanted, 0, sizeof unwanted);
            lm_prepare_linearity(coeffs + at, n_coeffs, coeff_stride, count, reference_dq + at, usable, flags);
            lm_prepare_linearity(inverse + at, n_inverse, inverse_stride, count, reference_dq + at,
                                 usable + n_coeffs * count, flags);
            r.forward = (polynomial){usable, n_coeffs, count};
            r.inverse = (polynomial){usable + n_coeffs * count, n_inverse, count};
        }
        for (size_t i = 0; i < shape->n_ints; i++)
            correct_block(data + lm_plane(shape, i, 0) + at, shape, groupdq + lm_plane(dq_shape, i, 0) + at, dq_shape,
                          &r, b, count);
    }
    free(usable);
    free(b);
    free(group_times);
    return status;
}
