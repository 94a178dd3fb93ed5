"""All candidates in one pass over the pool: the field's older way, kept for comparison.

A row of several candidates founds nothing by itself: it is offered again, once as a row of
each. An association settles on the candidate of its first row.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from lightmill.association.engine.drafts import Draft, Run
from lightmill.association.engine.members import Looks
from lightmill.association.engine.state import Again, OpenCandidates
from lightmill.association.engine.trees import CompiledRule
from lightmill.association.engine.work import Growing, Kind, RuleMemory, RuleWork
from lightmill.association.pool_check import parse_candidates

if TYPE_CHECKING:
    from lightmill.association.engine.run import Engine

__all__ = ["drafts_of_one_pass"]

Later = dict[Again, list[tuple[int, Kind]]]


def drafts_of_one_pass(engine: Engine) -> list[Draft]:
    """Return the associations of all candidates, and of none, in the order they are founded."""
    options = engine.options
    ids = "|".join(options.ids or ())
    pattern = re.compile(f".+({ids}).+", re.IGNORECASE) if ids else None
    passes = [_Pass(engine, OpenCandidates(pattern))]
    if options.ids is None and not options.all_candidates:
        passes.append(_Pass(engine, None))
    made = [one for number, each in enumerate(passes) for one in each.made(number)]
    made.sort(key=lambda one: one[0])
    return [draft for _, draft in made]


class _Pass:
    """One set of rules at work on the pool: with candidates, or without."""

    def __init__(self, engine: Engine, candidates: OpenCandidates | None) -> None:
        self.engine, self.candidates = engine, candidates
        pool = engine.pool
        self.column = engine.candidates_column
        self.files: list[int] = list(engine.files)
        self.rows = list(range(len(pool)))  # copies of rows follow the rows
        self.cells = pool.column(self.column) if pool.has(self.column) else [""] * len(pool)
        self.memories = [
            RuleMemory(CompiledRule(rule, engine.rules, candidates), engine.facts.looks)
            for rule in engine.rules
        ]

    def kinds(self, number: int, rows: Iterable[int]) -> Iterable[tuple[int, Kind]]:
        """Yield rows with their kinds."""
        memory = self.memories[number]
        for row in rows:
            cells = {n: self.engine.facts.cell(self.rows[row], n) for n in memory.rule.columns}
            cells[self.column] = cells["@candidates"] = self.cells[row]
            kind = memory.kind(tuple(cells.get(name) for name in memory.rule.columns))
            if kind.possible:
                yield row, kind

    def made(self, which: int) -> list[tuple[tuple[int, ...], Draft]]:
        """Return the associations of this pass, and when each was founded."""
        works: list[tuple[int, RuleWork, Later, int, int]] = []
        to_all: dict[str, list[int]] = {}
        first: dict[str, tuple[int, int]] = {}
        possible = self.engine._possible  # noqa: SLF001 - a part of the engine
        for number, memory in enumerate(self.memories):
            work = RuleWork(memory)
            rows = [row for row in range(len(self.engine.pool)) if number in possible[row]]
            later = work.first_pass(self.kinds(number, rows), self.files, repeats=True)
            founded = len(work.made)
            started = -1
            for again in [one for one in later if one.category == "both"]:
                started = later[again][0][0]
                copies = [new for row, _ in later.pop(again) for new in self.copies(row)]
                seen = self.kinds(number, copies)
                for one, some in work.first_pass(seen, self.files, repeats=True).items():
                    later.setdefault(one, []).extend(some)
            for again in [one for one in later if one.to_all]:
                some = later.pop(again)
                to_all.setdefault(again.category, []).extend(row for row, _ in some)
                first.setdefault(again.category, (some[0][0], number))
            works.append((number, work, later, founded, started))
        found: list[tuple[tuple[int, ...], Draft]] = []
        for number, work, later, founded, started in works:
            for category in ("to_existing", "at_the_end"):
                lists = [
                    ((some[0][0], number), some)
                    for again, some in later.items()
                    if again.category == category
                ]
                if category in to_all:
                    some = list(self.kinds(number, to_all[category]))
                    lists.append((first[category], some))
                for _, some in sorted(lists, key=lambda one: one[0]):
                    work.later_pass(some, self.files)
            place = which * len(self.memories) + number
            for count, growing in enumerate(work.made):
                late = count >= founded
                when = (1, started, place, count) if late else (0, growing.born, place, count)
                found.append((when, self.draft(work, growing)))
        return found

    def copies(self, row: int) -> list[int]:
        """Return new rows, one for each candidate of a row, which say that candidate only."""
        new: list[int] = []
        for name, kind in parse_candidates(self.cells[row]) or ():
            new.append(len(self.rows))
            self.rows.append(self.rows[row])
            self.files.append(self.files[row])
            self.cells.append(str((name, kind)))
        return new

    def draft(self, work: RuleWork, growing: Growing) -> Draft:
        """Return an association, with what its members say of candidates."""
        state = work.memory.states[growing.state]
        run = Run("discover", self.engine.discovered, None)
        if state.candidate is not None:
            run = Run("candidate", state.candidate, None)
        book, rows = self.engine.facts.book, Looks.rows(growing.members)
        cells = {self.rows[row]: self.cells[row] for row in rows}
        growing.members = Looks.moved(growing.members, {row: self.rows[row] for row in rows})
        growing.born = self.rows[growing.born]
        draft = self.engine.facts.draft(work.memory.rule.rule, run, growing, work.memory.states)
        numbers = array("q")
        for number in draft.members:
            member = book.member(number, None)
            details = tuple(
                (key, cells[member.row] if key == self.column and member.row is not None else value)
                for key, value in member.details
            )
            numbers.append(book.other(replace(member, details=details)))
        draft.members = numbers
        return draft
