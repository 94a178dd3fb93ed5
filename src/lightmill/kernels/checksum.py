"""Checksums of what is sent: CRC-32, at the speed of the memory."""

from __future__ import annotations

import ctypes
import zlib

import numpy as np

from lightmill.kernels._library import address, kernel, library

__all__ = ["crc32"]

_SMALL = 4096  # bytes: a call of the library costs more than the sum
_crc32 = kernel("lm_crc32", "p n p")
_IS_FAST = bool(library.lm_crc32_is_fast())


def crc32(data: np.ndarray | bytes | memoryview) -> int:
    """Return the CRC-32 (ISO 3309) of an array's bytes, as `zlib.crc32` does.

    Parameters
    ----------
    data : ndarray or bytes
        Contiguous.

    Returns
    -------
    crc : int
        Of no bytes 0.
    """
    if len(data) == 0:
        return 0
    flat = np.frombuffer(data, np.uint8)
    if flat.size < _SMALL or not _IS_FAST:
        return zlib.crc32(flat.data)
    found = ctypes.c_uint32(0)
    _crc32(address(flat), flat.size, ctypes.addressof(found))
    return int(found.value)
