/* Whole ramps at once: the sums of some pixels at a time are made from all reads in one pass. Pixels of
 * which a read is odd are then carried through the reads one by one, as in the stream. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lightmill/readout.h"
#include "pool.h"
#include "readout_check.h"
#include "readout_chunk.h"
#include "readout_sums.h"
#include "shape.h"

enum { LINE = 64, CHUNKS_OF_A_PART = 16, MANY_OF_A_BLOCK = 8 /* odd pixels: all in step are then quicker */ };

/* What a thread needs to itself. */
typedef struct {
    lm_histories histories;
    _Alignas(64) double a[LM_CHUNK + 24]; /* an unaligned row takes two lines for every register */
    double b[LM_CHUNK], numerator[LM_CHUNK], unused[LM_CHUNK];
    float weight[LM_CHUNK], read[LM_CHUNK], poisson[LM_CHUNK];
    uint16_t history[LM_CHUNK];
    uint8_t dq[LM_CHUNK], is_mixed[LM_CHUNK / LM_BLOCK];
    int is_at_end; /* the histories are those of a whole ramp of which no pixel lost a read */
} bench;

typedef struct {
    const lm_readout_parameters *parameters;
    const char *reads;
    const lm_shape *shape, *dq_shape;
    const double *times;
    double *since; /* the first read */
    const uint8_t *read_dq;
    const lm_frame_planes *planes;
    bench *benches;
    size_t n_pixels, n_chunks, n_head; /* pixels before those that begin with a line of the cache */
    float *linear;
    size_t stride;
} job;

/* Whether the frame could depend on the present read: between Fowler groups only a flagged jump counts. */
static int matters(const job *j, const lm_histories *h)
{
    return h->sampling != LM_FOWLER || h->phase != LM_BETWEEN_GROUPS || j->read_dq;
}

/* What of a chunk is not summed in one pass: blocks, and pixels of others. */
typedef struct {
    uint8_t is_odd[LM_CHUNK], which[LM_CHUNK / LM_BLOCK];
    uint16_t pixels[LM_CHUNK];
    size_t n_blocks, n_pixels;
} leftover;

/* Sum whole blocks in one pass over all reads; mark odd pixels, and say whether it could be done. */
static int sum_ramp(const job *j, bench *at, const lm_chunk *chunk, size_t ramp, size_t pixel, uint8_t *is_odd,
                    size_t count)
{
    const lm_readout_parameters *p = j->parameters;
    const size_t size = lm_read_size(p->type), n = j->shape->n_groups, n_group = at->histories.n_group;
    const float *limit = p->saturation ? p->saturation + pixel : at->histories.limit;
    lm_read_sequence reads = {.first = j->reads + (lm_plane(j->shape, ramp, 0) + pixel) * size,
                              .stride = j->shape->group_stride * size, .times = j->since, .n_reads = n};
    for (size_t g = 0; j->read_dq && g < n; g++)
        lm_chunk_flags(j->read_dq + lm_plane(j->dq_shape, ramp, g) + pixel, is_odd, count);
    if (p->sampling == LM_UP_THE_RAMP)
        return lm_chunk_sums(p, &reads, limit, pixel, chunk->a, chunk->b, is_odd, count);
    if (!n_group)
        return 0;
    reads.n_reads = n_group;
    if (!lm_chunk_sums(p, &reads, limit, pixel, chunk->a, at->unused, is_odd, count))
        return 0;
    reads.first += (n - n_group) * reads.stride;
    return lm_chunk_sums(p, &reads, limit, pixel, chunk->b, at->unused, is_odd, count);
}

/* Sort what is left out: blocks of many odd pixels, and that at the end which is no whole one, as they are. */
static void sort_out(leftover *left, int is_summed, size_t count)
{
    for (size_t first = 0; first < count; first += LM_BLOCK) {
        const size_t n_before = left->n_pixels, end = first + LM_BLOCK;
        uint8_t *which = &left->which[first / LM_BLOCK];
        *which = !is_summed || end > count;
        for (size_t x = first; x < end && !*which; x += sizeof(uint64_t)) {
            uint64_t any;
            memcpy(&any, left->is_odd + x, sizeof any);
            for (size_t k = x; any && k < x + sizeof any; k++) {
                left->pixels[left->n_pixels] = (uint16_t)k;
                left->n_pixels += left->is_odd[k] != 0;
            }
        }
        if (left->n_pixels - n_before > MANY_OF_A_BLOCK) {
            *which = 1;
            left->n_pixels = n_before;
        }
        left->n_blocks += *which;
    }
}

