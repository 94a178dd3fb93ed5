"""Where the pixels of one image lie in another: both world coordinate systems, evaluated sparsely.

A generalised WCS is a chain of polynomials, rotations and projections, a microsecond or more a
point; the product of two such chains is smooth, so that a Chebyshev polynomial through a few
hundred exact points gives the other four million. Its error is measured at points it was not made
of, not assumed; where no polynomial is good enough, every pixel is evaluated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lightmill.errors import DataError

__all__ = ["PixelMap", "pixels_of", "sky_of", "tangent"]

TOLERANCE = 1e-4  # pixel of the target; well below what centroids of bright stars can show
DEGREES = (6, 10, 16, 28)
# Multiplications in one product of matrices. Linear algebra libraries wake threads for larger ones
# (OpenBLAS from 262144 on), which costs ten times the work where the other cores are busy.
ONE_THREAD = 250_000
NEWTON = 1e-9  # pixel: the last step of an inverse
_GOLDEN = 0.6180339887498949
Pair = tuple[np.ndarray, np.ndarray]


def sky_of(wcs: Any) -> Callable[[Any, Any], Pair]:
    """Return the function from pixels to the sky [deg], also outside the bounding box.

    Parameters
    ----------
    wcs : gwcs.WCS or astropy.wcs.WCS
    """
    inner: Any = getattr(wcs, "forward_transform", None)
    return wcs.pixel_to_world_values if inner is None else inner


def pixels_of(wcs: Any) -> Callable[[Any, Any], Pair]:
    """Return the function from the sky [deg] to pixels, also outside the bounding box.

    Parameters
    ----------
    wcs : gwcs.WCS or astropy.wcs.WCS
    """
    if not hasattr(wcs, "forward_transform"):
        return wcs.world_to_pixel_values
    try:
        inverse: Any = wcs.backward_transform
    except NotImplementedError:
        return _iterated(wcs)
    return inverse


def tangent(ra0: float, dec0: float, ra: Any, dec: Any) -> Pair:
    """Return gnomonic coordinates [deg] of points less than 90 degrees from the tangent point."""
    a, d = np.deg2rad(np.asarray(ra)) - np.deg2rad(ra0), np.deg2rad(np.asarray(dec))
    d0 = np.deg2rad(dec0)
    depth = np.sin(d0) * np.sin(d) + np.cos(d0) * np.cos(d) * np.cos(a)
    east = np.cos(d) * np.sin(a) / depth
    north = (np.cos(d0) * np.sin(d) - np.sin(d0) * np.cos(d) * np.cos(a)) / depth
    return np.rad2deg(east), np.rad2deg(north)


def _iterated(wcs: Any) -> Callable[[Any, Any], Pair]:
    """Return the inverse of a system that has none written down, by Newton's method."""
    sky = sky_of(wcs)
    box = wcs.bounding_box
    box = box.bounding_box(order="F") if hasattr(box, "bounding_box") else box
    ranges = box or ((0.0, 1.0), (0.0, 1.0))
    start = [sum(float(getattr(one, "value", one)) for one in pair) / 2 for pair in ranges]
    ra0, dec0 = (float(value) for value in sky(*start))

    def plane(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.stack(tangent(ra0, dec0, *sky(x, y)))

    def inverse(ra: Any, dec: Any) -> Pair:
        wanted = np.stack(tangent(ra0, dec0, ra, dec))
        x, y = (np.full(wanted.shape[1:], value) for value in start)
        for _ in range(20):
            here = plane(x, y)
            across, up = plane(x + 0.5, y), plane(x, y + 0.5)
            (a, b), (c, d) = (across - here) * 2, (up - here) * 2
            error = wanted - here
            step = np.stack([d * error[0] - c * error[1], a * error[1] - b * error[0]])
            step /= a * d - b * c
            x, y = x + step[0], y + step[1]
            if not np.nanmax(np.abs(step), initial=0.0) > NEWTON:
                break
        return x, y

    return inverse


class PixelMap:
    """The pixels of an image in the pixels of another.

    Parameters
    ----------
    source, target : gwcs.WCS or astropy.wcs.WCS
        World coordinate systems of the two images.
    shape : (int, int)
        Rows and columns of the source image.
    tolerance : float
        Largest error [pixel of the target] at the points where it is measured.

    Attributes
    ----------
    degree : int or None
        Of the polynomial; None where every pixel is evaluated.
    error : float
        Largest error measured [pixel of the target].

    Raises
    ------
    DataError
        If no point of the source lies on the target's sky.
    """

    def __init__(
        self, source: Any, target: Any, shape: tuple[int, int], tolerance: float = TOLERANCE
    ) -> None:
        self.shape = (int(shape[0]), int(shape[1]))
        self._sky, self._pixels = sky_of(source), pixels_of(target)
        self.degree: int | None = None
        self.error = 0.0
        ny, nx = self.shape
        # Points no grid of Chebyshev nodes has, the edges among them.
        along = np.concatenate([[0.0, 1.0], np.arange(1, 24) * _GOLDEN % 1.0])
        across = np.concatenate([[1.0, 0.0], np.arange(1, 24) * (_GOLDEN * _GOLDEN) % 1.0])
        x, y = along * (nx - 1), across * (ny - 1)
        exact = self.exact(x, y)
        if not np.isfinite(exact).any():
            raise DataError(
                "no pixel of the image lies on the sky of the other",
                found="world coordinates that are not numbers",
                remedy="check the world coordinate system of the image",
            )
        for degree in DEGREES:
            self._fit(degree)
            found = self._polynomial(x, y)
            error = np.abs(found - exact).max()
            if error <= tolerance:  # False for NaN
                self.degree, self.error = degree, float(error)
                break

    def exact(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return target pixels (2, …) of source pixels, through both systems."""
        there = self._pixels(*self._sky(np.asarray(x, np.float64), np.asarray(y, np.float64)))
        return np.stack([np.asarray(there[0], np.float64), np.asarray(there[1], np.float64)])

    def points(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return target pixels (2, …) of any source pixels."""
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        return self.exact(x, y) if self.degree is None else self._polynomial(x, y)

    def block(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """Return the target pixels of a rectangle of source pixels.

        Returns
        -------
        positions : (y1 - y0, x1 - x0, 2) ndarray of float64
            x and y in the target's pixels, 0 is the centre of the first.
        """
        x, y = np.arange(x0, x1, dtype=np.float64), np.arange(y0, y1, dtype=np.float64)
        if self.degree is None:
            out = np.empty((len(y), len(x), 2))
            out[..., 0], out[..., 1] = self.exact(*np.broadcast_arrays(x[None, :], y[:, None]))
            return out
        # x and y side by side, as they are wanted, so that one product makes both in place.
        along = self._coefficients @ self._basis(x, 1).T
        pairs = np.ascontiguousarray(np.moveaxis(along, 0, -1)).reshape(len(along[0]), -1)
        basis, out = self._basis(y, 0), np.empty((len(y), pairs.shape[1]))
        rows = max(1, ONE_THREAD // pairs.size)
        for k in range(0, len(y), rows):
            np.matmul(basis[k : k + rows], pairs, out=out[k : k + rows])
        return out.reshape(len(y), len(x), 2)

    def spread(self, step: int = 32) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return a sparse grid of source pixels with its target pixels.

        Returns
        -------
        y, x : (n,), (m,) ndarray of float64
            Rows and columns, from edge to edge of the image, at most `step` apart.
        positions : (2, n, m) ndarray of float64
            Target pixels, x and y.
        """
        ny, nx = self.shape
        y = np.linspace(-0.5, ny - 0.5, max(2, -(-ny // step) + 1))
        x = np.linspace(-0.5, nx - 0.5, max(2, -(-nx // step) + 1))
        grid = np.broadcast_arrays(x[None, :], y[:, None])
        return y, x, self.points(*grid)

    # -- the polynomial --------------------------------------------------------------------

    def _fit(self, degree: int) -> None:
        nodes = np.cos(np.pi * np.arange(degree + 1) / degree)
        ny, nx = self.shape
        y = (nodes + 1) / 2 * max(ny - 1, 1)
        x = (nodes + 1) / 2 * max(nx - 1, 1)
        values = self.exact(*np.broadcast_arrays(x[None, :], y[:, None]))
        inverse = np.linalg.inv(np.polynomial.chebyshev.chebvander(nodes, degree))
        self._degree = degree
        self._coefficients = inverse @ values @ inverse.T

    def _basis(self, pixels: np.ndarray, axis: int) -> np.ndarray:
        last = max(self.shape[axis] - 1, 1)
        return np.polynomial.chebyshev.chebvander(2 * pixels / last - 1, self._degree)

    def _polynomial(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        x, y = np.broadcast_arrays(x, y)
        horizontal, vertical = self._basis(x, 1), self._basis(y, 0)
        return np.stack(
            [np.einsum("...i,ij,...j->...", vertical, c, horizontal) for c in self._coefficients]
        )
