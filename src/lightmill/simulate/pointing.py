"""Where the telescope points: sky ↔ pixels, and the keywords that say so."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lightmill.simulate.facts import Optics, Window

__all__ = ["Pointing", "deproject", "project", "turn_x", "turn_y", "turn_z"]


@dataclass(frozen=True)
class Pointing:
    """The direction in which the centre of a window looks.

    Attributes
    ----------
    ra, dec : float
        Sky position of the window's centre [deg, ICRS].
    roll : float
        Position angle of the V3 axis there, north through east [deg].
    v2, v3 : float
        Place of the window's centre in the telescope's frame [arcsec].
    y_angle, parity, scale : float
        Orientation of the pixel axes [deg], handedness, arcsec per pixel.
    x, y : float
        The window's centre [pixel, from 0].
    """

    ra: float
    dec: float
    roll: float
    v2: float
    v3: float
    y_angle: float
    parity: int
    scale: float
    x: float
    y: float

    @classmethod
    def of_window(
        cls,
        optics: Optics,
        window: Window,
        detector: tuple[int, int],
        target: tuple[float, float],
        roll: float,
        offset: tuple[float, float] = (0.0, 0.0),
    ) -> Pointing:
        """Point the centre of a window at `target`, then move by `offset` arcsec.

        Parameters
        ----------
        detector : (rows, columns)
            Size of the whole detector, whose centre is at the optics' V2, V3.
        target : (ra, dec)
            Degrees.
        roll : float
            Degrees.
        offset : (dx, dy)
            Move of the telescope along the pixel axes [arcsec].
        """
        from_centre = (
            window.x - 1 + (window.columns - 1) / 2 - (detector[1] - 1) / 2,
            window.y - 1 + (window.rows - 1) / 2 - (detector[0] - 1) / 2,
        )
        v2, v3 = _to_v2v3(optics.y_angle, optics.parity, *from_centre)
        centred = cls(
            *target,
            roll,
            optics.v2 + v2 * optics.pixel_scale,
            optics.v3 + v3 * optics.pixel_scale,
            optics.y_angle,
            optics.parity,
            optics.pixel_scale,
            (window.columns - 1) / 2,
            (window.rows - 1) / 2,
        )
        ra, dec = centred.sky(
            centred.x + offset[0] / centred.scale, centred.y + offset[1] / centred.scale
        )
        return cls(float(ra), float(dec), *_tail(centred))

    @property
    def matrix(self) -> np.ndarray:
        """Pixel offsets to tangent-plane offsets (east, north), in pixels."""
        angle = np.radians(self.y_angle + self.roll)
        c, s = np.cos(angle), np.sin(angle)
        return np.array([[self.parity * c, s], [-self.parity * s, c]])

    def sky(self, x, y):
        """Return RA and Dec [deg] of pixel positions (0 is the first pixel's centre)."""
        offsets = np.stack([np.asarray(x, float) - self.x, np.asarray(y, float) - self.y])
        east, north = np.tensordot(self.matrix, offsets, axes=1) * self.scale
        return deproject(east, north, self.ra, self.dec)

    def pixels(self, ra, dec):
        """Return x, y of sky positions [deg]."""
        east, north = project(ra, dec, self.ra, self.dec)
        offsets = np.stack([east, north]) / self.scale
        x, y = np.tensordot(np.linalg.inv(self.matrix), offsets, axes=1)
        return x + self.x, y + self.y

    def telescope(self) -> tuple[float, float, float]:
        """Return RA and Dec of the V1 axis, and the position angle of V3 there [deg]."""
        sky = turn_z(np.radians(self.ra)) @ turn_y(-np.radians(self.dec))
        focal = turn_y(np.radians(self.v3 / 3600)) @ turn_z(-np.radians(self.v2 / 3600))
        attitude = sky @ turn_x(-np.radians(self.roll)) @ focal
        v1, v3 = attitude[:, 0], attitude[:, 2]
        ra, dec = np.arctan2(v1[1], v1[0]), np.arcsin(v1[2])
        east = np.array([-np.sin(ra), np.cos(ra), 0])
        north = np.cross(v1, east)
        angle = np.arctan2(v3 @ east, v3 @ north)
        return (
            float(np.degrees(ra) % 360),
            float(np.degrees(dec)),
            float(np.degrees(angle) % 360),
        )

    def header(self, shape: tuple[int, int]) -> dict[str, object]:
        """Return the keywords of the pointing for an image of `shape` (rows, columns)."""
        rows, columns = shape
        corner_x = np.array([-0.5, columns - 0.5, columns - 0.5, -0.5])
        corner_y = np.array([-0.5, -0.5, rows - 0.5, rows - 0.5])
        ra, dec = self.sky(corner_x, corner_y)
        region = " ".join(f"{a:.9f} {d:.9f}" for a, d in zip(ra, dec, strict=True))
        ra_v1, dec_v1, pa_v3 = self.telescope()
        pc = self.matrix
        return {
            "RA_V1": ra_v1,
            "DEC_V1": dec_v1,
            "PA_V3": pa_v3,
            "RADESYS": "ICRS",
            "WCSAXES": 2,
            "CRPIX1": self.x + 1,
            "CRPIX2": self.y + 1,
            "CRVAL1": self.ra,
            "CRVAL2": self.dec,
            "CTYPE1": "RA---TAN",
            "CTYPE2": "DEC--TAN",
            "CUNIT1": "deg",
            "CUNIT2": "deg",
            "CDELT1": self.scale / 3600,
            "CDELT2": self.scale / 3600,
            "PC1_1": float(pc[0, 0]),
            "PC1_2": float(pc[0, 1]),
            "PC2_1": float(pc[1, 0]),
            "PC2_2": float(pc[1, 1]),
            "V2_REF": self.v2,
            "V3_REF": self.v3,
            "VPARITY": self.parity,
            "V3I_YANG": self.y_angle,
            "RA_REF": self.ra,
            "DEC_REF": self.dec,
            "ROLL_REF": self.roll,
            "S_REGION": f"POLYGON ICRS  {region}",
        }


def project(ra, dec, ra0, dec0):
    """Gnomonic projection: offsets east and north of (ra0, dec0) [deg → arcsec]."""
    ra, dec, ra0, dec0 = (np.radians(a) for a in (ra, dec, ra0, dec0))
    depth = np.sin(dec0) * np.sin(dec) + np.cos(dec0) * np.cos(dec) * np.cos(ra - ra0)
    east = np.cos(dec) * np.sin(ra - ra0) / depth
    north = (np.cos(dec0) * np.sin(dec) - np.sin(dec0) * np.cos(dec) * np.cos(ra - ra0)) / depth
    return np.degrees(east) * 3600, np.degrees(north) * 3600


def deproject(east, north, ra0, dec0):
    """Inverse of `project`: RA and Dec [deg] of offsets [arcsec]."""
    xi, eta = np.radians(np.asarray(east) / 3600), np.radians(np.asarray(north) / 3600)
    ra0, dec0 = np.radians(ra0), np.radians(dec0)
    depth = np.cos(dec0) - eta * np.sin(dec0)
    ra = ra0 + np.arctan2(xi, depth)
    dec = np.arctan2(np.sin(dec0) + eta * np.cos(dec0), np.hypot(xi, depth))
    return np.degrees(ra) % 360, np.degrees(dec)


def _to_v2v3(y_angle, parity, x, y):
    c, s = np.cos(np.radians(y_angle)), np.sin(np.radians(y_angle))
    return parity * x * c + y * s, -parity * x * s + y * c


def _tail(p: Pointing):
    return p.roll, p.v2, p.v3, p.y_angle, p.parity, p.scale, p.x, p.y


def turn_x(a):
    """Rotation by an angle [rad] about x."""
    c, s = np.cos(a), np.sin(a)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def turn_y(a):
    """Rotation by an angle [rad] about y."""
    c, s = np.cos(a), np.sin(a)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def turn_z(a):
    """Rotation by an angle [rad] about z."""
    c, s = np.cos(a), np.sin(a)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
