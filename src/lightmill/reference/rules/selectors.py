"""Selectors that pick by one ordered value: dates, versions, numbers.

Each has `choose`, which returns an answer or raises; a nested selector is asked
in turn. What is picked follows existing contexts, also where that is odd: see
``docs/decisions/0011-reference-rules.md``.
"""

from __future__ import annotations

import math
import re
import struct
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from lightmill.reference.errors import (
    DateFormatError,
    HeaderValueError,
    NoMatchError,
    RulesFormatError,
)
from lightmill.reference.rules.values import UNDEFINED, condition, number, parse_date

__all__ = [
    "Bracket", "Choice", "ClosestTime", "GeometricallyNearest", "SelectVersion", "Selector",
    "UseAfter", "VersionAfter", "follow",
]  # fmt: skip

Header = Mapping[str, str]
Choice = Any  # a Selector, or an answer: a file name, several, a dict
Rows = Sequence[tuple[Any, Any, int]]  # key, choice, line


def follow(choice: Choice, header: Header) -> Any:
    """Return the answer of a choice: what it is, or what the selector in it picks."""
    return choice.choose(header) if isinstance(choice, Selector) else choice


class Selector:
    """Rows, of which a header picks one.

    Parameters
    ----------
    fields : sequence of str
        The header fields it looks at.
    rows : sequence of (key, choice, line)
        As they stand in the text; of equal keys the last one counts.
    place : str
        The file, for errors.
    """

    kind: ClassVar[str] = ""
    merges: ClassVar[bool] = False  # whether several that match equally well act as one

    def __init__(self, fields: Sequence[str], rows: Rows, place: str) -> None:
        self.fields, self.place = tuple(fields), place
        self._fill(rows)

    def _fill(self, rows: Rows) -> None:
        raise NotImplementedError

    def choose(self, header: Header) -> Any:
        """Return the answer for a header of conditioned values."""
        raise NotImplementedError

    def rows(self) -> Iterator[tuple[tuple[str, ...], Choice, int]]:
        """Return key, choice and line of each row, in their order."""
        raise NotImplementedError

    def values(self, header: Header) -> list[str]:
        """Return the values of its fields."""
        return [header.get(field, UNDEFINED) for field in self.fields]

    def _number(self, header: Header) -> float:
        text = header.get(self.fields[0], UNDEFINED) if self.fields else UNDEFINED
        found = number(text)
        if found is None:
            raise HeaderValueError(
                f"{self.kind} needs a number in {', '.join(self.fields)}",
                place=self.place, found=text, expected="a number",
                remedy="correct the header",
            )  # fmt: skip
        return found


class UseAfter(Selector):
    """The last row that is not later than the exposure."""

    kind = "UseAfter"
    merges = True

    def _fill(self, rows: Rows) -> None:
        table = {self._key(key, line): (choice, line) for key, choice, line in rows}
        self._set(table)

    def _set(self, table: dict[Any, tuple[Choice, int]]) -> None:
        self._keys = sorted(table)
        self._choices = [table[key][0] for key in self._keys]
        self._lines = [table[key][1] for key in self._keys]

    def _key(self, key: Any, line: int) -> Any:
        del line
        return key if isinstance(key, str) else str(key)

    @property
    def keys(self) -> list[Any]:
        """The keys, in their order."""
        return self._keys

    @property
    def choices(self) -> list[Choice]:
        """What each key leads to."""
        return self._choices

    @property
    def lines(self) -> list[int]:
        """Line of each key."""
        return self._lines

    @property
    def is_flat(self) -> bool:
        """Whether every row has an answer, and no further selector."""
        return not any(isinstance(choice, Selector) for choice in self.choices)

    def rows(self) -> Iterator[tuple[tuple[str, ...], Choice, int]]:
        """Return key, choice and line of each row, in their order."""
        for key, choice, line in zip(self.keys, self.choices, self.lines, strict=True):
            yield (key,), choice, line

    def choose(self, header: Header) -> Any:
        """Return the answer for a header of conditioned values."""
        moment = self.moment(header)
        at = bisect_right(self.keys, moment)
        if at == 0:
            raise self.too_early(moment)
        choice = self.choices[at - 1]
        return choice.choose(header) if isinstance(choice, Selector) else choice

    def too_early(self, moment: Any) -> NoMatchError:
        """Return the error for a moment before the first row."""
        error = NoMatchError(
            "no reference is so old", place=self.place, found=moment,
            expected=f"{self.keys[0]} or later" if self.keys else "rows; there are none",
            remedy="deliver a reference whose use begins earlier, or correct the date of the data",
        )  # fmt: skip
        error.known_as = f"{self.kind}Error"
        return error

    def moment(self, header: Header) -> Any:
        """Return the date of a header as keys are written."""
        parts = []
        for field in self.fields:
            value = header.get(field, UNDEFINED)
            if value == UNDEFINED:
                error = DateFormatError(
                    f"{field} is not defined", place=self.place, found=value,
                    expected="a date: the rules choose by it", remedy="complete the header",
                )  # fmt: skip
                error.known_as = "InvalidDatetimeError"
                raise error
            parts.append(value)
        text = " ".join(parts)
        try:
            return parse_date(text)
        except DateFormatError as wrong:
            raise DateFormatError(
                f"{', '.join(self.fields)} gives no date", place=self.place, found=text,
                expected=wrong.expected, remedy=wrong.remedy,
            ) from None  # fmt: skip

    @classmethod
    def merged(cls, several: Sequence[Any]) -> Any:
        """Return several as one; of the same key the greater name counts."""
        table: dict[Any, tuple[Choice, int]] = {}
        for one in several:
            for key, choice, line in zip(one.keys, one.choices, one.lines, strict=True):
                if key not in table or _greater(choice, table[key][0]):
                    table[key] = (choice, line)
        result = cls.__new__(cls)
        result.fields, result.place = several[0].fields, several[0].place
        result._set(table)  # noqa: SLF001 - one of this class
        return result


