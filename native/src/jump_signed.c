/* Jump detection with the likelihood of signed differences; see lightmill/jump.h.
 *
 * The differences of a pixel share read noise with their neighbours: after a quiet jump-free ramp the
 * best guess of one difference is not the median of the others, but what generalised least squares
 * makes of them. How far chi^2 drops when a difference is left out is its deviation in sigma,
 * squared, whatever the number of differences and the kind of noise (Brandt 2024, PASP 136, 045005).
 * The median gives the Poisson noise, which cosmic rays must not raise. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LM_REAL float
#define LM_COUNT int32_t
#include "clones.h"
#include "jump_search.h"
#include "networks.h"
#include "tridiagonal.h"

/* All pixels are looked at 64 neighbours at a time. Few have a jump: they wait in a queue until they
 * are a block of their own, and only that is searched until nothing more is found. */
typedef struct {
    chain h;
    float *sorted;  /* [n][LM_LANES] */
    uint8_t *jumps; /* [n][LM_LANES] */
    float used[LM_LANES];
    size_t queue[LM_LANES]; /* pixels */
    size_t n_queued;
} block;

/* Differences in electrons over `time`, zero where one of their groups is no use. */
LM_INLINE void take_difference(const float *restrict now, const float *restrict before,
                               const uint8_t *restrict dq_now, const uint8_t *restrict dq_before,
                               float per_time, float *restrict y, float *restrict mask,
                               float *restrict used)
{
    for (int l = 0; l < LM_LANES; l++) {
        float d = (now[l] - before[l]) * per_time;
        float good = ((dq_now[l] | dq_before[l]) & LM_UNUSABLE) == 0 ? 1 : 0;
        good = fabsf(d) <= 3.402823e38f ? good : 0;
        mask[l] = good;
        y[l] = good > 0 ? d : 0;
        used[l] += good;
    }
}

/* Differences of 64 pixels from `pixel` on, or of the queue. */
LM_INLINE void load_block(jump_search *s, block *b, size_t pixel, int queued,
                          const float *restrict gain)
{
    const lm_shape *a = s->shape, *c = s->dq_shape;
    float electrons[2][LM_LANES];
    uint8_t dq[2][LM_LANES];
    memset(b->used, 0, sizeof b->used);
    for (size_t i = 0; i < a->n_ints; i++)
        for (size_t g = 0; g < a->n_groups; g++) {
            const float *data = s->data + i * a->int_stride + g * a->group_stride;
            const uint8_t *flags = s->groupdq + i * c->int_stride + g * c->group_stride;
            float *restrict now = electrons[g & 1];
            uint8_t *restrict dq_now = dq[g & 1];
            for (size_t l = 0; l < LM_LANES; l++) {
                size_t at = queued ? b->queue[l] : pixel + l;
                now[l] = data[at] * gain[l];
                dq_now[l] = flags[at];
            }
            size_t k = i * s->n_diffs + g - 1;
            if (g > 0)
                take_difference(now, electrons[!(g & 1)], dq_now, dq[!(g & 1)],
                                s->p->diff_times ? 1 / s->p->diff_times[g - 1] : 1, LM_ROW(b->h.y, k),
                                LM_ROW(b->h.mask, k), b->used);
        }
}

LM_INLINE void mark_unused(const float *restrict y, const float *restrict mask, float *restrict sorted)
{
    for (int l = 0; l < LM_LANES; l++) {
        float value = y[l];
        sorted[l] = mask[l] > 0 ? value : HUGE_VALF;
    }
}

LM_INLINE void subtract_median(const float *restrict median, const float *restrict mask,
                               float *restrict y)
{
    for (int l = 0; l < LM_LANES; l++)
        y[l] -= median[l] * mask[l];
}

