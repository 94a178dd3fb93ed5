#include "lightmill/drizzle.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "clones.h"
#include "drizzle_overlap.h"

/* Rows of positions as the kernels read them: x and y apart, one more column on each side, and so many
 * more that a full block of lanes can be loaded at the end. */
typedef struct {
    size_t length;
    double *x[3], *y[3]; /* ring: row r of the image is r + 1 modulo 3 */
    double *low_x, *low_y, *high_x, *high_y;
    double *pairs;
} lines;

typedef struct {
    const lm_drizzle_image *image;
    float *sums;
    size_t depth, n_components, n_cols;
    ptrdiff_t x0, y0; /* of the sums */
    ptrdiff_t left, right, bottom, top; /* pixels of the grid that may be written, half open */
    double x_low, x_high, y_low, y_high; /* edges of these */
} target;

size_t lm_drizzle_depth(size_t n_components)
{
    return n_components == 0 ? 2 : n_components <= 2 ? 4 : 8;
}

/* -- positions ---------------------------------------------------------------------------------- */

LM_CLONES static void expand(const double *restrict along_y, const double *restrict along_x, size_t n_terms,
                             size_t count, double *restrict out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = along_y[0] * along_x[i];
    for (size_t k = 1; k < n_terms; k++) {
        const double factor = along_y[k];
        const double *restrict term = along_x + k * count;
        for (size_t i = 0; i < count; i++)
            out[i] += factor * term[i];
    }
}

LM_CLONES static void split(const double *restrict pairs, size_t count, double *restrict x, double *restrict y)
{
    for (size_t i = 0; i < count; i++) {
        x[i] = pairs[2 * i];
        y[i] = pairs[2 * i + 1];
    }
}

/* The positions of the row `at` of those given. */
static void read_row(const lm_drizzle_image *image, const lines *r, size_t at, double *x, double *y)
{
    const size_t count = image->n_cols + 2 * image->margin;
    const double *pairs = image->positions ? image->positions + 2 * count * at : r->pairs;
    if (!image->positions)
        expand(image->along_y + at * image->n_terms, image->along_x, image->n_terms, 2 * count, r->pairs);
    if (image->margin) {
        split(pairs, count, x, y);
        return;
    }
    split(pairs, count, x + 1, y + 1);
    x[0] = 2 * x[1] - x[2];
    y[0] = 2 * y[1] - y[2];
    x[count + 1] = 2 * x[count] - x[count - 1];
    y[count + 1] = 2 * y[count] - y[count - 1];
}

LM_CLONES static void extrapolate(const double *restrict near, const double *restrict far, size_t count,
                                  double *restrict out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = 2 * near[i] - far[i];
}

/* Row `row` of the image, -1 <= row <= n_rows, into its place in the ring. Rows come in order, but the one
 * before the first is made of the next two. */
static void fill_row(const lm_drizzle_image *image, const lines *r, ptrdiff_t row)
{
    const size_t place = (size_t)(row + 1) % 3;
    if (image->margin) {
        read_row(image, r, (size_t)(row + 1), r->x[place], r->y[place]);
    } else if (row >= 0 && (size_t)row < image->n_rows) {
        read_row(image, r, (size_t)row, r->x[place], r->y[place]);
    } else {
        /* -1 lies before 0 and 1, n_rows after n_rows - 1 and n_rows - 2 */
        const size_t near = row < 0 ? 1 : (place + 2) % 3, far = row < 0 ? 2 : (place + 1) % 3;
        extrapolate(r->x[near], r->x[far], image->n_cols + 2, r->x[place]);
        extrapolate(r->y[near], r->y[far], image->n_cols + 2, r->y[place]);
    }
}

LM_CLONES static void blend(const double *restrict row, const double *restrict beside, double h, size_t count,
                            double *restrict out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = (1 - h) * row[i] + h * beside[i];
}

/* -- sums --------------------------------------------------------------------------------------- */

