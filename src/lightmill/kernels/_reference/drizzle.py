"""Drops on a grid, plainly: polygons clipped one by one, sums in float64."""

from __future__ import annotations

import numpy as np


def drizzle_into(
    sums, origin, positions, data, weight, sigma=(), *, kernel="square", pixfrac=1.0, ratio=1.0
):
    """See `lightmill.kernels.drizzle.drizzle_into`; `sums` may be of any float type."""
    if isinstance(positions, tuple):
        positions = np.einsum("yk,kxp->yxp", *positions)
    ny, nx = np.shape(data)
    if positions.shape[:2] == (ny, nx):
        positions = _with_margin(positions)
    for y in range(ny):
        for x in range(nx):
            w = weight[y, x]
            if not 0 < w < np.inf:
                continue
            brings = w * np.array([1, data[y, x], *(one[y, x] for one in sigma)])
            for (row, column), part in _parts(
                positions[y : y + 3, x : x + 3], kernel, pixfrac, ratio
            ):
                at = row - origin[0], column - origin[1]
                if 0 <= at[0] < sums.shape[0] and 0 <= at[1] < sums.shape[1]:
                    sums[at][: len(brings)] += part * brings


def fold_into(
    sums, values, weight, *, exptime=None, time=0.0, context=None, bit=0, squares=(), shares=(),
    share=None,
):  # fmt: skip
    """See `lightmill.kernels.drizzle.fold_into`."""
    there = sums[..., 0] > 0
    weight += sums[..., 0]
    values += sums[..., 1]
    if exptime is not None:
        exptime[there] += time
    if context is not None:
        context[there] |= np.array(1 << bit, np.uint32).view(np.int32)
    with np.errstate(all="ignore"):
        deviation = [sums[..., 2 + k] / sums[..., 0] for k in range(len(squares))]
        for k, sigma in enumerate(deviation):
            q = np.full(sigma.shape, share) if share is not None else 1 / deviation[0] ** 2
            known = there & (q > 0) & np.isfinite(q) & np.isfinite((q * sigma) ** 2)
            squares[k][known] += (q * sigma)[known] ** 2
            shares[k][known] += q[known]
    sums[...] = 0


def _with_margin(positions):
    """Extrapolate the positions of the pixels beyond the edge."""
    first, last = 2 * positions[:1] - positions[1:2], 2 * positions[-1:] - positions[-2:-1]
    tall = np.concatenate([first, positions, last])
    left, right = 2 * tall[:, :1] - tall[:, 1:2], 2 * tall[:, -1:] - tall[:, -2:-1]
    return np.concatenate([left, tall, right], axis=1)


def _parts(around, kernel, pixfrac, ratio):
    """Yield (row, column) of the grid and the fraction of a drop that lies there.

    `around` (3, 3, 2): where the pixel and its neighbours lie.
    """
    centre = around[1, 1]
    if kernel == "point":
        if np.isfinite(centre).all():
            column, row = np.floor(centre + 0.5).astype(int)
            yield (row, column), 1.0
        return
    half = pixfrac / 2
    turns = [(-1, -1), (1, -1), (1, 1), (-1, 1)]  # of (x, y), once around
    if kernel == "turbo":
        corners = [centre + np.multiply(turn, half / ratio) for turn in turns]
    else:
        corners = [
            (1 - half) * ((1 - half) * centre + half * around[1 + j, 1])
            + half * ((1 - half) * around[1, 1 + i] + half * around[1 + j, 1 + i])
            for i, j in turns
        ]
    if not np.isfinite(corners).all():
        return
    whole = _area(corners)
    low = np.floor(np.min(corners, axis=0) + 0.5).astype(int)
    high = np.floor(np.max(corners, axis=0) + 0.5).astype(int)
    for row in range(low[1], high[1] + 1):
        for column in range(low[0], high[0] + 1):
            piece = corners
            for axis, centre_of in ((0, column), (1, row)):
                piece = _clip(piece, axis, centre_of - 0.5, 1)
                piece = _clip(piece, axis, centre_of + 0.5, -1)
            overlap = _area(piece)
            if abs(overlap) > 1e-12:
                yield (row, column), overlap / whole


def _clip(polygon, axis, limit, side):
    """Return what of a polygon lies on one side of a line (Sutherland & Hodgman 1974)."""
    kept = []
    for a, b in zip(polygon, [*polygon[1:], *polygon[:1]], strict=True):
        from_a, from_b = side * (a[axis] - limit), side * (b[axis] - limit)
        if from_a >= 0:
            kept.append(a)
        if from_a * from_b < 0:
            kept.append(a + from_a / (from_a - from_b) * (b - a))
    return kept


def _area(polygon):
    """Return the area of a polygon, positive where its corners run counter-clockwise."""
    x, y = np.transpose(polygon) if len(polygon) else (np.zeros(0), np.zeros(0))
    x, y = x - x[:1].sum(), y - y[:1].sum()
    return 0.5 * float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))
