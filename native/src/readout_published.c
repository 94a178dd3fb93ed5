/* What the published library computes, as specs tell, faults included; for comparison only. */
#include <math.h>

#include "lightmill/readout.h"

/* Products of 32 bits that wrap, as its compiled code does; in C only unsigned ones may. */
static double wrapped(int32_t a, int32_t b) { return (double)(int32_t)((uint32_t)a * (uint32_t)b); }

lm_status lm_published_uptheramp(const int32_t *reads, const int32_t *times, size_t n_reads, size_t n_pixels,
                                 float *out)
{
    if (!n_reads || !n_pixels)
        return LM_BAD_SHAPE;
    const double n = (double)n_reads;
    double sum_t = 0, sum_tt = 0;
    for (size_t k = 0; k < n_reads; k++) {
        sum_t += times[k];
        sum_tt += wrapped(times[k], times[k]);
    }
    const double span = (double)times[n_reads - 1] - (double)times[0];
    for (size_t x = 0; x < n_pixels; x++) {
        double sum_a = 0, sum_ta = 0;
        for (size_t k = 0; k < n_reads; k++) {
            sum_a += reads[k * n_pixels + x];
            sum_ta += wrapped(times[k], reads[k * n_pixels + x]);
        }
        out[x] = (float)((n * sum_ta - sum_t * sum_a) / (n * sum_tt - sum_t * sum_t) * span);
    }
    return LM_OK;
}

lm_status lm_published_nonlin(const int32_t *reads, size_t n_reads, size_t n_rows, size_t n_cols, const float *coeffs,
                              size_t side, float *out)
{
    if (!n_reads || !n_rows || n_rows > n_cols || n_cols > side)
        return LM_BAD_SHAPE;
    const size_t n_pixels = n_rows * n_cols;
    for (size_t k = 0; k < n_reads * n_pixels; k++)
        out[k] = NAN;
    for (size_t k = 0; k < n_reads; k++)
        for (size_t column = 0; column < n_cols; column++)
            for (size_t row = 0; row < n_rows; row++) {
                const size_t at = column + row * n_rows + k * n_pixels; /* rows are n_cols long */
                const float *c = coeffs + row + column * side;          /* transposed */
                const double x = reads[at];
                double y = 0;
                for (size_t power = 5; power-- > 0;)
                    y = y * x + (double)c[power * side * side];
                out[at] = (float)(x * (1 + y));
            }
    return LM_OK;
}
