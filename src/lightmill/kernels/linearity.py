"""Make a detector's counts proportional to its charge."""

from __future__ import annotations

import numpy as np

from lightmill.errors import ShapeError
from lightmill.kernels._arrays import image, planes, ramp
from lightmill.kernels._library import address, kernel

__all__ = ["correct_linearity", "prepare"]

_prepare = kernel("lm_prepare_linearity", "p n n n p p p")
_correct = kernel("lm_correct_linearity", "p s p s p n n p p i")


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


def _coefficients(coeffs: np.ndarray, yx: tuple[int, ...]) -> tuple[np.ndarray, int]:
    coeffs, _, stride = planes(coeffs, "coeffs", np.float32, yx, 3)
    if len(coeffs) < 2:
        raise ShapeError("a polynomial needs two coefficients or more", found=coeffs.shape)
    return coeffs, stride
