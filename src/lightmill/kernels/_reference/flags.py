"""Group flags that follow from other groups, plainly: see `lightmill.kernels.flags`."""

from __future__ import annotations

import numpy as np

DO_NOT_USE, SATURATED, CHARGELOSS, FLUX_ESTIMATED = 1, 2, 128, 1 << 28


def flag_charge_migration(data, groupdq, threshold):
    """Flag bright groups, all later groups of the pixel, and the same of its four neighbours."""
    bright = (data > np.float32(threshold)) & (groupdq != DO_NOT_USE)
    bright = np.logical_or.accumulate(bright, axis=1)
    near = bright.copy()
    near[:, :, 1:] |= bright[:, :, :-1]
    near[:, :, :-1] |= bright[:, :, 1:]
    near[..., 1:] |= bright[..., :-1]
    near[..., :-1] |= bright[..., 1:]
    groupdq[near] |= CHARGELOSS | DO_NOT_USE


def flag_first_groups(groupdq, pixeldq, first, later=None):
    """Flag the first groups, fewer where that would leave nothing before saturation."""
    ngroups = groupdq.shape[1]
    for i, integration in enumerate(groupdq):
        wanted = first if i == 0 or later is None else later
        saturated = integration & SATURATED != 0
        lost = saturated[1 : wanted + 2].sum(axis=0) * ~saturated[0] if wanted else 0
        skipped = np.maximum(wanted - lost, 0) * np.ones(pixeldq.shape, int)
        pixeldq[skipped < wanted] |= np.uint32(FLUX_ESTIMATED)
        for g in range(ngroups):
            integration[g][g < skipped] |= DO_NOT_USE
