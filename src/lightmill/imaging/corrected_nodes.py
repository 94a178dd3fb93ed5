"""Put a correction found on the sky into the nodes of a world coordinate system.

The same as `lightmill.imaging.corrected_wcs` does with objects, without the packages that make
them, which cost several times what is done with them: a step ``v2v3corr`` in the tangent plane at
the reference point of V2 and V3, in the form that `tweakwcs` writes, knows and corrects further.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lightmill.imaging import transforms
from lightmill.imaging.plain_systems import NodeSystem
from lightmill.models.asdf_tree import Tagged

__all__ = ["REFERENCE", "can_be_corrected", "corrected_node", "linear_between", "points_of"]

REFERENCE = ("v2_ref", "v3_ref", "roll_ref")
CORRECTION = "JWST tangent-plane linear correction. v1"  # tweakwcs knows its own step by this name
FIELD, TRUE_FIELD, CORRECTED = "v2v3", "v2v3vacorr", "v2v3corr"
ARCSEC = 3600.0  # in a degree
PLANE_ARCSEC = np.rad2deg(1.0) * ARCSEC  # in a unit of the plane


def can_be_corrected(wcs: Any, reference: Mapping[str, Any]) -> bool:
    """Say whether a system is one that `corrected_node` can put a correction into.

    Parameters
    ----------
    wcs : object
        A world coordinate system of any kind.
    reference : mapping
        ``v2_ref``, ``v3_ref``, ``roll_ref`` of the image, as far as they are known.
    """
    if not isinstance(wcs, NodeSystem) or any(reference.get(name) is None for name in REFERENCE):
        return False
    try:
        frames, steps = wcs.available_frames, wcs.node.value["steps"]
        if CORRECTED in frames or len(set(frames)) < len(frames) or FIELD not in frames[1:-1]:
            return False
        place = _place(frames)
        if not frames.index(FIELD) <= place < len(frames) - 1:
            return False
        _to_field(steps[place:-1])
    except (transforms.Unsupported, AttributeError, KeyError, TypeError, ValueError):
        return False
    return isinstance(steps[place].value["frame"], Tagged)


def corrected_node(
    wcs: NodeSystem,
    moved: Callable[..., Any],
    shape: tuple[int, int],
    reference: Mapping[str, Any],
    array_tag: str,
) -> NodeSystem:
    """Return a system with a correction.

    Parameters
    ----------
    wcs : NodeSystem
        One that `can_be_corrected`; it is not changed.
    moved : callable
        Takes right ascension and declination [deg], returns where these places really are.
    shape : (int, int)
        Rows and columns of the image.
    reference : mapping
        ``v2_ref``, ``v3_ref`` [arcsec] and ``roll_ref`` [deg].
    array_tag : str
        What arrays are tagged in the file it goes into.
    """
    steps = wcs.node.value["steps"]
    place = _place(wcs.available_frames)
    v2, v3, roll = (float(reference[name]) for name in REFERENCE)
    angles = (v2 / ARCSEC, -v3 / ARCSEC, roll)
    into_plane = transforms.compose(*_into_plane(angles))
    field: tuple[Any, ...] = points_of(shape)
    for step in steps[:place]:
        field = transforms.evaluate(step.value["transform"], *field)
    sky = field
    for step in steps[place:-1]:
        sky = transforms.evaluate(step.value["transform"], *sky)
    back = transforms.evaluate(_to_field(steps[place:-1]), *moved(*sky))
    here, there = (
        np.stack(transforms.evaluate(into_plane, *one), axis=1) * PLANE_ARCSEC
        for one in (field, back)
    )
    matrix, shift = linear_between(here, there)
    correction = _correction(angles, matrix, shift / PLANE_ARCSEC, array_tag)
    step = steps[place]
    frame = step.value["frame"]
    after = Tagged(frame.tag, {**frame.value, "name": CORRECTED})
    added = [
        Tagged(step.tag, {**step.value, "transform": correction}),
        Tagged(step.tag, {**step.value, "frame": after}),
    ]
    whole = [*steps[:place], *added, *steps[place + 1 :]]
    return NodeSystem(Tagged(wcs.node.tag, {**wcs.node.value, "steps": whole}))


def linear_between(here: np.ndarray, there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the matrix (2, 2) and the shift (2,) that lead from places (n, 2) to others.

    By least squares; places that are not numbers do not count. The correction is linear in the
    plane of the telescope, too, but for what the curvature of the sky does to it over the field:
    1e-6 of it for a field of 10 arcmin.
    """
    good = np.isfinite(here).all(axis=1) & np.isfinite(there).all(axis=1)
    here, there = here[good], there[good]
    middle = here.mean(axis=0)
    matrix = np.linalg.lstsq(here - middle, there - there.mean(axis=0), rcond=None)[0].T
    return matrix, there.mean(axis=0) - matrix @ middle