/* What a pixel of the image adds to an element where all of it lies. */
LM_INLINE void bring(const target *t, size_t pixel, size_t depth, float *restrict brings)
{
    const float weight = t->image->weight[pixel];
    brings[0] = weight;
    brings[1] = weight * t->image->data[pixel];
    for (size_t k = 2; k < depth; k++)
        brings[k] = 0;
    for (size_t k = 0; k < t->n_components; k++)
        brings[2 + k] = weight * t->image->sigma[k][pixel];
}

#if defined(__GNUC__)
/* Compilers see through `brings` and add number by number; these are whole registers. */
typedef float pair __attribute__((vector_size(8), aligned(4), may_alias));
typedef float four __attribute__((vector_size(16), aligned(4), may_alias));
typedef float eight __attribute__((vector_size(32), aligned(4), may_alias));

LM_INLINE void add(float *restrict sum, const float *restrict brings, float part, size_t depth)
{
    if (depth == 2)
        *(pair *)sum += part * *(const pair *)brings;
    else if (depth == 4)
        *(four *)sum += part * *(const four *)brings;
    else
        *(eight *)sum += part * *(const eight *)brings;
}
#else
LM_INLINE void add(float *restrict sum, const float *restrict brings, float part, size_t depth)
{
    for (size_t k = 0; k < depth; k++)
        sum[k] += part * brings[k];
}
#endif

LM_INLINE float *element(const target *t, ptrdiff_t x, ptrdiff_t y, size_t depth)
{
    return t->sums + ((size_t)(y - t->y0) * t->n_cols + (size_t)(x - t->x0)) * depth;
}

LM_INLINE int is_usable(float weight)
{
    return weight > 0 && weight <= FLT_MAX;
}

LM_INLINE int is_inside(const target *t, ptrdiff_t x, ptrdiff_t y)
{
    return x >= t->left && x < t->right && y >= t->bottom && y < t->top;
}

/* True where a box [pixels of the grid] meets the rows and columns that may be written: false for NaN. */
LM_INLINE int meets(const target *t, double x_min, double x_max, double y_min, double y_max)
{
    return x_max >= t->x_low && x_min <= t->x_high && y_max >= t->y_low && y_min <= t->y_high;
}

/* -- drops -------------------------------------------------------------------------------------- */

/* A drop that covers more than 3 x 3 pixels of the grid: the same areas, one after the other. */
static void drop_wide(const target *t, const double *x, const double *y, const float *brings)
{
    double x_min = x[0], x_max = x[0], y_min = y[0], y_max = y[0];
    for (int k = 1; k < 4; k++) {
        x_min = fmin(x_min, x[k]), x_max = fmax(x_max, x[k]);
        y_min = fmin(y_min, y[k]), y_max = fmax(y_max, y[k]);
    }
    const double over_area = 2 / ((x[2] - x[0]) * (y[3] - y[1]) - (x[3] - x[1]) * (y[2] - y[0]));
    const double x_first = fmax(floor(x_min + 0.5), (double)t->left), x_last = fmin(x_max + 0.5, (double)t->right);
    const double y_first = fmax(floor(y_min + 0.5), (double)t->bottom), y_last = fmin(y_max + 0.5, (double)t->top);
    for (double row = y_first; row < y_last; row++) {
        double u[4], v[4];
        for (int k = 0; k < 4; k++) {
            u[k] = x[k] - x_first + 0.5;
            v[k] = y[k] - row + 0.5;
        }
        double before = lm_area_left(u, v, 0.0);
        for (double column = 0; column < x_last - x_first; column++) {
            const double up_to = lm_area_left(u, v, column + 1);
            const float part = lm_part(up_to - before, over_area);
            before = up_to;
            if (part > 0)
                add(element(t, (ptrdiff_t)(x_first + column), (ptrdiff_t)row, t->depth), brings, part, t->depth);
        }
    }
}

/* Corners of drops from the rows of positions just below and above their centres; element 0 is the left
 * neighbour of the first drop. */
LM_INLINE void corners(const double *restrict low_x, const double *restrict low_y, const double *restrict high_x,
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
        d->column[l] = floor(d->x_min[l] + 0.5);
        d->row[l] = floor(d->y_min[l] + 0.5);
    }
}

