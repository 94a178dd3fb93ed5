"""Conditions in the header of rules, such as ``(DETECTOR == 'UVIS' and FILTER not in ['F1'])``.

They are parsed here and evaluated here: comparisons, ``and``, ``or``, ``not``, ``in``, texts, numbers
and names of header fields. There is nothing else in the language.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lightmill.reference.errors import RulesFormatError

__all__ = ["Expression", "UnknownFieldError", "compile_expression"]

Term = Callable[[Mapping[str, str]], Any]
_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<string>'(?:[^'\\\n]|\\.)*+'|"(?:[^"\\\n]|\\.)*+")
  | (?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![A-Za-z0-9_.]))
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)
  | (?P<mark>==|!=|<=|>=|<|>|[()\[\],-])
    """,
    re.VERBOSE,
)
_DEEPEST = 40
_COMPARED: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le,
    ">": operator.gt, ">=": operator.ge,
    "in": lambda one, many: one in many, "not in": lambda one, many: one not in many,
}  # fmt: skip
_WORDS = {"and", "or", "not", "in"}
_CONSTANTS: dict[str, Any] = {"True": True, "False": False, "None": None}


class UnknownFieldError(Exception):
    """An expression asks for a field that the header has not, or compares what cannot be."""


class Expression:
    """A condition on a header.

    Parameters
    ----------
    text : str
        As it stands in the rules.
    term : callable
        Its meaning; None if it is always `fixed`.
    fixed : bool
        The answer where there is no term.
    names : iterable of str
        The fields it asks for, as they are written in it.
    """

    def __init__(
        self, text: str, term: Term | None, *, fixed: bool = True, names: Iterable[str] = ()
    ) -> None:
        self.text, self.term, self.fixed = text, term, fixed
        self.names = frozenset(names)

    def is_always(self, answer: bool) -> bool:
        """Return whether it is the same for every header."""
        return self.term is None and self.fixed is answer

    def __call__(self, header: Mapping[str, str]) -> bool:
        """Return whether it holds.

        Parameters
        ----------
        header : mapping
            Name of field → conditioned value.

        Raises
        ------
        UnknownFieldError
            If it cannot be told.
        """
        if self.term is None:
            return self.fixed
        try:
            return bool(self.term(header))
        except TypeError as error:
            raise UnknownFieldError(str(error)) from None


def compile_expression(text: Any, place: str, key: str) -> Expression:
    """Return the meaning of an expression.

    Parameters
    ----------
    text : str
        In parentheses; or ``ALWAYS``, ``NEVER``. What has no parentheses is read in lower case, so
        it names no field.
    place : str
        The file, for errors.
    key : str
        The key of its header it stands under.

    Raises
    ------
    RulesFormatError
        If it is no expression.
    """
    if not isinstance(text, str):
        raise RulesFormatError(f"{key} is no expression", place=place, found=text)
    stripped = text.strip()
    if stripped.lower() in {"always", "never"}:
        return Expression(text, None, fixed=stripped.lower() == "always")
    if not (stripped.startswith("(") and stripped.endswith(")")):
        stripped = stripped.lower()
    parser = _Parser(stripped, place, key)
    term = parser.whole()
    return Expression(text, term, names=parser.names)


