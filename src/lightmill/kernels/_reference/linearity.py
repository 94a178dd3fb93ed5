"""Non-linearity correction, plainly: see `lightmill.kernels.linearity` for the arguments."""

from __future__ import annotations

import numpy as np

SATURATED, NO_LIN_CORR = 2, 1 << 20


def prepare(coeffs, dq):
    """Return (coefficients, dq): the identity and NO_LIN_CORR where the reference is unusable."""
    coeffs = np.array(coeffs, np.float32)
    unusable = np.isnan(coeffs).any(axis=0) | (coeffs[1] == 0)
    flags = dq | np.where(unusable, np.uint32(NO_LIN_CORR), np.uint32(0))
    identity = np.zeros(len(coeffs), np.float32)
    identity[1] = 1
    coeffs[:, flags & NO_LIN_CORR != 0] = identity[:, None]
    return coeffs, flags


def polynomial(coeffs, signal):
    """Evaluate by Horner's rule, multiplying and adding in float32."""
    value = np.broadcast_to(coeffs[-1], signal.shape)
    for coefficient in coeffs[-2::-1]:
        value = value * signal + coefficient
    return value


def correct_linearity(data, groupdq, coeffs, *, reference_dq=None, pixeldq=None, keep_zero=False):
    """Correct in place every group that is not SATURATED."""
    if reference_dq is not None:
        coeffs, flags = prepare(coeffs, reference_dq)
        if pixeldq is not None:
            pixeldq |= flags
    measured = np.ones(data.shape, bool) if groupdq is None else groupdq & SATURATED == 0
    if keep_zero:
        measured &= data != 0
    corrected = polynomial(np.asarray(coeffs, np.float32), data)
    data[measured] = corrected[measured]