/* The lanes of a block that are used, and how many rows and columns of the grid those need that are not wide. */
typedef struct {
    int count, rows, columns;
    unsigned char lanes[LM_DROPS], is_wide[LM_DROPS];
} selection;

LM_INLINE selection select_lanes(const target *t, const lm_drops *d, const float *weight, size_t count)
{
    selection s = {.count = 0, .rows = 2, .columns = 2};
    for (size_t l = 0; l < count; l++) {
        if (!is_usable(weight[l]) || !meets(t, d->x_min[l], d->x_max[l], d->y_min[l], d->y_max[l]))
            continue;
        const double width = d->x_max[l] - d->column[l], height = d->y_max[l] - d->row[l];
        const int is_wide = width > 2.5 || height > 2.5;
        s.columns = !is_wide && width > 1.5 ? 3 : s.columns;
        s.rows = !is_wide && height > 1.5 ? 3 : s.rows;
        s.is_wide[s.count] = (unsigned char)is_wide;
        s.lanes[s.count++] = (unsigned char)l;
    }
    return s;
}

/* How far ahead, in bytes, the centre of a drop lies three rows later: what the next row but one adds to. */
LM_INLINE ptrdiff_t three_rows_later(const target *t, const lm_drops *d, size_t l, double h, size_t depth)
{
    const double x = 1.5 / h * (d->x[3][l] - d->x[0][l]), y = 1.5 / h * (d->y[3][l] - d->y[0][l]);
    if (!(fabs(x) < 1e3 && fabs(y) < 1e3))
        return 0;
    return ((ptrdiff_t)y * (ptrdiff_t)t->n_cols + (ptrdiff_t)x) * (ptrdiff_t)(depth * sizeof(float));
}

/* Ask for memory that is about to be added to: a turned image walks through the rows of the grid, which
 * the processor does not foresee. Nothing is read, so it may lie outside. */
LM_INLINE void fetch(const float *sum, ptrdiff_t ahead)
{
#if defined(__GNUC__)
    __builtin_prefetch((const void *)((uintptr_t)sum + (uintptr_t)ahead), 1);
#else
    (void)sum, (void)ahead;
#endif
}

LM_INLINE void drop_parts(const target *t, const lm_drops *d, size_t l, const float *brings, int rows, int columns,
                          ptrdiff_t ahead, size_t depth)
{
    const ptrdiff_t x = (ptrdiff_t)d->column[l], y = (ptrdiff_t)d->row[l];
    if (is_inside(t, x, y) && is_inside(t, x + 2, y + 2)) {
        float *sum = element(t, x, y, depth);
        fetch(sum + (t->n_cols + 1) * depth, ahead);
        for (int j = 0; j < rows; j++, sum += t->n_cols * depth)
            for (int i = 0; i < columns; i++)
                if (d->parts[3 * j + i][l] > 0)
                    add(sum + (size_t)i * depth, brings, d->parts[3 * j + i][l], depth);
    } else {
        for (int j = 0; j < rows; j++)
            for (int i = 0; i < columns; i++)
                if (d->parts[3 * j + i][l] > 0 && is_inside(t, x + i, y + j))
                    add(element(t, x + i, y + j, depth), brings, d->parts[3 * j + i][l], depth);
    }
}

