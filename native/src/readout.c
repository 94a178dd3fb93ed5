/* Reads into frames, one at a time; see lightmill/readout.h. */
#define _GNU_SOURCE /* madvise */
#include "lightmill/readout.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "pool.h"
#include "readout_chunk.h"
#include "readout_check.h"

enum { CHUNKS_OF_A_PART = 16, BLOCKS = LM_CHUNK / LM_BLOCK, HUGE = 2 << 20 };

struct lm_readout {
    lm_readout_parameters parameters;
    size_t n_pixels, n_chunks, n_ramps;
    double span; /* of the ramps folded */
    lm_pool *pool;
    lm_histories histories;
    lm_chunk all; /* planes; is_mixed by chunks */
    lm_coadd coadd;
};

/* One call's work on parts of the frame. */
typedef struct {
    lm_readout *readout;
    const void *read;
    const uint8_t *read_dq;
    const lm_frame_planes *planes;
    double span;
    void (*on_chunk)(const void *task, const lm_chunk *chunk, const lm_coadd *coadd, size_t pixel, size_t count);
} task;

/* ---- memory ---------------------------------------------------------------------------------- */

/* Zeros, on huge pages where the system has them, and really there: no page is found missing later. */
static void *plane_of(size_t bytes)
{
    const size_t whole = (bytes + HUGE - 1) / HUGE * HUGE;
    const size_t align = bytes < HUGE ? 64 : HUGE;
    void *plane = aligned_alloc(align, bytes < HUGE ? (bytes + 63) / 64 * 64 : whole);
    if (!plane)
        return NULL;
#ifdef MADV_HUGEPAGE
    if (bytes >= HUGE)
        madvise(plane, whole, MADV_HUGEPAGE);
#endif
    memset(plane, 0, bytes);
    return plane;
}

static size_t bytes_of_pixel(const lm_readout_parameters *p)
{
    const size_t sums = 2 * sizeof(double) + sizeof(uint16_t);
    return p->n_coadds > 1 ? sums + sizeof(double) + 3 * sizeof(float) + 1 : sums;
}

size_t lm_readout_bytes(const lm_readout_parameters *parameters)
{
    if (lm_readout_check(parameters))
        return 0;
    const size_t n_pixels = parameters->n_rows * parameters->n_cols;
    return n_pixels * bytes_of_pixel(parameters) + (n_pixels + LM_CHUNK - 1) / LM_CHUNK * BLOCKS + sizeof(lm_readout) +
           lm_histories_bytes(LM_MAX_HISTORIES);
}

static lm_status allocate(lm_readout *r)
{
    const size_t n = r->n_pixels;
    const size_t of_coadd = r->parameters.n_coadds > 1;
    r->all = (lm_chunk){plane_of(n * sizeof(double)), plane_of(n * sizeof(double)), plane_of(n * sizeof(uint16_t)),
                        plane_of(r->n_chunks * BLOCKS)};
    if (of_coadd)
        r->coadd = (lm_coadd){plane_of(n * sizeof(double)), plane_of(n * sizeof(float)), plane_of(n * sizeof(float)),
                              plane_of(n * sizeof(float)), plane_of(n)};
    if (!r->all.a || !r->all.b || !r->all.history || !r->all.is_mixed)
        return LM_NO_MEMORY;
    if (of_coadd && (!r->coadd.numerator || !r->coadd.weight || !r->coadd.read || !r->coadd.poisson || !r->coadd.dq))
        return LM_NO_MEMORY;
    return LM_OK;
}

lm_status lm_readout_begin(const lm_readout_parameters *parameters, lm_readout **readout)
{
    *readout = NULL;
    lm_status status = lm_readout_check(parameters);
    if (status)
        return status;
    lm_readout *r = calloc(1, sizeof *r);
    if (!r)
        return LM_NO_MEMORY;
    r->parameters = *parameters;
    r->n_pixels = parameters->n_rows * parameters->n_cols;
    r->n_chunks = (r->n_pixels + LM_CHUNK - 1) / LM_CHUNK;
    status = lm_histories_open(&r->histories, parameters, LM_MAX_HISTORIES);
    if (!status) {
        if (r->n_pixels > LM_MAX_HISTORIES) /* smaller frames will not need them all */
            lm_histories_touch(&r->histories);
        status = allocate(r);
    }
    if (!status)
        status = lm_pool_open(&r->pool, parameters->n_threads ? parameters->n_threads : 1);
    if (status)
        lm_readout_end(r);
    else
        *readout = r;
    return status;
}

void lm_readout_end(lm_readout *r)
{
    if (!r)
        return;
    lm_pool_close(r->pool);
    lm_histories_close(&r->histories);
    void *planes[] = {r->all.a, r->all.b, r->all.history, r->all.is_mixed, r->coadd.numerator,
                      r->coadd.weight, r->coadd.read, r->coadd.poisson, r->coadd.dq};
    for (size_t k = 0; k < sizeof planes / sizeof *planes; k++)
        free(planes[k]);
    free(r);
}

/* ---- work ------------------------------------------------------------------------------------ */

static void run_part(void *context, size_t part, size_t thread)
{
    const task *t = context;
    const lm_readout *r = t->readout;
    (void)thread;
    const size_t first = part * CHUNKS_OF_A_PART;
    for (size_t k = first; k < first + CHUNKS_OF_A_PART && k < r->n_chunks; k++) {
        const size_t pixel = k * LM_CHUNK, left = r->n_pixels - pixel;
        const lm_chunk chunk = {r->all.a + pixel, r->all.b + pixel, r->all.history + pixel, r->all.is_mixed + k * BLOCKS};
        lm_coadd coadd = {0};
        if (r->coadd.numerator)
            coadd = (lm_coadd){r->coadd.numerator + pixel, r->coadd.weight + pixel, r->coadd.read + pixel,
                               r->coadd.poisson + pixel, r->coadd.dq + pixel};
        t->on_chunk(t, &chunk, &coadd, pixel, left < LM_CHUNK ? left : LM_CHUNK);
    }
}

