"""Approximate a world coordinate system by FITS keywords: a gnomonic projection and SIP polynomials.

What the keywords say is for programs that read nothing else; positions that matter come from the
world coordinate system itself. The convention is that of SIP [1]_: from the reference pixel, u and v
[pixel]; intermediate world coordinates CD · (u + A(u, v), v + B(u, v)) [deg] in the plane tangent to
the sky at CRVAL; AP and BP lead back.

References
----------
.. [1] Shupe, D. L., et al. 2005, ASP Conf. Ser. 347, 491.
.. [2] Calabretta, M. R., & Greisen, E. W. 2002, A&A, 395, 1077: the gnomonic projection (TAN).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lightmill.errors import DataError

__all__ = ["Sip", "fit_sip", "tangent_plane"]

HIGHEST = 6  # degree: more is ill-conditioned, and more than the schemas hold
Sky = Callable[[Any, Any], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Sip:
    """FITS keywords that approximate a world coordinate system.

    Attributes
    ----------
    keywords : dict
        Keyword in small letters → value; those of a system with a degree of 1 have no polynomials.
    error : float
        Largest distance between the two systems [pixel].
    inverse_error : float or None
        Largest distance of the way back [pixel]; None where there is none.
    """

    keywords: dict[str, Any]
    error: float
    inverse_error: float | None


def tangent_plane(
    ra: np.ndarray, dec: np.ndarray, center: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the gnomonic projection of positions on the sky.

    Parameters
    ----------
    ra, dec : array_like
        [deg]
    center : (float, float)
        Right ascension and declination of the point of contact [deg].

    Returns
    -------
    xi, eta : ndarray of float64
        Towards east and north [deg]; NaN for what lies more than 90 degrees away.
    """
    ra, dec = np.deg2rad(ra), np.deg2rad(dec)
    ra0, dec0 = np.deg2rad(center)
    step = ra - ra0
    x = np.cos(dec) * np.sin(step)
    # The same as sin(dec) cos(dec0) - cos(dec) sin(dec0) cos(step), without cancellation.
    y = np.sin(dec - dec0) + 2 * np.cos(dec) * np.sin(dec0) * np.sin(step / 2) ** 2
    z = np.sin(dec) * np.sin(dec0) + np.cos(dec) * np.cos(dec0) * np.cos(step)
    z = np.where(z > 0, z, np.nan)
    return np.rad2deg(x / z), np.rad2deg(y / z)


def fit_sip(
    sky: Sky,
    box: tuple[tuple[float, float], tuple[float, float]],
    *,
    crpix: tuple[float, float] | None = None,
    max_error: float = 0.01,
    degree: int | None = None,
    max_inverse_error: float | None = 0.01,
    inverse_degree: int | None = None,
    points: int = 12,
) -> Sip:
    """Fit FITS keywords to a world coordinate system.

    Parameters
    ----------
    sky : callable
        Takes x and y [pixel, from 0], returns right ascension and declination [deg].
    box : ((float, float), (float, float))
        Limits of the image in x and in y [pixel].
    crpix : (float, float), optional
        Reference pixel, counted from 1; the middle of the image by default.
    max_error : float
        The lowest degree that comes as close as this is taken [pixel].
    degree : int, optional
        Take this one instead.
    max_inverse_error : float or None
        As `max_error`, for the way back; None: there is none.
    inverse_degree : int, optional
        As `degree`, for the way back.
    points : int
        Points along each axis that are fitted; twice as many are compared.

    Returns
    -------
    sip : Sip
        If no degree comes as close as asked for, the one that comes closest.

    Raises
    ------
    DataError
        If the image is smaller than a pixel, or a part of it is nowhere on the sky.
    """
    (x0, x1), (y0, y1) = box
    if not (x1 - x0 >= 1 and y1 - y0 >= 1):
        raise DataError("the image is too small for world coordinates", found=box)
    if crpix is None:
        zero = (round((x0 + x1) / 2, 1), round((y0 + y1) / 2, 1))
    else:
        zero = (crpix[0] - 1, crpix[1] - 1)
    ra0, dec0 = sky(*zero)
    center = float(ra0), float(dec0)
    grids = []
    for count in (points, 2 * points):
        u, v = np.meshgrid(np.linspace(x0, x1, count), np.linspace(y0, y1, count))
        xi, eta = tangent_plane(*sky(u, v), center)
        grids.append(np.stack([u.ravel() - zero[0], v.ravel() - zero[1], xi.ravel(), eta.ravel()]))
    if not all(np.isfinite(grid).all() for grid in grids) or not np.isfinite(center).all():
        raise DataError(
            "a part of the image is nowhere on the sky",
            found=f"reference pixel {zero}, at {center}",
            expected="right ascension and declination of every pixel",
            remedy="check the distortion reference and the pointing (V2_REF, RA_REF …)",
        )
    fitted, checked = grids
    size = max(abs(fitted[:2]).max(), 1.0)
    linear = _solve(fitted[:2], fitted[2:], 1, size)
    pixel = np.sqrt(abs(np.linalg.det(_linear_part(linear))))  # [deg]
    terms, error = _lowest(fitted, checked, degree, max_error * pixel, size)
    cd = _linear_part(terms)
    keywords = _frame(zero, center, cd)
    _store(keywords, "ab", {power: np.linalg.solve(cd, c) for power, c in terms.items()}, 2)
    if _degree(terms) < 2:
        keywords |= {"ctype1": "RA---TAN", "ctype2": "DEC--TAN"}
        return Sip(keywords, error / pixel, 0.0)
    if max_inverse_error is None:
        return Sip(keywords, error / pixel, None)
    back = []
    for grid in grids:
        straight = np.linalg.solve(cd, grid[2:])  # where the linear part alone would put them
        back.append(np.concatenate([straight, grid[:2] - straight]))
    size = max(abs(back[0][:2]).max(), 1.0)
    inverse, inverse_error = _lowest(back[0], back[1], inverse_degree, max_inverse_error, size)
    _store(keywords, ("ap", "bp"), inverse, 1)
    return Sip(keywords, error / pixel, inverse_error)


