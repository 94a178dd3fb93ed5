#include "check.h"

#include <math.h>
#include <string.h>

#include "lightmill/lightmill.h"

enum { SIDE = 6, GRID = 12 };

static double positions[SIDE + 2][SIDE + 2][2];
static float data[SIDE][SIDE], weight[SIDE][SIDE], sigma[SIDE][SIDE];

/* Pixel (0, 0) of the image at (x, y) of the grid, turned by the angle of cosine c and sine s. */
static void place(double x, double y, double c, double s)
{
    for (int j = 0; j < SIDE + 2; j++)
        for (int i = 0; i < SIDE + 2; i++) {
            positions[j][i][0] = x + c * (i - 1) - s * (j - 1);
            positions[j][i][1] = y + s * (i - 1) + c * (j - 1);
        }
    for (int j = 0; j < SIDE; j++)
        for (int i = 0; i < SIDE; i++) {
            data[j][i] = (float)(1 + j * SIDE + i);
            weight[j][i] = 2;
            sigma[j][i] = 3;
        }
}

static lm_drizzle_image the_image(lm_drizzle_kernel kernel, double pixfrac)
{
    return (lm_drizzle_image){.n_rows = SIDE, .n_cols = SIDE, .margin = 1, .positions = &positions[0][0][0],
                              .data = &data[0][0], .weight = &weight[0][0], .sigma = {&sigma[0][0]},
                              .kernel = kernel, .pixfrac = pixfrac, .ratio = 1};
}

static float sums[GRID][GRID][4];

static lm_status drop(const lm_drizzle_image *image)
{
    memset(sums, 0, sizeof sums);
    return lm_drizzle(image, &sums[0][0][0], 0, 0, GRID, GRID, 0, GRID);
}

static void half_a_pixel_to_the_side_halves_its_light(void)
{
    place(2.5, 3, 1, 0);
    for (int kernel = LM_DRIZZLE_SQUARE; kernel <= LM_DRIZZLE_TURBO; kernel++) {
        const lm_drizzle_image image = the_image((lm_drizzle_kernel)kernel, 1);
        CHECK(drop(&image) == LM_OK);
        CHECK(sums[3][2][0] == 1 && sums[3][2][1] == 1 && sums[3][2][2] == 3);
        CHECK(sums[3][3][0] == 2 && sums[3][3][1] == 3); /* half of 1 and half of 2, weight 2 */
        CHECK(sums[2][3][0] == 0 && sums[9][3][0] == 0 && sums[3][1][0] == 0);
    }
    place(2.4, 3, 1, 0);
    const lm_drizzle_image point = the_image(LM_DRIZZLE_POINT, 0);
    CHECK(drop(&point) == LM_OK);
    CHECK(sums[3][2][0] == 2 && sums[3][2][1] == 2 && sums[3][3][1] == 4);
}

static void a_turned_pixel_is_an_octagon_and_four_corners(void)
{
    /* one pixel, turned by 45 degrees about the centre of a pixel of the grid: the square of half
     * diagonal r = sqrt(1/2) sticks out by four triangles of height r - 1/2, half as wide each way */
    place(0, 0, sqrt(0.5), sqrt(0.5));
    memset(weight, 0, sizeof weight);
    weight[2][3] = 1;
    const double x = positions[3][4][0], y = positions[3][4][1], corner = pow(sqrt(0.5) - 0.5, 2);
    for (int j = 0; j < SIDE + 2; j++)
        for (int i = 0; i < SIDE + 2; i++) {
            positions[j][i][0] += 5 - x;
            positions[j][i][1] += 5 - y;
        }
    const lm_drizzle_image image = the_image(LM_DRIZZLE_SQUARE, 1);
    CHECK(drop(&image) == LM_OK);
    CHECK(fabs(sums[5][5][0] - (1 - 4 * corner)) < 1e-6 && fabs(sums[4][5][0] - corner) < 1e-6);
    CHECK(fabs(sums[5][6][0] - corner) < 1e-6 && sums[4][4][0] == 0);
}

