"""Places where an observatory's own rules enter: a few types need more than a table.

An observatory registers them under the names its rules files use; without them
the tables alone decide.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["Hooks", "hooks_of", "register_hooks"]

Header = dict[str, str]


@dataclass(frozen=True)
class Hooks:
    """What an observatory adds to the rules of a type.

    Parameters
    ----------
    precondition : callable or None
        (rules, header) → the header to choose by.
    fallback : callable or None
        (rules, header) → another header to choose by, an answer, or None; asked when nothing fits.
    did_not_run : callable or None
        (rules, header) → whether the exposure says the step was not done, so needs no reference.
    """

    precondition: Callable[[Any, Header], Header] | None = None
    fallback: Callable[[Any, Header], Any] | None = None
    did_not_run: Callable[[Any, Header], bool] | None = None

    def __bool__(self) -> bool:
        return bool(self.precondition or self.fallback or self.did_not_run)


_registered: dict[str, Callable[[str, str, dict[str, Any]], Hooks]] = {}


def register_hooks(observatory: str, hooks: Callable[[str, str, dict[str, Any]], Hooks]) -> None:
    """Let an observatory add to its rules.

    Parameters
    ----------
    observatory : str
        As its rules name it, lower case.
    hooks : callable
        (instrument, type, header of the rules) → Hooks.
    """
    _registered[observatory.lower()] = hooks


def hooks_of(observatory: str, instrument: str, filekind: str, header: dict[str, Any]) -> Hooks:
    """Return what an observatory adds to the rules of a type."""
    found = _registered.get(observatory)
    return found(instrument, filekind, header) if found else replace(Hooks())