/* Median of the differences in use; subtracted from them, so that little is left to cancel. */
LM_INLINE void centre(block *b, float *restrict median)
{
    size_t n = b->h.n;
    int32_t fewer = 0;
    for (size_t k = 0; k < n; k++)
        mark_unused(LM_ROW(b->h.y, k), LM_ROW(b->h.mask, k), LM_ROW(b->sorted, k));
    lm_sort_lanes(b->sorted, n);
    for (int l = 0; l < LM_LANES; l++)
        fewer |= b->used[l] < (float)n;
    if (!fewer)
        lm_median_lanes(b->sorted, n, median);
    else
        for (size_t l = 0; l < LM_LANES; l++) {
            size_t m = (size_t)b->used[l];
            const float *column = b->sorted + l;
            median[l] = m == 0  ? 0
                        : m % 2 ? column[m / 2 * LM_LANES]
                                : (column[(m / 2 - 1) * LM_LANES] + column[m / 2 * LM_LANES]) * 0.5f;
        }
    for (size_t k = 0; k < n; k++)
        subtract_median(median, LM_ROW(b->h.mask, k), LM_ROW(b->h.y, k));
}

/* Of two differences left, a cosmic ray can only be the larger. */
static size_t larger_of_two(const chain *h, size_t l)
{
    size_t best = h->n;
    for (size_t k = 0; k < h->n; k++)
        if (LM_ROW(h->mask, k)[l] > 0 && (best == h->n || LM_ROW(h->y, k)[l] > LM_ROW(h->y, best)[l]))
            best = k;
    return best;
}

/* Find the worst difference of every lane that has one beyond the limit. */
LM_INLINE void find_worst(const jump_search *s, block *b, lane_search *found)
{
    float limit[LM_LANES];
    float of_two = s->threshold2[2], of_three = s->threshold2[3], of_more = s->threshold2[4];
    for (int l = 0; l < LM_LANES; l++) {
        float n = b->used[l], of_few = n == 3 ? of_three : n == 2 ? of_two : LM_NO_LIMIT;
        limit[l] = n >= 4 ? of_more : of_few;
    }
    lm_begin_search(&b->h, LM_LANES, limit, found);
    for (size_t k = b->h.n; k-- > 0;)
        if (look_at_one(LM_LANES, k, &b->h, found))
            keep_worst_one(LM_LANES, k, found);
}

/* Leave it out; returns whether there was one. */
LM_INLINE int leave_out_worst(block *b, const lane_search *found)
{
    int any = 0;
    for (size_t l = 0; l < LM_LANES; l++) {
        if (found->worst[l] < 0)
            continue;
        size_t k = b->used[l] > 2 ? (size_t)found->worst[l] : larger_of_two(&b->h, l);
        LM_ROW(b->jumps, k)[l] = 1;
        LM_ROW(b->h.mask, k)[l] = LM_ROW(b->h.y, k)[l] = 0;
        b->used[l]--;
        any = 1;
    }
    return any;
}

/* Load a block and find the noise of its pixels: `poisson` and `read`, electrons squared. */
LM_INLINE void begin_block(jump_search *s, block *b, size_t pixel, int queued, float *restrict poisson,
                           float *restrict read)
{
    float gain[LM_LANES], median[LM_LANES], n_frames = (float)s->p->n_frames;
    for (size_t l = 0; l < LM_LANES; l++) {
        size_t at = queued ? b->queue[l] : pixel + l;
        float noise = s->readnoise[at] * s->gain[at];
        gain[l] = s->gain[at];
        read[l] = noise * noise / n_frames;
    }
    load_block(s, b, pixel, queued, gain);
    centre(b, median);
    for (int l = 0; l < LM_LANES; l++)
        poisson[l] = median[l] > 0 ? median[l] : 0;
}

/* Search the queue. */
LM_CLONES
static void search_queue(jump_search *s, block *b)
{
    float poisson[LM_LANES], read[LM_LANES];
    lane_search found;
    begin_block(s, b, 0, 1, poisson, read);
    memset(b->jumps, 0, b->h.n * LM_LANES);
    do {
        lm_solve(&b->h, LM_LANES, poisson, read);
        find_worst(s, b, &found);
    } while (leave_out_worst(b, &found));
}

/* ---- what may have a jump ------------------------------------------------------------------- */

/* The pixels of a block that have one. */
LM_CLONES
static void look_at_block(jump_search *s, block *b, size_t pixel, uint8_t *suspect)
{
    float poisson[LM_LANES], read[LM_LANES];
    lane_search found;
    begin_block(s, b, pixel, 0, poisson, read);
    lm_solve(&b->h, LM_LANES, poisson, read);
    find_worst(s, b, &found);
    for (int l = 0; l < LM_LANES; l++)
        suspect[l] = found.worst[l] >= 0;
}

