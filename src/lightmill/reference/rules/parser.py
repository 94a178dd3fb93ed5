"""A parser of the small part of Python's syntax that mappings are written in."""

from __future__ import annotations

import re
from typing import Any

from lightmill.errors import suggestion
from lightmill.reference.errors import RulesFormatError
from lightmill.reference.rules.nodes import SELECTORS, Duplicate, MappingText, Node

__all__ = ["Parser"]

_SECTIONS = ("header", "selector", "comment")
_DEEPEST = 40  # real mappings nest four deep
_LONGEST_NUMBER = 100  # characters; a long one would take long to convert
_WORDS = {"True": True, "False": False, "None": None}
_CLOSING = {"(": ")", "[": "]", "{": "}"}
_TOKEN = re.compile(
    r"""
    (?P<space>(?:[ \t\r\n\f]|\#[^\n]*)++)
  | (?P<string>(?:[rRuU]?)(?:
        '''(?:[^'\\]|\\.|'(?!''))*+'''
      | \"\"\"(?:[^"\\]|\\.|"(?!""))*+\"\"\"
      | '(?:[^'\\\n]|\\.)*+'
      | "(?:[^"\\\n]|\\.)*+"))
  | (?P<number>(?:0[xX][0-9a-fA-F]++|(?:[0-9][0-9_]*+(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?)
      (?![0-9A-Za-z_.]))
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*+)
  | (?P<mark>[{}\[\](),:=+-])
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(
    r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{1,3}|\n|.)", re.DOTALL
)
_LETTERS = {
    "n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "\n": "",
    "\\": "\\", "'": "'", '"': '"',
}  # fmt: skip


class Parser:
    """One pass over the tokens of a text."""

    def __init__(self, text: str, name: str, offset: int = 0, end: int | None = None) -> None:
        self.text, self.name = text, name
        self.limit = len(text) if end is None else end
        self.start = self.end = offset
        self.kind = self.token = ""
        self.fresh = True  # a new line began before the token
        self.duplicates: list[Duplicate] = []
        self._line, self._counted = 1, 0
        self._advance()
        self.fresh = True

    # ------------------------------------------------------------------ tokens

    def _advance(self) -> None:
        match = _TOKEN.match(self.text, self.end, self.limit)
        self.fresh = False
        if match is not None and match.lastgroup == "space":
            self.fresh = "\n" in match.group()
            self.start = self.end = match.end()
            match = _TOKEN.match(self.text, self.end, self.limit)
        self.start = self.end
        if match is None:
            if self.start < self.limit:
                raise self._strange()
            self.kind = self.token = ""
            return
        self.end = match.end()
        self.kind, self.token = str(match.lastgroup), match.group()

    def _strange(self) -> RulesFormatError:
        rest = self.text[self.start : self.limit].split("\n", 1)[0][:40]
        if rest[:1] in {"'", '"'} or rest[1:2] in {"'", '"'}:
            return self.wrong("a text in quotes does not end", found=rest)
        if rest[:1].isdigit():
            return self.wrong("this is no number", found=rest)
        return self.wrong("this character has no meaning here", found=rest)

    def line(self) -> int:
        """Return the line of the present token."""
        self._line += self.text.count("\n", self._counted, self.start)
        self._counted = self.start
        return self._line

    def wrong(
        self, fact: str, *, found: object = None, expected: object = None, remedy: str | None = None
    ) -> RulesFormatError:
        """Return the error of the present token."""
        column = self.start - self.text.rfind("\n", 0, self.start)
        if found is None:
            found = self.token or "the end of the text"
        return RulesFormatError(
            fact, place=self.name, line=self.line(), column=column,
            found=found, expected=expected, remedy=remedy,
        )  # fmt: skip

    def _is(self, mark: str) -> bool:
        return self.kind == "mark" and self.token == mark

    def _expect(self, mark: str, what: str) -> None:
        if not self._is(mark):
            raise self.wrong(what, expected=repr(mark))
        self._advance()

    # -------------------------------------------------------------- statements

    def mapping(self) -> MappingText:
        """Return the whole."""
        sections: dict[str, Any] = {}
        while self.kind:
            self._statement(sections)
        for name in _SECTIONS[:2]:
            if name not in sections:
                raise self.wrong(f"the file defines no {name}", expected=f"{name} = {{…}}")
        return MappingText(
            name=self.name,
            header=sections["header"],
            selector=sections["selector"],
            comment=sections.get("comment"),
            duplicates=tuple(self.duplicates),
        )

    def _statement(self, sections: dict[str, Any]) -> None:
        name = self.token
        if self.kind != "name" or name not in _SECTIONS:
            raise self.wrong(
                "a mapping defines header, selector and comment, nothing else",
                expected="one of header, selector, comment",
                remedy=suggestion(name, _SECTIONS) if self.kind == "name" else None,
            )
        if self.start and self.text[self.start - 1] != "\n":
            raise self.wrong(f"{name} does not begin its line")
        self._advance()
        if self.fresh:
            raise self.wrong(f"the line ends after {name}", expected="'='")
        self._expect("=", f"{name} is not followed by '='")
        if self.fresh:
            raise self.wrong(f"the line ends before the value of {name}")
        sections[name] = self._section(name)
        if self.kind and not self.fresh:
            raise self.wrong("something follows a value in its line", expected="a new line")

    def _section(self, name: str) -> Any:
        if name == "selector":
            if self.kind == "name" and self.token not in _WORDS:
                return self._selector(0)
            if self._is("{"):
                return self._dict(0)
            raise self.wrong("a selector is a table", expected="{…} or Match({…})")
        if name == "header":
            if not self._is("{"):
                raise self.wrong("a header is a table", expected="{…}")
            return self._dict(0)
        if self.kind != "string":
            raise self.wrong("a comment is a text in quotes")
        return self._string(loose=False)

    def lone_value(self) -> Any:
        """Return the one value there is."""
        value = self._value(0)
        if self.kind:
            raise self.wrong("something follows the value")
        return value

    # ------------------------------------------------------------------ values

    def _value(self, depth: int, *, selectors: bool = False) -> Any:
        if depth > _DEEPEST:
            raise self.wrong(f"values are nested deeper than {_DEEPEST}")
        kind, token = self.kind, self.token
        if kind == "string":
            return self._string()
        if kind == "number" or (kind == "mark" and token in {"+", "-"}):
            return self._number()
        if self._is("{"):
            return self._dict(depth)
        if kind == "mark" and token in _CLOSING:
            return self._sequence(depth)
        if kind == "name" and token in _WORDS:
            self._advance()
            return _WORDS[token]
        if kind == "name" and selectors:
            return self._selector(depth)
        raise self.wrong(
            "this is no value", expected="a text in quotes, a number, a tuple, a list or a table"
        )

    def _string(self, *, loose: bool = True) -> str:
        pieces: list[str] = []
        while self.kind == "string" and not (pieces and self.fresh and not loose):
            token = self.token
            raw = token[0] in "rR"
            bare = token.lstrip("rRuU")
            quotes = 3 if bare[:3] in {"'''", '"""'} and len(bare) > 5 else 1
            body = bare[quotes:-quotes]
            pieces.append(_ESCAPE.sub(_unescaped, body) if "\\" in body and not raw else body)
            self._advance()
        return pieces[0] if len(pieces) == 1 else "".join(pieces)

    def _number(self) -> int | float:
        sign = 1
        if self.kind == "mark":
            sign = -1 if self._is("-") else 1
            self._advance()
            if self.kind != "number":
                raise self.wrong("a sign is not followed by a number")
        token = self.token
        if len(token) > _LONGEST_NUMBER:
            raise self.wrong("a number is too long", found=token[:40])
        try:
            if token[:2] in {"0x", "0X"}:
                value: int | float = int(token, 16)
            elif token.replace("_", "").isdigit():
                value = int(token, 0)  # as Python does, refuses 007
            else:
                value = float(token)
        except ValueError:
            raise self.wrong("this is no number") from None
        self._advance()
        return sign * value

    def _sequence(self, depth: int) -> Any:
        opening = self.token
        closing = _CLOSING[opening]
        self._advance()
        values: list[Any] = []
        comma = True
        while not self._is(closing):
            if not comma:
                raise self.wrong("a comma is missing", expected=f"',' or {closing!r}")
            values.append(self._value(depth + 1, selectors=True))
            comma = self._comma()
        self._advance()
        if opening == "[":
            return values
        return values[0] if len(values) == 1 and not comma else tuple(values)

    def _comma(self) -> bool:
        if self._is(","):
            self._advance()
            return True
        return False

    def _dict(self, depth: int) -> dict[Any, Any]:
        return {key: value for key, value, _ in self._rows(depth, selectors=False)}

    def _selector(self, depth: int) -> Node:
        kind, line = self.token, self.line()
        if kind not in SELECTORS:
            raise self.wrong(
                "there is no such selector",
                expected="one of " + ", ".join(SELECTORS),
                remedy=suggestion(kind, SELECTORS),
            )
        self._advance()
        self._expect("(", f"{kind} is not followed by its rows")
        if not self._is("{"):
            raise self.wrong(f"the rows of {kind} are a table", expected="{…}")
        rows = self._rows(depth + 1, selectors=True)
        self._comma()
        self._expect(")", f"{kind} has one table and nothing else")
        return Node(kind, rows, line)

    def _rows(self, depth: int, *, selectors: bool) -> list[tuple[Any, Any, int]]:
        if depth > _DEEPEST:
            raise self.wrong(f"tables are nested deeper than {_DEEPEST}")
        self._advance()
        rows: list[tuple[Any, Any, int]] = []
        first: dict[Any, int] = {}
        comma = True
        while not self._is("}"):
            if not comma:
                raise self.wrong("a comma is missing", expected="',' or '}'")
            line = self.line()
            key = self._value(depth + 1)
            try:
                again = first.setdefault(key, line)
            except TypeError:
                raise self.wrong("a list or a table cannot be a key") from None
            if again != line or (rows and rows[-1][0] == key and rows[-1][2] == line):
                self.duplicates.append(Duplicate(key, line, again))
            self._expect(":", "a key is not followed by ':'")
            rows.append((key, self._value(depth + 1, selectors=selectors), line))
            comma = self._comma()
        self._advance()
        return rows


def _unescaped(match: re.Match[str]) -> str:
    code = match.group(1)
    if code[0] in "xuU" and len(code) > 1:
        number = int(code[1:], 16)
        return chr(number) if number < 0x110000 else "\ufffd"
    if code[0] in "01234567":
        return chr(int(code, 8))
    return _LETTERS.get(code, "\\" + code)
