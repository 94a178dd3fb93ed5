"""Cells of rows: what the texts in a Match key mean, for checks that compare rows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from lightmill.reference.findings import ERROR, NOTE, WARNING
from lightmill.reference.rules.values import condition

__all__ = ["alternatives", "cell_problems", "covers", "is_glob", "opens_column", "weight"]

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RELATION = re.compile(rf"(==|!=|<=|>=|<|>|=)\s*({_NUMBER})?")
_BETWEEN = re.compile(rf"between\s+({_NUMBER})\s+({_NUMBER})\Z", re.IGNORECASE)
_ANY = ("*", "N/A")


def alternatives(cell: Any) -> list[str]:
    """Return the texts a cell lists: ``A|B`` and ``('A', 'B')`` list two."""
    if isinstance(cell, (tuple, list)):
        return [text for one in cell for text in alternatives(one)]
    text = str(cell)
    special = text.startswith(("(", "{", "#")) or _bare(text) != text
    return (
        [text] if special else [part.strip() for part in text.split("|") if part.strip()] or [text]
    )


def is_glob(text: str) -> bool:
    """Return whether a text of a column is a pattern with a star, and more than a star."""
    return "*" in text and condition(text) not in _ANY and not text.startswith(("(", "{", "#"))


def opens_column(text: str) -> bool:
    """Return whether a text lets any value of a header through to the comparison of rows."""
    bare = text.strip()
    lowered = bare.lower()
    return (
        condition(bare) in _ANY
        or bare.startswith(("(", "{", "#", ">", "<", "="))
        or lowered.startswith(("between ", "not "))
    )


def weight(cells: tuple[Any, ...]) -> int:
    """Return what a row weighs when it matches: its cells that are not N/A."""
    return sum(condition(str(cell)) != "N/A" for cell in cells)


def covers(general: Any, special: Any) -> bool:
    """Return whether a cell fits every value another one fits."""
    one, other = condition(str(general)), condition(str(special))
    if one == other or one in _ANY:
        return True
    if other in _ANY:
        return False
    wide = {condition(text) for text in alternatives(general)}
    return {condition(text) for text in alternatives(special)} <= wide


def cell_problems(cell: Any) -> Iterator[tuple[str, str, str]]:
    """Return severity, fact and remedy of what a cell means and its author hardly did."""
    for text in alternatives(cell):
        bare = _bare(text)
        negated = bare != text
        if negated and condition(bare) == "*":
            yield ERROR, f"{text!r} matches nothing", "remove the row"
        elif bare.startswith("(") and bare.endswith(")"):
            yield from _regex(bare[1:-1], text)
        elif bare.startswith("{") and bare.endswith("}") and bare != bare.upper():
            yield (
                ERROR,
                f"{text!r} never matches: values of headers are in upper case",
                f"write {bare.upper()}",
            )
        elif bare.startswith(("#", ">", "<", "=")):
            yield from _relation(bare.strip("# "), text)
        elif bare.lower().startswith("between "):
            limits = _BETWEEN.match(bare)
            if limits is None:
                yield ERROR, f"{text!r} is no range", "write: between 1 5"
            elif float(limits[1]) >= float(limits[2]):
                yield ERROR, f"{text!r} holds no number", "write the smaller number first"


def _regex(pattern: str, text: str) -> Iterator[tuple[str, str, str]]:
    try:
        re.compile(pattern)
    except re.error as error:
        yield ERROR, f"{text!r} is no regular expression: {error}", "correct it"
        return
    if not pattern.endswith(("$", r"\Z", ".*")):
        yield (
            NOTE,
            f"{text!r} matches every value that begins like this, not only whole values",
            "end it with $ if whole values are meant",
        )


def _relation(relation: str, text: str) -> Iterator[tuple[str, str, str]]:
    parts = re.split(r"\b(?:and|or)\b", relation)
    if len(parts) > 2:
        yield (
            ERROR,
            f"{text!r} has {len(parts)} conditions; only the first two are looked at",
            "split the row",
        )
    for part in parts:
        found = _RELATION.match(part.strip())
        if found is None or found[2] is None:
            yield ERROR, f"{text!r} is no relation to a number", "write: #>=1 and <20#"
        elif found[1] in {"==", "=", "!="}:
            yield (
                ERROR if found[1] != "!=" else WARNING,
                f"{found[1]} in {text!r} is documented and never matches",
                "write the number alone, or not and the number",
            )


def _bare(text: str) -> str:
    """Return a text without a `not` before it."""
    stripped = text.strip()
    return stripped[4:].strip() if stripped.lower().startswith("not ") else text
