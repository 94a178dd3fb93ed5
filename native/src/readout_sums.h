/* Whole ramps of neighbouring pixels, whose sums stay in registers from the first read to the last. */
#ifndef LM_READOUT_SUMS_H
#define LM_READOUT_SUMS_H
#include "readout_chunk.h"

/* Reads of a chunk of pixels, one after the other. */
typedef struct {
    const char *first;   /* pixel of the first read */
    size_t stride;       /* bytes from read to read */
    const double *times; /* since the first read of the ramp */
    size_t n_reads;
} lm_read_sequence;

/* Sums of the counts and of counts times time of whole blocks, as lm_chunk_add would leave them, bit by bit. Pixels
 * of which a read is odd (full, or no number) are marked in `is_odd`; their sums mean nothing. Returns 0 where the
 * number of coefficients is one that is left to the caller: nothing is summed then. */
int lm_chunk_sums(const lm_readout_parameters *p, const lm_read_sequence *reads, const float *limit, size_t pixel,
                  double *a, double *b, uint8_t *is_odd, size_t count);

#endif
