"""Lists in parts: which rows are wanted, and what comes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["MOST", "PAGE", "Filter", "Page"]

PAGE = 50  # rows of a list
MOST = 500  # rows anybody may ask for at once


@dataclass(frozen=True)
class Filter:
    """Which rows of a list are wanted.

    Attributes
    ----------
    program, kind, state : str
        Exactly this; empty: any. The kind of a task is its type.
    target, name : str
        Contains this, in capital or small letters.
    since, until : float or None
        Seconds since 1970: when it arrived, came into its state, or was queued.
    before, after : int or None
        Number of a row: the page holds the next older, or the next newer ones.
    limit : int
        Rows of a page.
    """

    program: str = ""
    target: str = ""
    name: str = ""
    state: str = ""
    kind: str = ""
    since: float | None = None
    until: float | None = None
    before: int | None = None
    after: int | None = None
    limit: int = PAGE


@dataclass(frozen=True)
class Page:
    """A page of a list, the newest rows first.

    Attributes
    ----------
    rows : list of dict
    older, newer : int or None
        What `Filter.before`, `Filter.after` is on the page beside this one, if there is one.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    older: int | None = None
    newer: int | None = None
