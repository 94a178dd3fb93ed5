"""Answers for very many headers at once: by columns, and once for what many have in common.

Headers that agree in all fields but the date are one question to the tables; only
then the dates of all of them are placed, as ranks among all dates there are.
"""

from __future__ import annotations

import gc
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from lightmill.errors import LightmillError
from lightmill.reference.errors import DateFormatError, NoMatchError, UnknownInstrumentError
from lightmill.reference.rules.aliases import other_names
from lightmill.reference.rules.asked import by_other_name
from lightmill.reference.rules.mapping import Context, InstrumentRules, TypeRules
from lightmill.reference.rules.matching import Group, Match
from lightmill.reference.rules.selectors import ClosestTime, Selector, UseAfter, VersionAfter
from lightmill.reference.rules.values import NOT_APPLICABLE, UNDEFINED, condition, parse_date

if TYPE_CHECKING:
    from numpy import ndarray

__all__ = ["select_many", "select_many_of_context"]

_MISSING = object()
_NOTHING = (NOT_APPLICABLE, "OMIT")


def select_many(
    rules: InstrumentRules, headers: Sequence[Mapping[str, Any]], types: Sequence[str]
) -> dict[str, list[Any]]:
    """Return type → an answer for each header, or the error that says why there is none.

    Parameters
    ----------
    rules : InstrumentRules
        The rules.
    headers : sequence of mappings
        Name of field → value.
    types : sequence of str
        Types that the rules know.

    Returns
    -------
    answers : dict
        Type → as many answers as there are headers.
    """
    answers: dict[str, list[Any]] = {}
    ready: list[tuple[str, TypeRules, tuple[str, ...]]] = []
    for kind in types:
        name = rules.types[kind]
        if name in _NOTHING:
            answers[kind] = [name] * len(headers)
            continue
        try:
            ready.append((kind, rules.rules(kind), tuple(key for key, _ in rules.keys_of(kind))))
        except LightmillError as error:
            answers[kind] = [error] * len(headers)
    with _no_collection():
        columns = _Columns(headers, rules.observatory)
        columns.take({key for _, _, keys in ready for key in keys})
        for kind, one, keys in ready:
            answers[kind] = _Bulk(one, keys, columns).answers()
    return answers


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the collector of garbage from visiting all headers again and again; there is none."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def select_many_of_context(
    context: Context, headers: Sequence[Mapping[str, Any]], types: Sequence[str]
) -> dict[str, list[Any]]:
    """Return type → an answer for each header, of whatever instrument it is."""
    answers: dict[str, list[Any]] = {kind: [None] * len(headers) for kind in types}
    if not headers:
        return answers
    column = _Columns(headers, context.observatory).of(context.instrument_key)
    if len(column.values) == 1:
        return _of_instrument(context, column.values[0], headers, types)
    for code, value in enumerate(column.values):
        where = np.flatnonzero(column.codes == code).tolist()
        if not where:
            continue
        chosen = [headers[index] for index in where]
        for kind, found in _of_instrument(context, value, chosen, types).items():
            target = answers[kind]
            for index, answer in zip(where, found, strict=True):
                target[index] = answer
    return answers


def _of_instrument(
    context: Context, value: str, headers: Sequence[Mapping[str, Any]], types: Sequence[str]
) -> dict[str, list[Any]]:
    try:
        rules = context.rules(context.instrument_of({context.instrument_key: value}))
    except LightmillError as error:
        return {kind: [error] * len(headers) for kind in types}
    known = [kind for kind in types if kind in rules.types]
    answers = select_many(rules, headers, known)
    for kind in set(types).difference(known):
        unknown = UnknownInstrumentError("type of reference", kind, rules.types, place=rules.place)
        answers[kind] = [unknown] * len(headers)
    return answers


class _Column:
    """One field of all headers: a code for each, and the conditioned value of each code."""

    def __init__(self, codes: ndarray, values: list[str]) -> None:
        self.codes, self.values = codes, values


class _Codes(dict[str, int]):
    """A code for each value as it is written; those compared as equal have the same."""

    def __init__(self) -> None:
        super().__init__()
        self.spelled: dict[str, int] = {}

    def __missing__(self, value: str) -> int:
        found = self[value] = self.spelled.setdefault(condition(value), len(self.spelled))
        return found


