/* native/include/lightmill/readout.h: reads of a detector into frames, one read at a time.
 *
 * Up the ramp: the least-squares slope of all reads, at whatever times they were taken; a jump ends a
 * segment, and the slope is common to the segments of a ramp (a free intercept each). That is the
 * unweighted fit of lightmill/ramp_fit.h, held as running sums. Fowler sampling (multiple correlated
 * double sampling): mean of the last k reads less the mean of the first k; k = 1 is CDS.
 *
 *     lm_readout_begin(&parameters, &readout)      allocates everything, starts the threads
 *     lm_readout_add(readout, read, time, dq)      each read, as it comes
 *     lm_readout_look(readout, &planes)            at any moment: the frame of the reads so far
 *     lm_readout_next_ramp(readout)                when a coadd begins
 *     lm_readout_finish(readout, &planes)          the frame; the next read begins a new exposure
 *     lm_readout_end(readout)
 *
 * Memory does not depend on the number of reads: lm_readout_bytes says how much it is. Between begin and
 * end nothing is allocated. A readout is used by one thread at a time; it has threads of its own, which
 * a forked child does not inherit: begin in the process that adds.
 *
 * Numerics. Two float64 sums a pixel: of the counts, and of counts times the time since the first read of
 * the ramp. Their difference loses at most n 1e-16 of the largest product: of 65535 counts and 1000 reads,
 * 1e-8 counts. 32-bit integers add up exactly. The result is rounded once, to float32. A frame has the
 * same bits from any number of threads, and from the whole ramp at once (lm_readout_ramps) or read by read.
 *
 * Noise. `readnoise` is that of ONE read [DN] (ramp_fit.h: of the difference of two). Both variances are
 * those of the estimate itself: with weights w_i of the reads, sum(w_i) = 0, read noise gives
 * sum(w_i^2) readnoise^2, and a steady rate of r DN per unit of time  r / gain * sum over i, j of
 * w_i w_j min(t_i, t_j), since later reads hold the charge of earlier ones. Rates below 0 add none.
 */
#ifndef LIGHTMILL_READOUT_H
#define LIGHTMILL_READOUT_H
#include "core.h"

typedef enum { LM_READ_INT32 = 0, LM_READ_UINT16 = 1, LM_READ_FLOAT32 = 2 } lm_read_type;
typedef enum { LM_UP_THE_RAMP = 0, LM_FOWLER = 1 } lm_sampling;
typedef enum {
    LM_RATE = 0,  /* DN per unit of the times */
    LM_COUNTS = 1 /* DN; up the ramp rate x (last - first time), Fowler the difference; summed over ramps */
} lm_readout_unit;
typedef enum {
    LM_POLYNOMIAL = 0,     /* y = c_0 + c_1 x + c_2 x^2 + ... */
    LM_GAIN_POLYNOMIAL = 1 /* y = x (1 + c_0 + c_1 x + c_2 x^2 + ...) */
} lm_linearity_form;

enum {
    LM_MAX_THREADS = 256,
    LM_MAX_COEFFS = 16,
    LM_MAX_HISTORIES = 32767 /* ways, of one ramp, to have lost reads; a pixel beyond has no rate */
};

/* Planes are [n_rows][n_cols], are not copied, and must live until lm_readout_end. */
typedef struct {
    size_t n_rows, n_cols;
    lm_read_type type;
    lm_sampling sampling;
    lm_readout_unit unit;
    size_t n_fowler;         /* Fowler: reads in each group */
    size_t n_reads;          /* of one ramp; 0: not known, which Fowler allows for n_fowler = 1 only */
    size_t n_coadds;         /* ramps at most; 0 is 1 */
    size_t n_threads;        /* 0 is 1 */
    const float *saturation; /* DN; raw counts (as float32) from here up are not used; NaN: no limit */
    float saturation_level;  /* the same for all pixels where `saturation` is NULL; 0 or NaN: no limit */
    const float *coeffs;     /* n_coeffs planes, `coeff_stride` elements apart, lowest power first, or NULL.
                                Usable everywhere (lm_prepare_linearity): a NaN makes a read unusable */
    size_t n_coeffs, coeff_stride;
    lm_linearity_form form;
    const uint32_t *pixeldq; /* joined into dq; or NULL */
    const float *gain;       /* electron/DN; or NULL */
    float gain_value;        /* where `gain` is NULL; 0 is 1 */
    const float *readnoise;  /* DN, of one read; or NULL */
    float readnoise_value;   /* where `readnoise` is NULL */
} lm_readout_parameters;

/* Where to write; [n_rows][n_cols] each, any may be NULL. Where there is no signal it is NaN, variances are
 * 0, and dq has DO_NOT_USE. dq has SATURATED where some read was too full (the signal is that of the reads
 * before), JUMP_DET where some read was flagged so, NO_GAIN_VALUE where the gain is not positive
 * (var_poisson is NaN there). */
