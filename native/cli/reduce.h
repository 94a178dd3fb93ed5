/* What lm-readout does between its arguments and its files: kept apart, so that a fuzzer can call it. */
#ifndef LM_REDUCE_H
#define LM_REDUCE_H
#include <stdio.h>

#include "lightmill/fits.h"

enum { LM_EXIT_OK = 0, LM_EXIT_USAGE = 2, LM_EXIT_DATA = 3, LM_EXIT_OUTPUT = 5, LM_EXIT_SYSTEM = 70 };

typedef struct {
    const char *extension;   /* of the reads; NULL: the first image of 3 axes or more */
    lm_sampling sampling;
    lm_readout_unit unit;
    lm_linearity_form form;
    size_t n_fowler, n_threads;
    const double *times;     /* of the reads of each ramp, n_times of them; NULL: `interval` apart */
    size_t n_times;
    double interval;         /* 0: TGROUP of the file, or not known */
    float saturation, gain, readnoise;
    int ignores_flags;       /* do not look for PIXELDQ and GROUPDQ */
    int as_published;
} lm_reduction;

typedef struct {
    size_t n_rows, n_cols, n_reads, n_ramps;
    int has_noise;           /* variances and flags were computed */
    lm_frame_planes planes;  /* to be freed with lm_free_frame */
} lm_reduced_frame;

/* Sample the reads of `input`, corrected by the coefficients in `coeffs` unless that is NULL. Answers an exit
 * status; unless that is 0 `message` says why. */
int lm_reduce(const lm_reduction *reduction, FILE *input, FILE *coeffs, lm_reduced_frame *frame, char message[300]);

void lm_free_frame(lm_reduced_frame *frame);

/* Write the frame, with the cards of the primary header of `input` that still hold. Nonzero on success. */
int lm_write_frame(FILE *output, lm_fits *input, const lm_reduction *reduction, const lm_reduced_frame *frame);

#endif
