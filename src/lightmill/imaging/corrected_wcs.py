"""Put a correction found on the sky into a world coordinate system.

Where the system passes through the plane of V2 and V3, the correction becomes a linear
transformation in the tangent plane at the reference point, in a frame ``v2v3corr``: the form that
`tweakwcs` and the programs built on it know and correct further. Any other generalised system
gets a step of the same kind before its last frame; a system of FITS keywords gets another
reference value and matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lightmill.errors import DataError
from lightmill.imaging.affine import Affine
from lightmill.imaging.corrected_nodes import REFERENCE, corrected_node, linear_between, points_of
from lightmill.imaging.overlap import TangentPlane
from lightmill.imaging.plain_systems import NodeSystem
from lightmill.models.asdf_tree import array_tag as own_array_tag

__all__ = ["corrected", "linear_keywords"]

BEFORE = "before_alignment"  # frame of what a general system said before it was corrected


def corrected(
    wcs: Any,
    affine: Affine,
    plane: TangentPlane,
    shape: tuple[int, int],
    reference: Mapping[str, float | None] | None = None,
    array_tag: str = "",
) -> Any:
    """Return a world coordinate system with a correction.

    Parameters
    ----------
    wcs : gwcs.WCS, astropy.wcs.WCS or NodeSystem
        It is not changed; a NodeSystem must be one that `can_be_corrected`.
    affine : Affine
        The correction, in the tangent plane [arcsec].
    plane : TangentPlane
        The plane it was found in.
    shape : (int, int)
        Rows and columns of the image.
    reference : mapping, optional
        ``v2_ref``, ``v3_ref`` [arcsec] and ``roll_ref`` [deg] of a system that passes through V2V3.
    array_tag : str, optional
        What arrays are tagged in the file that a NodeSystem goes into; that of our own by default.

    Returns
    -------
    corrected : gwcs.WCS, astropy.wcs.WCS or NodeSystem
        Of the same class as `wcs`.

    Raises
    ------
    DataError
        If the system has frames of its own that no correction can be put between.
    """

    def moved(ra: Any, dec: Any) -> tuple[np.ndarray, np.ndarray]:
        return plane.deproject(affine(plane.project(ra, dec)))

    known = reference or {}
    if isinstance(wcs, NodeSystem):
        return corrected_node(wcs, moved, shape, known, array_tag or own_array_tag())
    if not hasattr(wcs, "available_frames"):
        return _corrected_keywords(wcs, moved, shape)
    through_v2v3 = "v2v3" in wcs.available_frames
    if through_v2v3 and all(known.get(name) is not None for name in REFERENCE):
        return _corrected_v2v3(wcs, moved, shape, {name: known[name] for name in REFERENCE})
    return _corrected_sky(wcs, affine, plane)


def linear_keywords(wcs: Any) -> dict[str, float]:
    """Return reference point, reference value and matrix of a system of FITS keywords.

    Returns
    -------
    values : dict
        Keyword in small letters → value, as metadata under ``wcsinfo`` have them.
    """
    values = {f"crpix{k + 1}": float(wcs.wcs.crpix[k]) for k in (0, 1)}
    values |= {f"crval{k + 1}": float(wcs.wcs.crval[k]) for k in (0, 1)}
    has_cd = wcs.wcs.has_cd()
    matrix = wcs.wcs.cd if has_cd else wcs.wcs.pc
    for i in (0, 1):
        for j in (0, 1):
            values[f"{'cd' if has_cd else 'pc'}{i + 1}_{j + 1}"] = float(matrix[i, j])
        if not has_cd:
            values[f"cdelt{i + 1}"] = float(wcs.wcs.cdelt[i])
    return values


def _corrected_v2v3(
    wcs: Any, moved: Callable[..., Any], shape: tuple[int, int], reference: Mapping[str, Any]
) -> Any:
    import gwcs
    from astropy.modeling import models
    from tweakwcs.correctors import JWSTWCSCorrector

    # What lies before V2V3 has no part in it, but would be copied, which takes longest.
    steps = [(step.frame, step.transform) for step in wcs.pipeline]
    names = wcs.available_frames
    place = names.index("v2v3")
    without = [(frame, models.Identity(2)) for frame, _ in steps[:place]] + steps[place:]
    try:
        corrector = JWSTWCSCorrector(
            gwcs.WCS(without), {name: float(value) for name, value in reference.items()}
        )
    except ValueError as error:
        raise DataError(
            "the world coordinates cannot be corrected",
            found=error,
            expected="frames detector, v2v3, world, as assign_wcs makes them",
            remedy="run assign_wcs again",
        ) from error
    sky = wcs.pixel_to_world_values(*points_of(shape))
    here = np.stack(corrector.world_to_tanp(*sky), axis=1)
    there = np.stack(corrector.world_to_tanp(*moved(*sky)), axis=1)
    matrix, shift = linear_between(here, there)
    corrector.set_correction(matrix=matrix, shift=shift)
    after = [(step.frame, step.transform) for step in corrector.wcs.pipeline]
    made = gwcs.WCS([*steps[:place], *after[place:]], name=wcs.name)
    if wcs.bounding_box is not None:
        made.bounding_box = wcs.bounding_box
    return made


def _corrected_sky(wcs: Any, affine: Affine, plane: TangentPlane) -> Any:
    """Put rotation to the plane, correction and rotation back before the last frame."""
    import gwcs
    from astropy.modeling import models

    def chain(one: Affine) -> Any:
        return (
            models.RotateCelestial2Native(plane.ra, plane.dec, 180.0)
            | models.Sky2Pix_Gnomonic()
            | models.AffineTransformation2D(one.matrix, one.shift / 3600.0)
            | models.Pix2Sky_Gnomonic()
            | models.RotateNative2Celestial(plane.ra, plane.dec, 180.0)
        )

    back = np.linalg.inv(affine.matrix)
    correction = chain(affine)
    correction.inverse = chain(Affine(back, -back @ affine.shift))
    steps = [(step.frame, step.transform) for step in wcs.pipeline]
    world, (frame, transform) = steps[-1][0], steps[-2]
    before = BEFORE
    while before in wcs.available_frames:
        before += "_"
    middle = world.__class__(
        name=before, reference_frame=world.reference_frame, axes_order=world.axes_order,
        unit=world.unit,
    )  # fmt: skip
    made = gwcs.WCS(
        [*steps[:-2], (frame, transform), (middle, correction), (world, None)], name=wcs.name
    )
    if wcs.bounding_box is not None:
        made.bounding_box = wcs.bounding_box
    return made


def _corrected_keywords(wcs: Any, moved: Callable[..., Any], shape: tuple[int, int]) -> Any:
    """Move the reference value, and fit the matrix in the plane that touches the sky there."""
    made = wcs.deepcopy()
    ra, dec = moved(*(np.array([value]) for value in wcs.wcs.crval))
    x, y = points_of(shape)
    focal = np.stack(wcs.pix2foc(x, y, 0), axis=1) - (wcs.wcs.crpix - 1)
    target = TangentPlane(float(ra[0]), float(dec[0])).project(*moved(*wcs.all_pix2world(x, y, 0)))
    matrix = np.linalg.lstsq(focal, target / 3600.0, rcond=None)[0].T
    made.wcs.crval = [float(ra[0]), float(dec[0])]
    if wcs.wcs.has_cd():
        made.wcs.cd = matrix
    else:
        made.wcs.pc = matrix / wcs.wcs.cdelt[:, None]
    made.wcs.set()
    return made
