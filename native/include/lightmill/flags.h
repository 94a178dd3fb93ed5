/* native/include/lightmill/flags.h: group flags that follow from other groups. */
#ifndef LIGHTMILL_FLAGS_H
#define LIGHTMILL_FLAGS_H
#include "core.h"

enum { LM_FLUX_ESTIMATED = 1u << 28 };

/* Charge that has migrated from bright pixels (Goudfrooij et al. 2024, PASP 136, 014503): where
 * data > threshold [DN] and groupdq is not DO_NOT_USE and nothing else, that group and all later ones of
 * the pixel and of its four neighbours get CHARGELOSS and DO_NOT_USE.
 * The first and last row depend on the row beyond. Allocates (3 n_groups + 1) rows (LM_NO_MEMORY). */
LM_API lm_status lm_flag_charge_migration(const float *data, const lm_shape *shape, uint8_t *groupdq,
                                          const lm_shape *dq_shape, float threshold);

/* The first groups of an integration, disturbed by the reset: DO_NOT_USE in `first` groups of integration
 * 0 and in `later` groups of the others. A pixel whose group 0 is not SATURATED loses one group fewer for
 * each SATURATED group among 1 ... n + 1, and gets FLUX_ESTIMATED in `pixeldq` [n_rows][n_cols].
 * Allocates one row (LM_NO_MEMORY). */
LM_API lm_status lm_flag_first_groups(uint8_t *groupdq, const lm_shape *dq_shape, uint32_t *pixeldq, size_t first,
                                      size_t later);

#endif
