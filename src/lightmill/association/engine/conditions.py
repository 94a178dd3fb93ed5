"""Conditions on one row, and the role a row plays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lightmill.errors import ConfigurationError, UnknownNameError

__all__ = ["Condition", "columns_of", "compile_condition", "observatory_role"]

Row = Mapping[str, "str | None"]  # column → value; None where it is not set
Condition = Callable[[Row], bool]


def compile_condition(written: Any, named: Mapping[str, Any]) -> Condition:
    """Return what a condition says, as a function of a row.

    Parameters
    ----------
    written : str or mapping
        The name of a condition; ``{column: value or values, …}``, all of which must be so;
        ``{all|any|none: [conditions]}``; ``{set|unset: [columns]}``.
    named : mapping
        Conditions by name.
    """
    if isinstance(written, str):
        if written not in named:
            raise UnknownNameError("condition", written, named)
        return compile_condition(named[written], named)
    if not isinstance(written, Mapping):
        raise ConfigurationError("a condition is a name or a mapping", found=written)
    claims = [_claim(word, value, named) for word, value in written.items()]
    if not claims:
        return lambda _row: True
    if len(claims) == 1:
        return claims[0]
    return lambda row: all(claim(row) for claim in claims)


def _claim(word: str, value: Any, named: Mapping[str, Any]) -> Condition:
    if word in ("all", "any", "none"):
        parts = [compile_condition(part, named) for part in value]
        if word == "all":
            return lambda row: all(part(row) for part in parts)
        if word == "any":
            return lambda row: any(part(row) for part in parts)
        return lambda row: not any(part(row) for part in parts)
    if word in ("set", "unset"):
        columns = tuple(value) if isinstance(value, list) else (value,)
        if word == "set":
            return lambda row: all(row.get(column) is not None for column in columns)
        return lambda row: all(row.get(column) is None for column in columns)
    accepted = frozenset(map(str, value)) if isinstance(value, list) else frozenset((str(value),))
    return lambda row: row.get(word) in accepted


def columns_of(written: Any, named: Mapping[str, Any]) -> set[str]:
    """Return the columns a condition looks at."""
    if isinstance(written, str):
        return columns_of(named[written], named)
    found: set[str] = set()
    for word, value in written.items():
        if word in ("all", "any", "none"):
            for part in value:
                found |= columns_of(part, named)
        elif word in ("set", "unset"):
            found |= set(value) if isinstance(value, list) else {value}
        else:
            found.add(word)
    return found


def observatory_role(written: Mapping[str, Any]) -> Callable[[Row], str | None]:
    """Return the function that says what role a row plays, before any rule has its say."""
    pointing, science = written.get("pointing"), written.get("science", "science")
    column = written.get("column")
    table = {kind: role for role, kinds in written.get("table", {}).items() for kind in kinds}
    flags = tuple(written.get("flags", {}).items())

    def role(row: Row) -> str | None:
        if pointing is not None:
            kind = row.get(pointing)
            if kind is not None and kind != science:
                return kind
        found: str = science
        if column is not None:
            mode = row.get(column)
            if mode is None:
                return None
            found = table.get(mode, science)
        if found == science:
            for flag, other in flags:
                if row.get(flag) is not None:
                    return str(other)
        return found

    return role
