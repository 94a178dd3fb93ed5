/* native/include/lightmill/refpix.h: robust levels of a detector's reference pixels. */
#ifndef LIGHTMILL_REFPIX_H
#define LIGHTMILL_REFPIX_H
#include "core.h"

/* Means of n_sets sets of n values, after repeatedly dropping those further than `limit` standard
 * deviations from the mean of the set, until none is.
 *
 * values  [n_sets][n]     good  [n_sets][n], nonzero = use; NULL: all     NaN is never used
 * means   [n_sets] out; the plain mean where all values are equal, NaN where none is good
 * Sums are in double: a mean of 1000 float32 values loses three digits otherwise.
 * Allocates n doubles (LM_NO_MEMORY). */
LM_API lm_status lm_clipped_mean(const float *values, const uint8_t *good, size_t n_sets, size_t n, double limit,
                                 double *means);

/* Running median along rows of a few columns of reference pixels.
 *
 * columns  [n_planes][n_rows][n_cols]     good  [n_rows][n_cols], nonzero = use; NaN is never used
 * length   rows in the window, odd; beyond the ends rows are mirrored, the end row not repeated
 * medians  [n_planes][n_rows] out; the mean of the two middle values of an even number, NaN of none
 * Allocates one window (LM_NO_MEMORY). */
LM_API lm_status lm_side_median(const float *columns, const uint8_t *good, size_t n_planes, size_t n_rows,
                                size_t n_cols, size_t length, float *medians);

#endif
