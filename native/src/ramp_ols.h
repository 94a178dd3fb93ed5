/* What the least-squares fit of one pixel and of 64 share; see lightmill/ramp_fit.h. */
#ifndef LM_RAMP_OLS_H
#define LM_RAMP_OLS_H

#include <math.h>

#include "lanes.h"
#include "lightmill/ramp_fit.h"

enum { N_POWERS = 6 };


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
    int32_t present; /* bit p: some lane has power p */
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
    float *ramp;          /* [n_groups] of this pixel and integration: */
    size_t ramp_pixel, ramp_int;
    /* a block */
    float *lanes;         /* [n_groups][LM_LANES] */
    lane_fit *lane_fits;  /* [n_ints] */
} ols_fit;

/* Weight exponents and the signal to noise ratios they end at; Fixsen et al. 2000, table 2. */
static const double powers[N_POWERS] = {0, 0.4, 1, 3, 6, 10};
static const float power_limits[N_POWERS - 1] = {5, 10, 20, 50, 100};

LM_INLINE int power_index(float difference, float gain, float read)
{
    float signal = difference * gain, radicand = read * read + signal;
    float snr = radicand > 0 ? signal / sqrtf(radicand) : 0;
    int p = 0;
    for (int k = 0; k < N_POWERS - 1; k++)
        p += snr >= power_limits[k];
    return p;
}

/* Variances this large mean that nothing is known, and are reported as none. */
LM_INLINE float small_only(float variance) { return variance < 1e6f ? variance : 0; }

/* Coefficients (NULL for one group) and variance factors of the run of n groups from `start`. */
const variance_row *lm_ols_variances(ols_fit *f, size_t start, size_t n, const power_row **rows);

/* Fit one pixel with whatever flags it has. */
void lm_ols_fit_pixel(ols_fit *f, size_t pixel);

#endif
