"""Saturation flags, plainly: see `lightmill.kernels.saturation` for the arguments."""

from __future__ import annotations

import numpy as np

DO_NOT_USE, SATURATED, AD_FLOOR, NO_SAT_CHECK = 1, 2, 64, 1 << 21
UNREACHABLE = np.float32(65536)  # above what a 16-bit converter can answer


def usable_threshold(threshold, reference_dq):
    """Return (threshold, dq): 65536 and NO_SAT_CHECK where saturation cannot be tested."""
    dq = reference_dq | np.where(np.isnan(threshold), np.uint32(NO_SAT_CHECK), np.uint32(0))
    return np.where(dq & NO_SAT_CHECK, UNREACHABLE, threshold.astype(np.float32)), dq


def grown(mask, grow):
    """Return the mask of pixels within a (2 grow + 1)-sided square of a True pixel."""
    ny, nx = mask.shape
    padded = np.pad(mask, grow)
    near = np.zeros_like(mask)
    for dy in range(2 * grow + 1):
        for dx in range(2 * grow + 1):
            near |= padded[dy : dy + ny, dx : dx + nx]
    return near


def flag_saturation(
    data, groupdq, pixeldq, threshold, reference_dq, *, grow=1, dilution=None, bias=None,
    read_means=None, read_lasts=None, nframes=1,
):  # fmt: skip
    """Flag in place; the order of the five passes is the meaning."""
    nints, ngroups = data.shape[:2]
    threshold, dq = usable_threshold(threshold, reference_dq)
    pixeldq |= dq
    for i in range(nints):
        reached = np.zeros(threshold.shape, bool)
        for g in range(ngroups):
            reached |= data[i, g] >= threshold
            groupdq[i, g][reached] |= SATURATED
            groupdq[i, g][data[i, g] <= 0] |= AD_FLOOR | DO_NOT_USE
            groupdq[i, g][grown(groupdq[i, g] & SATURATED != 0, grow)] |= SATURATED
        if dilution is not None:
            for g in range(ngroups - 2, -1, -1):
                diluted = data[i, g] >= np.float32(dilution[g]) * threshold
                unflagged = groupdq[i, g] & (SATURATED | DO_NOT_USE) == 0
                partial = diluted & unflagged & (groupdq[i, g + 1] & SATURATED != 0)
                groupdq[i, g][grown(partial, grow)] |= DO_NOT_USE
        if read_means is not None and ngroups > 2:
            flag_second_group(data[i], groupdq[i], threshold, bias, read_means, read_lasts, nframes)


def flag_second_group(data, groupdq, threshold, bias, read_means, read_lasts, nframes):
    """Flag group 1 where it may hide the onset of the saturation that group 2 shows."""
    first, second = data[0], data[1]
    offset = np.float32(0) if bias is None else bias
    rate = (first - offset) / np.float32(read_means[0])
    unsaturated_by_now = rate * np.float32(read_lasts[2]) + offset < threshold
    leapt = second - first > (threshold - first) / np.float32(nframes)
    onset = (groupdq[2] & SATURATED != 0) & (groupdq[1] & SATURATED == 0)
    groupdq[1][unsaturated_by_now & leapt & onset] |= DO_NOT_USE


def flag_zeroframe(zeroframe, threshold, grow):
    """Set to zero, in place, what the zero frame cannot be used for."""
    for plane in zeroframe:
        plane[grown(plane >= threshold, grow) | (plane <= 0)] = 0
