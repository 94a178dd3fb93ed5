"""Match: the rows whose patterns all fit, the most specific first.

Each column knows, for a value, which rows it lets through and for which of them
it counts: two integers with a bit for each row. The rows that fit are the
bitwise AND over the columns; for values met before they are remembered.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from lightmill.reference.errors import (
    AmbiguousRulesError,
    HeaderValueError,
    NoMatchError,
    RulesFormatError,
    RulesKeyError,
)
from lightmill.reference.rules.keys import (
    Element,
    compile_element,
    is_special,
    spell_element,
)
from lightmill.reference.rules.selectors import Choice, Header, Rows, Selector
from lightmill.reference.rules.values import ANY, NOT_APPLICABLE

__all__ = ["Group", "Match", "MatchOptions", "MatchRow"]

_Row = tuple[tuple[str, ...], Any, Choice, int]  # key as compared, as written, choice, line
_REMEMBERED = 50_000  # tuples of values; then we start afresh


class MatchOptions(NamedTuple):
    """What the header of the rules says of all their Match selectors.

    Parameters
    ----------
    merges : bool
        Whether rows that fit equally well may be joined.
    substitutions : dict
        Field → {text of an element: what it stands for}.
    """

    merges: bool = True
    substitutions: dict[str, dict[str, Any]] = {}


class MatchRow(NamedTuple):
    """One row.

    Parameters
    ----------
    key : tuple of str
        Its elements, as compared.
    elements : tuple of Element
        What they mean.
    choice : object
        What it leads to.
    line : int
        Where it stands.
    """

    key: tuple[str, ...]
    elements: tuple[Element, ...]
    choice: Choice
    line: int


class Group(NamedTuple):
    """Rows that fit equally well, acting as one.

    Parameters
    ----------
    weight : int
        How many of their elements count.
    rows : tuple of int
        Their numbers.
    choice : object
        What they lead to together; an error where they cannot be joined.
    """

    weight: int
    rows: tuple[int, ...]
    choice: Choice


class _Column:
    """One field of all keys: which rows a value fits."""

    def __init__(
        self, field: str, elements: Sequence[Element], replaced: Iterable[str] = ()
    ) -> None:
        self.field = field
        self.every = (1 << len(elements)) - 1
        rows: dict[Element, int] = {}
        for bit, element in enumerate(elements):
            rows[element] = rows.get(element, 0) | 1 << bit
        self.rows = rows
        self.literals: dict[str, int] = {}
        self.always = self.free = 0
        self.tested: list[tuple[Element, int]] = []
        for element, bits in rows.items():
            if element.kind == "literal":
                for value in element.values:
                    self.literals[value] = self.literals.get(value, 0) | bits
            elif element.kind == "any":
                self.always |= bits
            elif element.kind == "n/a":
                self.free |= bits
            else:
                self.tested.append((element, bits))
        opened = any(element.free for element in rows)
        known = {value for element in rows for value in element.values}
        self.known = None if opened else known | {NOT_APPLICABLE, ANY, *replaced}
        self._seen: dict[str, tuple[int, int]] = {}

    def knows(self, value: str) -> bool:
        """Return whether rows are tried with a value, and it is not refused."""
        if self.known is None or value in self.known:
            return True
        plain = value.removeprefix("NOT ")
        return is_special(plain) or plain in self.known

    def fits(self, value: str) -> tuple[int, int]:
        """Return the rows a value fits, and those of them where it counts."""
        found = self._seen.get(value)
        if found is None:
            if len(self._seen) >= _REMEMBERED:
                self._seen.clear()
            found = self._seen[value] = self._fits(value)
        return found

    def _fits(self, value: str) -> tuple[int, int]:
        if value in {NOT_APPLICABLE, ANY}:
            let = counted = 0
            for element, bits in self.rows.items():
                weight = element.match(value)
                let |= bits if weight >= 0 else 0
                counted |= bits if weight > 0 else 0
            return let, counted
        counted = self.always | self.literals.get(value, 0)
        let = counted | self.free
        for element, bits in self.tested:
            weight = element.match(value)
            if weight >= 0:
                let |= bits
                counted |= bits if weight else 0
        return let, counted


class Match(Selector):
    """The rows whose patterns all fit a header, the most specific first.

    Parameters
    ----------
    fields : sequence of str
        The header fields its keys are about.
    rows : sequence of (key, choice, line)
        As they stand in the text.
    place : str
        The file, for errors.
    options : MatchOptions, optional
        What the header of the rules says.
    """

    kind = "Match"

    def __init__(
        self, fields: Sequence[str], rows: Rows, place: str, options: MatchOptions | None = None
    ) -> None:
        self.options = options or MatchOptions()
        self._columns: list[_Column] | None = None
        self._groups: dict[tuple[str, ...], tuple[Group, ...]] = {}
        self._merged: dict[tuple[int, ...], Choice] = {}
        super().__init__(fields, rows, place)

    def _fill(self, rows: Rows) -> None:
        table: dict[Any, tuple[Choice, int]] = {}
        for key, choice, line in rows:
            try:
                table[key] = (choice, line)
            except TypeError:  # alternatives written as a list
                table[_hashable(key)] = (choice, line)
        self._table = self._spelled(table)
        self._check()

    def _spelled(self, table: dict[Any, tuple[Choice, int]]) -> list[_Row]:
        """Return the rows sorted by the spelling of their keys."""
        spelled: dict[tuple[str, ...], _Row] = {}
        for key, (choice, line) in table.items():
            parts = key if isinstance(key, tuple) else (key,)
            if len(parts) != len(self.fields):
                raise RulesKeyError(
                    f"a key has {len(parts)} elements for {len(self.fields)} fields",
                    place=self.place, line=line or None, found=key, expected=", ".join(self.fields),
                )  # fmt: skip
            one = tuple([_spellings.get(part) or _spell(part) for part in parts])
            if one in spelled:
                raise RulesFormatError(
                    "two keys of one table mean the same", place=self.place, line=line or None,
                    found=one, expected=f"another key than in line {spelled[one][3]}",
                )  # fmt: skip
            spelled[one] = (one, parts, choice, line)
        return [spelled[key] for key in sorted(spelled)]

    def _check(self) -> None:
        """Raise an error if an element makes no sense; what it means is looked up when needed."""
        unknown = {text for key, _, _, _ in self._table for text in key} - _known.keys()
        if unknown:
            for key, _, _, line in self._table:
                for text in unknown.intersection(key):
                    _element(text, self.place, line)
        if any(field in self.options.substitutions for field in self.fields):
            assert self.columns() is not None

    def _elements(self, number: int) -> list[Element]:
        """Return what the elements of a field mean, row by row."""
        replaced = self.options.substitutions.get(self.fields[number], {})
        found = []
        for key, raw, _, line in self._table:
            text = key[number]
            if replaced:
                one = raw[number] if isinstance(raw[number], str) else text
                stands_for = replaced.get(one, replaced.get(text, text))
                text = text if stands_for is text else spell_element(stands_for)
            found.append(_element(text, self.place, line))
        return found

    def rows(self) -> Iterator[tuple[tuple[str, ...], Choice, int]]:
        """Return key, choice and line of each row, in their order."""
        for key, _, choice, line in self._table:
            yield key, choice, line

    @property
    def table(self) -> list[MatchRow]:
        """The rows with what their elements mean."""
        columns = [self._elements(number) for number in range(len(self.fields))]
        meanings = zip(*columns, strict=True) if columns else [()] * len(self._table)
        return [
            MatchRow(key, tuple(elements), choice, line)
            for (key, _, choice, line), elements in zip(self._table, meanings, strict=True)
        ]

    def columns(self) -> list[_Column]:
        """Return what each field lets through; made when first needed."""
        if self._columns is None:
            self._columns = [
                _Column(field, self._elements(number), self.options.substitutions.get(field, ()))
                for number, field in enumerate(self.fields)
            ]
        return self._columns

    def choose(self, header: Header) -> Any:
        """Return the answer for a header of conditioned values."""
        hidden = None
        for group in self.groups(header):
            choice = group.choice
            if not isinstance(choice, Selector):
                if isinstance(choice, AmbiguousRulesError):
                    raise choice
                return choice
            try:
                return choice.choose(header)
            except NoMatchError as error:
                if hidden is None or str(error.expected) < str(hidden.expected):
                    hidden = error
        raise self.nothing_fits(header, hidden)

    def nothing_fits(self, header: Header, hidden: NoMatchError | None = None) -> NoMatchError:
        """Return the error for a header that no row answers.

        Parameters
        ----------
        header : mapping
            The header.
        hidden : NoMatchError, optional
            Why the rows that fit gave no answer: that of the earliest date.
        """
        asked = ", ".join(f"{field}={header.get(field)}" for field in self.fields)
        if hidden is not None:
            return NoMatchError(
                f"the rows that fit give nothing: {hidden.fact}", place=self.place,
                found=f"{hidden.found}; {asked}" if asked else hidden.found,
                expected=hidden.expected, remedy=hidden.remedy,
            )  # fmt: skip
        return NoMatchError(
            "no row of the rules fits", place=self.place, found=asked or "no field to choose by",
            remedy="`lightmill refs bestrefs --explain` tells why each row lost",
        )  # fmt: skip

    def groups(self, header: Header) -> tuple[Group, ...]:
        """Return the rows that fit, joined where they fit equally well, the best first.

        Raises
        ------
        HeaderValueError
            If a value is none of those the rules know.
        """
        try:
            values = tuple([header[field] for field in self.fields])
        except KeyError as error:
            raise HeaderValueError(
                f"no header has a field {error}", place=self.place,
                expected="names of fields in upper case",
            ) from None  # fmt: skip
        found = self._groups.get(values)
        if found is None:
            found = self._fitting(values)
            if len(self._groups) >= _REMEMBERED:
                self._groups.clear()
            self._groups[values] = found
        return found

    def _fitting(self, values: tuple[str, ...]) -> tuple[Group, ...]:
        columns = self.columns()
        if not self._table:
            return ()
        for column, value in zip(columns, values, strict=True):
            if not column.knows(value):
                raise HeaderValueError(
                    f"{column.field} has a value the rules do not know", place=self.place,
                    found=value, expected=_listed((column.known or set()) - {NOT_APPLICABLE, ANY}),
                    remedy="correct the header, or add a row for this value",
                )  # fmt: skip
        left, counted = (1 << len(self._table)) - 1, []
        for column, value in zip(columns, values, strict=True):
            let, counts = column.fits(value)
            left &= let
            if not left:
                return ()
            counted.append(counts)
        by_weight: dict[int, list[int]] = {}
        while left:
            bit = left & -left
            left ^= bit
            weight = sum(1 for counts in counted if counts & bit)
            by_weight.setdefault(weight, []).append(bit.bit_length() - 1)
        return tuple(
            Group(weight, tuple(by_weight[weight]), self._joined(tuple(by_weight[weight])))
            for weight in sorted(by_weight, reverse=True)
        )

    def _joined(self, rows: tuple[int, ...]) -> Choice:
        if len(rows) == 1:
            return self._table[rows[0]][2]
        if rows not in self._merged:
            self._merged[rows] = self._join([self._table[row] for row in rows])
        return self._merged[rows]

    def _join(self, rows: list[_Row]) -> Choice:
        choices = [choice for _, _, choice, _ in rows]
        kinds = {type(choice) for choice in choices}
        if not self.options.merges:
            return self._ambiguous(rows, "and these rules forbid joining them")
        if not any(isinstance(choice, Selector) for choice in choices):
            same = all(choice == choices[0] for choice in choices[1:])
            return choices[0] if same else tuple(choices)
        if len(kinds) == 1 and choices[0].merges:
            return choices[0].merged(choices)
        return self._ambiguous(rows, "and what they lead to cannot be joined")

    def _ambiguous(self, rows: list[_Row], why: str) -> AmbiguousRulesError:
        return AmbiguousRulesError(
            f"{len(rows)} rows fit equally well, {why}", place=f"{self.place}:{rows[0][3]}",
            found="; ".join(f"line {line}: {key}" for key, _, _, line in rows[:5]),
            expected="one row that fits best", remedy="make one of the rows more specific",
        )  # fmt: skip


_known: dict[str, Element] = {}
_spellings: dict[Any, str] = {}


def _spell(raw: Any) -> str:
    text = spell_element(raw)
    if isinstance(raw, str):  # equal numbers and truth values are spelled differently
        if len(_spellings) >= _REMEMBERED:
            _spellings.clear()
        _spellings[raw] = text
    return text


def _element(text: str, place: str, line: int) -> Element:
    found = _known.get(text)
    if found is None:
        if len(_known) >= _REMEMBERED:
            _known.clear()
        found = _known[text] = compile_element(text, place, line)
    return found


def _hashable(key: Any) -> Any:
    if isinstance(key, (tuple, list)):
        return tuple(_hashable(one) for one in key)
    return key


def _listed(values: set[str]) -> str:
    known = sorted(values)
    return ", ".join(known[:30]) + (f", … ({len(known)} in all)" if len(known) > 30 else "")
