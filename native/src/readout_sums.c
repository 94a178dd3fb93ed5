/* Sums over the reads of whole ramps. */
#include "readout_sums.h"

#include <math.h>
#include <string.h>

#include "clones.h"
#include "lanes.h"

enum { MOST = 4 }; /* reads that are added while the sums of a pixel are in registers */

/* A few reads of a block; how many of them count is a constant where it is asked for. */
typedef struct {
    const void *from[MOST];
    double time[MOST];
    const float *coeffs;
    size_t coeff_stride;
    int is_gain;
} few_reads;

/* The largest read of each pixel; if any read is full that is. */
typedef union {
    int32_t integer[LM_BLOCK];
    float number[LM_BLOCK];
} largest_reads;

LM_INLINE int32_t integer_at(const lm_read_type type, const void *from, size_t x)
{
    return type == LM_READ_INT32 ? ((const int32_t *)from)[x] : ((const uint16_t *)from)[x];
}

LM_INLINE double value_at(const lm_read_type type, const void *from, size_t x)
{
    return type == LM_READ_FLOAT32 ? (double)((const float *)from)[x] : (double)integer_at(type, from, x);
}

LM_INLINE void keep_largest(const few_reads *r, const lm_read_type type, const size_t n_reads,
                            largest_reads *restrict largest)
{
    if (type == LM_READ_FLOAT32)
        for (size_t x = 0; x < LM_BLOCK; x++) {
            float most = largest->number[x];
            for (size_t g = 0; g < n_reads; g++) {
                const float number = ((const float *)r->from[g])[x];
                most = number > most ? number : most;
            }
            largest->number[x] = most;
        }
    else
        for (size_t x = 0; x < LM_BLOCK; x++) {
            int32_t most = largest->integer[x];
            for (size_t g = 0; g < n_reads; g++) {
                const int32_t number = integer_at(type, r->from[g], x);
                most = number > most ? number : most;
            }
            largest->integer[x] = most;
        }
}

/* With `n` coefficients, as polynomial_known of readout_chunk.c. */
LM_INLINE void add_values(const few_reads *r, const lm_read_type type, const size_t n_reads, const size_t n,
                          double *restrict a, double *restrict b)
{
    for (size_t x = 0; x < LM_BLOCK; x++) {
        double counts = a[x], moment = b[x];
        for (size_t g = 0; g < n_reads; g++) {
            double value = value_at(type, r->from[g], x);
            if (n) {
                double y = (double)r->coeffs[(n - 1) * r->coeff_stride + x];
                for (size_t j = n - 1; j-- > 0;)
                    y = y * value + (double)r->coeffs[j * r->coeff_stride + x];
                value = r->is_gain ? value + value * y : y;
            }
            counts += value;
            moment += value * r->time[g];
        }
        a[x] = counts;
        b[x] = moment;
    }
}

LM_INLINE void add_reads(const few_reads *r, const lm_read_type type, const size_t n_reads, const size_t n,
                         largest_reads *largest, double *a, double *b)
{
    keep_largest(r, type, n_reads, largest);
    add_values(r, type, n_reads, n, a, b);
}

LM_INLINE void begin_sums(const lm_read_type type, largest_reads *restrict largest, double *restrict a,
                          double *restrict b)
{
    for (size_t x = 0; x < LM_BLOCK; x++) {
        a[x] = b[x] = -0.0; /* the one number that leaves every other as it is, -0 too */
        if (type == LM_READ_FLOAT32)
            largest->number[x] = -INFINITY;
        else
            largest->integer[x] = INT32_MIN;
    }
}

/* Mark the odd pixels, if there are any. Reads that are no number, or beyond all, leave a sum that is none. */
LM_INLINE void mark_odd(const lm_read_type type, const largest_reads *largest, const float *restrict limit,
                        const double *restrict a, int is_always_number, uint8_t *restrict is_odd)
{
    int32_t any = 0;
    for (size_t x = 0; x < LM_BLOCK; x++)
        any |= (type == LM_READ_FLOAT32 ? largest->number[x] : (float)largest->integer[x]) >= limit[x];
    for (size_t x = 0; !is_always_number && x < LM_BLOCK; x++) {
        const double nothing = a[x] - a[x];
        any |= nothing != nothing;
    }
    for (size_t x = 0; any && x < LM_BLOCK; x++) {
        const float most = type == LM_READ_FLOAT32 ? largest->number[x] : (float)largest->integer[x];
        const double nothing = a[x] - a[x];
        is_odd[x] |= (most >= limit[x]) | (nothing != nothing);
    }
}

