"""The states things are in while an observatory runs, and what each promises.

The paragraphs are the documentation: commands, dashboard and manual print them.
"""

# ruff: noqa: ISC004 - a member is its value and a paragraph
from __future__ import annotations

from enum import StrEnum
from typing import Self

__all__ = ["CandidateState", "DatasetState", "Described", "JobState", "TaskState"]


class Described(StrEnum):
    """A state with a paragraph that says what holds while something is in it."""

    guarantee: str

    def __new__(cls, value: str, guarantee: str = "") -> Self:
        """Make the member of a value."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.guarantee = guarantee
        return member


class DatasetState(Described):
    """What a generation of a file is."""

    CURRENT = (
        "CURRENT",
        "The newest generation that is known and good. There is at most one of each name; "
        "its file is in the archive, complete, with the checksum that is recorded.",
    )
    SUPERSEDED = (
        "SUPERSEDED",
        "A newer generation is current, or this one arrived late. Its file is kept; nothing new "
        "is made of it.",
    )
    CONFLICT = (
        "CONFLICT",
        "It claims to be the generation that is current already, and holds other bytes. Its file "
        "is kept aside, nothing is made of it, and an operator has to decide.",
    )
    QUARANTINED = (
        "QUARANTINED",
        "Its content cannot be used, for a reason that is recorded. It takes part in nothing.",
    )
    RETIRED = (
        "RETIRED",
        "What made it is no longer asked for: the association it belongs to is gone, or has other "
        "products. Its file is kept as it was; nothing is made of it.",
    )


class TaskState(Described):
    """How far an association, or the first stage of an exposure, has come."""

    WAITING = (
        "WAITING",
        "Not everything on its watch list is there. It says what is missing, and since when it "
        "waits. It never runs before the last one has arrived.",
    )
    READY = (
        "READY",
        "Everything is there, and one job is queued for it; it runs as soon as the engine has "
        "room, or when the pause after a failure is over.",
    )
    RUNNING = ("RUNNING", "Exactly one job works on it.")
    DONE = (
        "DONE",
        "Its products are in the archive, made of the generations of its inputs that are recorded "
        "with the job.",
    )
    STALE = (
        "STALE",
        "An input has changed since its products were made, or since they were asked for; the "
        "reason is recorded. It is done when an operator approves it, or at once where the policy "
        "says so.",
    )
    HELD = (
        "HELD",
        "An operator stopped it. What arrives is noted, nothing runs before it is released.",
    )
    FAILED = (
        "FAILED",
        "It was tried as often as the policy allows, or its data are bad. The story of each "
        "attempt is kept. It is tried again when an operator says so, or an input changes.",
    )
    CANCELLED = (
        "CANCELLED",
        "An operator gave it up. What it made before is kept; it is done when somebody asks for it.",
    )
    SUPERSEDED = (
        "SUPERSEDED",
        "A newer version of the association, or none, took its place. Nothing runs for it again.",
    )


class JobState(Described):
    """What has become of one attempt."""

    QUEUED = ("QUEUED", "Waits for room on the engine, or for the end of a pause.")
    RUNNING = ("RUNNING", "A process of the engine works in the job's own folder.")
    DONE = ("DONE", "It ended well, and its products are datasets.")
    FAILED = ("FAILED", "It ended badly. Exit status, log and command are kept.")
    LOST = ("LOST", "Its process vanished without a result: killed, or its machine was.")
    CANCELLED = ("CANCELLED", "It was stopped because an operator or a change of the data said so.")


class CandidateState(Described):
    """Whether all exposures are there that the proposal puts together."""

    FORMING = (
        "FORMING",
        "Exposures are still expected. No association has been made of those that are there.",
    )
    COMPLETE = (
        "COMPLETE",
        "Associations were made of all its exposures. A late one makes it form again.",
    )
    GIVEN_UP = (
        "GIVEN_UP",
        "Exposures that were announced never came, and no associations are made of the others. A "
        "late one makes it form again.",
    )
    PARTIAL = (
        "PARTIAL",
        "Associations were made without the exposures that never came; it says how many.",
    )
