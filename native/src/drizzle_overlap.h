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

/* Drops with their corners, counter-clockwise where the map does not mirror; boxes around them; and the
 * lower left pixel of the grid they touch. */
typedef struct {
    double x[4][LM_DROPS], y[4][LM_DROPS];
    double x_min[LM_DROPS], x_max[LM_DROPS], y_min[LM_DROPS], y_max[LM_DROPS];
    double column[LM_DROPS], row[LM_DROPS], is_wide[LM_DROPS];
} lm_drops;

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

/* Overlap as a fraction of the drop; both have the sign of its orientation. */
LM_INLINE float lm_part(double overlap, double area)
{
    const double part = overlap / area, size = overlap < 0 ? -overlap : overlap;
    return size > LM_NO_OVERLAP_AREA && part > 0 ? (float)part : 0.0f;
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

/* Corners of drops from the rows of positions just below and above their centres; element 0 is the left
 * neighbour of the first drop. */
LM_INLINE void lm_corners(const double *restrict low_x, const double *restrict low_y, const double *restrict high_x,
                          const double *restrict high_y, double h, lm_drops *restrict d)
{
    const double g = 1 - h;
    for (int l = 0; l < LM_DROPS; l++) {
        const double x0 = g * low_x[l + 1] + h * low_x[l], x1 = g * low_x[l + 1] + h * low_x[l + 2];
        const double x2 = g * high_x[l + 1] + h * high_x[l + 2], x3 = g * high_x[l + 1] + h * high_x[l];
        const double y0 = g * low_y[l + 1] + h * low_y[l], y1 = g * low_y[l + 1] + h * low_y[l + 2];
        const double y2 = g * high_y[l + 1] + h * high_y[l + 2], y3 = g * high_y[l + 1] + h * high_y[l];
        d->x[0][l] = x0, d->x[1][l] = x1, d->x[2][l] = x2, d->x[3][l] = x3;
        d->y[0][l] = y0, d->y[1][l] = y1, d->y[2][l] = y2, d->y[3][l] = y3;
        /* the sum carries a NaN of any corner into the box, which minima may lose */
        const double x_nan = 0 * (x0 + x1 + x2 + x3), y_nan = 0 * (y0 + y1 + y2 + y3);
        d->x_min[l] = lm_least(lm_least(x0, x1), lm_least(x2, x3)) + x_nan;
        d->x_max[l] = lm_most(lm_most(x0, x1), lm_most(x2, x3)) + x_nan;
        d->y_min[l] = lm_least(lm_least(y0, y1), lm_least(y2, y3)) + y_nan;
        d->y_max[l] = lm_most(lm_most(y0, y1), lm_most(y2, y3)) + y_nan;
    }
}

typedef struct {
    double one, two, all; /* of a row of the grid, area left of u = 1, of u = 2, and all of it */
} lm_row_areas;

LM_INLINE lm_row_areas lm_edge(double u0, double v0, double v1, double slope, double v, lm_row_areas sum)
{
    const lm_piece piece = lm_cut(u0, v0, v1, slope, v);
    sum.one += lm_left(piece, 1);
    sum.two += lm_left(piece, 2);
    sum.all += 0.5 * piece.dv * (piece.near + piece.far);
    return sum;
}

/* The parts of drops in 3 x 3 pixels, [drop][4 row + column]. `is_wide` is set where that is too few. */
LM_INLINE void lm_overlaps(lm_drops *restrict d, float (*restrict parts)[12])
{
    float planes[9][LM_DROPS];
    for (int l = 0; l < LM_DROPS; l++) {
        d->column[l] = floor(d->x_min[l] + 0.5);
        d->row[l] = floor(d->y_min[l] + 0.5);
        const double left = d->column[l] - 0.5, bottom = d->row[l] - 0.5;
        d->is_wide[l] = lm_most(d->x_max[l] - left, d->y_max[l] - bottom) > 3 ? 1.0 : 0.0;
    }
    for (int l = 0; l < LM_DROPS; l++) {
        const double left = d->column[l] - 0.5, bottom = d->row[l] - 0.5;
        const double u0 = d->x[0][l] - left, u1 = d->x[1][l] - left, u2 = d->x[2][l] - left, u3 = d->x[3][l] - left;
        const double v0 = d->y[0][l] - bottom, v1 = d->y[1][l] - bottom, v2 = d->y[2][l] - bottom,
                     v3 = d->y[3][l] - bottom;
        const double area = 0.5 * ((u2 - u0) * (v3 - v1) - (u3 - u1) * (v2 - v0));
        const double s0 = lm_slope(u1 - u0, v1 - v0), s1 = lm_slope(u2 - u1, v2 - v1);
        const double s2 = lm_slope(u3 - u2, v3 - v2), s3 = lm_slope(u0 - u3, v0 - v3);
#define LM_ROW(row, v)                                        \
    lm_row_areas row = {0, 0, 0};                             \
    row = lm_edge(u0, v0, v1, s0, v, row);                    \
    row = lm_edge(u1, v1, v2, s1, v, row);                    \
    row = lm_edge(u2, v2, v3, s2, v, row);                    \
    row = lm_edge(u3, v3, v0, s3, v, row)
        LM_ROW(a, 0);
        LM_ROW(b, 1);
        LM_ROW(c, 2);
#undef LM_ROW
        planes[0][l] = lm_part(a.one, area);
        planes[1][l] = lm_part(a.two - a.one, area);
        planes[2][l] = lm_part(a.all - a.two, area);
        planes[3][l] = lm_part(b.one, area);
        planes[4][l] = lm_part(b.two - b.one, area);
        planes[5][l] = lm_part(b.all - b.two, area);
        planes[6][l] = lm_part(c.one, area);
        planes[7][l] = lm_part(c.two - c.one, area);
        planes[8][l] = lm_part(c.all - c.two, area);
    }
    for (int l = 0; l < LM_DROPS; l++)
        for (int j = 0; j < 3; j++)
            for (int i = 0; i < 3; i++)
                parts[l][4 * j + i] = planes[3 * j + i][l];
}

#endif
