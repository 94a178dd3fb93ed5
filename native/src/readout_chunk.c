#include "readout_chunk.h"

#include <math.h>
#include <string.h>

#include "clones.h"
#include "lanes.h"
#include "lightmill/ramp_fit.h" /* LM_NO_GAIN_VALUE */

/* The same loop for each type of read. */
#define FOR_TYPE(type, call)                                       \
    switch (type) {                                                \
    case LM_READ_INT32: call(const int32_t *); break;              \
    case LM_READ_UINT16: call(const uint16_t *); break;            \
    default: call(const float *); break;                           \
    }

/* ---- values --------------------------------------------------------------------------------- */

LM_CLONES static void values_of(lm_read_type type, const void *read, double *restrict values, size_t count)
{
#define CALL(pointer)                                          \
    {                                                          \
        pointer restrict from = read;                          \
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
    values_of(p->type, read, values, count);
    if (p->coeffs)
        polynomial(p->coeffs + pixel, p->coeff_stride, p->n_coeffs, p->form == LM_GAIN_POLYNOMIAL, values, count);
}

/* ---- what a read is to each pixel ------------------------------------------------------------ */

LM_CLONES static int any_full(lm_read_type type, const void *read, const float *restrict limit, float level,
                              size_t count)
{
    int32_t any = 0;
#define CALL(pointer)                                                                        \
    {                                                                                        \
        pointer restrict from = read;                                                        \
        if (limit)                                                                           \
            for (size_t x = 0; x < count; x++)                                               \
                any |= (float)from[x] >= limit[x];                                           \
        else                                                                                 \
            for (size_t x = 0; x < count; x++)                                               \
                any |= (float)from[x] >= level;                                              \
    }
    FOR_TYPE(type, CALL)
#undef CALL
    return any;
}

LM_CLONES static void mark_full(lm_read_type type, const void *read, const float *restrict limit, float level,
                                uint8_t *restrict kinds, size_t count)
{
#define CALL(pointer)                                                                                      \
    {                                                                                                      \
        pointer restrict from = read;                                                                      \
        for (size_t x = 0; x < count; x++)                                                                 \
            kinds[x] = (float)from[x] >= (limit ? limit[x] : level) ? (uint8_t)LM_READ_FULL : kinds[x];    \
    }
    FOR_TYPE(type, CALL)
#undef CALL
}

LM_CLONES static uint8_t any_flag(const uint8_t *restrict flags, size_t count)
{
    uint8_t any = 0;
    for (size_t x = 0; x < count; x++)
        any |= flags[x];
    return any;
}

/* Values that are no numbers are not used. Infinity less itself is no number either. */
LM_CLONES static int any_unknown(const double *restrict values, size_t count)
{
    int64_t any = 0;
    for (size_t x = 0; x < count; x++) {
        const double nothing = values[x] - values[x];
        any |= nothing != nothing;
    }
    return any != 0;
}

/* Kinds of the reads, without saturation; the flags' order of precedence is that of lm_readout_add. */
static void kinds_of(const uint8_t *read_dq, const double *values, uint8_t *kinds, size_t count)
{
    memset(kinds, LM_READ_GOOD, count);
    for (size_t x = 0; x < count; x++) {
        const uint8_t dq = read_dq ? read_dq[x] : 0;
        const int is_missing = (dq & LM_DO_NOT_USE) || !isfinite(values[x]);
        if (dq & LM_SATURATED)
            kinds[x] = LM_READ_FULL;
        else if (is_missing)
            kinds[x] = dq & LM_JUMP_DET ? LM_READ_LEAPT : LM_READ_MISSING;
        else if (dq & LM_JUMP_DET)
            kinds[x] = LM_READ_JUMPED;
    }
}

/* ---- sums ------------------------------------------------------------------------------------ */

LM_CLONES static void add_slope(lm_read_type type, const void *read, double *restrict mean, double *restrict products,
                                double share, double factor, size_t count)
{
#define CALL(pointer)                                          \
    {                                                          \
        pointer restrict from = read;                          \
        for (size_t x = 0; x < count; x++) {                   \
            const double d = (double)from[x] - mean[x];        \
            mean[x] += d * share;                              \
            products[x] += d * factor;                         \
        }                                                      \
    }
    FOR_TYPE(type, CALL)
#undef CALL
}

LM_CLONES static void add_slope_values(const double *restrict values, double *restrict mean,
                                       double *restrict products, double share, double factor, size_t count)
{
    for (size_t x = 0; x < count; x++) {
        const double d = values[x] - mean[x];
        mean[x] += d * share;
        products[x] += d * factor;
    }
}

/* The pixels whose `is_other` is not 0 stay as they are. */
LM_CLONES static void add_slope_some(const double *restrict values, double *restrict mean, double *restrict products,
                                     double share, double factor, const uint8_t *restrict is_other, size_t count)
{
    for (size_t x = 0; x < count; x++) {
        const double d = values[x] - mean[x];
        mean[x] = is_other[x] ? mean[x] : mean[x] + d * share;
        products[x] = is_other[x] ? products[x] : products[x] + d * factor;
    }
}

LM_CLONES static void add_to_first(const double *restrict values, double *restrict first, double *restrict last,
                                   const uint8_t *restrict is_other, size_t count)
{
    if (!is_other)
        for (size_t x = 0; x < count; x++) {
            first[x] += values[x];
            last[x] = values[x];
        }
    else
        for (size_t x = 0; x < count; x++) {
            first[x] = is_other[x] ? first[x] : first[x] + values[x];
            last[x] = is_other[x] ? last[x] : values[x];
        }
}

LM_CLONES static void add_to_last(const double *restrict values, double *restrict last, int keep,
                                  const uint8_t *restrict is_other, size_t count)
{
    if (!is_other && keep)
        for (size_t x = 0; x < count; x++)
            last[x] += values[x];
    else if (!is_other)
        memcpy(last, values, count * sizeof *last);
    else
        for (size_t x = 0; x < count; x++) {
            const double sum = keep ? last[x] + values[x] : values[x];
            last[x] = is_other[x] ? last[x] : sum;
        }
}

/* The read of the pixels of history 0. */
static void add_common(const lm_histories *h, const lm_chunk *chunk, const double *values, const uint8_t *is_other,
                       size_t count)
{
    const lm_history *now = &h->now[0];
    if (h->sampling == LM_FOWLER && h->phase == LM_FIRST_GROUP)
        add_to_first(values, chunk->a, chunk->b, is_other, count);
    else if (h->sampling == LM_FOWLER)
        add_to_last(values, chunk->b, now->keep_last > 0, is_other, count);
    else if (is_other)
        add_slope_some(values, chunk->a, chunk->b, now->share, now->factor, is_other, count);
    else
        add_slope_values(values, chunk->a, chunk->b, now->share, now->factor, count);
}

/* The read of one pixel of any history; the same arithmetic. */
static void add_single(const lm_histories *h, const lm_history *now, double value, double *a, double *b)
{
    if (h->sampling == LM_UP_THE_RAMP) {
        const double d = value - *a;
        *a += d * now->share;
        *b += d * now->factor;
    } else if (h->phase == LM_FIRST_GROUP) {
        *a = now->keep_first > 0 ? *a + value : value;
        *b = value;
    } else {
        *b = now->keep_last > 0 ? *b + value : value;
    }
}

/* A chunk in which some pixel has lost, or now loses, a read: all others in step, then those. */
static void add_mixed(const lm_readout_parameters *p, lm_histories *h, const lm_chunk *chunk, const void *read,
                      const uint8_t *read_dq, const double *values, int is_full, size_t pixel, size_t count)
{
    uint8_t kinds[LM_CHUNK], is_other[LM_CHUNK];
    kinds_of(read_dq, values, kinds, count);
    if (is_full)
        mark_full(p->type, read, p->saturation ? p->saturation + pixel : NULL, p->saturation_level, kinds, count);
    for (size_t x = 0; x < count; x++)
        is_other[x] = kinds[x] != LM_READ_GOOD || chunk->history[x] != 0;
    add_common(h, chunk, values, is_other, count);
    uint16_t any = 0;
    for (size_t x = 0; x < count; x++) {
        if (!is_other[x])
            continue;
        const lm_read_kind kind = (lm_read_kind)kinds[x];
        const uint16_t to = lm_history_after(h, chunk->history[x], kind);
        if (lm_history_takes(h, to, kind))
            add_single(h, &h->now[to], values[x], &chunk->a[x], &chunk->b[x]);
        chunk->history[x] = to;
        any |= to;
    }
    *chunk->is_mixed |= any != 0;
}

static int is_plain(const double *values, const lm_readout_parameters *p, const void *read, size_t count)
{
    if (values)
        return !any_unknown(values, count);
    (void)read;
    return p->type != LM_READ_FLOAT32;
}

void lm_chunk_add(const lm_readout_parameters *p, lm_histories *h, const lm_chunk *chunk, const void *read,
                  const uint8_t *read_dq, size_t pixel, size_t count)
{
    double values[LM_CHUNK];
    const int has_limit = p->saturation || p->saturation_level > 0;
    const int is_full = has_limit && any_full(p->type, read, p->saturation ? p->saturation + pixel : NULL,
                                              p->saturation_level, count);
    int is_clean = !is_full && !*chunk->is_mixed;
    if (is_clean && read_dq)
        is_clean = !(any_flag(read_dq, count) & (LM_DO_NOT_USE | LM_JUMP_DET | LM_SATURATED));
    const int needs_values = p->coeffs || p->type == LM_READ_FLOAT32 || !is_clean || h->sampling == LM_FOWLER;
    if (needs_values)
        lm_chunk_values(p, read, pixel, values, count);
    if (is_clean && is_plain(needs_values ? values : NULL, p, read, count)) {
        if (needs_values)
            add_common(h, chunk, values, NULL, count);
        else
            add_slope(p->type, read, chunk->a, chunk->b, h->now[0].share, h->now[0].factor, count);
        return;
    }
    add_mixed(p, h, chunk, read, read_dq, values, is_full, pixel, count);
}

void lm_chunk_clear(const lm_chunk *chunk, size_t count)
{
    memset(chunk->a, 0, count * sizeof *chunk->a);
    memset(chunk->b, 0, count * sizeof *chunk->b);
    memset(chunk->history, 0, count * sizeof *chunk->history);
    *chunk->is_mixed = 0;
}

/* ---- frames ---------------------------------------------------------------------------------- */

/* Numerators, weights and variance factors of a chunk, pixel by pixel. */
typedef struct {
    double numerator[LM_CHUNK], weight[LM_CHUNK], read[LM_CHUNK], poisson[LM_CHUNK];
    uint32_t dq[LM_CHUNK];
} gathered;

static void gather(const lm_histories *h, const lm_chunk *chunk, gathered *g, size_t count)
{
    const int is_mixed = *chunk->is_mixed;
    for (size_t x = 0; x < count; x++) {
        const lm_estimate *e = lm_estimate_of(h, is_mixed ? chunk->history[x] : 0);
        g->numerator[x] = e->of_b * chunk->b[x] + (e->of_a < 0 ? e->of_a * chunk->a[x] : 0);
        g->weight[x] = e->weight;
        g->read[x] = e->read;
        g->poisson[x] = e->poisson;
        g->dq[x] = e->dq;
    }
}

void lm_chunk_fold(const lm_histories *h, const lm_chunk *chunk, const lm_coadd *coadd, size_t count)
{
    gathered g;
    gather(h, chunk, &g, count);
    for (size_t x = 0; x < count; x++) {
        coadd->numerator[x] += g.numerator[x];
        coadd->weight[x] += (float)g.weight[x];
        coadd->read[x] += (float)g.read[x];
        coadd->poisson[x] += (float)g.poisson[x];
        coadd->dq[x] |= (uint8_t)g.dq[x];
    }
}

static void join_coadd(const lm_coadd *coadd, gathered *g, size_t count)
{
    for (size_t x = 0; x < count; x++) {
        g->numerator[x] += coadd->numerator[x];
        g->weight[x] += (double)coadd->weight[x];
        g->read[x] += (double)coadd->read[x];
        g->poisson[x] += (double)coadd->poisson[x];
        g->dq[x] |= coadd->dq[x];
    }
}

/* Rows of a chunk: where to write, scratch where the caller does not ask, and the noise of its pixels. */
typedef struct {
    float signal[LM_CHUNK], var_poisson[LM_CHUNK], var_rnoise[LM_CHUNK], gain[LM_CHUNK], noise[LM_CHUNK];
    uint32_t dq[LM_CHUNK];
} scratch_rows;

typedef struct {
    float *signal, *var_poisson, *var_rnoise;
    uint32_t *dq;
    const float *gain, *noise;
} frame_rows;

static const float *row_of(const float *plane, float value, size_t pixel, float *row, size_t count)
{
    if (plane)
        return plane + pixel;
    for (size_t x = 0; x < count; x++)
        row[x] = value;
    return row;
}

static frame_rows rows_of(const lm_readout_parameters *p, const lm_frame_planes *planes, scratch_rows *scratch,
                          size_t pixel, size_t count)
{
    return (frame_rows){
        .signal = planes->signal ? planes->signal + pixel : scratch->signal,
        .var_poisson = planes->var_poisson ? planes->var_poisson + pixel : scratch->var_poisson,
        .var_rnoise = planes->var_rnoise ? planes->var_rnoise + pixel : scratch->var_rnoise,
        .dq = planes->dq ? planes->dq + pixel : scratch->dq,
        .gain = row_of(p->gain, p->gain_value > 0 ? p->gain_value : 1, pixel, scratch->gain, count),
        .noise = row_of(p->readnoise, p->readnoise_value, pixel, scratch->noise, count)};
}

LM_INLINE void write_pixel(const frame_rows *r, size_t x, double rate, double poisson, double read, double scale)
{
    const float gain = r->gain[x], noise = r->noise[x];
    const float electrons = (float)((rate > 0 ? rate : 0) * poisson);
    r->signal[x] = (float)(rate * scale);
    r->var_poisson[x] = gain > 0 ? electrons / gain : NAN;
    r->var_rnoise[x] = (float)((double)(noise * noise) * read);
    r->dq[x] = gain > 0 ? 0 : LM_NO_GAIN_VALUE;
}

/* All pixels have the estimate `e`; `a` is NULL if it has no part in it. */
LM_CLONES static void write_common(const frame_rows *rows, const lm_estimate *e, const double *a, const double *b,
                                   double scale, size_t count)
{
    const frame_rows r = *rows;
    const double per_weight = 1 / e->weight, squared = scale * scale * per_weight * per_weight;
    const double poisson = e->poisson * squared, read = e->read * squared, of_a = e->of_a, of_b = e->of_b;
    if (a) {
        LM_NO_OVERLAP
        for (size_t x = 0; x < count; x++)
            write_pixel(&r, x, (of_b * b[x] + of_a * a[x]) * per_weight, poisson, read, scale);
    } else {
        LM_NO_OVERLAP
        for (size_t x = 0; x < count; x++)
            write_pixel(&r, x, of_b * b[x] * per_weight, poisson, read, scale);
    }
}

LM_CLONES static void write_gathered(const frame_rows *rows, const gathered *g, double scale, size_t count)
{
    const frame_rows r = *rows;
    LM_NO_OVERLAP
    for (size_t x = 0; x < count; x++) {
        const int is_known = g->weight[x] > 0;
        const double per_weight = is_known ? 1 / g->weight[x] : 0, squared = scale * scale * per_weight * per_weight;
        write_pixel(&r, x, g->numerator[x] * per_weight, g->poisson[x] * squared, g->read[x] * squared, scale);
        r.signal[x] = is_known ? r.signal[x] : NAN;
        r.dq[x] |= g->dq[x] | (is_known ? 0u : (uint32_t)LM_DO_NOT_USE);
    }
}

/* Groups that are the same reads: nothing between them, and no rate. */
static void write_nothing(const frame_rows *r, lm_readout_unit unit, size_t count)
{
    for (size_t x = 0; x < count; x++) {
        r->signal[x] = unit == LM_COUNTS ? 0 : NAN;
        r->var_poisson[x] = r->var_rnoise[x] = 0;
        r->dq[x] = unit == LM_COUNTS ? 0 : LM_DO_NOT_USE;
    }
}

LM_CLONES static void join_dq(uint32_t *restrict dq, const uint32_t *restrict more, size_t count)
{
    for (size_t x = 0; x < count; x++)
        dq[x] |= more[x];
}

void lm_chunk_frame(const lm_readout_parameters *p, const lm_histories *h, const lm_chunk *chunk,
                    const lm_coadd *coadd, double span, const lm_frame_planes *planes, size_t pixel, size_t count)
{
    scratch_rows scratch;
    gathered g;
    const double scale = p->unit == LM_COUNTS ? span : 1;
    const frame_rows rows = rows_of(p, planes, &scratch, pixel, count);
    const lm_estimate *common = &h->estimates[0];
    if (h->sampling == LM_FOWLER && !h->n_group) {
        write_nothing(&rows, p->unit, count);
    } else if (!coadd->numerator && !*chunk->is_mixed && common->weight > 0 && !common->dq) {
        write_common(&rows, common, common->of_a < 0 ? chunk->a : NULL, chunk->b, scale, count);
    } else {
        gather(h, chunk, &g, count);
        if (coadd->numerator)
            join_coadd(coadd, &g, count);
        write_gathered(&rows, &g, scale, count);
    }
    if (p->pixeldq && planes->dq)
        join_dq(rows.dq, p->pixeldq + pixel, count);
}
