/* native/include/lightmill/linearity.h: a detector's counts made proportional to its charge. */
#ifndef LIGHTMILL_LINEARITY_H
#define LIGHTMILL_LINEARITY_H
#include "core.h"

enum { LM_NO_LIN_CORR = 1u << 20 };

/* Make coefficients usable: the identity (0, 1, 0, ...) where the reference DQ has NO_LIN_CORR, any
 * coefficient is NaN or the linear one is 0; the latter two add NO_LIN_CORR.
 *
 * coeffs        n_coeffs planes [n_rows][n_cols], `coeff_stride` elements apart, lowest power first
 * reference_dq  [n_pixels]      usable  [n_coeffs][n_pixels] out     pixeldq  [n_pixels] |= flags */
LM_API lm_status lm_prepare_linearity(const float *coeffs, size_t n_coeffs, size_t coeff_stride, size_t n_pixels,
                                      const uint32_t *reference_dq, float *usable, uint32_t *pixeldq);

/* data = sum of c_j data^j (Horner, multiply then add, in float32), where groupdq is not SATURATED.
 *
 * groupdq       NULL: every group        dq_shape      may be NULL with it
 * reference_dq  not NULL: the coefficients are prepared as above on the way, and the flags joined into
 *               `pixeldq` (which may be NULL)
 * keep_zero     nonzero: a 0 stays 0, whatever the polynomial says (zero frames: 0 means "no value")
 * Allocates n_coeffs rows (LM_NO_MEMORY). */
LM_API lm_status lm_correct_linearity(float *data, const lm_shape *shape, const uint8_t *groupdq,
                                      const lm_shape *dq_shape, const float *coeffs, size_t n_coeffs,
                                      size_t coeff_stride, const uint32_t *reference_dq, uint32_t *pixeldq,
                                      int keep_zero);

/* The same for groups that average several reads: the polynomial of a mean is not the mean of the
 * polynomial. The corrected first group and the last but one of the groups not SATURATED (group 1 at
 * least) give a rate; it predicts the linear signal of every read, `inverse` the counts of each; these are
 * shifted so that their mean is the group's, corrected one by one, and averaged, all in double.
 * One group only: no rate, all reads of it alike.
 *
 * inverse       n_inverse planes like `coeffs`: counts as a polynomial of linear signal
 * n_reads       [n_groups] reads in each group, 1 or more
 * read_times    [sum of n_reads] of each, group by group, rising
 * saturation    [n_rows][n_cols] DN; no read is taken to exceed 1.2 times that; NULL, NaN: no limit
 * groupdq is needed here; reference_dq and pixeldq as above, for both polynomials.
 * Allocates rows for coefficients and 256-column blocks for reads (LM_NO_MEMORY). */
LM_API lm_status lm_correct_linearity_reads(float *data, const lm_shape *shape, const uint8_t *groupdq,
                                            const lm_shape *dq_shape, const float *coeffs, size_t n_coeffs,
                                            size_t coeff_stride, const float *inverse, size_t n_inverse,
                                            size_t inverse_stride, const size_t *n_reads, const double *read_times,
                                            const uint32_t *reference_dq, uint32_t *pixeldq,
                                            const float *saturation);

#endif
