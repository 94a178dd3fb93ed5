"""The frame of a mosaic: a tangent plane that covers all images, and how it is written down.

The construction is that of the field: the tangent point is the centre of the box, in direction
cosines, that holds the corners of all images; the axes follow the detector of the first image
unless a position angle is given; the scale is that of the first image at its reference point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lightmill.errors import ConfigurationError, DataError
from lightmill.imaging.pixel_map import pixels_of, sky_of, tangent
from lightmill.imaging.plain_systems import NodeSystem, TangentSystem

__all__ = [
    "Frame",
    "Orientation",
    "corners_of",
    "cover",
    "given_frame",
    "keywords_of",
    "outline",
    "pixel_area",
]

ARCSEC = 3600.0  # in a degree
MAXIMUM_MEGAPIXELS = 400.0  # 20000 x 20000 pixels: eight planes of it are 13 GB


@dataclass(frozen=True)
class Orientation:
    """How the pixel axes of an image lie on the sky.

    Attributes
    ----------
    roll : float
        Position angle of the telescope's axis at the reference point [rad].
    axis_angle : float
        From that axis to the y axis of the image [rad].
    parity : int
        1 where x grows with right ascension when y points north, else -1.
    """

    roll: float
    axis_angle: float = 0.0
    parity: int = -1

    def matrix(self, rotation: float | None = None) -> np.ndarray:
        """Return (2, 2): from pixels to the tangent plane, without scale.

        Parameters
        ----------
        rotation : float, optional
            Position angle of the y axis [deg] instead.
        """
        angle = (
            self.roll - self.parity * self.axis_angle if rotation is None else np.deg2rad(rotation)
        )
        cosine, sine = np.cos(angle), np.sin(angle)
        return np.array([[self.parity * cosine, sine], [-self.parity * sine, cosine]])


@dataclass(frozen=True)
class Frame:
    """The grid of a mosaic.

    Attributes
    ----------
    wcs : gwcs.WCS, astropy.wcs.WCS or TangentSystem
        From its pixels to the sky.
    shape : (int, int)
        Rows and columns.
    scale : float
        Side of a pixel [arcsec].
    ratio : float
        Side of its pixels over that of the pixels of the first image.
    """

    wcs: Any
    shape: tuple[int, int]
    scale: float
    ratio: float

    @property
    def steradians(self) -> float:
        """Area of a pixel [sr]."""
        return float(np.deg2rad(self.scale / ARCSEC) ** 2)


def corners_of(wcs: Any, shape: tuple[int, int]) -> np.ndarray:
    """Return the corners of an image on the sky: those of the outermost pixels.

    Parameters
    ----------
    wcs : gwcs.WCS or astropy.wcs.WCS
    shape : (int, int)
        Rows and columns; a bounding box of the system goes before.

    Returns
    -------
    corners : (4, 2) ndarray of float64
        Right ascension and declination [deg], around the image.

    Raises
    ------
    DataError
        If a corner is not on the sky.
    """
    (x0, x1), (y0, y1) = bounds_of(wcs, shape)
    ra, dec = sky_of(wcs)(np.array([x0, x0, x1, x1]), np.array([y0, y1, y1, y0]))
    corners = np.stack([np.mod(ra, 360.0), dec], axis=1)
    if not np.isfinite(corners).all():
        raise DataError(
            "the corners of the image are not on the sky",
            found=corners.tolist(),
            remedy="check its world coordinate system",
        )
    return corners


def bounds_of(wcs: Any, shape: tuple[int, int]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the pixels a system is valid for, ((x0, x1), (y0, y1)), edges of pixels."""
    ny, nx = shape
    box = getattr(wcs, "bounding_box", None) if hasattr(wcs, "forward_transform") else None
    if box is None:
        return (-0.5, nx - 0.5), (-0.5, ny - 0.5)
    if hasattr(box, "bounding_box"):
        box = box.bounding_box(order="F")
    (x0, x1), (y0, y1) = (sorted(float(getattr(one, "value", one)) for one in pair) for pair in box)
    return (x0, x1), (y0, y1)


