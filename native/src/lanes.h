/* Work on 64 neighbouring pixels at once: row k of a block holds the k-th value of every pixel, so
 * that a plain loop over a row is vector code. A block is a matter of speed only: what is computed
 * for a pixel does not depend on the pixels beside it. */
#ifndef LM_LANES_H
#define LM_LANES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LM_LANES 64
#define LM_INLINE static inline __attribute__((always_inline))

/* In front of a loop: what it writes is nothing it reads later. */
#if defined(__clang__)
#define LM_NO_OVERLAP _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define LM_NO_OVERLAP _Pragma("GCC ivdep")
#else
#define LM_NO_OVERLAP
#endif

/* Ask for the block after `lanes` while this one is computed: the groups of a ramp lie in as many places
 * of the memory, more than the processor foresees. Nothing is read, so it may lie past the end. */
LM_INLINE void lm_fetch_next(const void *lanes, size_t size)
{
#if defined(__GNUC__)
    for (size_t at = 0; at < LM_LANES * size; at += 64)
        __builtin_prefetch((const char *)lanes + LM_LANES * size + at);
#else
    (void)lanes, (void)size;
#endif
}

/* Put the smaller of each lane in `low`, the larger in `high`. In two loops: in one, the compiler sees
 * that half the stores store what is there and makes branches of them. */
LM_INLINE void lm_exchange(float *restrict low, float *restrict high)
{
    float larger[LM_LANES];
    for (int l = 0; l < LM_LANES; l++)
        larger[l] = low[l] < high[l] ? high[l] : low[l];
    for (int l = 0; l < LM_LANES; l++)
        low[l] = high[l] < low[l] ? high[l] : low[l];
    memcpy(high, larger, sizeof larger);
}

/* Sort every lane of `rows` [n][LM_LANES], smallest first. The comparisons depend on n alone (Knuth,
 * The Art of Computer Programming 3, 5.2.2, algorithm M), so all lanes walk together. */
LM_INLINE void lm_sort_lanes(float *rows, size_t n)
{
    if (n < 2)
        return;
    size_t top = 1;
    while (2 * top < n)
        top *= 2;
    for (size_t p = top; p > 0; p /= 2) {
        size_t q = top, r = 0, d = p;
        for (;;) {
            for (size_t i = 0; i + d < n; i++)
                if ((i & p) == r)
                    lm_exchange(rows + i * LM_LANES, rows + (i + d) * LM_LANES);
            if (q == p)
                break;
            d = q - p;
            q /= 2;
            r = p;
        }
    }
}

/* Median of each lane of the sorted `rows` [n][LM_LANES]. */
LM_INLINE void lm_median_lanes(const float *rows, size_t n, float *restrict median)
{
    const float *high = rows + (n / 2) * LM_LANES;
    const float *low = n % 2 ? high : high - LM_LANES;
    if (n % 2)
        memcpy(median, high, LM_LANES * sizeof *median);
    else
        for (int l = 0; l < LM_LANES; l++)
            median[l] = (low[l] + high[l]) * 0.5f;
}

/* Copy n values into a block of lanes; the lanes past the end repeat the last pixel. A full block,
 * which nearly all are, is a copy of known size: a few vector moves instead of a call. */
LM_INLINE void lm_load_bytes(const uint8_t *from, size_t n, uint8_t *restrict lanes)
{
    if (n == LM_LANES) {
        memcpy(lanes, from, LM_LANES);
        return;
    }
    memcpy(lanes, from, n);
    memset(lanes + n, lanes[n - 1], LM_LANES - n);
}

LM_INLINE void lm_load_floats(const float *from, size_t n, float *restrict lanes)
{
    if (n == LM_LANES) {
        memcpy(lanes, from, LM_LANES * sizeof *lanes);
        return;
    }
    memcpy(lanes, from, n * sizeof *lanes);
    for (size_t l = n; l < LM_LANES; l++)
        lanes[l] = lanes[n - 1];
}

/* Copy the first n lanes of 32-bit values out of a block. */
LM_INLINE void lm_store(void *restrict to, const void *restrict lanes, size_t n)
{
    if (n == LM_LANES)
        memcpy(to, lanes, LM_LANES * sizeof(float));
    else
        memcpy(to, lanes, n * sizeof(float));
}

/* Median of the sorted `values`. */
LM_INLINE float lm_median_sorted(const float *values, size_t n)
{
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) * 0.5f;
}

#endif
