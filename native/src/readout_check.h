/* What the streaming and the whole-ramp entry ask of their parameters alike. */
#ifndef LM_READOUT_CHECK_H
#define LM_READOUT_CHECK_H
#include "lightmill/readout.h"

static inline lm_status lm_readout_check(const lm_readout_parameters *p)
{
    if (!p->n_rows || !p->n_cols || p->n_rows > SIZE_MAX / 64 / p->n_cols)
        return LM_BAD_SHAPE;
    if (p->coeffs && (p->n_coeffs < 1 || p->n_coeffs > LM_MAX_COEFFS || p->coeff_stride < p->n_rows * p->n_cols))
        return LM_BAD_SHAPE;
    if ((unsigned)p->type > LM_READ_FLOAT32 || (unsigned)p->sampling > LM_FOWLER || (unsigned)p->unit > LM_COUNTS ||
        (unsigned)p->form > LM_GAIN_POLYNOMIAL || p->n_threads > LM_MAX_THREADS)
        return LM_BAD_ARGUMENT;
    if (!(p->gain_value >= 0) || !(p->readnoise_value >= 0))
        return LM_BAD_ARGUMENT;
    if (p->sampling == LM_FOWLER && (!p->n_fowler || (p->n_reads ? p->n_fowler > p->n_reads : p->n_fowler > 1)))
        return LM_BAD_ARGUMENT;
    return LM_OK;
}

#endif