static void add_ramp(const job *j, bench *at, const lm_chunk *chunk, size_t ramp, size_t pixel, size_t count)
{
    const size_t size = lm_read_size(j->parameters->type);
    leftover left;
    left.n_blocks = left.n_pixels = 0;
    memset(left.is_odd, 0, sizeof left.is_odd);
    sort_out(&left, sum_ramp(j, at, chunk, ramp, pixel, left.is_odd, count), count);
    const int is_done = !left.n_blocks && !left.n_pixels;
    if (is_done && at->is_at_end)
        return;
    lm_histories_restart(&at->histories);
    for (size_t g = 0; g < j->shape->n_groups; g++) {
        const char *read = j->reads + (lm_plane(j->shape, ramp, g) + pixel) * size;
        const uint8_t *read_dq = j->read_dq ? j->read_dq + lm_plane(j->dq_shape, ramp, g) + pixel : NULL;
        lm_histories_advance(&at->histories, j->times[g]);
        if (is_done || !matters(j, &at->histories))
            continue;
        if (left.n_blocks)
            lm_chunk_add(j->parameters, &at->histories, chunk, read, read_dq, left.which, pixel, count);
        lm_chunk_add_pixels(j->parameters, &at->histories, chunk, read, read_dq, left.pixels, left.n_pixels, pixel);
    }
    lm_histories_estimate(&at->histories);
    at->is_at_end = is_done;
}

static void sample_chunk(const job *j, bench *at, size_t pixel, size_t count)
{
    const lm_chunk chunk = {at->a, at->b, at->history, at->is_mixed};
    const size_t n_ramps = j->shape->n_ints;
    lm_coadd coadd = {0};
    double span = 0;
    if (n_ramps > 1) {
        coadd = (lm_coadd){at->numerator, at->weight, at->read, at->poisson, at->dq};
        memset(at->numerator, 0, sizeof at->numerator);
        memset(at->weight, 0, sizeof at->weight);
        memset(at->read, 0, sizeof at->read);
        memset(at->poisson, 0, sizeof at->poisson);
        memset(at->dq, 0, sizeof at->dq);
    }
    for (size_t i = 0; i < n_ramps; i++) {
        lm_chunk_clear(&chunk, count);
        add_ramp(j, at, &chunk, i, pixel, count);
        span += lm_histories_span(&at->histories, j->parameters->n_fowler);
        if (i + 1 < n_ramps)
            lm_chunk_fold(&at->histories, &chunk, &coadd, count);
    }
    lm_chunk_frame(j->parameters, &at->histories, &chunk, &coadd, span, j->planes, pixel, count);
}

/* Arrays of numpy begin in the middle of a line: registers and writes past the cache would straddle two. The
 * planes of a ramp are nearly always whole lines apart, and lie alike. */
static void divide(job *j)
{
    const size_t size = lm_read_size(j->parameters->type), astray = (size_t)((uintptr_t)j->reads % LINE);
    const size_t head = astray % size ? 0 : (LINE - astray) % LINE / size;
    j->n_head = head < j->n_pixels ? head : 0;
    j->n_chunks = (j->n_head > 0) + (j->n_pixels - j->n_head + LM_CHUNK - 1) / LM_CHUNK;
}

static void sample_part(void *context, size_t part, size_t thread)
{
    const job *j = context;
    const size_t first = part * CHUNKS_OF_A_PART, n_heads = j->n_head > 0;
    for (size_t k = first; k < first + CHUNKS_OF_A_PART && k < j->n_chunks; k++) {
        const size_t pixel = k < n_heads ? 0 : j->n_head + (k - n_heads) * LM_CHUNK;
        const size_t left = k < n_heads ? j->n_head : j->n_pixels - pixel;
        sample_chunk(j, &j->benches[thread], pixel, left < LM_CHUNK ? left : LM_CHUNK);
    }
}

static void linearize_part(void *context, size_t part, size_t thread)
{
    const job *j = context;
    const size_t first = part * CHUNKS_OF_A_PART, size = lm_read_size(j->parameters->type);
    _Alignas(64) double values[LM_CHUNK];
    (void)thread;
    for (size_t k = first; k < first + CHUNKS_OF_A_PART && k < j->n_chunks; k++) {
        const size_t pixel = k * LM_CHUNK, left = j->n_pixels - pixel, count = left < LM_CHUNK ? left : LM_CHUNK;
        for (size_t g = 0; g < j->shape->n_groups; g++) {
            float *to = j->linear + g * j->n_pixels + pixel;
            lm_chunk_values(j->parameters, j->reads + (g * j->stride + pixel) * size, pixel, values, count);
            for (size_t x = 0; x < count; x++)
                to[x] = (float)values[x];
        }
    }
}

