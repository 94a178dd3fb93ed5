#include "grow.h"

#include <string.h>

#include "clones.h"

LM_CLONES static void spread_row(const uint8_t *restrict padded, uint8_t *restrict spread, size_t side, size_t count)
{
    memcpy(spread, padded, count);
    for (size_t k = 1; k < side; k++)
        for (size_t x = 0; x < count; x++)
            spread[x] |= padded[x + k];
}

LM_CLONES static void flag_where(uint8_t *restrict flags, const uint8_t *restrict mask, uint8_t bit, size_t count)
{
    for (size_t x = 0; x < count; x++)
        flags[x] |= mask[x] ? bit : 0;
}

lm_status lm_grower_open(lm_grower *grower, size_t n_cols, size_t grow)
{
    memset(grower, 0, sizeof *grower);
    if (grow > 1024) /* far beyond any charge spill: a mistake, and 2 grow + 1 rows of memory */
        return LM_BAD_ARGUMENT;
    grower->n_cols = n_cols;
    grower->grow = grow;
    grower->side = 2 * grow + 1;
    grower->padded = calloc(n_cols + 2 * grow, 1);
    grower->spread = malloc(grower->side * n_cols);
    grower->any = calloc(grower->side, 1);
    return grower->padded && grower->spread && grower->any ? LM_OK : LM_NO_MEMORY;
}

void lm_grower_close(lm_grower *grower)
{
    free(grower->padded);
    free(grower->spread);
    free(grower->any);
}

/* Row y is flagged when the spread rows y - grow ... y + grow are known; they live in a ring. A row's
 * mask is taken `grow` rows before its flags change, so a mask made from the flags sees the old ones. */
void lm_grow(lm_grower *grower, lm_mask_row mask_row, const void *context, uint8_t *flags, uint8_t bit,
             size_t n_rows)
{
    const size_t cols = grower->n_cols, grow = grower->grow, side = grower->side;
    size_t ready = 0;
    for (size_t y = 0; y < n_rows; y++) {
        for (; ready < n_rows && ready <= y + grow; ready++) {
            const size_t slot = ready % side;
            grower->any[slot] = mask_row(context, ready, grower->padded + grow);
            if (grower->any[slot])
                spread_row(grower->padded, grower->spread + slot * cols, side, cols);
        }
        for (size_t near = y > grow ? y - grow : 0; near < ready && near <= y + grow; near++)
            if (grower->any[near % side])
                flag_where(flags + y * cols, grower->spread + near % side * cols, bit, cols);
    }
}
