"""Columns of an observatory's pools: of which keyword of a header each is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightmill.errors import ConfigurationError, UnknownNameError
from lightmill.yaml_files import read_yaml

__all__ = ["Column", "read_columns", "text_of"]

_KEYS = {"keyword", "default", "as", "candidate", "number", "needed", "file"}
_KINDS = ("text", "integer")


@dataclass(frozen=True)
class Column:
    """How the cells of one column come about.

    Parameters
    ----------
    keywords : tuple of str
        The first of them that a header has is taken.
    default : str
        The cell where the header has none.
    kind : str
        ``text``: as it is written; ``integer``: without zeros in front.
    candidate : str
        Type of the candidate whose id the keyword gives; empty for other columns.
    prefix : str
        What stands before the id of a candidate.
    counted : bool
        Whether different texts are numbered, from 1, as they come, in each program.
    needed : bool
        Whether rules need it: then it is reported where it is missing.
    file_name : bool
        Whether the cell is the name of the file.
    """

    keywords: tuple[str, ...] = ()
    default: str = "null"
    kind: str = "text"
    candidate: str = ""
    prefix: str = ""
    counted: bool = False
    needed: bool = False
    file_name: bool = False

    def cell(self, value_of: Callable[[str], Any]) -> str | None:
        """Return the cell of a header, or None if the header does not say.

        Parameters
        ----------
        value_of : callable
            Keyword → value, or None where there is none.
        """
        text = next(
            (text for keyword in self.keywords if (text := text_of(value_of(keyword)))), None
        )
        if text is None:
            return None
        if self.candidate:
            number = text.zfill(3) if text.isdigit() else text
            return str([(f"{self.prefix}{number}".lower(), self.candidate)])
        if self.kind == "integer" and text.lstrip("-").isdigit():
            return str(int(text))
        return text


def text_of(value: Any) -> str | None:
    """Return a header's value as a pool has it: logical ones are ``T`` and ``F``.

    Returns
    -------
    text : str or None
        None for a value that is none: undefined, or blanks.
    """
    if value is None:
        return None
    if isinstance(value, bool):
        return "T" if value else "F"
    return str(value).strip() or None


def read_columns(path: Path) -> dict[str, Column]:
    """Return the columns a file of an observatory defines.

    Parameters
    ----------
    path : Path
        A ``pool.yaml``: ``columns``, and of each nothing, where it is the keyword of its name,
        or a mapping.

    Returns
    -------
    columns : dict
        Name → Column, in the order of the file.

    Raises
    ------
    ConfigurationError
        If the file does not say what it should.
    """
    content = read_yaml(path)
    columns = content.get("columns") if isinstance(content, Mapping) else None
    if not isinstance(columns, Mapping) or not columns:
        raise ConfigurationError("the file defines no columns of pools", place=path)
    return {str(name): _column(str(name), node, path) for name, node in columns.items()}


def _column(name: str, node: Any, path: Path) -> Column:
    place = f"{path}, columns/{name}"
    node = {} if node is None else node
    if not isinstance(node, Mapping):
        raise ConfigurationError(
            "a column is a mapping", place=place, found=node, expected=", ".join(sorted(_KEYS))
        )
    for key in node:
        if key not in _KEYS:
            raise UnknownNameError("key of a column", str(key), _KEYS, place=place)
    keywords = node.get("keyword", name.upper())
    keywords = [keywords] if isinstance(keywords, str) else keywords
    kind = node.get("as", "text")
    if kind not in _KINDS or not all(isinstance(one, str) for one in keywords):
        raise ConfigurationError(
            "the column cannot be understood",
            place=place,
            found=dict(node),
            expected=f"keyword: text or a list of texts; as: one of {', '.join(_KINDS)}",
        )
    candidate = node.get("candidate") or {}
    return Column(
        keywords=tuple(keywords),
        default=str(node.get("default", "null")),
        kind=kind,
        candidate=str(candidate.get("type", "")),
        prefix=str(candidate.get("prefix", "")),
        counted=bool(node.get("number", False)),
        needed=bool(node.get("needed", False)),
        file_name=bool(node.get("file", False)),
    )
