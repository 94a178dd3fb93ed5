"""Levels of reference pixels, plainly: see `lightmill.kernels.refpix`."""

from __future__ import annotations

import warnings

import numpy as np


def clipped_mean(values, good=None, limit=3.0):
    """Mean of one set after repeated clipping at `limit` standard deviations."""
    kept = np.asarray(values, float)
    kept = kept[~np.isnan(kept) & (True if good is None else np.asarray(good, bool))]
    while kept.size:
        reach = limit * kept.std()
        near = np.abs(kept - kept.mean()) <= reach
        if reach == 0 or near.all():
            return kept.mean()
        kept = kept[near]
    return np.nan


def side_median(columns, good, length):
    """Median of every window of rows, mirrored at the ends."""
    half = length // 2
    masked = np.where(np.asarray(good, bool), columns, np.float32(np.nan))
    padded = np.pad(masked, ((0, 0), (half, half), (0, 0)), mode="reflect")
    medians = np.empty(columns.shape[:2], np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a window without good pixels: NaN
        for y in range(columns.shape[1]):
            medians[:, y] = np.nanmedian(padded[:, y : y + length], axis=(1, 2))
    return medians
