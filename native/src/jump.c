/* Two-point-difference jump detection, LM_JUMP_ABSOLUTE, and what follows either search; see
 * lightmill/jump.h.
 *
 * 64 pixels at a time are screened with a sorting network across the lanes: could the largest or
 * smallest difference of this pixel be a jump? Only those that could, and those that miss a
 * group their neighbours have, are then searched one by one. Both paths evaluate the same float
 * expressions, so that the screening never decides differently. */
#include "jump_search.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "clones.h"
#include "networks.h"

enum { CLIP_ROUNDS = 5 };

LM_INLINE float threshold2_for(const jump_search *s, size_t n) { return s->threshold2[n < 4 ? n : 4]; }

/* (deviation / noise)^2; 0 where there is no noise to compare with. */
LM_INLINE float squared_ratio(float deviation, float poisson, float read_variance, float time)
{
    float variance = poisson / time + read_variance / (time * time);
    return variance > 0 ? deviation * deviation / variance : 0;
}

LM_INLINE float larger(float a, float b) { return a > b ? a : b; }

LM_INLINE float time_of(const jump_search *s, uint32_t index)
{
    return s->p->diff_times ? s->p->diff_times[index % s->n_diffs] : 1;
}

/* ---- one pixel ------------------------------------------------------------------------------ */

/* Usable differences of a pixel into s->values and s->which; returns how many. */
static size_t gather(jump_search *s, size_t pixel)
{
    const lm_shape *a = s->shape, *b = s->dq_shape;
    float gain = s->gain[pixel];
    size_t n = 0;
    for (size_t i = 0; i < a->n_ints; i++) {
        const float *data = s->data + i * a->int_stride + pixel;
        const uint8_t *dq = s->groupdq + i * b->int_stride + pixel;
        int before = 0;
        float electrons_before = 0;
        for (size_t g = 0; g < a->n_groups; g++) {
            int good = !(dq[g * b->group_stride] & LM_UNUSABLE);
            float electrons = data[g * a->group_stride] * gain;
            if (good && before) {
                float d = electrons - electrons_before;
                uint32_t index = (uint32_t)(i * s->n_diffs + g - 1);
                if (s->p->diff_times)
                    d /= time_of(s, index);
                if (fabsf(d) <= 3.402823e38f) {
                    s->values[n] = d;
                    s->which[n++] = index;
                }
            }
            before = good;
            electrons_before = electrons;
        }
    }
    return n;
}

static float read_variance_of(const jump_search *s, size_t pixel)
{
    float read = s->readnoise[pixel] * s->gain[pixel];
    return read * read / (float)s->p->n_frames;
}

static size_t find_outliers(jump_search *s, size_t n, float read_variance)
{
    memcpy(s->sorted, s->values, n * sizeof *s->sorted);
    lm_sort_floats(s->sorted, n);
    float median = lm_median_sorted(s->sorted, n);
    size_t n_hits = 0;
    for (size_t k = 0; k < n; k++)
        if (squared_ratio(s->values[k] - median, fabsf(median), read_variance,
                          time_of(s, s->which[k])) > s->threshold2[4])
            s->hits[n_hits++] = s->which[k];
    return n_hits;
}

/* Take value `k` out of values, which and sorted, keeping the order. */
static void take_out(jump_search *s, size_t n, size_t k)
{
    float value = s->values[k];
    size_t at = 0;
    while (s->sorted[at] != value)
        at++;
    memmove(s->sorted + at, s->sorted + at + 1, (n - at - 1) * sizeof *s->sorted);
    memmove(s->values + k, s->values + k + 1, (n - k - 1) * sizeof *s->values);
    memmove(s->which + k, s->which + k + 1, (n - k - 1) * sizeof *s->which);
}

static size_t iterate_absolute(jump_search *s, size_t n, float read_variance)
{
    for (size_t k = 0; k < n; k++)
        s->values[k] = fabsf(s->values[k]);
    memcpy(s->sorted, s->values, n * sizeof *s->sorted);
    lm_sort_floats(s->sorted, n);
    size_t n_hits = 0;
    for (; n >= 2; n--) {
        float median = n == 2 ? s->sorted[0] : lm_median_sorted(s->sorted, n >= 4 ? n - 1 : n);
        float worst_ratio2 = threshold2_for(s, n);
        size_t worst = n;
        for (size_t k = 0; k < n; k++) {
            float ratio2 = squared_ratio(s->values[k] - median, median, read_variance,
                                         time_of(s, s->which[k]));
            if (ratio2 > worst_ratio2) {
                worst_ratio2 = ratio2;
                worst = k;
            }
        }
        if (worst == n)
            break;
        s->hits[n_hits++] = s->which[worst];
        take_out(s, n, worst);
    }
    return n_hits;
}

