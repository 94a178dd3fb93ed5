/* A read added to the sums of a chunk of pixels. */
#include "readout_chunk.h"

#include <math.h>
#include <string.h>

#include "clones.h"
#include "lanes.h"

/* What a loop reads: raw reads, or values made of them. */
typedef enum { INT32 = LM_READ_INT32, UINT16 = LM_READ_UINT16, FLOAT32 = LM_READ_FLOAT32, FLOAT64 } kind_of_number;

/* `call(pointer type)`, the same for every type. */
#define FOR_TYPE(type, call)                                   \
    switch (type) {                                            \
    case INT32: call(const int32_t *, 1) break;                \
    case UINT16: call(const uint16_t *, 1) break;              \
    case FLOAT32: call(const float *, 0) break;                \
    default: call(const double *, 0) break;                    \
    }

/* ---- values --------------------------------------------------------------------------------- */

LM_CLONES static void values_of(kind_of_number type, const void *numbers, double *restrict values, size_t count)
{
#define CALL(pointer, is_integer)                              \
    {                                                          \
        pointer restrict from = numbers;                       \
        for (size_t x = 0; x < count; x++)                     \
            values[x] = (double)from[x];                       \
    }
    FOR_TYPE(type, CALL)
#undef CALL
}

LM_INLINE void polynomial_known(const float *restrict coeffs, size_t stride, const size_t n, int is_gain,
                                double *restrict values, size_t count)
{
    for (size_t x = 0; x < count; x++) {
        const double counts = values[x];
        double y = (double)coeffs[(n - 1) * stride + x];
        for (size_t j = n - 1; j-- > 0;)
            y = y * counts + (double)coeffs[j * stride + x];
        values[x] = is_gain ? counts + counts * y : y;
    }
}

/* Polynomials of a length the compiler knows stay in registers; see linearity.c. */
LM_CLONES static void polynomial(const float *coeffs, size_t stride, size_t n, int is_gain, double *values,
                                 size_t count)
{
    switch (n) {
    case 3: polynomial_known(coeffs, stride, 3, is_gain, values, count); break;
    case 4: polynomial_known(coeffs, stride, 4, is_gain, values, count); break;
    case 5: polynomial_known(coeffs, stride, 5, is_gain, values, count); break;
    case 6: polynomial_known(coeffs, stride, 6, is_gain, values, count); break;
    default: polynomial_known(coeffs, stride, n, is_gain, values, count); break;
    }
}

void lm_chunk_values(const lm_readout_parameters *p, const void *read, size_t pixel, double *values, size_t count)
{
    values_of((kind_of_number)p->type, read, values, count);
    if (p->coeffs)
        polynomial(p->coeffs + pixel, p->coeff_stride, p->n_coeffs, p->form == LM_GAIN_POLYNOMIAL, values, count);
}

/* ---- what a read is to each pixel ------------------------------------------------------------ */

/* Infinity less itself is no number either. */
LM_INLINE int is_unknown(double value)
{
    const double nothing = value - value;
    return nothing != nothing;
}

/* Mark the blocks in which a raw read reaches its limit. */
LM_CLONES static void test_blocks(kind_of_number type, const void *numbers, const float *restrict limit,
                                  uint8_t *restrict todo, size_t count)
{
#define CALL(pointer, is_integer)                                                             \
    {                                                                                         \
        pointer restrict from = numbers;                                                      \
        for (size_t first = 0; first < count; first += LM_BLOCK) {                            \
            const size_t end = first + LM_BLOCK < count ? first + LM_BLOCK : count;           \
            int32_t any = 0;                                                                  \
            for (size_t x = first; x < end; x++)                                              \
                any |= (float)from[x] >= limit[x];                                            \
            todo[first / LM_BLOCK] |= any != 0;                                               \
        }                                                                                     \
    }
    FOR_TYPE(type, CALL)
#undef CALL
}

/* Kinds of the reads of a block; unknown values become 0. Flags take precedence as lm_readout_add says. */
LM_CLONES static void find_kinds(kind_of_number type, const void *numbers, const float *restrict limit,
                                 const uint8_t *restrict read_dq, double *restrict values, uint8_t *restrict kinds,
                                 size_t count)
{
    for (size_t x = 0; x < count; x++) {
        kinds[x] = is_unknown(values[x]) ? (uint8_t)LM_READ_MISSING : (uint8_t)LM_READ_GOOD;
        values[x] = kinds[x] == LM_READ_GOOD ? values[x] : 0;
    }
    for (size_t x = 0; read_dq && x < count; x++) {
        const uint8_t dq = read_dq[x];
        const int is_missing = (dq & LM_DO_NOT_USE) || kinds[x] == LM_READ_MISSING;
        const int if_jumped = is_missing ? LM_READ_LEAPT : LM_READ_JUMPED;
        const int otherwise = is_missing ? LM_READ_MISSING : LM_READ_GOOD;
        const int kind = dq & LM_JUMP_DET ? if_jumped : otherwise;
        kinds[x] = (uint8_t)(dq & LM_SATURATED ? LM_READ_FULL : kind);
    }
#define CALL(pointer, is_integer)                                                             \
    {                                                                                         \
        pointer restrict from = numbers;                                                      \
        for (size_t x = 0; x < count; x++)                                                    \
            kinds[x] = (float)from[x] >= limit[x] ? (uint8_t)LM_READ_FULL : kinds[x];         \
    }
    FOR_TYPE(type, CALL)
#undef CALL
}