def orientation_of(wcs: Any, shape: tuple[int, int]) -> Orientation:
    """Return how the axes of an image lie on the sky at its centre, from its system alone."""
    ny, nx = shape
    x, y = (nx - 1) / 2, (ny - 1) / 2
    plane = tangent(*_centre(sky_of(wcs)(x, y)), *sky_of(wcs)(
        np.array([x - 1, x + 1, x, x]), np.array([y, y, y - 1, y + 1])
    ))  # fmt: skip
    east, north = plane
    dx = np.array([east[1] - east[0], north[1] - north[0]])
    dy = np.array([east[3] - east[2], north[3] - north[2]])
    parity = 1 if dx[0] * dy[1] - dx[1] * dy[0] > 0 else -1
    return Orientation(float(np.arctan2(dy[0], dy[1])), 0.0, parity)


def scale_at(wcs: Any, ra: float, dec: float) -> float:
    """Return the side of a pixel at a point of the sky [arcsec]: the mean of both axes."""
    x, y = (float(v) for v in pixels_of(wcs)(ra, dec))
    there = sky_of(wcs)(np.array([x, x + 1, x]), np.array([y, y, y + 1]))
    sides = [_separation(there, 0, k) for k in (1, 2)]
    return float(np.rad2deg(np.sqrt(sides[0] * sides[1])) * ARCSEC)


def pixel_area(wcs: Any, shape: tuple[int, int]) -> float:
    """Return the mean area of the pixels of an image [sr].

    The outline of the image, in a plane that keeps areas (Lambert's), by the shoelace formula.
    """
    ny, nx = shape
    side = np.linspace(0, 1, 33)[:-1]
    zero, one = np.zeros(32), np.ones(32)
    x = np.concatenate([side, one, 1 - side, zero]) * nx - 0.5
    y = np.concatenate([zero, side, one, 1 - side]) * ny - 0.5
    sky = sky_of(wcs)
    ra, dec = np.deg2rad(sky(x, y))
    ra0, dec0 = np.deg2rad(_centre(sky((nx - 1) / 2, (ny - 1) / 2)))
    cosine = np.sin(dec0) * np.sin(dec) + np.cos(dec0) * np.cos(dec) * np.cos(ra - ra0)
    stretch = np.sqrt(2 / (1 + cosine))
    u = stretch * np.cos(dec) * np.sin(ra - ra0)
    v = stretch * (np.cos(dec0) * np.sin(dec) - np.sin(dec0) * np.cos(dec) * np.cos(ra - ra0))
    return float(abs(np.sum(u * np.roll(v, -1) - v * np.roll(u, -1))) / 2 / (nx * ny))