static void a_pixel_that_is_nowhere_or_bad_drops_nothing(void)
{
    place(3, 3, 1, 0);
    positions[1][1][0] = NAN; /* pixel (0, 0), and a corner of its neighbours */
    positions[6][6][1] = INFINITY;
    weight[0][3] = NAN;
    weight[0][4] = INFINITY;
    weight[0][5] = -1;
    data[5][0] = NAN;
    const lm_drizzle_image image = the_image(LM_DRIZZLE_SQUARE, 1);
    CHECK(drop(&image) == LM_OK);
    CHECK(sums[3][3][0] == 0 && sums[4][4][0] == 0 && sums[3][6][0] == 0 && sums[3][7][0] == 0);
    CHECK(sums[3][8][0] == 0 && sums[8][8][0] == 0);
    CHECK(sums[3][5][0] == 2 && isnan(sums[8][3][1]) && !isnan(sums[8][4][1]) && !isnan(sums[7][3][1]));
    for (int kernel = LM_DRIZZLE_SQUARE; kernel <= LM_DRIZZLE_POINT; kernel++) {
        const double places[] = {-1e300, 1e300, NAN, 5e18, -INFINITY};
        for (int k = 0; k < 5; k++) {
            place(places[k], places[k], 1, 0);
            const lm_drizzle_image far = the_image((lm_drizzle_kernel)kernel, 1);
            CHECK(drop(&far) == LM_OK && sums[5][5][0] == 0);
        }
    }
}

static void a_drop_larger_than_the_grid_covers_it(void)
{
    place(0, 0, 1e6, 0);
    const lm_drizzle_image image = the_image(LM_DRIZZLE_SQUARE, 1);
    CHECK(drop(&image) == LM_OK);
    CHECK(fabsf(sums[0][0][0] / 2e-12f - 1) < 1e-5f && sums[11][11][0] == sums[0][0][0]);
    lm_drizzle_image turbo = the_image(LM_DRIZZLE_TURBO, 1);
    turbo.ratio = 1e-300;
    place(0, 0, 1, 0);
    CHECK(drop(&turbo) == LM_OK);
}

static void images_are_combined_as_independent(void)
{
    float values[GRID] = {0}, total[GRID] = {0}, time[GRID] = {0}, square[GRID] = {0}, share[GRID] = {0};
    int32_t context[GRID] = {0};
    const lm_drizzle_mosaic mosaic = {.stride = GRID, .values = values, .weight = total, .exptime = time,
                                      .context = context, .squares = {square}, .shares = {share}};
    float row[GRID][4] = {{0}};
    for (int image = 0; image < 2; image++) {
        row[4][0] = 2, row[4][1] = 10, row[4][2] = 1; /* sigma 1/2: share 4, times sigma 2, squared 4 */
        CHECK(lm_drizzle_fold(&row[0][0], 1, 1, GRID, &mosaic, 5, 1 << image, 0) == LM_OK);
        CHECK(row[4][0] == 0);
    }
    CHECK(total[4] == 4 && values[4] == 20 && time[4] == 10 && context[4] == 3 && square[4] == 8 && share[4] == 8);
    CHECK(total[3] == 0 && time[3] == 0 && context[3] == 0 && square[3] == 0 && share[3] == 0);
    CHECK(lm_drizzle_fold(&row[0][0], 4, 1, GRID, &mosaic, 5, 1, 0) == LM_BAD_SHAPE);
    CHECK(lm_drizzle_fold(&row[0][0], 1, 1, GRID, &mosaic, 5, 1, NAN) == LM_BAD_ARGUMENT);
}

static void what_makes_no_sense_is_refused(void)
{
    place(3, 3, 1, 0);
    lm_drizzle_image image = the_image(LM_DRIZZLE_SQUARE, 0);
    CHECK(drop(&image) == LM_BAD_ARGUMENT);
    image.pixfrac = NAN;
    CHECK(drop(&image) == LM_BAD_ARGUMENT);
    image = the_image(LM_DRIZZLE_TURBO, 1);
    image.ratio = 0;
    CHECK(drop(&image) == LM_BAD_ARGUMENT);
    image = the_image(LM_DRIZZLE_SQUARE, 1);
    image.n_rows = 0;
    CHECK(drop(&image) == LM_BAD_SHAPE);
    image = the_image(LM_DRIZZLE_SQUARE, 1);
    CHECK(lm_drizzle(&image, &sums[0][0][0], 0, 0, GRID, GRID, 0, GRID + 1) == LM_BAD_SHAPE);
}

int main(void)
{
    half_a_pixel_to_the_side_halves_its_light();
    a_turned_pixel_is_an_octagon_and_four_corners();
    a_pixel_that_is_nowhere_or_bad_drops_nothing();
    a_drop_larger_than_the_grid_covers_it();
    images_are_combined_as_independent();
    what_makes_no_sense_is_refused();
    return 0;
}
