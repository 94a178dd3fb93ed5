"""What a state holds as plain values that JSON has words for, and back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from operator import attrgetter
from typing import Any, NamedTuple

from lightmill.observatories.hst.wfpc2 import state as held
from lightmill.observatories.hst.wfpc2.associations import Association, Member
from lightmill.observatories.hst.wfpc2.exposures import Exposure
from lightmill.observatories.hst.wfpc2.flags import Flags
from lightmill.observatories.hst.wfpc2.jitter import Pointing
from lightmill.observatories.hst.wfpc2.state import Generation, Received

__all__ = ["KINDS", "Kind", "tagged", "untagged"]


class Kind(NamedTuple):
    """How the entries of a mapping are written and read.

    Parameters
    ----------
    write, read : callable
        Value → plain values, and back.
    key : callable
        Key as JSON has it → as it was.
    """

    write: Callable[[Any], Any]
    read: Callable[[Any], Any]
    key: Callable[[Any], Any]


def _names(kind: type) -> tuple[str, ...]:
    return tuple(one.name for one in fields(kind))


def _as_it_is(value: Any) -> Any:
    return value


_exposure = attrgetter(*_names(Exposure))
_pointing = attrgetter(*_names(Pointing))
_member = attrgetter(*_names(Member))
_association = attrgetter(*_names(Association))
_CAUSES = _names(Pointing).index("causes")
_SHIFTS = _names(Member).index("shifts")
_MEMBERS = _names(Association).index("members")
_intern = sys.intern


def _shared(values: list[Any]) -> list[Any]:
    """Return values with one copy of each text: most are the same many times over."""
    return [_intern(one) if type(one) is str else one for one in values]


def _read_exposure(values: list[Any]) -> Exposure:
    return Exposure(*_shared(values))


def _read_pointing(values: list[Any]) -> Pointing:
    values[_CAUSES] = tuple(values[_CAUSES])
    return Pointing(*_shared(values))


def _write_received(one: Received) -> list[Any]:
    every = [
        [generation, its.content, its.files, its.flag]
        for generation, its in one.generations.items()
    ]
    return [one.dataset, every, one.current]


def _read_received(values: list[Any]) -> Received:
    dataset, every, current = values
    generations = {
        _intern(generation): Generation(content, tuple(files), _intern(flag))
        for generation, content, files, flag in every
    }
    return Received(_intern(dataset), generations, _intern(current))


def _write_association(one: Association) -> list[Any]:
    values = list(_association(one))
    values[_MEMBERS] = [_member(member) for member in one.members]
    return values


def _read_association(values: list[Any]) -> Association:
    members = []
    for member in values[_MEMBERS]:
        member[_SHIFTS] = tuple([(x, y) for x, y in member[_SHIFTS]])
        members.append(Member(*_shared(member)))
    values[_MEMBERS] = tuple(members)
    return Association(*_shared(values))


_ALIKE = Kind(_as_it_is, _as_it_is, _intern)
_BY_PROPOSAL = Kind(_as_it_is, _as_it_is, int)
_OF_ASSOCIATION = Kind(_write_association, _read_association, _intern)
# Attributes of a state that are divided into parts; all others are short.
KINDS: dict[str, Kind] = {
    "exposures": Kind(_exposure, _read_exposure, _intern),
    "received": Kind(_write_received, _read_received, lambda key: (_intern(key[0]), _intern(key[1]))),
    "flags": Kind(list, lambda value: Flags(*_shared(value)), _intern),
    "pointings": Kind(_pointing, _read_pointing, _intern),
    "associations": _OF_ASSOCIATION,
    "previous": _OF_ASSOCIATION,
    "versions": _ALIKE,
    "member_of": Kind(_as_it_is, _intern, _intern),
    "blanked": _ALIKE,
    "previewed": _ALIKE,
    "proposals": Kind(list, lambda value: dict.fromkeys(map(_intern, value)), int),
    "of_proposal": Kind(list, lambda value: tuple(map(_intern, value)), int),
    "built": _BY_PROPOSAL,
    "changes": _BY_PROPOSAL,
    "touched": Kind(dict, dict, int),
}  # fmt: skip

_TAGGED = {  # what else a state may hold: by the name of its class
    name: one
    for name, one in vars(held).items()
    if isinstance(one, type) and (is_dataclass(one) or hasattr(one, "_fields"))
}


def tagged(value: Any) -> Any:
    """Return any value of a state as plain values that say what they were.

    Parameters
    ----------
    value : object
        Texts, numbers, lists, tuples, dicts, sets, and records that a state holds.

    Returns
    -------
    plain : object
        For JSON; entries of dicts in their order, sets sorted.

    Raises
    ------
    TypeError
        If there is something else in it.
    """
    kind = type(value)
    if value is None or kind in {str, int, float, bool}:
        return value
    if kind is list or kind is tuple:
        return [kind.__name__, *map(tagged, value)]
    if kind is set:
        return ["set", *map(tagged, sorted(value))]
    if kind is dict:
        return ["dict", [*map(tagged, value)], [*map(tagged, value.values())]]
    if _TAGGED.get(kind.__name__) is kind:
        names = _names(kind) if is_dataclass(kind) else kind._fields
        return [kind.__name__, *(tagged(getattr(value, name)) for name in names)]
    raise TypeError(f"a state cannot keep {value!r}")


def untagged(plain: Any) -> Any:
    """Return the value that `tagged` made plain.

    Parameters
    ----------
    plain : object
        Of JSON.

    Returns
    -------
    value : object
        Equal to what it was made of.

    Raises
    ------
    KeyError, TypeError, ValueError
        If it is no such value.
    """
    if not isinstance(plain, list):
        return _intern(plain) if type(plain) is str else plain
    name, *values = plain
    match name:
        case "list":
            return [*map(untagged, values)]
        case "tuple":
            return tuple(map(untagged, values))
        case "set":
            return set(map(untagged, values))
        case "dict":
            keys, entries = values
            return dict(zip(map(untagged, keys), map(untagged, entries), strict=True))
    return _TAGGED[name](*map(untagged, values))