static void run(task *t)
{
    lm_pool_run(t->readout->pool, run_part, t, (t->readout->n_chunks + CHUNKS_OF_A_PART - 1) / CHUNKS_OF_A_PART);
}

static void add_chunk(const void *context, const lm_chunk *chunk, const lm_coadd *coadd, size_t pixel, size_t count)
{
    const task *t = context;
    const lm_readout_parameters *p = &t->readout->parameters;
    (void)coadd;
    lm_chunk_add(p, &t->readout->histories, chunk, (const char *)t->read + pixel * lm_read_size(p->type),
                 t->read_dq ? t->read_dq + pixel : NULL, NULL, pixel, count);
}

static void frame_chunk(const void *context, const lm_chunk *chunk, const lm_coadd *coadd, size_t pixel, size_t count)
{
    const task *t = context;
    lm_chunk_frame(&t->readout->parameters, &t->readout->histories, chunk, coadd, t->span, t->planes, pixel, count);
}

static void add_and_frame_chunk(const void *context, const lm_chunk *chunk, const lm_coadd *coadd, size_t pixel,
                                size_t count)
{
    add_chunk(context, chunk, coadd, pixel, count);
    frame_chunk(context, chunk, coadd, pixel, count);
}

static void fold_chunk(const void *context, const lm_chunk *chunk, const lm_coadd *coadd, size_t pixel, size_t count)
{
    const task *t = context;
    (void)pixel;
    lm_chunk_fold(&t->readout->histories, chunk, coadd, count);
    lm_chunk_clear(chunk, count);
}

static void clear_chunk(const void *context, const lm_chunk *chunk, const lm_coadd *coadd, size_t pixel, size_t count)
{
    (void)context, (void)pixel;
    lm_chunk_clear(chunk, count);
    if (!coadd->numerator)
        return;
    memset(coadd->numerator, 0, count * sizeof *coadd->numerator);
    memset(coadd->weight, 0, count * sizeof *coadd->weight);
    memset(coadd->read, 0, count * sizeof *coadd->read);
    memset(coadd->poisson, 0, count * sizeof *coadd->poisson);
    memset(coadd->dq, 0, count);
}

/* ---- calls ----------------------------------------------------------------------------------- */

static lm_status advance(lm_readout *r, double time)
{
    lm_histories *h = &r->histories;
    if (h->n_expected && h->n_reads >= h->n_expected)
        return LM_WRONG_STATE;
    if (!isfinite(time) || (h->n_reads && !(time > h->last_time)))
        return LM_BAD_TIME;
    lm_histories_advance(h, time);
    return LM_OK;
}

lm_status lm_readout_add(lm_readout *r, const void *read, double time, const uint8_t *read_dq)
{
    const lm_status status = advance(r, time);
    if (!status)
        run(&(task){.readout = r, .read = read, .read_dq = read_dq, .on_chunk = add_chunk});
    return status;
}

static double span_of(const lm_readout *r)
{
    return r->span + lm_histories_span(&r->histories, r->parameters.n_fowler);
}

lm_status lm_readout_add_and_look(lm_readout *r, const void *read, double time, const uint8_t *read_dq,
                                  const lm_frame_planes *planes)
{
    const lm_status status = advance(r, time);
    if (status)
        return status;
    lm_histories_estimate(&r->histories); /* those that begin with this read are estimated as they begin */
    run(&(task){.readout = r, .read = read, .read_dq = read_dq, .planes = planes, .span = span_of(r),
                .on_chunk = add_and_frame_chunk});
    return LM_OK;
}

lm_status lm_readout_look(lm_readout *r, const lm_frame_planes *planes)
{
    if (!r->histories.n_reads && !r->n_ramps)
        return LM_WRONG_STATE;
    lm_histories_estimate(&r->histories);
    run(&(task){.readout = r, .planes = planes, .span = span_of(r), .on_chunk = frame_chunk});
    return LM_OK;
}

lm_status lm_readout_next_ramp(lm_readout *r)
{
    if (!r->histories.n_reads || r->n_ramps + 1 >= r->parameters.n_coadds)
        return LM_WRONG_STATE;
    lm_histories_estimate(&r->histories);
    r->span = span_of(r);
    r->n_ramps++;
    run(&(task){.readout = r, .on_chunk = fold_chunk});
    lm_histories_restart(&r->histories);
    return LM_OK;
}

lm_status lm_readout_finish(lm_readout *r, const lm_frame_planes *planes)
{
    const lm_status status = lm_readout_look(r, planes);
    if (status)
        return status;
    run(&(task){.readout = r, .on_chunk = clear_chunk});
    lm_histories_restart(&r->histories);
    r->histories.is_full = 0;
    r->span = 0;
    r->n_ramps = 0;
    return LM_OK;
}

void lm_readout_state_of(const lm_readout *r, lm_readout_state *state)
{
    const lm_histories *h = &r->histories;
    *state = (lm_readout_state){.n_reads = h->n_reads, .n_ramps = r->n_ramps + (h->n_reads > 0),
                                .n_histories = h->n, .is_full = h->is_full,
                                .is_complete = h->n_expected ? h->n_reads == h->n_expected : h->n_reads > 0};
}
