"""What an observatory expects of deliveries: when a file has arrived, and all of an observation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from lightmill.errors import ConfigurationError, UnknownNameError
from lightmill.workflow.arrivals import Gate
from lightmill.workflow.watching import WAYS, watch_of

__all__ = ["COMPLETE", "LATE", "Conditions", "Expectations"]

COMPLETE = ("settled", "renamed", "sentinel")
LATE = ("partial", "wait", "give up")


class _Facts:
    """Values that a file of an observatory gives."""

    @classmethod
    def of(cls, facts: Mapping[str, Any] | None, place: object = None) -> Self:
        """Return what facts say.

        Parameters
        ----------
        facts : mapping or None
            By the names of the attributes; what is not said is as it is by default.
        place : object
            Where they are from, for messages.

        Raises
        ------
        ConfigurationError
            If one of them is not known, or has no such value.
        """
        known = {one.name for one in fields(cls)}  # type: ignore[arg-type]  # those below are dataclasses
        unknown = sorted(set(facts or {}) - known)
        if unknown:
            raise ConfigurationError(
                "nobody knows what this says",
                place=place,
                found=", ".join(unknown),
                expected=", ".join(sorted(known)),
            )
        try:
            return cls(**(facts or {}))
        except (TypeError, UnknownNameError) as error:
            raise ConfigurationError("this cannot be", place=place, found=error) from error


@dataclass(frozen=True)
class Conditions(_Facts):
    """When a file counts as arrived.

    Attributes
    ----------
    complete : str
        ``settled``: size and time of change have stood still; ``renamed``: whoever delivers gives it
        its name when it is complete; ``sentinel``: a file of the same name and an ending is there.
    settle : float
        How long it has to stand still [s].
    sentinel : str
        The ending.
    watch : str
        ``inotify``, ``polling``, or ``auto``: see `lightmill.workflow.watching`.
    """

    complete: str = "settled"
    settle: float = 2.0
    sentinel: str = ".done"
    watch: str = "auto"

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.complete not in COMPLETE:
            raise UnknownNameError("way to tell a complete file", self.complete, COMPLETE)
        if self.watch not in WAYS:
            raise UnknownNameError("way to watch a folder", self.watch, WAYS)

    def gate(self, folder: Path) -> Gate:
        """Return the gate of a folder."""
        return Gate(
            folder,
            settle=self.settle if self.complete == "settled" else 0.0,
            sentinel=self.sentinel if self.complete == "sentinel" else "",
            watch=watch_of(folder, self.watch),
        )


@dataclass(frozen=True)
class Expectations(_Facts):
    """When a candidate is complete, and what becomes of one that does not get so.

    Attributes
    ----------
    quiet : float
        One of which no header announces how many exposures it has is taken as it is when nothing
        has come for so long [s].
    patience : float
        One that lacks exposures that were announced is late when nothing has come for so long [s].
    whole : float
        One of whose announced exposures each has come from some detector is taken for complete when
        nothing has come for so long [s]: detectors that are not read for all of them are no reason to wait.
    late : str
        What becomes of one that is late: ``partial``: it is taken as it is; ``wait``: it waits on; ``give up``:
        no associations are made of it.
    """

    quiet: float = 60.0
    patience: float = 3600.0
    whole: float = 300.0
    late: str = "partial"

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.late not in LATE:
            raise UnknownNameError("way with late exposures", self.late, LATE)

    @property
    def waits(self) -> float:
        """How long one that lacks exposures is waited for [s]."""
        return math.inf if self.late == "wait" else self.patience
