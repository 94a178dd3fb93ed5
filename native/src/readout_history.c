#include "readout_history.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- one history ---------------------------------------------------------------------------- */

static void add_to_group(lm_read_group *group, double time)
{
    if (group->n == 0)
        *group = (lm_read_group){.origin = time};
    const double t = time - group->origin;
    group->shared += 2 * group->sum + t;
    group->sum += t;
    group->n += 1;
}

static void advance_groups(lm_history *h, lm_phase phase, double time)
{
    h->latest_time = time;
    h->keep_first = h->first.n > 0;
    h->keep_last = phase == LM_LAST_GROUP && h->last.n > 0;
    if (phase == LM_FIRST_GROUP) {
        h->before_latest = h->first;
        add_to_group(&h->first, time);
    } else {
        add_to_group(&h->last, time);
    }
}

static void advance(lm_history *h, const lm_histories *all, double time)
{
    if (all->sampling == LM_UP_THE_RAMP)
        lm_line_add(&h->line, time, 1);
    else
        advance_groups(h, all->phase, time);
}

/* Leave the reads before a jump to themselves; what they gave to the slope stays. */
static void cut(lm_history *h, const lm_histories *all)
{
    h->dq |= LM_JUMP_DET;
    h->closed_time = h->line.mean;
    lm_line_break(&h->line);
    if (all->sampling == LM_FOWLER && all->phase == LM_FIRST_GROUP)
        h->first = h->before_latest = (lm_read_group){0};
    else if (all->sampling == LM_FOWLER)
        h->is_stopped = 1; /* the groups hold different charge from now on */
}

/* `h` as it was before the present read becomes what that read makes of it. */
static void depart(lm_history *h, const lm_histories *all, lm_read_kind kind)
{
    switch (kind) {
    case LM_READ_JUMPED:
        cut(h, all);
        if (!h->is_stopped)
            advance(h, all, all->last_time - all->first_time);
        break;
    case LM_READ_LEAPT:
        cut(h, all);
        break;
    case LM_READ_FULL:
        if (all->sampling == LM_FOWLER && all->phase == LM_BETWEEN_GROUPS) {
            h->passing_dq = all->n_group ? LM_SATURATED : 0; /* of the quick look only */
        } else {
            h->dq |= LM_SATURATED;
            h->is_stopped = 1;
        }
        break;
    default:
        break;
    }
}

/* ---- all of them ---------------------------------------------------------------------------- */

size_t lm_histories_bytes(size_t capacity)
{
    return capacity * (2 * sizeof(lm_history) + sizeof(*((lm_histories *)0)->next)) +
           (capacity + 1) * sizeof(lm_estimate);
}

lm_status lm_histories_open(lm_histories *h, const lm_readout_parameters *parameters, size_t capacity)
{
    const size_t n = parameters->n_reads, k = parameters->n_fowler;
    *h = (lm_histories){.sampling = parameters->sampling, .n_expected = n, .capacity = capacity};
    h->n_group = n && n - k < k ? n - k : k; /* reads in both groups cancel */
    h->now = malloc(capacity * sizeof *h->now);
    h->before = malloc(capacity * sizeof *h->before);
    h->next = malloc(capacity * sizeof *h->next);
    h->estimates = malloc((capacity + 1) * sizeof *h->estimates);
    if (!h->now || !h->before || !h->next || !h->estimates) {
        lm_histories_close(h);
        return LM_NO_MEMORY;
    }
    for (size_t x = 0; x < LM_CHUNK; x++) {
        h->limit[x] = parameters->saturation_level > 0 ? parameters->saturation_level : NAN;
        h->no_limit[x] = NAN; /* which nothing reaches */
    }
    pthread_mutex_init(&h->lock, NULL);
    lm_histories_restart(h);
    return LM_OK;
}

void lm_histories_touch(lm_histories *h)
{
    memset(h->now, 0, h->capacity * sizeof *h->now);
    memset(h->before, 0, h->capacity * sizeof *h->before);
    memset(h->estimates, 0, (h->capacity + 1) * sizeof *h->estimates);
    for (size_t k = 0; k < h->capacity; k++)
        for (size_t kind = 0; kind < LM_N_READ_KINDS; kind++)
            atomic_init(&h->next[k][kind], 0);
}

void lm_histories_close(lm_histories *h)
{
    if (h->now && h->before && h->next && h->estimates)
        pthread_mutex_destroy(&h->lock);
    free(h->now);
    free(h->before);
    free(h->next);
    free(h->estimates);
    *h = (lm_histories){0};
}

void lm_histories_restart(lm_histories *h)
{
    h->n_reads = 0;
    h->n = 1;
    h->first_time = h->last_time = 0;
    h->phase = LM_FIRST_GROUP;
    h->now[0] = (lm_history){0};
}