/* Clip `n` values (s->sorted and s->which hold them in step) at `threshold` times their standard
 * deviation from their median, until nothing more is clipped. */
static size_t clip(jump_search *s, float *values, uint32_t *which, size_t n, size_t n_hits)
{
    for (int round = 0; round < CLIP_ROUNDS && n > 0; round++) {
        memcpy(s->sorted, values, n * sizeof *values);
        lm_sort_floats(s->sorted, n);
        double median = n % 2 ? s->sorted[n / 2]
                              : 0.5 * ((double)s->sorted[n / 2 - 1] + (double)s->sorted[n / 2]);
        double mean = 0, squares = 0;
        for (size_t k = 0; k < n; k++)
            mean += values[k];
        mean /= (double)n;
        for (size_t k = 0; k < n; k++)
            squares += (values[k] - mean) * (values[k] - mean);
        double limit = s->p->rejection_threshold * sqrt(squares / (double)n);
        size_t kept = 0;
        for (size_t k = 0; k < n; k++) {
            if (fabs(values[k] - median) > limit) {
                s->hits[n_hits++] = which[k];
            } else {
                values[kept] = values[k];
                which[kept++] = which[k];
            }
        }
        if (kept == n)
            break;
        n = kept;
    }
    return n_hits;
}

static size_t clip_over_integrations(jump_search *s, size_t n)
{
    if (!s->p->only_use_ints)
        return clip(s, s->values, s->which, n, 0);
    size_t n_hits = 0, room = s->shape->n_ints * s->n_diffs;
    float *column = s->values + room; /* second half of the buffer */
    uint32_t *column_which = s->which + room;
    for (size_t k = 0; k < s->n_diffs; k++) {
        size_t m = 0;
        for (size_t v = 0; v < n; v++)
            if (s->which[v] % s->n_diffs == k) {
                column[m] = s->values[v];
                column_which[m++] = s->which[v];
            }
        n_hits = clip(s, column, column_which, m, n_hits);
    }
    return n_hits;
}

static lm_status remember_spreading(jump_search *s, size_t pixel, size_t plane)
{
    if (s->n_spreading == s->room_spreading) {
        size_t room = s->room_spreading ? 2 * s->room_spreading : 1024;
        spreading_jump *more = realloc(s->spreading, room * sizeof *more);
        if (!more)
            return LM_NO_MEMORY;
        s->spreading = more;
        s->room_spreading = room;
    }
    s->spreading[s->n_spreading++] = (spreading_jump){pixel, pixel / s->shape->n_cols, plane};
    return LM_OK;
}

static uint8_t *group_flag(const jump_search *s, size_t plane, size_t pixel)
{
    size_t i = plane / s->shape->n_groups, g = plane % s->shape->n_groups;
    return s->groupdq + i * s->dq_shape->int_stride + g * s->dq_shape->group_stride + pixel;
}

/* Median of the pixel's usable differences, before any was rejected; s->values stay. */
static float median_of_all(jump_search *s, size_t n)
{
    memcpy(s->sorted, s->values, n * sizeof *s->sorted);
    lm_sort_floats(s->sorted, n);
    return lm_median_sorted(s->sorted, n);
}

static lm_status search_pixel(jump_search *s, size_t pixel)
{
    size_t n = gather(s, pixel);
    if (n < 2 && !s->sigma_clip)
        return LM_OK;
    float read_variance = read_variance_of(s, pixel);
    size_t n_hits = s->sigma_clip    ? clip_over_integrations(s, n)
                    : s->single_pass ? find_outliers(s, n, read_variance)
                                     : iterate_absolute(s, n, read_variance);
    return n_hits ? lm_record_jumps(s, pixel, n_hits) : LM_OK;
}

