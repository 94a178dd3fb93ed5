"""Convolution with the kernel that undoes inter-pixel capacitance, plainly."""

from __future__ import annotations

import numpy as np


def convolve_ipc(data, kernel, *, valid=None):
    """See `lightmill.kernels.ipc.convolve_ipc`; the terms are added in the same order."""
    kernel = np.asarray(kernel, np.float32)
    ny, nx = data.shape[-2:]
    y0, y1, x0, x1 = valid or (0, ny, 0, nx)
    k = len(kernel)
    half = k // 2
    terms = [(j, i) for j in range(k) for i in range(k) if (j, i) != (half, half)]
    for plane in (group for integration in data for group in integration):
        area = plane[y0:y1, x0:x1]
        padded = np.pad(area, half)
        total = np.zeros_like(area)
        for j, i in [*terms, (half, half)]:
            shifted = padded[2 * half - j :, 2 * half - i :][: area.shape[0], : area.shape[1]]
            factor = kernel[j, i] if kernel.ndim == 2 else kernel[j, i, y0:y1, x0:x1]
            total += factor * shifted
        plane[y0:y1, x0:x1] = total
