#include "drizzle_overlap.h"

#include <math.h>

#include "clones.h"

typedef struct {
    double one, two, all; /* of a row of the grid, area left of u = 1, of u = 2, and all of it */
} row_areas;

LM_INLINE row_areas with_edge(row_areas sum, double u0, double v0, double v1, double slope, double v, int columns)
{
    const lm_piece piece = lm_cut(u0, v0, v1, slope, v);
    sum.one += lm_left(piece, 1);
    if (columns > 2)
        sum.two += lm_left(piece, 2);
    sum.all += 0.5 * piece.dv * (piece.near + piece.far);
    return sum;
}

LM_INLINE void find_parts(lm_drops *restrict d, const int rows, const int columns)
{
    for (int l = 0; l < LM_DROPS; l++) {
        const double left = d->column[l] - 0.5, bottom = d->row[l] - 0.5;
        const double u0 = d->x[0][l] - left, u1 = d->x[1][l] - left, u2 = d->x[2][l] - left, u3 = d->x[3][l] - left;
        const double v0 = d->y[0][l] - bottom, v1 = d->y[1][l] - bottom, v2 = d->y[2][l] - bottom,
                     v3 = d->y[3][l] - bottom;
        const double over_area = 2 / ((u2 - u0) * (v3 - v1) - (u3 - u1) * (v2 - v0));
        const double s0 = lm_slope(u1 - u0, v1 - v0), s1 = lm_slope(u2 - u1, v2 - v1);
        const double s2 = lm_slope(u3 - u2, v3 - v2), s3 = lm_slope(u0 - u3, v0 - v3);
        /* the two sums are then the same number, but for its last bit, which must not depend on `columns` */
        const int is_narrow = d->x_max[l] - d->column[l] <= 1.5;
#define ROW(row)                                                        \
    do {                                                                \
        row_areas sum = {0, 0, 0};                                      \
        sum = with_edge(sum, u0, v0, v1, s0, row, columns);             \
        sum = with_edge(sum, u1, v1, v2, s1, row, columns);             \
        sum = with_edge(sum, u2, v2, v3, s2, row, columns);             \
        sum = with_edge(sum, u3, v3, v0, s3, row, columns);             \
        d->parts[3 * row][l] = lm_part(sum.one, over_area);             \
        if (columns > 2) {                                              \
            const double two = is_narrow ? sum.all : sum.two;           \
            d->parts[3 * row + 1][l] = lm_part(two - sum.one, over_area); \
            d->parts[3 * row + 2][l] = lm_part(sum.all - two, over_area); \
        } else {                                                        \
            d->parts[3 * row + 1][l] = lm_part(sum.all - sum.one, over_area); \
        }                                                               \
    } while (0)
        ROW(0);
        ROW(1);
        if (rows > 2)
            ROW(2);
#undef ROW
    }
}

LM_CLONES static void find2x2(lm_drops *d) { find_parts(d, 2, 2); }
LM_CLONES static void find2x3(lm_drops *d) { find_parts(d, 2, 3); }
LM_CLONES static void find3x2(lm_drops *d) { find_parts(d, 3, 2); }
LM_CLONES static void find3x3(lm_drops *d) { find_parts(d, 3, 3); }

void lm_overlaps(lm_drops *drops, int rows, int columns)
{
    if (rows > 2)
        (columns > 2 ? find3x3 : find3x2)(drops);
    else
        (columns > 2 ? find2x3 : find2x2)(drops);
}
