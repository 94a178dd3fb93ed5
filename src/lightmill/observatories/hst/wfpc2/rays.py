"""Cosmic rays in a frame: more than the other frames see there, and more than a star could be.

A pixel is compared with what the others see, within the noise of both and a share of how steep the
sky is there: so far a little shift, or what interpolation blurs, may put it off (Windhorst, Franklin
& Neuschaefer 1994, PASP 106, 798; Fruchter & Hook 2002, PASP 114, 144). Where the sky is steep that
share would hide rays, or take the core of a star that shifts a little for one. There the frame itself
is asked, too: a star is never sharper than the point spread function, a ray is (the idea of
van Dokkum 2001, PASP 113, 1420). This evidence alone is what there is where the only other frame was
hit as well.
"""

from __future__ import annotations

import numpy as np

from lightmill.imaging.outliers import steepness

__all__ = ["READ_NOISE", "find_rays", "noise_of"]

READ_NOISE = 5.3  # electrons, at a gain of 7 (WFPC2 Instrument Handbook, chapter 4)
SEED = 4.5  # standard errors of a ray's first pixel
NEAR = 2.5  # and of those beside it
STEEP = (1.2, 0.7)  # share of the steepness that seed and neighbour must be off besides
STEEP_ON_STARS = 2.5  # the same, where the frame shows nothing sharper than a star
FLAT = 3.0  # standard errors that the steepness may be by noise alone
GROWTHS = 2  # pixels from a seed that its neighbours may be
# Least sum of both neighbours in a row or column over the pixel between, in any star: 0.81 for a
# Gaussian of σ 0.68 pixel in the middle of a pixel, the sharpest there is on a WF chip.
BESIDE = 0.7
SHARPER = 2.0  # standard errors beyond which a pixel is sharper than a star
ALONE = 5.0  # and beyond which that is evidence enough by itself
REACH = 3  # pixels around in which a sky is looked for where none is known
LEAST = 0.02  # of the variance of a reference over that of the frame: more frames there are not


def noise_of(rate: np.ndarray, exptime: float) -> np.ndarray:
    """Return the standard error of count rates, by photons and readout.

    Parameters
    ----------
    rate : (ny, nx) ndarray of float32
        Expected [electrons / s]; NaN counts as nothing.
    exptime : float
        Exposure time [s].

    Returns
    -------
    noise : (ny, nx) ndarray of float32
        [electrons / s].
    """
    electrons = np.maximum(np.nan_to_num(rate), 0.0) * exptime
    return (np.sqrt(electrons + READ_NOISE**2) / exptime).astype(np.float32)


def find_rays(
    rate: np.ndarray, others: np.ndarray, exptime: float, *, faint: bool = True
) -> np.ndarray:
    """Return the pixels of a frame that a cosmic ray hit.

    Parameters
    ----------
    rate : (ny, nx) ndarray of float32
        The frame [electrons / s]; NaN where it has no good pixel.
    others : (ny, nx) ndarray of float32
        What other frames see at its pixels; NaN where none is good.
    exptime : float
        Of the frame [s].
    faint : bool
        Also return what is fainter than the others see: bad pixels. Not for two frames: which of
        them is wrong is told by who is brighter.

    Returns
    -------
    hit : (ny, nx) ndarray of bool
        False where the frame has no good pixel.
    """
    is_known = np.isfinite(others)
    sky = _filled(others)
    level = np.float32(np.median(sky))
    # Where the others are below the sky's level by noise, the frame is not less noisy.
    off, own = rate - sky, noise_of(np.maximum(sky, level), exptime)
    steep = steepness(sky)
    share = _share(off, own, is_known & (steep < FLAT * own))
    noise = own * np.float32(np.sqrt(1.0 + share))
    steep = np.maximum(steep - np.float32(FLAT) * noise, np.float32(0))
    excess, excess_noise = _beyond_stars(rate - level, own)
    with np.errstate(invalid="ignore"):  # what is not known is no ray
        is_sharper = excess > SHARPER * own
        on_star = (steep > 0) & ~is_sharper
        seed = off > SEED * noise + np.where(on_star, STEEP_ON_STARS, STEEP[0]) * steep
        seed &= is_known | (excess > ALONE * excess_noise)
        near = off > NEAR * noise + np.where(on_star, STEEP_ON_STARS, STEEP[1]) * steep
        near &= is_known | is_sharper
        hit = seed
        for _ in range(GROWTHS):
            hit = hit | (_around(hit) & near)
        if faint:
            hit |= is_known & (-off > SEED * noise + STEEP[0] * steep)
    return hit


def _share(off: np.ndarray, own: np.ndarray, is_flat: np.ndarray) -> float:
    """Return the variance of what the others see over that of the frame, from a flat sky.

    How many they are, how long they were exposed and what interpolation does to their noise is all
    in the scatter of the differences.
    """
    ratio = (off / own)[is_flat & np.isfinite(off)]
    if not ratio.size:
        return 1.0
    scatter = 1.4826 * float(np.median(np.abs(ratio - np.median(ratio))))
    return max(scatter**2 - 1.0, LEAST)


def _beyond_stars(net: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how far each pixel is above what a star with its neighbours could have, and the error."""
    padded = np.pad(np.nan_to_num(net), 1, mode="edge")
    row = padded[1:-1, :-2] + padded[1:-1, 2:]
    column = padded[:-2, 1:-1] + padded[2:, 1:-1]
    most = np.maximum(np.minimum(row, column), 0) / np.float32(BESIDE)
    return net - most, own * np.float32(np.sqrt(1.0 + 2.0 / BESIDE**2))


def _filled(sky: np.ndarray) -> np.ndarray:
    """Return the sky with the median of what is around where it is not known."""
    ys, xs = np.nonzero(~np.isfinite(sky))
    if not len(ys):
        return sky
    whole = sky[np.isfinite(sky)]
    level = np.float32(np.median(whole)) if whole.size else np.float32(0)
    padded = np.pad(sky, REACH, constant_values=np.nan)
    side = range(2 * REACH + 1)
    around = np.sort([padded[ys + dy, xs + dx] for dy in side for dx in side], axis=0)  # NaN last
    count = np.isfinite(around).sum(axis=0)
    middle = around[np.maximum(count - 1, 0) // 2, np.arange(len(ys))]
    filled = sky.copy()
    filled[ys, xs] = np.where(count > 0, middle, level)
    return filled


def _around(mask: np.ndarray) -> np.ndarray:
    """Return the pixels of a mask and all that touch one."""
    rows = mask.copy()
    rows[1:] |= mask[:-1]
    rows[:-1] |= mask[1:]
    grown = rows.copy()
    grown[:, 1:] |= rows[:, :-1]
    grown[:, :-1] |= rows[:, 1:]
    return grown
