/* Fuzz the FITS entry of lm-readout: the first bytes choose options, the rest is the file. */
#define _GNU_SOURCE /* fmemopen */
#include <stdlib.h>
#include <string.h>

#include "../cli/reduce.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static FILE *file_of(const uint8_t *data, size_t size)
{
    return fmemopen((void *)(uintptr_t)data, size, "rb");
}

static void reduce(const lm_reduction *reduction, const uint8_t *data, size_t size, int has_coeffs)
{
    lm_reduced_frame frame;
    char message[300];
    FILE *input = file_of(data, size), *coeffs = has_coeffs ? file_of(data, size) : NULL;
    if (input && !lm_reduce(reduction, input, coeffs, &frame, message)) {
        char *written = NULL;
        size_t length = 0;
        FILE *output = open_memstream(&written, &length);
        lm_fits fits;
        if (output && !lm_fits_open(&fits, input))
            (void)lm_write_frame(output, &fits, reduction, &frame);
        if (output)
            fclose(output);
        free(written);
        lm_free_frame(&frame);
    } else if (input && !message[0]) {
        abort(); /* a failure without a reason */
    }
    if (input)
        fclose(input);
    if (coeffs)
        fclose(coeffs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const uint8_t a = data[0], b = data[1];
    const lm_reduction reduction = {
        .extension = a & 1 ? "SCI" : NULL,
        .sampling = a & 2 ? LM_FOWLER : LM_UP_THE_RAMP,
        .unit = a & 4 && !(a & 64) ? LM_RATE : LM_COUNTS,
        .form = a & 8 ? LM_GAIN_POLYNOMIAL : LM_POLYNOMIAL,
        .n_fowler = (b & 3) + 1u,
        .n_threads = 1,
        .interval = a & 16 ? 0.5 : 0,
        .saturation = a & 32 ? 1000 : 0,
        .gain = 2,
        .readnoise = 3,
        .as_published = (a & 64) != 0,
        .ignores_flags = (b & 4) != 0,
    };
    reduce(&reduction, data + 2, size - 2, b & 8);
    return 0;
}
