/* The arithmetic of ramps: planes, profiles, polynomials, convolution, flags. */
#include "check.h"

#include <math.h>
#include <string.h>

#include "lightmill/lightmill.h"

/* A band of 2 rows out of a frame of 4: planes lie apart, and what is between stays as it is. */
enum { GROUPS = 3, ROWS = 2, COLS = 5, FRAME = 4 * COLS, BAND = ROWS * COLS };
static const lm_shape band = {1, GROUPS, ROWS, COLS, GROUPS *FRAME, FRAME};

static void fill(float *values, size_t count)
{
    for (size_t k = 0; k < count; k++)
        values[k] = (float)(k + 1);
}

static void a_band_is_corrected_and_its_surroundings_are_not(void)
{
    float frame[GROUPS * FRAME], before[GROUPS * FRAME], planes[GROUPS * BAND];
    const int64_t plane_of[GROUPS] = {2, -1, 0};
    fill(frame, GROUPS * FRAME);
    fill(planes, GROUPS * BAND);
    planes[0] = NAN;
    memcpy(before, frame, sizeof frame);
    CHECK(lm_subtract(frame + COLS, &band, planes, 1, 0, BAND, plane_of) == LM_OK);
    for (size_t k = 0; k < GROUPS * FRAME; k++) {
        const size_t g = k / FRAME, at = k % FRAME;
        const int inside = at >= COLS && at < COLS + BAND;
        float expected = before[k];
        if (inside && g == 0)
            expected -= planes[2 * BAND + at - COLS];
        if (inside && g == 2 && at > COLS) /* the first pixel's reference is NaN: 0 */
            expected -= planes[at - COLS];
        CHECK(frame[k] == expected);
    }
    memcpy(frame, before, sizeof frame);
    CHECK(lm_scale(frame + COLS, &band, 2.0f) == LM_OK);
    CHECK(frame[COLS] == 2 * before[COLS] && frame[0] == before[0] && frame[3 * COLS] == before[3 * COLS]);
    CHECK(lm_subtract(frame, &band, planes, 0, 0, BAND, plane_of) == LM_BAD_SHAPE);
}

static void profiles_are_subtracted_in_the_order_asked_for(void)
{
    float frame[GROUPS * FRAME], along_y[GROUPS * ROWS], along_x[GROUPS * 2 * COLS];
    for (int y_first = 0; y_first < 2; y_first++) {
        fill(frame, GROUPS * FRAME);
        fill(along_y, GROUPS * ROWS);
        fill(along_x, GROUPS * 2 * COLS);
        CHECK(lm_subtract_cross(frame + COLS, &band, along_y, along_x, 2, 1, 1, y_first) == LM_OK);
        CHECK(frame[COLS] == (float)(COLS + 1)); /* group 0 is before the start */
        /* group 1, row 1, column 3; its phase is (1 + 1) % 2 = 0 */
        CHECK(frame[FRAME + 2 * COLS + 3] == (float)(FRAME + 2 * COLS + 4) - along_x[2 * COLS + 3] - along_y[ROWS + 1]);
    }
    CHECK(lm_subtract_cross(frame, &band, NULL, along_x, 0, 0, 0, 0) == LM_BAD_SHAPE);
}

static void polynomials_of_every_length_agree(void)
{
    enum { MOST = 10, PIXELS = ROWS * COLS };
    float coeffs[MOST * PIXELS], data[PIXELS];
    const lm_shape one = SHAPE(1, 1, ROWS, COLS);
    uint8_t groupdq[PIXELS] = {LM_SATURATED};
    uint32_t reference_dq[PIXELS] = {0}, pixeldq[PIXELS] = {0};
    for (size_t n = 2; n <= MOST; n++) {
        memset(reference_dq, 0, sizeof reference_dq);
        memset(pixeldq, 0, sizeof pixeldq);
        for (size_t k = 0; k < n * PIXELS; k++)
            coeffs[k] = 1.0f; /* 1 + x + x^2 ... at x = 2 is 2^n - 1 */
        for (size_t k = 0; k < PIXELS; k++)
            data[k] = 2.0f;
        data[1] = 0.0f;
        coeffs[2] = NAN;          /* pixel 2 */
        coeffs[PIXELS + 3] = 0.0f; /* pixel 3, the linear one */
        reference_dq[4] = LM_NO_LIN_CORR;
        CHECK(lm_correct_linearity(data, &one, groupdq, &one, coeffs, n, PIXELS, reference_dq, pixeldq, 1) == LM_OK);
        CHECK(data[0] == 2.0f && data[1] == 0.0f && data[2] == 2.0f && data[3] == 2.0f && data[4] == 2.0f);
        for (size_t k = 5; k < PIXELS; k++)
            CHECK(data[k] == (float)((1 << n) - 1));
        CHECK(pixeldq[1] == 0 && pixeldq[2] == LM_NO_LIN_CORR && pixeldq[3] == LM_NO_LIN_CORR);
    }
    CHECK(lm_correct_linearity(data, &one, NULL, NULL, coeffs, 1, PIXELS, NULL, NULL, 0) == LM_BAD_SHAPE);
}

