"""Where sources are, how large, how sharp, how round, and how near to each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lightmill.imaging.background_mesh import BackgroundMesh, row_bands
from lightmill.imaging.detection import FWHM_TO_SIGMA

__all__ = [
    "Ellipses",
    "Segments",
    "ellipses",
    "measure_segments",
    "nearest_neighbours",
    "sharpness_and_roundness",
]

PIXEL_VARIANCE = 1.0 / 12.0  # of a pixel's own extent: no source is thinner
CHUNK = 4096  # sources whose windows are looked at at once


@dataclass(frozen=True, eq=False)
class Segments:
    """What the pixels of each segment add up to; all arrays (n,), the n-th of label n + 1.

    Attributes
    ----------
    x, y : ndarray of float64
        Centroid [pixel].
    area : ndarray of int64
        Number of pixels.
    flux, flux_err : ndarray of float64
        Sum above the sky and its standard error [unit of the image x pixel].
    cxx, cxy, cyy : ndarray of float64
        Central second moments [pixel^2].
    xmin, xmax, ymin, ymax : ndarray of int64
        Bounding box, both ends included [pixel].
    """

    x: np.ndarray
    y: np.ndarray
    area: np.ndarray
    flux: np.ndarray
    flux_err: np.ndarray
    cxx: np.ndarray
    cxy: np.ndarray
    cyy: np.ndarray
    xmin: np.ndarray
    xmax: np.ndarray
    ymin: np.ndarray
    ymax: np.ndarray


@dataclass(frozen=True, eq=False)
class Ellipses:
    """Gaussians of the same second moments as the sources; all arrays (n,).

    Attributes
    ----------
    semimajor, semiminor : ndarray of float64
        Standard deviation along the axes [pixel].
    orientation : ndarray of float64
        From the x axis to the major axis, counted towards the y axis [deg]; in [0, 90] or
        (270, 360).
    ellipticity : ndarray of float64
        One minus the ratio of the axes.
    """

    semimajor: np.ndarray
    semiminor: np.ndarray
    orientation: np.ndarray
    ellipticity: np.ndarray


def measure_segments(
    labels: np.ndarray,
    count: int,
    ratio: np.ndarray,
    data: np.ndarray,
    err: np.ndarray,
    mesh: BackgroundMesh,
) -> Segments:
    """Add up the pixels of each segment.

    Positions and second moments are weighted with the smoothed image, which noise sways less;
    fluxes are sums of the image itself. Errors of pixels count as independent.

    Parameters
    ----------
    labels : (ny, nx) ndarray of int32
        0 … `count`.
    count : int
        Number of sources.
    ratio : (ny, nx) ndarray of float32
        Smoothed image above the sky, over the noise, as `signal_to_noise` returns it.
    data, err : (ny, nx) ndarray of float32
        Image and its standard error.
    mesh : BackgroundMesh
        Sky and noise.

    Returns
    -------
    segments : Segments
        Positions are NaN for a label without pixels.
    """
    sums = np.zeros((9, count + 1))
    for y0, y1 in row_bands(labels.shape):
        places = np.flatnonzero(labels[y0:y1])
        if not len(places):
            continue
        inside = rows, columns = np.divmod(places, labels.shape[1])
        level, rms = mesh.at(y0, rows, columns)
        label = labels[y0:y1][inside]
        x, y = columns.astype(np.float64), (rows + y0).astype(np.float64)
        weight = ratio[y0:y1][inside].astype(np.float64) * rms
        signal = data[y0:y1][inside].astype(np.float64) - level
        error = err[y0:y1][inside].astype(np.float64)
        wx, wy = weight * x, weight * y
        parts = (None, weight, wx, wy, wx * x, wx * y, wy * y, signal, error * error)
        sums += [np.bincount(label, part, count + 1) for part in parts]
    area, weight, wx, wy, wxx, wxy, wyy, flux, variance = sums[:, 1:]
    with np.errstate(invalid="ignore", divide="ignore"):
        x, y = wx / weight, wy / weight
        cxx, cxy, cyy = wxx / weight - x * x, wxy / weight - x * y, wyy / weight - y * y
    xmin, xmax, ymin, ymax = _boxes(labels, count)
    return Segments(
        x, y, area.astype(np.int64), flux, np.sqrt(variance), cxx, cxy, cyy, xmin, xmax, ymin, ymax
    )  # fmt: skip


def ellipses(segments: Segments) -> Ellipses:
    """Return the axes of the second moments.

    A source narrower than a pixel gets the second moments of a pixel on top, so that no axis
    is zero [1]_.

    Parameters
    ----------
    segments : Segments
        With the moments.

    Returns
    -------
    shapes : Ellipses
        In the order of the segments.

    References
    ----------
    .. [1] Bertin, E. & Arnouts, S. 1996, A&AS, 117, 393, section 9.
    """
    cxx, cxy, cyy = segments.cxx.copy(), segments.cxy, segments.cyy.copy()
    while True:
        thin = cxx * cyy - cxy * cxy < PIXEL_VARIANCE**2
        if not thin.any():
            break
        cxx[thin] += PIXEL_VARIANCE
        cyy[thin] += PIXEL_VARIANCE
    mean, half = (cxx + cyy) / 2, np.hypot((cxx - cyy) / 2, cxy)
    semimajor, semiminor = np.sqrt(mean + half), np.sqrt(np.maximum(mean - half, 0))
    orientation = np.degrees(0.5 * np.arctan2(2 * cxy, cxx - cyy)) % 360
    return Ellipses(semimajor, semiminor, orientation, 1 - semiminor / semimajor)


def sharpness_and_roundness(
    data: np.ndarray, x: np.ndarray, y: np.ndarray, fwhm: float
) -> tuple[np.ndarray, np.ndarray]:
    """Compare the middle of each source with a Gaussian, and its quadrants with each other.

    Sharpness is the height of the central pixel above the mean of its neighbours over the height
    of the best-fitting Gaussian; roundness compares the two-fold with the four-fold symmetry [1]_.

    Parameters
    ----------
    data : (ny, nx) ndarray of float32
        The image; its sky does not matter.
    x, y : (n,) ndarray of float64
        Positions [pixel].
    fwhm : float
        Full width at half maximum of the Gaussian [pixel].

    Returns
    -------
    sharpness, roundness : (n,) ndarray of float64
        NaN for positions that are no numbers, or where a pixel has no value. Pixels beyond the
        image count as zero.

    References
    ----------
    .. [1] Stetson, P. B. 1987, PASP, 99, 191.
    """
    kernel, disc = _zero_sum_gaussian(fwhm)
    half = len(kernel) // 2
    sharpness, roundness = np.full(len(x), np.nan), np.full(len(x), np.nan)
    known = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    quarter = _quadrants(half)
    for start in range(0, len(known), CHUNK):
        some = known[start : start + CHUNK]
        wide = _windows(data, x[some], y[some], 2 * half)
        narrow = wide[:, half:-half, half:-half]
        patches = np.lib.stride_tricks.sliding_window_view(wide, kernel.shape, axis=(1, 2))
        fitted = np.einsum("nyxij,ij->nyx", patches, kernel)
        peak = narrow[:, half, half]
        around = (np.where(disc, narrow, 0).sum(axis=(1, 2)) - peak) / (disc.sum() - 1)
        with np.errstate(invalid="ignore", divide="ignore"):
            sharpness[some] = (peak - around) / fitted[:, half, half]
            fitted[:, half, half] = 0
            two = np.einsum("nyx,yx->n", fitted, quarter)
            roundness[some] = 2 * two / np.abs(fitted).sum(axis=(1, 2))
    return sharpness, roundness


def nearest_neighbours(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest other source of each.

    Parameters
    ----------
    x, y : (n,) ndarray of float64
        Positions [pixel].

    Returns
    -------
    index : (n,) ndarray of int64
        Index of the nearest other source; -1 where there is none.
    distance : (n,) ndarray of float64
        Distance to it [pixel]; NaN where there is none.
    """
    index, distance = np.full(len(x), -1, np.int64), np.full(len(x), np.nan)
    known = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    if len(known) < 2:
        return index, distance
    from scipy.spatial import cKDTree

    places = np.stack([x[known], y[known]], axis=1)
    far, near = cKDTree(places).query(places, k=2)
    # Of two sources at the same place, each may be named as its own nearest.
    own = near[:, 1] == np.arange(len(known))
    index[known] = known[np.where(own, near[:, 0], near[:, 1])]
    distance[known] = far[:, 1]
    return index, distance


