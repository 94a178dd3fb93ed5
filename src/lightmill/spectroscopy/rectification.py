"""Take the spectra of many spatial elements out of one frame, where their light overlaps.

In each column the signal is a sum over elements of flux times profile. The fluxes that fit the
signal best, with weights of its errors, solve a system of equations whose matrix is zero but near its
diagonal, since an element overlaps its neighbours only.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lightmill.errors import DataError

__all__ = ["Spectra", "extract", "rebinned", "signal_of"]

# Elements times columns worked on at a time: few calls of NumPy, and some 250 MB for profiles of 11 rows.
AT_ONCE = 1 << 20


class Spectra(NamedTuple):
    """Flux of each element in each column, and its variance, (element, column) float64.

    NaN, and variance 0, where no usable pixel saw it.
    """

    flux: np.ndarray
    variance: np.ndarray


def extract(
    data: np.ndarray,
    variance: np.ndarray,
    usable: np.ndarray,
    weights: np.ndarray,
    rows: np.ndarray,
    *,
    with_variance: bool = True,
) -> Spectra:
    """Return the fluxes that fit a frame best, column by column.

    Parameters
    ----------
    data, variance : (ny, nx) ndarray
        Signal and its variance.
    usable : (ny, nx) ndarray of bool
        Which pixels count.
    weights : (n, nr, nx) ndarray
        Signal in the rows of each element for unit flux, in each column.
    rows : (n, nx) ndarray of int
        First of these rows; elements are in the order of their rows.
    with_variance : bool
        Whether variances are wanted; they take half of the time, and are 0 without.

    Returns
    -------
    spectra : Spectra
        Variances are the diagonal of the inverse matrix: what overlap costs is in them.

    Raises
    ------
    DataError
        If a profile leaves the frame.
    """
    n, height, nx = weights.shape
    ny = data.shape[0]
    if rows.min() < 0 or rows.max() + height > ny:
        raise DataError(
            "the profile of an element leaves the frame",
            found=f"rows {rows.min()} to {rows.max() + height - 1}",
            expected=f"0 to {ny - 1}",
            remedy="use the rectification matrix of this detector and subarray",
        )
    good = usable & np.isfinite(data) & (variance > 0)
    inverse = np.divide(1.0, variance, out=np.zeros(data.shape), where=good)
    signal = np.where(good, data, 0.0)
    made = Spectra(np.empty((n, nx)), np.empty((n, nx)))
    step = max(64, AT_ONCE // n)
    for x0 in range(0, nx, step):
        columns = slice(x0, min(x0 + step, nx))
        bands, right = _equations(
            signal[:, columns],
            inverse[:, columns],
            np.asarray(weights[..., columns], np.float64),
            rows[:, columns],
        )
        flux, variances = _solved(bands, right, with_variance=with_variance)
        made.flux[:, columns], made.variance[:, columns] = flux, variances
    return made


def signal_of(
    flux: np.ndarray, weights: np.ndarray, rows: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """Return the frame that fluxes of elements make.

    Parameters
    ----------
    flux : (n, nx) ndarray
        NaN is none.
    weights : (n, nr, nx) ndarray
        Signal in the rows of each element for unit flux.
    rows : (n, nx) ndarray of int
        First of these rows.
    shape : (int, int)
        Rows and columns of the frame.

    Returns
    -------
    signal : (ny, nx) ndarray of float64
        Sum over the elements.
    """
    signal = np.zeros(shape[0] * shape[1])
    first = rows.astype(np.int64) * shape[1] + np.arange(shape[1])
    known = np.nan_to_num(flux)
    for row in range(weights.shape[1]):
        light = (weights[:, row] * known).ravel()
        signal += np.bincount((first + row * shape[1]).ravel(), light, minlength=signal.size)
    return signal.reshape(shape)


def _equations(
    signal: np.ndarray, inverse: np.ndarray, weights: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the bands of the normal matrix and the right side of each column's system.

    bands[j, e] is the product of the profiles of elements e and e + j: (band + 1, n, nx).
    """
    n, height, nx = weights.shape
    x = np.arange(nx)
    place = (rows[:, None, :] + np.arange(height)[:, None]) * nx + x  # (n, nr, nx)
    weighed = weights * np.take(np.ascontiguousarray(inverse), place)
    band = _band(rows, height)
    bands = np.zeros((band + 1, n, nx))
    bands[0] = np.einsum("erx,erx->ex", weighed, weights)
    for j in range(1, band + 1):
        shift = rows[j:] - rows[:-j]  # rows by which the later profile begins after
        for by in range(1 - height, height):  # few of them occur
            here = shift == by
            if here.any():
                early = weighed[:-j, max(by, 0) : height + min(by, 0)]
                late = weights[j:, max(-by, 0) : height - max(by, 0)]
                np.copyto(bands[j, :-j], np.einsum("erx,erx->ex", early, late), where=here)
    return bands, np.einsum("erx,erx->ex", weighed, np.take(np.ascontiguousarray(signal), place))


def _band(rows: np.ndarray, height: int) -> int:
    """Return how many later elements an element overlaps at most."""
    band = 0
    while band + 1 < len(rows) and (rows[band + 1 :] - rows[: -band - 1] < height).any():
        band += 1
    return band


