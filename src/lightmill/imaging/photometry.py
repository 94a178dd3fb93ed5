"""Fluxes: in circles, in Kron ellipses, above a local sky; and their magnitudes."""

from __future__ import annotations

import math

import numpy as np

from lightmill.imaging.background_mesh import (
    CLIP,
    ITERATIONS,
    BackgroundMesh,
    clipped_statistics,
    row_bands,
)
from lightmill.imaging.morphology import Ellipses, Segments

__all__ = [
    "ab_magnitudes",
    "circular_fluxes",
    "kron_fluxes",
    "local_backgrounds",
    "rectangular_backgrounds",
    "subtracted",
]

ZERO_POINT = 8.9  # AB magnitude of 1 Jy: -48.60 for erg/s/cm^2/Hz (Oke & Gunn 1983, ApJ, 266, 713)
KRON_REACH = 6.0  # standard deviations out to which the first moment is taken (SExtractor)
HOLED = 0x20  # SEP's flag of an aperture with pixels that are left out
CHUNK = 1 << 20  # pixels of annuli looked at at once
FEWEST = 10  # pixels that a local sky needs


def local_backgrounds(
    data: np.ndarray, x: np.ndarray, y: np.ndarray, inner: float, outer: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the sky in a ring around each position: the median, far pixels left out.

    Parameters
    ----------
    data : (ny, nx) ndarray of float32
        The image; pixels without a value (NaN) and beyond the image take no part.
    x, y : (n,) ndarray of float64
        Positions [pixel].
    inner, outer : float
        Radii of the ring [pixel]; pixels count whose centre lies in it.

    Returns
    -------
    level : (n,) ndarray of float64
        Median of the pixels within three standard deviations [unit of the image]; NaN where
        there are none.
    error : (n,) ndarray of float64
        Standard error of a median of N Gaussian values, ``sqrt(pi / 2N)`` deviations.
    """
    level, error = np.full(len(x), np.nan), np.full(len(x), np.nan)
    reach = math.ceil(outer) + 1
    grid = np.arange(-reach, reach + 1)
    distance = np.hypot(grid[:, None], grid)
    dy, dx = np.nonzero((distance > inner - 1) & (distance < outer + 1))
    dy, dx = dy - reach, dx - reach
    known = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    step = max(1, CHUNK // max(len(dx), 1))
    for start in range(0, len(known), step):
        some = known[start : start + step]
        values = _ring(data, x[some], y[some], dx, dy, inner, outer)
        level[some], error[some] = _row_medians(values)
    return level, error


def circular_fluxes(
    data: np.ndarray, err: np.ndarray, x: np.ndarray, y: np.ndarray, radius: float
) -> tuple[np.ndarray, np.ndarray]:
    """Add up the light in a circle around each position, pixels cut exactly by its edge.

    Parameters
    ----------
    data, err : (ny, nx) ndarray of float32
        Image and its standard error, C-contiguous.
    x, y : (n,) ndarray of float64
        Positions [pixel].
    radius : float
        Of the circle [pixel].

    Returns
    -------
    flux, flux_err : (n,) ndarray of float64
        NaN where the circle holds a pixel without a value, or leaves the image: part of the
        light is unknown then. The errors of pixels count as independent.
    """
    import sep

    flux, flux_err = np.full(len(x), np.nan), np.full(len(x), np.nan)
    known = np.isfinite(x) & np.isfinite(y)
    if known.any():
        total, error, _ = sep.sum_circle(data, x[known], y[known], radius, err=err, subpix=0)
        # SEP's own flag misses a circle that is less than a pixel outside.
        ny, nx = data.shape
        whole = (x[known] - radius >= -0.5) & (x[known] + radius <= nx - 0.5)
        whole &= (y[known] - radius >= -0.5) & (y[known] + radius <= ny - 0.5)
        flux[known] = np.where(whole, total, np.nan)
        flux_err[known] = np.where(whole, error, np.nan)
    return flux, flux_err


def subtracted(
    data: np.ndarray, mesh: BackgroundMesh, mask: np.ndarray, out: np.ndarray
) -> np.ndarray:
    """Return the image without its sky, in `out`; zero where a pixel has no value."""
    for y0, y1 in row_bands(data.shape):
        np.subtract(data[y0:y1], mesh.level_rows(y0, y1), out=out[y0:y1])
        out[y0:y1][mask[y0:y1]] = 0
    return out


def kron_fluxes(
    signal: np.ndarray,
    err: np.ndarray,
    mask: np.ndarray,
    labels: np.ndarray,
    segments: Segments,
    shapes: Ellipses,
    *,
    scale: float = 2.5,
    least: float = 1.4,
    least_circle: float = 0.0,
    neighbours: str = "correct",
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Add up the light in an ellipse as large as the source's own light asks for [1]_.

    Parameters
    ----------
    signal : (ny, nx) ndarray of float32
        Image without its sky, finite, C-contiguous.
    err : (ny, nx) ndarray of float32
        Standard error.
    mask : (ny, nx) ndarray of bool
        True where a pixel has no value; it counts like a pixel of another source, or as zero.
    labels : (ny, nx) ndarray of int32
        Segment of each pixel.
    segments : Segments
        Where the sources are.
    shapes : Ellipses
        Their axes.
    scale : float
        Ellipse over first-moment radius.
    least : float
        Smallest first-moment radius [semimajor axis].
    least_circle : float
        Smallest circular radius of an ellipse [pixel]; smaller ones become circles of it.
    neighbours : {'correct', 'mask', 'none'}
        Pixels of other sources: the pixel opposite the centre stands for them (zero, if that
        is none of the source's or the sky's either), count as zero, count as they are.

    Returns
    -------
    flux, flux_err : (n,) ndarray of float64
        [unit of the image x pixel]; light beyond the image is missing from it.
    radius : (n,) ndarray of float64
        First-moment radius [semimajor axis].

    References
    ----------
    .. [1] Kron, R. G. 1980, ApJS, 43, 305; in the form of Bertin & Arnouts 1996.
    """
    import sep

    number = np.arange(1, len(segments.x) + 1)
    angle = np.radians((shapes.orientation + 90) % 180 - 90)
    place = segments.x, segments.y
    axes = shapes.semimajor, shapes.semiminor, angle
    others = {} if neighbours == "none" else {"segmap": labels, "seg_id": number}
    radius, _ = sep.kron_radius(signal, *place, *axes, KRON_REACH, mask=mask, **others)
    radius = np.maximum(np.where(np.isfinite(radius), radius, 0), least)
    reach = scale * radius
    circular = reach * np.sqrt(shapes.semimajor * shapes.semiminor)
    small = circular < least_circle
    major = np.where(small, least_circle, reach * shapes.semimajor)
    minor = np.where(small, least_circle, reach * shapes.semiminor)
    flux, error, flag = sep.sum_ellipse(
        signal, *place, major, minor, angle, 1.0, err=err, mask=mask, subpix=0, **others
    )
    holed = np.flatnonzero(flag & HOLED)
    if len(holed):
        outlines = np.stack([*place, major, minor, angle], axis=1)[holed]
        flux[holed], error[holed] = _patched(
            signal, err, mask, labels, number[holed], outlines, neighbours
        )
    return flux, error, radius


def rectangular_backgrounds(
    signal: np.ndarray, mask: np.ndarray, labels: np.ndarray, segments: Segments, width: int
) -> np.ndarray:
    """Return what the sky still is in a rectangular ring around each source.

    Parameters
    ----------
    signal : (ny, nx) ndarray of float32
        Image without its sky.
    mask : (ny, nx) ndarray of bool
        True where a pixel has no value.
    labels : (ny, nx) ndarray of int32
        Segment of each pixel; pixels of any source take no part.
    segments : Segments
        With the boxes; the ring begins at 1.5 times their sides.
    width : int
        Of the ring [pixel].

    Returns
    -------
    level : (n,) ndarray of float64
        Median, far pixels left out; 0 where fewer than ten pixels speak.
    """
    ny, nx = signal.shape
    level = np.zeros(len(segments.x))
    for i in range(len(level)):
        x0, x1 = _stretched(segments.xmin[i], segments.xmax[i])
        y0, y1 = _stretched(segments.ymin[i], segments.ymax[i])
        rows = slice(max(y0 - width, 0), min(y1 + width, ny))
        columns = slice(max(x0 - width, 0), min(x1 + width, nx))
        free = ~mask[rows, columns] & (labels[rows, columns] == 0)
        free[
            max(y0 - rows.start, 0) : max(y1 - rows.start, 0),
            max(x0 - columns.start, 0) : max(x1 - columns.start, 0),
        ] = False
        values = signal[rows, columns][free]
        if len(values) >= FEWEST:
            level[i] = clipped_statistics(values)[0]
    return level


def ab_magnitudes(flux: np.ndarray, flux_err: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return magnitudes on the AB system.

    Parameters
    ----------
    flux, flux_err : (n,) array_like of float64
        [Jy].

    Returns
    -------
    magnitude, error : (n,) ndarray of float64
        NaN where the flux is not positive. The error is the distance to the magnitude of the
        flux one standard error brighter.
    """
    flux, flux_err = np.asarray(flux, np.float64), np.asarray(flux_err, np.float64)
    flux = np.where(flux > 0, flux, np.nan)
    with np.errstate(invalid="ignore"):
        return ZERO_POINT - 2.5 * np.log10(flux), 2.5 * np.log10(1 + flux_err / flux)


def _ring(
    data: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    dx: np.ndarray,
    dy: np.ndarray,
    inner: float,
    outer: float,
) -> np.ndarray:
    """Return the pixels of each ring, (n, k) float64; NaN for those of the k that are not in it."""
    ny, nx = data.shape
    columns = np.rint(x).astype(np.int64)[:, None] + dx
    rows = np.rint(y).astype(np.int64)[:, None] + dy
    r2 = (columns - x[:, None]) ** 2 + (rows - y[:, None]) ** 2
    inside = (rows >= 0) & (rows < ny) & (columns >= 0) & (columns < nx)
    inside &= (r2 > inner * inner) & (r2 < outer * outer)
    values = data[np.clip(rows, 0, ny - 1), np.clip(columns, 0, nx - 1)].astype(np.float64)
    values[~inside | ~np.isfinite(values)] = np.nan
    return values


def _row_medians(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return median and its error of each row, NaN and far values left out."""
    values = np.sort(values, axis=1)  # NaN last: what is kept is a slice of each row
    row = np.arange(len(values))
    low = np.zeros(len(values), np.int64)
    high = np.count_nonzero(np.isfinite(values), axis=1)
    offset = np.where(high > 0, values[row, high // 2], 0.0)
    sums = _running(np.nan_to_num(values - offset[:, None]))
    squares = _running(np.nan_to_num(values - offset[:, None]) ** 2)
    for turn in range(ITERATIONS + 1):
        with np.errstate(invalid="ignore", divide="ignore"):
            middle = (low + high) // 2
            before = np.where((high - low) % 2, middle, middle - 1)
            median = (values[row, before] + values[row, np.minimum(middle, high - 1)]) / 2
            mean = (sums[row, high] - sums[row, low]) / (high - low)
            spread = (squares[row, high] - squares[row, low]) / (high - low) - mean**2
            deviation = np.sqrt(np.maximum(spread, 0))
        if turn == ITERATIONS:
            break
        first = np.count_nonzero(values < (median - CLIP * deviation)[:, None], axis=1)
        last = np.count_nonzero(values <= (median + CLIP * deviation)[:, None], axis=1)
        first, last = np.maximum(first, low), np.minimum(last, high)
        if np.array_equal(first, low) and np.array_equal(last, high):
            break
        low, high = first, last
    number = np.maximum(high - low, 1)
    empty = high <= low
    return (
        np.where(empty, np.nan, median),
        np.where(empty, np.nan, np.sqrt(math.pi / (2 * number)) * deviation),
    )


def _running(values: np.ndarray) -> np.ndarray:
    """Return the sum of the first k values of each row, k from 0."""
    sums = np.zeros((values.shape[0], values.shape[1] + 1))
    np.cumsum(values, axis=1, out=sums[:, 1:])
    return sums


def _stretched(low: int, high: int) -> tuple[int, int]:
    """Return first and last (exclusive) of 1.5 times an interval."""
    half = 0.75 * (high - low + 1)
    middle = (low + high) / 2
    return math.floor(middle - half + 0.5), math.ceil(middle + half + 0.5)


def _patched(
    signal: np.ndarray,
    err: np.ndarray,
    mask: np.ndarray,
    labels: np.ndarray,
    number: np.ndarray,
    outlines: np.ndarray,
    neighbours: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Add up ellipses in which pixels are without a value, or belong to other sources.

    A source is as bright on the other side of its centre: the mean of an ellipse, which SEP puts
    in place of such pixels, is far brighter than they are at its edge.
    """
    import sep

    ny, nx = signal.shape
    flux, error = np.zeros(len(number)), np.zeros(len(number))
    for i, (x, y, major, minor, angle) in enumerate(outlines):
        reach = math.ceil(major) + 1
        rows = np.arange(max(int(y) - reach, 0), min(int(y) + reach + 2, ny))
        columns = np.arange(max(int(x) - reach, 0), min(int(x) + reach + 2, nx))
        window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        missing = mask[window].copy()
        if neighbours != "none":
            missing |= (labels[window] != 0) & (labels[window] != number[i])
        light = np.where(missing, 0, signal[window])
        variance = np.where(missing, 0, err[window].astype(np.float64) ** 2)
        if neighbours == "correct":
            holes = np.nonzero(missing)
            opposite = (
                np.clip(np.rint(2 * y - rows[holes[0]]).astype(int) - rows[0], -1, len(rows)),
                np.clip(np.rint(2 * x - columns[holes[1]]).astype(int) - columns[0], -1, len(columns)),
            )  # fmt: skip
            light[holes] = np.pad(light, 1)[opposite[0] + 1, opposite[1] + 1]
            variance[holes] = np.pad(variance, 1)[opposite[0] + 1, opposite[1] + 1]
        total, deviation, _ = sep.sum_ellipse(
            light, [x - columns[0]], [y - rows[0]], [major], [minor], [angle], 1.0,
            var=variance, subpix=0,
        )  # fmt: skip
        flux[i], error[i] = total[0], deviation[0]
    return flux, error
