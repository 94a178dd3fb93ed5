/* Sort a few values that fit the registers: fixed comparisons (Knuth, The Art of Computer Programming
 * 3, 5.3.4), so that a loop over pixels around them is vector code, and the part of the order nobody
 * asks for costs nothing. The number of values has to be a constant where these are inlined. */
#ifndef LM_NETWORKS_H
#define LM_NETWORKS_H

#include "lanes.h"

enum { LM_FEW = 9 };

LM_INLINE void lm_order(float *v, int a, int b)
{
    float low = v[a], high = v[b];
    v[a] = high < low ? high : low;
    v[b] = low < high ? high : low;
}

/* Sort v [n], n <= LM_FEW, smallest first. */
LM_INLINE void lm_sort_few(float *v, size_t n)
{
    switch (n) {
    case 2:
        lm_order(v, 0, 1);
        break;
    case 3:
        lm_order(v, 0, 2); lm_order(v, 0, 1); lm_order(v, 1, 2);
        break;
    case 4:
        lm_order(v, 0, 2); lm_order(v, 1, 3); lm_order(v, 0, 1); lm_order(v, 2, 3); lm_order(v, 1, 2);
        break;
    case 5:
        lm_order(v, 0, 3); lm_order(v, 1, 4); lm_order(v, 0, 2); lm_order(v, 1, 3); lm_order(v, 0, 1);
        lm_order(v, 2, 4); lm_order(v, 1, 2); lm_order(v, 3, 4); lm_order(v, 2, 3);
        break;
    case 6:
        lm_order(v, 0, 5); lm_order(v, 1, 3); lm_order(v, 2, 4); lm_order(v, 1, 2); lm_order(v, 3, 4);
        lm_order(v, 0, 3); lm_order(v, 2, 5); lm_order(v, 0, 1); lm_order(v, 2, 3); lm_order(v, 4, 5);
        lm_order(v, 1, 2); lm_order(v, 3, 4);
        break;
    case 7:
        lm_order(v, 0, 6); lm_order(v, 2, 3); lm_order(v, 4, 5); lm_order(v, 0, 2); lm_order(v, 1, 4);
        lm_order(v, 3, 6); lm_order(v, 0, 1); lm_order(v, 2, 5); lm_order(v, 3, 4); lm_order(v, 1, 2);
        lm_order(v, 4, 6); lm_order(v, 2, 3); lm_order(v, 4, 5); lm_order(v, 1, 2); lm_order(v, 3, 4);
        lm_order(v, 5, 6);
        break;
    case 8:
        lm_order(v, 0, 2); lm_order(v, 1, 3); lm_order(v, 4, 6); lm_order(v, 5, 7); lm_order(v, 0, 4);
        lm_order(v, 1, 5); lm_order(v, 2, 6); lm_order(v, 3, 7); lm_order(v, 0, 1); lm_order(v, 2, 3);
        lm_order(v, 4, 5); lm_order(v, 6, 7); lm_order(v, 2, 4); lm_order(v, 3, 5); lm_order(v, 1, 4);
        lm_order(v, 3, 6); lm_order(v, 1, 2); lm_order(v, 3, 4); lm_order(v, 5, 6);
        break;
    case 9:
        lm_order(v, 0, 3); lm_order(v, 1, 7); lm_order(v, 2, 5); lm_order(v, 4, 8); lm_order(v, 0, 7);
        lm_order(v, 2, 4); lm_order(v, 3, 8); lm_order(v, 5, 6); lm_order(v, 0, 2); lm_order(v, 1, 3);
        lm_order(v, 4, 5); lm_order(v, 7, 8); lm_order(v, 1, 4); lm_order(v, 3, 6); lm_order(v, 5, 7);
        lm_order(v, 0, 1); lm_order(v, 2, 4); lm_order(v, 3, 5); lm_order(v, 6, 8); lm_order(v, 2, 3);
        lm_order(v, 4, 5); lm_order(v, 6, 7); lm_order(v, 1, 2); lm_order(v, 3, 4); lm_order(v, 5, 6);
        break;
    default:
        break;
    }
}

/* Median of the sorted v [n]. */
LM_INLINE float lm_median_few(const float *v, size_t n)
{
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) * 0.5f;
}

/* Sort any number of floats in place, smallest first. */
LM_INLINE void lm_sort_floats(float *values, size_t n)
{
    if (n <= LM_FEW) {
        lm_sort_few(values, n);
        return;
    }
    size_t gap = 1;
    while (gap < n / 3)
        gap = 3 * gap + 1;
    for (; gap > 0; gap /= 3)
        for (size_t i = gap; i < n; i++) {
            float value = values[i];
            size_t k = i;
            for (; k >= gap && values[k - gap] > value; k -= gap)
                values[k] = values[k - gap];
            values[k] = value;
        }
}

/* Call f(n, ...) with n as a constant; for n from 1 to LM_FEW. */
#define LM_FOR_FEW(n, f, ...)                \
    switch (n) {                             \
    case 1: f(1, __VA_ARGS__); break;        \
    case 2: f(2, __VA_ARGS__); break;        \
    case 3: f(3, __VA_ARGS__); break;        \
    case 4: f(4, __VA_ARGS__); break;        \
    case 5: f(5, __VA_ARGS__); break;        \
    case 6: f(6, __VA_ARGS__); break;        \
    case 7: f(7, __VA_ARGS__); break;        \
    case 8: f(8, __VA_ARGS__); break;        \
    case 9: f(9, __VA_ARGS__); break;        \
    default: break;                          \
    }

#endif