LM_CLONES static void mark_others(const uint8_t *restrict kinds, const uint16_t *restrict history,
                                  uint8_t *restrict is_other, size_t count)
{
    for (size_t x = 0; x < count; x++)
        is_other[x] = (uint8_t)((kinds[x] != LM_READ_GOOD) | (history[x] != 0));
}

LM_INLINE int any_flag(const uint8_t *restrict flags, size_t count)
{
    uint8_t any = 0;
    for (size_t x = 0; x < count; x++)
        any |= flags[x];
    return any & (LM_DO_NOT_USE | LM_JUMP_DET | LM_SATURATED);
}

LM_CLONES static void test_flags(const uint8_t *read_dq, uint8_t *restrict todo, size_t count)
{
    for (size_t x = 0; x < count; x += LM_BLOCK)
        todo[x / LM_BLOCK] |= any_flag(read_dq + x, x + LM_BLOCK < count ? LM_BLOCK : count - x) != 0;
}

LM_CLONES void lm_chunk_flags(const uint8_t *restrict read_dq, uint8_t *restrict is_odd, size_t count)
{
    for (size_t x = 0; x < count; x++)
        is_odd[x] |= read_dq[x] & (LM_DO_NOT_USE | LM_JUMP_DET | LM_SATURATED);
}

/* ---- sums ------------------------------------------------------------------------------------ */

typedef enum { START, SLOPE, FIRST, MORE_FIRST, LAST, MORE_LAST } addition;

/* What a read does to a pixel of some history; START, SLOPE: sums of counts and of counts times `time`, others:
 * sums of the first and of the last group. The first read of a ramp begins the sums, whatever they held. */
LM_INLINE void add_value(addition what, double value, double *a, double *b, double time)
{
    switch (what) {
    case START:
        *a = value;
        *b = value * time; /* 0; written so, lest the loop become calls that clear a block each */
        break;
    case SLOPE:
        *a += value;
        *b += value * time;
        break;
    case FIRST: *a = *b = value; break;
    case MORE_FIRST:
        *a += value;
        *b = value;
        break;
    case LAST: *b = value; break;
    default: *b += value; break;
    }
}

LM_INLINE int is_odd(double value, float raw, float limit, int is_integer)
{
    return is_integer ? raw >= limit : (raw >= limit) | is_unknown(value);
}

/* Add a block unless a read is odd, and say whether one is. The number of pixels is a constant for whole
 * blocks, so that all of the loops is vector code. */
#define ADD_BLOCK(n, is_integer, what)                                                                 \
    {                                                                                                  \
        int32_t any = 0;                                                                               \
        for (size_t x = first; x < first + (n); x++)                                                   \
            any |= is_odd((double)from[x], (float)from[x], limit[x], is_integer);                      \
        todo[first / LM_BLOCK] = any != 0;                                                             \
        if (any)                                                                                       \
            continue;                                                                                  \
        for (size_t x = first; x < first + (n); x++)                                                   \
            add_value(what, (double)from[x], a + x, b + x, time);                                      \
    }

/* Add the blocks that are not marked and in which no read is odd; mark those in which one is. The test and
 * the sums go block by block, so that the memory is read while there is something to compute. */
#define ADD_BLOCKS(pointer, is_integer, what)                                                          \
    {                                                                                                  \
        pointer restrict from = numbers;                                                               \
        for (size_t first = 0; first < count; first += LM_BLOCK) {                                     \
            lm_fetch_block(from + first + LM_CHUNK, sizeof *from);                                     \
            if (todo[first / LM_BLOCK])                                                                \
                continue;                                                                              \
            if (first + LM_BLOCK <= count)                                                             \
                ADD_BLOCK(LM_BLOCK, is_integer, what)                                                  \
            else                                                                                       \
                ADD_BLOCK(count - first, is_integer, what)                                             \
        }                                                                                              \
    }

