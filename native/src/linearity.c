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
    enum { CHUNK = 4096 };
    if (n_coeffs < 2 || n_pixels == 0 || (coeff_stride < n_pixels))
        return LM_BAD_SHAPE;
    uint32_t *flags = malloc(CHUNK * sizeof *flags);
    if (!flags)
        return LM_NO_MEMORY;
    for (size_t x = 0; x < n_pixels; x += CHUNK)
        prepare_row(coeffs + x, n_coeffs, coeff_stride, reference_dq + x, flags, usable + x, n_pixels,
                    pixeldq ? pixeldq + x : NULL, n_pixels - x < CHUNK ? n_pixels - x : CHUNK);
    free(flags);
    return LM_OK;
}

/* Polynomials of a known length keep their value in a register from one power to the next; each length
 * is its own loop because the compiler unrolls the powers only when it can count them. */
#define HORNER(N)                                                                                              \
    LM_CLONES static void horner##N(float *restrict data, const uint8_t *restrict skip,                        \
                                    const float *restrict coeffs, size_t stride, size_t count)                 \
    {                                                                                                          \
        for (size_t x = 0; x < count; x++) {                                                                   \
            const float signal = data[x];                                                                      \
            float value = coeffs[(N - 1) * stride + x];                                                        \
            for (size_t j = N - 1; j-- > 0;)                                                                   \
                value = value * signal + coeffs[j * stride + x];                                               \
            data[x] = skip[x] ? signal : value;                                                                \
        }                                                                                                      \
    }
HORNER(2)
HORNER(3)
HORNER(4)
HORNER(5)
HORNER(6)
HORNER(7)
#undef HORNER

LM_CLONES static void times_plus(float *restrict value, const float *restrict data, const float *restrict coefficient,
                                 size_t count)
{
    for (size_t x = 0; x < count; x++)
        value[x] = value[x] * data[x] + coefficient[x];
}

LM_CLONES static void accept(float *restrict data, const float *restrict value, const uint8_t *restrict skip,
                             size_t count)
{
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

static void correct_row(float *data, const uint8_t *skip, const float *coeffs, size_t n_coeffs, size_t stride,
                        float *value, size_t count)
{
    switch (n_coeffs) {
    case 2: horner2(data, skip, coeffs, stride, count); return;
    case 3: horner3(data, skip, coeffs, stride, count); return;
    case 4: horner4(data, skip, coeffs, stride, count); return;
    case 5: horner5(data, skip, coeffs, stride, count); return;
    case 6: horner6(data, skip, coeffs, stride, count); return;
    case 7: horner7(data, skip, coeffs, stride, count); return;
    default: break;
    }
    memcpy(value, coeffs + (n_coeffs - 1) * stride, count * sizeof *value);
    for (size_t j = n_coeffs - 1; j-- > 0;)
        times_plus(value, data, coeffs + j * stride, count);
    accept(data, value, skip, count);
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
