"""The sky of an image: its level and noise, the pixels that see nothing else, a smooth model."""

from __future__ import annotations

import numpy as np

__all__ = ["background_mask", "clipped_statistics", "histogram_statistics", "sky_model"]


def clipped_statistics(
    values: np.ndarray, limit: float = 3.0, rounds: int = 5
) -> tuple[float, float]:
    """Return median and standard deviation of values, outliers left out."""
    values = np.asarray(values, np.float64).ravel()
    for _ in range(rounds):
        median, sigma = float(np.median(values)), float(values.std())
        kept = values[np.abs(values - median) <= limit * sigma]
        if len(kept) == len(values) or not len(kept):
            break
        values = kept
    return float(np.median(values)), float(values.std())


def histogram_statistics(
    values: np.ndarray, limit: float = 3.0, width: float = 0.2
) -> tuple[float, float]:
    """Return centre and width of the Gaussian that fits the histogram of values best.

    Parameters
    ----------
    values : ndarray
        What lies further than `limit` clipped standard deviations from the median is left out.
    limit : float
        In standard deviations.
    width : float
        Of a bin, in standard deviations.

    Returns
    -------
    centre, sigma : float
        Median and standard deviation where no Gaussian fits.
    """
    median, sigma = clipped_statistics(values, limit)
    if not sigma > 0:
        return median, sigma
    from scipy import optimize

    edges = median + sigma * np.arange(-limit, limit + width / 2, width)
    counts, _ = np.histogram(values, edges)
    middles = (edges[1:] + edges[:-1]) / 2

    def gaussian(x: np.ndarray, height: float, centre: float, spread: float) -> np.ndarray:
        return height * np.exp(-0.5 * ((x - centre) / spread) ** 2)

    try:
        (_, centre, spread), _ = optimize.curve_fit(
            gaussian, middles, counts, (counts.max(), median, sigma)
        )
    except RuntimeError:  # it does not converge
        return median, sigma
    inside = abs(centre - median) <= limit * sigma
    return (float(centre), abs(float(spread))) if inside and spread else (median, sigma)


def background_mask(
    image: np.ndarray,
    usable: np.ndarray,
    n_sigma: float,
    clip: float = 3.0,
    *,
    fit_histogram: bool = False,
) -> np.ndarray:
    """Find the pixels that see nothing but sky.

    The noise of the sky is taken from the lower half of its distribution,
    which sources do not reach, mirrored at the median.

    Parameters
    ----------
    image : (ny, nx) ndarray
    usable : (ny, nx) ndarray of bool
        Pixels to look at.
    n_sigma : float
        Brighter than this above the median is a source.
    clip : float
        Fainter than this below the median is bad.
    fit_histogram : bool
        Take the level and the noise of the sky from `histogram_statistics`.

    Returns
    -------
    sky : (ny, nx) ndarray of bool
        True where a usable pixel lies between the two limits; nowhere where none is usable.
    """
    if not usable.any():
        return np.zeros(image.shape, bool)
    if fit_histogram:
        median, sigma = histogram_statistics(image[usable], clip)
    else:
        median, _ = clipped_statistics(image[usable], clip)
        lower = image[usable & (image <= median)] - median
        _, sigma = clipped_statistics(np.concatenate([lower, -lower]), clip)
    low, high = median - clip * sigma, median + n_sigma * sigma
    return usable & (image >= low) & (image <= high)


def sky_model(image: np.ndarray, good: np.ndarray, box: list[int]) -> np.ndarray:
    """Return a smooth sky: medians of boxes, their 5 x 5 median, interpolated.

    Parameters
    ----------
    image : (ny, nx) ndarray
    good : (ny, nx) ndarray of bool
        Pixels that see nothing but sky, some at least.
    box : list of int
        Rows and columns of a box (or one number for both).

    Returns
    -------
    sky : (ny, nx) ndarray of float32
        In the unit of the image.
    """
    from scipy import ndimage

    ny, nx = image.shape
    by, bx = box[0], box[-1]
    rows, columns = max(1, round(ny / by)), max(1, round(nx / bx))
    edges_y = np.linspace(0, ny, rows + 1).astype(int)
    edges_x = np.linspace(0, nx, columns + 1).astype(int)
    overall = np.median(image[good])
    mesh = np.full((rows, columns), overall)
    for j in range(rows):
        for i in range(columns):
            part = (slice(edges_y[j], edges_y[j + 1]), slice(edges_x[i], edges_x[i + 1]))
            if good[part].sum() > 0.1 * good[part].size:
                mesh[j, i] = np.median(image[part][good[part]])
    mesh = ndimage.median_filter(mesh, size=5, mode="nearest")
    y = (np.arange(ny) + 0.5) / ny * rows - 0.5
    x = (np.arange(nx) + 0.5) / nx * columns - 0.5
    grid = np.meshgrid(y, x, indexing="ij")
    return ndimage.map_coordinates(mesh, grid, order=1, mode="nearest").astype(np.float32)
