#include "lightmill/refpix.h"

#include <math.h>
#include <string.h>

#include "clones.h"

static double mean_of(const double *values, size_t n)
{
    double sum = 0.0;
    for (size_t k = 0; k < n; k++)
        sum += values[k];
    return sum / (double)n;
}

static double clipped_mean(double *values, size_t n, double limit)
{
    for (;;) {
        if (n == 0)
            return NAN;
        const double mean = mean_of(values, n);
        double squares = 0.0;
        for (size_t k = 0; k < n; k++)
            squares += (values[k] - mean) * (values[k] - mean);
        const double reach = limit * sqrt(squares / (double)n);
        if (!(reach > 0.0)) /* all equal: rounding of the mean must not drop them all */
            return mean;
        size_t kept = 0;
        for (size_t k = 0; k < n; k++) {
            values[kept] = values[k];
            kept += values[k] >= mean - reach && values[k] <= mean + reach;
        }
        if (kept == n)
            return mean;
        n = kept;
    }
}

lm_status lm_clipped_mean(const float *values, const uint8_t *good, size_t n_sets, size_t n, double limit,
                          double *means)
{
    if (n == 0 || n_sets == 0)
        return LM_BAD_SHAPE;
    if (!(limit > 0.0))
        return LM_BAD_ARGUMENT;
    double *used = malloc(n * sizeof *used);
    if (!used)
        return LM_NO_MEMORY;
    for (size_t s = 0; s < n_sets; s++) {
        size_t count = 0;
        for (size_t k = s * n; k < (s + 1) * n; k++) {
            used[count] = (double)values[k];
            count += values[k] == values[k] && (!good || good[k]);
        }
        means[s] = clipped_mean(used, count, limit);
    }
    free(used);
    return LM_OK;
}

/* A window kept in order: one value leaves and another enters by moving what lies between. */
typedef struct {
    float *sorted;
    size_t count;
} window;

/* How many are below `value`: a plain count vectorises, which beats a binary search of 44 numbers. */
LM_CLONES static size_t count_below(const float *sorted, size_t count, float value)
{
    unsigned below = 0;
    for (size_t k = 0; k < count; k++)
        below += sorted[k] < value;
    return below;
}

static void enter_row(window *w, const float *row, const uint8_t *good, size_t n_cols)
{
    for (size_t c = 0; c < n_cols; c++) {
        if (!good[c] || row[c] != row[c])
            continue;
        const size_t at = count_below(w->sorted, w->count, row[c]);
        memmove(w->sorted + at + 1, w->sorted + at, (w->count - at) * sizeof *w->sorted);
        w->sorted[at] = row[c];
        w->count++;
    }
}

static void leave_row(window *w, const float *row, const uint8_t *good, size_t n_cols)
{
    for (size_t c = 0; c < n_cols; c++) {
        if (!good[c] || row[c] != row[c])
            continue;
        const size_t at = count_below(w->sorted, w->count, row[c]);
        w->count--;
        memmove(w->sorted + at, w->sorted + at + 1, (w->count - at) * sizeof *w->sorted);
    }
}

static float median_of(const window *w)
{
    const size_t half = w->count / 2;
    if (w->count == 0)
        return NAN;
    return w->count % 2 ? w->sorted[half] : (w->sorted[half - 1] + w->sorted[half]) * 0.5f;
}

static size_t mirrored(ptrdiff_t y, size_t n_rows)
{
    const ptrdiff_t last = (ptrdiff_t)n_rows - 1;
    if (last == 0)
        return 0;
    while (y < 0 || y > last)
        y = y < 0 ? -y : 2 * last - y;
    return (size_t)y;
}

lm_status lm_side_median(const float *columns, const uint8_t *good, size_t n_planes, size_t n_rows, size_t n_cols,
                         size_t length, float *medians)
{
    if (!n_planes || !n_rows || !n_cols)
        return LM_BAD_SHAPE;
    if (length % 2 == 0 || length > UINT32_MAX)
        return LM_BAD_ARGUMENT;
    const ptrdiff_t half = (ptrdiff_t)(length / 2);
    window w = {malloc(length * n_cols * sizeof *w.sorted), 0};
    if (!w.sorted)
        return LM_NO_MEMORY;
    for (size_t p = 0; p < n_planes; p++) {
        const float *plane = columns + p * n_rows * n_cols;
        w.count = 0;
        for (ptrdiff_t y = -half; y <= half; y++) {
            const size_t at = mirrored(y, n_rows) * n_cols;
            enter_row(&w, plane + at, good + at, n_cols);
        }
        for (size_t y = 0; y < n_rows; y++) {
            medians[p * n_rows + y] = median_of(&w);
            if (y + 1 == n_rows)
                break;
            const size_t out = mirrored((ptrdiff_t)y - half, n_rows) * n_cols;
            const size_t in = mirrored((ptrdiff_t)y + 1 + half, n_rows) * n_cols;
            leave_row(&w, plane + out, good + out, n_cols);
            enter_row(&w, plane + in, good + in, n_cols);
        }
    }
    free(w.sorted);
    return LM_OK;
}
