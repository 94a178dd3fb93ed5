"""Plane arithmetic, plainly: see `lightmill.kernels.arithmetic`."""

from __future__ import annotations

import numpy as np


def subtract(data, planes, *, index_of_group=None):
    """Subtract reference planes, a NaN of which counts as 0."""
    planes = np.asarray(planes, np.float32)
    planes = np.where(np.isnan(planes), np.float32(0), planes)
    nints, ngroups = data.shape[:2]
    if index_of_group is None:
        index_of_group = [0] * ngroups if planes.ndim == 2 else range(ngroups)
    stack = planes.reshape(-1, *planes.shape[-3:] if planes.ndim > 2 else (1, *planes.shape))
    for i in range(nints):
        for g, index in enumerate(index_of_group):
            if index >= 0:
                data[i, g] -= stack[min(i, len(stack) - 1), index]


def scale(data, factor):
    """Multiply by one number."""
    data *= np.float32(factor)


def subtract_cross(data, along_y=None, along_x=None, *, start_group=0, first="x", row_phase=0):
    """Subtract a profile along y and one along x."""

    def subtract_along_x():
        if along_x is not None:
            profile = along_x if along_x.ndim == 4 else along_x[:, :, None]
            phases = (np.arange(data.shape[2]) + row_phase) % profile.shape[2]
            data[:, start_group:] -= profile[:, start_group:, phases]

    def subtract_along_y():
        if along_y is not None:
            data[:, start_group:] -= along_y[:, start_group:, :, None]

    order = [subtract_along_x, subtract_along_y]
    for subtract_one in order if first == "x" else order[::-1]:
        subtract_one()


def flag_or(pixeldq, dq):
    """Join flags."""
    pixeldq |= dq


def group_or(groupdq, mask, groups=slice(None)):
    """Join a mask with the flags of some groups."""
    groupdq[:, groups] |= mask
