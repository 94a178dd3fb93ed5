#include "check.h"

#include <math.h>
#include <string.h>

#include "lightmill/lightmill.h"

enum { INTS = 2, GROUPS = 7, ROWS = 2, COLS = 67, PIXELS = ROWS * COLS };

static float data[INTS * GROUPS * PIXELS], gain[PIXELS], readnoise[PIXELS], dark[PIXELS], zero[INTS * PIXELS];
static uint8_t groupdq[INTS * GROUPS * PIXELS];
static uint32_t pixeldq[PIXELS];
static float planes[4][PIXELS], int_planes[4][INTS * PIXELS], chisq[PIXELS], int_chisq[INTS * PIXELS];
static uint32_t dq[PIXELS], int_dq[INTS * PIXELS];
static const lm_shape shape = SHAPE(INTS, GROUPS, ROWS, COLS);
static const lm_rate_planes exposure = {planes[0], planes[1], planes[2], planes[3], dq, 0};
static const lm_rate_planes integrations = {int_planes[0], int_planes[1], int_planes[2], int_planes[3], int_dq, PIXELS};

/* 3 DN/s, groups of 10 s. */
static void reset(void)
{
    memset(groupdq, 0, sizeof groupdq);
    memset(pixeldq, 0, sizeof pixeldq);
    for (size_t k = 0; k < INTS * GROUPS * PIXELS; k++)
        data[k] = 100 + 30.0f * (float)(k / PIXELS % GROUPS);
    for (size_t k = 0; k < PIXELS; k++) {
        gain[k] = 2;
        readnoise[k] = 10;
        dark[k] = 0.01f;
    }
}

static lm_ols_parameters usual(void)
{
    return (lm_ols_parameters){.group_time = 10, .frame_time = 10, .n_frames = 1, .last_group = GROUPS - 1,
                               .suppress_one_group = 1};
}

static void fit(const lm_ols_parameters *p)
{
    CHECK(lm_fit_ramps(data, &shape, groupdq, &shape, pixeldq, gain, readnoise, dark, p, &exposure,
                       &integrations, NULL) == LM_OK);
}

static int near(float a, double b) { return fabs((double)a - b) < 1e-4 * fabs(b); }

static void every_pixel_of_a_line_has_its_slope(void)
{
    lm_ols_parameters p = usual();
    double times[GROUPS];
    for (int g = 0; g < GROUPS; g++)
        times[g] = 10 * g;
    for (int uneven = 0; uneven < 2; uneven++) {
        p.group_times = uneven ? times : NULL;
        p.exact_variances = uneven;
        reset();
        fit(&p);
        for (size_t k = 0; k < PIXELS; k++)
            CHECK(near(planes[0][k], 3) && near(int_planes[0][PIXELS + k], 3) && dq[k] == 0);
    }
}

static void flags_of_every_kind_leave_a_slope_or_say_why_not(void)
{
    lm_ols_parameters p = usual();
    reset();
    for (size_t k = 0; k < PIXELS; k++)
        for (size_t g = 0; g < GROUPS; g++)
            for (size_t i = 0; i < INTS; i++)
                if ((k >> g) & 1)
                    groupdq[(i * GROUPS + g) * PIXELS + k] = (uint8_t)(1u << (k + g) % 8);
    data[5] = NAN;
    data[GROUPS * PIXELS + 5] = NAN;
    gain[6] = 0;
    for (int zeroed = 0; zeroed < 2; zeroed++) {
        p.zeroframe = zeroed ? zero : NULL;
        p.zeroframe_stride = PIXELS;
        p.suppress_one_group = !zeroed;
        fit(&p);
        for (size_t k = 0; k < PIXELS; k++)
            CHECK(isnan(planes[0][k]) ? (dq[k] & LM_DO_NOT_USE) && planes[1][k] == 0.0f
                                      : isfinite(planes[0][k]) && planes[1][k] > 0.0f);
    }
}

static void a_trimmed_ramp_is_a_shorter_ramp(void)
{
    lm_ols_parameters p = usual();
    reset();
    for (size_t k = 0; k < PIXELS; k++)
        data[k] = data[(GROUPS - 1) * PIXELS + k] = 1e4f;
    memset(groupdq + PIXELS, LM_JUMP_DET, PIXELS);
    p.first_group = 1;
    p.last_group = GROUPS - 2;
    fit(&p);
    CHECK(near(int_planes[0][0], 3) && int_dq[0] == 0);
}