/* Differences of some groups of a block: [n][LM_LANES]. */
typedef struct {
    size_t n;
    float *rows;
    float touches[LM_FEW]; /* 1: shares a group with the row before */
} few;

/* Take the differences that some lane can use; mark the lanes that cannot use them all. */
LM_INLINE void take_few(const jump_search *s, size_t pixel, uint8_t flags, few *d,
                        uint8_t *restrict suspect)
{
    const lm_shape *a = s->shape, *c = s->dq_shape;
    const float *restrict gain = s->gain + pixel;
    d->n = 0;
    for (size_t i = 0; i < a->n_ints; i++) {
        const float *data = s->data + i * a->int_stride + pixel;
        const uint8_t *dq = s->groupdq + i * c->int_stride + pixel;
        size_t live = 0; /* groups before this one that some lane can use, without a gap */
        for (size_t g = 0; g < a->n_groups; g++) {
            if (flags & LM_UNUSABLE) {
                const uint8_t *restrict now = dq + g * c->group_stride;
                uint8_t bad[LM_LANES], all = 1;
                for (int l = 0; l < LM_LANES; l++)
                    bad[l] = (now[l] & LM_UNUSABLE) != 0;
                for (int l = 0; l < LM_LANES; l++)
                    all &= bad[l];
                live = all ? 0 : live + 1;
                for (int l = 0; l < LM_LANES && !all; l++)
                    suspect[l] |= bad[l];
            } else {
                live++;
            }
            if (live < 2)
                continue;
            float *restrict row = d->rows + d->n * LM_LANES;
            const float *restrict now = data + g * a->group_stride;
            const float *restrict before = now - a->group_stride;
            d->touches[d->n++] = live > 2;
            for (int l = 0; l < LM_LANES; l++)
                row[l] = now[l] * gain[l] - before[l] * gain[l];
        }
    }
}

/* Leaving one of n differences out can save no more than all of chi^2, which takes half of the work:
 * forward elimination. What is near the limit, for rounding, is suspect too. */
LM_INLINE void screen_few(size_t n, const few *restrict d, const float *restrict gain,
                          const float *restrict readnoise, float n_frames, float limit,
                          int32_t *restrict suspect)
{
    for (int l = 0; l < LM_LANES; l++) {
        float v[LM_FEW], noise = readnoise[l] * gain[l], read = noise * noise / n_frames;
        for (size_t k = 0; k < n; k++)
            v[k] = d->rows[k * LM_LANES + (size_t)l];
        lm_sort_few(v, n);
        float median = lm_median_few(v, n), own = (median > 0 ? median : 0) + read;
        float inverse = 0, x = 0, z = 0, ones = 0, data = 0, chi2 = 0;
        for (size_t k = 0; k < n; k++) {
            float shared = 0.5f * read * d->touches[k];
            float ratio = shared * inverse;
            x = 1 + ratio * x;
            z = d->rows[k * LM_LANES + (size_t)l] - median + ratio * z;
            inverse = 1 / (own - ratio * shared);
            ones += x * x * inverse;
            data += x * z * inverse;
            chi2 += z * z * inverse;
        }
        suspect[l] = !(chi2 - data * data / ones < limit - 1e-5f * chi2);
    }
}

/* Quickly, the pixels of a block that may have a jump, and all that have one. */
LM_CLONES
static void screen_block(jump_search *s, size_t pixel, uint8_t flags, uint8_t *suspect)
{
    few d = {.rows = s->lanes};
    int32_t beyond[LM_LANES];
    memset(suspect, 0, LM_LANES);
    take_few(s, pixel, flags, &d, suspect);
    if (d.n < 2)
        return; /* nothing to compare with */
    float limit = 0.95f * s->threshold2[d.n < 4 ? d.n : 4];
    LM_FOR_FEW(d.n, screen_few, &d, s->gain + pixel, s->readnoise + pixel, (float)s->p->n_frames,
               limit < LM_NO_LIMIT ? limit : LM_NO_LIMIT, beyond)
    for (int l = 0; l < LM_LANES; l++)
        suspect[l] |= (uint8_t)beyond[l];
}

