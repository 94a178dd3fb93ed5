"""What goes into the archive store and comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

__all__ = ["Arrival", "Outcome", "Startable", "TaskPlan", "Verdict"]


@dataclass(frozen=True)
class Arrival:
    """A file that is complete, and lies in the archive already.

    Attributes
    ----------
    name : str
        Of the file.
    sha256 : str
    size : int
        [byte]
    generation : str
        Date of the data, sortable as text: the later, the newer.
    path : str
        Below the archive's folder.
    kind : str
        ``exposure``, ``product`` or ``companion``.
    suffix : str
        What kind of product: uncal, rate, i2d.
    program, target : str
    facts : mapping
        Row of the pool.
    candidates : mapping of str to int or None
        Candidates it belongs to → how many exposures they have, if somebody knows.
    announced : mapping of str to int
        What its header announces: groups of exposures it belongs to → how many they have.
    content : str
        Checksum of what it says, without how and when it was written. Empty: of its bytes.
    """

    name: str
    sha256: str
    size: int
    generation: str
    path: str
    kind: str = "exposure"
    suffix: str = ""
    program: str = ""
    target: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    candidates: Mapping[str, int | None] = field(default_factory=dict)
    announced: Mapping[str, int] = field(default_factory=dict)
    content: str = ""


class Verdict(StrEnum):
    """What became of an arrival."""

    NEW = "new"  # the first of its name
    NEWER = "newer"  # current from now on; what used the one before is not up to date
    RENEWED = "renewed"  # newer, and says the same: current, and nothing has to be redone
    DUPLICATE = "duplicate"  # the same bytes were there already
    STALE = "stale"  # older than the current one
    CONFLICT = "conflict"  # says it is the current generation, and is not


@dataclass(frozen=True)
class TaskPlan:
    """A task that ought to be.

    Attributes
    ----------
    identity : str
        The same for every version of it.
    name : str
        Of the association's file, or of the exposure's.
    type : str
        Of the association, or ``exposure``.
    level : int
    pipeline : str
    awaits : mapping of str to str
        File name → role.
    program, candidate, target : str
    document : mapping, optional
        The association.
    presences : frozenset of str
        Of what it awaits: files that have to be there, but that it is not made of.
    description : frozenset of str
        Keys of the document that describe it, and change nothing that is made.
    """

    identity: str
    name: str
    type: str
    level: int
    pipeline: str
    awaits: Mapping[str, str]
    program: str = ""
    candidate: str = ""
    target: str = ""
    document: Mapping[str, Any] | None = None
    presences: frozenset[str] = frozenset()
    description: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Startable:
    """A job that may start now.

    Attributes
    ----------
    job_id, task_id, number : int
    type, pipeline, name : str
        Of the task.
    document : dict or None
        The association.
    inputs : dict
        File name → path below the archive's folder.
    size : int
        Of all inputs [byte].
    memory_factor : float
    priority : int
    """

    job_id: int
    task_id: int
    number: int
    type: str
    pipeline: str
    name: str
    document: dict[str, Any] | None
    inputs: dict[str, str]
    size: int
    memory_factor: float
    priority: int


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes
    ----------
    is_good : bool
    reason : str
        Why it is not.
    is_transient : bool
        The same again may go well.
    is_out_of_memory : bool
    is_no_fault : bool
        Not of the job: the disk was full.
    is_lost : bool
        Nobody saw it end.
    blamed : str
        Place that the job named when it found its data bad.
    exit_status : int or None
    peak_mb, cpu_s : float or None
    products : tuple of Arrival
        In the archive already.
    made_with : mapping, optional
        Software and its version, versions of steps, context and names of references.
    """

    is_good: bool
    reason: str = ""
    is_transient: bool = False
    is_out_of_memory: bool = False
    is_no_fault: bool = False
    is_lost: bool = False
    blamed: str = ""
    exit_status: int | None = None
    peak_mb: float | None = None
    cpu_s: float | None = None
    products: tuple[Arrival, ...] = ()
    made_with: Mapping[str, Any] | None = None
