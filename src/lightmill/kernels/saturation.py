"""Which groups a detector was too full, or too empty, to read."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np

from lightmill.errors import ShapeError
from lightmill.kernels._arrays import image, planes, ramp
from lightmill.kernels._library import address, kernel

__all__ = ["flag_saturation", "flag_zeroframe", "halo_rows"]


class _ReadPattern(ctypes.Structure):
    _fields_ = [
        ("dilution", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("test_second_group", ctypes.c_int),
        ("first_mean", ctypes.c_float),
        ("third_last", ctypes.c_float),
        ("n_frames", ctypes.c_float),
    ]


_flag_saturation = kernel("lm_flag_saturation", "p s p s p p p n p")
_flag_zeroframe = kernel("lm_flag_zeroframe", "p n n n p p n")


def halo_rows(grow: int, *, has_dilution: bool) -> int:
    """Return how many rows beyond a band `flag_saturation` needs to see."""
    return 2 * grow if has_dilution else grow


def flag_saturation(
    data: np.ndarray,
    groupdq: np.ndarray,
    pixeldq: np.ndarray,
    threshold: np.ndarray,
    reference_dq: np.ndarray,
    *,
    grow: int = 1,
    dilution: Sequence[float] | None = None,
    bias: np.ndarray | None = None,
    read_means: Sequence[float] | None = None,
    read_lasts: Sequence[float] | None = None,
    nframes: int = 1,
) -> None:
    """Flag saturated and empty groups, in place.

    Per integration: a pixel that reaches `threshold` is SATURATED from that group on; a value
    at or below 0 is AD_FLOOR and DO_NOT_USE in its group; SATURATED spreads over a square in
    its own group. Then, if asked, the two tests for saturation that a group's average hides.

    Parameters
    ----------
    data : (nints, ngroups, ny, nx) ndarray of float32
        Raw counts, bias included [DN].
    groupdq : (nints, ngroups, ny, nx) ndarray of uint8
        Flags of each group; changed.
    pixeldq : (ny, nx) ndarray of uint32
        Flags of each pixel; `reference_dq` is joined, and NO_SAT_CHECK where `threshold` is NaN.
    threshold : (ny, nx) array_like of float32
        Counts at which a pixel is full [DN]; not used where NO_SAT_CHECK is set.
    reference_dq : (ny, nx) array_like of uint32
        Flags of the threshold.
    grow : int
        Half side of the square over which charge spills [pixel].
    dilution : (ngroups,) sequence of float, optional
        Mean time of a group's reads over that of its last read. A group above `dilution` times
        the threshold, not flagged itself, whose next group is SATURATED, gets DO_NOT_USE, which
        spreads like saturation.
    bias : (ny, nx) array_like of float32, optional
        Counts at zero signal, for the second-group test [DN]; 0 if not given.
    read_means, read_lasts : sequence of float, optional
        Mean and last read time of the groups, in reads: asks for the second-group test. Group 1
        gets DO_NOT_USE where group 2 is SATURATED and it is not, though group 0 promised that
        group 2 would not be, and where it rose by more than one saturating read explains.
    nframes : int
        Reads averaged into a group.

    Raises
    ------
    ShapeError
        Arrays of wrong dtype or shape, or that are not walkable in place.
    UsageError
        `grow` beyond 1024 pixels; reads at time 0, or none.
    """
    shape, dq_shape = (
        ramp(data, "data", read_only=True),
        ramp(groupdq, "groupdq", np.uint8, data.shape),
    )
    yx, ngroups = data.shape[2:], data.shape[1]
    image(pixeldq, "pixeldq", np.uint32, yx)
    threshold = np.ascontiguousarray(planes(threshold, "threshold", np.float32, yx, 2)[0])
    reference_dq = np.ascontiguousarray(planes(reference_dq, "reference_dq", np.uint32, yx, 2)[0])
    pattern = None
    if dilution is not None or read_means is not None:
        pattern = _ReadPattern(n_frames=nframes)
        if dilution is not None:
            diluted = _one_per_group(dilution, "dilution", ngroups)
            pattern.dilution = address(diluted)
        if read_means is not None and ngroups > 2:
            means = _one_per_group(read_means, "read_means", ngroups)
            lasts = _one_per_group(read_lasts, "read_lasts", ngroups)
            pattern.test_second_group = 1
            pattern.first_mean, pattern.third_last = means[0], lasts[2]
        if bias is not None:
            bias = np.ascontiguousarray(planes(bias, "bias", np.float32, yx, 2)[0])
            pattern.bias = address(bias)
    _flag_saturation(
        address(data),
        shape,
        address(groupdq),
        dq_shape,
        address(pixeldq),
        address(threshold),
        address(reference_dq),
        grow,
        None if pattern is None else ctypes.addressof(pattern),
    )


def flag_zeroframe(
    zeroframe: np.ndarray,
    threshold: np.ndarray,
    grow: int = 1,
    *,
    reference_dq: np.ndarray | None = None,
) -> None:
    """Set to 0, in place, what of a zero frame cannot be used.

    Parameters
    ----------
    zeroframe : (nints, ny, nx) ndarray of float32, C-contiguous
        First read of each integration [DN]. Pixels at or below 0, and those within `grow` of one
        that reaches the threshold, become 0: "no value".
    threshold : (ny, nx) array_like of float32
        Counts at which a pixel is full [DN].
    grow : int
        Half side of the square over which charge spills [pixel].
    reference_dq : (ny, nx) array_like of uint32, optional
        Flags of the threshold, which is not used where NO_SAT_CHECK is set.

    Raises
    ------
    ShapeError
        Arrays of wrong dtype or shape.
    """
    if zeroframe.ndim != 3:
        raise ShapeError(
            "zeroframe has the wrong shape", found=zeroframe.shape, expected="(nints, ny, nx)"
        )
    image(zeroframe, "zeroframe", np.float32, zeroframe.shape)
    yx = zeroframe.shape[1:]
    threshold = np.ascontiguousarray(planes(threshold, "threshold", np.float32, yx, 2)[0])
    if reference_dq is not None:
        reference_dq, _, _ = planes(reference_dq, "reference_dq", np.uint32, yx, 2)
    _flag_zeroframe(
        address(zeroframe), len(zeroframe), *yx, address(threshold), address(reference_dq), grow
    )


def _one_per_group(values: Sequence[float] | None, name: str, ngroups: int) -> np.ndarray:
    array = np.array(values, np.float32)
    if array.shape != (ngroups,):
        raise ShapeError(f"{name} needs one value per group", found=values, expected=(ngroups,))
    return array