Terms = dict[tuple[int, int], np.ndarray]  # powers of u and v → coefficients of the two outputs


def _lowest(
    fitted: np.ndarray, checked: np.ndarray, degree: int | None, wanted: float, size: float
) -> tuple[Terms, float]:
    """Return the polynomial of the lowest degree that is close enough, or else of the closest."""
    best: tuple[Terms, float] | None = None
    for tried in range(1, HIGHEST + 1) if degree is None else (degree,):
        terms = _solve(fitted[:2], fitted[2:], tried, size)
        error = max(_distance(terms, grid) for grid in (fitted, checked))
        if best is None or error < best[1]:
            best = terms, error
        if error <= wanted:
            break
    assert best is not None
    return best


def _powers(degree: int) -> list[tuple[int, int]]:
    return [(p, q) for p in range(degree + 1) for q in range(degree + 1 - p) if p + q]


def _solve(inputs: np.ndarray, outputs: np.ndarray, degree: int, size: float) -> Terms:
    """Fit polynomials without constant term; coordinates are scaled to about 1 meanwhile."""
    u, v = inputs / size
    powers = _powers(degree)
    matrix = np.stack([u**p * v**q for p, q in powers], axis=1)
    found = np.linalg.lstsq(matrix, outputs.T, rcond=None)[0]
    return {
        power: row / size ** (power[0] + power[1]) for power, row in zip(powers, found, strict=True)
    }


def _distance(terms: Terms, grid: np.ndarray) -> float:
    u, v = grid[:2]
    made = sum(c[:, None] * (u**p * v**q) for (p, q), c in terms.items())
    return float(np.hypot(*(grid[2:] - made)).max())


def _linear_part(terms: Terms) -> np.ndarray:
    return np.stack([terms[1, 0], terms[0, 1]], axis=1)


def _degree(terms: Terms) -> int:
    return max(p + q for p, q in terms)


def _frame(zero: tuple[float, float], center: tuple[float, ...], cd: np.ndarray) -> dict[str, Any]:
    return {
        "wcsaxes": 2,
        "crpix1": float(zero[0] + 1),
        "crpix2": float(zero[1] + 1),
        "crval1": center[0],
        "crval2": center[1],
        "ctype1": "RA---TAN-SIP",
        "ctype2": "DEC--TAN-SIP",
        "cunit1": "deg",
        "cunit2": "deg",
        "cd1_1": float(cd[0, 0]),
        "cd1_2": float(cd[0, 1]),
        "cd2_1": float(cd[1, 0]),
        "cd2_2": float(cd[1, 1]),
    }


def _store(keywords: dict[str, Any], names: Any, terms: Terms, least: int) -> None:
    degree = _degree(terms)
    if degree < 2 and least > 1:
        return
    for number, name in enumerate(names):
        keywords[f"{name}_order"] = degree
        for (p, q), coefficients in terms.items():
            if p + q >= least:
                keywords[f"{name}_{p}_{q}"] = float(coefficients[number])
