#include "check.h"

#include <math.h>
#include <string.h>

#include "lightmill/lightmill.h"

enum { ROWS = 61, COLS = 83, PIXELS = ROWS * COLS, READS = 6 };

static int32_t reads[READS][PIXELS];
static uint8_t flags[READS][PIXELS];
static double times[READS];
static float signal[2][PIXELS], var_poisson[2][PIXELS], var_rnoise[2][PIXELS];
static uint32_t dq[2][PIXELS];
static lm_readout *readout;

static const lm_frame_planes planes[2] = {{signal[0], var_poisson[0], var_rnoise[0], dq[0]},
                                          {signal[1], var_poisson[1], var_rnoise[1], dq[1]}};

/* 250 counts a second above a pedestal that no two neighbours share; some reads lost in all ways. */
static void make_ramp(int has_losses)
{
    memset(flags, 0, sizeof flags);
    for (size_t k = 0; k < READS; k++) {
        times[k] = (double)(k * k) * 0.5 + 1e6;
        for (size_t x = 0; x < PIXELS; x++) {
            reads[k][x] = (int32_t)(1000 + x % 977 + (size_t)(250 * (times[k] - 1e6)));
            if (has_losses && (x * 31 + k * 7) % 53 == 0)
                flags[k][x] = (uint8_t)(1u << (x + k) % 3);
        }
    }
}

static lm_readout_parameters parameters(size_t n_threads)
{
    return (lm_readout_parameters){.n_rows = ROWS, .n_cols = COLS, .type = LM_READ_INT32, .n_reads = READS,
                                   .n_coadds = 2, .n_threads = n_threads, .gain_value = 2, .readnoise_value = 9};
}

static void add_ramp(int has_losses)
{
    for (size_t k = 0; k < READS; k++)
        CHECK(lm_readout_add(readout, reads[k], times[k], has_losses ? flags[k] : NULL) == LM_OK);
}

static void frames_are_the_same(void)
{
    CHECK(!memcmp(dq[0], dq[1], sizeof dq[0]));
    CHECK(!memcmp(signal[0], signal[1], sizeof signal[0]));
    CHECK(!memcmp(var_poisson[0], var_poisson[1], sizeof var_poisson[0]));
    CHECK(!memcmp(var_rnoise[0], var_rnoise[1], sizeof var_rnoise[0]));
}

static void a_steady_source_gives_its_rate(void)
{
    lm_readout_parameters p = parameters(1);
    make_ramp(0);
    CHECK(lm_readout_begin(&p, &readout) == LM_OK);
    add_ramp(0);
    CHECK(lm_readout_finish(readout, &planes[0]) == LM_OK);
    for (size_t x = 0; x < PIXELS; x++)
        CHECK(signal[0][x] == 250 && dq[0][x] == 0 && var_rnoise[0][x] > 0);
    lm_readout_end(readout);
}

static void threads_and_the_way_reads_come_make_no_difference(void)
{
    const lm_shape shape = {2, READS, ROWS, COLS, 0, PIXELS};
    lm_shape twice = shape;
    static int32_t both[2][READS][PIXELS];
    static uint8_t both_flags[2][READS][PIXELS];
    make_ramp(1);
    memcpy(both[0], reads, sizeof reads);
    memcpy(both[1], reads, sizeof reads);
    memcpy(both_flags[0], flags, sizeof flags);
    memcpy(both_flags[1], flags, sizeof flags);
    twice.int_stride = READS * PIXELS;
    for (size_t n_threads = 1; n_threads <= 4; n_threads++) {
        lm_readout_parameters p = parameters(n_threads);
        CHECK(lm_readout_begin(&p, &readout) == LM_OK);
        for (int exposure = 0; exposure < 2; exposure++) { /* the second as the first */
            add_ramp(1);
            CHECK(lm_readout_look(readout, &planes[1]) == LM_OK);
            CHECK(lm_readout_next_ramp(readout) == LM_OK);
            add_ramp(1);
            CHECK(lm_readout_finish(readout, &planes[0]) == LM_OK);
        }
        lm_readout_end(readout);
        CHECK(lm_readout_ramps(both, &twice, times, both_flags[0][0], &twice, &p, &planes[1]) == LM_OK);
        frames_are_the_same();
    }
}