/* Sum a block, and mark its odd pixels. The same block of the next chunk is asked for meanwhile:
 * the processor does not foresee where so many reads go on. */
LM_INLINE void sum_block(const lm_read_sequence *reads, size_t pixel, const lm_read_type type, const size_t n,
                         few_reads *r, const float *limit, double *a, double *b, uint8_t *is_odd)
{
    const size_t size = type == LM_READ_UINT16 ? 2 : 4;
    const char *from = reads->first + pixel * size;
    largest_reads largest;
    begin_sums(type, &largest, a, b);
    lm_fetch_block(limit + LM_CHUNK, sizeof *limit);
    for (size_t g = 0, now; g < reads->n_reads; g += now) {
        const size_t left = reads->n_reads - g;
        now = left >= 4 ? 4 : left >= 2 ? 2 : 1;
        for (size_t k = 0; k < now; k++, from += reads->stride) {
            r->from[k] = from;
            r->time[k] = reads->times[g + k];
            lm_fetch_block(from + LM_CHUNK * size, size);
        }
        switch (now) {
        case 4: add_reads(r, type, 4, n, &largest, a, b); break;
        case 2: add_reads(r, type, 2, n, &largest, a, b); break;
        default: add_reads(r, type, 1, n, &largest, a, b); break;
        }
    }
    mark_odd(type, &largest, limit, a, !n && type != LM_READ_FLOAT32, is_odd);
}

/* What is the same for all blocks of a chunk. */
typedef struct {
    const lm_readout_parameters *parameters;
    const lm_read_sequence *reads;
    const float *limit;
    size_t pixel, count;
    double *a, *b;
} chunk_sums;

LM_INLINE int sum_blocks(const chunk_sums *c, const lm_read_type type, const size_t n, uint8_t *is_odd)
{
    const lm_readout_parameters *p = c->parameters;
    few_reads r = {.coeff_stride = p->coeff_stride, .is_gain = p->form == LM_GAIN_POLYNOMIAL};
    for (size_t x = 0; x + LM_BLOCK <= c->count; x += LM_BLOCK) {
        r.coeffs = n ? p->coeffs + c->pixel + x : NULL;
        sum_block(c->reads, x, type, n, &r, c->limit + x, c->a + x, c->b + x, is_odd + x);
    }
    return 1;
}

/* Numbers of coefficients the compiler knows stay in registers, see linearity.c. */
#define SUM_OF_TYPE(name, type)                                                                \
    LM_CLONES static int name(const chunk_sums *c, size_t n_coeffs, uint8_t *is_odd)           \
    {                                                                                          \
        switch (n_coeffs) {                                                                    \
        case 0: return sum_blocks(c, type, 0, is_odd);                                         \
        case 3: return sum_blocks(c, type, 3, is_odd);                                         \
        case 4: return sum_blocks(c, type, 4, is_odd);                                         \
        case 5: return sum_blocks(c, type, 5, is_odd);                                         \
        case 6: return sum_blocks(c, type, 6, is_odd);                                         \
        default: return 0;                                                                     \
        }                                                                                      \
    }
SUM_OF_TYPE(sum_int32, LM_READ_INT32)
SUM_OF_TYPE(sum_uint16, LM_READ_UINT16)
SUM_OF_TYPE(sum_float32, LM_READ_FLOAT32)

int lm_chunk_sums(const lm_readout_parameters *p, const lm_read_sequence *reads, const float *limit, size_t pixel,
                  double *a, double *b, uint8_t *is_odd, size_t count)
{
    const chunk_sums c = {.parameters = p, .reads = reads, .limit = limit, .pixel = pixel, .count = count, .a = a, .b = b};
    const size_t n_coeffs = p->coeffs ? p->n_coeffs : 0;
    switch (p->type) {
    case LM_READ_INT32: return sum_int32(&c, n_coeffs, is_odd);
    case LM_READ_UINT16: return sum_uint16(&c, n_coeffs, is_odd);
    default: return sum_float32(&c, n_coeffs, is_odd);
    }
}
