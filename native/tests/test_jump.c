#include "check.h"

#include <math.h>
#include <string.h>

#include "lightmill/lightmill.h"

enum { GROUPS = 6, ROWS = 3, COLS = 70, PIXELS = ROWS * COLS };

static float data[2 * GROUPS * PIXELS], gain[PIXELS], readnoise[PIXELS];
static uint8_t groupdq[2 * GROUPS * PIXELS];
static uint32_t pixeldq[PIXELS];
static const lm_shape shape = SHAPE(2, GROUPS, ROWS, COLS);

static lm_jump_parameters usual(void)
{
    return (lm_jump_parameters){.rejection_threshold = 4, .three_group_rejection_threshold = 6,
                                .four_group_rejection_threshold = 5, .min_jump_to_flag_neighbors = 10,
                                .max_jump_to_flag_neighbors = 1000, .n_frames = 1,
                                .min_diffs_single_pass = 10, .minimum_sigclip_groups = 100,
                                .usable_groups = GROUPS, .flag_4_neighbors = 1, .only_use_ints = 1,
                                .method = LM_JUMP_SIGNED};
}

/* Ramps of 10 electrons a group, without noise. */
static void reset(void)
{
    memset(groupdq, 0, sizeof groupdq);
    memset(pixeldq, 0, sizeof pixeldq);
    for (size_t k = 0; k < 2 * GROUPS * PIXELS; k++)
        data[k] = 10.0f * (float)(k / PIXELS % GROUPS);
    for (size_t k = 0; k < PIXELS; k++) {
        gain[k] = 1;
        readnoise[k] = 5;
    }
}

static void hit(size_t integration, size_t group, size_t pixel, float charge)
{
    for (size_t g = group; g < GROUPS; g++)
        data[(integration * GROUPS + g) * PIXELS + pixel] += charge;
}

static size_t flag(const lm_jump_parameters *p)
{
    size_t found = 99;
    CHECK(lm_flag_jumps(data, &shape, groupdq, &shape, pixeldq, gain, readnoise, p, 0, ROWS, &found) == LM_OK);
    return found;
}

static size_t n_flags(void)
{
    size_t n = 0;
    for (size_t k = 0; k < sizeof groupdq; k++)
        n += groupdq[k] == LM_JUMP_DET;
    return n;
}

static void a_steady_ramp_has_no_jump(void)
{
    lm_jump_parameters p = usual();
    reset();
    CHECK(flag(&p) == 0);
    CHECK(n_flags() == 0);
}

static void corner_hits_spread_inside_the_frame(void)
{
    lm_jump_parameters p = usual();
    for (int method = LM_JUMP_ABSOLUTE; method <= LM_JUMP_SIGNED; method++) {
        p.method = (lm_jump_method)method;
        reset();
        hit(0, 2, 0, 300);
        hit(1, GROUPS - 1, PIXELS - 1, 300);
        CHECK(flag(&p) == 2);
        CHECK(n_flags() == 6);
        CHECK(groupdq[2 * PIXELS + 1] && groupdq[2 * PIXELS + COLS] && !groupdq[2 * PIXELS + COLS - 1]);
    }
}

static void glow_stops_with_the_integration(void)
{
    lm_jump_parameters p = usual();
    p.after_jump_flag_n1 = p.after_jump_flag_n2 = 100;
    p.after_jump_flag_e1 = p.after_jump_flag_e2 = 200;
    reset();
    hit(0, 3, 100, 300);
    CHECK(flag(&p) == 1);
    CHECK(n_flags() == (GROUPS - 3) + 4);
}

static void many_hits_make_the_list_grow(void)
{
    lm_jump_parameters p = usual();
    reset();
    for (size_t k = 0; k < PIXELS; k++)
        for (size_t i = 0; i < 2; i++)
            for (size_t g = 1; g < 4; g++)
                hit(i, g, k, 300.0f * (float)(g + i));
    p.rejection_threshold = 0.1;
    CHECK(flag(&p) > 0);
}

static void pixels_without_gain_noise_or_use_have_no_jump(void)
{
    lm_jump_parameters p = usual();
    p.flag_4_neighbors = 0;
    reset();
    for (size_t k = 0; k < 3; k++)
        hit(0, 2, k, 300);
    gain[0] = NAN;
    pixeldq[1] = LM_DO_NOT_USE;
    for (size_t g = 0; g < GROUPS; g++)
        groupdq[g * PIXELS + 2] = groupdq[(GROUPS + g) * PIXELS + 2] = LM_SATURATED;
    CHECK(flag(&p) == 0);
}

static void both_kinds_of_many_samples(void)
{
    static const float times[GROUPS - 1] = {1, 2, 1, 1, 3};
    lm_jump_parameters p = usual();
    reset();
    hit(0, 2, 7, 300);
    p.min_diffs_single_pass = 3;
    CHECK(flag(&p) == 1);
    p.diff_times = times;
    CHECK(flag(&p) >= 1);
    p.minimum_sigclip_groups = 2;
    flag(&p);
    p.only_use_ints = 0;
    flag(&p);
}

static void what_cannot_be_is_refused(void)
{
    lm_jump_parameters p = usual();
    lm_shape one_group = shape;
    size_t found;
    one_group.n_groups = 1;
    CHECK(lm_flag_jumps(data, &one_group, groupdq, &one_group, pixeldq, gain, readnoise, &p, 0, 1, &found) == LM_BAD_SHAPE);
    CHECK(lm_flag_jumps(data, &shape, groupdq, &one_group, pixeldq, gain, readnoise, &p, 0, 1, &found) == LM_BAD_SHAPE);
    p.n_frames = 0;
    CHECK(lm_flag_jumps(data, &shape, groupdq, &shape, pixeldq, gain, readnoise, &p, 0, 1, &found) == LM_BAD_ARGUMENT);
}

int main(void)
{
    a_steady_ramp_has_no_jump();
    corner_hits_spread_inside_the_frame();
    glow_stops_with_the_integration();
    many_hits_make_the_list_grow();
    pixels_without_gain_noise_or_use_have_no_jump();
    both_kinds_of_many_samples();
    what_cannot_be_is_refused();
    return 0;
}
