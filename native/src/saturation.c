#include "lightmill/saturation.h"

#include <string.h>

#include "clones.h"
#include "grow.h"
#include "shape.h"

#define UNREACHABLE 65536.0f /* above what a 16-bit converter can answer */

LM_CLONES static void usable_threshold(const float *restrict threshold, const uint32_t *restrict reference_dq,
                                       float *restrict usable, uint32_t *restrict pixeldq, size_t count)
{
    for (size_t x = 0; x < count; x++) {
        float t = threshold[x];
        uint32_t dq = reference_dq[x] | (t != t ? LM_NO_SAT_CHECK : 0u);
        usable[x] = dq & LM_NO_SAT_CHECK ? UNREACHABLE : t;
        pixeldq[x] |= dq;
    }
}

/* One row of one group; `reached` remembers the pixels saturated so far. Nonzero if any is flagged. */
LM_CLONES static uint8_t flag_row(const float *restrict data, const float *restrict threshold,
                                  uint8_t *restrict reached, uint8_t *restrict groupdq, size_t count)
{
    uint8_t any = 0;
    for (size_t x = 0; x < count; x++) {
        uint8_t full = (uint8_t)(reached[x] | (data[x] >= threshold[x] ? LM_SATURATED : 0));
        uint8_t empty = data[x] <= 0.0f ? LM_AD_FLOOR | LM_DO_NOT_USE : 0;
        uint8_t dq = (uint8_t)(groupdq[x] | full | empty);
        reached[x] = full;
        groupdq[x] = dq;
        any |= dq;
    }
    return any & LM_SATURATED;
}

LM_CLONES static uint8_t saturated_row(const uint8_t *restrict groupdq, uint8_t *restrict mask, size_t count)
{
    uint8_t any = 0;
    for (size_t x = 0; x < count; x++) {
        mask[x] = groupdq[x] & LM_SATURATED;
        any |= mask[x];
    }
    return any;
}

LM_CLONES static uint8_t partial_row(const float *restrict data, const float *restrict threshold, float dilution,
                                     const uint8_t *restrict dq, const uint8_t *restrict next_dq,
                                     uint8_t *restrict mask, size_t count)
{
    uint8_t any = 0;
    for (size_t x = 0; x < count; x++) {
        uint8_t candidate = data[x] >= dilution * threshold[x] ? LM_SATURATED : 0;
        uint8_t unflagged = dq[x] & (LM_SATURATED | LM_DO_NOT_USE) ? 0 : LM_SATURATED;
        mask[x] = candidate & unflagged & next_dq[x];
        any |= mask[x];
    }
    return any;
}

LM_CLONES static void second_group_row(const float *restrict first, const float *restrict second,
                                       const float *restrict threshold, const float *restrict bias,
                                       const uint8_t *restrict third_dq, uint8_t *restrict second_dq,
                                       const lm_read_pattern *pattern, size_t count)
{
    const float mean = pattern->first_mean, last = pattern->third_last, reads = pattern->n_frames;
    for (size_t x = 0; x < count; x++) {
        float offset = bias ? bias[x] : 0.0f;
        float predicted = (first[x] - offset) / mean * last + offset;
        uint8_t slow = predicted < threshold[x];
        uint8_t leapt = second[x] - first[x] > (threshold[x] - first[x]) / reads;
        uint8_t onset = (third_dq[x] & LM_SATURATED) && !(second_dq[x] & LM_SATURATED);
        second_dq[x] |= (uint8_t)(slow & leapt & onset); /* 1 is DO_NOT_USE */
    }
}

LM_CLONES static void zero_row(float *restrict zeroframe, const uint8_t *restrict full, size_t count)
{
    for (size_t x = 0; x < count; x++)
        zeroframe[x] = full[x] || zeroframe[x] <= 0.0f ? 0.0f : zeroframe[x];
}

typedef struct {
    const float *data;
    const float *threshold;
    float dilution;
    const uint8_t *dq, *next_dq;
    const uint8_t *row_is_flagged;
    size_t n_cols;
} plane_context;

static uint8_t saturated(const void *context, size_t y, uint8_t *mask)
{
    const plane_context *c = context;
    return c->row_is_flagged[y] ? saturated_row(c->dq + y * c->n_cols, mask, c->n_cols) : 0;
}

static uint8_t partially_saturated(const void *context, size_t y, uint8_t *mask)
{
    const plane_context *c = context;
    const size_t at = y * c->n_cols;
    return c->row_is_flagged[y] ? partial_row(c->data + at, c->threshold + at, c->dilution, c->dq + at,
                                              c->next_dq + at, mask, c->n_cols)
                                : 0;
}

/* The flag of a row after growth: does any row within `grow` have it? */
static void grow_row_flags(uint8_t *row_is_flagged, uint8_t *scratch, size_t n_rows, size_t grow)
{
    memcpy(scratch, row_is_flagged, n_rows);
    for (size_t y = 0; y < n_rows; y++)
        for (size_t near = y > grow ? y - grow : 0; near < n_rows && near <= y + grow; near++)
            row_is_flagged[y] |= scratch[near];
}

static int any_of(const uint8_t *flags, size_t count)
{
    uint8_t any = 0;
    for (size_t k = 0; k < count; k++)
        any |= flags[k];
    return any;
}

