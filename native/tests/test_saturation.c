#include "check.h"

#include <math.h>
#include <string.h>

#include "lightmill/lightmill.h"

enum { GROUPS = 4, ROWS = 5, COLS = 7, PIXELS = ROWS * COLS };

static float data[2 * GROUPS * PIXELS];
static uint8_t groupdq[2 * GROUPS * PIXELS];
static uint32_t pixeldq[PIXELS], reference_dq[PIXELS];
static float threshold[PIXELS];
static const lm_shape shape = {2, GROUPS, ROWS, COLS, GROUPS *PIXELS, PIXELS};

static void reset(void)
{
    memset(groupdq, 0, sizeof groupdq);
    memset(pixeldq, 0, sizeof pixeldq);
    memset(reference_dq, 0, sizeof reference_dq);
    for (size_t k = 0; k < 2 * GROUPS * PIXELS; k++)
        data[k] = 100.0f;
    for (size_t k = 0; k < PIXELS; k++)
        threshold[k] = 500.0f;
}

static lm_status flag(size_t grow, const lm_read_pattern *pattern)
{
    return lm_flag_saturation(data, &shape, groupdq, &shape, pixeldq, threshold, reference_dq, grow, pattern);
}

static size_t count(size_t group, uint8_t bits)
{
    size_t n = 0;
    for (size_t k = 0; k < PIXELS; k++)
        n += (groupdq[group * PIXELS + k] & bits) == bits;
    return n;
}

static void a_corner_pixel_fills_and_spills(void)
{
    reset();
    data[PIXELS] = 500.0f; /* integration 0, group 1, pixel (0, 0); group 2 reads low again */
    CHECK(flag(1, NULL) == LM_OK);
    CHECK(count(0, LM_SATURATED) == 0);
    CHECK(count(1, LM_SATURATED) == 4 && count(2, LM_SATURATED) == 4 && count(3, LM_SATURATED) == 4);
    CHECK(count(GROUPS, LM_SATURATED) == 0); /* the next integration starts afresh */
    CHECK(groupdq[PIXELS + COLS + 1] == LM_SATURATED && groupdq[PIXELS + 2] == 0);
}

static void a_spill_wider_than_the_detector_is_cut_off(void)
{
    reset();
    data[3 * PIXELS + 17] = 900.0f;
    CHECK(flag(20, NULL) == LM_OK);
    CHECK(count(3, LM_SATURATED) == PIXELS && count(2, LM_SATURATED) == 0);
    CHECK(flag(5000, NULL) == LM_BAD_ARGUMENT);
}

static void nothing_is_tested_without_a_threshold(void)
{
    reset();
    data[3] = data[4] = 60000.0f;
    threshold[3] = NAN;
    reference_dq[4] = LM_NO_SAT_CHECK;
    CHECK(flag(0, NULL) == LM_OK);
    CHECK(count(0, LM_SATURATED) == 0);
    CHECK(pixeldq[3] == LM_NO_SAT_CHECK && pixeldq[4] == LM_NO_SAT_CHECK && pixeldq[5] == 0);
}

static void an_empty_group_is_flagged_alone(void)
{
    reset();
    data[2 * PIXELS + 9] = 0.0f;
    CHECK(flag(1, NULL) == LM_OK);
    CHECK(count(2, LM_AD_FLOOR | LM_DO_NOT_USE) == 1 && count(1, LM_DO_NOT_USE) == 0 && count(3, LM_DO_NOT_USE) == 0);
}

static void saturation_inside_an_average_is_flagged(void)
{
    const float dilution[GROUPS] = {0.5f, 0.8f, 0.9f, 0.9f};
    const lm_read_pattern pattern = {.dilution = dilution, .n_frames = 2.0f};
    reset();
    data[1 * PIXELS + 24] = 410.0f; /* above 0.8 of the threshold, and the next group is full */
    data[2 * PIXELS + 24] = data[3 * PIXELS + 24] = 600.0f;
    CHECK(flag(1, &pattern) == LM_OK);
    CHECK(count(1, LM_DO_NOT_USE) == 9 && count(1, LM_SATURATED) == 0);
    CHECK(count(0, LM_DO_NOT_USE) == 0 && count(2, LM_DO_NOT_USE) == 0);
}

static void a_leap_hidden_in_the_second_group_is_flagged(void)
{
    const lm_read_pattern pattern = {.test_second_group = 1, .first_mean = 2.5f, .third_last = 12.0f, .n_frames = 4.0f};
    reset();
    data[1 * PIXELS + 10] = 300.0f; /* 100 per group promised 480 by the last read: a hit came between */
    data[2 * PIXELS + 10] = 510.0f;
    CHECK(flag(0, &pattern) == LM_OK);
    CHECK(groupdq[1 * PIXELS + 10] == LM_DO_NOT_USE && count(1, LM_DO_NOT_USE) == 1);
}

static void a_zero_frame_loses_what_is_full_or_empty(void)
{
    float zeroframe[PIXELS];
    reset();
    memcpy(zeroframe, data, sizeof zeroframe);
    zeroframe[0] = -4.0f;
    zeroframe[PIXELS - 1] = 700.0f;
    CHECK(lm_flag_zeroframe(zeroframe, 1, ROWS, COLS, threshold, NULL, 1) == LM_OK);
    size_t zeros = 0;
    for (size_t k = 0; k < PIXELS; k++)
        zeros += zeroframe[k] == 0.0f;
    CHECK(zeros == 1 + 4);
}

static void views_that_overlap_are_refused(void)
{
    lm_shape bad = shape;
    bad.group_stride = PIXELS - 1;
    CHECK(lm_flag_saturation(data, &bad, groupdq, &shape, pixeldq, threshold, reference_dq, 1, NULL) == LM_BAD_SHAPE);
    bad = shape;
    bad.n_rows = 0;
    CHECK(lm_flag_saturation(data, &shape, groupdq, &bad, pixeldq, threshold, reference_dq, 1, NULL) == LM_BAD_SHAPE);
}

int main(void)
{
    a_corner_pixel_fills_and_spills();
    a_spill_wider_than_the_detector_is_cut_off();
    nothing_is_tested_without_a_threshold();
    an_empty_group_is_flagged_alone();
    saturation_inside_an_average_is_flagged();
    a_leap_hidden_in_the_second_group_is_flagged();
    a_zero_frame_loses_what_is_full_or_empty();
    views_that_overlap_are_refused();
    return 0;
}