class _Columns:
    """The fields of many headers, taken when they are first needed."""

    def __init__(self, headers: Sequence[Mapping[str, Any]], observatory: str) -> None:
        self.headers, self.observatory = headers, observatory
        self._columns: dict[str, _Column] = {}
        self._dates: dict[tuple[str, ...], _Dates] = {}
        self._said: set[str] | None = None  # every name of a field in any header
        self._taken: dict[str, Sequence[Any]] = {}

    def __len__(self) -> int:
        return len(self.headers)

    def of(self, key: str) -> _Column:
        """Return one field."""
        found = self._columns.get(key)
        if found is None:
            found = self._columns[key] = self._column(key)
        return found

    def _column(self, key: str) -> _Column:
        raw = self._raw(key)
        kinds = set(map(type, raw))
        if object in kinds:
            raw = self._completed(key, raw)
        if kinds - {str, object}:
            raw = [value if value.__class__ is str else str(value) for value in raw]
        table = _Codes()
        numbers = np.fromiter(map(table.__getitem__, raw), np.int64, len(raw))
        return _Column(numbers, list(table.spelled))

    def take(self, keys: Iterable[str]) -> None:
        """Take fields out of all headers in one go: each header is then visited once."""
        wanted = sorted(keys)
        if not self.headers or not wanted:
            return
        if self._said is None:
            self._said = set().union(*self.headers)
        asked = [*wanted, *(key.lower() for key in wanted if key.lower() in self._said)]
        asked = [key for key in dict.fromkeys(asked) if key in self._said]
        if len(asked) > 1:
            try:
                rows = list(map(itemgetter(*asked), self.headers))
            except KeyError:
                rows = [tuple([one.get(key, _MISSING) for key in asked]) for one in self.headers]
            self._taken.update(zip(asked, zip(*rows, strict=True), strict=True))

    def _raw(self, key: str) -> Sequence[Any]:
        """Return the values of a field; a lower-case spelling of its name counts more."""
        lower = key.lower()
        raw = self._values(key)
        if lower == key or (self._said is not None and lower not in self._said):
            return raw
        pairs = zip(self._values(lower), raw, strict=True)
        return [b if a is _MISSING else a for a, b in pairs]

    def _values(self, key: str) -> Sequence[Any]:
        found = self._taken.get(key)
        if found is None:
            found = [header.get(key, _MISSING) for header in self.headers]
        return found

    def _completed(self, key: str, raw: Sequence[Any]) -> list[Any]:
        """Return values with those that are missing taken from under another name of the field."""
        if not other_names(key, self.observatory):
            return [UNDEFINED if value is _MISSING else value for value in raw]
        return [
            by_other_name(header, key, self.observatory) if value is _MISSING else value
            for value, header in zip(raw, self.headers, strict=True)
        ]

    def dates(self, fields: tuple[str, ...]) -> _Dates:
        """Return the dates that some fields give together."""
        found = self._dates.get(fields)
        if found is None:
            found = self._dates[fields] = _Dates(self, fields)
        return found

    def grouped(
        self, keys: Sequence[str], more: ndarray | None = None
    ) -> tuple[ndarray, list[ndarray]]:
        """Return the first header of each combination of values, and the headers that have it."""
        combined = self.combined(keys, more)
        order = np.argsort(combined, kind="stable")
        ordered = combined[order]
        starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if order.size else order
        return order[starts], np.split(order, starts[1:]) if order.size else []

    def combined(self, keys: Sequence[str], more: ndarray | None = None) -> ndarray:
        """Return a number for each header: the same for those with the same values."""
        combined = np.zeros(len(self), np.int64) if more is None else more.astype(np.int64)
        for key in keys:
            column = self.of(key)
            if len(column.values) > 1:
                combined = combined * len(column.values) + column.codes
                if combined.size and combined.max() > 1 << 40:
                    combined = np.unique(combined, return_inverse=True)[1].reshape(-1)
        return combined


