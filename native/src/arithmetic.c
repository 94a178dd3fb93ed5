#include "lightmill/arithmetic.h"

#include "clones.h"
#include "shape.h"

LM_CLONES static void subtract_plane(float *restrict data, const float *restrict plane, size_t count)
{
    for (size_t i = 0; i < count; i++)
        data[i] -= plane[i] == plane[i] ? plane[i] : 0.0f;
}

LM_CLONES static void scale_plane(float *restrict data, float factor, size_t count)
{
    for (size_t i = 0; i < count; i++)
        data[i] *= factor;
}

LM_CLONES static void subtract_row(float *restrict data, const float *restrict row, size_t count)
{
    for (size_t i = 0; i < count; i++)
        data[i] -= row[i];
}

LM_CLONES static void subtract_value(float *restrict data, float value, size_t count)
{
    for (size_t i = 0; i < count; i++)
        data[i] -= value;
}

/* Both at once: the row is read and written once, the roundings are those of two subtractions. */
LM_CLONES static void subtract_both(float *restrict data, const float *restrict row, float value, size_t count,
                                    int value_first)
{
    if (value_first)
        for (size_t i = 0; i < count; i++)
            data[i] = (data[i] - value) - row[i];
    else
        for (size_t i = 0; i < count; i++)
            data[i] = (data[i] - row[i]) - value;
}

LM_CLONES static void or32(uint32_t *restrict flags, const uint32_t *restrict more, size_t count)
{
    for (size_t i = 0; i < count; i++)
        flags[i] |= more[i];
}

LM_CLONES static void or8(uint8_t *restrict flags, const uint8_t *restrict more, size_t count)
{
    for (size_t i = 0; i < count; i++)
        flags[i] |= more[i];
}

lm_status lm_subtract(float *data, const lm_shape *shape, const float *planes, size_t n_outer,
                      size_t outer_stride, size_t plane_stride, const int64_t *plane_of)
{
    if (!lm_shape_is_sound(shape) || n_outer == 0)
        return LM_BAD_SHAPE;
    for (size_t i = 0; i < shape->n_ints; i++) {
        const float *outer = planes + (i < n_outer ? i : n_outer - 1) * outer_stride;
        for (size_t g = 0; g < shape->n_groups; g++) {
            int64_t plane = plane_of ? plane_of[g] : 0;
            if (plane >= 0)
                subtract_plane(data + lm_plane(shape, i, g), outer + (size_t)plane * plane_stride,
                               shape->n_rows * shape->n_cols);
        }
    }
    return LM_OK;
}

lm_status lm_scale(float *data, const lm_shape *shape, float factor)
{
    if (!lm_shape_is_sound(shape))
        return LM_BAD_SHAPE;
    for (size_t i = 0; i < shape->n_ints; i++)
        for (size_t g = 0; g < shape->n_groups; g++)
            scale_plane(data + lm_plane(shape, i, g), factor, shape->n_rows * shape->n_cols);
    return LM_OK;
}

lm_status lm_subtract_cross(float *data, const lm_shape *shape, const float *along_y, const float *along_x,
                            size_t n_phases, size_t row_phase, size_t start_group, int y_first)
{
    if (!lm_shape_is_sound(shape) || (along_x && n_phases == 0))
        return LM_BAD_SHAPE;
    const size_t rows = shape->n_rows, cols = shape->n_cols;
    for (size_t i = 0; i < shape->n_ints; i++)
        for (size_t g = start_group; g < shape->n_groups; g++) {
            const size_t plane = i * shape->n_groups + g;
            for (size_t y = 0; y < rows; y++) {
                float *row = data + lm_plane(shape, i, g) + y * cols;
                const float *x = along_x ? along_x + (plane * n_phases + (y + row_phase) % n_phases) * cols : NULL;
                if (along_x && along_y)
                    subtract_both(row, x, along_y[plane * rows + y], cols, y_first);
                else if (along_x)
                    subtract_row(row, x, cols);
                else if (along_y)
                    subtract_value(row, along_y[plane * rows + y], cols);
            }
        }
    return LM_OK;
}

lm_status lm_flag_or(uint32_t *flags, const uint32_t *more, size_t count)
{
    or32(flags, more, count);
    return LM_OK;
}

lm_status lm_group_or(uint8_t *groupdq, const lm_shape *shape, const uint8_t *mask, size_t first_group,
                      size_t last_group, size_t step)
{
    if (!lm_shape_is_sound(shape) || last_group > shape->n_groups || step == 0)
        return LM_BAD_SHAPE;
    for (size_t i = 0; i < shape->n_ints; i++)
        for (size_t g = first_group; g < last_group; g += step)
            or8(groupdq + lm_plane(shape, i, g), mask, shape->n_rows * shape->n_cols);
    return LM_OK;
}
