"""What steps need to know of the groups and pixels of a ramp as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lightmill.errors import DataError
from lightmill.models.dq import PIXEL
from lightmill.pipeline.spool import IN_MEMORY_BYTES, Spool

if TYPE_CHECKING:
    from lightmill.models import RampModel
    from lightmill.pipeline.bands import Rows

__all__ = [
    "Integrations",
    "flag_gain",
    "flags_whole_groups",
    "group_time_of",
    "put_integration",
    "room_like",
    "unusable_groups",
]


def flags_whole_groups(rows: Rows) -> bool:
    """Say whether a group may have been flagged in every pixel before this point."""
    return any(stage.step.leaves_groups_out for stage in rows.stages) or not rows.stages


def unusable_groups(rows: Rows) -> np.ndarray:
    """Find the groups flagged DO_NOT_USE in every pixel of every integration.

    Returns
    -------
    unusable : (ngroups,) ndarray of bool
        True for a group that no pixel of the frame can use, at this point of the chain.
    """
    flagging = rows.through(lambda step: step.flags_groups)
    key = ("unusable groups", *(stage.step.name for stage in flagging.stages))
    if key not in rows.known:
        rows.known[key] = _unusable_groups(flagging)
    return rows.known[key]


def _unusable_groups(rows: Rows) -> np.ndarray:
    unusable: np.ndarray | None = None
    for _, part in rows.bands():
        here = (part.groupdq & np.uint8(PIXEL["DO_NOT_USE"])).all(axis=(0, 2, 3))
        unusable = here if unusable is None else unusable & here
        if not unusable.any():
            break
    assert unusable is not None
    return unusable


def flag_gain(pixeldq: np.ndarray, gain: np.ndarray) -> None:
    """Flag the pixels whose gain is not a positive number: their noise is not known."""
    wrong = ~(gain > 0)
    if wrong.any():
        pixeldq[wrong] |= np.uint32(PIXEL["NO_GAIN_VALUE"] | PIXEL["DO_NOT_USE"])


def group_time_of(ramp: RampModel, given: float | None, step: str) -> float:
    """Return the time from one group to the next [s], from the header or the user."""
    time = given if given is not None else ramp.meta.get("exposure.group_time")
    if time is None or not 0 < time < np.inf:
        raise DataError(
            "the time between groups is not known",
            place=f"{ramp.path}[PRIMARY/TGROUP]",
            found=time,
            expected="seconds, more than 0",
            remedy=f"add the keyword, or give {step}.group_time (--group-time=SECONDS)",
        )
    return float(time)


class Integrations:
    """The arrays of a ramp, one integration at a time, whether in memory or in a file.

    Parameters
    ----------
    ramp : RampModel
        Arrays that are written to are replaced by ones of our own.
    """

    def __init__(self, ramp: RampModel) -> None:
        self.ramp = ramp
        shape = ramp.array("data").shape
        self.nints, self.ngroups = int(shape[0]), int(shape[1])
        self._written: dict[str, Any] = {}

    def read(self, name: str, number: int) -> np.ndarray:
        """Return (ngroups, ny, nx) of one integration, the caller's to change."""
        array = self._written.get(name, self.ramp.array(name))
        if hasattr(array, "read"):
            planes = slice(number * self.ngroups, (number + 1) * self.ngroups)
            return np.asarray(array.read(planes=planes)).reshape(self.ngroups, *array.shape[-2:])
        return np.array(array[number])

    def write(self, name: str, number: int, values: np.ndarray) -> None:
        """Put the values of one integration back."""
        if name not in self._written:
            new = room_like(self.ramp.array(name).shape, values.dtype)
            for other in range(self.nints):
                if other != number:
                    put_integration(new, other, self.read(name, other))
            self._written[name] = new
        put_integration(self._written[name], number, values)

    def finish(self) -> RampModel:
        """Return the ramp with what was written."""
        return self.ramp.evolve(**self._written)


def room_like(shape: tuple[int, ...], dtype: np.dtype) -> Any:
    """Return an array to be written integration by integration: in memory, or a file if large."""
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    return np.empty(shape, dtype) if size <= IN_MEMORY_BYTES else Spool(shape, dtype)


def put_integration(array: Any, number: int, values: np.ndarray) -> None:
    """Write the values of one integration into what `room_like` returned."""
    if isinstance(array, Spool):
        groups = int(np.prod(array.shape[1:-2], dtype=np.int64))
        array.write(0, values, first_plane=number * groups)
    else:
        array[number] = values