class _Dates:
    """The dates of many headers as numbers that sort as they do; -1 for what is no date.

    A date is a day and a time of day, each ranked among those there are; most headers have
    the two apart already.
    """

    def __init__(self, columns: _Columns, fields: tuple[str, ...]) -> None:
        found = [columns.of(field) for field in fields]
        forms = (_DAY, _TIME) if len(fields) == 2 else ()
        usual = [
            np.array([form.fullmatch(value) is not None for value in one.values], bool)
            for form, one in zip(forms, found, strict=False)
        ]
        plain = np.ones(len(columns), bool) if usual else np.zeros(len(columns), bool)
        for good, one in zip(usual, found, strict=False):
            plain &= good[one.codes]
        odd = self._odd(columns, fields, np.flatnonzero(~plain))
        parts = [
            {value for value, good in zip(one.values, fine.tolist(), strict=True) if good}
            for fine, one in zip(usual, found, strict=False)
        ] or [set(), set()]
        read = [text for text, _ in odd if text is not None]
        self.days = sorted(parts[0] | {text[:10] for text in read})
        self.times = sorted(parts[1] | {text[11:] for text in read})
        self.ranks = np.full(len(columns), -1, np.int64)
        if usual:
            days, times = (
                _ranks(known, one.values)[one.codes[plain]]
                for known, one in zip((self.days, self.times), found, strict=True)
            )
            self.ranks[plain] = days * len(self.times) + times
        for text, where in odd:
            if text is not None:
                self.ranks[where] = self.start(text)

    @staticmethod
    def _odd(
        columns: _Columns, fields: tuple[str, ...], where: ndarray
    ) -> list[tuple[str | None, ndarray]]:
        """Return each date that is written otherwise, as it is compared, and its headers."""
        if not where.size:
            return []
        combined = columns.combined(fields)[where]
        _, first, which = np.unique(combined, return_index=True, return_inverse=True)
        order = np.argsort(which.reshape(-1), kind="stable")
        counts = np.bincount(which.reshape(-1))
        groups = np.split(where[order], np.cumsum(counts)[:-1])
        texts = []
        for index in where[first].tolist():
            found = [columns.of(field) for field in fields]
            texts.append(_canonical([one.values[one.codes[index]] for one in found]))
        return list(zip(texts, groups, strict=True))

    def start(self, key: str) -> int:
        """Return the rank from which on dates are not before a key, compared as texts."""
        day, rest = key[:10], key[10:]
        number = bisect_left(self.days, day)
        before = number * len(self.times)
        if number == len(self.days) or self.days[number] != day or not rest or rest[0] < " ":
            return before
        if rest[0] > " ":
            return before + len(self.times)
        return before + bisect_left(self.times, rest[1:])


_DAY = re.compile(r"(?!0000)[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])")
_TIME = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]")


def _ranks(known: list[str], values: list[str]) -> ndarray:
    rank = {value: number for number, value in enumerate(known)}
    return np.fromiter((rank.get(value, -1) for value in values), np.int64, len(values))


def _canonical(parts: list[str]) -> str | None:
    if "UNDEFINED" in parts:
        return None
    try:
        return parse_date(" ".join(parts))
    except DateFormatError:
        return None


