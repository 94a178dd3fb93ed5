"""From pixels to the sky, through the telescope's own coordinates: the parts and the whole.

    detector → V2V3 → V2V3 without velocity aberration → ICRS

The distortion reference leads from pixels of the whole detector to V2, V3; a filter may shift the
image before, a subarray begins somewhere on the detector. The pointing says where on the sky the
reference point of the aperture (V2, V3) lies, and how the telescope is rolled there. Angles and
frames are those of the telescope's pointing convention [1]_; the correction for velocity aberration
is a scale about the reference point, because the pointing is that of the reference point and already
corrected.

References
----------
.. [1] Cox, C., & Lallo, M. 2017, "Description and Use of the JWST Science Instrument Aperture
   File", JWST-STScI-001550.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lightmill.errors import DataError
from lightmill.imaging import transforms
from lightmill.models.asdf_tree import TAG, Tagged

__all__ = [
    "Pointing",
    "filter_shift",
    "pixel_to_sky",
    "plane_wcs",
    "sky_wcs",
    "telescope_to_sky",
    "without_aberration",
]

GWCS = transforms.GWCS
FRAMES = "tag:astropy.org:astropy/coordinates/frames/"
ANY = frozenset({"", "ANY", "N/A"})


@dataclass(frozen=True)
class Pointing:
    """Where the reference point of the aperture looked.

    Attributes
    ----------
    v2, v3 : float
        The reference point in the telescope's frame [arcsec].
    ra, dec : float
        Where it was on the sky [deg].
    roll : float
        Position angle of the V3 axis there, from north through east [deg].
    aberration : float
        Apparent over true scale, by the telescope's velocity.
    """

    v2: float
    v3: float
    ra: float
    dec: float
    roll: float
    aberration: float = 1.0


def telescope_to_sky(pointing: Pointing) -> Tagged:
    """Return the transform from V2, V3 [arcsec] to right ascension and declination [deg].

    Parameters
    ----------
    pointing : Pointing

    Returns
    -------
    transform : Tagged
        A rotation of the sphere; it and its inverse are exact, also at the poles.
    """
    angles = (
        pointing.v2 / 3600,
        -pointing.v3 / 3600,
        pointing.roll,
        pointing.dec,
        -pointing.ra,
    )
    return transforms.compose(
        transforms.scale(1 / 3600),
        transforms.spherical(to_vector=True, wrap_lon_at=180),
        transforms.rotation(angles, "zyxyz"),
        transforms.spherical(to_vector=False, wrap_lon_at=360),
        name="v23tosky",
    )


def without_aberration(pointing: Pointing) -> Tagged:
    """Return the transform that takes the velocity aberration out of V2, V3.

    Parameters
    ----------
    pointing : Pointing

    Raises
    ------
    DataError
        If the scale is not positive.
    """
    factor = pointing.aberration
    if not factor > 0:
        raise DataError(
            "the scale of the velocity aberration is no scale",
            place="meta.velocity_aberration.scale_factor",
            found=factor,
            expected="a number close to 1",
            remedy="correct the keyword, or remove it: no aberration is then assumed",
        )
    if factor == 1:
        return transforms.identity()
    scaled = transforms.scale(factor, axes=("dva_scale_v2", "dva_scale_v3"))
    moved = transforms.shift(
        (1 - factor) * pointing.v2,
        (1 - factor) * pointing.v3,
        axes=("dva_v2_shift", "dva_v3_shift"),
    )
    return transforms.compose(scaled, moved, name="DVA_Correction")


def filter_shift(
    rows: Sequence[Mapping[str, Any]], instrument: Mapping[str, Any], place: object = None
) -> tuple[float, float] | None:
    """Return how far a filter shifts the image.

    Parameters
    ----------
    rows : sequence of mapping
        ``column_offset`` and ``row_offset`` [pixel], and what chooses the row: ``filter``, ``pupil``
        and whatever else is called as in the metadata of the instrument. ``ANY``, ``N/A`` and no
        text fit every one.
    instrument : mapping
        Metadata of the instrument.
    place : object, optional
        Of the rows, for errors.

    Returns
    -------
    shift : (float, float) or None
        What to add to x and y [pixel]; None if no row is for this filter, or none of the numbers.

    Raises
    ------
    DataError
        If more than one row fits.
    """
    found = [row for row in rows if _fits(row, instrument)]
    if len(found) > 1:
        raise DataError(
            "several shifts are given for one filter",
            place=place,
            found=[dict(row) for row in found],
            expected="one row",
            remedy="use a corrected filteroffset reference, or --override-filteroffset=N/A",
        )
    if not found:
        return None
    offsets = [found[0].get(name) for name in ("column_offset", "row_offset")]
    if any(not isinstance(offset, int | float) for offset in offsets):
        return None
    return float(offsets[0]), float(offsets[1])


def _fits(row: Mapping[str, Any], instrument: Mapping[str, Any]) -> bool:
    for name, wanted in row.items():
        if not isinstance(wanted, str) or name.endswith("_offset") or wanted.upper() in ANY:
            continue
        held = instrument.get(name)
        if held is not None and str(held).upper() != wanted.upper():
            return False
    return True


def sky_wcs(
    distortion: Tagged,
    pointing: Pointing,
    shape: tuple[int, int],
    *,
    origin: tuple[int, int] = (0, 0),
    shift: tuple[float, float] | None = None,
) -> tuple[Tagged, transforms.Box]:
    """Return the world coordinate system of an image.

    Parameters
    ----------
    distortion : Tagged
        Transform from pixels of the whole detector, from 0, to V2, V3 [arcsec].
    pointing : Pointing
        Where the aperture looked.
    shape : (int, int)
        Rows and columns of the image.
    origin : (int, int)
        Column and row of its first pixel on the detector, from 0.
    shift : (float, float), optional
        What the filter adds to x and y [pixel].

    Returns
    -------
    wcs : Tagged
        Node of a gwcs.WCS with the frames ``detector``, ``v2v3``, ``v2v3vacorr`` and ``world``.
    box : ((float, float), (float, float))
        Limits in x and in y it is valid for [pixel].

    Raises
    ------
    Unsupported
        If the limits of the distortion are in a form not known here.
    """
    box = transforms.bounding_box(distortion)
    to_v2v3 = distortion
    if shift is not None:
        to_v2v3 = transforms.compose(transforms.shift(*shift), to_v2v3)
    ny, nx = shape
    whole = (-0.5, nx - 0.5), (-0.5, ny - 0.5)
    if origin != (0, 0):
        to_v2v3 = transforms.compose(transforms.shift(*origin), to_v2v3)
        box = whole
    box = whole if box is None else box
    steps = (
        ("detector", transforms.with_bounding_box(to_v2v3, box)),
        ("v2v3", without_aberration(pointing)),
        ("v2v3vacorr", telescope_to_sky(pointing)),
    )
    content = [_step(_plane(name), transform) for name, transform in steps]
    content.append(_step(_celestial("world"), None))
    return Tagged(f"{GWCS}wcs-1.1.0", {"name": "", "steps": content}), box


def pixel_to_sky(wcs: Tagged, x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return where on the sky some positions of an image are.

    Parameters
    ----------
    wcs : Tagged
        As `sky_wcs` makes it.
    x, y : array_like
        Positions [pixel], from 0.

    Returns
    -------
    ra, dec : ndarray of float64
        [deg]

    Raises
    ------
    Unsupported
        If the distortion has a part that is not known here.
    """
    values: tuple[Any, ...] = (x, y)
    for step in wcs.value["steps"]:
        if step.value["transform"] is not None:
            values = transforms.evaluate(step.value["transform"], *values)
    ra, dec = values
    return ra, dec


