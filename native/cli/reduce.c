#include "reduce.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Everything that one reduction holds. */
typedef struct {
    const lm_reduction *options;
    lm_fits fits;
    lm_fits_image reads, groupdq;
    int has_groupdq;
    lm_read_type type;
    size_t n_pixels;
    double *times;
    void *read;
    uint32_t *flags, *pixeldq;
    uint8_t *read_dq;
    float *coeffs;
    size_t n_coeffs, side;
    char *message;
} reduction;

static int complain(reduction *r, int status, const char *text)
{
    snprintf(r->message, 300, "%s", text);
    return status;
}

static int complain_fits(reduction *r, const lm_fits *fits, const char *what)
{
    snprintf(r->message, 300, "%s: %s", what, fits->message);
    return LM_EXIT_DATA;
}

static int no_memory(reduction *r) { return complain(r, LM_EXIT_SYSTEM, "no memory for a frame of this size"); }

/* ---- what the files hold --------------------------------------------------------------------- */

static int find_reads(reduction *r, lm_reduced_frame *frame)
{
    if (lm_fits_find(&r->fits, r->options->extension, 3, &r->reads) || lm_fits_type(&r->fits, &r->reads, &r->type))
        return complain_fits(r, &r->fits, "reads");
    for (size_t k = 4; k < r->reads.n_axes; k++)
        if (r->reads.axes[k] != 1)
            return complain(r, LM_EXIT_DATA, "reads: more than 4 axes; expected columns, rows, reads, ramps");
    frame->n_cols = r->reads.axes[0];
    frame->n_rows = r->reads.axes[1];
    frame->n_reads = r->reads.axes[2];
    frame->n_ramps = r->reads.n_axes > 3 ? r->reads.axes[3] : 1;
    r->n_pixels = frame->n_rows * frame->n_cols;
    return 0;
}

static int has_plane_of(const reduction *r, const lm_fits_image *image)
{
    return image->n_axes >= 2 && image->axes[0] == r->reads.axes[0] && image->axes[1] == r->reads.axes[1];
}

/* Look for flags; a file need not have any, but those it has must be sound. */
static int find_flags(reduction *r, const char *name, size_t n_axes, lm_fits_image *image)
{
    const lm_fits_status status = lm_fits_find(&r->fits, name, n_axes, image);
    if (status == LM_FITS_NOT_FOUND)
        return 0;
    return status ? complain_fits(r, &r->fits, name) : -1;
}

static int read_flags(reduction *r)
{
    lm_fits_image image;
    if (r->options->ignores_flags)
        return 0;
    int found = find_flags(r, "PIXELDQ", 2, &image);
    if (found > 0)
        return found;
    if (found && !has_plane_of(r, &image))
        return complain(r, LM_EXIT_DATA, "PIXELDQ is not as large as a read; try --ignore-flags");
    if (found && lm_fits_read_flags(&r->fits, &image, 0, r->pixeldq))
        return complain_fits(r, &r->fits, "PIXELDQ");
    found = find_flags(r, "GROUPDQ", 3, &r->groupdq);
    if (found > 0)
        return found;
    r->has_groupdq = found != 0;
    if (found && (!has_plane_of(r, &r->groupdq) || lm_fits_n_planes(&r->groupdq) != lm_fits_n_planes(&r->reads)))
        return complain(r, LM_EXIT_DATA, "GROUPDQ is not as large as the reads; try --ignore-flags");
    return 0;
}

static int read_coeffs(reduction *r, FILE *file)
{
    lm_fits fits;
    lm_fits_image image;
    lm_read_type type;
    if (!file)
        return 0;
    if (lm_fits_open(&fits, file) || lm_fits_find(&fits, NULL, 3, &image) || lm_fits_type(&fits, &image, &type))
        return complain_fits(r, &fits, "coefficients");
    const size_t pixels = lm_fits_plane_pixels(&image);
    r->n_coeffs = lm_fits_n_planes(&image);
    r->side = image.axes[0];
    if (type != LM_READ_FLOAT32 || r->n_coeffs > LM_MAX_COEFFS)
        return complain(r, LM_EXIT_DATA, "coefficients: expected at most 16 planes of 32 bit floats");
    if (r->options->as_published && (image.axes[1] != r->side || r->n_coeffs != 5))
        return complain(r, LM_EXIT_DATA, "coefficients: the published library takes 5 square planes");
    if (!r->options->as_published && !has_plane_of(r, &image))
        return complain(r, LM_EXIT_DATA, "coefficients: their planes are not as large as a read");
    r->coeffs = malloc(r->n_coeffs * pixels * sizeof *r->coeffs);
    if (!r->coeffs)
        return no_memory(r);
    for (size_t k = 0; k < r->n_coeffs; k++)
        if (lm_fits_read_plane(&fits, &image, k, r->coeffs + k * pixels))
            return complain_fits(r, &fits, "coefficients");
    return 0;
}