static void reads_are_corrected_one_by_one(void)
{
    /* the identity as inverse and x^2 as forward: a group of reads a, b becomes (a^2 + b^2) / 2 */
    enum { N_GROUPS = 4, PIXELS = 300 }; /* more than one block of columns */
    const lm_shape ramp = SHAPE(1, N_GROUPS, 1, PIXELS);
    static float data[N_GROUPS * PIXELS], forward[3 * PIXELS], inverse[2 * PIXELS], cap[PIXELS];
    static uint8_t groupdq[N_GROUPS * PIXELS];
    const size_t n_reads[N_GROUPS] = {1, 2, 2, 2};
    const double times[] = {0, 1, 2, 3, 4, 5, 6};
    for (size_t x = 0; x < PIXELS; x++) {
        for (size_t g = 0; g < N_GROUPS; g++)
            data[g * PIXELS + x] = g ? 2.0f * (float)g - 0.5f : 0.0f; /* the time of each, at rate 1 */
        forward[2 * PIXELS + x] = 1.0f;
        inverse[PIXELS + x] = 1.0f;
        cap[x] = x == 299 ? 0.0f : NAN;
    }
    groupdq[3 * PIXELS + 7] = LM_SATURATED;
    CHECK(lm_correct_linearity_reads(data, &ramp, groupdq, &ramp, forward, 3, PIXELS, inverse, 2, PIXELS, n_reads,
                                     times, NULL, NULL, cap) == LM_OK);
    /* rate from the corrected groups 0 and 2: (3.5^2 - 0) / 3.5 = 3.5 per read; group 1: 1.5 -+ 1.75 */
    CHECK(data[PIXELS] == (0.25f * 0.25f + 3.25f * 3.25f) / 2.0f);
    CHECK(data[PIXELS + 298] == data[PIXELS] && data[3 * PIXELS + 7] == 5.5f);
    /* only groups 0 to 2 count there: (1.5^2 - 0) / 1.5 */
    CHECK(data[PIXELS + 7] == (0.75f * 0.75f + 2.25f * 2.25f) / 2.0f);
    CHECK(data[PIXELS + 299] == 0.25f * 0.25f / 2.0f); /* its second read is cut down to 0 */
    const double falling[] = {6, 5, 4, 3, 2, 1, 0};
    CHECK(lm_correct_linearity_reads(data, &ramp, groupdq, &ramp, forward, 3, PIXELS, inverse, 2, PIXELS, n_reads,
                                     falling, NULL, NULL, NULL) == LM_BAD_ARGUMENT);
}

static void a_point_becomes_the_kernel(void)
{
    enum { N = 7 };
    const lm_shape one = SHAPE(1, 1, N, N);
    for (size_t k = 1; k <= 5; k += 2) {
        float data[N * N] = {0}, kernel[25], per_pixel[25 * N * N], again[N * N];
        data[3 * N + 3] = 1.0f;
        memcpy(again, data, sizeof data);
        fill(kernel, 25);
        for (size_t t = 0; t < k * k; t++)
            for (size_t p = 0; p < N * N; p++)
                per_pixel[t * N * N + p] = kernel[t];
        CHECK(lm_convolve_ipc(data, &one, kernel, k, 1, 0, 0, N, 0, N) == LM_OK);
        CHECK(lm_convolve_ipc(again, &one, per_pixel, k, N * N, 1, 0, N, 0, N) == LM_OK);
        CHECK(!memcmp(data, again, sizeof data));
        for (size_t j = 0; j < k; j++)
            for (size_t i = 0; i < k; i++)
                CHECK(data[(3 + j - k / 2) * N + 3 + i - k / 2] == kernel[j * k + i]);
    }
    float data[N * N];
    const float centre[9] = {0, 0, 0, 1, 1, 0, 0, 0, 0}; /* each pixel adds its right neighbour */
    fill(data, N * N);
    CHECK(lm_convolve_ipc(data, &one, centre, 3, 1, 0, 1, 3, 2, 4) == LM_OK);
    CHECK(data[N + 2] == (float)(N + 3 + N + 4)); /* inside: the next column, valid too */
    CHECK(data[N + 3] == (float)(N + 4));         /* the next column is outside and counts as 0 */
    CHECK(data[0] == 1.0f && data[N + 1] == (float)(N + 2) && data[3 * N + 2] == (float)(3 * N + 3));
    CHECK(lm_convolve_ipc(data, &one, centre, 2, 1, 0, 0, N, 0, N) == LM_BAD_ARGUMENT);
    CHECK(lm_convolve_ipc(data, &one, centre, 3, 1, 0, 0, N + 1, 0, N) == LM_BAD_SHAPE);
}