lm_status lm_record_jumps(jump_search *s, size_t pixel, size_t n_hits)
{
    size_t row = pixel / s->shape->n_cols;
    if (row >= s->first_row && row < s->end_row)
        s->n_primary += n_hits;
    size_t n = gather(s, pixel); /* the search has lost those it found */
    float read_variance = read_variance_of(s, pixel);
    float median = s->p->flag_4_neighbors ? median_of_all(s, n) : 0;
    for (size_t h = 0; h < n_hits; h++) {
        uint32_t index = s->hits[h];
        size_t plane = index / s->n_diffs * s->shape->n_groups + index % s->n_diffs + 1;
        *group_flag(s, plane, pixel) |= LM_JUMP_DET;
        if (!s->p->flag_4_neighbors)
            continue;
        size_t k = 0;
        while (s->which[k] != index)
            k++;
        float ratio2 = squared_ratio(s->values[k] - median, fabsf(median), read_variance,
                                     time_of(s, index));
        if (ratio2 > s->min_spread2 && ratio2 < s->max_spread2) {
            lm_status status = remember_spreading(s, pixel, plane);
            if (status)
                return status;
        }
    }
    return LM_OK;
}

/* ---- a block of pixels ---------------------------------------------------------------------- */

/* How many of n sorted differences, or sizes of them, their median is of. */
LM_INLINE size_t median_count(size_t n, int single_pass) { return n >= 4 && !single_pass ? n - 1 : n; }

LM_INLINE int32_t is_beyond(float smallest, float median, float largest, float read_variance,
                            float threshold2)
{
    float deviation = larger(largest - median, median - smallest);
    return squared_ratio(deviation, fabsf(median), read_variance, 1) > threshold2;
}

LM_INLINE void screen_few(size_t n, const float *restrict rows, int single_pass, float threshold2,
                          const float *restrict read_variance, int32_t *restrict beyond)
{
    for (int l = 0; l < LM_LANES; l++) {
        float v[LM_FEW];
        for (size_t k = 0; k < n; k++) {
            float d = rows[k * LM_LANES + (size_t)l];
            v[k] = single_pass ? d : fabsf(d);
        }
        lm_sort_few(v, n);
        float median = n == 2 && !single_pass ? v[0] : lm_median_few(v, median_count(n, single_pass));
        beyond[l] = is_beyond(v[0], median, v[n - 1], read_variance[l], threshold2);
    }
}

LM_INLINE void screen_many(size_t n, float *restrict rows, int single_pass, float threshold2,
                           const float *restrict read_variance, int32_t *restrict beyond)
{
    float median[LM_LANES];
    const float *smallest = rows, *largest = rows + (n - 1) * LM_LANES;
    for (size_t k = 0; k < n * LM_LANES && !single_pass; k++)
        rows[k] = fabsf(rows[k]);
    lm_sort_lanes(rows, n);
    lm_median_lanes(rows, median_count(n, single_pass), median);
    for (int l = 0; l < LM_LANES; l++)
        beyond[l] = is_beyond(smallest[l], median[l], largest[l], read_variance[l], threshold2);
}

/* Mark the lanes whose largest deviation passes the threshold; `rows` may get sorted. */
LM_INLINE void screen(const jump_search *s, float *rows, size_t n,
                      const float *restrict read_variance, uint8_t *restrict suspect)
{
    int32_t beyond[LM_LANES];
    if (n > LM_FEW)
        screen_many(n, rows, s->single_pass, s->single_pass ? s->threshold2[4] : threshold2_for(s, n),
                    read_variance, beyond);
    else if (s->single_pass)
        LM_FOR_FEW(n, screen_few, rows, 1, s->threshold2[4], read_variance, beyond)
    else
        LM_FOR_FEW(n, screen_few, rows, 0, threshold2_for(s, n), read_variance, beyond)
    for (int l = 0; l < LM_LANES; l++)
        suspect[l] = (uint8_t)(suspect[l] | beyond[l]);
}

void lm_clean_unusable(jump_search *s, size_t pixel, size_t n_lanes)
{
    const lm_shape *b = s->dq_shape;
    for (size_t i = 0; i < b->n_ints; i++)
        for (size_t g = 0; g < b->n_groups; g++) {
            uint8_t *dq = s->groupdq + i * b->int_stride + g * b->group_stride + pixel;
            for (size_t l = 0; l < n_lanes; l++)
                dq[l] = (uint8_t)(dq[l] & LM_UNUSABLE ? dq[l] & ~LM_JUMP_DET : dq[l]);
        }
}

