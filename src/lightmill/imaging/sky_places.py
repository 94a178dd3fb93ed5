"""Where pixels of an image are on the sky, and how large."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lightmill.imaging.plain_systems import NodeSystem

__all__ = ["pixel_area", "position_angles", "sky_positions"]


def sky_positions(wcs: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return places on the sky.

    Parameters
    ----------
    wcs : NodeSystem, gwcs.WCS, astropy.wcs.WCS or None
        Of the image; it may end at the image's edge, these places need not.
    x, y : (n,) ndarray of float64
        Positions [pixel].

    Returns
    -------
    radec : (2, n) ndarray of float64
        ICRS right ascension in [0, 360) and declination [deg]; NaN without a system.
    """
    if wcs is None or not len(x):
        return np.full((2, len(x)), np.nan)
    if isinstance(wcs, NodeSystem):
        lon, lat = wcs.forward_transform(x, y)
        return np.stack([lon % 360, lat])
    from astropy.coordinates import ICRS, SkyCoord
    from astropy.wcs.utils import wcs_to_celestial_frame

    if hasattr(wcs, "output_frame"):
        lon, lat = wcs(x, y, with_bounding_box=False)
        frame = getattr(wcs.output_frame, "reference_frame", None) or ICRS()
    else:
        lon, lat = wcs.all_pix2world(x, y, 0)
        frame = wcs_to_celestial_frame(wcs)
    lon, lat = (np.asarray(getattr(angle, "value", angle), float) for angle in (lon, lat))
    if isinstance(frame, ICRS):
        return np.stack([lon % 360, lat])
    place = SkyCoord(lon, lat, unit="deg", frame=frame).icrs
    return np.stack([place.ra.deg, place.dec.deg])


def position_angles(wcs: Any, x: np.ndarray, y: np.ndarray, orientation: np.ndarray) -> np.ndarray:
    """Return the direction of an axis on the sky, at each source's own place.

    Parameters
    ----------
    wcs : NodeSystem, gwcs.WCS, astropy.wcs.WCS or None
        Of the image.
    x, y : (n,) ndarray of float64
        Positions [pixel].
    orientation : (n,) ndarray of float64
        From the x axis towards the y axis [deg].

    Returns
    -------
    angle : (n,) ndarray of float64
        From north towards east to the axis' far end, in [0, 360) [deg].
    """
    step = np.radians(orientation)
    ra0, dec0 = np.radians(sky_positions(wcs, x, y))
    ra1, dec1 = np.radians(sky_positions(wcs, x - np.cos(step), y - np.sin(step)))
    east = np.cos(dec1) * np.sin(ra1 - ra0)
    north = np.cos(dec0) * np.sin(dec1) - np.sin(dec0) * np.cos(dec1) * np.cos(ra1 - ra0)
    return np.degrees(np.arctan2(east, north)) % 360


def pixel_area(wcs: Any, shape: tuple[int, ...]) -> float | None:
    """Return the area of the pixel in the middle of an image.

    Parameters
    ----------
    wcs : NodeSystem, gwcs.WCS, astropy.wcs.WCS or None
        Of the image.
    shape : (ny, nx)
        Of the image.

    Returns
    -------
    area : float or None
        [sr]; None where the middle is not on the sky.
    """
    if wcs is None:
        return None
    y, x = (shape[-2] - 1) / 2, (shape[-1] - 1) / 2
    half = 0.5
    ra, dec = np.radians(
        sky_positions(
            wcs, x + half * np.array([0, 1, -1, 0, 0]), y + half * np.array([0, 0, 0, 1, -1])
        )
    )
    east = np.cos(dec) * np.sin(ra - ra[0])
    north = np.sin(dec) * math.cos(dec[0]) - np.cos(dec) * math.sin(dec[0]) * np.cos(ra - ra[0])
    along_x, along_y = (
        (east[1] - east[2], north[1] - north[2]),
        (east[3] - east[4], north[3] - north[4]),
    )
    area = abs(along_x[0] * along_y[1] - along_x[1] * along_y[0])
    return float(area) if np.isfinite(area) else None
