"""Where images lie on the sky: one tangent plane for all of them, and what two have in common.

The tangent plane is the gnomonic projection (Calabretta & Greisen 2002, A&A 395, 1077, section
5.1.3), computed with unit vectors, so that it knows neither poles nor the end of right ascension.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lightmill.errors import DataError

__all__ = ["TangentPlane", "edge_of", "may_overlap", "middle_of", "pixel_size"]

ARCSEC = np.degrees(1.0) * 3600.0  # in a radian


@dataclass(frozen=True)
class TangentPlane:
    """The plane that touches the sky at a point; x towards east, y towards north.

    Attributes
    ----------
    ra, dec : float
        The point [deg].
    """

    ra: float
    dec: float

    @classmethod
    def of(cls, ra: np.ndarray, dec: np.ndarray) -> TangentPlane:
        """Return the plane in the middle of positions.

        Parameters
        ----------
        ra, dec : (n,) array_like
            Positions [deg]; those that are not finite are left out.

        Raises
        ------
        DataError
            If the positions have no middle: none is finite, or they surround the sky.
        """
        ra, dec = np.ravel(ra), np.ravel(dec)
        known = np.isfinite(ra) & np.isfinite(dec)
        middle = _vectors(ra[known], dec[known]).sum(axis=0)
        length = float(np.linalg.norm(middle))
        if not length > 0.1 * max(1, known.sum()):
            raise DataError(
                "the positions have no common middle on the sky",
                found=f"{int(known.sum())} positions",
                expected="images of one field",
            )
        x, y, z = middle / length
        return cls(
            float(np.degrees(np.arctan2(y, x)) % 360.0),
            float(np.degrees(np.arctan2(z, np.hypot(x, y)))),
        )

    def project(self, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
        """Return positions in the plane.

        Parameters
        ----------
        ra, dec : (n,) array_like
            Positions on the sky [deg].

        Returns
        -------
        xy : (n, 2) ndarray of float64
            Positions in the plane [arcsec]; NaN where they are not on this half of the sky.
        """
        east, north, out = (_vectors(ra, dec) @ self._axes().T).T
        out = np.where(out > 1e-6, out, np.nan)
        return np.stack([east / out, north / out], axis=-1) * ARCSEC

    def deproject(self, xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the right ascension and declination [deg] of positions in the plane [arcsec]."""
        flat = np.asarray(xy, np.float64) / ARCSEC
        local = np.concatenate([flat, np.ones((*flat.shape[:-1], 1))], axis=-1)
        x, y, z = np.moveaxis(local @ self._axes(), -1, 0)
        ra = np.degrees(np.arctan2(y, x)) % 360.0
        return ra, np.degrees(np.arctan2(z, np.hypot(x, y)))

    def _axes(self) -> np.ndarray:
        """Return unit vectors towards east, north, and the point itself, as rows."""
        ra, dec = np.radians([self.ra, self.dec])
        return np.array(
            [
                [-np.sin(ra), np.cos(ra), 0.0],
                [-np.sin(dec) * np.cos(ra), -np.sin(dec) * np.sin(ra), np.cos(dec)],
                [np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)],
            ]
        )


def edge_of(shape: tuple[int, int], points: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Return points along the edge of an image, in order.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns.
    points : int
        A side; more follow the distortion better.

    Returns
    -------
    x, y : (4 * points,) ndarray of float64
        Positions [pixel]; the outer borders of the pixels at the edge.
    """
    ny, nx = shape
    along = np.linspace(0, 1, points, endpoint=False)
    low, high = np.zeros(points), np.ones(points)
    x = np.concatenate([along, high, 1 - along, low]) * nx - 0.5
    y = np.concatenate([low, along, high, 1 - along]) * ny - 0.5
    return x, y


def middle_of(wcs: Any, plane: TangentPlane, shape: tuple[int, int]) -> np.ndarray:
    """Return where the middle of an image lies in a plane, (1, 2) [arcsec].

    Parameters
    ----------
    wcs : gwcs.WCS or astropy.wcs.WCS
    plane : TangentPlane
    shape : (int, int)
        Rows and columns.
    """
    x, y = np.array([(shape[1] - 1) / 2]), np.array([(shape[0] - 1) / 2])
    return plane.project(*wcs.pixel_to_world_values(x, y))


def pixel_size(wcs: Any, plane: TangentPlane, shape: tuple[int, int]) -> float:
    """Return the side of a square as large as the pixel in the middle of an image [arcsec].

    Parameters
    ----------
    wcs : gwcs.WCS or astropy.wcs.WCS
        Its world coordinates.
    plane : TangentPlane
        Where the square is measured.
    shape : (int, int)
        Rows and columns.
    """
    x, y = (shape[1] - 1) / 2, (shape[0] - 1) / 2
    origin, right, up = plane.project(
        *wcs.pixel_to_world_values(np.array([x, x + 1, x]), np.array([y, y, y + 1]))
    )
    return float(np.sqrt(abs(np.linalg.det(np.stack([right - origin, up - origin])))))


def may_overlap(a: Sequence[np.ndarray], b: Sequence[np.ndarray], margin: float = 0.0) -> bool:
    """Say whether any of some outlines may touch any of others, by the boxes around them.

    Parameters
    ----------
    a, b : sequence of (m, 2) ndarray
        Outlines in one plane.
    margin : float
        They may be this far from each other [unit of the outlines].
    """
    for one in a:
        for other in b:
            apart = np.maximum(
                other.min(axis=0) - one.max(axis=0), one.min(axis=0) - other.max(axis=0)
            )
            if (apart <= margin).all():
                return True
    return False


def _vectors(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Return unit vectors (n, 3) of positions [deg]."""
    a, d = np.radians(np.asarray(ra, np.float64)), np.radians(np.asarray(dec, np.float64))
    return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=-1)
