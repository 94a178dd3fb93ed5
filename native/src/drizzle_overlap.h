/* Areas of quadrilaterals in the unit squares of a grid, for LM_DROPS of them at once.
 *
 * The area of a polygon left of u = U and between v = 0 and v = 1 is, by Green's theorem, the integral of
 * min(u, U) dv along its edges, of which only what lies between v = 0 and 1 counts. The integral of one
 * straight edge has a closed form without cases, so that a loop over drops is vector code. The area in
 * a square is the difference of two such areas. */
#ifndef LM_DRIZZLE_OVERLAP_H
#define LM_DRIZZLE_OVERLAP_H

#include "lanes.h"

#define LM_DROPS 16

/* Drops with their corners, counter-clockwise where the map does not mirror; boxes around them; the lower
 * left pixel of the grid they touch, and their parts in that one and its neighbours: [3 row + column]. */
typedef struct {
    double x[4][LM_DROPS], y[4][LM_DROPS];
    double x_min[LM_DROPS], x_max[LM_DROPS], y_min[LM_DROPS], y_max[LM_DROPS];
    double column[LM_DROPS], row[LM_DROPS];
    float parts[9][LM_DROPS];
} lm_drops;

/* Find the parts of drops that lie in no more than `rows` by `columns` pixels, 2 or 3 each: only those
 * parts are written. What is written for a larger drop, or one that is not a number, has no meaning. */
void lm_overlaps(lm_drops *drops, int rows, int columns);

LM_INLINE double lm_least(double a, double b)
{
    return a < b ? a : b;
}

LM_INLINE double lm_most(double a, double b)
{
    return a > b ? a : b;
}

/* An edge has a slope du/dv only if it is not level; a level one bounds no area to its left. The limit is
 * far below the rounding of a position in a mosaic, and above what could overflow. */
LM_INLINE double lm_slope(double du, double dv)
{
    const double size = dv < 0 ? -dv : dv;
    return size > 1e-12 ? du / dv : 0;
}

/* Part of an edge between v and v + 1: the integral of u dv along it is dv (near + far) / 2. */
typedef struct {
    double dv, near, far, scale;
} lm_piece;

LM_INLINE lm_piece lm_cut(double u0, double v0, double v1, double slope, double v)
{
    const double a = lm_least(lm_most(v0, v), v + 1), b = lm_least(lm_most(v1, v), v + 1);
    const double ua = u0 + (a - v0) * slope, ub = u0 + (b - v0) * slope;
    lm_piece piece = {b - a, lm_least(ua, ub), lm_most(ua, ub), 0};
    const double width = piece.far - piece.near;
    piece.scale = 1 / lm_most(width, 1e-300);
    return piece;
}

/* Integral of min(u, U) dv along a piece. The fraction of it left of U is 0, 1, or between where it crosses. */
LM_INLINE double lm_left(lm_piece piece, double limit)
{
    const double before = limit - piece.near;
    const double fraction = lm_least(lm_most(before * piece.scale, 0), 1);
    return piece.dv * (limit - 0.5 * fraction * (before + lm_most(limit - piece.far, 0)));
}

/* Overlaps below this are rounding, of areas of order one. */
#define LM_NO_OVERLAP_AREA 1e-12

/* Overlap as a fraction of the drop; both areas have the sign of its orientation. */
LM_INLINE float lm_part(double overlap, double over_area)
{
    const double part = overlap * over_area, size = overlap < 0 ? -overlap : overlap;
    return (float)(size > LM_NO_OVERLAP_AREA ? part : 0);
}

/* Area of a quadrilateral left of u = limit, between v = 0 and 1. */
LM_INLINE double lm_area_left(const double *u, const double *v, double limit)
{
    double area = 0;
    for (int k = 0; k < 4; k++) {
        const int next = (k + 1) % 4;
        area += lm_left(lm_cut(u[k], v[k], v[next], lm_slope(u[next] - u[k], v[next] - v[k]), 0), limit);
    }
    return area;
}

#endif
