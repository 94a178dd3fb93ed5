"""Read the literal that a cache's ``server_config`` is written in, without running anything.

The file is one dict of strings, numbers, lists and dicts, spelled as Python
spells it (or as JSON does). Long strings may be cut into pieces that stand side
by side. Nothing else is accepted: no names, no calls, no operators.
"""

from __future__ import annotations

import re
from typing import Any

from lightmill.errors import CorruptFileError

__all__ = ["read_literal", "write_literal"]

_TOKEN = re.compile(
    r"""
    (?P<space>[\s]+|\#[^\n]*)
  | (?P<string>[uU]?(?:'[^'\\\n]*(?:\\.[^'\\\n]*)*'|"[^"\\\n]*(?:\\.[^"\\\n]*)*"))
  | (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
  | (?P<word>[A-Za-z]+)
  | (?P<mark>[{}\[\](),:])
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{1,3}|.)", re.DOTALL)
_LETTERS = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "\n": ""}
_WORDS: dict[str, Any] = {
    "True": True,
    "False": False,
    "None": None,
    "true": True,
    "false": False,
    "null": None,
}
_DEEPEST = 50
_CLOSING = {"{": "}", "[": "]", "(": ")"}


def read_literal(text: str, place: object = None) -> Any:
    """Return the value a text spells.

    Parameters
    ----------
    text : str
        A dict, list, tuple, string, number, True, False or None.
    place : object, optional
        The file, for the message of an error.

    Returns
    -------
    value : object
        What is spelled.

    Raises
    ------
    CorruptFileError
        If the text is anything else; it names the line and the column.
    """
    return _Reader(text, place).read()


def write_literal(facts: dict[str, Any]) -> str:
    """Return a dict as text that `read_literal` and Python read, one line for each key."""
    lines = [f"{key!r}: {_plain(facts[key])!r}" for key in sorted(facts)]
    return "{" + ",\n ".join(lines) + "}\n"


def _plain(value: Any) -> Any:
    """Return a value made of Python's own types, which all print as literals."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [
            _plain(one) for one in (sorted(value) if isinstance(value, (set, frozenset)) else value)
        ]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and value == value and abs(value) != float("inf"):  # noqa: PLR0124 - NaN
        return value
    return str(value)


class _Reader:
    """One pass over the tokens of a text."""

    def __init__(self, text: str, place: object) -> None:
        self.text, self.place = text, place
        self.start = self.end = 0
        self.kind, self.token = "", ""

    def read(self) -> Any:
        self._advance()
        value = self._value(0)
        if self.kind:
            raise self._refused("something follows the value")
        return value

    def _advance(self) -> None:
        while True:
            self.start = self.end
            if self.start >= len(self.text):
                self.kind, self.token = "", ""
                return
            found = _TOKEN.match(self.text, self.start)
            if found is None:
                raise self._refused(
                    "the text is not a literal", self.text[self.start : self.start + 20]
                )
            self.end = found.end()
            self.kind, self.token = str(found.lastgroup), found.group()
            if self.kind != "space":
                return

    def _value(self, depth: int) -> Any:
        if depth > _DEEPEST:
            raise self._refused("the values are nested too deep")
        kind, token = self.kind, self.token
        if kind == "string":
            return self._string()
        if kind == "number":
            self._advance()
            return float(token) if re.search(r"[.eE]", token) else self._integer(token)
        if kind == "word" and token in _WORDS:
            self._advance()
            return _WORDS[token]
        if kind == "mark" and token in _CLOSING:
            return self._container(token, depth)
        raise self._refused("the text is not a literal", token or "the end of the file")

    def _integer(self, token: str) -> int:
        if len(token) > 100:
            raise self._refused("a number is too long", token)
        return int(token)

    def _string(self) -> str:
        pieces = []
        while self.kind == "string":
            quoted = self.token.lstrip("uU")[1:-1]
            pieces.append(_ESCAPE.sub(_unescaped, quoted) if "\\" in quoted else quoted)
            self._advance()
        return "".join(pieces)

    def _container(self, opening: str, depth: int) -> Any:
        closing = _CLOSING[opening]
        self._advance()
        values: list[Any] = []
        comma = False
        while self.token != closing or self.kind != "mark":
            if values and not comma:
                raise self._refused("a comma is missing", self.token or "the end of the file")
            value = self._value(depth + 1)
            if opening == "{":
                self._expect(":")
                if isinstance(value, (dict, list)):
                    raise self._refused("a key is not a plain value")
                value = (value, self._value(depth + 1))
            values.append(value)
            comma = (self.kind, self.token) == ("mark", ",")
            if comma:
                self._advance()
        self._advance()
        if opening == "{":
            return dict(values)
        if opening == "[":
            return values
        return values[0] if len(values) == 1 and not comma else tuple(values)

    def _expect(self, mark: str) -> None:
        if self.kind != "mark" or self.token != mark:
            raise self._refused(f"a {mark!r} is missing", self.token or "the end of the file")
        self._advance()

    def _refused(self, fact: str, found: str | None = None) -> CorruptFileError:
        line = self.text.count("\n", 0, self.start) + 1
        column = self.start - self.text.rfind("\n", 0, self.start)
        return CorruptFileError(
            fact,
            place=f"{self.place or 'text'}, line {line}, column {column}",
            found=found,
            expected="a dict of strings, numbers and lists, as Python spells it",
            remedy="remove the file: the next contact with a server writes it again",
        )


def _unescaped(match: re.Match[str]) -> str:
    code = match.group(1)
    if code[0] in "xuU" and len(code) > 1:
        number = int(code[1:], 16)
        return chr(number) if number < 0x110000 else "\ufffd"
    if code[0] in "01234567":
        return chr(int(code, 8))
    return _LETTERS.get(code, code if code in "\\'\"" else "\\" + code)
