"""How bright the sky of an image is, and how much brighter than that of another.

The level of one image is a statistic of its pixels. The difference of two is measured where they
overlap: each image is averaged over small cells, the cells of one are compared with those of the
other at the same place on the sky, and the middle of these differences is that of the two skies.
What is on the sky is in both, so sources do not bias it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lightmill.imaging.star_finding import MAD_TO_SIGMA, SkyMesh

__all__ = [
    "Cells",
    "Clipping",
    "bad_bits",
    "cells_of",
    "differences",
    "level",
    "levels",
    "pixel_noise",
    "sample",
]

Statistic = Literal["median", "midpt", "mean", "mode"]
SAMPLES = 250_000  # pixels a level is measured from: its error is 0.0025 of the noise of a pixel
DEGREE = 4  # of the polynomials between pixels and the sky: exact to 1e-3 of a cell
ALL = 0xFFFFFFFF


@dataclass(frozen=True)
class Clipping:
    """Which values belong to the sky.

    Attributes
    ----------
    lower, upper : float or None
        Limits of good pixels [unit of the image].
    nclip : int
        How often values far from the middle are left out.
    lsigma, usigma : float
        How far that is below and above [sigma].
    binwidth : float
        Bins of the histogram for the mode [sigma].
    """

    lower: float | None = None
    upper: float | None = None
    nclip: int = 5
    lsigma: float = 4.0
    usigma: float = 4.0
    binwidth: float = 0.1


@dataclass(frozen=True)
class Cells:
    """An image averaged over cells, and where they are.

    Attributes
    ----------
    means : (ny, nx) ndarray of float64
        Mean of the sky pixels of each cell; NaN where fewer than half of them are.
    xy : (ny, nx, 2) ndarray of float64
        Centres of the cells in a common plane [arcsec].
    to_cells : (2, terms) ndarray of float64
        Polynomials that lead from the plane to rows and columns of cells.
    centre, size : (2,) ndarray, float
        What the polynomials' arguments are counted from, and divided by [arcsec].
    """

    means: np.ndarray
    xy: np.ndarray
    to_cells: np.ndarray
    centre: np.ndarray
    size: float

    def sampled(self, xy: np.ndarray) -> np.ndarray:
        """Return the means at positions (n, 2) in the plane, linear between centres; or NaN."""
        ny, nx = self.means.shape
        if ny < 2 or nx < 2:
            return np.full(len(xy), np.nan)
        y, x = self.to_cells @ _powers((xy - self.centre) / self.size)
        with np.errstate(invalid="ignore"):
            inside = (y >= 0) & (x >= 0) & (y <= ny - 1) & (x <= nx - 1)
        y, x = y[inside], x[inside]
        j, i = np.minimum(y.astype(int), ny - 2), np.minimum(x.astype(int), nx - 2)
        v, u = y - j, x - i
        m = self.means
        out = np.full(len(xy), np.nan)
        out[inside] = (1 - v) * ((1 - u) * m[j, i] + u * m[j, i + 1]) + v * (
            (1 - u) * m[j + 1, i] + u * m[j + 1, i + 1]
        )
        return out


def bad_bits(text: str | None) -> int:
    """Return the data-quality bits that make a pixel useless.

    Parameters
    ----------
    text : str or None
        Names or numbers joined by ``+`` or commas: the bits that good pixels may have; with ``~``
        in front, those that they may not have. None or nothing: every pixel is good.

    Raises
    ------
    UnknownNameError
        If a name is not a flag.
    """
    from lightmill.models.dq import mask_of

    if text is None or not text.strip() or text.strip().lower() == "none":
        return 0
    text = text.strip()
    inverted = text.startswith("~")
    words = [word for word in text.strip("~() ").replace(",", "+").split("+") if word.strip()]
    bits = 0
    for word in (one.strip() for one in words):
        bits |= int(word) if word.isdigit() else mask_of(word)
    return bits if inverted else ALL & ~bits


def sample(image: np.ndarray, bad: np.ndarray, most: int = SAMPLES) -> np.ndarray:
    """Return a regular sample of the good pixels of an image.

    The step between them has no divisor in common with the number of columns, so that all columns
    and rows have their part in it.

    Parameters
    ----------
    image, bad : (ny, nx) ndarray
    most : int
        About how many.
    """
    step = max(1, image.size // most)
    while step > 1 and np.gcd(step, image.shape[1]) > 1:
        step += 1
    return np.asarray(image.reshape(-1)[::step][~bad.reshape(-1)[::step]])


def level(
    values: np.ndarray, statistic: Statistic = "mode", clipping: Clipping | None = None
) -> tuple[float, float]:
    """Return the level of the sky, and the scatter about it.

    Parameters
    ----------
    values : (n,) ndarray
        Good pixels.
    statistic : {'median', 'midpt', 'mean', 'mode'}
        Of what clipping leaves. The mode is the top of the parabola that fits the logarithm of
        the histogram from one sigma below to one above it: the whole core tells where it is, not
        the fullest bin, whose place is random by a tenth of sigma.
    clipping : Clipping, optional

    Returns
    -------
    level, sigma : float
        NaN without values.
    """
    clipping = clipping or Clipping()
    values = np.asarray(values, np.float64)
    values = values[np.isfinite(values)]
    if clipping.lower is not None:
        values = values[values >= clipping.lower]
    if clipping.upper is not None:
        values = values[values <= clipping.upper]
    if not len(values):
        return float("nan"), float("nan")
    middle, sigma = _robust(values)
    for _ in range(clipping.nclip):
        kept = values[
            (values >= middle - clipping.lsigma * sigma)
            & (values <= middle + clipping.usigma * sigma)
        ]
        if len(kept) == len(values) or not len(kept):
            break
        values = kept
        middle, sigma = _robust(values)
    if statistic == "mean":
        return float(values.mean()), sigma
    if statistic == "mode":
        return _mode(values, middle, sigma, clipping.binwidth), sigma
    return middle, sigma


def cells_of(
    image: np.ndarray,
    bad: np.ndarray,
    pixels: np.ndarray,
    xy: np.ndarray,
    clipping: Clipping | None = None,
    noise: float | None = None,
) -> Cells:
    """Average an image over cells.

    Pixels far from the smooth sky are left out. The rest of a source, its wings, stays: in the
    other image they are at the same place, and as high, if both have the same limits.

    Parameters
    ----------
    image : (ny, nx) ndarray of float32
    bad : (ny, nx) ndarray of bool
        Pixels not to look at.
    pixels, xy : (n, 2) ndarray
        Positions in the image (x, y) [pixel], and where they are in a plane [arcsec]: enough to
        fit a polynomial to, all over the image.
    clipping : Clipping, optional
    noise : float, optional
        What the limits are counted in, that of the image itself by default. For images of unequal
        noise the largest, or sources would be cut off at different heights [unit of the image].

    Returns
    -------
    cells : Cells
        64 along the shorter side of the image, of 4 to 32 pixels.
    """
    clipping = clipping or Clipping()
    ny, nx = image.shape
    size = int(np.clip(min(ny, nx) // 64, 1 if min(ny, nx) < 16 else 4, 32))
    rows, columns = ny // size, nx // size
    ys, xs = (np.arange(n) * size + (size - 1) / 2 for n in (rows, columns))
    mesh = SkyMesh.of(image, bad, max(16, min(ny, nx) // 8))
    sky = mesh.at(ys, xs).astype(np.float32)
    inner = (slice(0, rows * size), slice(0, columns * size))
    left = image[inner].reshape(rows, size, columns, size) - sky[:, None, :, None]
    good = ~bad[inner].reshape(left.shape)
    noise = _noise(left, good) if noise is None else noise
    with np.errstate(invalid="ignore"):
        good &= (left >= -clipping.lsigma * noise) & (left <= clipping.usigma * noise)
        if clipping.lower is not None:
            good &= left >= clipping.lower - sky[:, None, :, None]
        if clipping.upper is not None:
            good &= left <= clipping.upper - sky[:, None, :, None]
    count = np.add.reduce(good.sum(axis=3, dtype=np.int16), axis=1, dtype=np.int64)
    left[~good] = 0  # of its own, no view of the image
    # float32 is enough for the columns of a cell, whose values are left of the sky
    total = left.sum(axis=3).sum(axis=1, dtype=np.float64)
    enough = count >= size * size / 2
    means = np.where(enough, sky + total / np.maximum(count, 1), np.nan)
    known = np.isfinite(xy).all(axis=1)
    pixels, xy = pixels[known], xy[known]
    middle, span = np.array([nx, ny]) / 2, max(nx, ny) / 2
    to_plane = _fit((pixels - middle) / span, xy)
    grid = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    centre, extent = xy.mean(axis=0), float(np.abs(xy - xy.mean(axis=0)).max()) or 1.0
    to_cells = _fit((xy - centre) / extent, (pixels[:, ::-1] - (size - 1) / 2) / size)
    return Cells(
        means,
        (to_plane @ _powers((grid - middle) / span)).T.reshape(rows, columns, 2),
        to_cells,
        centre,
        extent,
    )


def differences(
    a: Sequence[Cells], b: Sequence[Cells], statistic: Statistic = "median"
) -> tuple[float, float, int]:
    """Return how much brighter the sky of some images is than that of others.

    Cells of the first are compared with the others' at their place, and the reverse: what the
    interpolation between cells does to sources cancels in the mean of the two.

    Parameters
    ----------
    a, b : sequence of Cells
        The images of two exposures.
    statistic : {'median', 'midpt', 'mean', 'mode'}
        Of the differences: clipped mean, or else the median.

    Returns
    -------
    difference, error : float
        NaN where they have no sky in common [unit of the images].
    count : int
        Cells that were compared.
    """
    found = []
    for ones, others, sign in ((a, b, 1), (b, a, -1)):
        values = [
            sign * (one.means.ravel() - other.sampled(one.xy.reshape(-1, 2)))
            for one in ones
            for other in others
        ]
        there = np.concatenate(values)
        found.append(there[np.isfinite(there)])
    count = min(len(one) for one in found)
    if not count:
        return float("nan"), float("nan"), 0
    measured = [_centre(one, mean=statistic == "mean") for one in found]
    middle, scatter = (float(np.mean(one)) for one in zip(*measured, strict=True))
    # the error of a median is 1.2533 that of a mean
    return middle, 1.2533 * scatter / np.sqrt(count), count


def levels(
    n: int, pairs: dict[tuple[int, int], tuple[float, float]], *, lowest: bool = True
) -> tuple[np.ndarray, list[list[int]]]:
    """Return levels whose differences are those measured, by weighted least squares.

    Parameters
    ----------
    n : int
        How many levels.
    pairs : dict
        (i, j) → level i less level j, and its error.
    lowest : bool
        In each set that is connected by pairs, the lowest level is zero; else the highest.

    Returns
    -------
    levels : (n,) ndarray of float64
        NaN for those in no pair.
    sets : list of list of int
        What is connected, the largest set first.
    """
    found = np.full(n, np.nan)
    label = list(range(n))
    for i, j in pairs:
        label = [label[i] if one == label[j] else one for one in label]
    sets = [[k for k in range(n) if label[k] == one] for one in dict.fromkeys(label)]
    sets = sorted((one for one in sets if len(one) > 1), key=len, reverse=True)
    errors = [error for _, error in pairs.values()]
    least = max(1e-3 * max(errors, default=0.0), np.finfo(np.float64).tiny)
    for one in sets:
        rows = [(i, j, *pairs[i, j]) for i, j in pairs if i in one]
        design, right = np.zeros((len(rows), len(one))), np.zeros(len(rows))
        for row, (i, j, difference, error) in enumerate(rows):
            weight = 1 / max(error, least)
            design[row, one.index(i)], design[row, one.index(j)] = weight, -weight
            right[row] = weight * difference
        scale = np.abs(design).max()
        solution = np.linalg.lstsq(design / scale, right / scale, rcond=1e-12)[0]
        found[one] = solution - (solution.min() if lowest else solution.max())
    return found, sets


def _robust(values: np.ndarray) -> tuple[float, float]:
    """Return the median, and sigma from the lower half, which sources do not reach."""
    middle = float(np.median(values))
    below = values[values <= middle]
    return middle, MAD_TO_SIGMA * float(np.median(middle - below))


def _centre(values: np.ndarray, *, mean: bool, limit: float = 3.0) -> tuple[float, float]:
    """Return median or mean, and sigma, of values clipped alike on both sides."""
    for _ in range(5):
        middle = float(np.median(values))
        sigma = MAD_TO_SIGMA * float(np.median(np.abs(values - middle)))
        kept = values[np.abs(values - middle) <= limit * sigma]
        if len(kept) == len(values) or not len(kept):
            break
        values = kept
    return float(values.mean()) if mean else middle, sigma


def _mode(values: np.ndarray, middle: float, sigma: float, binwidth: float) -> float:
    if not sigma > 0 or len(values) < 50 or not binwidth > 0:
        return middle
    edges = middle + sigma * np.arange(-4, 4 + binwidth / 2, binwidth)
    counts, _ = np.histogram(values, edges)
    centres = (edges[1:] + edges[:-1]) / 2
    top = middle
    for _ in range(5):
        core = (np.abs(centres - top) <= sigma) & (counts > 0)
        if core.sum() < 4:
            return middle
        x = (centres[core] - top) / sigma
        # counts are Poisson: the error of their logarithm is one over their root
        curve, slope, _ = np.polyfit(x, np.log(counts[core]), 2, w=np.sqrt(counts[core]))
        if not curve < 0:
            return middle
        step = float(np.clip(-slope / (2 * curve), -0.5, 0.5))
        top += sigma * step
        if abs(top - middle) > 3 * sigma:
            return middle
    return top


def pixel_noise(bands: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """Return the noise of a pixel, from the differences of neighbours: sky and sources cancel.

    Parameters
    ----------
    bands : sequence of (image, bad), both (ny, nx) ndarray
        Some rows of an image, and which of their pixels not to look at.

    Returns
    -------
    noise : float
        NaN without good neighbours [unit of the image].
    """
    found = []
    for image, bad in bands:
        good = ~(bad[:, 1::2] | bad[:, :-1:2][:, : bad[:, 1::2].shape[1]])
        pairs = image[:, 1::2] - image[:, :-1:2][:, : good.shape[1]]
        found.append(pairs[good])
    values = np.concatenate(found) if found else np.zeros(0)
    return MAD_TO_SIGMA * float(np.median(np.abs(values))) / np.sqrt(2) if len(values) else np.nan


def _noise(left: np.ndarray, good: np.ndarray) -> float:
    """Return the noise of a pixel about the smooth sky, from a sample of pixels."""
    step = max(1, left.shape[0] * left.shape[2] * left.shape[1] // 100_000)
    if left.size >= 1_000_000:  # one column of each cell, rows of cells far apart
        left, good = left[::step, :, :, 0], good[::step, :, :, 0]
    values = left[good]
    return _robust(values)[1] if len(values) else 0.0


def _powers(xy: np.ndarray) -> np.ndarray:
    """Return the terms (terms, n) of a polynomial in two variables."""
    x, y = xy[..., 0], xy[..., 1]
    return np.stack([x**i * y**j for i in range(DEGREE + 1) for j in range(DEGREE + 1 - i)])


def _fit(xy: np.ndarray, to: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.lstsq(_powers(xy).T, to, rcond=None)[0].T)
