"""The state of an association, and what comes of offering a row to it: plain values.

A state is what each leaf of a rule's tree has settled on and found, and whether there is a
science member. Associations of one rule in equal states answer alike, and so do rows with equal
cells in the columns the rule looks at; hence answers are worked out once for each pair of state
and kind of row, and remembered (decision record 12).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from lightmill.association.engine.conditions import Row
from lightmill.association.pool_check import parse_candidates

__all__ = [
    "EMPTY_LEAF",
    "NOTHING",
    "Again",
    "Answer",
    "Evaluate",
    "Leaf",
    "OpenCandidates",
    "Result",
    "State",
    "Work",
    "settled_leaf",
]


class Leaf(NamedTuple):
    """What a leaf remembers."""

    column: str | None = None  # the column it is narrowed to
    value: str | None = None  # the value it is narrowed to
    found: tuple[str, ...] = ()  # values met, each once
    last: bool = False  # whether it was true when last looked at


@lru_cache(maxsize=100_000)  # a hundred states have the same memory of a filter
def settled_leaf(column: str | None, value: str, last: bool) -> Leaf:
    """Return the memory of a claim that has settled on a value."""
    return Leaf(column, value, (value,), last)


class State(NamedTuple):
    """All that decides what an association answers to a row."""

    leaves: tuple[Leaf, ...]
    science: bool = False  # it has a science member
    last_role: str | None = None  # the role last asked for, even in vain
    started: bool = False
    forced: bool = False  # what it takes founds an association of its own, too
    candidate: tuple[str, str] | None = None  # it has settled on, where all are worked on at once


@dataclass(frozen=True)
class OpenCandidates:
    """Associations settle on a candidate of their first row."""

    wanted: re.Pattern[str] | None = None  # which; any, by default

    def settled(self, settled: tuple[str, str] | None, cell: str | None) -> CandidateAnswer:
        """Return whether a row is of the candidate, which that is, or whether there are several."""
        single = cell is not None and cell.startswith("(")  # a row offered for one of a list
        found = tuple(parse_candidates(f"[{cell}]" if single else cell or "") or ())
        if settled is not None:
            return CandidateAnswer(settled in found, settled, False)
        if self.wanted is not None:
            match = next((one for one in found if self.wanted.match(str(one))), None)
            return CandidateAnswer(match is not None, match, False)
        if single and found:
            return CandidateAnswer(True, found[0], False)
        return CandidateAnswer(False, None, bool(found))


class CandidateAnswer(NamedTuple):
    """What the candidates of a row are to an association."""

    matched: bool
    candidate: tuple[str, str] | None
    several: bool


class Again(NamedTuple):
    """Rows to be offered again."""

    category: str  # both, to_existing or at_the_end
    to_all: bool  # to associations of all rules
    flag: bool  # only keeps lists apart


class Answer(NamedTuple):
    """What comes of offering a row to an association."""

    passed: bool  # it joins
    matched: bool  # it needs no association of its own
    state: State
    role: str | None
    integrations: bool  # each integration apart: the member's file is another
    again: tuple[Again, ...]


EMPTY_LEAF = Leaf()
NOTHING: tuple[Again, ...] = ()
Result = tuple[bool, tuple[Again, ...]]


class Work:
    """An association's state while a row is being looked at."""

    __slots__ = ("candidate_type", "forced", "last_role", "leaves", "row", "science", "started")

    def __init__(self, state: State, row: Row) -> None:
        self.leaves = list(state.leaves)
        self.science = state.science
        self.last_role = state.last_role
        self.started = state.started
        self.forced = state.forced
        self.row = row
        self.candidate_type = row.get("@candidate_type")


Evaluate = Callable[[Work], Result]
