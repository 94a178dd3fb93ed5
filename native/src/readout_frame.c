/* The frame that the sums of a chunk of pixels come to. */
#include <math.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "clones.h"
#include "lanes.h"
#include "lightmill/ramp_fit.h" /* LM_NO_GAIN_VALUE */
#include "readout_chunk.h"

enum { CACHED = 1 << 18 }; /* pixels of a frame that a cache may still hold when it is read next */

/* ---- coadds ---------------------------------------------------------------------------------- */

/* Numerators, weights and variance factors, pixel by pixel. */
typedef struct {
    double numerator[LM_CHUNK], weight[LM_CHUNK], read[LM_CHUNK], poisson[LM_CHUNK];
    uint32_t dq[LM_CHUNK];
} gathered;

LM_INLINE double numerator_of(const lm_estimate *e, double a, double b)
{
    const double of_b = e->of_b * b;
    return e->of_a < 0 ? of_b + e->of_a * a : of_b;
}

static void gather(const lm_histories *h, const lm_chunk *chunk, gathered *g, size_t count)
{
    for (size_t x = 0; x < count; x++) {
        const lm_estimate *e = lm_estimate_of(h, chunk->is_mixed[x / LM_BLOCK] ? chunk->history[x] : 0);
        g->numerator[x] = numerator_of(e, chunk->a[x], chunk->b[x]);
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

/* ---- rows ------------------------------------------------------------------------------------ */

/* The frame of a chunk before it is written, and the noise of its pixels. */
typedef struct { /* rows a power of two apart would be taken for one another by the processor */
    float signal[LM_CHUNK + 16], var_poisson[LM_CHUNK + 16], var_rnoise[LM_CHUNK + 16];
    uint32_t dq[LM_CHUNK + 16];
    float per_gain[LM_CHUNK + 16]; /* DN/electron; NaN where it is not known */
    float noise[LM_CHUNK + 16];
} frame_rows;

static void fill_row(const float *plane, float value, size_t pixel, float *row, size_t count)
{
    if (plane)
        memcpy(row, plane + pixel, count * sizeof *row);
    else
        for (size_t x = 0; x < count; x++)
            row[x] = value;
}

/* Once for all where the gain is the same: divisions are slow. */
LM_CLONES static void fill_per_gain(const float *plane, float value, size_t pixel, float *restrict row, size_t count)
{
    const float same = 1 / (value > 0 ? value : 1);
    if (plane)
        for (size_t x = 0; x < count; x++)
            row[x] = plane[pixel + x] > 0 ? 1 / plane[pixel + x] : NAN;
    else
        for (size_t x = 0; x < count; x++)
            row[x] = same;
}

LM_INLINE void write_pixel(frame_rows *r, size_t x, double rate, double poisson, double read, double scale)
{
    const float per_gain = r->per_gain[x], noise = r->noise[x];
    const float electrons = (float)((rate > 0 ? rate : 0) * poisson);
    r->signal[x] = (float)(rate * scale);
    r->var_poisson[x] = electrons * per_gain;
    r->var_rnoise[x] = (float)((double)(noise * noise) * read);
    r->dq[x] = per_gain == per_gain ? 0 : LM_NO_GAIN_VALUE;
}

/* The same for a pixel that may have nothing; every pixel goes through the same arithmetic. */
LM_INLINE void write_known(frame_rows *r, size_t x, double numerator, double weight, double poisson, double read,
                           uint32_t dq, double scale)
{
    const int is_known = weight > 0;
    const double per_weight = is_known ? 1 / weight : 0, squared = scale * scale * per_weight * per_weight;
    write_pixel(r, x, numerator * per_weight, poisson * squared, read * squared, scale);
    r->signal[x] = is_known ? r->signal[x] : NAN;
    r->dq[x] |= dq | (is_known ? 0u : (uint32_t)LM_DO_NOT_USE);
}

/* All pixels have the estimate `e`, which has a weight; `a` is NULL if it has no part in it. */
LM_CLONES static void write_common(frame_rows *restrict r, const lm_estimate *e, const double *restrict a,
                                   const double *restrict b, double scale, size_t count)
{
    const double per_weight = 1 / e->weight, squared = scale * scale * per_weight * per_weight;
    const double poisson = e->poisson * squared, read = e->read * squared, of_a = e->of_a, of_b = e->of_b;
    if (a)
        for (size_t x = 0; x < count; x++)
            write_pixel(r, x, (of_b * b[x] + of_a * a[x]) * per_weight, poisson, read, scale);
    else
        for (size_t x = 0; x < count; x++)
            write_pixel(r, x, of_b * b[x] * per_weight, poisson, read, scale);
}

LM_CLONES static void write_gathered(frame_rows *restrict r, const gathered *restrict g, double scale, size_t count)
{
    for (size_t x = 0; x < count; x++)
        write_known(r, x, g->numerator[x], g->weight[x], g->poisson[x], g->read[x], g->dq[x], scale);
}

static void write_other(frame_rows *r, const lm_histories *h, const lm_chunk *chunk, double scale, size_t x)
{
    const lm_estimate *e = lm_estimate_of(h, chunk->history[x]);
    const double numerator = numerator_of(e, chunk->a[x], chunk->b[x]);
    write_known(r, x, numerator, e->weight, e->poisson, e->read, e->dq, scale);
}

/* Pixels of history 0 in step, then the others. */
static void write_ramp(frame_rows *r, const lm_histories *h, const lm_chunk *chunk, double scale, size_t count)
{
    const lm_estimate *common = &h->estimates[0];
    const int is_known = common->weight > 0;
    if (is_known)
        write_common(r, common, common->of_a < 0 ? chunk->a : NULL, chunk->b, scale, count);
    for (size_t x = 0; x < count; x++)
        if (is_known && !chunk->is_mixed[x / LM_BLOCK])
            x += LM_BLOCK - 1;
        else if (chunk->history[x] || !is_known)
            write_other(r, h, chunk, scale, x);
}

/* Fowler groups that are the same reads have no rate, but nothing is between them. */
static void write_no_counts(frame_rows *r, size_t count)
{
    for (size_t x = 0; x < count; x++) {
        r->signal[x] = 0;
        r->dq[x] &= ~(uint32_t)LM_DO_NOT_USE;
    }
}

LM_CLONES static void join_dq(uint32_t *restrict dq, const uint32_t *restrict more, size_t count)
{
    for (size_t x = 0; x < count; x++)
        dq[x] |= more[x];
}

/* ---- planes ---------------------------------------------------------------------------------- */

/* Copy `count` 32-bit values past the cache: of a large frame nothing is left there when it is wanted, and
 * an ordinary store would read each line first. */
static void copy_past_cache(void *to, const void *from, size_t count)
{
#if defined(__SSE2__)
    char *target = to;
    const char *source = from;
    size_t bytes = count * sizeof(float);
    const size_t misaligned = (size_t)(-(uintptr_t)target) % 16;
    const size_t head = misaligned < bytes ? misaligned : bytes;
    memcpy(target, source, head);
    for (target += head, source += head, bytes -= head; bytes >= 16; target += 16, source += 16, bytes -= 16)
        _mm_stream_si128((__m128i *)(void *)target, _mm_loadu_si128((const __m128i *)(const void *)source));
    memcpy(target, source, bytes);
#else
    memcpy(to, from, count * sizeof(float));
#endif
}

static void copy_row(void *plane, const void *row, size_t pixel, size_t count, int is_large)
{
    if (!plane)
        return;
    if (is_large)
        copy_past_cache((float *)plane + pixel, row, count);
    else
        memcpy((float *)plane + pixel, row, count * sizeof(float));
}

void lm_chunk_frame(const lm_readout_parameters *p, const lm_histories *h, const lm_chunk *chunk,
                    const lm_coadd *coadd, double span, const lm_frame_planes *planes, size_t pixel, size_t count)
{
    _Alignas(64) frame_rows rows;
    const double scale = p->unit == LM_COUNTS ? span : 1;
    fill_per_gain(p->gain, p->gain_value, pixel, rows.per_gain, count);
    fill_row(p->readnoise, p->readnoise_value, pixel, rows.noise, count);
    if (coadd->numerator) {
        gathered g;
        gather(h, chunk, &g, count);
        join_coadd(coadd, &g, count);
        write_gathered(&rows, &g, scale, count);
    } else {
        write_ramp(&rows, h, chunk, scale, count);
    }
    if (h->sampling == LM_FOWLER && !h->n_group && p->unit == LM_COUNTS)
        write_no_counts(&rows, count);
    if (p->pixeldq)
        join_dq(rows.dq, p->pixeldq + pixel, count);
    const int is_large = p->n_rows * p->n_cols > CACHED;
    copy_row(planes->signal, rows.signal, pixel, count, is_large);
    copy_row(planes->var_poisson, rows.var_poisson, pixel, count, is_large);
    copy_row(planes->var_rnoise, rows.var_rnoise, pixel, count, is_large);
    copy_row(planes->dq, rows.dq, pixel, count, is_large);
#if defined(__SSE2__)
    if (is_large)
        _mm_sfence(); /* before another thread may look */
#endif
}
