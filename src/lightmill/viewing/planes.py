"""One plane of an image, made small enough to look at: binned, and its values told in numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lightmill.models import Region
from lightmill.models import dq as dq_table

__all__ = ["Overview", "binned", "limits", "overview", "sharpest", "summary"]

WIDEST = 1536  # pixels of the longer side of an overview: fills a large screen, 9 MB of float32
SAMPLE = 250_000  # values that limits and histogram are taken from: 0.2 % of a percentile's rank
_CHUNK = 1 << 20  # pixels read at a time
# Shares of the pixels between the limits one can choose, as other viewers offer them [per cent].
PERCENTILES = (90.0, 95.0, 98.0, 99.0, 99.5, 99.9)
_BARS = 120  # of the histogram

Read = Callable[[Region], np.ndarray]


@dataclass(frozen=True)
class Overview:
    """A plane, binned so that it fits a screen, and what was seen while it was read.

    Attributes
    ----------
    bin : int
        Pixels along the side of a bin, a power of two.
    values : (ny, nx) ndarray of float32 or uint32
        Mean of the finite pixels of each bin (NaN without any); of flags all that are set in
        the bin, of labels the largest.
    weight : (ny, nx) ndarray of uint32, or None
        Finite pixels of each bin; None for flags and labels.
    sample : (n,) ndarray of float64
        Finite values of pixels evenly spread over the plane.
    low, high : float
        Least and largest finite value; NaN where there is none.
    flags : dict
        Flag → how many pixels have it; of flags only.
    """

    bin: int
    values: np.ndarray
    weight: np.ndarray | None
    sample: np.ndarray
    low: float
    high: float
    flags: dict[str, int]

    @property
    def nbytes(self) -> int:
        """Bytes it takes."""
        return self.values.nbytes + (0 if self.weight is None else self.weight.nbytes)

    def at(self, bin_: int, region: Region, kind: str) -> np.ndarray:
        """Return the bins of a region, coarser than the overview's or as fine.

        Parameters
        ----------
        bin_ : int
            Side of a bin [pixel], a multiple of the overview's.
        region : Region
            In pixels of the plane; begins at a multiple of `bin_`.
        kind : str
            ``values``, ``flags`` or ``labels``.
        """
        step = self.bin
        part = (
            slice(region.y0 // step, -(-region.y1 // step)),
            slice(region.x0 // step, -(-region.x1 // step)),
        )
        factor = bin_ // step
        if factor == 1:
            return self.values[part]
        if self.weight is None:
            return _pooled(
                self.values[part], factor, np.bitwise_or if kind == "flags" else np.maximum
            )
        weight = self.weight[part].astype(np.float64)
        total = _pooled(np.nan_to_num(self.values[part]) * weight, factor, np.add)
        return _ratio(total, _pooled(weight, factor, np.add))


def sharpest(ny: int, nx: int) -> int:
    """Return the side of the bins of an overview of an image [pixel]."""
    return 1 << max(0, math.ceil(math.log2(max(ny, nx, 1) / WIDEST)))


def binned(image: np.ndarray, side: int, kind: str = "values") -> np.ndarray:
    """Return an image in bins of `side` by `side` pixels.

    Parameters
    ----------
    image : (ny, nx) ndarray
    side : int
        Bins at the upper and right edge may be of fewer pixels.
    kind : str
        ``values``: the mean of the finite pixels; ``flags``: all flags set in the bin;
        ``labels``: the largest, so that a small source does not vanish.

    Returns
    -------
    small : ndarray of float32 or uint32
        ``ceil(ny / side)`` by ``ceil(nx / side)``.
    """
    if kind == "flags":
        return _pooled(image.astype(np.uint32, copy=False), side, np.bitwise_or)
    if kind == "labels":
        return _pooled(image.astype(np.uint32, copy=False), side, np.maximum)
    if side == 1:
        return image.astype(np.float32, copy=False)
    total, count = _sums(image, side)
    return _ratio(total, count)


def _sums(image: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return sum and number of the finite pixels of each bin."""
    if image.dtype.kind != "f":
        ones = np.ones(image.shape, np.uint32)
        return _pooled(image.astype(np.float64), side, np.add), _pooled(ones, side, np.add)
    good = np.isfinite(image)
    values = image if good.all() else np.where(good, image, 0)
    # Sums of up to 10^6 pixels: float64, or the faint ones are lost beside the bright.
    total = _pooled(values.astype(np.float64), side, np.add)
    return total, _pooled(good.astype(np.uint32), side, np.add)