def cover(
    corners: Sequence[np.ndarray],
    reference: Any,
    reference_shape: tuple[int, int],
    *,
    orientation: Orientation | None = None,
    reference_point: tuple[float, float] | None = None,
    pixel_scale_ratio: float = 1.0,
    pixel_scale: float | None = None,
    rotation: float | None = None,
    crpix: Sequence[float] | None = None,
    crval: Sequence[float] | None = None,
    output_shape: Sequence[int] | None = None,
    maximum_megapixels: float = MAXIMUM_MEGAPIXELS,
    place: str | None = None,
) -> Frame:
    """Return the tangent plane that covers images.

    Parameters
    ----------
    corners : sequence of (n, 2) array_like
        Outline of each image on the sky [deg].
    reference : gwcs.WCS or astropy.wcs.WCS
        System of the first image.
    reference_shape : (int, int)
        Its rows and columns.
    orientation : Orientation, optional
        How its axes lie; found from its system otherwise.
    reference_point : (float, float), optional
        Where its scale is measured [deg]; its centre otherwise.
    pixel_scale_ratio : float
        Pixel side of the mosaic over that of the first image.
    pixel_scale : float, optional
        Pixel side of the mosaic [arcsec] instead.
    rotation : float, optional
        Position angle of the y axis [deg]; that of the first image otherwise.
    crpix : (float, float), optional
        Where the tangent point lies [pixel, from 0].
    crval : (float, float), optional
        The tangent point [deg].
    output_shape : (int, int), optional
        Columns and rows.
    maximum_megapixels : float
        A larger mosaic is refused.
    place : str, optional
        What the images are, for messages.

    Raises
    ------
    DataError
        If the images lie too far apart for a mosaic, or it would be larger than the maximum.
    ConfigurationError
        If what is asked for leaves nothing of a mosaic.
    """
    if pixel_scale is None:
        point = reference_point or _centre(
            sky_of(reference)((reference_shape[1] - 1) / 2, (reference_shape[0] - 1) / 2)
        )
        ratio = pixel_scale_ratio
        scale = scale_at(reference, *point) * ratio
    else:
        scale = pixel_scale
        own = np.rad2deg(np.sqrt(pixel_area(reference, reference_shape))) * ARCSEC
        ratio = float(scale / own)
    matrix = (orientation or orientation_of(reference, reference_shape)).matrix(rotation)
    all_corners = np.concatenate([np.asarray(one, np.float64).reshape(-1, 2) for one in corners])
    centre = middle(all_corners) if crval is None else (float(crval[0]) % 360.0, float(crval[1]))
    _check_near(all_corners, centre, place)
    plane = np.stack(tangent(*centre, *all_corners.T)) * ARCSEC / scale  # in pixels
    pixels = np.linalg.solve(matrix, plane)
    low, high = pixels.min(axis=1), pixels.max(axis=1)
    origin = -low if crpix is None else np.asarray(crpix, np.float64)
    if output_shape is None:
        size = np.floor(high + origin + 0.5).astype(int)
    else:
        size = np.asarray(output_shape, int)
    _check_size(size, maximum_megapixels, scale, place)
    wcs = tangent_wcs(reference, centre, origin, scale, matrix, (int(size[1]), int(size[0])))
    return Frame(wcs, (int(size[1]), int(size[0])), float(scale), float(ratio))


def tangent_wcs(
    like: Any,
    crval: Sequence[float],
    crpix: Any,
    scale: float,
    matrix: np.ndarray,
    shape: tuple[int, int],
) -> Any:
    """Return the system of a tangent plane: of the kind of another, plain or generalised.

    Parameters
    ----------
    like : gwcs.WCS, astropy.wcs.WCS or NodeSystem
        Names and reference system of the frames are taken from it.
    crval : (float, float)
        Tangent point [deg].
    crpix : (float, float)
        Its pixel, from 0.
    scale : float
        Side of a pixel [arcsec].
    matrix : (2, 2) ndarray
        Rotation and parity.
    shape : (int, int)
        Rows and columns.
    """
    if isinstance(like, NodeSystem):
        point = float(crpix[0]), float(crpix[1])
        centre = float(crval[0]), float(crval[1])
        return TangentSystem(centre, point, scale / ARCSEC, matrix, shape)
    import gwcs
    from astropy import units
    from astropy.modeling.models import Pix2Sky_TAN
    from astropy.wcs.utils import wcs_to_celestial_frame
    from gwcs import coordinate_frames
    from gwcs.fitswcs import FITSImagingWCSTransform

    if hasattr(like, "forward_transform"):
        pixel_frame, sky_frame = like.input_frame, like.output_frame
    else:
        pixel_frame = coordinate_frames.Frame2D(name="detector", unit=(units.pix, units.pix))
        sky_frame = coordinate_frames.CelestialFrame(
            name="world", reference_frame=wcs_to_celestial_frame(like), unit=(units.deg, units.deg)
        )
    step = scale / ARCSEC
    transform = FITSImagingWCSTransform(
        Pix2Sky_TAN(), crpix=list(crpix), crval=list(crval), cdelt=[step, step], pc=matrix
    )
    wcs = gwcs.WCS([gwcs.Step(pixel_frame, transform), gwcs.Step(sky_frame, None)])
    wcs.bounding_box = ((-0.5, shape[1] - 0.5), (-0.5, shape[0] - 0.5))
    wcs.pixel_shape = (shape[1], shape[0])
    return wcs


