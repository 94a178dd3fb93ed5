#include "lightmill/flags.h"

#include <string.h>

#include "clones.h"
#include "shape.h"

/* `bright` holds the pixels of earlier groups already; it gets those of this one. */
LM_CLONES static uint8_t bright_row(const float *restrict data, const uint8_t *restrict groupdq, float threshold,
                                    const uint8_t *restrict earlier, uint8_t *restrict bright, size_t count)
{
    uint8_t any = 0;
    for (size_t x = 0; x < count; x++) {
        uint8_t usable = groupdq[x] != LM_DO_NOT_USE;
        uint8_t high = data[x] > threshold;
        bright[x] = (uint8_t)(earlier[x] | (usable & high));
        any |= bright[x];
    }
    return any;
}

LM_CLONES static void flag_near(uint8_t *restrict groupdq, const uint8_t *restrict mask, size_t count)
{
    for (size_t x = 0; x < count; x++)
        groupdq[x] |= mask[x] ? LM_CHARGELOSS | LM_DO_NOT_USE : 0;
}

static void flag_along(uint8_t *groupdq, const uint8_t *mask, size_t count)
{
    flag_near(groupdq, mask, count);
    flag_near(groupdq + 1, mask, count - 1);
    flag_near(groupdq, mask + 1, count - 1);
}

lm_status lm_flag_charge_migration(const float *data, const lm_shape *shape, uint8_t *groupdq,
                                   const lm_shape *dq_shape, float threshold)
{
    if (!lm_shape_is_sound(shape) || !lm_shape_is_sound(dq_shape) || !lm_shapes_agree(shape, dq_shape))
        return LM_BAD_SHAPE;
    const size_t rows = shape->n_rows, cols = shape->n_cols, groups = shape->n_groups;
    uint8_t *masks = malloc(3 * groups * cols); /* ring of three rows, all groups of each */
    uint8_t *any = malloc(3 * groups);
    uint8_t *none = calloc(cols, 1);
    lm_status status = masks && any && none ? LM_OK : LM_NO_MEMORY;
    for (size_t i = 0; status == LM_OK && i < shape->n_ints; i++) {
        size_t ready = 0;
        for (size_t y = 0; y < rows; y++) {
            /* masks are made one row ahead, from flags not yet changed */
            for (; ready < rows && ready <= y + 1; ready++)
                for (size_t g = 0; g < groups; g++) {
                    uint8_t *mask = masks + (ready % 3 * groups + g) * cols;
                    any[ready % 3 * groups + g] =
                        bright_row(data + lm_plane(shape, i, g) + ready * cols,
                                   groupdq + lm_plane(dq_shape, i, g) + ready * cols, threshold,
                                   g ? mask - cols : none, mask, cols);
                }
            for (size_t g = 0; g < groups; g++) {
                uint8_t *row = groupdq + lm_plane(dq_shape, i, g) + y * cols;
                if (any[y % 3 * groups + g])
                    flag_along(row, masks + (y % 3 * groups + g) * cols, cols);
                if (y > 0 && any[(y - 1) % 3 * groups + g])
                    flag_near(row, masks + ((y - 1) % 3 * groups + g) * cols, cols);
                if (y + 1 < rows && any[(y + 1) % 3 * groups + g])
                    flag_near(row, masks + ((y + 1) % 3 * groups + g) * cols, cols);
            }
        }
    }
    free(none);
    free(any);
    free(masks);
    return status;
}

LM_CLONES static void count_saturated(const uint8_t *restrict groupdq, uint16_t *restrict lost, size_t count)
{
    for (size_t x = 0; x < count; x++)
        lost[x] = (uint16_t)(lost[x] + (groupdq[x] & LM_SATURATED ? 1 : 0));
}

LM_CLONES static void forget_where_first(const uint8_t *restrict groupdq, uint16_t *restrict lost, size_t count)
{
    for (size_t x = 0; x < count; x++)
        lost[x] = groupdq[x] & LM_SATURATED ? 0 : lost[x];
}

LM_CLONES static void flag_estimated(uint32_t *restrict pixeldq, const uint16_t *restrict lost, size_t count)
{
    for (size_t x = 0; x < count; x++)
        pixeldq[x] |= lost[x] ? LM_FLUX_ESTIMATED : 0;
}

/* Group g is skipped where g < wanted - lost. */
LM_CLONES static void flag_skipped(uint8_t *restrict groupdq, const uint16_t *restrict lost, uint16_t left,
                                   size_t count)
{
    for (size_t x = 0; x < count; x++)
        groupdq[x] |= lost[x] < left ? LM_DO_NOT_USE : 0;
}

lm_status lm_flag_first_groups(uint8_t *groupdq, const lm_shape *dq_shape, uint32_t *pixeldq, size_t first,
                               size_t later)
{
    if (!lm_shape_is_sound(dq_shape))
        return LM_BAD_SHAPE;
    if (first > dq_shape->n_groups || later > dq_shape->n_groups || dq_shape->n_groups > UINT16_MAX)
        return LM_BAD_ARGUMENT;
    const size_t cols = dq_shape->n_cols;
    uint16_t *lost = malloc(cols * sizeof *lost);
    if (!lost)
        return LM_NO_MEMORY;
    for (size_t i = 0; i < dq_shape->n_ints; i++) {
        const size_t wanted = i ? later : first;
        for (size_t y = 0; wanted && y < dq_shape->n_rows; y++) {
            uint8_t *row = groupdq + lm_plane(dq_shape, i, 0) + y * cols;
            memset(lost, 0, cols * sizeof *lost);
            for (size_t g = 1; g < dq_shape->n_groups && g <= wanted + 1; g++)
                count_saturated(row + g * dq_shape->group_stride, lost, cols);
            forget_where_first(row, lost, cols);
            flag_estimated(pixeldq + y * cols, lost, cols);
            for (size_t g = 0; g < wanted; g++)
                flag_skipped(row + g * dq_shape->group_stride, lost, (uint16_t)(wanted - g), cols);
        }
    }
    free(lost);
    return LM_OK;
}
