"""The outline of an image on the sky, as archives want it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["corners", "region_text"]


def corners(
    sky: Callable[[Any, Any], tuple[np.ndarray, np.ndarray]],
    box: tuple[tuple[float, float], tuple[float, float]],
) -> np.ndarray:
    """Return where the corners of an image are on the sky.

    Parameters
    ----------
    sky : callable
        Takes x and y [pixel, from 0], returns right ascension and declination [deg].
    box : ((float, float), (float, float))
        Limits of the image in x and in y [pixel]: outer edges, not centres of pixels.

    Returns
    -------
    corners : (4, 2) ndarray of float64
        Right ascension, from 0 to 360, and declination [deg]: first corner, up the first column,
        along the last row, and down.
    """
    (x0, x1), (y0, y1) = box
    ra, dec = sky(np.array([x0, x0, x1, x1]), np.array([y0, y1, y1, y0]))
    return np.stack([np.mod(ra, 360.0), dec], axis=1)


def region_text(points: np.ndarray) -> str | None:
    """Return an outline as STC-S text, the value of ``S_REGION``.

    Parameters
    ----------
    points : (n, 2) array_like
        Right ascension and declination of the corners [deg].

    Returns
    -------
    text : str or None
        None if a corner is nowhere on the sky.

    References
    ----------
    .. [1] Rots, A. 2007, "STC-S: Space-Time Coordinate Metadata Linear String Implementation",
       IVOA Note; version 1.33.
    """
    points = np.asarray(points, np.float64)
    if not np.isfinite(points).all():
        return None
    return "POLYGON ICRS  " + " ".join(f"{number:.9f}" for number in points.ravel())