class _Parser:
    """Recursive descent; every `_…` method returns the meaning of what it read."""

    def __init__(self, text: str, place: str, key: str) -> None:
        self.text, self.place, self.key = text, place, key
        self.start = self.end = 0
        self.kind = self.token = ""
        self.depth = 0
        self.names: set[str] = set()
        self._advance()

    def wrong(self, fact: str) -> RulesFormatError:
        return RulesFormatError(
            f"{self.key}: {fact} at character {self.start + 1} of {self.text[:200]!r}",
            place=self.place,
            found=self.token or "the end",
            expected="comparisons of fields with texts, joined by and, or, not, in",
        )

    def _advance(self) -> None:
        while True:
            self.start = self.end
            match = _TOKEN.match(self.text, self.end)
            if match is None:
                self.kind, self.token = "", self.text[self.start : self.start + 10]
                if self.token:
                    raise self.wrong("this is no part of an expression")
                return
            self.end = match.end()
            if match.lastgroup != "space":
                self.kind, self.token = str(match.lastgroup), match.group()
                if self.kind == "name" and self.token in _WORDS:
                    self.kind = "word"
                return

    def _take(self, kind: str, token: str) -> bool:
        if self.kind == kind and self.token == token:
            self._advance()
            return True
        return False

    def whole(self) -> Term:
        term = self._either()
        if self.kind:
            raise self.wrong("something follows the expression")
        return term

    def _either(self) -> Term:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise self.wrong("too many parentheses")
        terms = [self._both()]
        while self._take("word", "or"):
            terms.append(self._both())
        self.depth -= 1
        return terms[0] if len(terms) == 1 else _any_of(terms)

    def _both(self) -> Term:
        terms = [self._inverted()]
        while self._take("word", "and"):
            terms.append(self._inverted())
        return terms[0] if len(terms) == 1 else _all_of(terms)

    def _inverted(self) -> Term:
        negative = False
        while self._take("word", "not"):
            negative = not negative
        term = self._comparison()
        return (lambda header: not term(header)) if negative else term

    def _comparison(self) -> Term:
        terms, operators = [self._value()], []
        while True:
            if self.kind == "mark" and self.token in _COMPARED:
                operators.append(_COMPARED[self.token])
                self._advance()
            elif self._take("word", "in"):
                operators.append(_COMPARED["in"])
            elif self.kind == "word" and self.token == "not":  # noqa: S105 - a word of a language
                self._advance()
                if not self._take("word", "in"):
                    raise self.wrong("'not' here is followed by 'in'")
                operators.append(_COMPARED["not in"])
            else:
                break
            terms.append(self._value())
        return terms[0] if not operators else _chain(terms, operators)

    def _value(self) -> Term:
        kind, token = self.kind, self.token
        if kind == "string":
            pieces = []
            while self.kind == "string":
                pieces.append(re.sub(r"\\(.)", r"\1", self.token[1:-1]))
                self._advance()
            return _constant("".join(pieces))
        if kind == "number" or (kind == "mark" and token == "-"):  # noqa: S105
            return self._number()
        if kind == "name":
            self._advance()
            if token in _CONSTANTS:
                return _constant(_CONSTANTS[token])
            self.names.add(token)
            return _field(token)
        if kind == "mark" and token in {"(", "["}:
            return self._group(token)
        raise self.wrong("a value is missing")

    def _number(self) -> Term:
        sign = -1 if self._take("mark", "-") else 1
        token = self.token
        if self.kind != "number":
            raise self.wrong("a number is missing")
        self._advance()
        return _constant(
            sign * (int(token) if token.isdigit() and len(token) < 100 else float(token))
        )

    def _group(self, opening: str) -> Term:
        closing = ")" if opening == "(" else "]"
        self._advance()
        terms: list[Term] = []
        comma = False
        while not self._take("mark", closing):
            if terms and not comma:
                raise self.wrong(f"{closing!r} is missing")
            terms.append(self._either())
            comma = self._take("mark", ",")
        if opening == "(" and len(terms) == 1 and not comma:
            return terms[0]
        return lambda header: [term(header) for term in terms]


def _constant(value: Any) -> Term:
    return lambda _: value


def _field(name: str) -> Term:
    key = name.replace(".", "_")

    def value(header: Mapping[str, str]) -> Any:
        try:
            return header[key]
        except KeyError:
            raise UnknownFieldError(f"the header has no {name}") from None

    return value


def _any_of(terms: list[Term]) -> Term:
    def value(header: Mapping[str, str]) -> Any:
        found: Any = False
        for term in terms:
            found = term(header)
            if found:
                break
        return found

    return value


def _all_of(terms: list[Term]) -> Term:
    def value(header: Mapping[str, str]) -> Any:
        found: Any = True
        for term in terms:
            found = term(header)
            if not found:
                break
        return found

    return value


def _chain(terms: list[Term], operators: list[Callable[[Any, Any], Any]]) -> Term:
    def value(header: Mapping[str, str]) -> Any:
        left = terms[0](header)
        found: Any = True
        for compare, term in zip(operators, terms[1:], strict=True):
            right = term(header)
            found = compare(left, right)
            if not found:
                break
            left = right
        return found

    return value
