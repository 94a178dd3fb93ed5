/* What the two ways of searching for jumps share; see lightmill/jump.h. */
#ifndef LM_JUMP_SEARCH_H
#define LM_JUMP_SEARCH_H

#include "lightmill/jump.h"

#define LM_UNUSABLE (LM_DO_NOT_USE | LM_SATURATED)

typedef struct {
    size_t pixel, row, plane; /* plane: integration * n_groups + group */
} spreading_jump;

typedef struct {
    const float *data, *gain, *readnoise;
    uint8_t *groupdq;
    const uint32_t *pixeldq;
    const lm_shape *shape, *dq_shape;
    const lm_jump_parameters *p;
    float threshold2[5]; /* squared, by number of differences; [4] for more */
    float min_spread2, max_spread2;
    int sigma_clip, single_pass;
    size_t n_diffs;    /* per integration */
    float *lanes;      /* [n_ints * n_diffs][LM_LANES] */
    uint8_t *dq_lanes; /* [n_ints * n_groups][LM_LANES] */
    float *values, *sorted;
    uint32_t *which; /* index (integration * n_diffs + k) of each value */
    uint32_t *hits;
    spreading_jump *spreading;
    size_t n_spreading, room_spreading;
    size_t first_row, end_row, n_primary;
} jump_search;

/* Flag the jumps whose indices (integration * n_diffs + difference) are in s->hits, count them and
 * remember those that spread. */
lm_status lm_record_jumps(jump_search *s, size_t pixel, size_t n_hits);

/* All flags of the groups of LM_LANES pixels, in one. */
uint8_t lm_flags_of_block(const jump_search *s, size_t pixel);

/* Remove JUMP_DET from the unusable groups of a block of pixels. */
void lm_clean_unusable(jump_search *s, size_t pixel, size_t n_lanes);

/* Search all pixels, LM_JUMP_SIGNED. */
lm_status lm_search_signed(jump_search *s);

#endif