/* Times of the reads. A rate needs to know them; counts of evenly spaced reads do not. */
static int find_times(reduction *r, size_t n_reads)
{
    const lm_reduction *o = r->options;
    lm_fits_image primary = {0};
    double interval = o->interval;
    if (o->times && o->n_times != n_reads) {
        snprintf(r->message, 300, "--times has %zu values, and each ramp has %zu reads", o->n_times, n_reads);
        return LM_EXIT_USAGE;
    }
    if (!o->times && !(interval > 0) && !lm_fits_next(&r->fits, &primary))
        (void)lm_fits_number(&r->fits, &primary, "TGROUP", &interval);
    if (!o->times && !(interval > 0)) {
        if (o->unit == LM_RATE)
            return complain(r, LM_EXIT_DATA, "a rate needs times, and the file has no TGROUP; give --interval or --times");
        interval = o->as_published ? 4 : 1; /* counts do not depend on it; 4 as the published program */
    }
    r->times = malloc(n_reads * sizeof *r->times);
    if (!r->times)
        return no_memory(r);
    for (size_t k = 0; k < n_reads; k++)
        r->times[k] = o->times ? o->times[k] : (double)k * interval;
    return 0;
}

static int allocate(reduction *r, lm_reduced_frame *frame)
{
    const size_t n = r->n_pixels;
    lm_frame_planes *p = &frame->planes;
    r->read = malloc(n * 4);
    r->flags = malloc(n * sizeof *r->flags);
    r->read_dq = malloc(n);
    r->pixeldq = calloc(n, sizeof *r->pixeldq);
    *p = (lm_frame_planes){malloc(n * sizeof(float)), malloc(n * sizeof(float)), malloc(n * sizeof(float)),
                           malloc(n * sizeof(uint32_t))};
    return r->read && r->flags && r->read_dq && r->pixeldq && p->signal && p->var_poisson && p->var_rnoise && p->dq
               ? 0
               : no_memory(r);
}

/* ---- the readout ----------------------------------------------------------------------------- */

static int add_read(reduction *r, lm_readout *readout, size_t plane, double time)
{
    if (lm_fits_read_plane(&r->fits, &r->reads, plane, r->read))
        return complain_fits(r, &r->fits, "reads");
    if (r->has_groupdq) {
        if (lm_fits_read_flags(&r->fits, &r->groupdq, plane, r->flags))
            return complain_fits(r, &r->fits, "GROUPDQ");
        for (size_t x = 0; x < r->n_pixels; x++)
            r->read_dq[x] = (uint8_t)r->flags[x];
    }
    if (lm_readout_add(readout, r->read, time, r->has_groupdq ? r->read_dq : NULL))
        return complain(r, LM_EXIT_USAGE, "the times of the reads must rise");
    return 0;
}

static int sample(reduction *r, lm_reduced_frame *frame)
{
    const lm_reduction *o = r->options;
    const int has_noise = !o->as_published;
    lm_readout_parameters p = {
        .n_rows = frame->n_rows, .n_cols = frame->n_cols, .type = r->type, .sampling = o->sampling, .unit = o->unit,
        .n_fowler = o->n_fowler, .n_reads = frame->n_reads, .n_coadds = frame->n_ramps, .n_threads = o->n_threads,
        .saturation_level = has_noise ? o->saturation : 0, .coeffs = has_noise ? r->coeffs : NULL,
        .n_coeffs = r->n_coeffs, .coeff_stride = r->n_pixels, .form = o->form, .pixeldq = r->pixeldq,
        .gain_value = o->gain, .readnoise_value = o->readnoise};
    lm_readout *readout = NULL;
    if (o->sampling == LM_FOWLER && o->n_fowler > frame->n_reads)
        return complain(r, LM_EXIT_DATA, "a ramp has fewer reads than a group of the sampling");
    const lm_status status = lm_readout_begin(&p, &readout);
    if (status == LM_NO_MEMORY)
        return no_memory(r);
    if (status)
        return complain(r, LM_EXIT_USAGE, "a value is out of range");
    int wrong = 0;
    for (size_t i = 0; !wrong && i < frame->n_ramps; i++) {
        if (i)
            lm_readout_next_ramp(readout);
        for (size_t k = 0; !wrong && k < frame->n_reads; k++)
            wrong = add_read(r, readout, i * frame->n_reads + k, r->times[k]);
    }
    if (!wrong)
        lm_readout_finish(readout, &frame->planes);
    lm_readout_end(readout);
    return wrong;
}

/* ---- as published ---------------------------------------------------------------------------- */

/* A value as the published programs pass it on: cut to an integer. */
static int cut(double value, int32_t *integer)
{
    if (!(value > -2147483649.0 && value < 2147483648.0))
        return 0;
    *integer = (int32_t)value;
    return 1;
}

