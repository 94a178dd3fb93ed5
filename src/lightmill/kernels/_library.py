"""Find and load the native library, and say what its answers mean."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import numpy as np

from lightmill.errors import LightmillError, ShapeError

__all__ = ["address", "call", "library"]

_SUFFIX = {"darwin": "dylib", "win32": "dll"}.get(sys.platform, "so")
_STATUS = {
    1: "a shape or count is out of range",
    2: "an argument is out of range",
    3: "memory ran out",
}


def _load() -> ctypes.CDLL:
    path = Path(__file__).parent / "_lib" / f"liblightmill.{_SUFFIX}"
    if not path.exists():
        raise LightmillError(
            "the native library is missing",
            place=path,
            remedy="install the package (pip install .), or build it with `cmake`: see CONTRIBUTING.md",
        )
    return ctypes.CDLL(str(path))


library = _load()


def call(name: str, *arguments: object) -> None:
    """Call a kernel; raise what its status means.

    Pointers are passed as integers (`address`), sizes as int, reals as float.
    """
    function = getattr(library, name)
    status = function(*arguments)
    if status:
        raise ShapeError(f"kernel {name}: {_STATUS.get(status, f'status {status}')}")


def address(array: np.ndarray | None) -> ctypes.c_void_p:
    """Return the address of an array's first element, or NULL."""
    if array is None:
        return ctypes.c_void_p(None)
    return ctypes.c_void_p(array.__array_interface__["data"][0])
