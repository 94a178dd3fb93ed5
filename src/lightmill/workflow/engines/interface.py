"""What the service asks of an engine, and what it is told.

A job is a folder. ``job.json`` in it says what to run, `lightmill.workflow.worker` runs it there and
writes ``result.json`` last. An engine only sees to it that a worker is started on the folder, and
notices when one ends or vanishes: what became of the job is in the folder, whoever asks.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from lightmill.errors import LightmillError
from lightmill.workflow.worker import CANCELLED, CLAIM_FILE, JOB_FILE, RESULT_FILE

__all__ = [
    "Ended",
    "Engine",
    "NoRoomError",
    "Output",
    "Room",
    "Work",
    "cancelled",
    "claimed_by",
    "is_prepared",
    "lost",
    "result_of",
]


class NoRoomError(LightmillError):
    """Work was submitted that the engine has no room for now."""

    code = "no-room"
    exit_status = 5


@dataclass(frozen=True)
class Work:
    """A job that is ready to run.

    Attributes
    ----------
    job_id : int
    folder : Path
        The job's own, with ``job.json`` in it.
    memory_mb : float
        That it needs.
    cores : int
    priority : int
        The higher, the sooner, where the engine has a queue.
    """

    job_id: int
    folder: Path
    memory_mb: float
    cores: int = 1
    priority: int = 0


@dataclass(frozen=True)
class Output:
    """A file that a job made.

    Attributes
    ----------
    name : str
        Of the file.
    path : str
        In the job's folder, with ``/``; it begins with ``out/`` and is no link.
    sha256 : str
    size : int
        [byte]
    """

    name: str
    path: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Ended:
    """How a job ended.

    Attributes
    ----------
    job_id : int
    exit_status : int or None
        Of the command, minus the signal if one killed it; None if it vanished or never began.
    reason : str
        Why it did not end well; empty if it did. ``cancelled`` if it was told to stop.
    is_lost : bool
        Its worker vanished: killed, or the machine was.
    is_out_of_memory : bool
        More memory may help.
    peak_mb : float or None
        Most memory that the command and its children had at one time [1e6 byte].
    cpu_s : float or None
        Of the command and its children [s].
    outputs : tuple of Output
        Empty unless it ended well.
    """

    job_id: int
    exit_status: int | None
    reason: str = ""
    is_lost: bool = False
    is_out_of_memory: bool = False
    peak_mb: float | None = None
    cpu_s: float | None = None
    outputs: tuple[Output, ...] = ()


@dataclass(frozen=True)
class Room:
    """How much more could be submitted now.

    Attributes
    ----------
    cores : int
    memory_mb : float
        For a single job [1e6 byte].
    largest_mb : float
        What no job may exceed even if nothing else runs: one that needs more never gets room.
    """

    cores: int
    memory_mb: float
    largest_mb: float = math.inf


class Engine(Protocol):
    """Runs jobs. No method waits for one."""

    name: str

    def room(self) -> Room:
        """Return how much more could be submitted now."""

    def submit(self, work: Work) -> str:
        """Start a job; return a handle, good also after a restart of the service.

        Raises
        ------
        NoRoomError
            If there is no room for it.
        """

    def adopt(self, work: Work, handle: str) -> bool:
        """Look after a job that was submitted before a restart.

        Parameters
        ----------
        work : Work
        handle : str
            Empty if the service was killed before it could keep one.

        Returns
        -------
        is_known : bool
            It runs, or has a result: `ended` will report it. False: nobody works on it.
        """

    def ended(self) -> list[Ended]:
        """Return the jobs that ended since the last call, each once."""

    def cancel(self, handle: str) -> None:
        """Tell a job to stop, if it has not ended; `ended` will report it."""

    def close(self, *, kill: bool = False) -> None:
        """Let go of everything; work runs on, unless it is to be killed."""


def result_of(work: Work) -> Ended | None:
    """Return how a job ended by the result in its folder, None if there is none.

    A result that cannot be read, or names files outside ``out/``, counts as a lost job.
    """
    path = work.folder / RESULT_FILE
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return _read(work.job_id, told)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        return lost(work, f"its result cannot be read: {type(error).__name__}: {error}")


def lost(work: Work, reason: str) -> Ended:
    """Return the end of a job that nobody saw."""
    return Ended(work.job_id, None, reason, is_lost=True)


def cancelled(work: Work) -> Ended:
    """Return the end of a job that was stopped before it began."""
    return Ended(work.job_id, None, CANCELLED)


def is_prepared(work: Work) -> bool:
    """Say whether the folder is that of a job."""
    return (work.folder / JOB_FILE).is_file()


def claimed_by(work: Work) -> str:
    """Return the handle of the worker that has taken the folder; empty if none has."""
    try:
        return str(json.loads((work.folder / CLAIM_FILE).read_text(encoding="utf-8"))["handle"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _read(job_id: int, told: dict[str, Any]) -> Ended:
    outputs = tuple(
        Output(_text(one["name"]), _inside(one["path"]), _text(one["sha256"]), int(one["size"]))
        for one in told["outputs"]
    )
    status = told["exit_status"]
    return Ended(
        job_id,
        None if status is None else int(status),
        _text(told["reason"]),
        is_lost=bool(told["is_lost"]),
        is_out_of_memory=bool(told["is_out_of_memory"]),
        peak_mb=_number(told["peak_mb"]),
        cpu_s=_number(told["cpu_s"]),
        outputs=outputs,
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _inside(value: Any) -> str:
    parts = PurePosixPath(_text(value)).parts
    if len(parts) < 2 or parts[0] != "out" or ".." in parts:
        raise ValueError(f"{value!r} is not in out/")
    return str(value)