uint8_t lm_flags_of_block(const jump_search *s, size_t pixel)
{
    enum { WORDS = LM_LANES / sizeof(uint64_t) };
    const lm_shape *b = s->dq_shape;
    uint64_t any[WORDS] = {0}, all = 0, word;
    for (size_t i = 0; i < b->n_ints; i++)
        for (size_t g = 0; g < b->n_groups; g++) {
            const uint8_t *from = s->groupdq + i * b->int_stride + g * b->group_stride + pixel;
            lm_fetch_next(from, sizeof *from);
            for (size_t w = 0; w < WORDS; w++) {
                memcpy(&word, from + w * sizeof word, sizeof word);
                any[w] |= word;
            }
        }
    for (size_t w = 0; w < WORDS; w++)
        all |= any[w];
    for (unsigned bits = 32; bits >= 8; bits /= 2)
        all |= all >> bits;
    return (uint8_t)all;
}

/* Copy the flags of a block, if any is set; clean JUMP_DET off unusable groups. Returns the OR of
 * all flags. */
LM_INLINE uint8_t load_flags(jump_search *s, size_t pixel, size_t n_lanes)
{
    const lm_shape *b = s->dq_shape;
    uint8_t all = UINT8_MAX; /* may be set, in less than a block */
    if (n_lanes == LM_LANES && !((all = lm_flags_of_block(s, pixel)) & LM_UNUSABLE))
        return all;
    if (all & LM_JUMP_DET)
        lm_clean_unusable(s, pixel, n_lanes);
    for (size_t i = 0; i < b->n_ints; i++)
        for (size_t g = 0; g < b->n_groups; g++)
            lm_load_bytes(s->groupdq + i * b->int_stride + g * b->group_stride + pixel, n_lanes,
                          s->dq_lanes + (i * b->n_groups + g) * LM_LANES);
    return all;
}

/* 1 where a group of the block is unusable in every lane. */
LM_INLINE int dead_for_all(const uint8_t *row)
{
    uint8_t good = 0;
    for (int l = 0; l < LM_LANES; l++)
        good |= (uint8_t)((row[l] & LM_UNUSABLE) == 0);
    return !good;
}

/* Differences that some lane can use, as rows; lanes that lack one of them are marked suspect. */
LM_INLINE size_t load_differences(jump_search *s, size_t pixel, size_t n_lanes, uint8_t flags,
                                  const float *restrict gain, uint8_t *restrict suspect)
{
    const lm_shape *a = s->shape;
    float buffer[2][LM_LANES];
    uint32_t bad[LM_LANES] = {0};
    size_t n = 0;
    for (size_t i = 0; i < a->n_ints; i++) {
        const float *data = s->data + i * a->int_stride + pixel;
        int live_before = 0;
        for (size_t g = 0; g < a->n_groups; g++) {
            const uint8_t *dq = s->dq_lanes + (i * a->n_groups + g) * LM_LANES;
            int live = !(flags & LM_UNUSABLE) || !dead_for_all(dq);
            float *now = buffer[g & 1], *before = buffer[!(g & 1)];
            lm_fetch_next(data + g * a->group_stride, sizeof *data);
            if (live) {
                lm_load_floats(data + g * a->group_stride, n_lanes, now);
                for (int l = 0; l < LM_LANES; l++)
                    now[l] *= gain[l];
            }
            if (live && live_before) {
                float *row = s->lanes + n++ * LM_LANES;
                for (int l = 0; l < LM_LANES; l++) {
                    row[l] = now[l] - before[l];
                    bad[l] |= (uint32_t)!(fabsf(row[l]) <= 3.402823e38f);
                }
                if (flags & LM_UNUSABLE)
                    for (int l = 0; l < LM_LANES; l++)
                        bad[l] |= (uint32_t)((dq[l] | dq[l - LM_LANES]) & LM_UNUSABLE);
            }
            live_before = live;
        }
    }
    for (int l = 0; l < LM_LANES; l++)
        suspect[l] |= bad[l] != 0;
    return n;
}