def plane_wcs(
    crval: Sequence[float],
    crpix: Sequence[float],
    step: float,
    matrix: np.ndarray,
    shape: tuple[int, int],
    *,
    array_tag: str,
) -> Tagged:
    """Return the world coordinate system of a tangent plane.

    Parameters
    ----------
    crval : (float, float)
        Tangent point [deg].
    crpix : (float, float)
        Its pixel, from 0.
    step : float
        Side of a pixel [deg].
    matrix : (2, 2) ndarray
        From pixels to the plane, without scale.
    shape : (int, int)
        Rows and columns of the image.
    array_tag : str
        What arrays are tagged in the file it goes into.

    Returns
    -------
    wcs : Tagged
        Node of a gwcs.WCS with the frames ``detector`` and ``world``.
    """
    ny, nx = shape
    content: dict[str, Any] = {
        name: Tagged(
            array_tag,
            {
                "data": np.asarray(value, np.float64).tolist(),
                "datatype": "float64",
                "shape": list(np.shape(value)),
            },
        )
        for name, value in (
            ("cdelt", [step, step]), ("crpix", crpix), ("crval", crval), ("pc", matrix)
        )
    }  # fmt: skip
    content["projection"] = Tagged(
        f"{TAG}transform/gnomonic-1.4.0",
        {"direction": "pix2sky", "inputs": ["x", "y"], "outputs": ["phi", "theta"]},
    )
    plane = Tagged(
        f"{GWCS}fitswcs_imaging-1.0.0",
        {**content, "inputs": ["x", "y"], "outputs": ["lon", "lat"]},
    )
    box = (-0.5, nx - 0.5), (-0.5, ny - 0.5)
    # The versions are the first that know this transform.
    limited = transforms.with_bounding_box(plane, box, version="1.2.0")
    steps = [
        _step(_plane("detector", "1.2.0"), limited, "1.3.0"),
        _step(_celestial("world", "1.2.0"), None, "1.3.0"),
    ]
    return Tagged(f"{GWCS}wcs-1.4.0", {"name": "", "pixel_shape": [nx, ny], "steps": steps})


def _step(frame: Tagged, transform: Tagged | None, version: str = "1.1.0") -> Tagged:
    return Tagged(f"{GWCS}step-{version}", {"frame": frame, "transform": transform})


def _plane(name: str, version: str = "1.0.0") -> Tagged:
    unit = "pixel" if name == "detector" else "arcsec"
    axes = ["x", "y"] if name == "detector" else ["v2", "v3"]
    content = {
        "name": name,
        "axes_names": axes,
        "axes_order": [0, 1],
        "axis_physical_types": [f"custom:{axis}" for axis in axes],
        "unit": [_unit(unit), _unit(unit)],
    }
    return Tagged(f"{GWCS}frame2d-{version}", content)


def _celestial(name: str, version: str = "1.0.0") -> Tagged:
    content = {
        "name": name,
        "axes_names": ["lon", "lat"],
        "axes_order": [0, 1],
        "axis_physical_types": ["pos.eq.ra", "pos.eq.dec"],
        "reference_frame": Tagged(f"{FRAMES}icrs-1.1.0", {"frame_attributes": {}}),
        "unit": [_unit("deg"), _unit("deg")],
    }
    return Tagged(f"{GWCS}celestial_frame-{version}", content)


def _unit(name: str) -> Tagged:
    return Tagged(f"{TAG}unit/unit-1.0.0", name)
