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
            for (size_t k = 0; k < READS; k++) {
                CHECK(lm_readout_add_and_look(readout, reads[k], times[k], flags[k], &planes[0]) == LM_OK);
                CHECK(lm_readout_look(readout, &planes[1]) == LM_OK);
                frames_are_the_same();
            }
            CHECK(lm_readout_finish(readout, &planes[0]) == LM_OK);
        }
        lm_readout_end(readout);
        CHECK(lm_readout_ramps(both, &twice, times, both_flags[0][0], &twice, &p, &planes[1]) == LM_OK);
        frames_are_the_same();
    }
}

enum { SIDE = 47, MANY = SIDE * SIDE, MOST = 11 }; /* neither chunks nor blocks are whole at the end */

static union {
    int32_t i[MOST * MANY];
    uint16_t u[MOST * MANY];
    float f[MOST * MANY];
} any_ramp;
static uint8_t any_flags[MOST * MANY];
static float any_coeffs[7 * MANY], any_limit[MANY];

/* Reads of any type; of some pixels they are full, no number or flagged, unless they are clean. */
static void make_any_ramp(lm_read_type type, size_t n, int is_clean, uint32_t seed)
{
    uint32_t state = seed;
    for (size_t x = 0; x < MANY; x++) {
        any_limit[x] = 30000 + (float)(x % 100);
        for (size_t j = 0; j < 7; j++)
            any_coeffs[j * MANY + x] = j == 1 ? 1 : 1e-6f / (float)(x % 7 + 1 + 1000 * j * j * j * j);
    }
    for (size_t k = 0; k < n * MANY; k++) {
        state = state * 1664525u + 1013904223u;
        const int is_odd = !is_clean && (state >> 8) % 500 == 0;
        const uint32_t counts = is_odd ? 30050 : (state >> 16) % 1000 + 1000 * (uint32_t)(k / MANY);
        const uint32_t flag = !is_clean && (state >> 4) % 701 == 0 ? 1u << (state >> 20) % 3 : 0;
        any_flags[k] = (uint8_t)flag;
        if (type == LM_READ_INT32)
            any_ramp.i[k] = (int32_t)counts - 500;
        else if (type == LM_READ_UINT16)
            any_ramp.u[k] = (uint16_t)counts;
        else
            any_ramp.f[k] = is_odd && (state >> 8) % 3 == 0 ? NAN : (float)counts / 3 * (is_odd ? 3 : 1);
    }
}

/* Whole ramps are summed in another order of work, but of no addition. */
static void whole_ramps_have_the_bits_of_the_stream(void)
{
    static float out[2][3][MANY];
    static uint32_t out_dq[2][MANY];
    const lm_frame_planes to[2] = {{out[0][0], out[0][1], out[0][2], out_dq[0]},
                                   {out[1][0], out[1][1], out[1][2], out_dq[1]}};
    for (int variant = 0; variant < 96; variant++) { /* types, samplings, 0 to 7 coefficients, clean or not */
        const size_t n = 2 + (size_t)variant % 10, n_coeffs = (size_t)variant / 6 % 8;
        const lm_read_type type = (lm_read_type)(variant % 3);
        const lm_sampling sampling = (lm_sampling)(variant / 3 % 2);
        const lm_readout_parameters p = {
            .n_rows = SIDE, .n_cols = SIDE, .type = type, .sampling = sampling, .n_reads = n,
            .n_fowler = sampling == LM_FOWLER ? 1 + (size_t)variant % n : 0, .n_coadds = 1, .saturation = any_limit,
            .coeffs = n_coeffs ? any_coeffs : NULL, .n_coeffs = n_coeffs, .coeff_stride = MANY,
            .form = (lm_linearity_form)(variant % 2), .readnoise_value = 9};
        const lm_shape shape = {1, n, SIDE, SIDE, n * MANY, MANY};
        const size_t bytes = MANY * (type == LM_READ_UINT16 ? 2u : 4u);
        const int is_flagged = variant % 5 == 0;
        double when[MOST];
        make_any_ramp(type, n, variant >= 48, (uint32_t)variant);
        CHECK(lm_readout_begin(&p, &readout) == LM_OK);
        for (size_t k = 0; k < n; k++) {
            when[k] = (double)k * 0.7 + 3;
            CHECK(lm_readout_add(readout, (const char *)&any_ramp + k * bytes, when[k],
                                 is_flagged ? any_flags + k * MANY : NULL) == LM_OK);
        }
        CHECK(lm_readout_finish(readout, &to[0]) == LM_OK);
        lm_readout_end(readout);
        CHECK(lm_readout_ramps(&any_ramp, &shape, when, is_flagged ? any_flags : NULL, is_flagged ? &shape : NULL, &p,
                               &to[1]) == LM_OK);
        CHECK(!memcmp(out[0], out[1], sizeof out[0]) && !memcmp(out_dq[0], out_dq[1], sizeof out_dq[0]));
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
    CHECK(lm_readout_add_and_look(readout, reads[0], NAN, NULL, &planes[0]) == LM_BAD_TIME);
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
    whole_ramps_have_the_bits_of_the_stream();
    calls_out_of_turn_change_nothing();
    planes_that_are_not_asked_for_are_not_written();
    wrong_parameters_are_refused();
    the_faults_of_the_published_library_are_its_own();
    return 0;
}