static void charge_migrates_to_four_neighbours_for_good(void)
{
    enum { N = 4 };
    const lm_shape ramp = SHAPE(1, 3, N, N);
    float data[3 * N * N] = {0};
    uint8_t groupdq[3 * N * N] = {0};
    data[N * N + N + 1] = 30000.0f;    /* group 1, pixel (1, 1) */
    data[N * N + 3 * N + 3] = 30000.0f; /* group 1, pixel (3, 3), not in use */
    groupdq[N * N + 3 * N + 3] = LM_DO_NOT_USE;
    CHECK(lm_flag_charge_migration(data, &ramp, groupdq, &ramp, 25000.0f) == LM_OK);
    for (size_t g = 0; g < 3; g++) {
        size_t flagged = 0;
        for (size_t k = 0; k < N * N; k++)
            flagged += groupdq[g * N * N + k] == (LM_CHARGELOSS | LM_DO_NOT_USE);
        CHECK(flagged == (g ? 5 : 0));
    }
    CHECK(groupdq[N * N + N + 0] && groupdq[N * N + 2 * N + 1] && !groupdq[N * N]);
}

static void a_single_column_has_no_neighbours_beside_it(void)
{
    const lm_shape ramp = SHAPE(1, 1, 3, 1);
    const float data[3] = {0.0f, 9.0f, 0.0f};
    uint8_t groupdq[3] = {0};
    CHECK(lm_flag_charge_migration(data, &ramp, groupdq, &ramp, 5.0f) == LM_OK);
    CHECK(groupdq[0] && groupdq[1] && groupdq[2]);
}

static void a_pixel_that_saturates_early_keeps_more_groups(void)
{
    const lm_shape ramp = SHAPE(2, 6, 1, 2);
    uint8_t groupdq[2 * 6 * 2] = {0};
    uint32_t pixeldq[2] = {0};
    for (size_t g = 3; g < 6; g++)
        groupdq[2 * g] = LM_SATURATED; /* integration 0, pixel 0 */
    CHECK(lm_flag_first_groups(groupdq, &ramp, pixeldq, 3, 1) == LM_OK);
    for (size_t g = 0; g < 6; g++) { /* groups 3 and 4 are full: 3 - 2 = 1 to flag */
        CHECK((groupdq[2 * g] & LM_DO_NOT_USE) == (g < 1));
        CHECK((groupdq[2 * g + 1] & LM_DO_NOT_USE) == (g < 3));
        CHECK(groupdq[12 + 2 * g] == (g < 1));
    }
    CHECK(pixeldq[0] == LM_FLUX_ESTIMATED && pixeldq[1] == 0);
    CHECK(lm_flag_first_groups(groupdq, &ramp, pixeldq, 7, 1) == LM_BAD_ARGUMENT);
}

static void flags_are_joined(void)
{
    const lm_shape ramp = SHAPE(1, 4, 1, 3);
    uint8_t groupdq[12] = {0};
    const uint8_t mask[3] = {1, 0, 4};
    uint32_t flags[2] = {1, 1u << 31};
    const uint32_t more[2] = {2, 1};
    CHECK(lm_group_or(groupdq, &ramp, mask, 1, 4, 2) == LM_OK);
    CHECK(groupdq[0] == 0 && groupdq[3] == 1 && groupdq[5] == 4 && groupdq[6] == 0 && groupdq[9] == 1);
    CHECK(lm_group_or(groupdq, &ramp, mask, 0, 5, 1) == LM_BAD_SHAPE);
    CHECK(lm_flag_or(flags, more, 2) == LM_OK && flags[0] == 3 && flags[1] == ((1u << 31) | 1));
}

int main(void)
{
    a_band_is_corrected_and_its_surroundings_are_not();
    profiles_are_subtracted_in_the_order_asked_for();
    polynomials_of_every_length_agree();
    reads_are_corrected_one_by_one();
    a_point_becomes_the_kernel();
    charge_migrates_to_four_neighbours_for_good();
    a_single_column_has_no_neighbours_beside_it();
    a_pixel_that_saturates_early_keeps_more_groups();
    flags_are_joined();
    return 0;
}
