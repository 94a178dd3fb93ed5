"""From an image of signal to noise to labels of sources."""

from __future__ import annotations

import numpy as np

from lightmill.errors import ConfigurationError
from lightmill.imaging.background_mesh import row_bands

__all__ = ["find_segments", "in_reading_order"]

SPARE = 10_000  # pixels of the finder's memory beyond those above the threshold


def find_segments(
    ratio: np.ndarray,
    *,
    threshold: float,
    npixels: int,
    connectivity: int = 8,
    deblend: bool = True,
    nlevels: int = 32,
    contrast: float = 0.001,
    mode: str = "exponential",
) -> tuple[np.ndarray, int]:
    """Label the sources of an image: connected pixels above a threshold, blends taken apart.

    A source is a set of at least `npixels` connected pixels above the threshold. It is taken
    apart where, at one of `nlevels` higher thresholds, it falls into pieces that each hold more
    than the fraction `contrast` of its signal [1]_ [2]_.

    Parameters
    ----------
    ratio : (ny, nx) ndarray of float32
        Signal to noise, finite, C-contiguous; zero where there is none.
    threshold : float
        Lowest signal to noise of a source's pixels (exclusive).
    npixels : int
        Fewest pixels of a source, and of a piece.
    connectivity : {8, 4}
        Whether pixels that touch at a corner are connected.
    deblend : bool
        Take blends apart.
    nlevels : int
        Number of thresholds this is tried at.
    contrast : float
        Least fraction of the signal in a piece.
    mode : {'exponential', 'linear', 'sinh'}
        How the thresholds are spaced.

    Returns
    -------
    labels : (ny, nx) ndarray of int32
        0 where no source is; the sources are numbered from 1 in the order in which their first
        pixels are met row by row from the origin.
    count : int
        Number of sources.

    Raises
    ------
    ConfigurationError
        For blends with 4-connected pixels, or other spacing, without photutils and scikit-image.

    References
    ----------
    .. [1] Bertin, E. & Arnouts, S. 1996, A&AS, 117, 393, section 6.
    .. [2] Barbary, K. 2016, JOSS, 1, 58 (SEP).
    """
    if not deblend and connectivity == 4:
        labels, count = _connected(ratio, threshold, npixels)
    elif deblend and (connectivity == 4 or mode != "exponential"):
        labels, count = _deblended_otherwise(
            ratio, threshold, npixels, connectivity, nlevels, contrast, mode
        )
    else:
        labels, count = _extracted(ratio, threshold, npixels, nlevels, contrast if deblend else 1.0)
    return in_reading_order(labels, count), count


def in_reading_order(labels: np.ndarray, count: int) -> np.ndarray:
    """Renumber labels by the place of their first pixel, row by row; in place.

    Parameters
    ----------
    labels : (ny, nx) ndarray of int32
        With the numbers 1 … `count`, each at least once.
    count : int
        Number of labels.

    Returns
    -------
    labels : (ny, nx) ndarray of int32
        The same array.
    """
    if count == 0:
        return labels
    first = np.full(count + 1, labels.size, np.int64)
    for y0, y1 in reversed(row_bands(labels.shape)):
        band = labels[y0:y1].ravel()
        places = np.flatnonzero(band)[::-1]
        first[band[places]] = places + y0 * labels.shape[1]  # the last one written is the first
    number = np.zeros(count + 1, np.int32)
    number[np.argsort(first[1:], kind="stable") + 1] = np.arange(1, count + 1)
    for y0, y1 in row_bands(labels.shape):
        labels[y0:y1] = number[labels[y0:y1]]
    return labels


