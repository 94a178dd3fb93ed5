/* native/include/lightmill/arithmetic.h: planes subtracted from ramps, flags joined. */
#ifndef LIGHTMILL_ARITHMETIC_H
#define LIGHTMILL_ARITHMETIC_H
#include "core.h"

/* data[i, g] -= planes[p(i), q(g)], where a NaN of the reference counts as 0.
 * data       ramp described by `shape`, in place
 * planes     [n_outer][..][n_rows][n_cols]; `outer_stride`, `plane_stride` in elements
 * n_outer    reference integrations: p(i) = min(i, n_outer - 1)
 * plane_of   [n_groups] q(g); a negative entry leaves that group alone; NULL: q(g) = 0 */
LM_API lm_status lm_subtract(float *data, const lm_shape *shape, const float *planes, size_t n_outer,
                             size_t outer_stride, size_t plane_stride, const int64_t *plane_of);

/* data *= factor. */
LM_API lm_status lm_scale(float *data, const lm_shape *shape, float factor);

/* data[i, g, y, x] -= along_x[i, g, (y + row_phase) % n_phases, x], then -= along_y[i, g, y]
 * (the other way round with `y_first`), for groups from `start_group` on. Either may be NULL.
 * along_y    [n_ints][n_groups][n_rows]      along_x    [n_ints][n_groups][n_phases][n_cols] */
LM_API lm_status lm_subtract_cross(float *data, const lm_shape *shape, const float *along_y,
                                   const float *along_x, size_t n_phases, size_t row_phase,
                                   size_t start_group, int y_first);

/* flags[i] |= more[i]. */
LM_API lm_status lm_flag_or(uint32_t *flags, const uint32_t *more, size_t count);

/* groupdq[i, g] |= mask for first_group <= g < last_group, every `step`th; mask [n_rows][n_cols]. */
LM_API lm_status lm_group_or(uint8_t *groupdq, const lm_shape *shape, const uint8_t *mask,
                             size_t first_group, size_t last_group, size_t step);

#endif