static lm_status check(const lm_shape *shape, const double *times, const uint8_t *read_dq, const lm_shape *dq_shape,
                       const lm_readout_parameters *p)
{
    if (!lm_shape_is_sound(shape))
        return LM_BAD_SHAPE;
    if (read_dq && (!lm_shape_is_sound(dq_shape) || !lm_shapes_agree(shape, dq_shape)))
        return LM_BAD_SHAPE;
    for (size_t g = 0; g < shape->n_groups; g++)
        if (!isfinite(times[g]) || (g && !(times[g] > times[g - 1])))
            return LM_BAD_TIME;
    return lm_readout_check(p);
}

static void run(job *j, lm_pool *pool, lm_work work)
{
    lm_pool_run(pool, work, j, (j->n_chunks + CHUNKS_OF_A_PART - 1) / CHUNKS_OF_A_PART);
}

lm_status lm_readout_ramps(const void *reads, const lm_shape *shape, const double *times, const uint8_t *read_dq,
                           const lm_shape *dq_shape, const lm_readout_parameters *parameters,
                           const lm_frame_planes *planes)
{
    lm_readout_parameters p = *parameters;
    p.n_rows = shape->n_rows;
    p.n_cols = shape->n_cols;
    p.n_reads = shape->n_groups;
    p.n_coadds = shape->n_ints;
    const size_t n_threads = p.n_threads ? p.n_threads : 1;
    lm_status status = check(shape, times, read_dq, dq_shape, &p);
    if (status)
        return status;
    job j = {.parameters = &p, .reads = reads, .shape = shape, .dq_shape = dq_shape, .times = times,
             .read_dq = read_dq, .planes = planes, .n_pixels = p.n_rows * p.n_cols};
    divide(&j);
    j.benches = aligned_alloc(_Alignof(bench), n_threads * sizeof *j.benches);
    j.since = malloc(p.n_reads * sizeof *j.since);
    if (!j.benches || !j.since) {
        free(j.benches);
        free(j.since);
        return LM_NO_MEMORY;
    }
    for (size_t g = 0; g < p.n_reads; g++)
        j.since[g] = times[g] - times[0];
    memset(j.benches, 0, n_threads * sizeof *j.benches);
    lm_pool *pool = NULL;
    const size_t enough = LM_CHUNK * p.n_reads + 1, capacity = enough < LM_MAX_HISTORIES ? enough : LM_MAX_HISTORIES;
    for (size_t k = 0; k < n_threads && !status; k++)
        status = lm_histories_open(&j.benches[k].histories, &p, capacity);
    if (!status)
        status = lm_pool_open(&pool, n_threads);
    if (!status)
        run(&j, pool, sample_part);
    lm_pool_close(pool);
    for (size_t k = 0; k < n_threads; k++)
        lm_histories_close(&j.benches[k].histories);
    free(j.benches);
    free(j.since);
    return status;
}

lm_status lm_readout_linearize(const void *reads, size_t n_reads, size_t stride,
                               const lm_readout_parameters *parameters, float *out)
{
    lm_readout_parameters p = *parameters;
    p.sampling = LM_UP_THE_RAMP;
    lm_status status = lm_readout_check(&p);
    if (status)
        return status;
    const size_t n_pixels = p.n_rows * p.n_cols;
    if (!n_reads || (n_reads > 1 && stride < n_pixels) || !p.coeffs)
        return LM_BAD_SHAPE;
    const lm_shape shape = {1, n_reads, p.n_rows, p.n_cols, n_reads * n_pixels, n_pixels};
    job j = {.parameters = &p, .reads = reads, .shape = &shape, .n_pixels = n_pixels, .linear = out,
             .n_chunks = (n_pixels + LM_CHUNK - 1) / LM_CHUNK, .stride = stride};
    lm_pool *pool = NULL;
    status = lm_pool_open(&pool, p.n_threads ? p.n_threads : 1);
    if (!status)
        run(&j, pool, linearize_part);
    lm_pool_close(pool);
    return status;
}