def _greater(one: Choice, other: Choice) -> bool:
    return isinstance(one, str) and isinstance(other, str) and one > other


class VersionAfter(UseAfter):
    """The last row whose version is not later than that of the software."""

    kind = "VersionAfter"

    def _key(self, key: Any, line: int) -> Any:
        found = _version(key if isinstance(key, str) else str(key))
        if found is None:
            raise RulesFormatError(
                "this is no version", place=self.place, line=line or None, found=key,
                expected="MAJOR.MINOR.PATCH",
            )  # fmt: skip
        return found

    def rows(self) -> Iterator[tuple[tuple[str, ...], Choice, int]]:
        """Return key, choice and line of each row, in their order."""
        for key, choice, line in super().rows():
            yield (".".join(map(str, key[0])),), choice, line

    def moment(self, header: Header) -> Any:
        """Return the version a header says, as three numbers."""
        text = ".".join(self.values(header))
        found = _version(text)
        if found is None:
            raise HeaderValueError(
                f"{', '.join(self.fields)} is no version", place=self.place, found=text,
                expected="MAJOR.MINOR.PATCH",
            )  # fmt: skip
        return found


_VERSION = re.compile(r"\s*v?([0-9]{1,9})(?:\.([0-9]{1,9}))?(?:\.([0-9]{1,9}))?", re.IGNORECASE)


def _version(text: str) -> tuple[int, ...] | None:
    found = _VERSION.match(text)
    return tuple(int(part or 0) for part in found.groups()) if found else None


class SelectVersion(Selector):
    """The first relation that is not below the version; ``default`` is above all."""

    kind = "SelectVersion"

    def _fill(self, rows: Rows) -> None:
        table = {}
        for key, choice, line in rows:
            limit, strict = self._limit(str(key), line)
            table[limit, not strict, str(key)] = (choice, line)
        try:
            self._rows = [(*key, *table[key]) for key in sorted(table)]
        except TypeError:
            self._rows = [(*key, *value) for key, value in table.items()]

    def _limit(self, key: str, line: int) -> tuple[Any, bool]:
        if key.strip().lower() == "default":
            return float("inf"), True
        found = re.fullmatch(r"\s*(<|==|=)\s*(.+?)\s*", key)
        limit = None if found is None else number(found[2])
        if found and limit is None and re.fullmatch(r"\([0-9, ]+\)", found[2]):
            parts = [part for part in found[2][1:-1].replace(" ", "").split(",") if part]
            return tuple(int(part[:9]) for part in parts), found[1] == "<"
        if found is None or limit is None:
            raise RulesFormatError(
                "this is no relation to a version", place=self.place, line=line or None, found=key,
                expected="< VERSION, = VERSION or default",
            )  # fmt: skip
        return limit, found[1] == "<"

    def rows(self) -> Iterator[tuple[tuple[str, ...], Choice, int]]:
        """Return key, choice and line of each row, in their order."""
        for _, _, key, choice, line in self._rows:
            yield (key,), choice, line

    def choose(self, header: Header) -> Any:
        """Return the answer for a header of conditioned values."""
        version = self._number(header)
        if not math.isfinite(version):
            raise HeaderValueError("this is no version", place=self.place, found=version)
        for limit, included, key, choice, _ in self._rows:
            if isinstance(limit, tuple):
                raise HeaderValueError(
                    "a version of three numbers cannot be compared with one number",
                    place=self.place, found=version, expected=key,
                )  # fmt: skip
            if version < limit or (included and version == limit):
                return follow(choice, header)
        raise NoMatchError(
            "no relation holds for this version", place=self.place, found=version,
            expected=", ".join(row[2] for row in self._rows), remedy="add a row 'default'",
        )  # fmt: skip