LM_INLINE int screen_lanes(jump_search *s, size_t pixel, size_t n_lanes, uint8_t *suspect)
{
    uint8_t flags = load_flags(s, pixel, n_lanes);
    memset(suspect, s->sigma_clip || s->p->diff_times != NULL, LM_LANES);
    if (!suspect[0]) {
        float gain[LM_LANES], noise[LM_LANES];
        lm_load_floats(s->gain + pixel, n_lanes, gain);
        lm_load_floats(s->readnoise + pixel, n_lanes, noise);
        size_t n = load_differences(s, pixel, n_lanes, flags, gain, suspect);
        float n_frames = (float)s->p->n_frames;
        for (int l = 0; l < LM_LANES; l++) {
            float read = noise[l] * gain[l];
            noise[l] = read * read / n_frames;
        }
        if (n >= 2)
            screen(s, s->lanes, n, noise, suspect);
    }
    if (s->p->method == LM_JUMP_SIGNED)
        for (size_t l = 0; l < n_lanes; l++)
            suspect[l] &= !(s->pixeldq[pixel + l] & LM_DO_NOT_USE);
    uint8_t any = 0;
    for (size_t l = 0; l < n_lanes; l++)
        any |= suspect[l];
    return any;
}

/* Screen a block: returns 1 if any lane is suspect. */
LM_CLONES
static int screen_block(jump_search *s, size_t pixel, size_t n_lanes, uint8_t *suspect)
{
    return n_lanes == LM_LANES ? screen_lanes(s, pixel, LM_LANES, suspect)
                               : screen_lanes(s, pixel, n_lanes, suspect);
}

/* ---- neighbours and after-glow -------------------------------------------------------------- */

static void flag_if_usable(uint8_t *dq)
{
    if (!(*dq & LM_UNUSABLE))
        *dq |= LM_JUMP_DET;
}

static void spread_to_neighbours(const jump_search *s)
{
    size_t n_rows = s->shape->n_rows, n_cols = s->shape->n_cols;
    for (size_t j = 0; j < s->n_spreading; j++) {
        spreading_jump jump = s->spreading[j];
        uint8_t *dq = group_flag(s, jump.plane, jump.pixel);
        size_t col = jump.pixel - jump.row * n_cols;
        if (jump.row > 0)
            flag_if_usable(dq - n_cols);
        if (jump.row + 1 < n_rows)
            flag_if_usable(dq + n_cols);
        if (col > 0)
            flag_if_usable(dq - 1);
        if (col + 1 < n_cols)
            flag_if_usable(dq + 1);
    }
}

/* Groups after a large jump. Flagged neighbours glow too: every flagged group is asked for its own
 * charge. From the last group to the first, so that what is flagged here is not asked again. */
static void flag_after_jumps(jump_search *s)
{
    const lm_jump_parameters *p = s->p;
    size_t n_groups = s->shape->n_groups, n_pixels = s->shape->n_rows * s->shape->n_cols;
    const size_t after[2] = {p->after_jump_flag_n1, p->after_jump_flag_n2};
    const float charge[2] = {(float)p->after_jump_flag_e1, (float)p->after_jump_flag_e2};
    for (size_t start = 0; start < n_pixels; start += LM_LANES) {
        size_t n_lanes = n_pixels - start < LM_LANES ? n_pixels - start : LM_LANES;
        uint8_t jumps[LM_LANES] = {0};
        for (size_t plane = 0; plane < s->shape->n_ints * n_groups; plane++) {
            const uint8_t *dq = group_flag(s, plane, start);
            for (size_t l = 0; l < n_lanes; l++)
                jumps[l] |= dq[l] & LM_JUMP_DET;
        }
        for (size_t l = 0; l < n_lanes; l++) {
            size_t n;
            if (!jumps[l] || !(n = gather(s, start + l)))
                continue;
            float median = median_of_all(s, n);
            for (size_t v = n; v-- > 0;) {
                size_t group = s->which[v] % s->n_diffs + 1;
                size_t plane = s->which[v] / s->n_diffs * n_groups + group;
                if (!(*group_flag(s, plane, start + l) & LM_JUMP_DET))
                    continue;
                float excess = (s->values[v] - median) * time_of(s, s->which[v]);
                for (int kind = 0; kind < 2; kind++)
                    if (excess >= charge[kind])
                        for (size_t k = 1; k <= after[kind] && group + k < n_groups; k++)
                            flag_if_usable(group_flag(s, plane + k, start + l));
            }
        }
    }
}

/* ---- entry ---------------------------------------------------------------------------------- */

static int is_bad_shape(const lm_shape *a, const lm_shape *b)
{
    return !a->n_ints || a->n_groups < 2 || !a->n_rows || !a->n_cols || a->n_ints != b->n_ints ||
           a->n_groups != b->n_groups || a->n_rows != b->n_rows || a->n_cols != b->n_cols;
}

