"""Make a detector's counts proportional to its charge."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lightmill.errors import ShapeError
from lightmill.kernels._arrays import image, planes, ramp
from lightmill.kernels._library import address, kernel

__all__ = ["correct_linearity", "correct_linearity_reads", "prepare"]

_prepare = kernel("lm_prepare_linearity", "p n n n p p p")
_correct = kernel("lm_correct_linearity", "p s p s p n n p p i")
_correct_reads = kernel("lm_correct_linearity_reads", "p s p s p n n p n n p p p p p")


def prepare(coeffs: np.ndarray, dq: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return coefficients fit for use, and their flags.

    Parameters
    ----------
    coeffs : (n, ny, nx) array_like of float32
        Coefficients of the powers 0 ... n - 1 of the counts.
    dq : (ny, nx) array_like of uint32
        Flags of the reference.

    Returns
    -------
    coeffs : (n, ny, nx) ndarray of float32
        A copy: the identity (0, 1, 0, ...) where NO_LIN_CORR is set, a coefficient is NaN, or
        the linear one is 0.
    dq : (ny, nx) ndarray of uint32
        `dq`, with NO_LIN_CORR added in the latter two cases.

    Raises
    ------
    ShapeError
        The arrays do not fit each other, or there are fewer than two coefficients.
    """
    coeffs, stride = _coefficients(coeffs, np.shape(coeffs)[-2:])
    dq = np.ascontiguousarray(planes(dq, "dq", np.uint32, coeffs.shape[1:], 2)[0])
    usable = np.empty(coeffs.shape, np.float32)
    flags = np.zeros(dq.shape, np.uint32)
    _prepare(
        address(coeffs), len(coeffs), stride, dq.size, address(dq), address(usable), address(flags)
    )
    return usable, flags


def correct_linearity(
    data: np.ndarray,
    groupdq: np.ndarray | None,
    coeffs: np.ndarray,
    *,
    reference_dq: np.ndarray | None = None,
    pixeldq: np.ndarray | None = None,
    keep_zero: bool = False,
) -> None:
    """Replace counts by the polynomial of the counts, in place.

    Parameters
    ----------
    data : (nints, ngroups, ny, nx) ndarray of float32
        Counts [DN]; changed where they are not saturated. Evaluated by Horner's rule in float32,
        each power a multiplication and an addition.
    groupdq : (nints, ngroups, ny, nx) ndarray of uint8, or None
        SATURATED groups keep their counts. None: none is saturated.
    coeffs : (n, ny, nx) array_like of float32
        Coefficients of the powers 0 ... n - 1.
    reference_dq : (ny, nx) array_like of uint32, optional
        Given: `coeffs` are as the reference file has them, and are prepared (see `prepare`)
        row by row on the way. Not given: they were prepared before.
    pixeldq : (ny, nx) ndarray of uint32, optional
        Gets the flags of that preparation.
    keep_zero : bool
        Leave a 0 alone: zero frames mean "no value" by it.

    Raises
    ------
    ShapeError
        The arrays do not fit each other, or there are fewer than two coefficients.
    """
    shape, yx = ramp(data, "data"), data.shape[2:]
    dq_shape = None if groupdq is None else ramp(groupdq, "groupdq", np.uint8, data.shape)
    coeffs, stride = _coefficients(coeffs, yx)
    if pixeldq is not None:
        image(pixeldq, "pixeldq", np.uint32, yx)
    if reference_dq is not None:
        reference_dq = np.ascontiguousarray(
            planes(reference_dq, "reference_dq", np.uint32, yx, 2)[0]
        )
    _correct(
        address(data),
        shape,
        address(groupdq),
        dq_shape,
        address(coeffs),
        len(coeffs),
        stride,
        address(reference_dq),
        address(pixeldq),
        keep_zero,
    )


def correct_linearity_reads(
    data: np.ndarray,
    groupdq: np.ndarray,
    coeffs: np.ndarray,
    inverse: np.ndarray,
    read_times: Sequence[Sequence[float]],
    *,
    reference_dq: np.ndarray | None = None,
    pixeldq: np.ndarray | None = None,
    saturation: np.ndarray | None = None,
) -> None:
    """Correct, in place, groups that are averages of several reads.

    The polynomial of a mean is not the mean of the polynomial: it is applied here to the single
    reads of each group, as a steady rate and the inverse polynomial predict them, shifted so that
    their mean is the counts measured.

    Parameters
    ----------
    data : (nints, ngroups, ny, nx) ndarray of float32
        Counts [DN]; changed where they are not saturated.
    groupdq : (nints, ngroups, ny, nx) ndarray of uint8
        SATURATED groups keep their counts. The rate is taken from the first group and the last
        but one of those not SATURATED, but group 1 at least.
    coeffs, inverse : (n, ny, nx) array_like of float32
        Coefficients of linear signal as a polynomial of counts, and of counts as one of linear
        signal; they may differ in n.
    read_times : (ngroups,) sequence of sequences of float
        Times of the reads averaged in each group, rising, in any unit.
    reference_dq, pixeldq : (ny, nx) array of uint32, optional
        As for `correct_linearity`, for both polynomials.
    saturation : (ny, nx) array_like of float32, optional
        Counts at which a pixel is full [DN]; no read is taken to exceed 1.2 times as many.

    Raises
    ------
    ShapeError
        The arrays do not fit each other.
    UsageError
        Read times that do not rise from group to group.
    """
    shape, yx = ramp(data, "data"), data.shape[2:]
    dq_shape = ramp(groupdq, "groupdq", np.uint8, data.shape)
    coeffs, stride = _coefficients(coeffs, yx)
    inverse, inverse_stride = _coefficients(inverse, yx)
    n_reads = np.array([len(times) for times in read_times], np.uintp)
    if len(n_reads) != data.shape[1] or not n_reads.all():
        raise ShapeError(
            "read times are needed for every group", found=read_times, expected=data.shape[1]
        )
    times = np.concatenate([np.asarray(times, float) for times in read_times])
    if pixeldq is not None:
        image(pixeldq, "pixeldq", np.uint32, yx)
    if reference_dq is not None:
        reference_dq = np.ascontiguousarray(
            planes(reference_dq, "reference_dq", np.uint32, yx, 2)[0]
        )
    if saturation is not None:
        saturation = np.ascontiguousarray(planes(saturation, "saturation", np.float32, yx, 2)[0])
    _correct_reads(
        address(data),
        shape,
        address(groupdq),
        dq_shape,
        address(coeffs),
        len(coeffs),
        stride,
        address(inverse),
        len(inverse),
        inverse_stride,
        address(n_reads),
        address(times),
        address(reference_dq),
        address(pixeldq),
        address(saturation),
    )


def _coefficients(coeffs: np.ndarray, yx: tuple[int, ...]) -> tuple[np.ndarray, int]:
    coeffs, _, stride = planes(coeffs, "coeffs", np.float32, yx, 3)
    if len(coeffs) < 2:
        raise ShapeError("a polynomial needs two coefficients or more", found=coeffs.shape)
    return coeffs, stride
