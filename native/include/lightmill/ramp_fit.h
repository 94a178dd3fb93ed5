/* native/include/lightmill/ramp_fit.h: the count rate of a ramp, by least squares or by likelihood.
 *
 * Both fits take a ramp in DN, its group flags, the pixel's flags, gain [electron/DN], read noise [DN,
 * of the difference of two reads] and average dark current, and write a rate [DN/s], its error, flags
 * and the two parts of its variance for the exposure and for each integration.
 * A pixel or integration without a rate is NaN with zero errors, and DO_NOT_USE.
 * All arithmetic of a pixel is its own: bits do not depend on bands, blocks or threads.
 */
#ifndef LIGHTMILL_RAMP_FIT_H
#define LIGHTMILL_RAMP_FIT_H

#include "lightmill/core.h"

enum { LM_NO_GAIN_VALUE = 1u << 19 };

/* Where to write; planes [n_rows * n_cols], those of integrations `int_stride` elements apart. */
typedef struct {
    float *slope, *err, *var_poisson, *var_rnoise;
    uint32_t *dq;
    size_t int_stride;
} lm_rate_planes;

typedef struct {
    double group_time, frame_time; /* s */
    double n_frames;               /* reads averaged in a group */
    size_t first_group, last_group; /* the groups outside are not looked at */
    int suppress_one_group;        /* integrations with one good group have no rate */
    int unweighted;                /* ordinary instead of signal-dependent weights */
    int dark_in_electrons;         /* average dark in electron/s; otherwise DN/s */
    int exact_variances;           /* of the weighted estimate, instead of the sum of two optima */
    const double *group_times;     /* [n_groups], s, for uneven ramps; NULL: k * group_time */
    const float *zeroframe;        /* first reads, DN, planes `zeroframe_stride` apart; or NULL */
    size_t zeroframe_stride;
} lm_ols_parameters;

/* What became of the segments, for those who ask; zero where there is none. Planes
 * [n_ints][n_segments] or, `jump`, [n_ints][n_jumps] of n_rows * n_cols without gaps; more segments
 * or jumps than that are not written. */
typedef struct {
    size_t n_segments, n_jumps;
    float *slope, *sigma_slope, *var_poisson, *var_rnoise; /* DN/s, DN/s, (DN/s)^2 */
    float *intercept, *sigma_intercept; /* DN at the time of group 0; sigmas of read noise alone */
    float *weight;                      /* 1 / var_rnoise, s^2/DN^2 */
    float *jump;                        /* DN, difference into each group flagged JUMP_DET */
    float *pedestal;                    /* [n_ints], DN: signal at the reset */
    double first_group_age;             /* s from the reset to the mean time of group 0 */
} lm_segment_planes;

/* Weighted least squares over the segments between jumps.
 *
 * A segment is a maximal run of unflagged groups; one that follows a group flagged JUMP_DET alone
 * starts with that group. Weights |(i - m) / m|^P about the middle m, P growing with the signal to
 * noise ratio (Fixsen et al. 2000, PASP 112, 1350); segments and integrations are combined with
 * inverse read-noise variances. Poisson variances come from the median of the differences.
 * CHARGELOSS groups count in the read-noise variance only.
 * data         ramp of `shape`; groupdq same counts, strides of `dq_shape`
 * average_dark [n_rows * n_cols] or NULL
 * exposure, integrations, segments   out; the last two may be NULL
 * Allocates at the start. */
LM_API lm_status lm_fit_ramps(const float *data, const lm_shape *shape, const uint8_t *groupdq,
                              const lm_shape *dq_shape, const uint32_t *pixeldq, const float *gain,
                              const float *readnoise, const float *average_dark,
                              const lm_ols_parameters *parameters, const lm_rate_planes *exposure,
                              const lm_rate_planes *integrations,
                              const lm_segment_planes *segments);

typedef struct {
    /* [n_groups] of the ramp: mean time of the reads of a group [s], their number N, and
     * tau = sum over j = 1..N of (2 N + 1 - 2 j) t_j / N^2 [s], the time that enters the variance */
    const double *mean_times, *taus, *n_reads;
    double one_omit, two_omit;      /* drops of chi^2 that make a jump; not positive: no search */
    size_t first_group, last_group; /* the groups outside are not looked at */
    int dark_in_electrons;          /* average dark in electron/s; otherwise DN/s */
    int jump_masks_both;            /* a flagged jump spoils the difference after it in any case */
    int flag_groups;                /* set JUMP_DET in groupdq where the search finds a jump */
} lm_likelihood_parameters;

/* Likelihood of the differences of groups, whose covariance is tridiagonal (Brandt 2024, PASP 136,
 * 045004), and search for jumps by leaving out one difference, or two that share a group of several
 * reads (045005). O(n_groups) for each pixel; double inside.
 * groupdq      JUMP_DET alone spoils the difference into the group, and the one after it if the
 *              group has several reads; any other flag but PERSISTENCE both
 * chisq        [n_rows * n_cols] out, or NULL: sum over the integrations
 * int_chisq    planes `int_chisq_stride` apart, out, or NULL
 * Allocates at the start. */
LM_API lm_status lm_fit_ramps_likelihood(
    const float *data, const lm_shape *shape, uint8_t *groupdq, const lm_shape *dq_shape,
    const uint32_t *pixeldq, const float *gain, const float *readnoise, const float *average_dark,
    const lm_likelihood_parameters *parameters, const lm_rate_planes *exposure,
    const lm_rate_planes *integrations, float *chisq, float *int_chisq, size_t int_chisq_stride);

#endif