def given_frame(
    wcs: Any,
    reference: Any,
    reference_shape: tuple[int, int],
    *,
    output_shape: Sequence[int] | None = None,
    pixel_scale: float | None = None,
    nominal_area: float | None = None,
    place: str = "output_wcs",
    maximum_megapixels: float = MAXIMUM_MEGAPIXELS,
) -> Frame:
    """Return the frame of a system somebody gave.

    Parameters
    ----------
    wcs : gwcs.WCS or astropy.wcs.WCS
        Of the mosaic.
    reference : gwcs.WCS or astropy.wcs.WCS
        System of the first image.
    reference_shape : (int, int)
        Its rows and columns.
    output_shape : (int, int), optional
        Columns and rows; else those of the system, else its bounding box.
    pixel_scale : float, optional
        Pixel side [arcsec]; from the mean area of the pixels otherwise.
    nominal_area : float, optional
        Nominal area of a pixel of the first image [sr], to which the scale is compared; its mean
        area otherwise.
    place : str
        Where it was given.
    maximum_megapixels : float
        A larger mosaic is refused.

    Raises
    ------
    ConfigurationError
        If nothing tells how large the mosaic is.
    DataError
        If it is larger than the maximum.
    """
    if output_shape is not None:
        size = np.asarray(output_shape, int)
    elif getattr(wcs, "array_shape", None) is not None:
        size = np.asarray(wcs.array_shape[::-1], int)
    elif getattr(wcs, "bounding_box", None) is not None:
        (_, x1), (_, y1) = bounds_of(wcs, (0, 0))
        size = np.array([int(x1 + 0.5), int(y1 + 0.5)])
    else:
        raise ConfigurationError(
            "nothing tells how large the mosaic is",
            place=place,
            expected="array_shape or a bounding box of the system",
            remedy="give output_shape (columns, rows)",
        )
    shape = (int(size[1]), int(size[0]))
    area = pixel_area(wcs, shape)
    scale = pixel_scale or float(np.rad2deg(np.sqrt(area)) * ARCSEC)
    _check_size(size, maximum_megapixels, scale, place)
    own = np.rad2deg(np.sqrt(nominal_area or pixel_area(reference, reference_shape))) * ARCSEC
    return Frame(wcs, shape, scale, float(scale / own))


def keywords_of(frame: Frame) -> dict[str, Any]:
    """Return the FITS keywords of a frame: name in ``meta.wcsinfo`` → value.

    A tangent plane is written exactly (FITS paper II, Calabretta & Greisen 2002, A&A 395, 1077);
    of any other system its best tangent plane at the centre is.
    """
    wcs = frame.wcs
    transform = getattr(wcs, "forward_transform", None)
    if isinstance(wcs, TangentSystem):
        code, crpix, crval = "TAN", np.array(wcs.crpix), np.array(wcs.crval)
        cdelt, matrix = np.full(2, wcs.step), wcs.matrix
    elif type(transform).__name__ == "FITSImagingWCSTransform":
        code = transform.projection.prjprm.code
        crpix, crval = np.ravel(transform.crpix.value), np.ravel(transform.crval.value)
        cdelt, matrix = np.ravel(transform.cdelt.value), np.asarray(transform.pc.value)
    else:
        ny, nx = frame.shape
        code, crpix = "TAN", np.array([(nx - 1) / 2, (ny - 1) / 2])
        crval = np.array(_centre(sky_of(frame.wcs)(*crpix)))
        offsets = np.array([[-1, 0], [1, 0], [0, -1], [0, 1]])
        u, v = tangent(*_centre(crval), *sky_of(frame.wcs)(*(crpix + offsets).T))
        jacobian = np.array([[u[1] - u[0], u[3] - u[2]], [v[1] - v[0], v[3] - v[2]]]) / 2
        cdelt = np.full(2, np.sqrt(abs(np.linalg.det(jacobian))))
        matrix = jacobian / cdelt[0]
    return {
        "wcsaxes": 2,
        "ctype1": f"RA---{code}", "ctype2": f"DEC--{code}",
        "cunit1": "deg", "cunit2": "deg",
        "crpix1": float(crpix[0]) + 1, "crpix2": float(crpix[1]) + 1,
        "crval1": float(crval[0]), "crval2": float(crval[1]),
        "cdelt1": float(cdelt[0]), "cdelt2": float(cdelt[1]),
        "pc1_1": float(matrix[0, 0]), "pc1_2": float(matrix[0, 1]),
        "pc2_1": float(matrix[1, 0]), "pc2_2": float(matrix[1, 1]),
    }  # fmt: skip


