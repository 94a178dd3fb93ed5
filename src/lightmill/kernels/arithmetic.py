"""Planes subtracted from ramps, flags joined: all in place, one pass each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from lightmill.errors import ShapeError, UsageError
from lightmill.kernels._arrays import image, planes, ramp
from lightmill.kernels._library import address, kernel

__all__ = ["flag_or", "group_or", "scale", "subtract", "subtract_cross"]

_subtract = kernel("lm_subtract", "p s p n n n p")
_scale = kernel("lm_scale", "p s f")
_subtract_cross = kernel("lm_subtract_cross", "p s p p n n n i")
_flag_or = kernel("lm_flag_or", "p p n")
_group_or = kernel("lm_group_or", "p s p n n n")


def subtract(
    data: np.ndarray, reference: np.ndarray, *, index_of_group: Sequence[int] | None = None
) -> None:
    """Subtract a reference image or ramp; its NaN count as 0.

    Parameters
    ----------
    data : (nints, ngroups, ny, nx) ndarray of float32
        Counts [DN]; changed.
    reference : (ny, nx), (nplanes, ny, nx) or (nints_r, nplanes, ny, nx) array_like of float32
        Counts to take away [DN]. One image serves every group. Integrations beyond `nints_r`
        use its last.
    index_of_group : (ngroups,) sequence of int, optional
        Plane for each group; negative leaves the group alone. By default plane g for group g.

    Raises
    ------
    ShapeError
        The reference has another (ny, nx), or lacks a plane asked for.
    """
    shape = ramp(data, "data")
    reference, outer, stride = planes(reference, "reference", np.float32, data.shape[2:])
    nplanes = reference.shape[-3] if reference.ndim > 2 else 1
    nouter = reference.shape[0] if reference.ndim == 4 else 1
    ngroups = data.shape[1]
    if index_of_group is None:
        index = None if reference.ndim == 2 else np.arange(ngroups, dtype=np.int64)
    else:
        index = np.array(index_of_group, np.int64)
    if index is not None and (index.shape != (ngroups,) or index.max() >= nplanes):
        raise ShapeError(
            "the reference lacks planes for some groups",
            found=f"{nplanes} planes",
            expected=f"planes {index.tolist()}",
        )
    _subtract(address(data), shape, address(reference), nouter, outer, stride, address(index))


def scale(data: np.ndarray, factor: float) -> None:
    """Multiply a (nints, ngroups, ny, nx) float32 ramp by one number, in place."""
    _scale(address(data), ramp(data, "data"), factor)


def subtract_cross(
    data: np.ndarray,
    along_y: np.ndarray | None = None,
    along_x: np.ndarray | None = None,
    *,
    start_group: int = 0,
    first: Literal["x", "y"] = "x",
    row_phase: int = 0,
) -> None:
    """Subtract a profile along y and one along x from each group.

    Parameters
    ----------
    data : (nints, ngroups, ny, nx) ndarray of float32
        Counts [DN]; changed.
    along_y : (nints, ngroups, ny) array_like of float32, optional
        One value per row [DN].
    along_x : (nints, ngroups, nx) or (nints, ngroups, nphases, nx) array_like, optional
        One value per column [DN]; with phases, row y takes ``(y + row_phase) % nphases``.
    start_group : int
        First group corrected.
    first : {"x", "y"}
        Which profile is subtracted first: each subtraction rounds.
    row_phase : int
        Phase of row 0: the first row of a band in the full frame.

    Raises
    ------
    ShapeError
        A profile does not fit the data.
    UsageError
        A negative `start_group`.
    """
    shape = ramp(data, "data")
    if start_group < 0:
        raise UsageError("groups are counted from 0", found=start_group)
    nints, ngroups, ny, nx = data.shape
    nphases = 1
    if along_x is not None:
        along_x = np.ascontiguousarray(along_x, np.float32)
        nphases = along_x.shape[2] if along_x.ndim == 4 else 1
        _expect(along_x, "along_x", (nints, ngroups, nphases, nx), (nints, ngroups, nx))
    if along_y is not None:
        along_y = np.ascontiguousarray(along_y, np.float32)
        _expect(along_y, "along_y", (nints, ngroups, ny))
    _subtract_cross(
        address(data),
        shape,
        address(along_y),
        address(along_x),
        nphases,
        row_phase % max(nphases, 1),
        start_group,
        first == "y",
    )


def flag_or(pixeldq: np.ndarray, dq: np.ndarray) -> None:
    """Join the flags `dq` with `pixeldq`, in place; both (ny, nx) of uint32."""
    image(pixeldq, "pixeldq", np.uint32, pixeldq.shape)
    dq = np.ascontiguousarray(planes(dq, "dq", np.uint32, pixeldq.shape, 2)[0])
    _flag_or(address(pixeldq), address(dq), pixeldq.size)


def group_or(groupdq: np.ndarray, mask: np.ndarray, groups: slice = slice(None)) -> None:
    """Join a mask with the flags of some groups, in place.

    Parameters
    ----------
    groupdq : (nints, ngroups, ny, nx) ndarray of uint8
        Flags of each group; changed.
    mask : (ny, nx) array_like of uint8
        Flags to set.
    groups : slice
        Which groups; all by default.

    Raises
    ------
    ShapeError
        The mask does not fit.
    UsageError
        A slice that runs backwards.
    """
    shape = ramp(groupdq, "groupdq", np.uint8)
    mask = np.ascontiguousarray(planes(mask, "mask", np.uint8, groupdq.shape[2:], 2)[0])
    if groups.step is not None and groups.step < 1:
        raise UsageError("groups are flagged forwards", found=groups)
    _group_or(address(groupdq), shape, address(mask), *groups.indices(groupdq.shape[1]))


def _expect(array: np.ndarray, name: str, *shapes: tuple[int, ...]) -> None:
    if array.shape not in shapes:
        raise ShapeError(f"{name} does not fit the ramp", found=array.shape, expected=shapes)
