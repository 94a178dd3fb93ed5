"""Rows against each other: which can never be chosen, and which are chosen together."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator
from typing import Any

from lightmill.reference.cells import alternatives, covers, is_glob, opens_column, weight
from lightmill.reference.findings import ERROR, WARNING, Finding
from lightmill.reference.rules.keys import spell_element
from lightmill.reference.rules.overlaps import covers as allows
from lightmill.reference.rules.overlaps import weights_differ
from lightmill.reference.rules.text import Node
from lightmill.reference.rules.values import condition

__all__ = ["Row", "is_special_case", "shadowed_rows", "unreachable_cells"]

Row = tuple[tuple[Any, ...], Any, int]  # cells, what they lead to, line
Say = Callable[..., Finding]


def unreachable_cells(rows: list[Row], fields: tuple[str, ...], say: Say) -> Iterator[Finding]:
    """Return the globs that a column's list of values keeps from matching anything else.

    A value of a header has to be among the literal texts of a column, unless a cell of it
    takes any; a glob is no literal text.
    """
    for column, field in enumerate(fields):
        texts = [
            (part, cells, line) for cells, _, line in rows for part in alternatives(cells[column])
        ]
        if any(opens_column(text) for text, _, _ in texts):
            continue
        literal = {condition(text) for text, _, _ in texts if not is_glob(text)}
        for text, cells, line in texts:
            if is_glob(text):
                fits = sorted(one for one in literal if fnmatch.fnmatchcase(one, text.upper()))
                yield say(
                    WARNING if fits else ERROR, "unreachable", line,
                    f"{text!r} of {cells!r} matches "
                    + (f"{', '.join(fits)} only" if fits else "nothing")
                    + f": other values of {field} are refused before rows are compared",
                    f"list the values, A|B|C, or let another row take any {field} (N/A)",
                )  # fmt: skip


def is_special_case(row: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Return whether all data that fit a row fit another one, which weighs the same."""
    one, two = (tuple(spell_element(cell) for cell in cells) for cells in (row, other))
    comparable = one != two and len(one) == len(two)
    return comparable and not weights_differ(one, two) and allows(two, one)


def shadowed_rows(rows: list[Row], say: Say) -> Iterator[Finding]:
    """Return rows that another row, which fits the same data and weighs more, always beats."""
    for row, value, line in rows:
        for other, found, there in rows:
            heavier = weight(other) > weight(row) and _covers(other, row)
            if heavier and _always_answers(found, value):
                yield say(
                    WARNING, "shadowed", line,
                    f"{row!r} is never chosen: {other!r} of line {there} fits all its data and weighs more",
                    "write N/A for * in the other row, or remove this one",
                )  # fmt: skip
                break


def _always_answers(found: Any, instead: Any) -> bool:
    """Return whether a row answers for every date another one does."""
    if not isinstance(found, Node):
        return True
    if found.kind != "UseAfter" or not found.items:
        return False
    first = min(str(key) for key, _, _ in found.items)
    if isinstance(instead, Node) and instead.kind == "UseAfter" and instead.items:
        return first <= min(str(key) for key, _, _ in instead.items)
    return False


def _covers(general: tuple[Any, ...], special: tuple[Any, ...]) -> bool:
    return len(general) == len(special) and all(map(covers, general, special))
