"""What is written in the log, and never changed: the state is what these add up to."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from lightmill.errors import ValidationError
from lightmill.observatories.hst.wfpc2.associations import Association, Member
from lightmill.observatories.hst.wfpc2.exposures import Exposure
from lightmill.observatories.hst.wfpc2.jitter import Pointing
from lightmill.observatories.hst.wfpc2.rules import Rules

__all__ = [
    "Adopted", "Arrived", "BuildFailed", "Built", "Changed", "Closed", "Dated", "Delivered", "Described", "Event",
    "Extracted", "PreviewFailed", "Previewed", "Queued", "Refused", "Released", "Requested", "Unreadable", "event_of",
    "record_of",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Described:
    """The archive's database tells of an exposure."""

    exposure: Exposure


@dataclass(frozen=True, slots=True)
class Arrived:
    """A generation of a dataset was delivered.

    Parameters
    ----------
    dataset : str
        Nine characters.
    archive_class : str
        CAL, calibrated data, or OMS, a pair of jitter files.
    gen_date_str : str
        Generation: YYYYMMDDHHMM.
    content : str
        Digest of the bytes; empty where they were not looked at.
    files : tuple of str
        Where they are, relative to the archive's folder.
    """

    dataset: str
    archive_class: str
    gen_date_str: str
    content: str = ""
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Changed:
    """A value in the archive's database was corrected."""

    dataset: str
    column: str
    value: str


@dataclass(frozen=True, slots=True)
class Delivered:
    """All that a delivery brought is in the log: it is not taken in again."""

    delivery: int


@dataclass(frozen=True, slots=True)
class Adopted:
    """Other tolerances hold from now on."""

    rules: Rules


@dataclass(frozen=True, slots=True)
class Refused:
    """Something that came makes no sense, and was left aside: for a person."""

    story: str


@dataclass(frozen=True, slots=True)
class Extracted:
    """The pointing was measured in a pair of jitter files (JEP)."""

    pointing: Pointing


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A pair of jitter files could not be fetched, or not be read.

    Parameters
    ----------
    dataset, gen_date_str : str
        Which generation of which jitter dataset.
    content : str
        Digest of the bytes that could not be read; empty where they could not be had.
    story : str
        Where, what was found, what to do.
    at : float
        When it was tried [s since 1970]; 0 where nobody said. It is tried again some time after.
    """

    dataset: str
    gen_date_str: str
    content: str
    story: str
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Released:
    """A person has a pair tried again that failed so often that it was left alone."""

    dataset: str
    gen_date_str: str


@dataclass(frozen=True, slots=True)
class Requested:
    """Jitter files were asked for, since their exposures are owed a pointing.

    Parameters
    ----------
    request : int
        Its number, counted from 1.
    pairs : tuple of (str, str)
        Jitter dataset and generation of each pair.
    """

    request: int
    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Closed:
    """All that follows from a request is done: pairs fetched or failed, associations, products."""

    request: int


@dataclass(frozen=True, slots=True)
class Dated:
    """The day it is, YYYY-MM-DD: written where a grace time ends with it."""

    day: str


@dataclass(frozen=True, slots=True)
class Queued:
    """An exposure archived again, its jitter files not, was put on the list to build (SQL)."""

    dataset: str


@dataclass(frozen=True, slots=True)
class Built:
    """All associations of a proposal were built, and replace those there were (AB).

    Parameters
    ----------
    pep_id : int
        Proposal.
    read : tuple of (str, str)
        Exposures, and the generation of each that was read.
    upto : int
        How many changes of the proposal's inputs the builder had seen.
    inputs : str
        Digest of all it read.
    associations : tuple of Association
        In order of their identities.
    """

    pep_id: int
    read: tuple[tuple[str, str], ...]
    upto: int
    inputs: str
    associations: tuple[Association, ...]


@dataclass(frozen=True, slots=True)
class BuildFailed:
    """The associations of a proposal could not be built; those there were stay."""

    pep_id: int
    story: str


@dataclass(frozen=True, slots=True)
class Previewed:
    """The preview of an association was made.

    Parameters
    ----------
    policy : str
        By which it was owed.
    assoc_id : str
        Association.
    mark : str
        What the policy compares: a date, a digest, a number.
    """

    policy: str
    assoc_id: str
    mark: str


@dataclass(frozen=True, slots=True)
class PreviewFailed:
    """The preview of an association could not be made."""

    policy: str
    assoc_id: str
    story: str


Event = (
    Described | Arrived | Changed | Delivered | Refused | Adopted | Extracted | Unreadable | Queued | Built | BuildFailed
    | Previewed | PreviewFailed | Released | Requested | Closed | Dated
)  # fmt: skip
_KINDS: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        Described, Arrived, Changed, Delivered, Refused, Adopted, Extracted, Unreadable, Queued, Built, BuildFailed, Previewed,
        PreviewFailed, Released, Requested, Closed, Dated,
    )
}  # fmt: skip


def record_of(event: Event) -> dict[str, Any]:
    """Return an event as a record of plain values, for JSON.

    Parameters
    ----------
    event : Event
        Any.

    Returns
    -------
    record : dict
        With ``event``, the name of its kind.
    """
    record = {"event": type(event).__name__, **asdict(event)}
    if isinstance(
        event, Described
    ):  # a pointing that is missing is NaN, which JSON has no word for
        exposure = record["exposure"]
        record["exposure"] = {k: None if v != v else v for k, v in exposure.items()}  # noqa: PLR0124 - NaN only
    return record


def event_of(record: Mapping[str, Any]) -> Event:
    """Return the event of a record.

    Parameters
    ----------
    record : mapping
        As `record_of` gives it, through JSON or not.

    Returns
    -------
    event : Event
        Equal to the one recorded.

    Raises
    ------
    ValidationError
        If there is no such kind of event, or its values do not fit it.
    """
    values = dict(record)
    kind = _KINDS.get(str(values.pop("event", None)))
    if kind is None:
        raise ValidationError(
            "no such kind of event", found=record.get("event"), expected=", ".join(_KINDS)
        )
    try:
        for name in values.keys() & _READERS.keys():
            values[name] = _READERS[name](values[name])
        return kind(**values)
    except (TypeError, KeyError) as error:
        raise ValidationError(
            f"the record is no {kind.__name__}",
            found=error,
            expected=", ".join(one.name for one in fields(kind)),
        ) from error


def _pointing(record: Any) -> Any:
    if not isinstance(record, Mapping):
        return record
    return Pointing(**{**_shared(record), "causes": tuple(record["causes"])})


def _association(record: Mapping[str, Any]) -> Association:
    members = tuple(
        Member(**{**_shared(one), "shifts": tuple([(x, y) for x, y in one["shifts"]])})
        for one in record["members"]
    )
    return Association(**{**_shared(record), "members": members})


def _shared(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with one copy of texts that are the same: most are, many times over."""
    return {
        name: sys.intern(value) if type(value) is str else value for name, value in record.items()
    }


_READERS: dict[str, Callable[[Any], Any]] = {  # fields that JSON has other words for
    "rules": lambda value: Rules(**value),
    "exposure": Exposure.from_row,
    "pointing": _pointing,
    "associations": lambda value: tuple(map(_association, value)),
    "read": lambda value: tuple((dataset, generation) for dataset, generation in value),
    "pairs": lambda value: tuple((dataset, generation) for dataset, generation in value),
    "files": tuple,
}