static int read_ramp(reduction *r, size_t first, size_t n_reads, int32_t *ramp)
{
    for (size_t k = 0; k < n_reads; k++) {
        if (lm_fits_read_plane(&r->fits, &r->reads, first + k, r->read))
            return complain_fits(r, &r->fits, "reads");
        int32_t *to = ramp + k * r->n_pixels;
        for (size_t x = 0; x < r->n_pixels; x++) {
            const double value = r->type == LM_READ_UINT16  ? (double)((const uint16_t *)r->read)[x]
                                 : r->type == LM_READ_INT32 ? (double)((const int32_t *)r->read)[x]
                                                            : (double)((const float *)r->read)[x];
            if (!cut(value, to + x))
                return complain(r, LM_EXIT_DATA, "a read does not fit the integers of the published library");
        }
    }
    return 0;
}

static int correct_as_published(reduction *r, const lm_reduced_frame *frame, int32_t *ramp, float *linear)
{
    if (frame->n_rows != frame->n_cols || frame->n_cols > r->side)
        return complain(r, LM_EXIT_DATA, "the published correction is defined for square frames up to its coefficients");
    if (lm_published_nonlin(ramp, frame->n_reads, frame->n_rows, frame->n_cols, r->coeffs, r->side, linear))
        return complain(r, LM_EXIT_DATA, "the published correction cannot take this frame");
    for (size_t x = 0; x < frame->n_reads * r->n_pixels; x++)
        if (!cut((double)linear[x], ramp + x))
            return complain(r, LM_EXIT_DATA, "a corrected read does not fit the integers of the published library");
    return 0;
}

static int sample_as_published(reduction *r, const lm_reduced_frame *frame, const int32_t *ramp, float *counts)
{
    if (r->options->sampling == LM_FOWLER) { /* which is right */
        const lm_shape shape = {1, frame->n_reads, frame->n_rows, frame->n_cols, frame->n_reads * r->n_pixels,
                                r->n_pixels};
        const lm_readout_parameters p = {.type = LM_READ_INT32, .sampling = LM_FOWLER, .unit = LM_COUNTS,
                                         .n_fowler = r->options->n_fowler};
        const lm_frame_planes only = {.signal = counts};
        if (lm_readout_ramps(ramp, &shape, r->times, NULL, NULL, &p, &only))
            return complain(r, LM_EXIT_USAGE, "times must rise, and a group may not be longer than a ramp");
        return 0;
    }
    int32_t *times = malloc(frame->n_reads * sizeof *times);
    if (!times)
        return no_memory(r);
    int wrong = 0;
    for (size_t k = 0; k < frame->n_reads && !wrong; k++)
        if (!cut(r->times[k], times + k))
            wrong = complain(r, LM_EXIT_USAGE, "a time does not fit the integers of the published library");
    if (!wrong)
        (void)lm_published_uptheramp(ramp, times, frame->n_reads, r->n_pixels, counts);
    free(times);
    return wrong;
}

static int reduce_as_published(reduction *r, lm_reduced_frame *frame)
{
    const size_t values = frame->n_reads * r->n_pixels;
    int32_t *ramp = malloc(values * sizeof *ramp);
    float *linear = malloc((r->coeffs ? values : 1) * sizeof *linear), *counts = frame->planes.var_rnoise;
    int wrong = ramp && linear ? 0 : no_memory(r);
    memset(frame->planes.signal, 0, r->n_pixels * sizeof(float));
    for (size_t i = 0; !wrong && i < frame->n_ramps; i++) {
        wrong = read_ramp(r, i * frame->n_reads, frame->n_reads, ramp);
        if (!wrong && r->coeffs)
            wrong = correct_as_published(r, frame, ramp, linear);
        if (!wrong)
            wrong = sample_as_published(r, frame, ramp, counts);
        for (size_t x = 0; !wrong && x < r->n_pixels; x++)
            frame->planes.signal[x] += counts[x];
    }
    free(linear);
    free(ramp);
    return wrong;
}

/* ---- all of it ------------------------------------------------------------------------------- */

int lm_reduce(const lm_reduction *options, FILE *input, FILE *coeffs, lm_reduced_frame *frame, char message[300])
{
    reduction r = {.options = options, .message = message};
    *frame = (lm_reduced_frame){.has_noise = !options->as_published};
    message[0] = 0;
    int status = lm_fits_open(&r.fits, input) ? complain_fits(&r, &r.fits, "input") : 0;
    if (!status)
        status = find_reads(&r, frame);
    if (!status)
        status = allocate(&r, frame);
    if (!status)
        status = find_times(&r, frame->n_reads);
    if (!status && !options->as_published)
        status = read_flags(&r);
    if (!status)
        status = read_coeffs(&r, coeffs);
    if (!status)
        status = options->as_published ? reduce_as_published(&r, frame) : sample(&r, frame);
    free(r.times);
    free(r.read);
    free(r.flags);
    free(r.read_dq);
    free(r.pixeldq);
    free(r.coeffs);
    if (status)
        lm_free_frame(frame);
    return status;
}

void lm_free_frame(lm_reduced_frame *frame)
{
    free(frame->planes.signal);
    free(frame->planes.var_poisson);
    free(frame->planes.var_rnoise);
    free(frame->planes.dq);
    frame->planes = (lm_frame_planes){0};
}
