#include "lightmill/linearity.h"

#include <string.h>

#include "clones.h"
#include "shape.h"

LM_CLONES static void mark_nan(const float *restrict coefficient, uint32_t *restrict flags, size_t count)
{
    for (size_t x = 0; x < count; x++)
        flags[x] |= coefficient[x] != coefficient[x] ? LM_NO_LIN_CORR : 0;
}

LM_CLONES static void mark_zero(const float *restrict coefficient, uint32_t *restrict flags, size_t count)
{
    for (size_t x = 0; x < count; x++)
        flags[x] |= coefficient[x] == 0.0f ? LM_NO_LIN_CORR : 0;
}

LM_CLONES static void choose(const float *restrict coefficient, const uint32_t *restrict flags, float instead,
                             float *restrict usable, size_t count)
{
    for (size_t x = 0; x < count; x++)
        usable[x] = flags[x] & LM_NO_LIN_CORR ? instead : coefficient[x];
}

LM_CLONES static void join(uint32_t *restrict flags, const uint32_t *restrict more, size_t count)
{
    for (size_t x = 0; x < count; x++)
        flags[x] |= more[x];
}

/* One row: `flags` is scratch, `usable_stride` elements lie between the rows written. */
static void prepare_row(const float *coeffs, size_t n_coeffs, size_t coeff_stride, const uint32_t *reference_dq,
                        uint32_t *flags, float *usable, size_t usable_stride, uint32_t *pixeldq, size_t count)
{
    memcpy(flags, reference_dq, count * sizeof *flags);
    for (size_t j = 0; j < n_coeffs; j++)
        mark_nan(coeffs + j * coeff_stride, flags, count);
    mark_zero(coeffs + coeff_stride, flags, count);
    for (size_t j = 0; j < n_coeffs; j++)
        choose(coeffs + j * coeff_stride, flags, j == 1 ? 1.0f : 0.0f, usable + j * usable_stride, count);
    if (pixeldq)
        join(pixeldq, flags, count);
}

lm_status lm_prepare_linearity(const float *coeffs, size_t n_coeffs, size_t coeff_stride, size_t n_pixels,
                               const uint32_t *reference_dq, float *usable, uint32_t *pixeldq)
{
    enum { CHUNK = 1024 };
    uint32_t flags[CHUNK];
    if (n_coeffs < 2 || n_pixels == 0 || (coeff_stride < n_pixels))
        return LM_BAD_SHAPE;
    for (size_t x = 0; x < n_pixels; x += CHUNK)
        prepare_row(coeffs + x, n_coeffs, coeff_stride, reference_dq + x, flags, usable + x, n_pixels,
                    pixeldq ? pixeldq + x : NULL, n_pixels - x < CHUNK ? n_pixels - x : CHUNK);
    return LM_OK;
}

/* A polynomial of a length known to the compiler keeps its value in a register from one power to the
 * next; of any other length it goes through memory. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

ALWAYS_INLINE void correct_known(float *restrict data, const uint8_t *restrict skip, const float *restrict coeffs,
                                 const size_t n, size_t stride, size_t count)
{
    for (size_t x = 0; x < count; x++) {
        const float signal = data[x];
        float value = coeffs[(n - 1) * stride + x];
        for (size_t j = n - 1; j-- > 0;)
            value = value * signal + coeffs[j * stride + x];
        data[x] = skip[x] ? signal : value;
    }
}

/* data = polynomial(data) where not skipped; `value` is a row of scratch. */
LM_CLONES static void correct_row(float *restrict data, const uint8_t *restrict skip, const float *restrict coeffs,
                                  size_t n, size_t stride, float *restrict value, size_t count)
{
    switch (n) {
    case 2: correct_known(data, skip, coeffs, 2, stride, count); return;
    case 3: correct_known(data, skip, coeffs, 3, stride, count); return;
    case 4: correct_known(data, skip, coeffs, 4, stride, count); return;
    case 5: correct_known(data, skip, coeffs, 5, stride, count); return;
    case 6: correct_known(data, skip, coeffs, 6, stride, count); return;
    case 7: correct_known(data, skip, coeffs, 7, stride, count); return;
    default: break;
    }
    memcpy(value, coeffs + (n - 1) * stride, count * sizeof *value);
    for (size_t j = n - 1; j-- > 0;)
        for (size_t x = 0; x < count; x++)
            value[x] = value[x] * data[x] + coeffs[j * stride + x];
    for (size_t x = 0; x < count; x++)
        data[x] = skip[x] ? data[x] : value[x];
}

LM_CLONES static void skip_saturated(const uint8_t *restrict groupdq, uint8_t *restrict skip, size_t count)
{
    for (size_t x = 0; x < count; x++)
        skip[x] = groupdq[x] & LM_SATURATED;
}

LM_CLONES static void skip_zero(const float *restrict data, uint8_t *restrict skip, size_t count)
{
    for (size_t x = 0; x < count; x++)
        skip[x] |= data[x] == 0.0f;
}

lm_status lm_correct_linearity(float *data, const lm_shape *shape, const uint8_t *groupdq, const lm_shape *dq_shape,
                               const float *coeffs, size_t n_coeffs, size_t coeff_stride,
                               const uint32_t *reference_dq, uint32_t *pixeldq, int keep_zero)
{
    if (!lm_shape_is_sound(shape) || n_coeffs < 2 || coeff_stride < shape->n_rows * shape->n_cols)
        return LM_BAD_SHAPE;
    if (groupdq && (!lm_shape_is_sound(dq_shape) || !lm_shapes_agree(shape, dq_shape)))
        return LM_BAD_SHAPE;
    const size_t cols = shape->n_cols;
    float *usable = malloc((n_coeffs + 1) * cols * sizeof *usable); /* and a row for long polynomials */
    uint32_t *flags = malloc(cols * sizeof *flags);
    uint8_t *skip = calloc(cols, 1);
    lm_status status = usable && flags && skip ? LM_OK : LM_NO_MEMORY;
    for (size_t y = 0; status == LM_OK && y < shape->n_rows; y++) {
        const size_t at = y * cols;
        const float *row_coeffs = coeffs + at;
        size_t stride = coeff_stride;
        if (reference_dq) {
            prepare_row(row_coeffs, n_coeffs, coeff_stride, reference_dq + at, flags, usable, cols,
                        pixeldq ? pixeldq + at : NULL, cols);
            row_coeffs = usable;
            stride = cols;
        }
        for (size_t i = 0; i < shape->n_ints; i++)
            for (size_t g = 0; g < shape->n_groups; g++) {
                float *row = data + lm_plane(shape, i, g) + at;
                if (groupdq)
                    skip_saturated(groupdq + lm_plane(dq_shape, i, g) + at, skip, cols);
                else if (keep_zero)
                    memset(skip, 0, cols);
                if (keep_zero)
                    skip_zero(row, skip, cols);
                correct_row(row, skip, row_coeffs, n_coeffs, stride, usable + n_coeffs * cols, cols);
            }
    }
    free(skip);
    free(flags);
    free(usable);
    return status;
}
