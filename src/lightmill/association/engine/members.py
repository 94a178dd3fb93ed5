"""Members as numbers: which row, and how the rule looks at it; files and details when asked for.

A pool of a million rows makes four million members. Each is one number of eight bytes, and is
told as a `Member` where somebody wants to read it (decision record 13).
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, overload

from lightmill.association.records import Member

__all__ = ["Look", "Looks", "MemberBook", "MemberList", "Numbers"]

Numbers = array  # of members, each as `Looks.number` makes it; "q"
BITS = 16  # of a number that say how a row is looked at
_MASK = (1 << BITS) - 1
KEPT = 100_000  # names worked out and remembered


class Look(NamedTuple):
    """How a rule looks at a row."""

    level: int
    asked: str | None  # the role that decides which file it is
    role: str  # the role it plays
    integrations: bool  # each integration apart: the file is another


class Looks:
    """The ways rows are looked at, numbered as they are met; the same for every pool."""

    def __init__(self) -> None:
        self.known: list[Look] = []
        self._numbers: dict[Look, int] = {}

    def of(self, look: Look) -> int:
        """Return the number of a way to look at rows."""
        number = self._numbers.get(look)
        if number is None:
            number = self._numbers[look] = len(self.known)
            self.known.append(look)
            assert number <= _MASK, "roles are few"
        return number

    @staticmethod
    def number(row: int, look: int) -> int:
        """Return the number of a member."""
        return row << BITS | look

    @staticmethod
    def moved(numbers: Iterable[int], now: Mapping[int, int]) -> Numbers[int]:
        """Return members of rows that stand elsewhere now."""
        return array("q", [now[one >> BITS] << BITS | one & _MASK for one in numbers])

    @staticmethod
    def renumbered(numbers: Iterable[int], now: Sequence[int]) -> Numbers[int]:
        """Return members that are looked at in ways that have other numbers now."""
        return array("q", [one >> BITS << BITS | now[one & _MASK] for one in numbers])

    @staticmethod
    def rows(numbers: Iterable[int]) -> list[int]:
        """Return the rows of members."""
        return [one >> BITS for one in numbers]


@dataclass(frozen=True)
class Source:
    """What members are told from: cells, and what the levels of rules say of files."""

    cell: Callable[[int, str], str | None]  # as it is; None where there is no such column
    holds: Callable[[Any, int], bool]
    columns: Mapping[str, str]
    levels: Mapping[int, Mapping[str, Any]]
    raw: re.Pattern[str] | None
    integrations: str


class MemberBook:
    """Tells what members are by their numbers.

    Those that are no rows of the pool, such as files made on the way, are below zero and are
    kept as they are.
    """

    def __init__(self, looks: Looks, source: Source) -> None:
        self.looks, self.source = looks, source
        self._files: dict[int, str] = {}
        self._others: list[Member] = []

    def forget(self) -> None:
        """Let go of names; what is asked again is worked out again."""
        self._files.clear()

    def other(self, member: Member) -> int:
        """Return the number of a member that rows and looks do not tell."""
        self._others.append(member)
        return -len(self._others)

    def row(self, number: int) -> int | None:
        """Return the row of a member; None for files made on the way."""
        return number >> BITS if number >= 0 else self._others[~number].row

    def role(self, number: int) -> str:
        """Return the role of a member."""
        if number < 0:
            return self._others[~number].exptype
        return self.looks.known[number & _MASK].role

    def with_role(self, number: int, role: str) -> int:
        """Return the same file in another role."""
        if number < 0:
            old = self._others[~number]
            return self.other(Member(old.expname, role, old.details, old.row))
        look = self.looks.known[number & _MASK]
        return number >> BITS << BITS | self.looks.of(look._replace(role=role))

    def file(self, number: int) -> str:
        """Return the name of a member's file."""
        if number < 0:
            return self._others[~number].expname
        known = self._files.get(number)
        if known is None:
            if len(self._files) >= KEPT:
                self._files.clear()
            known = self._files[number] = self._file(number >> BITS, number & _MASK)
        return known

    def _file(self, row: int, number: int) -> str:
        source, look = self.source, self.looks.known[number]
        name = source.cell(row, source.columns["file"]) or ""
        match = source.raw.fullmatch(name) if source.raw else None
        if match is None:
            return name
        suffix = ""
        for one in source.levels[look.level]["suffix"]:
            if "role" in one and one["role"] != look.asked:
                continue
            if "where" in one and not source.holds(one["where"], row):
                continue
            suffix = one["is"]
            break
        ints = source.integrations if look.integrations else ""
        return f"{match[1]}_{suffix}{ints}{match[2]}"

    def detail(self, number: int, key: str, cell: str | None) -> str | None:
        """Return what is told of a member beside its file and role.

        Parameters
        ----------
        number : int
            Of the member.
        key : str
            What is asked; a column of the pool.
        cell : str or None
            What the column of the candidates says instead of the pool, if anything.
        """
        if number < 0:
            return dict(self._others[~number].details).get(key)
        source = self.source
        if key not in source.levels[self.looks.known[number & _MASK].level]["details"]:
            return None
        if cell is not None and key == source.columns["candidates"]:
            return cell
        return source.cell(number >> BITS, key)

    def member(self, number: int, cell: str | None) -> Member:
        """Return what a member is; `cell` as in `detail`."""
        if number < 0:
            return self._others[~number]
        level = self.source.levels[self.looks.known[number & _MASK].level]
        details = tuple((key, self.detail(number, key, cell)) for key in level["details"])
        return Member(self.file(number), self.role(number), details, number >> BITS)


class MemberList(Sequence[Member]):
    """The members of a product, each made when it is looked at."""

    __slots__ = ("_book", "_cell", "_numbers")

    def __init__(self, book: MemberBook, numbers: Numbers[int], cell: str | None) -> None:
        self._book, self._numbers, self._cell = book, numbers, cell

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[Member]:
        for number in self._numbers:
            yield self._book.member(number, self._cell)

    @overload
    def __getitem__(self, index: int) -> Member: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Member, ...]: ...
    def __getitem__(self, index: int | slice) -> Member | tuple[Member, ...]:
        if isinstance(index, slice):
            return tuple(self)[index]
        return self._book.member(self._numbers[index], self._cell)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (MemberList, tuple)):
            return NotImplemented
        return tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))

    def __reduce__(self) -> tuple[type, tuple[tuple[Member, ...]]]:
        return tuple, (tuple(self),)  # a copy elsewhere needs neither book nor pool
