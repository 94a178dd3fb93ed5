"""Undo the signal that leaks between neighbouring pixels (inter-pixel capacitance)."""

from __future__ import annotations

import numpy as np

from lightmill.errors import ShapeError
from lightmill.kernels._arrays import ramp
from lightmill.kernels._library import address, kernel

__all__ = ["convolve_ipc"]

_convolve_ipc = kernel("lm_convolve_ipc", "p s p n n i n n n n")


def convolve_ipc(
    data: np.ndarray,
    kernel: np.ndarray,
    *,
    valid: tuple[int, int, int, int] | None = None,
) -> None:
    """Convolve every group, in place, with a deconvolution kernel.

    ``out[y, x] = sum K[j, i] in[y + k//2 - j, x + k//2 - i]``, the centre's term added last.

    Parameters
    ----------
    data : (nints, ngroups, ny, nx) ndarray of float32
        Counts [DN]; changed. Rows within ``k // 2`` of a band's edge need the rows beyond it.
    kernel : (k, k) or (k, k, ny, nx) array_like of float32
        One kernel, or one for each pixel; k is odd.
    valid : (y0, y1, x0, x1), optional
        Half-open area of `data` that has light-sensitive pixels. What is outside counts as 0
        and keeps its value. The whole array by default.

    Raises
    ------
    ShapeError
        A kernel that is not square and odd, or not of the data's size; an area outside the data.
    """
    shape = ramp(data, "data")
    yx = data.shape[2:]
    kernel = np.asarray(kernel, np.float32)
    k = kernel.shape[0] if kernel.ndim else 0
    if kernel.shape not in ((k, k), (k, k, *yx)) or k % 2 == 0:
        raise ShapeError(
            "the kernel has the wrong shape",
            found=kernel.shape,
            expected=f"(k, k) or (k, k, {yx[0]}, {yx[1]}), k odd",
        )
    per_pixel = kernel.ndim == 4
    if not per_pixel:
        kernel, stride = np.ascontiguousarray(kernel), 1
    else:
        terms = kernel.reshape(k * k, *yx)  # a view where the planes are evenly spaced
        if terms.strides[1:] != (4 * yx[1], 4):
            terms = np.ascontiguousarray(terms)
        kernel, stride = terms, terms.strides[0] // 4
    _convolve_ipc(
        address(data),
        shape,
        address(kernel),
        k,
        stride,
        per_pixel,
        *(valid or (0, yx[0], 0, yx[1])),
    )