static lm_status search_absolute(jump_search *s)
{
    size_t n_pixels = s->shape->n_rows * s->shape->n_cols;
    uint8_t suspect[LM_LANES];
    for (size_t pixel = 0; pixel < n_pixels; pixel += LM_LANES) {
        size_t n_lanes = n_pixels - pixel < LM_LANES ? n_pixels - pixel : LM_LANES;
        if (!screen_block(s, pixel, n_lanes, suspect))
            continue;
        for (size_t l = 0; l < n_lanes; l++) {
            lm_status status = suspect[l] ? search_pixel(s, pixel + l) : LM_OK;
            if (status)
                return status;
        }
    }
    return LM_OK;
}

static lm_status search_all(jump_search *s)
{
    int is_signed = s->p->method == LM_JUMP_SIGNED && !s->sigma_clip;
    lm_status status = is_signed ? lm_search_signed(s) : search_absolute(s);
    if (status)
        return status;
    if (s->p->flag_4_neighbors)
        spread_to_neighbours(s);
    if (s->p->after_jump_flag_n1 || s->p->after_jump_flag_n2)
        flag_after_jumps(s);
    return LM_OK;
}

lm_status lm_flag_jumps(const float *data, const lm_shape *shape, uint8_t *groupdq,
                        const lm_shape *dq_shape, const uint32_t *pixeldq, const float *gain,
                        const float *readnoise, const lm_jump_parameters *parameters,
                        size_t first_row, size_t end_row, size_t *n_primary)
{
    const lm_jump_parameters *p = parameters;
    *n_primary = 0;
    if (is_bad_shape(shape, dq_shape))
        return LM_BAD_SHAPE;
    if (!(p->n_frames > 0) || (p->method != LM_JUMP_ABSOLUTE && p->method != LM_JUMP_SIGNED))
        return LM_BAD_ARGUMENT;
    jump_search s = {.data = data, .gain = gain, .readnoise = readnoise, .groupdq = groupdq,
                .pixeldq = pixeldq, .shape = shape, .dq_shape = dq_shape, .p = p,
                .n_diffs = shape->n_groups - 1,
                .first_row = first_row, .end_row = end_row};
    s.min_spread2 = (float)(p->min_jump_to_flag_neighbors * p->min_jump_to_flag_neighbors);
    s.max_spread2 = (float)(p->max_jump_to_flag_neighbors * p->max_jump_to_flag_neighbors);
    size_t samples = shape->n_ints * (p->only_use_ints ? 1 : p->usable_groups);
    s.sigma_clip = samples >= p->minimum_sigclip_groups;
    s.single_pass = p->usable_groups >= p->min_diffs_single_pass + 1;

    const double thresholds[5] = {HUGE_VAL, HUGE_VAL, p->three_group_rejection_threshold,
                                  p->four_group_rejection_threshold, p->rejection_threshold};
    /* 6 and 5 make up for the noise of a median of two and three; least squares counts it itself.
     * Of two, one is flagged: 3.83 sigma is half as rare as 4 */
    const double scale[5] = {1, 1, 3.83 / 6, 4.0 / 5, 1};
    for (int n = 0; n < 5; n++) {
        double threshold = thresholds[n] * (s.sigma_clip || p->method == LM_JUMP_ABSOLUTE ? 1 : scale[n]);
        s.threshold2[n] = (float)(threshold * threshold);
    }

    size_t n_values = shape->n_ints * s.n_diffs;
    s.lanes = malloc(n_values * LM_LANES * sizeof *s.lanes);
    s.dq_lanes = malloc(shape->n_ints * shape->n_groups * LM_LANES);
    s.values = malloc(2 * n_values * sizeof *s.values);
    s.sorted = malloc(n_values * sizeof *s.sorted);
    s.which = malloc(2 * n_values * sizeof *s.which);
    s.hits = malloc(n_values * sizeof *s.hits);
    lm_status status = LM_NO_MEMORY;
    if (s.lanes && s.dq_lanes && s.values && s.sorted && s.which && s.hits)
        status = search_all(&s);
    *n_primary = s.n_primary;
    free(s.lanes);
    free(s.dq_lanes);
    free(s.values);
    free(s.sorted);
    free(s.which);
    free(s.hits);
    free(s.spreading);
    return status;
}
