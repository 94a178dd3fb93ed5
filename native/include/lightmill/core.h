/* native/include/lightmill/core.h: what every kernel of the library shares.
 *
 * Conventions
 *   A ramp is float [n_ints][n_groups][n_rows][n_cols]. Rows of one plane are contiguous; planes may
 *   be apart: `int_stride` and `group_stride` count ELEMENTS from one integration (group) to the next.
 *   `n_pixels` = n_rows * n_cols. Group DQ has its own strides. 2-D arrays are contiguous.
 *   No kernel allocates after its documented start, keeps state, or prints. All are re-entrant.
 */
#ifndef LIGHTMILL_CORE_H
#define LIGHTMILL_CORE_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define LM_API __declspec(dllexport)
#else
#define LM_API __attribute__((visibility("default")))
#endif

typedef enum {
    LM_OK = 0,
    LM_BAD_SHAPE = 1,    /* a count is zero or inconsistent */
    LM_BAD_ARGUMENT = 2, /* a parameter is out of its range */
    LM_NO_MEMORY = 3,
    LM_BAD_TIME = 4,     /* the time of a read is not a number, or not after the read before */
    LM_WRONG_STATE = 5   /* a call that does not follow from those before it, or one read too many */
} lm_status;

/* A view of a ramp (or of its group DQ): strides in elements. */
typedef struct {
    size_t n_ints, n_groups, n_rows, n_cols;
    size_t int_stride, group_stride;
} lm_shape;

/* DQ bits the kernels set or read; the same table as lightmill.models.dq. */
enum {
    LM_DO_NOT_USE = 1u,
    LM_SATURATED = 2u,
    LM_JUMP_DET = 4u,
    LM_PERSISTENCE = 32u,
    LM_AD_FLOOR = 64u,
    LM_CHARGELOSS = 128u
};

#endif
