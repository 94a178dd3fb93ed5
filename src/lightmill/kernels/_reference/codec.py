"""Stored and native numbers, plainly: see `lightmill.kernels.codec`."""

from __future__ import annotations

import numpy as np


def decode(buffer, stored, zero=0, out=None, to=None):
    """Decode big-endian numbers with an offset."""
    values = np.frombuffer(buffer, stored)
    if zero:
        values = (values.astype(np.int64) + zero).astype(f"u{values.itemsize}")
    values = values.astype(to or values.dtype.newbyteorder("="))
    if out is None:
        return values
    out[...] = values.reshape(out.shape)
    return out


def encode(array, stored, zero=0):
    """Encode native numbers; the inverse of `decode`."""
    values = np.asarray(array)
    if zero:
        values = values.astype(np.int64) - zero
    return np.frombuffer(values.astype(stored).tobytes(), np.uint8)
