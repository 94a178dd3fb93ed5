/* native/include/lightmill/fits.h: the images of a FITS file (Pence et al. 2010, A&A 524, A42), plane by plane.
 *
 * For programs that have no other reader: images only, uncompressed, of 8, 16 or 32 bit integers or 32 bit
 * floats. Every size is checked against the file before anything is read or allocated for it, so that what
 * a header claims costs nothing. Nothing is allocated here at all.
 */
#ifndef LIGHTMILL_FITS_H
#define LIGHTMILL_FITS_H
#include <stdio.h>

#include "core.h"
#include "readout.h"

enum { LM_FITS_BLOCK = 2880, LM_FITS_CARD = 80, LM_FITS_MAX_AXES = 9 };

typedef enum {
    LM_FITS_OK = 0,
    LM_FITS_SYSTEM = 1,      /* the file cannot be read; errno says why */
    LM_FITS_MALFORMED = 2,   /* not FITS, or a card that cannot be understood */
    LM_FITS_TRUNCATED = 3,   /* the file ends before what its headers promise */
    LM_FITS_NOT_FOUND = 4,   /* no such extension, or no image; no such keyword */
    LM_FITS_UNSUPPORTED = 5  /* FITS, but not of the kinds above */
} lm_fits_status;

typedef struct {
    FILE *file;
    uint64_t size;
    char message[240]; /* what is wrong, in words, after any answer but LM_FITS_OK */
} lm_fits;

typedef struct {
    size_t number; /* of the HDU; the primary one is 0 */
    char name[70]; /* EXTNAME, or "" */
    long version;  /* EXTVER */
    int is_image, bitpix;
    size_t n_axes, axes[LM_FITS_MAX_AXES]; /* NAXIS1, the fastest, first */
    double scale, zero;                    /* BSCALE, BZERO */
    int has_blank;
    int32_t blank;
    uint64_t header_at, data_at, next_at; /* bytes */
} lm_fits_image;

/* `file` must be seekable; it stays the caller's. */
LM_API lm_fits_status lm_fits_open(lm_fits *fits, FILE *file);

/* The HDU after `image`, in place; a zeroed one is before the first. LM_FITS_NOT_FOUND after the last. */
LM_API lm_fits_status lm_fits_next(lm_fits *fits, lm_fits_image *image);

/* The image named `which`: a number ("1"), a name ("SCI"), a name and version ("SCI,2"), or NULL: the first
 * image of at least `min_axes` axes. */
LM_API lm_fits_status lm_fits_find(lm_fits *fits, const char *which, size_t min_axes, lm_fits_image *image);

/* The value of a keyword that is a number. */
LM_API lm_fits_status lm_fits_number(lm_fits *fits, const lm_fits_image *image, const char *keyword, double *value);

/* Card number `card` of the header, 80 characters and a 0; LM_FITS_NOT_FOUND at END. */
LM_API lm_fits_status lm_fits_card(lm_fits *fits, const lm_fits_image *image, size_t card,
                                   char text[LM_FITS_CARD + 1]);

/* The type planes are read as: uint16 for unsigned 16 bit, int32 for other integers, float32 for floats
 * and for integers that are scaled or have BLANK (NaN). LM_FITS_UNSUPPORTED for others. */
LM_API lm_fits_status lm_fits_type(lm_fits *fits, const lm_fits_image *image, lm_read_type *type);

/* Pixels of a plane (NAXIS1 x NAXIS2), and how many planes there are. 0 if it has fewer than two axes. */
LM_API size_t lm_fits_plane_pixels(const lm_fits_image *image);
LM_API size_t lm_fits_n_planes(const lm_fits_image *image);

/* Read plane number `plane` as the type above; `values` has room for its pixels. */
LM_API lm_fits_status lm_fits_read_plane(lm_fits *fits, const lm_fits_image *image, size_t plane, void *values);

/* The same for flags: integers of 8 bits, and of 32 bits with or without the offset of unsigned ones. */
LM_API lm_fits_status lm_fits_read_flags(lm_fits *fits, const lm_fits_image *image, size_t plane, uint32_t *flags);

#endif
