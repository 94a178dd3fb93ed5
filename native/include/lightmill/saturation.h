/* native/include/lightmill/saturation.h: which groups a detector was too full, or too empty, to read. */
#ifndef LIGHTMILL_SATURATION_H
#define LIGHTMILL_SATURATION_H
#include "core.h"

enum { LM_NO_SAT_CHECK = 1u << 21 };

/* What one needs to know of the reads averaged into groups to catch saturation inside an average. */
typedef struct {
    const float *dilution; /* [n_groups] mean(read times) / last read time; NULL: no such test */
    const float *bias;     /* [n_rows][n_cols] DN, for the second-group test; NULL: 0 */
    int test_second_group; /* nonzero: make the test, with the two times below */
    float first_mean;      /* mean read time of group 0 */
    float third_last;      /* last read time of group 2 */
    float n_frames;        /* reads averaged in one group */
} lm_read_pattern;

/* Flag SATURATED, AD_FLOOR and DO_NOT_USE in `groupdq`, from raw DN.
 *
 * threshold     [n_rows][n_cols] DN   reference_dq  [n_rows][n_cols], joined into `pixeldq`; where it
 *               has NO_SAT_CHECK or the threshold is NaN (which adds NO_SAT_CHECK) nothing is tested
 * grow          half side of the square to which a SATURATED pixel spreads in its own group
 * pattern       NULL: no test inside averages
 *
 * A pixel saturated once stays so to the end of its integration; what grew from it does not carry on.
 * Rows within `grow` of the edge (twice that with `dilution`) depend on the rows beyond it.
 * Allocates one float plane and small row buffers (LM_NO_MEMORY). */
LM_API lm_status lm_flag_saturation(const float *data, const lm_shape *shape, uint8_t *groupdq,
                                    const lm_shape *dq_shape, uint32_t *pixeldq, const float *threshold,
                                    const uint32_t *reference_dq, size_t grow, const lm_read_pattern *pattern);

/* Set to 0 the pixels of n_planes [n_rows][n_cols] (contiguous) that are <= 0, or within `grow` of one
 * that reaches `threshold`. reference_dq as above, or NULL. */
LM_API lm_status lm_flag_zeroframe(float *zeroframe, size_t n_planes, size_t n_rows, size_t n_cols,
                                   const float *threshold, const uint32_t *reference_dq, size_t grow);

#endif
