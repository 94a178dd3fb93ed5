"""The planes of an image (values, errors, variances, flags): worked on together, row after row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from lightmill.models import RateModel
from lightmill.models.dq import PIXEL

__all__ = ["blank_unusable", "planes_of", "row_slices"]

DO_NOT_USE = np.uint32(PIXEL["DO_NOT_USE"])
PIXELS = 1 << 16  # of a plane that are worked on at a time: ten such planes fit into a cache
PLANES = ("data", "err", "var_poisson", "var_rnoise", "var_flat")


def planes_of(image: RateModel) -> dict[str, np.ndarray]:
    """Return the values, errors and variances an image has, by name."""
    return {name: getattr(image, name) for name in PLANES if image.has(name)}


def row_slices(shape: tuple[int, ...]) -> Iterator[slice]:
    """Yield slices of a few rows at a time: what is computed of them stays in the caches."""
    ny, nx = shape[-2:]
    height = max(PIXELS // nx, 1)
    for y0 in range(0, ny, height):
        yield slice(y0, y0 + height)


def blank_unusable(planes: Mapping[str, np.ndarray], dq: np.ndarray | None) -> None:
    """Make a pixel NaN in all planes where it is so in one, or flagged DO_NOT_USE; flag it then.

    Parameters
    ----------
    planes : mapping of str to ndarray of float32
        Values, errors and variances, of one shape; changed in place.
    dq : ndarray of uint32 or None
        Flags, of the same shape; changed in place.
    """
    bad = None if dq is None else (dq & DO_NOT_USE) != 0
    for plane in planes.values():
        missing = np.isnan(plane)
        bad = missing if bad is None else np.logical_or(bad, missing, out=bad)
    if bad is None or not bad.any():
        return
    if dq is not None:
        np.bitwise_or(dq, np.multiply(bad, DO_NOT_USE, dtype=np.uint32), out=dq)
    for plane in planes.values():
        np.copyto(plane, np.nan, where=bad)
