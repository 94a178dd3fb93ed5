"""Places where an observatory's own rules enter: a few types need more than a table.

An observatory declares them in the module ``reference_hooks`` of its folder, or registers
them; without them the tables alone decide.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Hooks", "hooks_of", "register_hooks"]

Header = dict[str, str]
_FOLDERS = "lightmill.observatories"


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
        (rules, header) → whether the exposure says the step was not done, so needs no reference. It
        does not look at dates.
    fields : tuple of str
        The header fields these look at, beside those of the rules' own tables.
    epochs : tuple of str or None
        Dates, ``YYYY-MM-DD HH:MM:SS``: `precondition` looks at the date of the exposure only to see
        between which of them it is. None: it does more with it.
    """

    precondition: Callable[[Any, Header], Header] | None = None
    fallback: Callable[[Any, Header], Any] | None = None
    did_not_run: Callable[[Any, Header], bool] | None = None
    fields: tuple[str, ...] = ()
    epochs: tuple[str, ...] | None = None

    def __bool__(self) -> bool:
        return bool(self.precondition or self.fallback or self.did_not_run)


Declared = Callable[[str, str, dict[str, Any]], Hooks]
_registered: dict[str, Declared | None] = {}


def register_hooks(observatory: str, hooks: Declared) -> None:
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
    if observatory not in _registered:
        _registered[observatory] = _declared(observatory)
    found = _registered[observatory]
    return _NONE if found is None else found(instrument, filekind, header)


_NONE = Hooks()


def _declared(observatory: str) -> Declared | None:
    """Return ``hooks`` of the module ``reference_hooks`` in an observatory's folder, if it has one."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", observatory):
        return None
    name = f"{_FOLDERS}.{observatory}.reference_hooks"
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if name.startswith(str(error.name)):
            return None
        raise
    declared: Declared = module.hooks
    return declared
