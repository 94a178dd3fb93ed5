/* A detector's reads as they come, without Python: a quick look after each, the frame after the last.
 *
 *     cc live_readout.c $(pkg-config --cflags --libs lightmill) -o live_readout
 *     ./live_readout reads.fits        the reads of a file, as if they came now
 *     ./live_readout                   reads made up here
 */
#include <lightmill/lightmill.h>

#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 64, COLS = 64, READS = 8 };

typedef struct {
    lm_fits fits;
    lm_fits_image image;
    int is_file;
    size_t n_rows, n_cols, n_reads;
    lm_read_type type;
} source;

static int open_source(source *from, const char *path)
{
    if (!path) {
        *from = (source){.n_rows = ROWS, .n_cols = COLS, .n_reads = READS, .type = LM_READ_UINT16};
        return 1;
    }
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return 0;
    }
    if (lm_fits_open(&from->fits, file) || lm_fits_find(&from->fits, NULL, 3, &from->image) ||
        lm_fits_type(&from->fits, &from->image, &from->type)) {
        fprintf(stderr, "%s: %s\n", path, from->fits.message);
        fclose(file);
        return 0;
    }
    from->is_file = 1;
    from->n_cols = from->image.axes[0];
    from->n_rows = from->image.axes[1];
    from->n_reads = from->image.axes[2];
    return 1;
}

static int next_read(source *from, size_t k, void *read)
{
    if (from->is_file)
        return lm_fits_read_plane(&from->fits, &from->image, k, read) == LM_FITS_OK;
    for (size_t x = 0; x < from->n_rows * from->n_cols; x++) /* 120 counts a read on a pedestal */
        ((uint16_t *)read)[x] = (uint16_t)(1000 + x % 100 + 120 * k);
    return 1;
}

static double mean(const float *values, size_t n)
{
    double sum = 0;
    for (size_t x = 0; x < n; x++)
        sum += (double)values[x];
    return sum / (double)n;
}

static lm_status run(source *from, lm_readout *readout, void *read, const lm_frame_planes *planes)
{
    const size_t pixels = from->n_rows * from->n_cols;
    lm_status status = LM_OK;
    for (size_t k = 0; k < from->n_reads && !status; k++) {
        if (!next_read(from, k, read)) {
            fprintf(stderr, "%s\n", from->fits.message);
            return LM_BAD_ARGUMENT;
        }
        status = lm_readout_add(readout, read, (double)k, NULL);
        if (status || k == 0) /* one read says nothing yet */
            continue;
        status = lm_readout_look(readout, planes);
        printf("read %zu: mean rate %.3f\n", k + 1, mean(planes->signal, pixels));
    }
    if (!status)
        status = lm_readout_finish(readout, planes);
    if (!status)
        printf("frame: mean rate %.3f, read noise %.4f of it\n", mean(planes->signal, pixels),
               mean(planes->var_rnoise, pixels));
    return status;
}

int main(int argc, char **argv)
{
    source from = {.is_file = 0};
    lm_readout *readout = NULL;
    if (!open_source(&from, argc > 1 ? argv[1] : NULL))
        return EXIT_FAILURE;
    const size_t pixels = from.n_rows * from.n_cols;
    const lm_readout_parameters parameters = {.n_rows = from.n_rows, .n_cols = from.n_cols, .type = from.type,
                                              .n_threads = 2, .saturation_level = 60000, .gain_value = 2,
                                              .readnoise_value = 9};
    lm_frame_planes planes = {malloc(pixels * sizeof(float)), malloc(pixels * sizeof(float)),
                              malloc(pixels * sizeof(float)), malloc(pixels * sizeof(uint32_t))};
    void *read = malloc(pixels * 4);
    lm_status status = LM_NO_MEMORY;
    if (read && planes.signal && planes.var_poisson && planes.var_rnoise && planes.dq)
        status = lm_readout_begin(&parameters, &readout);
    if (!status)
        status = run(&from, readout, read, &planes);
    if (status)
        fprintf(stderr, "the readout answered %d\n", (int)status);
    lm_readout_end(readout);
    free(read);
    free(planes.signal);
    free(planes.var_poisson);
    free(planes.var_rnoise);
    free(planes.dq);
    if (from.is_file)
        fclose(from.fits.file);
    return status ? EXIT_FAILURE : EXIT_SUCCESS;
}
