"""Sky level and noise of an image, box by box, and at every pixel between."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lightmill.errors import ShapeError

__all__ = ["BackgroundMesh", "clipped_statistics", "measure_background", "row_bands"]

CLIP = 3.0  # standard deviations beyond which a pixel is a source; usual for sky levels [1]_
ITERATIONS = 5  # of the clipping
LEAST_VALID = 0.1  # fraction of its pixels a box needs, or its neighbours speak for it
NEGLIGIBLE = 1e-7  # weight of a box: below the rounding of float32
BAND = 1 << 18  # pixels worked on at once: their temporaries stay in the processor's cache


@dataclass(frozen=True, eq=False)
class BackgroundMesh:
    """Sky level and noise at the centres of boxes, smoothly interpolated to pixels.

    Attributes
    ----------
    shape : (ny, nx)
        Of the image.
    level : (by, bx) ndarray of float32
        Median of the sky in each box [unit of the image].
    rms : (by, bx) ndarray of float32
        Standard deviation of the sky pixels in each box.
    """

    shape: tuple[int, int]
    level: np.ndarray
    rms: np.ndarray

    def level_rows(self, y0: int, y1: int) -> np.ndarray:
        """Return the sky level of the rows y0 … y1 - 1, (y1 - y0, nx) float32."""
        return self._rows(self._level_columns, self.level, y0, y1)

    def rms_rows(self, y0: int, y1: int) -> np.ndarray:
        """Return the noise of the rows y0 … y1 - 1, (y1 - y0, nx) float32."""
        return self._rows(self._rms_columns, self.rms, y0, y1)

    def at(self, y0: int, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return sky level and noise of some pixels of a band that begins at row y0.

        Parameters
        ----------
        y0 : int
            First row of the band.
        rows, columns : (n,) ndarray of int
            Where in the band.

        Returns
        -------
        level, rms : (n,) ndarray of float32
            [unit of the image].
        """
        last = y0 + int(rows.max()) + 1
        inside = rows, columns
        if len(rows) * len(self.level) > BAND:
            return self.level_rows(y0, last)[inside], self.rms_rows(y0, last)[inside]
        weights = self._weights_y[rows + y0]
        level = np.einsum("nb,bn->n", weights, self._level_columns[:, columns])
        rms = np.einsum("nb,bn->n", weights, self._rms_columns[:, columns])
        return (
            np.clip(level, self.level.min(), self.level.max()),
            np.clip(rms, self.rms.min(), self.rms.max()),
        )

    def _rows(self, columns: np.ndarray, grid: np.ndarray, y0: int, y1: int) -> np.ndarray:
        least, most = grid.min(), grid.max()
        if least == most:
            return np.full((y1 - y0, self.shape[1]), least, np.float32)
        # Few boxes matter to a row; a product of whole matrices would wake the threads of the
        # linear algebra for it, which costs more than the sum.
        weights = self._weights_y[y0:y1]
        rows = np.zeros((y1 - y0, self.shape[1]), np.float32)
        for box in np.flatnonzero(np.abs(weights).max(axis=0) > NEGLIGIBLE):
            rows += weights[:, box, None] * columns[box]
        # A cubic overshoots beside a step; no box has seen such a level.
        return np.clip(rows, least, most, out=rows)

    @cached_property
    def _weights_y(self) -> np.ndarray:
        return _cubic_weights(self.shape[0], len(self.level))

    @cached_property
    def _level_columns(self) -> np.ndarray:
        return _along_columns(self.level, self.shape[1])

    @cached_property
    def _rms_columns(self) -> np.ndarray:
        return _along_columns(self.rms, self.shape[1])


def measure_background(
    data: np.ndarray, box_size: int, mask: np.ndarray | None = None
) -> BackgroundMesh | None:
    """Measure sky level and noise in boxes of an image, sources clipped.

    Each box gives the median and the standard deviation of its pixels within
    three standard deviations of the median [1]_; a 3 x 3 median over the boxes
    takes out those full of sources.

    Parameters
    ----------
    data : (ny, nx) ndarray of float32
        The image, any unit.
    box_size : int
        Side of a box [pixel]; the image is divided into boxes all nearly of this size.
    mask : (ny, nx) ndarray of bool, optional
        True where a pixel has no value.

    Returns
    -------
    mesh : BackgroundMesh or None
        None where no pixel has a value.

    Raises
    ------
    ShapeError
        If the image has not two axes, or the mask another shape.

    References
    ----------
    .. [1] Bertin, E. & Arnouts, S. 1996, A&AS, 117, 393, section 4.
    """
    if data.ndim != 2 or (mask is not None and mask.shape != data.shape):
        raise ShapeError(
            "the sky of this image cannot be measured",
            found=(data.shape, None if mask is None else mask.shape),
            expected="an image of two axes, and a mask of its shape",
        )
    ny, nx = data.shape
    edges_y, edges_x = _edges(ny, box_size), _edges(nx, box_size)
    level = np.full((len(edges_y) - 1, len(edges_x) - 1), np.nan)
    rms = np.full_like(level, np.nan)
    count = np.zeros(level.shape, int)
    full = np.zeros(level.shape, int)
    for j, (y0, y1) in enumerate(itertools.pairwise(edges_y)):
        for i, (x0, x1) in enumerate(itertools.pairwise(edges_x)):
            box = data[y0:y1, x0:x1]
            values = box[np.isfinite(box)] if mask is None else box[~mask[y0:y1, x0:x1]]
            full[j, i], count[j, i] = box.size, values.size
            if values.size:
                level[j, i], rms[j, i], _ = _statistics_within(values, CLIP, ITERATIONS)
    if not count.any():
        return None
    trusted = count >= LEAST_VALID * full
    if not trusted.any():
        trusted = count == count.max()
    return BackgroundMesh(
        (ny, nx), _smoothed(_filled(level, trusted)), _smoothed(_filled(rms, trusted))
    )


