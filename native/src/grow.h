/* Spreading a mask over a square, row by row, in O(side) per row and without a second plane. */
#ifndef LM_GROW_H
#define LM_GROW_H
#include <stdint.h>
#include <stdlib.h>

#include "lightmill/core.h"

typedef struct {
    size_t n_cols, grow, side;
    uint8_t *padded; /* one mask row between two margins of `grow` zeros */
    uint8_t *spread; /* [side][n_cols] the last rows, spread along x */
    uint8_t *any;    /* [side] is anything in that row? */
} lm_grower;

/* Write row `y` of a mask (nonzero = set) and return whether anything is set; when nothing is, the
 * row need not be written. Called once per row, before that row's flags are changed. */
typedef uint8_t (*lm_mask_row)(const void *context, size_t y, uint8_t *mask);

lm_status lm_grower_open(lm_grower *grower, size_t n_cols, size_t grow);
void lm_grower_close(lm_grower *grower);

/* flags |= bit wherever the mask is set within the square. */
void lm_grow(lm_grower *grower, lm_mask_row mask_row, const void *context, uint8_t *flags, uint8_t bit,
             size_t n_rows);

#endif