LM_INLINE void drop_block(const target *t, const lines *r, double h, size_t row, size_t first, size_t depth)
{
    const size_t count = t->image->n_cols - first < LM_DROPS ? t->image->n_cols - first : LM_DROPS;
    const size_t pixel = row * t->image->n_cols + first;
    lm_drops drops;
    corners(r->low_x + first, r->low_y + first, r->high_x + first, r->high_y + first, h, &drops);
    const selection used = select_lanes(t, &drops, t->image->weight + pixel, count);
    if (!used.count)
        return;
    /* Before the overlaps are found, so that these stores of single numbers are over when registers of
     * eight are loaded from them. */
    float brings[LM_DROPS][8];
    for (int k = 0; k < used.count; k++)
        bring(t, pixel + used.lanes[k], depth, brings[k]);
    lm_overlaps(&drops, used.rows, used.columns);
    const ptrdiff_t ahead = three_rows_later(t, &drops, used.lanes[0], h, depth);
    for (int k = 0; k < used.count; k++) {
        const size_t l = used.lanes[k];
        if (used.is_wide[k]) {
            const double x[4] = {drops.x[0][l], drops.x[1][l], drops.x[2][l], drops.x[3][l]};
            const double y[4] = {drops.y[0][l], drops.y[1][l], drops.y[2][l], drops.y[3][l]};
            drop_wide(t, x, y, brings[k]);
        } else if (used.rows == 2 && used.columns == 2) {
            drop_parts(t, &drops, l, brings[k], 2, 2, ahead, depth);
        } else {
            drop_parts(t, &drops, l, brings[k], used.rows, used.columns, ahead, depth);
        }
    }
}

LM_CLONES static void drop_squares2(const target *t, const lines *r, double h, size_t row)
{
    for (size_t first = 0; first < t->image->n_cols; first += LM_DROPS)
        drop_block(t, r, h, row, first, 2);
}

LM_CLONES static void drop_squares4(const target *t, const lines *r, double h, size_t row)
{
    for (size_t first = 0; first < t->image->n_cols; first += LM_DROPS)
        drop_block(t, r, h, row, first, 4);
}

LM_CLONES static void drop_squares8(const target *t, const lines *r, double h, size_t row)
{
    for (size_t first = 0; first < t->image->n_cols; first += LM_DROPS)
        drop_block(t, r, h, row, first, 8);
}

static void drop_squares(const target *t, const lines *r, size_t row)
{
    const size_t place = (row + 1) % 3, below = row % 3, above = (row + 2) % 3, count = t->image->n_cols + 2;
    const double h = 0.5 * t->image->pixfrac;
    blend(r->x[place], r->x[below], h, count, r->low_x);
    blend(r->y[place], r->y[below], h, count, r->low_y);
    blend(r->x[place], r->x[above], h, count, r->high_x);
    blend(r->y[place], r->y[above], h, count, r->high_y);
    (t->depth == 2 ? drop_squares2 : t->depth == 4 ? drop_squares4 : drop_squares8)(t, r, h, row);
}

/* Squares along the axes of the grid, of half side `half`; 0: points. */
LM_INLINE void drop_upright_row(const target *t, const lines *r, double half, size_t row, size_t depth)
{
    const double *x = r->x[(row + 1) % 3] + 1, *y = r->y[(row + 1) % 3] + 1;
    const double density = half > 0 ? 1 / (4 * half * half) : 0;
    for (size_t i = 0; i < t->image->n_cols; i++) {
        const size_t pixel = row * t->image->n_cols + i;
        const double x_min = x[i] - half, x_max = x[i] + half, y_min = y[i] - half, y_max = y[i] + half;
        if (!is_usable(t->image->weight[pixel]) || !meets(t, x_min, x_max, y_min, y_max))
            continue;
        float brings[8];
        bring(t, pixel, depth, brings);
        if (half <= 0) {
            const ptrdiff_t column = (ptrdiff_t)floor(x[i] + 0.5), line = (ptrdiff_t)floor(y[i] + 0.5);
            if (is_inside(t, column, line))
                add(element(t, column, line, depth), brings, 1.0f, depth);
            continue;
        }
        /* clipped before they become integers: a drop may be larger than any */
        const ptrdiff_t x_first = (ptrdiff_t)fmax(floor(x_min + 0.5), (double)t->left);
        const ptrdiff_t y_first = (ptrdiff_t)fmax(floor(y_min + 0.5), (double)t->bottom);
        const ptrdiff_t x_end = (ptrdiff_t)fmin(floor(x_max + 0.5) + 1, (double)t->right);
        const ptrdiff_t y_end = (ptrdiff_t)fmin(floor(y_max + 0.5) + 1, (double)t->top);
        for (ptrdiff_t b = y_first; b < y_end; b++) {
            const double high = fmin(y_max, (double)b + 0.5) - fmax(y_min, (double)b - 0.5);
            for (ptrdiff_t a = x_first; a < x_end; a++) {
                const double wide = fmin(x_max, (double)a + 0.5) - fmax(x_min, (double)a - 0.5);
                const float part = (float)(high * wide * density);
                if (part > 0)
                    add(element(t, a, b, depth), brings, part, depth);
            }
        }
    }
}