def _solved(
    bands: np.ndarray, right: np.ndarray, *, with_variance: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Solve the systems of all columns, and return the diagonals of the inverses, too.

    Decomposition L D Lᵀ of a banded matrix; elements of the inverse within the band follow from
    the last one backwards [1]_.

    References
    ----------
    .. [1] Takahashi, K., Fagan, J. & Chin, M.-S. 1973, 8th PICA Conference Proceedings, 63.
    """
    band, n = len(bands) - 1, bands.shape[1]
    none = ~(bands[0] > 0)
    bands, y = bands.copy(), right.copy()
    bands[0][none] = 1.0  # nothing is known of it: apart from the others, flux 0
    for e in range(n):
        reach = min(band, n - 1 - e)
        # what rounding leaves of an element that its neighbours explain wholly is none
        bands[0, e] = np.maximum(bands[0, e], 1e-300)
        above = bands[1 : reach + 1, e].copy()
        factor = above / bands[0, e]
        for k in range(reach):
            bands[: reach - k, e + k + 1] -= factor[k:] * above[k]
        y[e + 1 : e + reach + 1] -= factor * y[e]
        bands[1 : reach + 1, e] = factor
    inverse = np.zeros_like(bands) if with_variance else bands[:1] * 0.0
    i, j = np.indices((band, band)) + 1
    apart, nearer = np.abs(i - j), np.minimum(i, j)
    for e in reversed(range(n)):
        reach = min(band, n - 1 - e)
        factor = bands[1 : reach + 1, e]
        y[e] = y[e] / bands[0, e] - (factor * y[e + 1 : e + reach + 1]).sum(axis=0)
        if not with_variance:
            continue
        near = inverse[apart[:reach, :reach], e + nearer[:reach, :reach]]
        inverse[1 : reach + 1, e] = -np.einsum("jx,ijx->ix", factor, near)
        inverse[0, e] = 1.0 / bands[0, e] - (factor * inverse[1 : reach + 1, e]).sum(axis=0)
    return np.where(none, np.nan, y), np.where(none, 0.0, inverse[0])


def rebinned(spectra: Spectra, wavelength: np.ndarray, edges: np.ndarray) -> tuple[Spectra, float]:
    """Return spectra in channels of wavelength that all share; flux is conserved.

    The flux up to the edge of a channel is a cubic through the fluxes up to the four sides of
    columns around it, so that a line of a few columns keeps its shape.

    Parameters
    ----------
    spectra : Spectra
        In columns of the detector.
    wavelength : (n, nx) ndarray
        At the centre of each column; rising or falling.
    edges : (nchannels + 1,) ndarray
        Of the channels, rising.

    Returns
    -------
    channels : Spectra
        (n, nchannels); NaN where a channel was not seen wholly. Variances are those of single
        channels.
    factor : float
        Neighbours share columns: the error of a sum of many channels is so much larger than the
        root of the sum of their variances.
    """
    n, count = len(wavelength), len(edges) - 1
    flux, variance = np.full((n, count), np.nan), np.zeros((n, count))
    of_columns = of_channels = 0.0
    for e in range(n):
        sides = _sides(wavelength[e])
        order = slice(None) if sides[-1] > sides[0] else slice(None, None, -1)
        values, variances = spectra.flux[e][order], spectra.variance[e][order]
        sides = sides[order]
        columns, shares = _shares(sides, edges)
        margin = 1e-6 * (sides[1] - sides[0])
        outside = (edges < sides[0] - margin) | (edges > sides[-1] + margin)
        there = (columns >= 0) & (columns < values.size)
        safe = np.clip(columns, 0, values.size - 1)
        used = np.abs(shares) > 1e-9
        bad = (used & (~there | ~np.isfinite(values[safe]))).any(axis=1)
        bad |= outside[:-1] | outside[1:]
        made = (shares * np.where(used, np.nan_to_num(values)[safe], 0.0)).sum(axis=1)
        spread = (shares**2 * np.where(used, variances[safe], 0.0)).sum(axis=1)
        flux[e], variance[e] = np.where(bad, np.nan, made), np.where(bad, 0.0, spread)
        of_channels += spread[~bad].sum()
        of_columns += (shares * np.where(used, variances[safe], 0.0))[~bad].sum()
    factor = float(np.sqrt(of_columns / of_channels)) if of_channels > 0 else 1.0
    return Spectra(flux, variance), factor


def _sides(centres: np.ndarray) -> np.ndarray:
    """Return the sides of columns from their centres."""
    between = 0.5 * (centres[1:] + centres[:-1])
    first, last = 1.5 * centres[0] - 0.5 * centres[1], 1.5 * centres[-1] - 0.5 * centres[-2]
    return np.concatenate([[first], between, [last]])


def _shares(sides: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the columns that make up each channel, and with which share: (channels, w) each."""
    column = np.clip(np.searchsorted(sides, edges, side="right") - 1, 0, len(sides) - 2)
    u = (edges - sides[column]) / np.diff(sides)[column]
    width = int(np.max(column[1:] - column[:-1])) + 3
    columns = column[:-1, None] - 1 + np.arange(width)
    upper = _up_to(columns, column[1:, None], u[1:, None], len(sides) - 1)
    return columns, upper - _up_to(columns, column[:-1, None], u[:-1, None], len(sides) - 1)


def _up_to(columns: np.ndarray, at: np.ndarray, u: np.ndarray, n: int) -> np.ndarray:
    """Return the share of each column in the flux up to the place `u` (0 to 1) in column `at`."""
    inner = (at > 0) & (at < n - 1)
    before = np.where(inner, u * (u - 1) * (u - 2) / 6, 0.0)
    after = np.where(inner, (u + 1) * u * (u - 1) / 6, 0.0)
    here = np.where(inner, after - (u + 1) * u * (u - 2) / 2, u)
    return np.select(
        [columns < at - 1, columns == at - 1, columns == at, columns == at + 1],
        [1.0, 1.0 + before, here, after],
        0.0,
    )
