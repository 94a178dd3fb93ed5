"""Stars found by the shape of their peak instead of connected pixels."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from lightmill.errors import ConfigurationError

__all__ = ["find_stars"]


def find_stars(
    signal: np.ndarray, mask: np.ndarray, threshold: float, fwhm: float, settings: Mapping[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Find stars with the method of DAOFIND [1]_ or of IRAF's starfind.

    Parameters
    ----------
    signal : (ny, nx) ndarray of float32
        Image without its sky.
    mask : (ny, nx) ndarray of bool
        True where a pixel has no value.
    threshold : float
        Least height of a star [unit of the image].
    fwhm : float
        Full width at half maximum of a star [pixel].
    settings : mapping
        ``finder`` ('dao' or 'iraf'), ``min_separation`` [pixel], ``sigma_radius``,
        ``sharpness_range``, ``roundness_range``, ``n_brightest``, ``peak_max``.

    Returns
    -------
    x, y : (n,) ndarray of float64
        Positions [pixel], by row and then column.

    Raises
    ------
    ConfigurationError
        Without photutils.

    References
    ----------
    .. [1] Stetson, P. B. 1987, PASP, 99, 191.
    """
    try:
        from photutils.detection import DAOStarFinder, IRAFStarFinder
    except ImportError as error:
        raise ConfigurationError(
            "this star finder needs a package that is not installed",
            place="source_catalog.starfinder",
            found=settings["finder"],
            expected="photutils, or starfinder 'segmentation'",
            remedy="pip install photutils",
        ) from error
    wanted = {name: value for name, value in settings.items() if name != "finder"}
    kind = DAOStarFinder
    if settings["finder"] == "iraf":
        kind = IRAFStarFinder
        wanted.pop("sigma_radius", None)  # it has none
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "no sources": the table says so
        found = kind(threshold, fwhm, **wanted)(signal, mask=mask)
    if found is None or len(found) == 0:
        return np.zeros(0), np.zeros(0)
    names = found.colnames
    x = np.asarray(found["x_centroid" if "x_centroid" in names else "xcentroid"], float)
    y = np.asarray(found["y_centroid" if "y_centroid" in names else "ycentroid"], float)
    order = np.lexsort((x, y))
    return x[order], y[order]