static void one_group_is_a_rate_only_when_asked(void)
{
    lm_ols_parameters p = usual();
    reset();
    for (size_t g = 1; g < GROUPS; g++)
        memset(groupdq + g * PIXELS, LM_SATURATED, PIXELS);
    fit(&p);
    CHECK(isnan(int_planes[0][0]) && near(planes[0][0], 3));
    p.suppress_one_group = 0;
    fit(&p);
    CHECK(near(int_planes[0][0], 10));
}

static void segments_are_reported(void)
{
    static float out[8][INTS * 2 * PIXELS], pedestal[INTS * PIXELS];
    lm_ols_parameters p = usual();
    lm_segment_planes s = {2, 1, out[0], out[1], out[2], out[3], out[4], out[5], out[6], out[7], pedestal, 10};
    reset();
    memset(out, 0, sizeof out);
    groupdq[3 * PIXELS] = LM_JUMP_DET;
    for (size_t g = 3; g < GROUPS; g++)
        data[g * PIXELS] += 1000;
    groupdq[PIXELS - 1] = LM_DO_NOT_USE; /* the first group of the last pixel */
    groupdq[PIXELS + 1] = groupdq[3 * PIXELS + 1] = groupdq[5 * PIXELS + 1] = LM_DO_NOT_USE;
    CHECK(lm_fit_ramps(data, &shape, groupdq, &shape, pixeldq, gain, readnoise, dark, &p, &exposure,
                       &integrations, &s) == LM_OK);
    CHECK(near(out[0][0], 3) && near(out[0][PIXELS], 3));
    CHECK(near(out[4][0], 100) && near(out[4][PIXELS], 1100));
    CHECK(near(out[7][0], 1030) && near(pedestal[0], 70) && near(pedestal[PIXELS - 1], 70));
    CHECK(near(out[0][2 * PIXELS], 3) && out[0][3 * PIXELS] == 0.0f);
}

static void the_likelihood_finds_the_slope_and_the_jump(void)
{
    static const double times[GROUPS] = {10, 20, 30, 40, 50, 60, 70}, reads[GROUPS] = {1, 1, 1, 2, 1, 1, 1};
    lm_likelihood_parameters p = {.mean_times = times, .taus = times, .n_reads = reads, .one_omit = 20.25,
                                  .two_omit = 23.8, .last_group = GROUPS - 1, .flag_groups = 1};
    reset();
    for (size_t g = 4; g < GROUPS; g++)
        data[g * PIXELS + 66] += 5000;
    for (size_t g = 0; g < GROUPS; g++)
        groupdq[g * PIXELS + 3] = groupdq[(GROUPS + g) * PIXELS + 3] = LM_SATURATED;
    data[2 * PIXELS + 9] = INFINITY;
    CHECK(lm_fit_ramps_likelihood(data, &shape, groupdq, &shape, pixeldq, gain, readnoise, dark, &p, &exposure,
                                  &integrations, chisq, int_chisq, PIXELS) == LM_OK);
    for (size_t k = 0; k < PIXELS; k++)
        CHECK(k == 3 ? isnan(planes[0][k]) && (dq[k] & LM_DO_NOT_USE) : near(planes[0][k], 3) && chisq[k] < 1e-3f);
    CHECK(groupdq[4 * PIXELS + 66] == LM_JUMP_DET && dq[66] == LM_JUMP_DET);
    p.last_group = 0;
    CHECK(lm_fit_ramps_likelihood(data, &shape, groupdq, &shape, pixeldq, gain, readnoise, NULL, &p, &exposure,
                                  NULL, NULL, NULL, 0) == LM_BAD_ARGUMENT);
}

static void what_cannot_be_is_refused(void)
{
    lm_ols_parameters p = usual();
    lm_shape other = shape;
    other.n_cols--;
    CHECK(lm_fit_ramps(data, &shape, groupdq, &other, pixeldq, gain, readnoise, NULL, &p, &exposure, NULL, NULL) == LM_BAD_SHAPE);
    p.last_group = GROUPS;
    CHECK(lm_fit_ramps(data, &shape, groupdq, &shape, pixeldq, gain, readnoise, NULL, &p, &exposure, NULL, NULL) == LM_BAD_ARGUMENT);
}

int main(void)
{
    for (size_t k = 0; k < INTS * PIXELS; k++)
        zero[k] = (float)(k % 2);
    every_pixel_of_a_line_has_its_slope();
    flags_of_every_kind_leave_a_slope_or_say_why_not();
    a_trimmed_ramp_is_a_shorter_ramp();
    one_group_is_a_rate_only_when_asked();
    segments_are_reported();
    the_likelihood_finds_the_slope_and_the_jump();
    what_cannot_be_is_refused();
    return 0;
}
