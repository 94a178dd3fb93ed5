"""The elements of a Match key: how each is spelled, and which header values it matches."""

from __future__ import annotations

import fnmatch
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lightmill.reference.errors import RulesFormatError
from lightmill.reference.rules.values import ANY, NOT_APPLICABLE, condition, number

__all__ = ["Element", "compile_element", "is_special", "spell_element"]

NO, FREE, YES = -1, 0, 1  # no match; matches and counts nothing; matches and counts one
Test = Callable[[str], int]

_RELATION = re.compile(r"(<=|>=|<|>)\s*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:E[+-]?[0-9]+)?)")
_AS_WRITTEN = frozenset({("{", "}"), ("(", ")")})  # regular expressions, texts to be taken exactly
_ENCLOSED = _AS_WRITTEN | {("#", "#")}
_COMPARED: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_REPEATED = re.compile(r"[*+}]\??\)+[*+{]")
_LONGEST_PATTERN = 1000  # characters of a regular expression or glob


@dataclass(frozen=True)
class Element:
    """One element of a key.

    Parameters
    ----------
    text : str
        As compared and sorted.
    kind : str
        ``literal``, ``any``, ``n/a`` or, with a test, ``glob``, ``regex``, ``exact``, ``relation``,
        ``between``, ``not``, ``choice``.
    values : tuple of str
        The values of a literal; otherwise the texts the check of values knows it by.
    test : callable or None
        Value → -1, 0 or 1.
    free : bool
        Whether it opens its column: then no value is refused before rows are tried.
    """

    text: str
    kind: str
    values: tuple[str, ...]
    test: Test | None = None
    free: bool = False

    def match(self, value: str) -> int:
        """Return -1 where a conditioned value does not match, else the weight 0 or 1."""
        if self.kind == "not":
            assert self.test is not None
            return self.test(value)
        if value == NOT_APPLICABLE:
            return FREE
        if self.kind == "n/a":
            return FREE
        if self.kind == "any" or value == ANY:
            return YES
        if self.test is not None:
            return self.test(value)
        return YES if value in self.values else NO


def spell_element(raw: Any) -> str:
    """Return the spelling an element of a key is compared and sorted by."""
    if isinstance(raw, (tuple, list)):
        return "|".join(sorted(spell_element(one) for one in raw))
    text = raw if isinstance(raw, str) else str(raw)
    if (text[:1], text[-1:]) in _AS_WRITTEN:
        return text
    whole = condition(text)
    if "|" in text and not is_special(whole):
        return "|".join(sorted(condition(part) for part in text.split("|") if part.strip()))
    return whole


def compile_element(text: str, place: str, line: int = 0) -> Element:
    """Return the meaning of an element as spelled.

    Parameters
    ----------
    text : str
        From `spell_element`.
    place, line : str, int
        For errors.

    Raises
    ------
    RulesFormatError
        If it is written in none of the forms an element has.
    """
    if len(text) > _LONGEST_PATTERN and not text.replace("|", "").replace(".", "").isalnum():
        raise RulesFormatError("an element of a key is too long", place=place, line=line or None)
    try:
        return _compiled(text)
    except (ValueError, re.error, OverflowError, RecursionError) as error:
        raise RulesFormatError(
            f"an element of a key makes no sense: {error}",
            place=place, line=line or None, found=text,
        ) from None  # fmt: skip


def is_special(text: str) -> bool:
    """Return whether a text has the form of a pattern that is more than a list of values.

    No value of that form, and no value of a column with such a pattern, is refused before rows are
    tried.
    """
    return text.startswith(("NOT", "BETWEEN")) or (text[:1], text[-1:]) in _ENCLOSED


