#include "lightmill/ipc.h"

#include <string.h>

#include "clones.h"
#include "shape.h"

/* The common case in one go: nine products per pixel, nothing stored in between. Rows are padded by 1. */
LM_CLONES static void convolve_row3(const float *restrict above, const float *restrict row,
                                    const float *restrict below, const float *restrict kernel, float *restrict out,
                                    size_t count)
{
    const float k0 = kernel[0], k1 = kernel[1], k2 = kernel[2], k3 = kernel[3], k4 = kernel[4], k5 = kernel[5],
                k6 = kernel[6], k7 = kernel[7], k8 = kernel[8];
    for (size_t x = 0; x < count; x++) {
        float sum = k0 * below[x + 2];
        sum += k1 * below[x + 1];
        sum += k2 * below[x];
        sum += k3 * row[x + 2];
        sum += k5 * row[x];
        sum += k6 * above[x + 2];
        sum += k7 * above[x + 1];
        sum += k8 * above[x];
        sum += k4 * row[x + 1];
        out[x] = sum;
    }
}

LM_CLONES static void add_scaled(float *restrict out, const float *restrict row, float factor, size_t count)
{
    for (size_t x = 0; x < count; x++)
        out[x] += factor * row[x];
}

LM_CLONES static void add_product(float *restrict out, const float *restrict row, const float *restrict factor,
                                  size_t count)
{
    for (size_t x = 0; x < count; x++)
        out[x] += factor[x] * row[x];
}

typedef struct {
    size_t k, count;      /* kernel size; columns of the valid area */
    size_t padded_count;  /* count + 2 (k/2) */
    float *rows;          /* ring of k rows as they were, each between two margins of zeros */
    const float *zeros;   /* a row beyond the valid area */
} ring;

static const float *ring_row(const ring *r, size_t y, size_t y0, size_t y1)
{
    return y >= y0 && y < y1 ? r->rows + y % r->k * r->padded_count : r->zeros;
}

static void convolve_row(const ring *r, size_t y, size_t y0, size_t y1, const float *kernel, size_t kernel_stride,
                         size_t pixel, int per_pixel, float *out)
{
    const size_t k = r->k, half = k / 2, centre = half * k + half;
    memset(out, 0, r->count * sizeof *out);
    for (size_t term = 0; term <= k * k; term++) {
        /* the centre's own turn is passed over and made up for at the end */
        const size_t at = term == k * k ? centre : term;
        if (term == centre)
            continue;
        const size_t j = at / k, i = at % k;
        /* y + half - j may be negative: as size_t it is then huge, beyond y1, a row of zeros */
        const float *row = ring_row(r, y + half - j, y0, y1) + (2 * half - i);
        if (per_pixel)
            add_product(out, row, kernel + at * kernel_stride + pixel, r->count);
        else
            add_scaled(out, row, kernel[at * kernel_stride], r->count);
    }
}

lm_status lm_convolve_ipc(float *data, const lm_shape *shape, const float *kernel, size_t k, size_t kernel_stride,
                          int per_pixel, size_t y0, size_t y1, size_t x0, size_t x1)
{
    if (!lm_shape_is_sound(shape) || y1 > shape->n_rows || x1 > shape->n_cols || y0 > y1 || x0 > x1)
        return LM_BAD_SHAPE;
    if (k % 2 == 0 || k > 255)
        return LM_BAD_ARGUMENT;
    if (y0 == y1 || x0 == x1)
        return LM_OK;
    const size_t half = k / 2, count = x1 - x0, padded = count + 2 * half;
    float *rows = calloc((k + 1) * padded, sizeof *rows); /* margins stay 0; so does the last row */
    if (!rows)
        return LM_NO_MEMORY;
    const ring r = {.k = k, .count = count, .padded_count = padded, .rows = rows, .zeros = rows + k * padded};

    for (size_t i = 0; i < shape->n_ints; i++)
        for (size_t g = 0; g < shape->n_groups; g++) {
            float *plane = data + lm_plane(shape, i, g);
            size_t ready = y0;
            for (size_t y = y0; y < y1; y++) {
                for (; ready < y1 && ready <= y + half; ready++)
                    memcpy(rows + ready % k * padded + half, plane + ready * shape->n_cols + x0,
                           count * sizeof *rows);
                const size_t pixel = y * shape->n_cols + x0;
                if (k == 3 && !per_pixel && kernel_stride == 1)
                    convolve_row3(ring_row(&r, y - 1, y0, y1), ring_row(&r, y, y0, y1), ring_row(&r, y + 1, y0, y1),
                                  kernel, plane + pixel, count);
                else
                    convolve_row(&r, y, y0, y1, kernel, kernel_stride, pixel, per_pixel, plane + pixel);
            }
        }
    free(rows);
    return LM_OK;
}