lm_status lm_flag_saturation(const float *data, const lm_shape *shape, uint8_t *groupdq, const lm_shape *dq_shape,
                             uint32_t *pixeldq, const float *threshold, const uint32_t *reference_dq, size_t grow,
                             const lm_read_pattern *pattern)
{
    if (!lm_shape_is_sound(shape) || !lm_shape_is_sound(dq_shape) || !lm_shapes_agree(shape, dq_shape))
        return LM_BAD_SHAPE;
    if (pattern && pattern->test_second_group && !(pattern->first_mean > 0.0f && pattern->n_frames > 0.0f))
        return LM_BAD_ARGUMENT; /* both divide */
    const size_t rows = shape->n_rows, cols = shape->n_cols, groups = shape->n_groups;
    lm_grower grower;
    lm_status status = lm_grower_open(&grower, cols, grow);
    float *usable = malloc(rows * cols * sizeof *usable);
    uint8_t *reached = malloc(cols);
    uint8_t *flagged = malloc((groups + 1) * rows); /* [group][row], and one row of scratch */
    if (status == LM_OK && (!usable || !reached || !flagged))
        status = LM_NO_MEMORY;
    if (status != LM_OK)
        goto end;

    usable_threshold(threshold, reference_dq, usable, pixeldq, rows * cols);
    for (size_t i = 0; i < shape->n_ints; i++) {
        for (size_t y = 0; y < rows; y++) {
            memset(reached, 0, cols);
            for (size_t g = 0; g < groups; g++)
                flagged[g * rows + y] = flag_row(data + lm_plane(shape, i, g) + y * cols, usable + y * cols, reached,
                                                 groupdq + lm_plane(dq_shape, i, g) + y * cols, cols);
        }
        for (size_t g = 0; g < groups; g++) {
            uint8_t *rows_flagged = flagged + g * rows;
            if (grow == 0 || !any_of(rows_flagged, rows))
                continue;
            uint8_t *plane = groupdq + lm_plane(dq_shape, i, g);
            plane_context context = {.dq = plane, .row_is_flagged = rows_flagged, .n_cols = cols};
            lm_grow(&grower, saturated, &context, plane, LM_SATURATED, rows);
            grow_row_flags(rows_flagged, flagged + groups * rows, rows, grow);
        }
        if (pattern && pattern->dilution)
            for (size_t g = groups - 1; g-- > 0;) {
                const uint8_t *next_flagged = flagged + (g + 1) * rows;
                if (!any_of(next_flagged, rows))
                    continue;
                uint8_t *plane = groupdq + lm_plane(dq_shape, i, g);
                plane_context context = {.data = data + lm_plane(shape, i, g), .threshold = usable,
                                         .dilution = pattern->dilution[g], .dq = plane,
                                         .next_dq = groupdq + lm_plane(dq_shape, i, g + 1),
                                         .row_is_flagged = next_flagged, .n_cols = cols};
                lm_grow(&grower, partially_saturated, &context, plane, LM_DO_NOT_USE, rows);
            }
        if (pattern && pattern->test_second_group && groups > 2)
            for (size_t y = 0; y < rows; y++)
                if (flagged[2 * rows + y])
                    second_group_row(data + lm_plane(shape, i, 0) + y * cols, data + lm_plane(shape, i, 1) + y * cols,
                                     usable + y * cols, pattern->bias ? pattern->bias + y * cols : NULL,
                                     groupdq + lm_plane(dq_shape, i, 2) + y * cols,
                                     groupdq + lm_plane(dq_shape, i, 1) + y * cols, pattern, cols);
    }
end:
    free(flagged);
    free(reached);
    free(usable);
    lm_grower_close(&grower);
    return status;
}

typedef struct {
    const float *zeroframe, *threshold;
    const uint32_t *reference_dq;
    size_t n_cols;
} zeroframe_context;

static uint8_t zeroframe_is_full(const void *context, size_t y, uint8_t *mask)
{
    const zeroframe_context *c = context;
    const size_t at = y * c->n_cols;
    uint8_t any = 0;
    for (size_t x = 0; x < c->n_cols; x++) {
        int untested = c->reference_dq && (c->reference_dq[at + x] & LM_NO_SAT_CHECK);
        float t = untested || c->threshold[at + x] != c->threshold[at + x] ? UNREACHABLE : c->threshold[at + x];
        mask[x] = c->zeroframe[at + x] >= t;
        any |= mask[x];
    }
    return any;
}

lm_status lm_flag_zeroframe(float *zeroframe, size_t n_planes, size_t n_rows, size_t n_cols, const float *threshold,
                            const uint32_t *reference_dq, size_t grow)
{
    if (!n_planes || !n_rows || !n_cols)
        return LM_BAD_SHAPE;
    lm_grower grower;
    lm_status status = lm_grower_open(&grower, n_cols, grow);
    uint8_t *full = malloc(n_rows * n_cols);
    if (status == LM_OK && !full)
        status = LM_NO_MEMORY;
    for (size_t p = 0; status == LM_OK && p < n_planes; p++) {
        float *plane = zeroframe + p * n_rows * n_cols;
        zeroframe_context context = {plane, threshold, reference_dq, n_cols};
        memset(full, 0, n_rows * n_cols);
        lm_grow(&grower, zeroframe_is_full, &context, full, LM_SATURATED, n_rows);
        zero_row(plane, full, n_rows * n_cols);
    }
    free(full);
    lm_grower_close(&grower);
    return status;
}
