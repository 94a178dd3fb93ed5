/* Walking an lm_shape. */
#ifndef LM_SHAPE_H
#define LM_SHAPE_H
#include <stdbool.h>

#include "lightmill/core.h"

static inline bool lm_shape_is_sound(const lm_shape *shape)
{
    if (!shape || !shape->n_ints || !shape->n_groups || !shape->n_rows || !shape->n_cols)
        return false;
    /* planes that overlap would be corrected twice */
    const size_t pixels = shape->n_rows * shape->n_cols;
    return (shape->n_groups == 1 || shape->group_stride >= pixels) && (shape->n_ints == 1 || shape->int_stride >= pixels);
}

/* Offset of the first element of plane (i, g). */
static inline size_t lm_plane(const lm_shape *shape, size_t i, size_t g)
{
    return i * shape->int_stride + g * shape->group_stride;
}

/* Two views of the same ramp: same counts, whatever their strides. */
static inline bool lm_shapes_agree(const lm_shape *a, const lm_shape *b)
{
    return a->n_ints == b->n_ints && a->n_groups == b->n_groups && a->n_rows == b->n_rows && a->n_cols == b->n_cols;
}

#endif
