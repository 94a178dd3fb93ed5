/* native/include/lightmill/drizzle.h: pixels of an image dropped on the pixels of another grid.
 *
 * Fruchter & Hook (2002, PASP 114, 144): a pixel, shrunk by `pixfrac`, gives each pixel of the grid the
 * fraction a of its area that lies there. All planes are sums of a times something, so one pass over the
 * overlaps makes them all: an element of `sums` is
 *     sum a w,  sum a w d,  sum a w s_0,  sum a w s_1,  sum a w s_2,
 * of as many standard deviations s as there are. `lm_drizzle_fold` puts the sums of one image into a
 * mosaic. x runs along a row; 0 is the centre of the first pixel, of the image as of the grid.
 */
#ifndef LIGHTMILL_DRIZZLE_H
#define LIGHTMILL_DRIZZLE_H
#include "core.h"

enum { LM_DRIZZLE_COMPONENTS = 3 };

typedef enum {
    LM_DRIZZLE_SQUARE = 0, /* the quadrilateral the shrunken pixel is on the grid, exactly */
    LM_DRIZZLE_TURBO = 1,  /* a square of side pixfrac / ratio along the axes of the grid */
    LM_DRIZZLE_POINT = 2   /* all of it to the pixel its centre falls on */
} lm_drizzle_kernel;

/* Where a pixel lies on the grid, and what it brings. Positions are (x, y), for n_rows + 2 margin rows of
 * n_cols + 2 margin columns. Without margin, those of the neighbours beyond the edge are extrapolated.
 * A corner at (+-pixfrac/2, +-pixfrac/2) is interpolated bilinearly between the centres of four pixels;
 * a pixel one of whose corners is not a number, or whose weight is not positive and finite, is not used. */
typedef struct {
    size_t n_rows, n_cols;
    size_t margin;           /* 0 or 1; 0 needs two rows and two columns */
    const double *positions; /* [rows][columns][2], or NULL: sum over k of along_y[row][k] along_x[k][column] */
    const double *along_y;   /* [rows][n_terms] */
    const double *along_x;   /* [n_terms][columns][2] */
    size_t n_terms;
    const float *data, *weight;                     /* [n_rows][n_cols] */
    const float *sigma[LM_DRIZZLE_COMPONENTS];      /* [n_rows][n_cols] each; the first NULL ends them */
    lm_drizzle_kernel kernel;
    double pixfrac; /* side of the drop over that of the pixel, 0 < pixfrac <= 1; the point has none */
    double ratio;   /* side of a pixel of the grid over that of the image: turbo alone */
} lm_drizzle_image;

/* Floats in an element of `sums`: 2 without components, 4 with one or two, 8 with three. */
LM_API size_t lm_drizzle_depth(size_t n_components);

/* sums += what the image drops on rows first_row <= y < end_row of a window of the grid.
 * sums     [n_rows][n_cols][lm_drizzle_depth]; its pixel (0, 0) is (x0, y0) of the grid
 * Pixels are taken in the order of the image, so that a pixel of the grid gets the same bits however the
 * window is cut. Calls on other rows may run at the same time. Allocates 12 rows of
 * the image (LM_NO_MEMORY). */
LM_API lm_status lm_drizzle(const lm_drizzle_image *image, float *sums, ptrdiff_t x0, ptrdiff_t y0, size_t n_rows,
                            size_t n_cols, size_t first_row, size_t end_row);

/* Planes of a mosaic, `stride` elements from one row to the next. A NULL plane is not made. */
typedef struct {
    size_t stride;
    float *values;                        /* += sum a w d: to be divided by the weight at last */
    float *weight;                        /* += sum a w */
    float *exptime;                       /* += time, where the image contributes */
    int32_t *context;                     /* |= bit, where the image contributes */
    float *squares[LM_DRIZZLE_COMPONENTS]; /* += (q sigma)^2: over shares^2, the variance of the mean */
    float *shares[LM_DRIZZLE_COMPONENTS];  /* += q, where q sigma is finite and q > 0 */
} lm_drizzle_mosaic;

/* Put the sums of one image into a mosaic and clear them. sigma_k = (sum a w s_k) / (sum a w), the mean
 * standard deviation of the pixels that contribute. Images are combined with the share q:
 * `share` itself, or, where that is 0, 1 / sigma_0^2.
 * sums     [n_rows][n_cols][depth] of n_components      mosaic   its pixel for (0, 0) */
LM_API lm_status lm_drizzle_fold(float *sums, size_t n_components, size_t n_rows, size_t n_cols,
                                 const lm_drizzle_mosaic *mosaic, float exptime, int32_t bit, float share);

#endif
