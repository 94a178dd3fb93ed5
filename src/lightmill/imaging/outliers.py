"""Find what only one of several exposures sees: cosmic rays, bad pixels, satellites.

The median of the exposures, put on one grid, is what the sky looks like; an exposure's pixel that
is off by more than its noise, and by more than interpolation can be off where the sky is steep, is
an outlier (the method of "driz_cr": Fruchter & Hook 2002, PASP 114, 144; Gonzaga et al. 2012, The
DrizzlePac Handbook).
"""

from __future__ import annotations

import numpy as np

__all__ = ["find_outliers", "find_outliers_unshifted", "median_of", "steepness", "weight_threshold"]

SAMPLE = 200_000  # weights looked at: their mean is then known to a thousandth


def weight_threshold(weight: np.ndarray, share: float) -> float:
    """Return the weight below which a pixel says too little to be part of a median.

    Parameters
    ----------
    weight : array_like of float32
        Weights; of zeros and values that are not numbers no notice is taken.
    share : float
        Of the mean weight.

    Returns
    -------
    threshold : float
        `share` of the mean weight, after clipping five times at 3 standard deviations about the
        median; 0 where there is no weight. Evenly spaced pixels stand for all of them.
    """
    flat = np.asarray(weight).reshape(-1)
    sample = flat[:: max(1, flat.size // SAMPLE)].astype(np.float64)
    sample = sample[np.isfinite(sample) & (sample != 0)]
    if not sample.size:
        sample = flat[np.isfinite(flat) & (flat != 0)].astype(np.float64)
    if not sample.size:
        return 0.0
    for _ in range(5):
        middle, spread = np.median(sample), sample.std()
        kept = sample[np.abs(sample - middle) <= 3 * spread]
        if kept.size == sample.size:
            break
        sample = kept
    return float(sample.mean() * share)


def median_of(cube: np.ndarray) -> np.ndarray:
    """Return the median along the first axis of what is there.

    Parameters
    ----------
    cube : (n, ny, nx) ndarray of float32
        NaN where nothing is there; sorted in place.

    Returns
    -------
    median : (ny, nx) ndarray of float32
        Mean of the middle two where their number is even; NaN where there is none.
    """
    count = len(cube) - np.isnan(cube).sum(axis=0)
    cube.sort(axis=0)  # NaN last
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, len(cube) - 1)
    median = np.take_along_axis(cube, low[None], axis=0)[0]
    median += np.take_along_axis(cube, high[None], axis=0)[0]
    median *= np.float32(0.5)
    return median


def steepness(image: np.ndarray) -> np.ndarray:
    """Return how much each pixel differs from its neighbours in row and column, at most.

    Parameters
    ----------
    image : (ny, nx) ndarray of float32

    Returns
    -------
    steep : (ny, nx) ndarray of float32
        Largest absolute difference to one of the four; neighbours that are NaN do not count.
        NaN where the pixel is.
    """
    steep = np.zeros_like(image)
    for axis in (0, 1):
        difference = np.abs(np.diff(image, axis=axis))
        for part in (slice(1, None), slice(None, -1)):
            side = steep[part] if axis == 0 else steep[:, part]
            np.fmax(side, difference, out=side)
    steep[np.isnan(image)] = np.nan
    return steep


def find_outliers(
    data: np.ndarray,
    error: np.ndarray,
    sky: np.ndarray,
    *,
    snr: tuple[float, float],
    scale: tuple[float, float],
    level: float = 0.0,
    sky_noise: float = 0.0,
) -> np.ndarray:
    """Find the pixels that differ from what all exposures see.

    Parameters
    ----------
    data, error : (ny, nx) ndarray of float32
        The exposure and its standard error, which is taken for 0 where it is not known.
    sky : (ny, nx) ndarray of float32
        What all exposures see at its pixels.
    snr : (float, float)
        Standard errors a pixel must be off; first of a seed, then of its neighbours.
    scale : (float, float)
        Share of the steepness of `sky` a pixel may be off besides, for both.
    level : float
        Of the sky in `data` and not in `sky`.
    sky_noise : float
        Share of `error` that the steepness of `sky` may be by noise alone: only what is steeper
        counts. Without it a blank sky is as tolerant as a faint source, and `scale` has to be so
        small that the cores of undersampled stars are taken for outliers.

    Returns
    -------
    outlier : (ny, nx) ndarray of bool
        Seeds, and neighbours of seeds (the diagonal ones, too), that pass the second test.
    """
    # Invalid values compare as false: a pixel that is not known is no outlier.
    with np.errstate(invalid="ignore"):
        off = np.abs(data - sky - np.float32(level))
        steep = steepness(sky)
        noise = np.where(np.isfinite(error), error, np.float32(0))
        if sky_noise:
            steep = np.maximum(steep - np.float32(sky_noise) * noise, np.float32(0))
        seed = off > np.float32(scale[0]) * steep + np.float32(snr[0]) * noise
        near = off > np.float32(scale[1]) * steep + np.float32(snr[1]) * noise
    around = seed.copy()
    around[1:] |= seed[:-1]
    around[:-1] |= seed[1:]
    grown = around.copy()
    grown[:, 1:] |= around[:, :-1]
    grown[:, :-1] |= around[:, 1:]
    return grown & near


def find_outliers_unshifted(
    data: np.ndarray, error: np.ndarray, sky: np.ndarray, *, snr: float
) -> np.ndarray:
    """Find the pixels off by more than their noise, in exposures of one and the same pointing.

    Parameters
    ----------
    data, error, sky : (ny, nx) ndarray of float32
        The exposure, its standard error, the median of all.
    snr : float
        Standard errors a pixel must be off.

    Returns
    -------
    outlier : (ny, nx) ndarray of bool
        Where it is off.
    """
    with np.errstate(invalid="ignore"):
        return np.abs(data - sky) > np.float32(snr) * np.where(
            np.isfinite(error), error, np.float32(0)
        )