def _boxes(labels: np.ndarray, count: int) -> tuple[np.ndarray, ...]:
    from scipy import ndimage

    found = [
        (0, -1, 0, -1) if one is None else (one[1].start, one[1].stop - 1, one[0].start, one[0].stop - 1)
        for one in ndimage.find_objects(labels, count)
    ]  # fmt: skip
    return tuple(np.array(found, np.int64).reshape(-1, 4).T)


def _zero_sum_gaussian(fwhm: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the kernel whose product with the pixels is the height of the best Gaussian.

    It is the least-squares solution for height and sky within 1.5 standard deviations (2 pixels
    at least) of the centre.
    """
    sigma = max(fwhm, 0.1) * FWHM_TO_SIGMA
    radius = max(2.0, 1.5 * sigma)
    half = int(radius)
    square = np.arange(-half, half + 1) ** 2
    r2 = square[:, None] + square
    disc = r2 <= radius * radius
    shape = np.where(disc, np.exp(-0.5 * r2 / sigma**2), 0.0)
    mean = shape.sum() / disc.sum()
    scale = (shape**2).sum() - shape.sum() * mean
    return np.where(disc, shape - mean, 0.0) / scale, disc


def _quadrants(half: int) -> np.ndarray:
    """Return the sign of each pixel's quadrant: quadrants turn into each other by 90 degrees."""
    sign = np.zeros((2 * half + 1, 2 * half + 1))
    sign[: half + 1, half + 1 :] = -1
    sign[:half, : half + 1] = 1
    sign[half:, :half] = -1
    sign[half + 1 :, half:] = 1
    return sign


def _windows(data: np.ndarray, x: np.ndarray, y: np.ndarray, half: int) -> np.ndarray:
    """Return the pixels around positions, (n, 2 half + 1, 2 half + 1); zero beyond the image."""
    ny, nx = data.shape
    offsets = np.arange(-half, half + 1)
    rows = np.rint(y).astype(np.int64)[:, None] + offsets
    columns = np.rint(x).astype(np.int64)[:, None] + offsets
    cut = data[np.clip(rows, 0, ny - 1)[:, :, None], np.clip(columns, 0, nx - 1)[:, None, :]]
    cut = cut.astype(np.float64)
    cut[((rows < 0) | (rows >= ny))[:, :, None] | ((columns < 0) | (columns >= nx))[:, None, :]] = 0
    return cut
