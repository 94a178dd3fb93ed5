/* What became of a pixel's reads, without its counts: pixels that lost the same reads share it.
 *
 * Nearly all pixels of a ramp have used every read (history 0). When a pixel loses a read it moves to a
 * history that others may share; so a pixel needs two bytes beside its sums, however many reads there are,
 * and what depends on times alone is computed once for all. */
#ifndef LM_READOUT_HISTORY_H
#define LM_READOUT_HISTORY_H
#include <pthread.h>
#include <stdatomic.h>

#include "lightmill/readout.h"
#include "line.h"

enum {
    LM_CHUNK = 1024, /* pixels: sums, counts and five coefficients of them fit the first cache */
    LM_BLOCK = 128   /* of them: all in step, unless one loses a read */
};

/* What a read is to a pixel. */
typedef enum {
    LM_READ_GOOD = 0,
    LM_READ_MISSING, /* left out */
    LM_READ_JUMPED,  /* good, but charge came at once before it */
    LM_READ_LEAPT,   /* left out, and charge came at once */
    LM_READ_FULL,    /* saturated, and so will be all after it */
    LM_N_READ_KINDS
} lm_read_kind;

typedef enum { LM_FIRST_GROUP, LM_BETWEEN_GROUPS, LM_LAST_GROUP } lm_phase;

/* Times of the reads of a Fowler group: t_i from its first read on. */
typedef struct {
    double n, origin;
    double sum;    /* of t_i */
    double shared; /* of min(t_i, t_j) over all i, j */
} lm_read_group;

typedef struct {
    /* up the ramp: a jump breaks the line; mean time of the part that ends now */
    lm_line line;
    double closed_time;
    /* Fowler */
    double latest_time;
    lm_read_group first, before_latest, last;
    double keep_first, keep_last; /* a group holds something that a good read is added to now */
    int is_stopped;
    uint8_t dq, passing_dq;
} lm_history;

/* How a pixel's two sums give its signal: numerator = of_b * b + of_a * a, rate = numerator / weight. */
typedef struct {
    double of_a, of_b, weight, read, poisson; /* variances of the numerator: read noise^2, rate / gain */
    uint32_t dq;
} lm_estimate;

enum { LM_LOST = LM_MAX_HISTORIES }; /* the number of no history: there was no room for another */

typedef struct {
    lm_sampling sampling;
    size_t n_group, n_expected; /* Fowler: reads of a group without overlap; of a ramp or 0 */
    size_t n_reads;             /* of this ramp */
    double first_time, last_time; /* of the ramp; histories count from the first */
    lm_phase phase;
    size_t n, capacity;
    lm_history *now, *before; /* after and before the present read */
    atomic_ushort (*next)[LM_N_READ_KINDS];
    lm_estimate *estimates;
    float limit[LM_CHUNK], no_limit[LM_CHUNK]; /* saturation where it is the same for all pixels */
    atomic_int is_full;
    pthread_mutex_t lock;
} lm_histories;

size_t lm_histories_bytes(size_t capacity);
lm_status lm_histories_open(lm_histories *h, const lm_readout_parameters *parameters, size_t capacity);
void lm_histories_close(lm_histories *h);

/* Have all memory really there, so that no page is found missing later. */
void lm_histories_touch(lm_histories *h);

/* Forget the ramp. */
void lm_histories_restart(lm_histories *h);

/* A read at `time` (later than the last) comes: advance every history that goes on. */
void lm_histories_advance(lm_histories *h, double time);

/* The history of a pixel of history `from` to which the present read is of `kind`. Threads may ask at once. One
 * that begins with this read is estimated at once. */
uint16_t lm_history_after(lm_histories *h, uint16_t from, lm_read_kind kind);

/* Whether a good or jumped read is to be added to a pixel that is now of history `to`. */
static inline int lm_history_takes(const lm_histories *h, uint16_t to, lm_read_kind kind)
{
    return (kind == LM_READ_GOOD || kind == LM_READ_JUMPED) && to != LM_LOST && !h->now[to].is_stopped;
}

/* Fill h->estimates; that of a lost pixel stands at LM_LOST of the full table, or at the end. */
void lm_histories_estimate(lm_histories *h);
static inline const lm_estimate *lm_estimate_of(const lm_histories *h, uint16_t id)
{
    return h->estimates + (id == LM_LOST ? h->capacity : id);
}

/* Time over which the counts of this ramp were gathered, and how many times they count (overlap). */
double lm_histories_span(const lm_histories *h, size_t n_fowler);

#endif
