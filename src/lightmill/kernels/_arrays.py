"""What every kernel face asks of its arrays before it hands their addresses to C."""

from __future__ import annotations

import numpy as np

from lightmill.errors import ShapeError
from lightmill.kernels._library import Shape

__all__ = ["image", "is_walkable", "planes", "ramp"]


def ramp(
    array: np.ndarray,
    name: str,
    dtype: type = np.float32,
    like: tuple[int, ...] | None = None,
    *,
    read_only: bool = False,
) -> Shape:
    """Describe a 4-D array as C can walk it.

    Parameters
    ----------
    array : (nints, ngroups, ny, nx) ndarray
        Rows of a plane contiguous; planes may be apart (a band of rows of a larger array).
    name : str
        What the error calls it.
    dtype : type
        The only dtype accepted: a kernel mutates in place, so nothing can be converted here.
    like : tuple of int, optional
        Shape it must have.
    read_only : bool
        The kernel does not write to it.

    Returns
    -------
    Shape
        Counts, and strides in elements.

    Raises
    ------
    ShapeError
        Wrong dtype, dimensions, shape or layout, or an empty array.
    """
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        raise ShapeError(
            f"{name} must be an ndarray of {np.dtype(dtype)}", found=getattr(array, "dtype", array)
        )
    if array.ndim != 4 or (like is not None and array.shape != like):
        raise ShapeError(
            f"{name} has the wrong shape",
            found=array.shape,
            expected=like or "(nints, ngroups, ny, nx)",
        )
    if not (read_only or array.flags.writeable):
        raise ShapeError(f"{name} is read-only, and this kernel works in place")
    return Shape(*array.shape, *_plane_strides(array, name))


def planes(
    array: np.ndarray, name: str, dtype: type, yx: tuple[int, ...], ndim: int | None = None
) -> tuple[np.ndarray, int, int]:
    """Return a read-only stack of planes as C can walk it.

    Parameters
    ----------
    array : (..., ny, nx) array_like, 2-D to 4-D
        Converted to `dtype`, and copied only if rows are not contiguous.
    name : str
        What the error calls it.
    dtype : type
        Wanted dtype.
    yx : (int, int)
        Required (ny, nx).
    ndim : int, optional
        Required number of dimensions.

    Returns
    -------
    array : ndarray
        Keep it alive during the call.
    outer_stride, plane_stride : int
        Elements from one integration (4-D) and one plane (3-D, 4-D) to the next; 0 where the
        array has no such axis.

    Raises
    ------
    ShapeError
        Wrong dimensions or shape.
    """
    array = np.asarray(array, dtype=dtype)
    if array.shape[-2:] != tuple(yx) or not 2 <= array.ndim <= 4 or (ndim and array.ndim != ndim):
        raise ShapeError(
            f"{name} does not fit the ramp",
            found=array.shape,
            expected=f"({'..., ' if ndim != 2 else ''}{yx[0]}, {yx[1]})",
        )
    if not is_walkable(array):
        array = np.ascontiguousarray(array)
    outer, plane = _plane_strides(array, name)
    return array, outer, plane


def image(array: np.ndarray, name: str, dtype: type, yx: tuple[int, ...]) -> np.ndarray:
    """Return `array`, an (ny, nx) C-contiguous image that a kernel will write to.

    Raises
    ------
    ShapeError
        Wrong dtype, shape or layout.
    """
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        raise ShapeError(
            f"{name} must be an ndarray of {np.dtype(dtype)}", found=getattr(array, "dtype", array)
        )
    if array.shape != tuple(yx):
        raise ShapeError(f"{name} does not fit the ramp", found=array.shape, expected=tuple(yx))
    if not array.flags.c_contiguous or not array.flags.writeable:
        raise ShapeError(f"{name} must be contiguous and writeable", found=array.strides)
    return array


def is_walkable(array: np.ndarray) -> bool:
    """Whether rows are contiguous and planes lie one behind the other, apart or not."""
    item, nx = array.itemsize, array.shape[-1]
    steps = array.strides
    return (
        steps[-1] == item
        and (steps[-2] == item * nx or array.shape[-2] == 1)
        and all(step >= 0 and step % item == 0 for step in steps[:-2])
    )


def _plane_strides(array: np.ndarray, name: str) -> tuple[int, int]:
    if array.size == 0:
        raise ShapeError(f"{name} is empty", found=array.shape)
    if not is_walkable(array):
        raise ShapeError(
            f"the rows of a plane of {name} must be contiguous",
            found=array.strides,
            remedy="pass whole rows: a band, not a cut in columns",
        )
    outer, plane = (0, 0, *(step // array.itemsize for step in array.strides[:-2]))[-2:]
    return outer, plane
