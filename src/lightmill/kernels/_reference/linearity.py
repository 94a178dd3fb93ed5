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


def correct_linearity_reads(
    data,
    groupdq,
    coeffs,
    inverse,
    read_times,
    *,
    reference_dq=None,
    pixeldq=None,
    saturation=None,
):
    """Correct in place, read by read inside each group's average, in float64 between the groups."""
    if reference_dq is not None:
        coeffs, flags = prepare(coeffs, reference_dq)
        inverse, inverse_flags = prepare(inverse, reference_dq)
        if pixeldq is not None:
            pixeldq |= flags | inverse_flags
    coeffs, inverse = np.asarray(coeffs, np.float32), np.asarray(inverse, np.float32)
    times = np.array([np.mean(times) for times in read_times])
    for counts, flags in zip(data, groupdq, strict=True):
        saturated = flags & SATURATED != 0
        linear = np.where(saturated, counts, polynomial(coeffs, counts))
        last = np.maximum((~saturated).sum(axis=0) - 2, 1)
        rate = np.zeros(last.shape)
        if len(counts) > 1:
            reached = np.take_along_axis(linear, last[None], axis=0)[0]
            rate = (reached - linear[0]) / (times[last] - times[0])
        for group, reads, skip in zip(counts, read_times, saturated, strict=True):
            predicted = [linear[0] + rate * (time - times[0]) for time in reads]
            raw = np.array([polynomial(inverse, signal) for signal in predicted])
            raw += group - raw.mean(axis=0)
            if saturation is not None:
                raw = np.fmin(raw, np.float32(1.2) * saturation)
            corrected = polynomial(coeffs, raw).mean(axis=0)
            group[~skip] = corrected[~skip]
