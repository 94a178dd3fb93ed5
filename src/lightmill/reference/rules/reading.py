"""From the text of rules to selectors, and a short cut for rules written as most are.

Released rules are written by programs, one row a line. Such text is recognised
by one regular expression for a whole row with all its dates, which are taken
apart when they are first needed. Any other text goes to the parser, which also
tells what is wrong where: the short cut only ever says that it does not apply.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from lightmill.reference.errors import RulesFormatError
from lightmill.reference.rules.matching import Match, MatchOptions
from lightmill.reference.rules.nodes import MappingText, Node
from lightmill.reference.rules.selectors import (
    Bracket,
    Choice,
    ClosestTime,
    GeometricallyNearest,
    Selector,
    SelectVersion,
    UseAfter,
    VersionAfter,
)
from lightmill.reference.rules.text import parse_mapping, parse_value

__all__ = ["compile_selector", "read"]

_KINDS: dict[str, type[Selector]] = {
    one.kind: one
    for one in (
        UseAfter, VersionAfter, SelectVersion, ClosestTime, GeometricallyNearest, Bracket,
    )
}  # fmt: skip
_TEXT = r"'[^'\\\n\r]*+'"
_NUMBER = r"(?:-?[1-9][0-9]{0,14}|0)(?:\.[0-9]{1,15})?"
_KEY = rf"\((?:(?:{_TEXT}|{_NUMBER})(?:, |,(?=\))|(?=\))))*+\)"
_ROW = re.compile(
    rf"    ({_KEY}|{_TEXT}) : "
    rf"(?:UseAfter\(\{{\n((?:        {_TEXT} : {_TEXT},\n)*+)    \}}\),\n|({_TEXT}),\n)"
)
_ATOM = re.compile(r"'([^']*)'|(-?[0-9]+(?:\.[0-9]+)?)")
_DATES = re.compile(r"        '([^']*)' : '([^']*)',\n")
_ENTRY = re.compile(
    r"    '([^'\\\n\r]*+)' : "
    r"(?:'([^'\\\n\r]*+)'|(\([^\n\r]*\)|\{\n(?:        [^\n\r]*\n)*+    \})),\n"
)
_REMEMBERED = 10_000  # values of headers
_values: dict[str, Any] = {}
_HEADER = "header = {\n"
_SELECTOR = "\n}\n\nselector = Match({\n"


def read(text: str, place: str) -> tuple[dict[str, Any], list[Any] | MappingText]:
    """Return the header of rules, and the rows if they are written as usual, else the parse.

    Parameters
    ----------
    text : str
        The whole file.
    place : str
        The file, for errors.

    Raises
    ------
    RulesFormatError
        If it is no mapping.
    """
    if text.startswith(_HEADER):
        split = text.find(_SELECTOR)
        if split > 0:
            rows = _usual_rows(text, split + len(_SELECTOR))
            header = _usual_header(text, split, place) if rows is not None else None
            if rows is not None and header is not None:
                return header, rows
    parsed = parse_mapping(text, place)
    return parsed.header, parsed


def _usual_header(text: str, split: int, place: str) -> dict[str, Any] | None:
    """Return the header, None if it is not written as usual."""
    header: dict[str, Any] = {}
    at, end = len(_HEADER), split + 1
    while at < end:
        found = _ENTRY.match(text, at, end)
        if found is None:
            return None
        key, plain, value = found.groups()
        if value is not None:
            try:
                header[key] = _value(value, place)
            except RulesFormatError:  # the parser of the whole tells it better
                return None
        else:
            header[key] = plain
        at = found.end()
    return header


def _value(text: str, place: str) -> Any:
    found = _values.get(text)
    if found is None:
        found = parse_value(text, place)
        if "{" not in text and "[" not in text:  # others could be changed by who gets them
            if len(_values) >= _REMEMBERED:
                _values.clear()
            _values[text] = found
    return found


def _usual_rows(text: str, at: int) -> list[Any] | None:
    """Return the rows as (key, answer or dates, line), None if they are not written as usual."""
    rows: list[Any] = []
    seen = set()
    line = text.count("\n", 0, at) + 1
    match = _ROW.match
    while True:
        found = match(text, at)
        if found is None:
            break
        key, dates, answer = found.groups()
        if key in seen:
            return None
        seen.add(key)
        parts = tuple([one or other for one, other in _ATOM.findall(key)])
        if dates is None:
            rows.append((parts, answer[1:-1], line))
            line += 1
        else:
            rows.append((parts, _Dates(text, *found.span(2), line + 1), line))
            line += dates.count("\n") + 2
        at = found.end()
    return rows if text[at:].strip(" \n") == "})" and text[at : at + 1] == "}" else None


class _Dates(NamedTuple):
    """A part of a text with one date a line, as checked."""

    text: str
    start: int
    end: int
    line: int


class _LazyUseAfter(UseAfter):
    """Dates that are taken apart when they are first needed."""

    def __init__(self, fields: Sequence[str], dates: _Dates, place: str) -> None:
        self.fields, self.place = tuple(fields), place
        self._dates: _Dates | None = dates

    merged = UseAfter.merged
    is_flat = True

    def _take_apart(self) -> None:
        if self._dates is not None:
            text, start, end, line = self._dates
            found = _DATES.findall(text, start, end)
            self._set({key: (file, line + number) for number, (key, file) in enumerate(found)})
            self._dates = None

    @property
    def keys(self) -> list[Any]:
        """The keys, in their order."""
        self._take_apart()
        return self._keys

    @property
    def choices(self) -> list[Choice]:
        """What each key leads to."""
        self._take_apart()
        return self._choices

    @property
    def lines(self) -> list[int]:
        """Line of each key."""
        self._take_apart()
        return self._lines


def compile_selector(
    rows: list[Any] | MappingText,
    fields: Sequence[Sequence[str]],
    place: str,
    options: MatchOptions,
) -> Selector:
    """Return the selector of an rmap.

    Parameters
    ----------
    rows : list or MappingText
        From `read`.
    fields : sequence of sequences of str
        The header fields of each level.
    place : str
        The file, for errors.
    options : MatchOptions
        What the header says of Match selectors.

    Raises
    ------
    RulesFormatError
        If the rows do not make sense with these fields.
    """
    if isinstance(rows, MappingText):
        if not isinstance(rows.selector, Node):
            raise RulesFormatError(
                "the rules of a type of reference have a selector, not a plain table", place=place,
                expected="selector = Match({…})",
            )  # fmt: skip
        return _from_node(rows.selector, fields, 0, place, options)
    ready = [
        (key, _LazyUseAfter(_level(fields, 1, place, line), choice, place), line)
        if isinstance(choice, _Dates)
        else (key, choice, line)
        for key, choice, line in rows
    ]
    return Match(_level(fields, 0, place, 0), ready, place, options)


def _level(fields: Sequence[Sequence[str]], depth: int, place: str, line: int) -> Sequence[str]:
    try:
        return fields[depth]
    except IndexError:
        raise RulesFormatError(
            "selectors are nested deeper than parkey says", place=place, line=line or None,
            found=f"{depth + 1} levels", expected=f"{len(fields)}: one tuple of fields for each",
        ) from None  # fmt: skip


def _from_node(
    node: Node, fields: Sequence[Sequence[str]], depth: int, place: str, options: MatchOptions
) -> Selector:
    level = _level(fields, depth, place, node.line)
    rows = [
        (key, _from_node(choice, fields, depth + 1, place, options), line)
        if isinstance(choice, Node)
        else (key, choice, line)
        for key, choice, line in node.items
    ]
    if node.kind == "Match":
        return Match(level, rows, place, options)
    return _KINDS[node.kind](level, rows, place)