def outline(corners: Sequence[np.ndarray]) -> str:
    """Return the outline of images on the sky as text for S_REGION.

    Parameters
    ----------
    corners : sequence of (n, 2) array_like
        Outline of each image [deg].

    Returns
    -------
    text : str
        ``POLYGON ICRS`` and the corners of the convex hull of all.
    """
    points = np.concatenate([np.asarray(one, np.float64).reshape(-1, 2) for one in corners])
    if len(corners) > 1:
        plane = np.stack(tangent(*middle(points), *points.T), axis=1)
        points = points[_hull(plane)]
    return "POLYGON ICRS  " + " ".join(f"{ra:.9f} {dec:.9f}" for ra, dec in points)


def middle(points: np.ndarray) -> tuple[float, float]:
    """Return the centre of the box, in direction cosines, that holds points of the sky [deg]."""
    ra, dec = np.deg2rad(points.T)
    vectors = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
    x, y, z = (vectors.max(axis=1) + vectors.min(axis=1)) / 2
    return (
        float(np.rad2deg(np.arctan2(y, x)) % 360.0),
        float(np.rad2deg(np.arctan2(z, np.hypot(x, y)))),
    )


def _check_near(corners: np.ndarray, centre: tuple[float, float], place: str | None) -> None:
    ra, dec = np.deg2rad(corners.T)
    ra0, dec0 = np.deg2rad(centre)
    cosine = np.sin(dec0) * np.sin(dec) + np.cos(dec0) * np.cos(dec) * np.cos(ra - ra0)
    if cosine.min() < 0.5:
        raise DataError(
            "the exposures lie too far apart for one mosaic",
            place=place,
            found=f"up to {np.rad2deg(np.arccos(np.clip(cosine.min(), -1, 1))):.0f} degrees "
            "from the tangent point",
            expected="60 degrees at most",
            remedy="make a mosaic of each field, or choose crval near the exposures",
        )


def _check_size(
    size: np.ndarray, maximum_megapixels: float, scale: float, place: str | None
) -> None:
    if (size < 2).any():
        raise ConfigurationError(
            "the mosaic would have no pixels",
            place=place,
            found=f"{size[0]} x {size[1]} pixels of {scale:.4g} arcsec",
            expected="at least 2 x 2",
            remedy="check pixel_scale, crpix, crval and output_shape",
        )
    megapixels = float(size[0]) * float(size[1]) / 1e6
    if megapixels > maximum_megapixels:
        raise DataError(
            "the mosaic would be too large",
            place=place,
            found=f"{size[0]} x {size[1]} pixels of {scale:.4g} arcsec, "
            f"{megapixels * 32 / 1e3:.1f} GB",
            expected=f"at most {maximum_megapixels:g} million pixels",
            remedy="make a mosaic of each field; choose a part with crval and output_shape, larger "
            "pixels with pixel_scale; or raise maximum_megapixels",
        )


def _centre(pair: Any) -> tuple[float, float]:
    return float(pair[0]) % 360.0, float(pair[1])


def _separation(there: Any, i: int, k: int) -> float:
    """Return the angle between two points [rad], accurate for small ones."""
    ra, dec = np.deg2rad(np.asarray(there[0])), np.deg2rad(np.asarray(there[1]))
    half = np.sin((dec[k] - dec[i]) / 2) ** 2
    half += np.cos(dec[i]) * np.cos(dec[k]) * np.sin((ra[k] - ra[i]) / 2) ** 2
    return float(2 * np.arcsin(np.sqrt(half)))


def _hull(points: np.ndarray) -> list[int]:
    """Return which points make the convex hull, counter-clockwise (Andrew's monotone chain)."""
    order = sorted(range(len(points)), key=lambda k: tuple(points[k]))

    def chain(indices: list[int]) -> list[int]:
        kept: list[int] = []
        for k in indices:
            while len(kept) > 1:
                a, b = points[kept[-1]] - points[kept[-2]], points[k] - points[kept[-2]]
                if a[0] * b[1] - a[1] * b[0] > 0:
                    break
                kept.pop()
            kept.append(k)
        return kept

    return chain(order)[:-1] + chain(order[::-1])[:-1]
