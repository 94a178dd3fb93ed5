"""Where on the sky a pixel is: the product's own coordinates, and a formula for a page alone."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from lightmill.models import Model, wcs_of

__all__ = ["Sky", "fit_plane"]

_GRID = 33  # points a side the formula is fitted on, and checked between
_DEGREES = range(1, 10)  # of the polynomials tried
GOOD = 1e-8  # deg: no higher degree is tried
USABLE = 1e-7  # deg (0.4 mas): a worse formula is not given away


class Sky:
    """The world coordinates of an image.

    Parameters
    ----------
    wcs : gwcs.WCS or astropy.wcs.WCS
        Anything with ``pixel_to_world_values`` and ``world_to_pixel_values`` for two axes.
    """

    def __init__(self, wcs: Any) -> None:
        self.wcs = wcs
        self._lock = threading.Lock()  # neither library promises that threads may share a WCS

    @classmethod
    def of(cls, model: Model) -> Sky | None:
        """Return the coordinates of a model, or None if it has none of right ascension and declination."""
        wcs = wcs_of(model)
        if wcs is None or getattr(wcs, "world_n_dim", 2) != 2:
            return None
        return cls(wcs)

    def degrees(self, x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return right ascension and declination.

        Parameters
        ----------
        x, y : array_like of float
            Pixels, 0 is the centre of the first.

        Returns
        -------
        ra, dec : ndarray of float64
            [deg], the first from 0 to 360; NaN where the system says nothing.
        """
        x, y = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
        with self._lock, np.errstate(all="ignore"):
            ra, dec = self.wcs.pixel_to_world_values(x, y)
        ra, dec = np.asarray(ra, float), np.asarray(dec, float)
        outside = ~(np.isfinite(ra) & np.isfinite(dec))
        return np.where(outside, np.nan, ra % 360), np.where(outside, np.nan, dec)

    def pixels(self, ra: Any, dec: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the pixels of places on the sky [deg]; NaN where there is none."""
        ra, dec = np.broadcast_arrays(np.asarray(ra, float), np.asarray(dec, float))
        with self._lock, np.errstate(all="ignore"):
            x, y = self.wcs.world_to_pixel_values(ra, dec)
        return np.asarray(x, float), np.asarray(y, float)

    def formula(self, ny: int, nx: int) -> dict[str, Any] | None:
        """Return the coordinates of a (ny, nx) image as a formula a page can evaluate.

        Returns
        -------
        formula : dict or None
            See `fit_plane`; None where none is good to 1e-7 deg.
        """
        return fit_plane(self.degrees, ny, nx)


def fit_plane(degrees: Any, ny: int, nx: int) -> dict[str, Any] | None:
    """Fit polynomials to sky coordinates, in a plane that touches the sky at the middle.

    Parameters
    ----------
    degrees : callable
        Given x and y [pixel], returns right ascension and declination [deg].
    ny, nx : int
        Shape of the image.

    Returns
    -------
    formula : dict or None
        ``ra``, ``dec`` of the point of touch [deg]; ``half``, half of the image's sides and
        ``middle``, its centre [pixel], that make both axes run from -1 to 1; coefficients
        ``xi`` and ``eta`` [rad] of u^i v^j in the order of ``powers``; ``residual`` [deg], the
        largest error met. None where the error is above 1e-7 deg.

    Notes
    -----
    The plane is the gnomonic one [1]_. A system without distortion is exact at degree 1; that of
    a detector with distortion of degree 5 needs 5 or 6.

    References
    ----------
    .. [1] Calabretta, M. R., & Greisen, E. W. 2002, A&A, 395, 1077, §5.1.3.
    """
    middle, half = ((nx - 1) / 2, (ny - 1) / 2), (max(nx - 1, 1) / 2, max(ny - 1, 1) / 2)
    ra0, dec0 = (float(one) for one in degrees(*middle))
    if not (np.isfinite(ra0) and np.isfinite(dec0)):
        return None
    u, v = (one.ravel() for one in np.meshgrid(*[np.linspace(-1, 1, _GRID)] * 2))
    ra, dec = degrees(middle[0] + half[0] * u, middle[1] + half[1] * v)
    xi, eta, front = _to_plane(ra, dec, ra0, dec0)
    if not (np.isfinite(xi) & front).all():
        return None
    nodes = (np.arange(2 * _GRID * _GRID) % 2).astype(bool)[: u.size]  # every other one checks
    best: dict[str, Any] | None = None
    for degree in _DEGREES:
        powers = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
        terms = np.stack([u**i * v**j for i, j in powers], axis=1)
        fitted, *_ = np.linalg.lstsq(terms[nodes], np.stack([xi, eta], axis=1)[nodes], rcond=None)
        errors = terms @ fitted - np.stack([xi, eta], axis=1)
        residual = float(np.degrees(np.hypot(*errors.T).max()))
        if best is None or residual < best["residual"]:
            best = {
                "ra": ra0, "dec": dec0, "middle": list(middle), "half": list(half),
                "powers": [list(one) for one in powers],
                "xi": fitted[:, 0].tolist(), "eta": fitted[:, 1].tolist(), "residual": residual,
            }  # fmt: skip
        if residual <= GOOD:
            break
    return best if best is not None and best["residual"] <= USABLE else None


def _to_plane(
    ra: np.ndarray, dec: np.ndarray, ra0: float, dec0: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return coordinates in the tangential plane [rad], and which points are in front of it."""
    alpha, delta = np.radians(ra - ra0), np.radians(dec)
    sin0, cos0 = np.sin(np.radians(dec0)), np.cos(np.radians(dec0))
    cosine = sin0 * np.sin(delta) + cos0 * np.cos(delta) * np.cos(alpha)
    xi = np.cos(delta) * np.sin(alpha) / cosine
    eta = (cos0 * np.sin(delta) - sin0 * np.cos(delta) * np.cos(alpha)) / cosine
    return xi, eta, cosine > 0.1
