"""Find and load the native library, declare its functions, and raise what their answers mean."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lightmill.errors import DataError, LightmillError, ShapeError, UsageError

__all__ = ["Shape", "address", "kernel", "library"]

_SUFFIX = {"darwin": "dylib", "win32": "dll"}.get(sys.platform, "so")


class Shape(ctypes.Structure):
    """A view of a ramp as the library sees it (`lm_shape`); strides count elements."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("n_ints", "n_groups", "n_rows", "n_cols", "int_stride", "group_stride")
    ]


_TYPES = {
    "p": ctypes.c_void_p,
    "s": ctypes.POINTER(Shape),
    "n": ctypes.c_size_t,
    "z": ctypes.c_ssize_t,
    "i": ctypes.c_int,
    "u": ctypes.c_uint32,
    "f": ctypes.c_float,
    "d": ctypes.c_double,
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


def kernel(name: str, signature: str, *, answers: bool = False) -> Callable[..., object]:
    """Declare a function of the library and return it.

    Parameters
    ----------
    name : str
        Exported C name, e.g. ``"lm_subtract"``.
    signature : str
        One letter per argument, blanks ignored: ``p`` pointer (from `address`), ``s`` pointer to
        a `Shape` (pass the Shape itself), ``n`` size_t, ``z`` ptrdiff_t, ``i`` int,
        ``u`` uint32_t, ``f`` float, ``d`` double. C converts nothing by itself here: a float
        passed where the header says double arrives as noise, so keep the two in step.
    answers : bool
        True for a function whose last parameter is a ``size_t *`` to which it writes one count;
        that pointer is not in `signature`, and the count is returned.

    Returns
    -------
    callable
        Called with the C arguments; releases the GIL meanwhile.

    Raises
    ------
    ShapeError
        From the call: the library answered LM_BAD_SHAPE.
    UsageError
        From the call: LM_BAD_ARGUMENT, a parameter outside its range; LM_WRONG_STATE, a call out of
        turn.
    MemoryError
        From the call: LM_NO_MEMORY.
    DataError
        From the call: LM_BAD_TIME.
    """
    function = getattr(library, name)
    letters = signature.replace(" ", "")
    function.argtypes = [_TYPES[letter] for letter in letters]
    function.restype = ctypes.c_int
    if not answers:

        def run(*arguments: object) -> None:
            status = function(*arguments)
            if status:
                _raise(name, status)

        return run

    function.argtypes = [*function.argtypes, ctypes.POINTER(ctypes.c_size_t)]

    def run_and_count(*arguments: object) -> int:
        count = ctypes.c_size_t()
        status = function(*arguments, ctypes.byref(count))
        if status:
            _raise(name, status)
        return count.value

    return run_and_count


def address(array: np.ndarray | None) -> int | None:
    """Return the address of an array's first element, or None (NULL)."""
    return None if array is None else array.__array_interface__["data"][0]


def _raise(name: str, status: int) -> None:
    if status == 1:
        raise ShapeError("a shape or count is out of range", place=f"kernel {name}")
    if status == 2:
        raise UsageError("an argument is out of range", place=f"kernel {name}")
    if status == 3:
        raise MemoryError(f"kernel {name}: no memory for its row buffers")
    if status == 4:
        raise DataError(
            "a read is not later than the one before it",
            place=f"kernel {name}",
            expected="finite, rising times",
        )
    if status == 5:
        raise UsageError("a call out of turn, or one read too many", place=f"kernel {name}")
    raise LightmillError(f"unknown status {status}", place=f"kernel {name}")
