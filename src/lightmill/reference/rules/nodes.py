"""What the text of a mapping holds: header, selectors, rows with their lines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = ["SELECTORS", "Duplicate", "MappingText", "Node"]

SELECTORS = (
    "Match", "UseAfter", "VersionAfter", "SelectVersion", "ClosestTime",
    "GeometricallyNearest", "Bracket",
)  # fmt: skip


class Duplicate(NamedTuple):
    """A key that stands twice in one table: the last one counts.

    Parameters
    ----------
    key : object
        The key.
    line, first_line : int
        Where it stands again, and where it stood first.
    """

    key: Any
    line: int
    first_line: int


@dataclass
class Node:
    """A selector: its kind, and its rows as they stand in the text.

    Parameters
    ----------
    kind : str
        ``Match``, ``UseAfter``, …
    items : list of (key, value, line)
        A value is a Node, a str, a tuple or list of them, or a dict.
    line : int
        Where the selector begins; 0 if it comes from no text.
    """

    kind: str
    items: list[tuple[Any, Any, int]] = field(default_factory=list)
    line: int = field(default=0, compare=False)


@dataclass
class MappingText:
    """What the text of a mapping says.

    Parameters
    ----------
    name : str
        Name of the file.
    header : dict
        The header, values as written.
    selector : Node or dict
        The selector of an rmap; or the table of an imap or a pmap.
    comment : str or None
        The comment.
    duplicates : tuple of Duplicate
        Keys that stand twice.
    """

    name: str
    header: dict[str, Any]
    selector: Node | dict[str, Any]
    comment: str | None = None
    duplicates: tuple[Duplicate, ...] = ()
