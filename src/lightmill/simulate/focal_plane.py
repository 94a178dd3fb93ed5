"""The way of light through the telescope: sky ↔ V2, V3 ↔ pixels, with distortion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lightmill.errors import ConfigurationError
from lightmill.simulate.facts import InstrumentFacts, Window
from lightmill.simulate.pointing import deproject, turn_x, turn_y, turn_z

__all__ = ["Attitude", "FocalPlane", "View"]

_ARCSEC = 206264.80624709636  # arcseconds in a radian
_EXACT = 1e-9  # pixels at which the search for a pixel ends
_STEPS = 20
_ROWS = 128  # worked on at a time


@dataclass(frozen=True)
class FocalPlane:
    """Where each pixel of a whole detector is in the telescope's frame.

    With ``u = (x - x0) / half`` and ``v = (y - y0) / half`` a pixel stands at
    ``scale * (x - x0 + Σ a_ij u^i v^j, y - y0 + Σ b_ij u^i v^j)`` [arcsec] in axes parallel
    to the detector's, which are turned and shifted to V2, V3.

    Attributes
    ----------
    x0, y0 : float
        The detector's centre [pixel, from 0].
    half : float
        Half the size of the detector [pixel].
    scale : float
        Nominal size of a pixel [arcsec].
    v2, v3, y_angle, parity : float
        Place [arcsec] and orientation [deg] of the centre, handedness.
    terms : tuple of (axis, i, j, coefficient)
        The distortion: axis 0 (a) or 1 (b), powers of u and v, pixels at the edge.
    shift : (column, row)
        What a filter's wedge does: light for pixel ``p + shift`` falls on p.
    """

    x0: float
    y0: float
    half: float
    scale: float
    v2: float
    v3: float
    y_angle: float
    parity: int
    terms: tuple[tuple[int, int, int, float], ...] = ()
    shift: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def of(cls, facts: InstrumentFacts, shift: tuple[float, float] = (0.0, 0.0)) -> FocalPlane:
        """Return the focal plane of the detector that facts are about."""
        g, o = facts.geometry, facts.optics
        return cls(
            (g.columns - 1) / 2,
            (g.rows - 1) / 2,
            max(g.rows, g.columns) / 2,
            o.pixel_scale,
            o.v2,
            o.v3,
            o.y_angle,
            o.parity,
            _terms(facts.distortion, facts.name),
            shift,
        )

    @property
    def turn(self) -> np.ndarray:
        """Matrix from offsets along x, y to offsets along V2, V3."""
        c, s = np.cos(np.radians(self.y_angle)), np.sin(np.radians(self.y_angle))
        return np.array([[self.parity * c, s], [-self.parity * s, c]])

    def v2v3(self, x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return V2, V3 [arcsec] of pixels (0 is the first pixel's centre)."""
        dx, dy = self._undistorted(x, y)
        t = self.turn * self.scale
        return self.v2 + t[0, 0] * dx + t[0, 1] * dy, self.v3 + t[1, 0] * dx + t[1, 1] * dy

    def pixels(self, v2: Any, v3: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the pixels at V2, V3 [arcsec], found by Newton's method to 1e-9 pixel.

        A place so far outside that the polynomial folds over has no pixel: NaN.
        """
        v2, v3 = np.broadcast_arrays(np.asarray(v2, float), np.asarray(v3, float))
        back = np.linalg.inv(self.turn * self.scale)
        offsets = np.tensordot(back, np.stack([v2 - self.v2, v3 - self.v3]), axes=1)
        x, y = offsets[0] + self.x0 - self.shift[0], offsets[1] + self.y0 - self.shift[1]
        with np.errstate(all="ignore"):
            for _ in range(_STEPS):
                dx, dy = self._undistorted(x, y)
                ex, ey = dx - offsets[0], dy - offsets[1]
                j = self._slopes(x, y)
                d = j[0, 0] * j[1, 1] - j[0, 1] * j[1, 0]
                x = x - (j[1, 1] * ex - j[0, 1] * ey) / d
                y = y - (j[0, 0] * ey - j[1, 0] * ex) / d
                if np.all(np.hypot(ex, ey) < _EXACT):
                    break
            folded = ~(np.hypot(ex, ey) < 1e3 * _EXACT) | ~(d > 0)
        return np.where(folded, np.nan, x), np.where(folded, np.nan, y)

    def jacobian(self, x: Any, y: Any) -> np.ndarray:
        """Return d(V2, V3) / d(x, y) [arcsec / pixel], shape (2, 2, ...)."""
        return np.tensordot(self.turn * self.scale, self._slopes(x, y), axes=1)

    def area(self, window: Window) -> np.ndarray:
        """Return the solid angle of each pixel of a window, relative to the nominal one.

        Returns
        -------
        area : (ny, nx) ndarray of float32
            ``|d(V2, V3) / d(x, y)| cos V3`` over the square of the pixel scale.
        """
        degree = max([1, *(i + j for _, i, j, _ in self.terms)])
        moved = np.zeros((2, degree + 1, degree + 1))  # in pixels, powers of y first
        moved[0, 0, 1] = moved[1, 1, 0] = self.half
        for axis, i, j, coefficient in self.terms:
            moved[axis, j, i] += coefficient
        power = np.arange(1, degree + 1) / self.half
        by_x = np.pad(moved[:, :, 1:] * power, ((0, 0), (0, 0), (0, 1)))
        by_y = np.pad(moved[:, 1:] * power[:, None], ((0, 0), (0, 1), (0, 0)))
        v3 = self.scale * np.tensordot(self.turn[1], moved, axes=1)
        v3[0, 0] += self.v3
        x = np.arange(window.columns) + (window.x - 1 + self.shift[0] - self.x0)
        y = np.arange(window.rows) + (window.y - 1 + self.shift[1] - self.y0)
        u = np.vander(x / self.half, degree + 1, increasing=True).T
        v = np.vander(y / self.half, degree + 1, increasing=True)
        # single precision is enough for numbers within percents of one; cos V3 = 1 - V3^2 / 2 to 1e-11
        across = [(c @ u).astype(np.float32) for c in (*by_x, *by_y, v3 / _ARCSEC)]
        along = v.astype(np.float32)
        out = np.empty(window.shape, np.float32)
        for top in range(0, window.rows, _ROWS):
            rows = slice(top, top + _ROWS)
            xx, yx, xy, yy, high = (along[rows] @ c for c in across)
            xx *= yy
            xy *= yx
            xx -= xy
            high *= high
            high *= np.float32(-0.5)
            high += np.float32(1)
            np.multiply(np.abs(xx, out=xx), high, out=out[rows])
        return out

    def _undistorted(self, x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        dx = np.asarray(x, float) + self.shift[0] - self.x0
        dy = np.asarray(y, float) + self.shift[1] - self.y0
        u, v = dx / self.half, dy / self.half
        moved = [dx, dy]
        for axis, i, j, coefficient in self.terms:
            moved[axis] = moved[axis] + coefficient * u**i * v**j
        return moved[0], moved[1]

    def _slopes(self, x: Any, y: Any) -> np.ndarray:
        """Return d(undistorted x, y) / d(x, y), shape (2, 2, ...)."""
        u = (np.asarray(x, float) + self.shift[0] - self.x0) / self.half
        v = (np.asarray(y, float) + self.shift[1] - self.y0) / self.half
        u, v = np.broadcast_arrays(u, v)
        out = np.zeros((2, 2, *u.shape))
        out[0, 0] = out[1, 1] = 1.0
        for axis, i, j, coefficient in self.terms:
            k = coefficient / self.half
            if i:
                out[axis, 0] += k * i * u ** (i - 1) * v**j
            if j:
                out[axis, 1] += k * j * u**i * v ** (j - 1)
        return out


@dataclass(frozen=True)
class Attitude:
    """Which point of the sky a point of the telescope's frame sees, and how it is turned.

    Attributes
    ----------
    ra, dec, roll : float
        Sky position of the reference point, position angle of V3 there [deg].
    v2, v3 : float
        The reference point [arcsec].
    """

    ra: float
    dec: float
    roll: float
    v2: float
    v3: float

    @property
    def matrix(self) -> np.ndarray:
        """Rotation from the telescope's frame (V1, V2, V3) to the sky."""
        sky = turn_z(np.radians(self.ra)) @ turn_y(-np.radians(self.dec))
        focal = turn_y(self.v3 / _ARCSEC) @ turn_z(-self.v2 / _ARCSEC)
        return sky @ turn_x(-np.radians(self.roll)) @ focal

    def at(self, v2: float, v3: float) -> Attitude:
        """Return the same attitude, said at another reference point."""
        m = self.matrix
        direction = m @ np.array(_unit(v2, v3))
        ra = np.arctan2(direction[1], direction[0])
        dec = np.arctan2(direction[2], np.hypot(direction[0], direction[1]))
        a, b = v2 / _ARCSEC, v3 / _ARCSEC
        up = m @ np.array([-np.sin(b) * np.cos(a), -np.sin(b) * np.sin(a), np.cos(b)])
        east = np.array([-np.sin(ra), np.cos(ra), 0.0])
        roll = np.arctan2(up @ east, up @ np.cross(direction, east))
        ra, dec, roll = (float(np.degrees(value)) for value in (ra, dec, roll))
        return Attitude(ra % 360, dec, roll % 360, v2, v3)

    def moved(self, east: float, north: float, turn: float) -> Attitude:
        """Return the attitude off by so much [arcsec] and turned [deg] about its reference."""
        ra, dec = deproject(east, north, self.ra, self.dec)
        return Attitude(float(ra), float(dec), (self.roll + turn) % 360, self.v2, self.v3)

    def sky(self, v2: Any, v3: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return RA and Dec [deg] of V2, V3 [arcsec]."""
        e = np.tensordot(self.matrix, np.stack(_unit(v2, v3)), axes=1)
        ra = np.degrees(np.arctan2(e[1], e[0])) % 360
        return ra, np.degrees(np.arctan2(e[2], np.hypot(e[0], e[1])))

    def v2v3(self, ra: Any, dec: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return V2, V3 [arcsec] of sky positions [deg]; V2 within 180 degrees of the axis."""
        ra, dec = np.radians(ra), np.radians(dec)
        e = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
        f = np.tensordot(self.matrix.T, e, axes=1)
        v3 = np.arctan2(f[2], np.hypot(f[0], f[1]))
        return np.arctan2(f[1], f[0]) * _ARCSEC, v3 * _ARCSEC


@dataclass(frozen=True)
class View:
    """What a window of a detector sees in an exposure.

    Attributes
    ----------
    plane : FocalPlane
        The detector, behind a filter.
    attitude : Attitude
        Said at the centre of the window, as it would be without a filter.
    window : Window
        The part of the detector.
    aberration : float
        By how much the scale of the sky differs from the telescope's, because the
        observatory moves.
    """

    plane: FocalPlane
    attitude: Attitude
    window: Window
    aberration: float = 1.0

    @staticmethod
    def reference(plane: FocalPlane, window: Window) -> tuple[float, float]:
        """Return V2, V3 [arcsec] of a window's centre; no filter has a say in it."""
        x, y = _centre(window)
        v2, v3 = plane.v2v3(x - plane.shift[0], y - plane.shift[1])
        return float(v2), float(v3)

    def sky(self, x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return RA, Dec [deg] of pixels of the window (0 is the first pixel's centre)."""
        v2, v3 = self.plane.v2v3(
            np.asarray(x, float) + self.window.x - 1, np.asarray(y, float) + self.window.y - 1
        )
        a, k = self.attitude, self.aberration
        return a.sky(a.v2 + k * (v2 - a.v2), a.v3 + k * (v3 - a.v3))

    def pixels(self, ra: Any, dec: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return pixels of the window at sky positions [deg]."""
        a, k = self.attitude, self.aberration
        v2, v3 = a.v2v3(ra, dec)
        x, y = self.plane.pixels(a.v2 + (v2 - a.v2) / k, a.v3 + (v3 - a.v3) / k)
        return x - self.window.x + 1, y - self.window.y + 1

    def jacobian(self, ra: Any, dec: Any) -> np.ndarray:
        """Return d(x, y) / d(east, north) [pixel / arcsec] at sky positions, shape (2, 2, n)."""
        step = 0.05  # arcsec; the second derivative cancels
        out = np.empty((2, 2, *np.shape(ra)))
        for axis, (east, north) in enumerate([(step, 0.0), (0.0, step)]):
            after = np.stack(self.pixels(*deproject(east, north, ra, dec)))
            before = np.stack(self.pixels(*deproject(-east, -north, ra, dec)))
            out[:, axis] = (after - before) / (2 * step)
        return out

    def reported(self, attitude: Attitude) -> View:
        """Return the view somebody believes in who believes in another attitude."""
        return View(self.plane, attitude, self.window, self.aberration)

    def header(self, shape: tuple[int, int]) -> dict[str, object]:
        """Return the keywords of the pointing for an image of `shape` (rows, columns)."""
        rows, columns = shape
        a, plane = self.attitude, self.plane
        x, y = _centre(self.window)
        there = (x - plane.shift[0], y - plane.shift[1])
        slopes = plane.jacobian(*there)
        y_angle = float(np.degrees(np.arctan2(slopes[0, 1], slopes[1, 1])))
        scale = plane.scale / 3600
        # V2, V3 to east, north at the reference point, then pixels of the nominal size
        c, s = np.cos(np.radians(a.roll)), np.sin(np.radians(a.roll))
        pc = np.array([[c, s], [-s, c]]) @ slopes * (self.aberration / plane.scale)
        v1 = a.at(0.0, 0.0)
        corner_x = np.array([-0.5, columns - 0.5, columns - 0.5, -0.5])
        ra, dec = self.sky(corner_x, np.array([-0.5, -0.5, rows - 0.5, rows - 0.5]))
        region = " ".join(f"{r:.9f} {d:.9f}" for r, d in zip(ra, dec, strict=True))
        return {
            "RA_V1": v1.ra,
            "DEC_V1": v1.dec,
            "PA_V3": v1.roll,
            "RADESYS": "ICRS",
            "WCSAXES": 2,
            "CRPIX1": there[0] - self.window.x + 2,
            "CRPIX2": there[1] - self.window.y + 2,
            "CRVAL1": a.ra,
            "CRVAL2": a.dec,
            "CTYPE1": "RA---TAN",
            "CTYPE2": "DEC--TAN",
            "CUNIT1": "deg",
            "CUNIT2": "deg",
            "CDELT1": scale,
            "CDELT2": scale,
            "PC1_1": float(pc[0, 0]),
            "PC1_2": float(pc[0, 1]),
            "PC2_1": float(pc[1, 0]),
            "PC2_2": float(pc[1, 1]),
            "V2_REF": a.v2,
            "V3_REF": a.v3,
            "VPARITY": plane.parity,
            "V3I_YANG": y_angle,
            "RA_REF": a.ra,
            "DEC_REF": a.dec,
            "ROLL_REF": a.roll,
            "VA_SCALE": self.aberration,
            "S_REGION": f"POLYGON ICRS  {region}",
        }


def _centre(window: Window) -> tuple[float, float]:
    return window.x - 1 + (window.columns - 1) / 2, window.y - 1 + (window.rows - 1) / 2


def _terms(
    distortion: Mapping[str, Mapping[str, float]], place: str
) -> tuple[tuple[int, int, int, float], ...]:
    """Return the terms of ``{x: {"20": 3.1, …}, y: {…}}``."""
    out = []
    for axis, powers in distortion.items():
        for name, coefficient in powers.items():
            known = len(str(name)) == 2 and str(name).isdigit() and axis in {"x", "y"}
            if not known or str(name) == "00":
                raise ConfigurationError(
                    "this is no term of a distortion",
                    place=f"{place}: simulate.yaml[distortion]",
                    found=f"{axis}: {name!r}",
                    expected="x or y, then the powers of both in quotes, as '20'",
                )
            out.append(("xy".index(axis), int(str(name)[0]), int(str(name)[1]), coefficient))
    return tuple(out)


def _unit(v2: Any, v3: Any) -> tuple[Any, Any, Any]:
    a, b = np.asarray(v2, float) / _ARCSEC, np.asarray(v3, float) / _ARCSEC
    return np.cos(b) * np.cos(a), np.cos(b) * np.sin(a), np.sin(b)