static void drop_upright(const target *t, const lines *r, double half, size_t row)
{
    if (t->depth == 2)
        drop_upright_row(t, r, half, row, 2);
    else if (t->depth == 4)
        drop_upright_row(t, r, half, row, 4);
    else
        drop_upright_row(t, r, half, row, 8);
}

static int is_sound(const lm_drizzle_image *image)
{
    return image->n_rows && image->n_cols && image->margin <= 1 && image->data && image->weight &&
           (image->margin || (image->n_rows > 1 && image->n_cols > 1)) &&
           (image->positions || (image->along_x && image->along_y && image->n_terms));
}

static lines divide(double *memory, size_t length)
{
    lines r = {.length = length};
    double **places[] = {&r.x[0], &r.x[1], &r.x[2], &r.y[0], &r.y[1], &r.y[2],
                         &r.low_x, &r.low_y, &r.high_x, &r.high_y, &r.pairs};
    for (size_t k = 0; k < sizeof places / sizeof *places; k++)
        *places[k] = memory + k * length; /* the last is of double length */
    return r;
}

lm_status lm_drizzle(const lm_drizzle_image *image, float *sums, ptrdiff_t x0, ptrdiff_t y0, size_t n_rows,
                     size_t n_cols, size_t first_row, size_t end_row)
{
    if (!is_sound(image) || !n_rows || !n_cols || end_row > n_rows)
        return LM_BAD_SHAPE;
    const int is_point = image->kernel == LM_DRIZZLE_POINT;
    if (image->kernel < LM_DRIZZLE_SQUARE || image->kernel > LM_DRIZZLE_POINT ||
        (!is_point && !(image->pixfrac > 0 && image->pixfrac <= 1)) ||
        (image->kernel == LM_DRIZZLE_TURBO && !(image->ratio > 0 && image->ratio <= DBL_MAX)))
        return LM_BAD_ARGUMENT;
    if (first_row >= end_row)
        return LM_OK;

    target t = {.image = image, .sums = sums, .n_cols = n_cols, .x0 = x0, .y0 = y0, .left = x0};
    t.right = x0 + (ptrdiff_t)n_cols;
    t.bottom = y0 + (ptrdiff_t)first_row;
    t.top = y0 + (ptrdiff_t)end_row;
    t.x_low = (double)t.left - 0.5, t.x_high = (double)t.right - 0.5;
    t.y_low = (double)t.bottom - 0.5, t.y_high = (double)t.top - 0.5;
    while (t.n_components < LM_DRIZZLE_COMPONENTS && image->sigma[t.n_components])
        t.n_components++;
    t.depth = lm_drizzle_depth(t.n_components);

    const size_t length = image->n_cols + 2 + LM_DROPS;
    double *memory = calloc(12 * length, sizeof *memory);
    if (!memory)
        return LM_NO_MEMORY;
    const lines r = divide(memory, length);
    const double half = is_point ? 0 : 0.5 * image->pixfrac / image->ratio;
    /* Without margin the row before the first is made of the two after it: those first. */
    fill_row(image, &r, 0);
    fill_row(image, &r, 1);
    fill_row(image, &r, -1);
    for (size_t row = 0; row < image->n_rows; row++) {
        if (row)
            fill_row(image, &r, (ptrdiff_t)row + 1);
        if (image->kernel == LM_DRIZZLE_SQUARE)
            drop_squares(&t, &r, row);
        else
            drop_upright(&t, &r, half, row);
    }
    free(memory);
    return LM_OK;
}
