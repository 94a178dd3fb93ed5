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
#include "tridiagonal.h"

typedef struct {
    chain h;
    float *sorted;  /* [n][LM_LANES] */
    uint8_t *jumps; /* [n][LM_LANES] */
    float used[LM_LANES];
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

LM_INLINE uint8_t load_block(jump_search *s, block *b, size_t pixel, size_t n_lanes,
                             const float *restrict gain)
{
    const lm_shape *a = s->shape, *c = s->dq_shape;
    float electrons[2][LM_LANES];
    uint8_t dq[2][LM_LANES], all = 0, any[LM_LANES] = {0};
    memset(b->used, 0, sizeof b->used);
    for (size_t i = 0; i < a->n_ints; i++)
        for (size_t g = 0; g < a->n_groups; g++) {
            float *now = electrons[g & 1];
            uint8_t *dq_now = dq[g & 1];
            lm_load_floats(s->data + i * a->int_stride + g * a->group_stride + pixel, n_lanes, now);
            lm_load_bytes(s->groupdq + i * c->int_stride + g * c->group_stride + pixel, n_lanes, dq_now);
            for (int l = 0; l < LM_LANES; l++)
                now[l] *= gain[l];
            for (int l = 0; l < LM_LANES; l++)
                any[l] |= dq_now[l];
            size_t k = i * s->n_diffs + g - 1;
            if (g > 0)
                take_difference(now, electrons[!(g & 1)], dq_now, dq[!(g & 1)],
                                s->p->diff_times ? 1 / s->p->diff_times[g - 1] : 1, LM_ROW(b->h.y, k),
                                LM_ROW(b->h.mask, k), b->used);
        }
    for (int l = 0; l < LM_LANES; l++)
        all |= any[l];
    return all;
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

/* Leave out the worst difference of every lane that has one beyond the limit. */
LM_INLINE int leave_out_worst(const jump_search *s, block *b, const uint8_t *restrict searched)
{
    float limit[LM_LANES];
    float of_two = s->threshold2[2], of_three = s->threshold2[3], of_more = s->threshold2[4];
    lane_search found;
    for (int l = 0; l < LM_LANES; l++) {
        float n = b->used[l], of_few = n == 3 ? of_three : n == 2 ? of_two : LM_NO_LIMIT;
        limit[l] = n >= 4 ? of_more : of_few;
    }
    for (int l = 0; l < LM_LANES; l++)
        limit[l] = searched[l] ? limit[l] : LM_NO_LIMIT;
    lm_begin_search(&b->h, limit, &found);
    for (size_t k = b->h.n; k-- > 0;) {
        if (look_at_one(LM_ROW(b->h.inverse, k), LM_ROW(b->h.ratio, k), LM_ROW(b->h.mask, k),
                        LM_ROW(b->h.x, k), LM_ROW(b->h.z, k), &found))
            keep_worst_one((float)k, &found);
        memcpy(found.next.own, found.now.own, sizeof found.now.own);
    }
    int any = 0;
    for (size_t l = 0; l < LM_LANES; l++) {
        if (found.worst[l] < 0)
            continue;
        size_t k = b->used[l] > 2 ? (size_t)found.worst[l] : larger_of_two(&b->h, l);
        LM_ROW(b->jumps, k)[l] = 1;
        LM_ROW(b->h.mask, k)[l] = LM_ROW(b->h.y, k)[l] = 0;
        b->used[l]--;
        any = 1;
    }
    return any;
}

/* Search a block; returns whether b->jumps has any. */
LM_CLONES
static int search_block(jump_search *s, block *b, size_t pixel, size_t n_lanes)
{
    float gain[LM_LANES], read[LM_LANES], median[LM_LANES], poisson[LM_LANES];
    float n_frames = (float)s->p->n_frames;
    uint8_t searched[LM_LANES] = {0};
    lm_load_floats(s->gain + pixel, n_lanes, gain);
    lm_load_floats(s->readnoise + pixel, n_lanes, read);
    uint8_t flags = load_block(s, b, pixel, n_lanes, gain);
    if ((flags & LM_JUMP_DET) && (flags & LM_UNUSABLE))
        lm_clean_unusable(s, pixel, n_lanes);
    for (size_t l = 0; l < n_lanes; l++)
        searched[l] = !(s->pixeldq[pixel + l] & LM_DO_NOT_USE);
    centre(b, median);
    for (int l = 0; l < LM_LANES; l++) {
        float noise = read[l] * gain[l];
        read[l] = noise * noise / n_frames;
        poisson[l] = median[l] > 0 ? median[l] : 0;
    }
    int any = 0;
    for (;;) {
        lm_solve(&b->h, poisson, read);
        if (!any)
            memset(b->jumps, 0, b->h.n * LM_LANES);
        if (!leave_out_worst(s, b, searched))
            return any;
        any = 1;
    }
}

static lm_status record_lane(jump_search *s, const block *b, size_t lane, size_t pixel)
{
    size_t n_hits = 0;
    for (size_t k = 0; k < b->h.n; k++)
        if (LM_ROW(b->jumps, k)[lane])
            s->hits[n_hits++] = (uint32_t)k;
    return n_hits ? lm_record_jumps(s, pixel + lane, n_hits) : LM_OK;
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
    b.h.c = malloc(n * sizeof *b.h.c);
    b.sorted = s->lanes;
    b.jumps = malloc(rows);
    lm_status status = buffers && b.h.c && b.jumps ? LM_OK : LM_NO_MEMORY;
    if (!status) {
        for (size_t k = 0; k < 6; k++)
            *buffer[k] = buffers + k * rows;
        fill_covariance(s, &b.h);
    }
    for (size_t pixel = 0; pixel < n_pixels && !status; pixel += LM_LANES) {
        size_t n_lanes = n_pixels - pixel < LM_LANES ? n_pixels - pixel : LM_LANES;
        if (!search_block(s, &b, pixel, n_lanes))
            continue;
        for (size_t l = 0; l < n_lanes && !status; l++)
            status = record_lane(s, &b, l, pixel);
    }
    free(buffers);
    free(b.h.c);
    free(b.jumps);
    return status;
}