def _compiled(text: str) -> Element:
    if text == NOT_APPLICABLE:
        return Element(text, "n/a", (text,), free=True)
    if text == ANY:
        return Element(text, "any", (text,), free=True)
    free = is_special(text)
    for kind, begin, end, test in _FORMS:
        if text.startswith(begin) and text.endswith(end):
            return Element(text, kind, (text,), test(text), free=free)
    if "|" in text or "*" in text:
        return _patterns(text)
    if text.startswith(("<", ">")):
        return Element(text, "relation", (text,), _relation(text), free=free)
    return Element(text, "literal", (text,), free=free)


def _not(text: str) -> Test:
    inner = _compiled(_listed(text[4:].strip()))
    return lambda value: -inner.match(value)


def _listed(text: str) -> str:
    if "|" in text and (text[:1], text[-1:]) not in _AS_WRITTEN:
        return "|".join(condition(part) for part in text.split("|") if part.strip())
    return condition(text) if text[:1] not in {"(", "{"} else text


def _exact(text: str) -> Test:
    return lambda value: YES if value == text[1:-1] else NO


def _regex(text: str) -> Test:
    pattern = text[1:-1]
    if _REPEATED.search(pattern):
        raise ValueError("a repetition is repeated, which may take for ever")
    compiled = re.compile(pattern)
    return lambda value: YES if value == pattern or compiled.match(value) else NO


def _patterns(text: str) -> Element:
    parts = tuple(text.split("|"))
    if not any(set(part) & set("*?[") for part in parts):
        return Element(text, "literal", parts, free=bool({NOT_APPLICABLE, ANY} & set(parts)))
    return Element(
        text, "glob", parts, _Globs(parts), free=bool({NOT_APPLICABLE, ANY} & set(parts))
    )


class _Globs:
    """Whether a value fits one of some globs; they are compiled when a value comes."""

    def __init__(self, parts: tuple[str, ...]) -> None:
        self.parts = parts
        self._matches: list[Callable[[str], Any]] | None = None

    def __call__(self, value: str) -> int:
        """Return 1 where a value fits, else -1."""
        if self._matches is None:
            self._matches = [re.compile(fnmatch.translate(part)).match for part in self.parts]
        return YES if any(match(value) for match in self._matches) else NO


def _relations(text: str) -> Test:
    """Return the test of one relation, or of the first two of several: so contexts are read."""
    for word, both in ((" AND ", True), (" OR ", False)):
        if word in text:
            first, second = (_relation(part.strip("# ")) for part in text.split(word)[:2])
            return _joined(text, first, second, min if both else max)
    inner = _compiled(text[1:-1]) if text[1:-1] != NOT_APPLICABLE else Element("", "literal", ())
    return inner.match


def _joined(text: str, first: Test, second: Test, worst: Callable[[int, int], int]) -> Test:
    return lambda value: YES if value == text else worst(first(value), second(value))


def _relation(text: str) -> Test:
    """Return the test of a single relation; what is none only equals itself."""
    if text[:1] not in {"<", ">"}:
        return lambda value: YES if value == text else NO
    found = _RELATION.match(text)
    if found is None:
        raise ValueError(f"{text!r} is no relation to a number")
    compare, limit = _COMPARED[found[1]], float(found[2])

    def test(value: str) -> int:
        size = number(value)
        return YES if value == text or (size is not None and compare(size, limit)) else NO

    return test


def _between(text: str) -> Test:
    words = text.split()
    if len(words) != 3:
        raise ValueError("it is written BETWEEN LOWER UPPER")
    lower, upper = float(words[1]), float(words[2])
    if lower > upper:
        raise ValueError("the lower limit is above the upper one")

    def test(value: str) -> int:
        size = number(value)
        return YES if size is not None and lower <= size < upper else NO

    return test


_FORMS: tuple[tuple[str, str, str, Callable[[str], Test]], ...] = (
    ("not", "NOT ", "", _not),
    ("exact", "{", "}", _exact),
    ("regex", "(", ")", _regex),
    ("between", "BETWEEN", "", _between),
    ("relation", "#", "#", _relations),
)