def clipped_statistics(
    values: np.ndarray, sigma: float = CLIP, iterations: int = ITERATIONS
) -> tuple[float, float, int]:
    """Return median and standard deviation of values, far ones left out.

    Parameters
    ----------
    values : (n,) array_like of float32
        Finite values, at least one.
    sigma : float
        Values further than this many standard deviations from the median are left out …
    iterations : int
        … and again, at most so often.

    Returns
    -------
    median, deviation : float
        Of the values kept.
    count : int
        How many these are.
    """
    return _statistics_within(np.array(values).ravel(), sigma, iterations)


def _statistics_within(
    ordered: np.ndarray, sigma: float, iterations: int
) -> tuple[float, float, int]:
    """Return the same; the array is used up, for one as large as a box is memory."""
    ordered.sort()  # what is kept is always a slice of it
    low, high = 0, len(ordered)
    kind = ordered.dtype.type  # a bound of another type would copy the array to be searched
    origin = _middle(ordered, low, high)
    ordered -= kind(origin)  # small numbers: their squares lose nothing
    total, squares = _sums(ordered)
    centre = _middle(ordered, low, high)
    for _ in range(iterations):
        deviation = _deviation(total, squares, high - low)
        first = int(np.searchsorted(ordered, kind(centre - sigma * deviation), "left"))
        last = int(np.searchsorted(ordered, kind(centre + sigma * deviation), "right"))
        first, last = max(first, low), min(last, high)
        if (first, last) == (low, high) or first >= last:
            break
        for tail in (ordered[low:first], ordered[last:high]):
            tail_total, tail_squares = _sums(tail)
            total, squares = total - tail_total, squares - tail_squares
        low, high = first, last
        centre = _middle(ordered, low, high)
    return origin + centre, _deviation(total, squares, high - low), high - low


def row_bands(shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """Return first and last row (exclusive) of bands that are cheap to work on at once."""
    ny, nx = shape[-2:]
    step = max(16, BAND // max(nx, 1))
    return [(y, min(y + step, ny)) for y in range(0, ny, step)]


def _edges(length: int, box_size: int) -> list[int]:
    """Return the edges of equal boxes: no sliver at the end that sees a tenth of the others."""
    number = max(1, round(length / box_size))
    return [round(length * k / number) for k in range(number + 1)]


def _middle(ordered: np.ndarray, low: int, high: int) -> float:
    half = (low + high) // 2
    if (high - low) % 2:
        return float(ordered[half])
    return (float(ordered[half - 1]) + float(ordered[half])) / 2


def _sums(values: np.ndarray) -> tuple[float, float]:
    """Return the sum of values and of their squares."""
    total = squares = 0.0
    for start in range(0, len(values), BAND):
        part = values[start : start + BAND]
        total += float(np.sum(part, dtype=np.float64))
        squares += float(np.sum(part * part, dtype=np.float64))
    return total, squares


def _deviation(total: float, squares: float, count: int) -> float:
    mean = total / count
    return math.sqrt(max(squares / count - mean * mean, 0.0))


def _filled(grid: np.ndarray, trusted: np.ndarray) -> np.ndarray:
    """Return the grid with boxes that say too little set to the nearest that does."""
    if trusted.all():
        return grid
    from scipy import ndimage

    nearest = ndimage.distance_transform_edt(~trusted, return_distances=False, return_indices=True)
    return grid[tuple(nearest)]


def _smoothed(grid: np.ndarray) -> np.ndarray:
    """Return the median of each box and its neighbours, (by, bx) float32."""
    padded = np.pad(grid, 1, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    return np.nanmedian(windows, axis=(2, 3)).astype(np.float32)


def _along_columns(grid: np.ndarray, length: int) -> np.ndarray:
    return np.einsum("yb,xb->yx", grid, _cubic_weights(length, grid.shape[1]))


def _cubic_weights(length: int, boxes: int) -> np.ndarray:
    """Return the weight of each box at each pixel, (length, boxes): a cubic spline is linear in them."""
    if boxes == 1:
        return np.ones((length, 1), np.float32)
    from scipy import ndimage

    places = (np.arange(length) + 0.5) * boxes / length - 0.5  # box centres are at whole numbers
    weights = [
        ndimage.map_coordinates(one, places[None], order=3, mode="reflect") for one in np.eye(boxes)
    ]
    return np.stack(weights, axis=1).astype(np.float32)