static void calls_out_of_turn_change_nothing(void)
{
    lm_readout_parameters p = parameters(2);
    lm_readout_state state;
    make_ramp(0);
    CHECK(lm_readout_begin(&p, &readout) == LM_OK);
    CHECK(lm_readout_look(readout, &planes[0]) == LM_WRONG_STATE);
    CHECK(lm_readout_finish(readout, &planes[0]) == LM_WRONG_STATE);
    CHECK(lm_readout_next_ramp(readout) == LM_WRONG_STATE);
    CHECK(lm_readout_add(readout, reads[0], NAN, NULL) == LM_BAD_TIME);
    add_ramp(0);
    CHECK(lm_readout_add(readout, reads[0], times[READS - 1] + 1, NULL) == LM_WRONG_STATE);
    lm_readout_state_of(readout, &state);
    CHECK(state.n_reads == READS && state.n_ramps == 1 && state.is_complete && state.n_histories == 1);
    CHECK(lm_readout_next_ramp(readout) == LM_OK);
    CHECK(lm_readout_add(readout, reads[1], times[1], NULL) == LM_OK);
    CHECK(lm_readout_add(readout, reads[0], times[1], NULL) == LM_BAD_TIME);
    CHECK(lm_readout_add(readout, reads[0], times[0], NULL) == LM_BAD_TIME);
    CHECK(lm_readout_next_ramp(readout) == LM_WRONG_STATE); /* a third */
    CHECK(lm_readout_finish(readout, &planes[0]) == LM_OK);
    for (size_t x = 0; x < PIXELS; x++)
        CHECK(signal[0][x] == 250);
    lm_readout_end(readout);
    lm_readout_end(NULL);
}

static void planes_that_are_not_asked_for_are_not_written(void)
{
    const lm_frame_planes none = {0};
    lm_readout_parameters p = parameters(1);
    CHECK(lm_readout_begin(&p, &readout) == LM_OK);
    add_ramp(0);
    CHECK(lm_readout_look(readout, &none) == LM_OK);
    lm_readout_end(readout);
}

static void wrong_parameters_are_refused(void)
{
    lm_readout_parameters p = parameters(1);
    CHECK(lm_readout_bytes(&p) > 16 * PIXELS);
#define REFUSED(change, answer)                             \
    {                                                       \
        lm_readout_parameters q = p;                        \
        q.change;                                           \
        CHECK(lm_readout_begin(&q, &readout) == (answer));  \
        CHECK(readout == NULL && lm_readout_bytes(&q) == 0); \
    }
    REFUSED(n_rows = 0, LM_BAD_SHAPE)
    REFUSED(n_cols = SIZE_MAX / 2, LM_BAD_SHAPE)
    REFUSED(type = (lm_read_type)7, LM_BAD_ARGUMENT)
    REFUSED(n_threads = 5000, LM_BAD_ARGUMENT)
    REFUSED(gain_value = NAN, LM_BAD_ARGUMENT)
    REFUSED(readnoise_value = -1, LM_BAD_ARGUMENT)
    REFUSED(sampling = LM_FOWLER, LM_BAD_ARGUMENT) /* of no reads */
    p.coeffs = signal[0];
    REFUSED(n_coeffs = 0, LM_BAD_SHAPE)
    p.n_coeffs = 1;
    REFUSED(coeff_stride = PIXELS - 1, LM_BAD_SHAPE)
    p.coeffs = NULL;
    p.sampling = LM_FOWLER;
    p.n_fowler = READS + 1;
    CHECK(lm_readout_begin(&p, &readout) == LM_BAD_ARGUMENT);
}

static void the_faults_of_the_published_library_are_its_own(void)
{
    static float coeffs[5][8 * 8], linear[2 * 15];
    const int32_t ramp[2 * 15] = {0}, late[2] = {1 << 20, (1 << 20) + 1}, rising[2] = {0, 6000};
    float counts;
    CHECK(lm_published_uptheramp(rising, late, 2, 1, &counts) == LM_OK && fabsf(counts - 6000) > 100);
    CHECK(lm_published_nonlin(ramp, 2, 3, 5, coeffs[0], 8, linear) == LM_OK);
    CHECK(linear[0] == 0 && isnan(linear[14]));
    CHECK(lm_published_nonlin(ramp, 2, 5, 3, coeffs[0], 8, linear) == LM_BAD_SHAPE);
}

int main(void)
{
    a_steady_source_gives_its_rate();
    threads_and_the_way_reads_come_make_no_difference();
    calls_out_of_turn_change_nothing();
    planes_that_are_not_asked_for_are_not_written();
    wrong_parameters_are_refused();
    the_faults_of_the_published_library_are_its_own();
    return 0;
}
