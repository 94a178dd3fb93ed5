"""Big-endian bytes of a file to native arrays and back, through the kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

from lightmill.errors import LightmillError

__all__ = ["decode", "encode", "native_dtype", "stored_form"]

_UNSIGNED: dict[tuple[str, float], Any] = {
    ("i2", 1 << 15): np.uint16,
    ("i4", 1 << 31): np.uint32,
    ("i8", 1 << 63): np.uint64,
}
_ZERO = {"u2": ("i2", 1 << 15), "u4": ("i4", 1 << 31), "u8": ("i8", 1 << 63)}


def native_dtype(stored: np.dtype, zero: float = 0, scale: float = 1) -> np.dtype:
    """Return the dtype of the values that stored numbers with BZERO and BSCALE stand for."""
    if scale == 1 and zero == 0:
        return stored.newbyteorder("=")
    unsigned = _UNSIGNED.get((stored.str[1:], zero)) if scale == 1 else None
    if unsigned:
        return np.dtype(unsigned)
    if stored.str == "|u1" and (scale, zero) == (1, -128):
        return np.dtype(np.int8)
    small = stored.itemsize < 4 or stored.str[1:] == "f4"
    return np.dtype(np.float32 if small else np.float64)


def stored_form(dtype: np.dtype) -> tuple[np.dtype, int]:
    """Return the big-endian dtype and the BZERO a FITS image stores `dtype` with."""
    dtype = np.dtype(dtype)
    if dtype == np.bool_:
        return np.dtype("u1"), 0
    if dtype == np.int8:
        return np.dtype("u1"), -128
    if dtype == np.float16:
        return np.dtype(">f4"), 0
    code, zero = _ZERO.get(dtype.str[1:], (dtype.str[1:], 0))
    return np.dtype(code if code == "u1" else ">" + code), zero


def decode(
    raw: np.ndarray, stored: np.dtype, zero: float, scale: float, out: np.ndarray
) -> np.ndarray:
    """Fill `out` with the values of `raw`.

    Parameters
    ----------
    raw : 1-d ndarray of uint8
        Bytes as they are in the file.
    stored : dtype
        Big-endian dtype of the bytes.
    zero, scale : float
        BZERO and BSCALE.
    out : C-contiguous ndarray
        As many elements as `raw` holds; any numeric dtype.
    """
    kernel = _kernels()
    if kernel is not None and scale == 1 and _kernel_can(stored, zero, out.dtype):
        kernel.decode(raw, stored, int(zero), out=out.reshape(-1), to=out.dtype)
        return out
    values = raw.view(stored).reshape(out.shape)
    natural = native_dtype(stored, zero, scale)
    if zero == 0 and scale == 1:
        np.copyto(out, values, casting="unsafe")
    elif natural.kind == "u" and out.dtype == natural:
        np.copyto(out, values.view(stored.str.replace("i", "u")))
        out ^= natural.type(int(zero))
    else:
        wide: np.ndarray
        if natural.kind == "u" and natural.itemsize == 8:
            wide = values.view(">u8").astype(np.uint64) ^ np.uint64(1 << 63)
        elif natural.kind == "f":
            wide = values.astype(np.float64) * scale + zero
        else:
            wide = values.astype(np.int64) + int(zero)
        np.copyto(out, wide, casting="unsafe")
    return out


def encode(values: np.ndarray) -> np.ndarray:
    """Return the bytes (1-d uint8) a FITS image stores these values with."""
    stored, zero = stored_form(values.dtype)
    values = np.ascontiguousarray(values)
    kernel = _kernels()
    if (
        kernel is not None
        and values.dtype.kind in "iuf"
        and _kernel_can(stored, zero, values.dtype)
    ):
        return kernel.encode(values.reshape(-1), stored, zero)
    if zero == -128:
        return (values.astype(np.int16) + 128).astype(np.uint8).reshape(-1)
    if zero:
        values = (values ^ values.dtype.type(zero)).view(stored.str[1:])
    return values.astype(stored, copy=False).reshape(-1).view(np.uint8)


_KERNEL_FORMS: dict[tuple[str, float], set[str]] = {
    (">i2", 1 << 15): {"u2", "f4"},
    (">i2", 0): {"i2", "f4"},
    (">i4", 1 << 31): {"u4"},
    (">i4", 0): {"i4"},
    (">f4", 0): {"f4"},
    (">f8", 0): {"f8", "f4"},
}


def _kernel_can(stored: np.dtype, zero: float, dtype: np.dtype) -> bool:
    return dtype.str[1:] in _KERNEL_FORMS.get((stored.str, zero), ())


_found: list = []


def _kernels() -> Any:
    if not _found:
        try:
            from lightmill.kernels import codec

            _found.append(codec)
        except (ImportError, LightmillError, OSError, AttributeError):
            _found.append(None)
    return _found[0]
