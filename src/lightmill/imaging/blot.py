"""Look a mosaic up at the pixels of an exposure: the inverse of drizzling."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lightmill.imaging.drizzling import reached
from lightmill.imaging.pixel_map import PixelMap
from lightmill.models import Region

__all__ = ["blot"]


def blot(
    read: Callable[[Region], np.ndarray],
    shape: tuple[int, int],
    pixel_map: PixelMap,
    rows: tuple[int, int],
) -> np.ndarray:
    """Return a mosaic as an exposure would see it, some of its rows.

    Parameters
    ----------
    read : callable
        Takes a Region of the mosaic, returns its values, float32.
    shape : (int, int)
        Rows and columns of the mosaic.
    pixel_map : PixelMap
        From the exposure to the mosaic.
    rows : (int, int)
        First row of the exposure, and the one after the last.

    Returns
    -------
    image : (rows, nx) ndarray of float32
        Interpolated linearly; NaN outside the mosaic and next to pixels that are NaN.
    """
    from drizzle.resample import blot_image

    nx = pixel_map.shape[1]
    out = np.full((rows[1] - rows[0], nx), np.nan, np.float32)
    window = reached(pixel_map, Region(*rows, 0, nx), Region(0, shape[0], 0, shape[1]), 2)
    if window is None or min(window.shape) < 2:
        return out
    positions = pixel_map.block(*rows, 0, nx)
    positions -= (window.x0, window.y0)
    if pixel_map.degree is None:  # the library cannot look up "nowhere"
        np.nan_to_num(positions, copy=False, nan=-1.0)
    blot_image(read(window), positions, out_img=out, fillval=np.nan, iscale=1.0, interp="linear")
    return out