typedef struct {
    float *signal, *var_poisson, *var_rnoise;
    uint32_t *dq;
} lm_frame_planes;

typedef struct lm_readout lm_readout;

typedef struct {
    size_t n_reads;     /* added to this ramp */
    size_t n_ramps;     /* begun, this one included */
    size_t n_histories; /* ways of having lost reads, met in this ramp; 1: none was lost */
    int is_complete;    /* this ramp has parameters.n_reads, or they are not known */
    int is_full;        /* some pixel was given up because LM_MAX_HISTORIES were met */
} lm_readout_state;

/* Bytes that lm_readout_begin asks for; 0 if the parameters are wrong. */
LM_API size_t lm_readout_bytes(const lm_readout_parameters *parameters);

/* LM_BAD_SHAPE, LM_BAD_ARGUMENT, LM_NO_MEMORY (also: no thread). `*readout` is NULL then. */
LM_API lm_status lm_readout_begin(const lm_readout_parameters *parameters, lm_readout **readout);

/* Add a read [n_rows][n_cols] of parameters.type, taken at `time`.
 *
 * read_dq   [n_rows][n_cols] or NULL. DO_NOT_USE: left out. JUMP_DET: charge came at once before this read;
 *           up the ramp a new segment begins, Fowler is left with what it has. SATURATED: as if too full.
 * A float read that is not finite is left out. A pixel that was too full once stays so for the ramp.
 * Fowler tests saturation in the reads of its two groups only.
 * LM_BAD_TIME: not after the read before it; LM_WRONG_STATE: the ramp has n_reads already. The read is
 * then not used, and all is as before. */
LM_API lm_status lm_readout_add(lm_readout *readout, const void *read, double time, const uint8_t *read_dq);

/* Add a read as lm_readout_add does, and make the frame of the reads so far as lm_readout_look does, in one pass
 * over the sums. */
LM_API lm_status lm_readout_add_and_look(lm_readout *readout, const void *read, double time, const uint8_t *read_dq,
                                         const lm_frame_planes *planes);

/* The frame of the reads so far; Fowler before its last group: of the latest read. */
LM_API lm_status lm_readout_look(lm_readout *readout, const lm_frame_planes *planes);

/* Fold the ramp into the coadd and begin another, whose times begin anew. Slopes are combined as further
 * segments of one ramp, Fowler differences by their times. LM_WRONG_STATE: that were more than n_coadds,
 * or no read was added. */
LM_API lm_status lm_readout_next_ramp(lm_readout *readout);

/* As look, and then as after begin. LM_WRONG_STATE: no read was added. */
LM_API lm_status lm_readout_finish(lm_readout *readout, const lm_frame_planes *planes);

LM_API void lm_readout_state_of(const lm_readout *readout, lm_readout_state *state);
LM_API void lm_readout_end(lm_readout *readout);

/* Whole ramps at once: the same frame as read by read, bit by bit, in one pass over memory.
 *
 * reads     parameters.type [n_ints][n_groups][n_rows][n_cols], strides in `shape`; each integration a coadd
 * times     [n_groups], of every ramp       read_dq   like reads, strides in `dq_shape`; or NULL with it
 * parameters.n_rows, n_cols, n_reads, n_coadds are taken from `shape`. Allocates at the start. Each thread
 * counts its own LM_MAX_HISTORIES, for 1024 pixels at a time. */
LM_API lm_status lm_readout_ramps(const void *reads, const lm_shape *shape, const double *times,
                                  const uint8_t *read_dq, const lm_shape *dq_shape,
                                  const lm_readout_parameters *parameters, const lm_frame_planes *planes);

/* Correct n_reads reads [n_rows][n_cols] of parameters.type, `stride` elements apart, for non-linearity, in
 * float64, to `out` [n_reads][n_rows][n_cols]. Uses of the parameters coeffs, form and n_threads only. */
LM_API lm_status lm_readout_linearize(const void *reads, size_t n_reads, size_t stride,
                                      const lm_readout_parameters *parameters, float *out);

/* What the published library for this purpose computes, its faults included, for comparison only. */

/* Up the ramp, in counts, with 32-bit products of times and counts, which wrap. [n_reads][n_pixels] -> [n_pixels] */
LM_API lm_status lm_published_uptheramp(const int32_t *reads, const int32_t *times, size_t n_reads,
                                        size_t n_pixels, float *out);

/* y = x (1 + c_0 + ... + c_4 x^4), 5 planes [side][side], read transposed, and rows taken to be as long as
 * columns: in a frame wider than high some pixels are never written (NaN here). n_cols <= side. Frames
 * higher than wide, where it writes beyond the array: LM_BAD_SHAPE. */
LM_API lm_status lm_published_nonlin(const int32_t *reads, size_t n_reads, size_t n_rows, size_t n_cols,
                                     const float *coeffs, size_t side, float *out);

#endif