/* The phase of read number `read`; `*is_fresh` if it takes the place of what the last group holds. */
static lm_phase phase_of(const lm_histories *h, size_t read, int *is_fresh)
{
    *is_fresh = 1;
    if (read < h->n_group)
        return LM_FIRST_GROUP;
    if (!h->n_expected) /* CDS: every read may be the last */
        return LM_LAST_GROUP;
    const size_t last_group = h->n_expected - h->n_group;
    *is_fresh = read <= last_group;
    return read < last_group ? LM_BETWEEN_GROUPS : LM_LAST_GROUP;
}

void lm_histories_advance(lm_histories *h, double time)
{
    int is_fresh = 0;
    if (h->sampling == LM_FOWLER)
        h->phase = phase_of(h, h->n_reads, &is_fresh);
    if (!h->n_reads)
        h->first_time = time;
    h->last_time = time;
    h->n_reads++;
    for (size_t k = 0; k < h->n; k++) {
        lm_history *now = &h->now[k];
        now->passing_dq = 0;
        if (is_fresh)
            now->last = (lm_read_group){0};
        for (size_t kind = 0; kind < LM_N_READ_KINDS; kind++)
            atomic_store_explicit(&h->next[k][kind], 0, memory_order_relaxed);
        h->before[k] = *now;
        if (!now->is_stopped)
            advance(now, h, time - h->first_time);
    }
}

static lm_estimate estimate(const lm_histories *h, const lm_history *of);

uint16_t lm_history_after(lm_histories *h, uint16_t from, lm_read_kind kind)
{
    if (from == LM_LOST || kind == LM_READ_GOOD || h->now[from].is_stopped)
        return from;
    atomic_ushort *known = &h->next[from][kind];
    uint16_t to = atomic_load_explicit(known, memory_order_acquire);
    if (to)
        return to;
    pthread_mutex_lock(&h->lock);
    to = atomic_load_explicit(known, memory_order_relaxed);
    if (!to && h->n < h->capacity) {
        to = (uint16_t)h->n;
        h->now[to] = h->before[from];
        depart(&h->now[to], h, kind);
        h->estimates[to] = estimate(h, &h->now[to]);
        h->n++;
        atomic_store_explicit(known, to, memory_order_release);
    } else if (!to) {
        to = LM_LOST;
        atomic_store(&h->is_full, 1);
    }
    pthread_mutex_unlock(&h->lock);
    return to;
}

/* ---- estimates ------------------------------------------------------------------------------ */

/* Mean of `last` less mean of `first`, none of whose reads is later. */
static lm_estimate difference_of(const lm_read_group *first, const lm_read_group *last)
{
    lm_estimate e = {0};
    if (!(first->n > 0 && last->n > 0))
        return e;
    const double apart = last->origin - first->origin;
    e.of_a = -1 / first->n;
    e.of_b = 1 / last->n;
    e.weight = apart + last->sum / last->n - first->sum / first->n;
    e.read = 1 / first->n + 1 / last->n;
    e.poisson = apart + last->shared / (last->n * last->n) + first->shared / (first->n * first->n) -
                2 * first->sum / first->n;
    return e;
}

static lm_estimate estimate(const lm_histories *h, const lm_history *of)
{
    lm_estimate e;
    if (h->sampling == LM_UP_THE_RAMP) {
        e = (lm_estimate){.of_a = -of->line.mean, .of_b = 1, .weight = of->line.squares,
                          .read = of->line.squares, .poisson = of->line.poisson};
    } else if (h->phase == LM_FIRST_GROUP) { /* the latest read less those before it, which a holds too */
        const lm_read_group latest = {.n = of->first.n > 0, .origin = of->latest_time};
        e = difference_of(&of->before_latest, &latest);
        e.of_b -= e.of_a;
    } else {
        e = difference_of(&of->first, &of->last);
    }
    if (!(e.weight > 0))
        e = (lm_estimate){0};
    e.dq = of->dq | of->passing_dq;
    return e;
}

void lm_histories_estimate(lm_histories *h)
{
    for (size_t k = 0; k < h->n; k++)
        h->estimates[k] = estimate(h, &h->now[k]);
    h->estimates[h->capacity] = (lm_estimate){0};
}

double lm_histories_span(const lm_histories *h, size_t n_fowler)
{
    if (h->sampling == LM_UP_THE_RAMP)
        return h->last_time - h->first_time;
    const lm_estimate e = estimate(h, &h->now[0]);
    return n_fowler && h->n_group ? e.weight * (double)h->n_group / (double)n_fowler : e.weight;
}