def points_of(shape: tuple[int, int], points: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of a grid of pixels from edge to edge of an image."""
    ny, nx = shape
    x, y = np.meshgrid(np.linspace(0, nx - 1, points), np.linspace(0, ny - 1, points))
    return x.ravel(), y.ravel()


def _place(frames: list[str]) -> int:
    """Return which step the correction goes before."""
    return frames.index(TRUE_FIELD if TRUE_FIELD in frames else FIELD)


def _to_field(steps: list[Tagged]) -> Tagged:
    """Return the way back from the sky to V2, V3."""
    return transforms.inverse(transforms.compose(*(step.value["transform"] for step in steps)))


def _correction(
    angles: tuple[float, float, float], matrix: np.ndarray, shift: np.ndarray, array_tag: str
) -> Tagged:
    """Return the transform of V2, V3 that is linear in the tangent plane, with its way back."""
    way_back = np.linalg.inv(matrix)
    ways = [
        transforms.compose(
            *_into_plane(angles),
            transforms.affine(*linear, array_tag=array_tag, name=name),
            *_out_of_plane(angles),
            name=title,
        )
        for linear, name, title in (
            ((matrix, shift), "tp_affine", CORRECTION),
            ((way_back, -way_back @ shift), "tp_affine_inv", f"Inverse {CORRECTION}"),
        )
    ]
    return transforms.with_inverse(*ways)


def _into_plane(angles: tuple[float, float, float]) -> list[Tagged]:
    """Return what leads from V2, V3 [arcsec] to the plane that touches at the reference point."""
    vectors = transforms.divide(
        transforms.remap((0, 1, 2), 3, name="xyz"), transforms.remap((0, 0, 0), 3, name="xxx")
    )
    return [
        _both_scaled(1 / ARCSEC, "arcsec_to_deg"),
        transforms.spherical(to_vector=True, wrap_lon_at=180, name="s2c"),
        transforms.rotation(angles, "zyx", name="det_to_optic_axis"),
        transforms.compose(
            vectors, transforms.remap((1, 2), 3, name="xtyt"), name="Cartesian 3D to TAN"
        ),
    ]


def _out_of_plane(angles: tuple[float, float, float]) -> list[Tagged]:
    vectors = transforms.side_by_side(
        transforms.constant(1.0, name="one"), transforms.named(transforms.identity(), "I(2D)")
    )
    back = [-angle for angle in reversed(angles)]
    return [
        transforms.compose(
            transforms.remap((0, 0, 1), 2, name="xtyt2xyz"), vectors, name="TAN to cartesian 3D"
        ),
        transforms.rotation(back, "xyz", name="optic_axis_to_det"),
        transforms.spherical(to_vector=False, wrap_lon_at=180, name="c2s"),
        _both_scaled(ARCSEC, "deg_to_arcsec"),
    ]


def _both_scaled(factor: float, name: str) -> Tagged:
    one = transforms.one_scaled(factor, name=f"{name}_1D")
    return transforms.side_by_side(one, one, name=f"{name}_2D")