/* ---- all pixels ----------------------------------------------------------------------------- */

static lm_status empty_queue(jump_search *s, block *b)
{
    size_t n = b->n_queued;
    if (!n)
        return LM_OK;
    for (size_t l = n; l < LM_LANES; l++)
        b->queue[l] = b->queue[n - 1];
    b->n_queued = 0;
    search_queue(s, b);
    for (size_t l = 0; l < n; l++) {
        size_t n_hits = 0;
        for (size_t k = 0; k < b->h.n; k++)
            if (LM_ROW(b->jumps, k)[l])
                s->hits[n_hits++] = (uint32_t)k;
        lm_status status = n_hits ? lm_record_jumps(s, b->queue[l], n_hits) : LM_OK;
        if (status)
            return status;
    }
    return LM_OK;
}

static int none_of_eight(const uint8_t *suspect)
{
    uint64_t all;
    memcpy(&all, suspect, sizeof all);
    return !all;
}

static lm_status queue_pixel(jump_search *s, block *b, size_t pixel)
{
    if (s->pixeldq[pixel] & LM_DO_NOT_USE)
        return LM_OK; /* not searched, so that it flags no neighbours */
    b->queue[b->n_queued++] = pixel;
    return b->n_queued == LM_LANES ? empty_queue(s, b) : LM_OK;
}

static void fill_covariance(const jump_search *s, chain *h)
{
    for (size_t k = 0; k < h->n; k++) {
        size_t d = k % s->n_diffs;
        float time = s->p->diff_times ? s->p->diff_times[d] : 1;
        float next = s->p->diff_times && d + 1 < s->n_diffs ? s->p->diff_times[d + 1] : 1;
        /* read variances are of a difference: half of it is the group's that two differences share */
        h->c[k] = (covariance){.own_p = 1 / time, .own_r = 1 / (time * time),
                               .beside_r = d + 1 < s->n_diffs ? -0.5f / (time * next) : 0};
    }
}

lm_status lm_search_signed(jump_search *s)
{
    block b;
    size_t n = s->shape->n_ints * s->n_diffs, rows = n * LM_LANES;
    size_t n_pixels = s->shape->n_rows * s->shape->n_cols;
    float *buffers = aligned_alloc(64, 6 * rows * sizeof *buffers);
    float **buffer[] = {&b.h.y, &b.h.mask, &b.h.inverse, &b.h.ratio, &b.h.x, &b.h.z};
    b.h.n = n;
    b.n_queued = 0;
    b.h.c = malloc(n * sizeof *b.h.c);
    b.sorted = s->lanes;
    b.jumps = malloc(rows);
    lm_status status = buffers && b.h.c && b.jumps ? LM_OK : LM_NO_MEMORY;
    if (!status) {
        for (size_t k = 0; k < 6; k++)
            *buffer[k] = buffers + k * rows;
        fill_covariance(s, &b.h);
    }
    size_t pixel = 0;
    int screened = n <= LM_FEW && !s->p->diff_times;
    for (; pixel + LM_LANES <= n_pixels && !status; pixel += LM_LANES) {
        uint8_t flags = lm_flags_of_block(s, pixel), suspect[LM_LANES];
        if ((flags & LM_JUMP_DET) && (flags & LM_UNUSABLE))
            lm_clean_unusable(s, pixel, LM_LANES);
        if (screened)
            screen_block(s, pixel, flags, suspect);
        else
            look_at_block(s, &b, pixel, suspect);
        for (size_t l = 0; l < LM_LANES && !status; l++) {
            if (l % 8 == 0 && none_of_eight(suspect + l))
                l += 7;
            else if (suspect[l])
                status = queue_pixel(s, &b, pixel + l);
        }
    }
    if (pixel < n_pixels) /* less than a block */
        lm_clean_unusable(s, pixel, n_pixels - pixel);
    for (; pixel < n_pixels && !status; pixel++)
        status = queue_pixel(s, &b, pixel);
    if (!status)
        status = empty_queue(s, &b);
    free(buffers);
    free(b.h.c);
    free(b.jumps);
    return status;
}