#define ADDING(name)                                                                                   \
    LM_CLONES static void name(kind_of_number type, const void *numbers, const float *restrict limit,  \
                               double *restrict a, double *restrict b, double time,                    \
                               uint8_t *restrict todo, size_t count)                                   \
    {                                                                                                  \
        FOR_TYPE(type, name##_CALL)                                                                    \
    }

#define add_start_CALL(pointer, is_integer) ADD_BLOCKS(pointer, is_integer, START)
#define add_slope_CALL(pointer, is_integer) ADD_BLOCKS(pointer, is_integer, SLOPE)
#define add_first_CALL(pointer, is_integer) ADD_BLOCKS(pointer, is_integer, FIRST)
#define add_more_first_CALL(pointer, is_integer) ADD_BLOCKS(pointer, is_integer, MORE_FIRST)
#define add_last_CALL(pointer, is_integer) ADD_BLOCKS(pointer, is_integer, LAST)
#define add_more_last_CALL(pointer, is_integer) ADD_BLOCKS(pointer, is_integer, MORE_LAST)
ADDING(add_start)
ADDING(add_slope)
ADDING(add_first)
ADDING(add_more_first)
ADDING(add_last)
ADDING(add_more_last)

/* The read of pixels of history 0. */
static void add_common(const lm_histories *h, const lm_chunk *chunk, kind_of_number type, const void *numbers,
                       const float *limit, uint8_t *todo, size_t count)
{
    const double time = h->last_time - h->first_time;
    const int is_start = h->n_reads == 1, keeps = h->now[0].keep_last > 0;
    void (*add)(kind_of_number, const void *, const float *, double *, double *, double, uint8_t *, size_t);
    if (h->sampling == LM_UP_THE_RAMP)
        add = is_start ? add_start : add_slope;
    else if (h->phase == LM_FIRST_GROUP)
        add = is_start ? add_first : add_more_first;
    else
        add = keeps ? add_more_last : add_last;
    add(type, numbers, limit, chunk->a, chunk->b, time, todo, count);
}

/* The read of one pixel of any history; the first of a ramp begins its sums unless it is an odd one. */
static void add_single(const lm_histories *h, const lm_history *now, int is_start, double value, double *a, double *b)
{
    const double time = h->last_time - h->first_time;
    if (h->sampling == LM_UP_THE_RAMP)
        add_value(is_start ? START : SLOPE, value, a, b, time);
    else if (h->phase == LM_FIRST_GROUP)
        add_value(now->keep_first > 0 ? MORE_FIRST : FIRST, value, a, b, time);
    else
        add_value(now->keep_last > 0 ? MORE_LAST : LAST, value, a, b, time);
}

/* A jump ends a segment: what is left of it is its part of the slope. */
static void close_segment(const lm_history *now, double *a, double *b)
{
    *b -= now->closed_time * *a;
    *a = 0;
}

/* The read of a pixel that has lost, or now loses, a read. */
static void add_other(lm_histories *h, lm_read_kind kind, double value, uint16_t *history, double *a, double *b)
{
    const uint16_t to = lm_history_after(h, *history, kind);
    if (h->sampling == LM_UP_THE_RAMP && (kind == LM_READ_JUMPED || kind == LM_READ_LEAPT) && to != *history &&
        to != LM_LOST)
        close_segment(&h->now[to], a, b);
    if (lm_history_takes(h, to, kind))
        add_single(h, &h->now[to], h->n_reads == 1 && kind == LM_READ_GOOD, value, a, b);
    *history = to;
}

/* A block in which some pixel has lost, or now loses, a read: all in step, then those once more. */
static void add_mixed(lm_histories *h, const lm_chunk *block, const double *values, const uint8_t *kinds,
                      size_t count)
{
    uint8_t is_other[LM_BLOCK], todo = 0, others[LM_BLOCK];
    double a[LM_BLOCK], b[LM_BLOCK];
    size_t n = 0;
    mark_others(kinds, block->history, is_other, count);
    for (size_t x = 0; x < count; x++) {
        others[n] = (uint8_t)x;
        n += is_other[x];
    }
    if (h->n_reads == 1) { /* sums that the first read has not begun yet */
        memset(block->a, 0, count * sizeof *block->a);
        memset(block->b, 0, count * sizeof *block->b);
    }
    memcpy(a, block->a, count * sizeof *a);
    memcpy(b, block->b, count * sizeof *b);
    if (n < count)
        add_common(h, block, FLOAT64, values, h->no_limit, &todo, count);
    uint16_t any = 0;
    for (size_t k = 0; k < n; k++) {
        const size_t x = others[k];
        add_other(h, (lm_read_kind)kinds[x], values[x], &block->history[x], &a[x], &b[x]);
        block->a[x] = a[x];
        block->b[x] = b[x];
        any |= block->history[x];
    }
    *block->is_mixed |= any != 0;
}

void lm_chunk_add(const lm_readout_parameters *p, lm_histories *h, const lm_chunk *chunk, const void *read,
                  const uint8_t *read_dq, const uint8_t *which, size_t pixel, size_t count)
{
    _Alignas(64) double values[LM_CHUNK];
    uint8_t todo[LM_CHUNK / LM_BLOCK], kinds[LM_BLOCK];
    const kind_of_number type = (kind_of_number)p->type;
    const float *limit = p->saturation ? p->saturation + pixel : h->limit;
    memcpy(todo, chunk->is_mixed, sizeof todo);
    for (size_t k = 0; which && k < sizeof todo; k++)
        todo[k] |= !which[k];
    if (read_dq)
        test_flags(read_dq, todo, count);
    if (p->coeffs) {
        lm_chunk_values(p, read, pixel, values, count);
        test_blocks(type, read, limit, todo, count);
        add_common(h, chunk, FLOAT64, values, h->no_limit, todo, count);
    } else {
        add_common(h, chunk, type, read, limit, todo, count);
    }
    for (size_t x = 0; x < count; x += LM_BLOCK) {
        if (!todo[x / LM_BLOCK] || (which && !which[x / LM_BLOCK]))
            continue;
        const size_t n = count - x < LM_BLOCK ? count - x : LM_BLOCK;
        const void *of_block = (const char *)read + x * lm_read_size(p->type);
        if (!p->coeffs)
            values_of(type, of_block, values + x, n);
        find_kinds(type, of_block, limit + x, read_dq ? read_dq + x : NULL, values + x, kinds, n);
        const lm_chunk block = {chunk->a + x, chunk->b + x, chunk->history + x, chunk->is_mixed + x / LM_BLOCK};
        add_mixed(h, &block, values + x, kinds, n);
    }
}

/* What is needed of some pixels, side by side. */
typedef struct {
    union {
        int32_t int32[LM_BLOCK];
        uint16_t uint16[LM_BLOCK];
        float float32[LM_BLOCK];
    } raw;
    _Alignas(64) double values[LM_BLOCK];
    float limit[LM_BLOCK], coeffs[LM_MAX_COEFFS * LM_BLOCK];
    uint8_t dq[LM_BLOCK], kinds[LM_BLOCK];
} few_pixels;

static void gather_pixels(const lm_readout_parameters *p, const void *read, const uint8_t *read_dq, const float *limit,
                          const uint16_t *pixels, size_t n, size_t pixel, few_pixels *few)
{
    const size_t n_coeffs = p->coeffs ? p->n_coeffs : 0;
    for (size_t k = 0; k < n; k++) {
        const size_t x = pixels[k];
        if (p->type == LM_READ_UINT16)
            few->raw.uint16[k] = ((const uint16_t *)read)[x];
        else
            memcpy(&few->raw.int32[k], (const int32_t *)read + x, sizeof few->raw.int32[k]);
        few->limit[k] = limit[x];
        few->dq[k] = read_dq ? read_dq[x] : 0;
        for (size_t j = 0; j < n_coeffs; j++)
            few->coeffs[j * LM_BLOCK + k] = p->coeffs[j * p->coeff_stride + pixel + x];
    }
    values_of((kind_of_number)p->type, &few->raw, few->values, n);
    if (n_coeffs)
        polynomial(few->coeffs, LM_BLOCK, n_coeffs, p->form == LM_GAIN_POLYNOMIAL, few->values, n);
    find_kinds((kind_of_number)p->type, &few->raw, few->limit, few->dq, few->values, few->kinds, n);
}

void lm_chunk_add_pixels(const lm_readout_parameters *p, lm_histories *h, const lm_chunk *chunk, const void *read,
                         const uint8_t *read_dq, const uint16_t *pixels, size_t n, size_t pixel)
{
    const float *limit = p->saturation ? p->saturation + pixel : h->limit;
    few_pixels few;
    for (size_t first = 0; first < n; first += LM_BLOCK) {
        const size_t count = n - first < LM_BLOCK ? n - first : LM_BLOCK;
        gather_pixels(p, read, read_dq, limit, pixels + first, count, pixel, &few);
        for (size_t k = 0; k < count; k++) {
            const size_t x = pixels[first + k];
            if (h->n_reads == 1)
                chunk->a[x] = chunk->b[x] = 0;
            add_other(h, (lm_read_kind)few.kinds[k], few.values[k], &chunk->history[x], &chunk->a[x], &chunk->b[x]);
            chunk->is_mixed[x / LM_BLOCK] |= chunk->history[x] != 0;
        }
    }
}

void lm_chunk_clear(const lm_chunk *chunk, size_t count)
{
    for (size_t x = 0; x < count; x += LM_BLOCK)
        if (chunk->is_mixed[x / LM_BLOCK])
            memset(chunk->history + x, 0, (count - x < LM_BLOCK ? count - x : LM_BLOCK) * sizeof *chunk->history);
    memset(chunk->is_mixed, 0, LM_CHUNK / LM_BLOCK);
}
