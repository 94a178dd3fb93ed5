"""Robust levels of a detector's reference pixels."""

from __future__ import annotations

import numpy as np

from lightmill.errors import ShapeError
from lightmill.kernels._library import address, kernel

__all__ = ["clipped_mean", "side_median"]

_clipped_mean = kernel("lm_clipped_mean", "p p n n d p")
_side_median = kernel("lm_side_median", "p p n n n n p")


def clipped_mean(
    values: np.ndarray, good: np.ndarray | None = None, limit: float = 3.0
) -> float | np.ndarray:
    """Return the mean after repeatedly dropping what is far from it.

    Parameters
    ----------
    values : (..., n) array_like of float32
        One set of n values, or many.
    good : array_like of bool or uint8, optional
        Which to use: of the shape of `values`, or (n,) for all sets. NaN are never used.
    limit : float
        How far a value may be from the mean [standard deviation of its set].

    Returns
    -------
    float or (...) ndarray of float64
        The means; the plain mean of equal values, NaN where no value is good.

    Raises
    ------
    ShapeError
        `good` does not fit, or there is nothing to average.
    """
    values = np.ascontiguousarray(values, np.float32)
    if values.size == 0 or values.ndim == 0:
        raise ShapeError("there is nothing to average", found=values.shape)
    if good is not None:
        good = np.asarray(good)
        if good.shape not in (values.shape, values.shape[-1:]):
            raise ShapeError("`good` does not fit", found=good.shape, expected=values.shape)
        good = np.ascontiguousarray(np.broadcast_to(good, values.shape), bool)
    means = np.empty(values.shape[:-1])
    _clipped_mean(
        address(values), address(good), means.size, values.shape[-1], limit, address(means)
    )
    return means if means.ndim else float(means)


def side_median(columns: np.ndarray, good: np.ndarray, length: int) -> np.ndarray:
    """Return the running median along rows of a few columns of reference pixels.

    Parameters
    ----------
    columns : (nplanes, ny, k) array_like of float32
        The columns of each group [DN].
    good : (ny, k) array_like of bool or uint8
        Which pixels to use. NaN are never used.
    length : int
        Rows in the window; an even number counts as the next odd one. Beyond the ends the rows
        are mirrored, without repeating the end row.

    Returns
    -------
    (nplanes, ny) ndarray of float32
        Medians over window and columns [DN]; NaN where no pixel is good.

    Raises
    ------
    ShapeError
        The arrays do not fit each other.
    """
    columns = np.ascontiguousarray(columns, np.float32)
    good = np.ascontiguousarray(good, bool)
    if columns.ndim != 3 or good.shape != columns.shape[1:] or columns.size == 0:
        raise ShapeError(
            "the columns and `good` do not fit each other",
            found=(columns.shape, good.shape),
            expected="(nplanes, ny, k) and (ny, k)",
        )
    medians = np.empty(columns.shape[:2], np.float32)
    _side_median(address(columns), address(good), *columns.shape, length | 1, address(medians))
    return medians
