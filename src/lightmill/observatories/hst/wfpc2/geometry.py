"""Where the telescope pointed, as three axes: no coordinate has a pole or a seam.

An attitude is the direction of a point of the focal plane and the directions of +V2 and +V3 there.
Moved along a great circle it is carried parallel, so that two rolls can be compared wherever they
are; position angles from north would differ by hundredths of a degree within a dither near a pole.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lightmill.yaml_files import read_yaml

__all__ = [
    "CHIPS",
    "Attitude",
    "FocalPlane",
    "attitude_of",
    "chip_shifts",
    "coordinates_of",
    "focal_plane",
    "moved",
    "offset",
    "on_chip",
    "roll_difference",
    "separation",
    "to_fiducial",
]

CHIPS = ("PC1", "WF2", "WF3", "WF4")
ARCSEC = np.pi / 180 / 3600  # rad
DEG = np.pi / 180  # rad


class Attitude(NamedTuple):
    """Directions of a point of the focal plane and of +V2 and +V3 there.

    Each is a (3, n) array of float64, unit vectors in equatorial axes.
    """

    axis: np.ndarray
    v2: np.ndarray
    v3: np.ndarray

    def take(self, index: Any) -> Attitude:
        """Return the attitudes at an index, as NumPy understands it."""
        return Attitude(*(np.ascontiguousarray(part[:, index]) for part in self))


@dataclass(frozen=True)
class FocalPlane:
    """The apertures and chips of the camera.

    Apertures and chips have positions (V2, V3) [arcsec]; chips also a scale [arcsec / pixel] and the
    angle from +V3 to their +y, counter-clockwise on the sky [deg]. `middles` are the pixels (x, y) of
    the chips' positions, counted from 0.
    """

    fiducial: str
    apertures: dict[str, tuple[float, float]]
    chips: dict[str, tuple[float, float, float, float]]
    middles: dict[str, tuple[float, float]]

    def to_fiducial(self, aperture: str) -> tuple[float, float] | None:
        """Return the way from an aperture to the fiducial, or None if it is not known."""
        here = self.apertures.get(aperture)
        if here is None:
            return None
        there = self.apertures[self.fiducial]
        return there[0] - here[0], there[1] - here[1]


@functools.cache
def focal_plane() -> FocalPlane:
    """Return what ``geometry.yaml`` says."""
    content = read_yaml(Path(__file__).with_name("geometry.yaml"))
    return FocalPlane(
        content["fiducial"],
        {name: (at["v2"], at["v3"]) for name, at in content["apertures"].items()},
        {
            name: (at["v2"], at["v3"], at["scale"], at["beta_y"])
            for name, at in content["chips"].items()
        },
        {name: (at["xref"] - 1, at["yref"] - 1) for name, at in content["chips"].items()},
    )


def attitude_of(ra: Any, dec: Any, roll: Any) -> Attitude:
    """Return attitudes from sky coordinates.

    Parameters
    ----------
    ra, dec : (n,) array_like of float64
        Equatorial position [deg].
    roll : (n,) array_like of float64
        Position angle of +V3 at that position, from north through east [deg].

    Returns
    -------
    attitude : Attitude
        NaN where an input is.
    """
    a, d, p = (np.atleast_1d(np.asarray(one, np.float64)) * DEG for one in (ra, dec, roll))
    sa, ca, sd, cd, sp, cp = np.sin(a), np.cos(a), np.sin(d), np.cos(d), np.sin(p), np.cos(p)
    east = np.stack([-sa, ca, np.zeros_like(a)])
    north = np.stack([-sd * ca, -sd * sa, cd])
    return Attitude(
        np.stack([cd * ca, cd * sa, sd]), cp * east - sp * north, sp * east + cp * north
    )


def coordinates_of(attitude: Attitude) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return right ascension, declination and position angle of +V3, each (n,) [deg]."""
    x, y, z = attitude.axis
    ra = np.arctan2(y, x) / DEG % 360.0
    dec = np.arctan2(z, np.hypot(x, y)) / DEG
    a, d = ra * DEG, dec * DEG
    sa, ca, sd, cd = np.sin(a), np.cos(a), np.sin(d), np.cos(d)
    v3 = attitude.v3
    east = -sa * v3[0] + ca * v3[1]
    north = -sd * ca * v3[0] - sd * sa * v3[1] + cd * v3[2]
    return ra, dec, np.arctan2(east, north) / DEG % 360.0


def moved(attitude: Attitude, v2: Any, v3: Any) -> Attitude:
    """Return the attitudes at other points of the focal plane.

    Parameters
    ----------
    attitude : Attitude
        Where the telescope points, (3, n).
    v2, v3 : float or (n,) array_like
        Way to the other point in the plane tangent at this one [arcsec].

    Returns
    -------
    attitude : Attitude
        Direction of the other point, with the axes carried parallel to it.
    """
    here = attitude.axis
    there = here + np.tan(v2 * ARCSEC) * attitude.v2 + np.tan(v3 * ARCSEC) * attitude.v3
    there = there / np.sqrt(_dot(there, there))
    return Attitude(there, _carried(attitude.v2, here, there), _carried(attitude.v3, here, there))


