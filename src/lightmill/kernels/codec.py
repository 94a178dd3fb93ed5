"""Big-endian numbers of files to native arrays and back."""

from __future__ import annotations

import numpy as np

from lightmill.errors import ShapeError, UsageError
from lightmill.kernels._library import address, kernel

__all__ = ["decode", "encode", "native_dtype"]

_decode = {
    2: kernel("lm_decode16", "p n u p"),
    4: kernel("lm_decode32", "p n u p"),
    8: kernel("lm_decode64", "p n p"),
}
_encode = {
    2: kernel("lm_encode16", "p n u p"),
    4: kernel("lm_encode32", "p n u p"),
    8: kernel("lm_encode64", "p n p"),
}
_decode16_to_float = kernel("lm_decode16_to_float", "p n i p")
_decode64_to_float = kernel("lm_decode64_to_float", "p n p")

_KNOWN = {np.dtype(code) for code in ("u1", "i1", ">i2", ">i4", ">i8", ">f4", ">f8")}
_OFFSETS = {2: 1 << 15, 4: 1 << 31}  # BZERO of unsigned integers stored as signed ones


def native_dtype(stored: str | np.dtype, zero: int = 0) -> np.dtype:
    """Return the native dtype that holds every stored value exactly.

    Parameters
    ----------
    stored : dtype_like
        ``u1``, ``i1``, ``>i2``, ``>i4``, ``>i8``, ``>f4`` or ``>f8``.
    zero : int
        Offset to add: 0, or 32768 (``>i2``), or 2147483648 (``>i4``).

    Raises
    ------
    UsageError
        Another dtype or offset.
    """
    stored = np.dtype(stored)
    if stored not in _KNOWN:
        raise UsageError("no codec for this stored type", found=stored.str)
    if not zero:
        return stored.newbyteorder("=")
    if stored.kind != "i" or zero != _OFFSETS.get(stored.itemsize):
        raise UsageError("no codec for this offset", found=(stored.str, zero))
    return np.dtype(f"u{stored.itemsize}")


def decode(
    buffer: bytes | memoryview | np.ndarray,
    stored: str | np.dtype,
    zero: int = 0,
    out: np.ndarray | None = None,
    to: str | np.dtype | None = None,
) -> np.ndarray:
    """Return stored numbers as a native array.

    Parameters
    ----------
    buffer : bytes-like, or (n,) ndarray of uint8
        Bytes as they stand in the file.
    stored : dtype_like
        Their type there: see `native_dtype`.
    zero : int
        Offset to add (the BZERO of unsigned integers).
    out : ndarray, optional
        C-contiguous array of that many elements to write to, of dtype `to`.
    to : dtype_like, optional
        dtype wanted; that of `out`, or `native_dtype`, by default. 16-bit integers and float64
        become float32 in one pass; other conversions are NumPy's (``same_kind`` or wider).

    Returns
    -------
    ndarray
        `out`, or a new 1-D array.

    Raises
    ------
    ShapeError
        The bytes are not a whole number of elements, or `out` does not take them.
    UsageError
        A stored type or offset without a codec.
    """
    stored = np.dtype(stored)
    exact = native_dtype(stored, zero)
    raw = np.frombuffer(buffer, np.uint8) if not isinstance(buffer, np.ndarray) else buffer
    if raw.dtype != np.uint8 or not raw.flags.c_contiguous or raw.nbytes % stored.itemsize:
        raise ShapeError(
            "the buffer is not a whole number of stored elements",
            found=(raw.dtype.str, raw.nbytes),
            expected=stored.str,
        )
    count = raw.nbytes // stored.itemsize
    wanted = np.dtype(to) if to is not None else (exact if out is None else out.dtype)
    if out is None:
        out = np.empty(count, wanted)
    elif out.size != count or out.dtype != wanted or not out.flags.c_contiguous:
        raise ShapeError(
            "`out` does not take the decoded elements",
            found=(out.dtype.str, out.shape),
            expected=(wanted.str, count),
        )
    source, target = address(raw), address(out)
    if wanted == exact and stored.itemsize == 1:
        out.reshape(-1)[:] = raw.view(exact)
    elif wanted == exact and stored.itemsize == 8:
        _decode[8](source, count, target)
    elif wanted == exact:
        _decode[stored.itemsize](source, count, zero, target)
    elif wanted == np.float32 and stored.itemsize == 2:
        _decode16_to_float(source, count, bool(zero), target)
    elif wanted == np.float32 and stored == np.dtype(">f8"):
        _decode64_to_float(source, count, target)
    else:
        out.reshape(-1)[:] = decode(raw, stored, zero)
    return out


def encode(
    array: np.ndarray, stored: str | np.dtype, zero: int = 0, out: np.ndarray | None = None
) -> np.ndarray:
    """Return the bytes of a native array as a file stores them.

    Parameters
    ----------
    array : ndarray
        Values, of `native_dtype(stored, zero)` or a dtype that converts to it safely.
    stored : dtype_like
        Type in the file, as for `decode`.
    zero : int
        Offset to take away, as for `decode`.
    out : (nbytes,) ndarray of uint8, optional
        C-contiguous buffer to write to.

    Returns
    -------
    (nbytes,) ndarray of uint8
        Bytes in file order.

    Raises
    ------
    ShapeError
        `out` is not of that many bytes, or the values do not convert safely.
    """
    stored = np.dtype(stored)
    exact = native_dtype(stored, zero)
    if array.dtype != exact and not np.can_cast(array.dtype, exact, "safe"):
        raise ShapeError("values do not fit the stored type", found=array.dtype, expected=exact)
    values = np.ascontiguousarray(array, exact)
    if out is None:
        out = np.empty(values.nbytes, np.uint8)
    elif out.dtype != np.uint8 or out.nbytes != values.nbytes or not out.flags.c_contiguous:
        raise ShapeError(
            "`out` does not take the encoded bytes", found=out.nbytes, expected=values.nbytes
        )
    source, target = address(values), address(out)
    if stored.itemsize == 1:
        out[:] = values.reshape(-1).view(np.uint8)
    elif stored.itemsize == 8:
        _encode[8](source, values.size, target)
    else:
        _encode[stored.itemsize](source, values.size, zero, target)
    return out