def _ratio(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(count > 0, total / count, np.nan).astype(np.float32)


def _pooled(image: np.ndarray, side: int, together: np.ufunc) -> np.ndarray:
    """Combine blocks of pixels, rows first: slices of whole rows are quick to add."""
    if side == 1:
        return image
    for _axis in range(2):
        rows = image.shape[0]
        out = image[::side].copy()
        for offset in range(1, min(side, rows)):
            part = image[offset::side]
            together(out[: len(part)], part, out=out[: len(part)])
        image = out.T
    return np.ascontiguousarray(image)


def overview(read: Read, ny: int, nx: int, kind: str = "values") -> Overview:
    """Read a plane once, some rows at a time, and return it as small as a screen.

    Parameters
    ----------
    read : callable
        Given a Region, returns its pixels.
    ny, nx : int
        Shape of the plane [pixel].
    kind : str
        See `binned`.

    Returns
    -------
    overview : Overview
        Besides it no more than `_CHUNK` pixels, or one row of bins, were in memory.
    """
    side = sharpest(ny, nx)
    rows = max(side, _CHUNK // max(1, nx) // side * side)
    every = max(1, ny * nx // SAMPLE)
    while math.gcd(every, nx) > 1:  # or the sample would be a few columns of the detector
        every += 1
    values, weights, sample = [], [], []
    low, high, flags = math.inf, -math.inf, dict.fromkeys(dq_table.PIXEL, 0)
    for y in range(0, ny, rows):
        image = read(Region(y, min(ny, y + rows), 0, nx))
        if kind == "values":
            total, count = _sums(image, side)
            values.append(_ratio(total, count))
            weights.append(count)
        else:
            values.append(binned(image, side, kind))
        if kind == "flags":
            for name, number in dq_table.counts(image).items():
                flags[name] += number
            continue
        some = image.reshape(-1)[::every]
        some = some[np.isfinite(some)] if some.dtype.kind == "f" else some
        sample.append(some.astype(np.float64))
        finite = image[np.isfinite(image)] if image.dtype.kind == "f" else image
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    return Overview(
        side,
        np.concatenate(values),
        np.concatenate(weights) if weights else None,
        np.concatenate(sample) if sample else np.empty(0),
        low if low <= high else math.nan,
        high if low <= high else math.nan,
        {name: number for name, number in flags.items() if number},
    )


def limits(sample: np.ndarray, low: float, high: float) -> dict[str, list[float]]:
    """Return pairs of values to be shown darkest and brightest.

    Parameters
    ----------
    sample : (n,) ndarray of float64
        Finite values of the image.
    low, high : float
        Its extremes.

    Returns
    -------
    limits : dict
        ``zscale`` [1]_, ``minmax``, a percentage of the values as a text (``99.5``), and
        ``auto``: from 2 σ under the median (σ from the median absolute deviation, so that
        sources do not count) to the percentile 99.9, at least 20 σ over it. Empty without any value.

    References
    ----------
    .. [1] Tody, D. 1986, Proc. SPIE, 627, 733 (the display task of IRAF).
    """
    if not sample.size:
        return {}
    from astropy.visualization import ZScaleInterval

    middle = float(np.median(sample))
    sigma = 1.4826 * float(np.median(np.abs(sample - middle)))  # of a normal distribution
    top = min(high, max(float(np.percentile(sample, 99.9)), middle + 20 * sigma))
    found = {"auto": [max(low, middle - 2 * sigma), top]}
    found["zscale"] = [float(one) for one in ZScaleInterval().get_limits(sample)]
    for percent in PERCENTILES:
        ends = np.percentile(sample, [(100 - percent) / 2, (100 + percent) / 2])
        found[f"{percent:g}"] = [float(one) for one in ends]
    found["minmax"] = [low, high]
    return {name: pair for name, pair in found.items() if all(map(math.isfinite, pair))}


def summary(seen: Overview) -> dict[str, Any]:
    """Return what the controls of the page need to know of a plane.

    Parameters
    ----------
    seen : Overview

    Returns
    -------
    facts : dict
        Limits, extremes, median and spread; a histogram on an axis that is linear near the
        median and logarithmic far from it; flags with name, bit, meaning and number of pixels.
    """
    flags = [
        {
            "name": name,
            "bit": dq_table.PIXEL[name].bit_length() - 1,
            "meaning": dq_table.MEANING[name],
            "count": count,
        }
        for name, count in sorted(seen.flags.items(), key=lambda item: -item[1])
    ]
    shown = {} if seen.weight is None else limits(seen.sample, seen.low, seen.high)
    facts: dict[str, Any] = {"flags": flags, "limits": shown}
    if not facts["limits"]:
        return facts
    middle = float(np.median(seen.sample))
    sigma = 1.4826 * float(np.median(np.abs(seen.sample - middle)))
    if sigma == 0:
        sigma = max(abs(seen.high - seen.low) / 1000, abs(middle) * 1e-6, 1e-30)
    ends = np.arcsinh((np.array([seen.low, seen.high]) - middle) / sigma)
    if ends[0] == ends[1]:
        ends += np.array([-1.0, 1.0])
    height, _ = np.histogram(np.arcsinh((seen.sample - middle) / sigma), _BARS, tuple(ends))
    facts |= {
        "min": seen.low,
        "max": seen.high,
        "median": middle,
        "sigma": sigma,
        "axis": ends.tolist(),
        "histogram": height.tolist(),
    }
    return facts