class _Bulk:
    """The answers of the rules of one type."""

    def __init__(self, rules: TypeRules, keys: tuple[str, ...], columns: _Columns) -> None:
        self.rules, self.keys, self.columns = rules, keys, columns
        self.values: list[Any] = []
        self.codes = np.empty(len(columns), np.int64)
        self._fields: list[tuple[str, list[str], ndarray]] | None = None
        self._told: dict[int, tuple[ndarray, int]] = {}

    def answers(self) -> list[Any]:
        """Return them in the order of the headers."""
        dates = _date_fields(self.rules)
        keys = [key for key in self.keys if key not in dates]
        epochs = self._epochs(dates)
        first, groups = self.columns.grouped(keys, epochs)
        for header, index, group in zip(self._headers(first), first.tolist(), groups, strict=True):
            if epochs is not None and epochs[index] == 0:
                self._each(group)
            else:
                self._answer(header, group, dates)
        values = self.values
        return [values[code] for code in self.codes.tolist()]

    def _epochs(self, dates: tuple[str, ...]) -> ndarray | None:
        """Return 1 + the number of epochs passed, 0 for what is no date; None if they do not count."""
        if not dates or not self.rules.hooks.precondition:
            return None
        found = self.columns.dates(dates)
        starts = [found.start(epoch) for epoch in self.rules.hooks.epochs or ()]
        passed = np.searchsorted(np.array(starts, np.int64), found.ranks, side="right")
        return np.where(found.ranks < 0, 0, passed + 1)

    def _headers(self, first: ndarray) -> Iterator[dict[str, str]]:
        """Return the header of some exposures, conditioned."""
        columns = [self.columns.of(key) for key in self.keys]
        values = [[one.values[code] for code in one.codes[first].tolist()] for one in columns]
        if not values:
            return iter([{} for _ in first])
        return (dict(zip(self.keys, said, strict=True)) for said in zip(*values, strict=True))

    def _header(self, index: int) -> dict[str, str]:
        if self._fields is None:
            found = [(key, self.columns.of(key)) for key in self.keys]
            self._fields = [(key, one.values, one.codes) for key, one in found]
        return {key: values[codes[index]] for key, values, codes in self._fields}

    def _give(self, where: ndarray, answer: Any) -> None:
        self.codes[where] = len(self.values)
        self.values.append(answer)

    def _one(self, header: dict[str, str]) -> Any:
        try:
            return self.rules.choose(header)
        except LightmillError as error:
            return error

    def _answer(self, header: dict[str, str], where: ndarray, dates: tuple[str, ...]) -> None:
        if not dates:
            self._give(where, self._one(header))
            return
        try:
            prepared = self.rules.prepared(header)
        except LightmillError as error:
            self._give(where, error)
            return
        if isinstance(prepared, str):
            self._give(where, prepared)
            return
        selector = self.rules.selector
        try:
            groups: Sequence[Any] = (
                selector.groups(prepared) if isinstance(selector, Match) else (selector,)
            )
        except LightmillError:
            self._give(where, self._one(header))
            return
        choices = [one.choice if isinstance(one, Group) else one for one in groups]
        ranks = self.columns.dates(dates).ranks[where]
        bad = ranks < 0
        if bad.any():
            self._each(where[bad])
            where, ranks = where[~bad], ranks[~bad]
        self._by_date(where, ranks, choices, dates)

    def _by_date(
        self, where: ndarray, ranks: ndarray, choices: Sequence[Any], dates: tuple[str, ...]
    ) -> None:
        when = self.columns.dates(dates)
        for choice in choices:
            if not where.size:
                return
            if not isinstance(choice, UseAfter):
                self._give(where, self._one(self._header(int(where[0]))))
                return
            starts, base = self._table(choice, when)
            places = np.searchsorted(starts, ranks, side="right")
            fits = places > 0
            self.codes[where[fits]] = base + places[fits] - 1
            where, ranks = where[~fits], ranks[~fits]
        if where.size and self.rules.hooks.fallback:
            self._each(where)
        elif where.size:
            self._give(where, self._failure(int(where[0])))

    def _table(self, choice: UseAfter, when: _Dates) -> tuple[ndarray, int]:
        """Return the rank at which each row begins to count, and the code of the first answer."""
        found = self._told.get(id(choice))
        if found is None:
            starts = np.fromiter(map(when.start, choice.keys), np.int64)
            found = self._told[id(choice)] = (starts, len(self.values))
            self.values += [self.rules.told(one) for one in choice.choices]
        return found

    def _failure(self, index: int) -> Any:
        answer = self._one(self._header(index))
        if isinstance(answer, NoMatchError):
            answer.found = None  # it is of many headers
        return answer

    def _each(self, where: ndarray) -> None:
        """Ask header by header; those that agree in all fields once."""
        seen: dict[tuple[str, ...], int] = {}
        for index in where.tolist():
            header = self._header(index)
            key = tuple(header.values())
            if key not in seen:
                seen[key] = len(self.values)
                self.values.append(self._one(header))
            self.codes[index] = seen[key]


def _date_fields(rules: TypeRules) -> tuple[str, ...]:
    """Return the fields that only say the date of what a Match leads to; none where it is not so."""
    selector = rules.selector
    if isinstance(selector, Match):
        choices = [choice for _, choice, _ in selector.rows() if isinstance(choice, Selector)]
        used = set(selector.fields)
    else:
        choices, used = [selector], set()
    fields = {choice.fields for choice in choices}
    if len(fields) != 1 or not all(_is_plain(choice) for choice in choices):
        return ()
    dates = fields.pop()
    return () if used.intersection(dates) or rules.asks(dates) else dates


def _is_plain(selector: Selector) -> bool:
    if not isinstance(selector, UseAfter) or isinstance(selector, (VersionAfter, ClosestTime)):
        return False
    return selector.is_flat