def _extracted(
    ratio: np.ndarray, threshold: float, npixels: int, nlevels: int, contrast: float
) -> tuple[np.ndarray, int]:
    """Find and deblend with SEP (why: decision 0020)."""
    import sep

    above = sum(
        int(np.count_nonzero(ratio[y0:y1] > threshold)) for y0, y1 in row_bands(ratio.shape)
    )
    before = sep.get_extract_pixstack()
    sep.set_extract_pixstack(above + SPARE)  # its default fails in crowded images
    try:
        found, labels = sep.extract(
            ratio,
            threshold,
            minarea=npixels,
            filter_kernel=None,  # smoothed already, gaps respected
            deblend_nthresh=nlevels,
            deblend_cont=contrast,
            clean=False,
            segmentation_map=True,
        )
    finally:
        sep.set_extract_pixstack(before)
    return _without_scraps(labels, len(found), npixels // 2)


def _without_scraps(labels: np.ndarray, count: int, least: int) -> tuple[np.ndarray, int]:
    """Give what is left of pieces to those around them; in place.

    A piece had enough pixels where it was cut. SEP gives those below the cut to the pieces by
    chance, and when two pieces meet, one may be left with next to nothing.
    """
    size = np.zeros(count + 1, np.int64)
    for y0, y1 in row_bands(labels.shape):
        size += np.bincount(labels[y0:y1].ravel(), minlength=count + 1)
    is_scrap = size < least
    is_scrap[0] = False
    if not is_scrap.any():
        return labels, count
    number = np.arange(count + 1)
    for label, (rows, columns) in _places(labels, is_scrap).items():
        around = _around(labels, rows, columns)
        others = around[(around != 0) & ~is_scrap[around]]
        if len(others):
            labels[rows, columns] = np.bincount(others).argmax()
            number[label + 1 :] -= 1
    for y0, y1 in row_bands(labels.shape):
        labels[y0:y1] = number[labels[y0:y1]]
    return labels, int(number[-1])


def _places(labels: np.ndarray, wanted: np.ndarray) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Return rows and columns of the pixels of some labels, by label."""
    found = []
    for y0, y1 in row_bands(labels.shape):
        rows, columns = np.nonzero(wanted[labels[y0:y1]])
        found.append((rows + y0, columns))
    rows, columns = (np.concatenate(part) for part in zip(*found, strict=True))
    label = labels[rows, columns]
    return {int(one): (rows[label == one], columns[label == one]) for one in np.unique(label)}


def _around(labels: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return the labels of all pixels that touch some pixels."""
    step = np.arange(-1, 2)
    ny, nx = labels.shape
    near: np.ndarray = labels[
        np.clip(rows[:, None, None] + step[:, None], 0, ny - 1),
        np.clip(columns[:, None, None] + step, 0, nx - 1),
    ]
    return near.ravel()


def _connected(ratio: np.ndarray, threshold: float, npixels: int) -> tuple[np.ndarray, int]:
    """Label what is connected by sides, without deblending."""
    from scipy import ndimage

    labels, count = ndimage.label(ratio > threshold)
    kept = np.bincount(labels.ravel(), minlength=count + 1) >= npixels
    kept[0] = False
    number = np.where(kept, np.cumsum(kept), 0).astype(np.int32)
    return number[labels], int(kept.sum())


def _deblended_otherwise(
    ratio: np.ndarray,
    threshold: float,
    npixels: int,
    connectivity: int,
    nlevels: int,
    contrast: float,
    mode: str,
) -> tuple[np.ndarray, int]:
    """Find and deblend with photutils: what SEP has no parameter for, fifteen times slower."""
    import warnings
    from importlib.util import find_spec

    try:
        if find_spec("skimage") is None:  # photutils would ask for it in the middle of its work
            raise ImportError("scikit-image")  # noqa: TRY301 - the same story as without photutils
        from photutils.segmentation import deblend_sources, detect_sources
    except ImportError as error:
        raise ConfigurationError(
            "blends can be taken apart so only with packages that are not installed",
            place="source_catalog",
            found=f"connectivity {connectivity}, multithresh_mode {mode!r}",
            expected="connectivity 8 and multithresh_mode 'exponential', or photutils and scikit-image",
            remedy="pip install photutils scikit-image",
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "no sources", "too many levels": seen in the result
        found = detect_sources(ratio, threshold, npixels, connectivity=connectivity)
        if found is None:
            return np.zeros(ratio.shape, np.int32), 0
        apart = deblend_sources(
            ratio,
            found,
            npixels,
            n_levels=nlevels,
            contrast=contrast,
            mode=mode,
            connectivity=connectivity,
            progress_bar=False,
        )
    apart.relabel_consecutive()
    return np.asarray(apart.data, np.int32), int(apart.max_label)
