/* A frame as a FITS file: SCI, ERR, VAR_POISSON, VAR_RNOISE (32 bit floats) and DQ (unsigned 32 bit). */
#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "reduce.h"

typedef struct {
    FILE *file;
    size_t written; /* bytes */
    int is_well;
} writer;

static void put(writer *w, const void *bytes, size_t count)
{
    w->is_well &= fwrite(bytes, 1, count, w->file) == count;
    w->written += count;
}

static void fill_block(writer *w, char with)
{
    char rest[LM_FITS_BLOCK];
    memset(rest, with, sizeof rest);
    if (w->written % LM_FITS_BLOCK)
        put(w, rest, LM_FITS_BLOCK - w->written % LM_FITS_BLOCK);
}

static void card(writer *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void card(writer *w, const char *format, ...)
{
    char text[LM_FITS_CARD + 1];
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    const size_t used = length < 0 ? 0 : (size_t)length < LM_FITS_CARD ? (size_t)length : LM_FITS_CARD;
    memset(text + used, ' ', LM_FITS_CARD - used);
    put(w, text, LM_FITS_CARD);
}

/* Cards that say how a file is made, or what this program says anew. */
static int is_ours(const char *text)
{
    static const char *const names[] = {"SIMPLE  ", "BITPIX  ", "EXTEND  ", "END     ", "CHECKSUM", "DATASUM ",
                                        "BSCALE  ", "BZERO   ", "BLANK   ", "PCOUNT  ", "GCOUNT  ", "GROUPS  ",
                                        "XTENSION", "EXTNAME ", "EXTVER  ", "BUNIT   ", "SAMPMODE", "NUMREADS",
                                        "NUMRAMPS", "DATE    ", "FILENAME", "DATAMODL", "LONGSTRN", "DATAMIN ", "DATAMAX "};
    for (size_t k = 0; k < sizeof names / sizeof *names; k++)
        if (!memcmp(text, names[k], 8))
            return 1;
    return !memcmp(text, "NAXIS", 5);
}

static void copy_cards(writer *w, lm_fits *input)
{
    lm_fits_image primary = {0};
    char text[LM_FITS_CARD + 1];
    if (lm_fits_next(input, &primary))
        return;
    for (size_t k = 0; !lm_fits_card(input, &primary, k, text); k++) {
        if (is_ours(text))
            continue;
        for (size_t c = 0; c < LM_FITS_CARD; c++)
            text[c] = text[c] >= ' ' && text[c] <= '~' ? text[c] : ' ';
        put(w, text, LM_FITS_CARD);
    }
}

static const char *mode_of(const lm_reduction *r)
{
    return r->sampling == LM_UP_THE_RAMP ? "UTR" : r->n_fowler == 1 ? "CDS" : "MCDS";
}

static void write_primary(writer *w, lm_fits *input, const lm_reduction *r, const lm_reduced_frame *frame)
{
    card(w, "SIMPLE  = %20s / conforms to FITS standard", "T");
    card(w, "BITPIX  = %20d / no data here", 8);
    card(w, "NAXIS   = %20d", 0);
    card(w, "EXTEND  = %20s", "T");
    copy_cards(w, input);
    card(w, "SAMPMODE= '%-8s'           / sampling of the reads", mode_of(r));
    card(w, "NUMREADS= %20zu / reads of each ramp", frame->n_reads);
    card(w, "NUMRAMPS= %20zu / ramps added", frame->n_ramps);
    if (r->as_published)
        card(w, "HISTORY computed by lm-readout as the published library does, faults included");
    card(w, "END");
    fill_block(w, ' ');
}

static void write_header(writer *w, const lm_reduced_frame *frame, const char *name, int is_flags, const char *unit)
{
    card(w, "XTENSION= 'IMAGE   '           / image extension");
    card(w, "BITPIX  = %20d", is_flags ? 32 : -32);
    card(w, "NAXIS   = %20d", 2);
    card(w, "NAXIS1  = %20zu / columns", frame->n_cols);
    card(w, "NAXIS2  = %20zu / rows", frame->n_rows);
    card(w, "PCOUNT  = %20d", 0);
    card(w, "GCOUNT  = %20d", 1);
    if (is_flags) {
        card(w, "BSCALE  = %20d", 1);
        card(w, "BZERO   = %20s / unsigned", "2147483648");
    }
    card(w, "EXTNAME = '%s'", name);
    if (unit)
        card(w, "BUNIT   = '%s'", unit);
    card(w, "END");
    fill_block(w, ' ');
}

/* Words of 32 bits, most significant byte first. */
static void write_words(writer *w, const uint32_t *words, size_t count, uint32_t flip)
{
    unsigned char bytes[4 * 720];
    for (size_t first = 0; first < count; first += 720) {
        const size_t n = count - first < 720 ? count - first : 720;
        for (size_t k = 0; k < n; k++) {
            const uint32_t word = words[first + k] ^ flip;
            bytes[4 * k] = (unsigned char)(word >> 24);
            bytes[4 * k + 1] = (unsigned char)(word >> 16);
            bytes[4 * k + 2] = (unsigned char)(word >> 8);
            bytes[4 * k + 3] = (unsigned char)word;
        }
        put(w, bytes, 4 * n);
    }
    fill_block(w, 0);
}

static void write_floats(writer *w, const lm_reduced_frame *frame, const char *name, const float *values,
                         const float *more, const char *unit)
{
    uint32_t words[720];
    const size_t count = frame->n_rows * frame->n_cols;
    write_header(w, frame, name, 0, unit);
    for (size_t first = 0; first < count; first += 720) {
        const size_t n = count - first < 720 ? count - first : 720;
        for (size_t k = 0; k < n; k++) {
            const float value = more ? sqrtf(values[first + k] + more[first + k]) : values[first + k];
            memcpy(words + k, &value, sizeof value);
        }
        write_words(w, words, n, 0); /* 720 words are a block: nothing is filled in but at the end */
    }
}

int lm_write_frame(FILE *output, lm_fits *input, const lm_reduction *r, const lm_reduced_frame *frame)
{
    writer w = {.file = output, .is_well = 1};
    const lm_frame_planes *p = &frame->planes;
    const int is_rate = r->unit == LM_RATE;
    const char *unit = is_rate ? "DN/s" : "DN", *squared = is_rate ? "DN2/s2" : "DN2";
    write_primary(&w, input, r, frame);
    write_floats(&w, frame, "SCI", p->signal, NULL, unit);
    if (frame->has_noise) {
        write_floats(&w, frame, "ERR", p->var_poisson, p->var_rnoise, unit);
        write_floats(&w, frame, "VAR_POISSON", p->var_poisson, NULL, squared);
        write_floats(&w, frame, "VAR_RNOISE", p->var_rnoise, NULL, squared);
        write_header(&w, frame, "DQ", 1, NULL);
        write_words(&w, p->dq, frame->n_rows * frame->n_cols, 0x80000000u);
    }
    return w.is_well;
}