class ClosestTime(UseAfter):
    """The row nearest in time; of two equally near ones the earlier."""

    kind = "ClosestTime"

    def _key(self, key: Any, line: int) -> Any:
        text = key if isinstance(key, str) else str(key)
        try:
            parse_date(text)
        except DateFormatError:
            raise RulesFormatError(
                "a key of ClosestTime is a date", place=self.place, line=line or None, found=key
            ) from None
        return text

    def choose(self, header: Header) -> Any:
        """Return the answer for a header of conditioned values."""
        moment = _seconds(self.moment(header))
        best, nearest = None, float("inf")
        for key, choice in zip(self._keys, self._choices, strict=True):
            distance = _single(abs(_seconds(parse_date(key)) - moment))
            if best is None or distance < nearest:
                best, nearest = choice, distance
        if best is None:
            raise NoMatchError("there is no row at all", place=self.place)
        return follow(best, header)


def _seconds(date: str) -> float:
    from datetime import datetime

    found = datetime.fromisoformat(date) - datetime(2000, 1, 1)  # noqa: DTZ001 - only differences count
    return found.total_seconds()


def _single(value: float) -> float:
    """Return a number rounded to 32 bits, as distances are compared."""
    try:
        return float(struct.unpack("f", struct.pack("f", value))[0])
    except OverflowError:
        return float("inf")


class _Numbers(Selector):
    """Rows whose keys are numbers."""

    def _fill(self, rows: Rows) -> None:
        table: dict[str, tuple[float, Choice, int]] = {}
        for key, choice, line in rows:
            spelled = condition(key)
            size = number(spelled)
            if size is None:
                raise RulesFormatError(
                    f"a key of {self.kind} is a number", place=self.place, line=line or None, found=key
                )  # fmt: skip
            table[spelled] = (size, choice, line)
        self._rows = [(*table[key], key) for key in sorted(table)]

    def rows(self) -> Iterator[tuple[tuple[str, ...], Choice, int]]:
        """Return key, choice and line of each row, in their order."""
        for _, choice, line, key in self._rows:
            yield (key,), choice, line


class GeometricallyNearest(_Numbers):
    """The row whose number is nearest; of equally near ones the first in the order of their texts."""

    kind = "GeometricallyNearest"

    def choose(self, header: Header) -> Any:
        """Return the answer for a header of conditioned values."""
        value = self._number(header)
        best, nearest = None, float("inf")
        for size, choice, _, _ in self._rows:
            distance = _single(abs(size - value))
            if best is None or distance < nearest:
                best, nearest = (choice,), distance
        if best is None:
            raise NoMatchError("there is no row at all", place=self.place)
        return follow(best[0], header)


class Bracket(_Numbers):
    """The rows on both sides of a number; on a row, or beyond the last, twice the same."""

    kind = "Bracket"

    def choose(self, header: Header) -> Any:
        """Return the answer for a header of conditioned values."""
        value = self._number(header)
        if not self._rows:
            raise NoMatchError("there is no row at all", place=self.place)
        rows = sorted(self._rows, key=lambda row: row[0])
        below = [row for row in rows if row[0] <= value]
        above = [row for row in rows if row[0] >= value]
        lower = below[-1] if below else rows[0]
        upper = above[0] if above else rows[-1 if below else 0]
        return follow(lower[1], header), follow(upper[1], header)
