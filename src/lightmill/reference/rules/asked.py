"""What rules ask of a header: some of its fields, each in the spelling they compare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lightmill.reference.rules.aliases import other_names
from lightmill.reference.rules.values import UNDEFINED, condition, remembered

__all__ = ["Header", "by_other_name", "conditioned"]

Header = Mapping[str, Any]
_MISSING = object()


def conditioned(
    header: Header, keys: Iterable[tuple[str, str]], observatory: str
) -> dict[str, str]:  # fmt: skip
    """Return the fields asked for, each in the spelling rules compare.

    Parameters
    ----------
    header : mapping
        Name of field → value.
    keys : iterable of (str, str)
        Names in upper and lower case; the lower-case one counts if the header has both.
    observatory : str
        Whose header: some have two names for one field.
    """
    found = {}
    get, known = header.get, remembered
    for key, lower in keys:
        value = get(lower, _MISSING)
        if value is _MISSING:
            value = get(key, _MISSING)
            if value is _MISSING:
                value = by_other_name(header, key, observatory)
        spelled = known(value) if value.__class__ is str else None
        found[key] = condition(value) if spelled is None else spelled
    return found


def by_other_name(header: Header, key: str, observatory: str) -> Any:
    """Return what a header says of a field under another of its names; ``UNDEFINED`` if nothing."""
    for name in other_names(key, observatory):
        for spelled in (name.lower(), name):
            if spelled in header:
                return header[spelled]
    return UNDEFINED
