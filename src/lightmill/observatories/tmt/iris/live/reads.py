"""One read of a detector, and the exposure it belongs to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import numpy as np

from lightmill.errors import DataError

__all__ = ["DTYPES", "Exposure", "Read"]

DTYPES = ("uint16", "int32", "float32")
LARGEST = 8192  # rows or columns
MOST = 100_000  # reads of an exposure
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_KEYWORD = re.compile(r"[A-Z0-9_-]{1,8}")


@dataclass(frozen=True)
class Exposure:
    """What is known of an exposure before its first read.

    Attributes
    ----------
    name : str
        Of its products, without their type; a file name, no path.
    detector : str
    reads, ramps : int
        Reads of a ramp, ramps of the exposure.
    shape : (int, int)
        Rows and columns.
    dtype : str
        Of the counts: uint16, int32 or float32.
    cards : mapping
        FITS keywords of the exposure: what the reduction needs to know of it.

    Raises
    ------
    DataError
        If a value cannot be.
    """

    name: str
    detector: str
    reads: int
    ramps: int
    shape: tuple[int, int]
    dtype: str = "uint16"
    cards: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        for what, value in (("exposure", self.name), ("detector", self.detector)):
            if not isinstance(value, str) or not _NAME.fullmatch(value):
                raise _refused(what, value, "letters, digits, '.', '_', '-'")
        for what, count in (("reads", self.reads), ("ramps", self.ramps)):
            if not _is_count(count, MOST):
                raise _refused(what, count, f"1 to {MOST}")
        if len(self.shape) != 2 or not all(_is_count(side, LARGEST) for side in self.shape):
            raise _refused("shape", self.shape, f"rows and columns, 1 to {LARGEST}")
        if self.dtype not in DTYPES:
            raise _refused("dtype", self.dtype, ", ".join(DTYPES))
        for keyword, value in self.cards.items():
            if not _KEYWORD.fullmatch(keyword) or not isinstance(value, str | int | float):
                raise _refused("cards", f"{keyword} = {value!r}", "FITS keywords and plain values")

    @property
    def total(self) -> int:
        """Reads of all ramps."""
        return self.reads * self.ramps

    @property
    def nbytes(self) -> int:
        """Bytes of a read."""
        return self.shape[0] * self.shape[1] * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Read:
    """One read.

    Attributes
    ----------
    exposure : Exposure
    ramp, number : int
        Which ramp, which read of it; from 1.
    time : float
        Since the ramp's reset [s].
    pixels : (ny, nx) ndarray
        Counts [DN].
    came : float
        When it was there to be taken, by this machine's monotonic clock [s].
    """

    exposure: Exposure
    ramp: int
    number: int
    time: float
    pixels: np.ndarray = field(repr=False, compare=False)
    came: float = field(default_factory=monotonic, compare=False)

    @property
    def index(self) -> int:
        """Place in the exposure, from 0."""
        return (self.ramp - 1) * self.exposure.reads + self.number - 1

    @property
    def label(self) -> str:
        """How messages call it."""
        ramp = f"ramp {self.ramp}, " if self.exposure.ramps > 1 else ""
        return f"{self.exposure.name}: {ramp}read {self.number}"

    def fault(self) -> str | None:
        """Say what is wrong with the read by itself, if anything is."""
        exposure = self.exposure
        if not (1 <= self.ramp <= exposure.ramps and 1 <= self.number <= exposure.reads):
            return f"the exposure has {exposure.ramps} ramps of {exposure.reads} reads"
        if self.pixels.shape != exposure.shape or self.pixels.dtype != np.dtype(exposure.dtype):
            said = f"{exposure.shape[0]} × {exposure.shape[1]} {exposure.dtype}"
            got = " × ".join(map(str, self.pixels.shape))
            return f"its size is wrong: {got} {self.pixels.dtype}, not {said}"
        if not np.isfinite(self.time):
            return f"its time is {self.time}"
        return None


def _is_count(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def _refused(what: str, found: object, expected: str) -> DataError:
    return DataError(
        "a read does not say what it is of",
        place=what,
        found=found,
        expected=expected,
        remedy="see the protocol: docs/reference/detector-reads.md",
    )
