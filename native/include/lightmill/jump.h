/* native/include/lightmill/jump.h: cosmic rays as steps in a ramp.
 *
 * Two-point differences (Anderson & Gordon 2011, PASP 123, 1237): in electrons,
 * d[k] = (e[k+1] - e[k]) / time[k]; a difference far from the pixel's median in units of its noise,
 * variance = |median| / time + (readnoise * gain)^2 / n_frames / time^2, is a jump of group k+1.
 * All arithmetic is float: the decision for a pixel is the same in any block, band or thread.
 */
#ifndef LIGHTMILL_JUMP_H
#define LIGHTMILL_JUMP_H

#include "lightmill/core.h"

typedef enum {
    /* |d|, median of all but the largest, as the calibration pipelines in use compute it: a rate
     * biased low, so a false-alarm rate that grows as groups get few */
    LM_JUMP_ABSOLUTE = 0,
    /* signed d, deviation from their generalised least-squares mean in units of its own noise: the
     * false-alarm rate is the nominal one for any number of groups. A threshold for two or three
     * differences is taken times 4/6 or 4/5, so that the defaults (6, 5, 4) all mean 4 sigma. Always
     * iterates. */
    LM_JUMP_SIGNED = 1
} lm_jump_method;

typedef struct {
    /* in sigma, for four or more, two, and three usable differences of a pixel */
    double rejection_threshold, three_group_rejection_threshold, four_group_rejection_threshold;
    /* ratios between which a jump spreads to its four neighbours */
    double min_jump_to_flag_neighbors, max_jump_to_flag_neighbors;
    double after_jump_flag_e1, after_jump_flag_e2; /* electrons above which later groups are flagged */
    double n_frames;                               /* reads averaged in a group */
    size_t after_jump_flag_n1, after_jump_flag_n2; /* how many later groups */
    size_t min_diffs_single_pass;                  /* LM_JUMP_ABSOLUTE: this many, no iteration */
    size_t minimum_sigclip_groups;                 /* this many samples: clip on their own spread */
    size_t usable_groups;                          /* groups not DO_NOT_USE in the whole frame */
    int flag_4_neighbors, only_use_ints;
    lm_jump_method method;
    const float *diff_times; /* [n_groups - 1] in units of the group time, or NULL: all 1 */
} lm_jump_parameters;

/* Flag jumps in `groupdq` (JUMP_DET), in place; remove JUMP_DET from groups that cannot be used.
 * data       ramp of `shape`, DN (read only)
 * groupdq    ramp of the same counts, strides in `dq_shape`
 * pixeldq    [n_rows * n_cols]; DO_NOT_USE pixels are not searched (LM_JUMP_SIGNED)
 * gain       [n_rows * n_cols], electron/DN; NaN: nothing is found
 * readnoise  [n_rows * n_cols], DN, of the difference of two reads
 * n_primary  out: jumps found in rows first_row <= y < end_row, neighbours and after-glow not counted
 * A row needs one row above and below to have its neighbours' jumps spread to it.
 * Allocates its buffers at the start; the list of spreading jumps grows as they are found. */
LM_API lm_status lm_flag_jumps(const float *data, const lm_shape *shape, uint8_t *groupdq,
                               const lm_shape *dq_shape, const uint32_t *pixeldq, const float *gain,
                               const float *readnoise, const lm_jump_parameters *parameters,
                               size_t first_row, size_t end_row, size_t *n_primary);

#endif
