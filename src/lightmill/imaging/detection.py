"""Signal to noise of an image, smoothed to the shape of a star."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from lightmill.imaging.background_mesh import BackgroundMesh, row_bands

__all__ = ["FWHM_TO_SIGMA", "NoiseExcess", "coverage_mask", "matched_kernel", "signal_to_noise"]

ORDINARY = 1.25  # pixels differ so much from each other by themselves
SAMPLE = 200_000  # pixels that tell the typical variance to a thousandth
FWHM_TO_SIGMA = 1.0 / (2.0 * math.sqrt(2.0 * math.log(2.0)))  # of a Gaussian


def coverage_mask(
    data: np.ndarray, err: np.ndarray | None = None, weight: np.ndarray | None = None
) -> np.ndarray:
    """Return where an image says nothing.

    Parameters
    ----------
    data : (ny, nx) ndarray of float32
        The image.
    err : (ny, nx) ndarray of float32, optional
        Its standard error, same unit.
    weight : (ny, nx) array_like of float32, optional
        Weight of each pixel; it is read row by row and may lie in a file.

    Returns
    -------
    mask : (ny, nx) ndarray of bool
        True where the image or its error is no number, or the weight is zero.
    """
    mask = ~np.isfinite(data)
    for y0, y1 in row_bands(data.shape):
        if err is not None:
            mask[y0:y1] |= np.isnan(err[y0:y1])
        if weight is not None:
            mask[y0:y1] |= np.asarray(weight[y0:y1]) == 0
    return mask


def matched_kernel(fwhm: float) -> np.ndarray:
    """Return the profile of a Gaussian, to be applied along rows and along columns.

    Parameters
    ----------
    fwhm : float
        Full width at half maximum [pixel].

    Returns
    -------
    profile : (k,) ndarray of float32
        Values at pixel centres, of sum one; k is odd and covers four standard deviations on
        either side.
    """
    sigma = fwhm * FWHM_TO_SIGMA
    half = math.ceil(8 * sigma) // 2
    profile = np.exp(-0.5 * (np.arange(-half, half + 1) / sigma) ** 2)
    return (profile / profile.sum()).astype(np.float32)


def signal_to_noise(
    data: np.ndarray, mesh: BackgroundMesh, mask: np.ndarray, fwhm: float
) -> np.ndarray:
    """Subtract the sky, smooth, and divide by the noise of a pixel.

    The noise is that of a pixel before smoothing: a threshold keeps its meaning whatever the
    kernel, and is the more severe the wider this is. Smoothing with the profile of a star is
    the matched filter for stars [1]_.

    Parameters
    ----------
    data : (ny, nx) ndarray of float32
        The image.
    mesh : BackgroundMesh
        Its sky and noise.
    mask : (ny, nx) ndarray of bool
        True where a pixel has no value. Such pixels, and all outside the image, take no part in
        the smoothing: the others' weights make up for them.
    fwhm : float
        Full width at half maximum of the kernel [pixel]; 0 does not smooth.

    Returns
    -------
    ratio : (ny, nx) ndarray of float32
        Zero where a pixel has no value.

    References
    ----------
    .. [1] Bertin, E. & Arnouts, S. 1996, A&AS, 117, 393, section 5.
    """
    ny, nx = data.shape
    profile = matched_kernel(fwhm) if fwhm > 0 else np.ones(1, np.float32)
    half = len(profile) // 2
    edges = _weight_inside(nx, profile)
    ratio = np.empty((ny, nx), np.float32)
    for y0, y1 in row_bands(data.shape):
        top, bottom = max(y0 - half, 0), min(y1 + half, ny)
        hidden = mask[top:bottom]
        padded = np.zeros((y1 - y0 + 2 * half, nx + 2 * half), np.float32)
        first = top - (y0 - half)
        inner = padded[first : first + bottom - top, half : half + nx]
        np.subtract(data[top:bottom], mesh.level_rows(top, bottom), out=inner)
        inner[hidden] = 0
        smooth = _smoothed(padded, profile)
        if hidden.any():
            padded[:] = 0
            inner[:] = ~hidden
            weight = _smoothed(padded, profile)
            np.divide(smooth, weight, out=smooth, where=weight > 0)
        else:
            rows = _weight_inside(ny, profile, y0, y1)
            smooth /= rows[:, None]
            smooth /= edges
        smooth /= _noise_rows(mesh, y0, y1)
        smooth[mask[y0:y1]] = 0
        ratio[y0:y1] = smooth
    return ratio


class NoiseExcess:
    """How much noisier the pixels of an image are than its boxes say.

    Boxes are larger than the footprint of a cosmic ray, where a ramp's slope is of what was left
    of it. The variance by read noise tells, and does not know of the sources.

    Parameters
    ----------
    variance : callable
        Takes the first row and the one after the last; returns the variance of these rows, in
        any unit, (rows, nx) ndarray of float32.
    mask : (ny, nx) ndarray of bool
        True where a pixel has no value.
    """

    def __init__(self, variance: Callable[[int, int], np.ndarray], mask: np.ndarray) -> None:
        self.variance = variance
        step = max(1, math.isqrt(mask.size // SAMPLE))
        parts = []
        for y0, y1 in row_bands(mask.shape):
            part = variance(y0, y1)[::step, ::step]
            parts.append(part[~mask[y0:y1:step, ::step] & np.isfinite(part) & (part > 0)])
        sample = np.concatenate(parts)
        self.typical = float(np.median(sample)) if sample.size else math.nan

    def rows(self, y0: int, y1: int) -> np.ndarray:
        """Return what the noise of some rows is over that of the boxes: one or more."""
        with np.errstate(invalid="ignore", divide="ignore"):
            excess = np.sqrt(self.variance(y0, y1) / np.float32(self.typical))
        excess[~(excess > ORDINARY)] = 1  # also where it is not known
        return excess


def _noise_rows(mesh: BackgroundMesh, y0: int, y1: int) -> np.ndarray:
    """Return the noise of some rows, never zero: an image without noise has rounding at least."""
    rounding = np.float32(np.abs(mesh.level).max() * 1e-6 + 1e-30)
    return np.maximum(mesh.rms_rows(y0, y1), rounding)


def _smoothed(padded: np.ndarray, profile: np.ndarray) -> np.ndarray:
    """Convolve with a symmetric profile along both axes; the padding is used up."""
    half = len(profile) // 2
    ny, nx = padded.shape[0] - 2 * half, padded.shape[1] - 2 * half
    columns = padded[half : half + ny] * profile[half]
    pair = np.empty_like(columns)
    for k in range(1, half + 1):
        np.add(padded[half - k : half - k + ny], padded[half + k : half + k + ny], out=pair)
        pair *= profile[half + k]
        columns += pair
    result = columns[:, half : half + nx] * profile[half]
    pair = np.empty_like(result)
    for k in range(1, half + 1):
        np.add(columns[:, half - k : half - k + nx], columns[:, half + k : half + k + nx], out=pair)
        pair *= profile[half + k]
        result += pair
    return result


def _weight_inside(
    length: int, profile: np.ndarray, start: int = 0, stop: int | None = None
) -> np.ndarray:
    """Return how much of the profile lies inside an axis when it is centred on start … stop - 1."""
    half = len(profile) // 2
    places = np.arange(start, length if stop is None else stop)[:, None] + np.arange(
        -half, half + 1
    )
    return ((places >= 0) & (places < length)).astype(np.float32) @ profile