def to_fiducial(attitude: Attitude, apertures: Sequence[str]) -> Attitude:
    """Return the attitudes of the point all pointings are compared at.

    Parameters
    ----------
    attitude : Attitude
        At the reference points of the apertures.
    apertures : (n,) sequence of str
        Name of each; the same coordinates on two apertures are fields 80 arcsec apart.

    Returns
    -------
    attitude : Attitude
        NaN where the aperture is not known.
    """
    plane = focal_plane()
    names, which = np.unique(np.asarray(apertures, dtype=object).astype(str), return_inverse=True)
    ways = np.array([plane.to_fiducial(str(name)) or (np.nan, np.nan) for name in names])
    ways = ways.reshape(len(names), 2)
    there = moved(attitude, ways[which, 0], ways[which, 1])
    stays = (ways == 0).all(axis=1)[which]  # bit for bit: nothing was moved
    return Attitude(*(np.where(stays, old, new) for old, new in zip(attitude, there, strict=True)))


def separation(one: Attitude, other: Attitude) -> np.ndarray:
    """Return great-circle distances, (n,) [arcsec], exact also where they vanish."""
    chord = one.axis - other.axis
    return 2.0 * np.arcsin(np.minimum(np.sqrt(_dot(chord, chord)) / 2.0, 1.0)) / ARCSEC


def roll_difference(one: Attitude, other: Attitude) -> np.ndarray:
    """Return the roll of one beyond that of the other, carried to it, (n,) [deg, -180 to 180]."""
    v3 = _carried(one.v3, one.axis, other.axis)
    return np.arctan2(_dot(v3, other.v2), _dot(v3, other.v3)) / DEG


def offset(one: Attitude, other: Attitude) -> tuple[np.ndarray, np.ndarray]:
    """Return where one points in the plane tangent at the other: V2 and V3, each (n,) [arcsec]."""
    along = _dot(one.axis, other.axis) * ARCSEC
    return _dot(one.axis, other.v2) / along, _dot(one.axis, other.v3) / along


def chip_shifts(members: Attitude, leaders: Attitude) -> np.ndarray:
    """Return how far a star moved on each chip, from the leader's frame to the member's.

    Parameters
    ----------
    members, leaders : Attitude
        At the fiducial, (3, n) each.

    Returns
    -------
    shifts : (n, 4, 2) ndarray of float64
        x and y on the chips of `CHIPS` [pixel]: subtract them to align the member. A roll turns
        about the fiducial, so the shift differs from chip to chip.
    """
    plane = focal_plane()
    at = plane.apertures[plane.fiducial]
    shifts = np.empty((members.axis.shape[1], len(CHIPS), 2))
    for number, name in enumerate(CHIPS):
        v2, v3, scale, beta = plane.chips[name]
        way = v2 - at[0], v3 - at[1]
        d2, d3 = offset(moved(members, *way), moved(leaders, *way))
        sine, cosine = np.sin(beta * DEG), np.cos(beta * DEG)
        # The telescope moved by (d2, d3), the star by the opposite; chips see the sky mirrored.
        shifts[:, number, 0] = (cosine * d2 - sine * d3) / scale
        shifts[:, number, 1] = (-sine * d2 - cosine * d3) / scale
    return shifts


def on_chip(stars: np.ndarray, pointing: Attitude, chip: str) -> np.ndarray:
    """Return where stars fall on a chip.

    Parameters
    ----------
    stars : (3, n) ndarray of float64
        Directions, unit vectors.
    pointing : Attitude
        One, at the fiducial.
    chip : str
        One of `CHIPS`.

    Returns
    -------
    xy : (n, 2) ndarray of float64
        Pixels counted from 0; also far outside of the chip.
    """
    plane = focal_plane()
    at = plane.apertures[plane.fiducial]
    v2, v3, scale, beta = plane.chips[chip]
    there = moved(pointing, v2 - at[0], v3 - at[1])
    along = _dot(stars, there.axis) * ARCSEC
    t2, t3 = _dot(stars, there.v2) / along, _dot(stars, there.v3) / along
    sine, cosine = np.sin(beta * DEG), np.cos(beta * DEG)
    x0, y0 = plane.middles[chip]
    return np.stack(
        [x0 + (sine * t3 - cosine * t2) / scale, y0 + (sine * t2 + cosine * t3) / scale], axis=1
    )


def _dot(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return scalar products, summed in one order whatever the number of vectors."""
    return one[0] * other[0] + one[1] * other[1] + one[2] * other[2]


def _carried(vector: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return tangent vectors carried along the great circle from start to end."""
    return vector - _dot(vector, end) / (1.0 + _dot(start, end)) * (start + end)
