/* The reads of some neighbouring pixels, and the frame that comes of them. */
#ifndef LM_READOUT_CHUNK_H
#define LM_READOUT_CHUNK_H
#include "lanes.h"
#include "readout_history.h"

/* What is kept of a chunk of pixels in this ramp. Up the ramp: sums of the counts since the last jump, and of
 * counts times time. Fowler: sums of the first and of the last group. */
typedef struct {
    double *a, *b;
    uint16_t *history;
    uint8_t *is_mixed; /* [LM_CHUNK / LM_BLOCK] of each block: some history is not 0 */
} lm_chunk;

/* What is kept of the ramps before; NULL pointers where there is one ramp only. */
typedef struct {
    double *numerator;
    float *weight, *read, *poisson;
    uint8_t *dq;
} lm_coadd;

/* Values of `count` <= LM_CHUNK raw reads from `pixel` on, linear if there are coefficients, as float64. */
void lm_chunk_values(const lm_readout_parameters *p, const void *read, size_t pixel, double *values, size_t count);

/* Mark the pixels whose read is flagged. */
void lm_chunk_flags(const uint8_t *read_dq, uint8_t *is_odd, size_t count);

/* Add a read, to which `histories` have advanced. `read`: first of the chunk; `pixel`: its number in planes.
 * `which`: the blocks that are to have it; NULL: all. */
void lm_chunk_add(const lm_readout_parameters *p, lm_histories *histories, const lm_chunk *chunk, const void *read,
                  const uint8_t *read_dq, const uint8_t *which, size_t pixel, size_t count);

/* The same for the `n` pixels of the chunk that `pixels` counts; none may be in a block that has the read already. */
void lm_chunk_add_pixels(const lm_readout_parameters *p, lm_histories *histories, const lm_chunk *chunk,
                         const void *read, const uint8_t *read_dq, const uint16_t *pixels, size_t n, size_t pixel);

/* Make ready for the first read of a ramp, which begins the sums. */
void lm_chunk_clear(const lm_chunk *chunk, size_t count);

/* Add the ramp to the coadd. */
void lm_chunk_fold(const lm_histories *histories, const lm_chunk *chunk, const lm_coadd *coadd, size_t count);

/* Write the frame of coadd and ramp; `span` turns a rate into counts. `h->estimates` must be filled. */
void lm_chunk_frame(const lm_readout_parameters *p, const lm_histories *histories, const lm_chunk *chunk,
                    const lm_coadd *coadd, double span, const lm_frame_planes *planes, size_t pixel, size_t count);

/* Ask for a block of reads of a later chunk. Whole ramps lie in as many places of the memory as they have reads,
 * and the processor does not foresee where a chunk of each goes on. Asked for all at once the lines would keep it
 * waiting; a few with each block come while that is computed. Nothing is read, so it may lie past the end. */
LM_INLINE void lm_fetch_block(const void *place, size_t size)
{
#if defined(__GNUC__)
    for (size_t at = 0; at < LM_BLOCK * size && size < sizeof(double); at += 64)
        __builtin_prefetch((const char *)place + at, 0, 2);
#else
    (void)place, (void)size;
#endif
}

static inline size_t lm_read_size(lm_read_type type) { return type == LM_READ_UINT16 ? 2 : 4; }

#endif
