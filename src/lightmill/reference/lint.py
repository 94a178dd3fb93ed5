"""Rules against their own grammar: what loads and yet does not do what its author meant.

The answers rules give are those of existing tools, oddities included; here
each oddity that bites is said, with its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from lightmill.errors import LightmillError
from lightmill.reference.cells import cell_problems
from lightmill.reference.findings import ERROR, NOTE, WARNING, Finding
from lightmill.reference.parsed import SPECIAL, fields_of
from lightmill.reference.row_checks import (
    Row,
    is_special_case,
    shadowed_rows,
    unreachable_cells,
)
from lightmill.reference.rules.expressions import compile_expression
from lightmill.reference.rules.text import MappingText, Node
from lightmill.reference.rules.values import condition, parse_date

__all__ = ["lint"]

_REQUIRED = {
    "PIPELINE": ("observatory", "parkey", "name", "derived_from"),
    "INSTRUMENT": ("observatory", "instrument", "parkey", "name", "derived_from"),
    "REFERENCE": ("observatory", "instrument", "filekind", "parkey", "name", "derived_from"),
}
_BY_SUFFIX = {".pmap": "PIPELINE", ".imap": "INSTRUMENT", ".rmap": "REFERENCE"}
_NAMES = re.compile(r"""'[^']*'|"[^"]*"|[A-Za-z_][A-Za-z0-9_.]*""")
_WORDS = frozenset({"and", "or", "not", "in", "is", "True", "False", "None", "ALWAYS", "NEVER"})
_VERSION = re.compile(r"\d+(?:\.\d+)*")
_MANY = 400  # rows beyond which every pair of them is not compared


def lint(mapping: MappingText, place: str) -> list[Finding]:
    """Return what is the matter with a parsed mapping.

    Parameters
    ----------
    mapping : MappingText
        Of any level, from either form.
    place : str
        Its file.

    Returns
    -------
    findings : list of Finding
        In the order of its lines; what concerns its header first.
    """
    return sorted(_Lint(mapping, place).findings(), key=lambda one: one.line or 0)


class _Lint:
    def __init__(self, mapping: MappingText, place: str) -> None:
        self.mapping = mapping
        self.header = mapping.header
        self.place = place
        self.fields = fields_of(mapping)

    def say(
        self, severity: str, code: str, line: int | None, fact: str, remedy: str = ""
    ) -> Finding:
        return Finding(severity, code, self.place, line, fact, remedy)

    def findings(self) -> Iterator[Finding]:
        yield from self.duplicates()
        yield from self.head()
        selector = self.mapping.selector
        if not isinstance(selector, Node):
            yield from self.table(selector)
            return
        yield from self.expressions()
        if not selector.items:
            yield self.say(NOTE, "empty", None, "there are no rows: nothing will be found")
        yield from self.node(selector, 0)

    # ---------------------------------------------------------------- header

    def duplicates(self) -> Iterator[Finding]:
        for one in self.mapping.duplicates:
            yield self.say(
                ERROR, "duplicate", one.line,
                f"{one.key!r} stands twice; the first is in line {one.first_line}, the last counts",
                "remove one of the two",
            )  # fmt: skip

    def head(self) -> Iterator[Finding]:
        kind = str(self.header.get("mapping", "")).upper()
        suffix = "." + self.place.rpartition(".")[2]
        expected = _BY_SUFFIX.get(suffix)
        if expected is not None and kind != expected:
            yield self.say(
                ERROR, "header", None, f"mapping is {kind!r} in a file called {suffix}",
                f"set 'mapping' : '{expected}'",
            )  # fmt: skip
        for key in _REQUIRED.get(kind, ()):
            if key not in self.header and (expected is not None or key == "parkey"):
                # in YAML, the folder says the rest
                yield self.say(ERROR, "header", None, f"the header has no {key}", "add it")
        name = self.place.rpartition("/")[2]
        if expected is not None and self.header.get("name") not in {None, name}:
            yield self.say(
                WARNING, "name", None, f"the file calls itself {self.header['name']!r}",
                f"set 'name' : '{name}', or rename the file",
            )  # fmt: skip
        for level in self.fields:
            for field in level:
                if field != field.upper():
                    yield self.say(
                        ERROR, "lower-case-field", None,
                        f"the field {field!r} is in lower case: headers are asked in upper case, "
                        "it never matches",
                        f"write {field.upper()}",
                    )  # fmt: skip

    def expressions(self) -> Iterator[Finding]:
        known = {_name(field) for level in self.fields for field in level}
        extra = self.header.get("extra_keys") or ()
        extra = extra if isinstance(extra, (tuple, list)) else (extra,)
        known |= {_name(str(one)) for one in extra}
        found = [(key, self.header.get(key)) for key in ("rmap_relevance", "rmap_omit")]
        relevance = self.header.get("parkey_relevance")
        if isinstance(relevance, dict):
            found += [(f"parkey_relevance of {key}", text) for key, text in relevance.items()]
            for key in relevance:
                if _name(str(key)) not in known:
                    yield self.say(
                        WARNING, "unknown-field", None,
                        f"parkey_relevance speaks of {key}, which is not matched",
                    )  # fmt: skip
        for key, text in found:
            if text is None:
                continue
            try:
                compile_expression(text, self.place, key)
            except LightmillError as error:
                yield self.say(
                    ERROR, "expression", None, f"{key} {text!r}: {error.fact}",
                    "write a comparison in parentheses, ALWAYS or NEVER",
                )  # fmt: skip
                continue
            for name in sorted(_names(str(text)) - known):
                yield self.say(
                    WARNING, "unknown-field", None,
                    f"{key} asks for {name}, which is neither matched nor among extra_keys: it will "
                    "be UNDEFINED",
                    f"add {name} to extra_keys",
                )  # fmt: skip
        for key in ("comment_parkeys", "substitutions"):
            said = self.header.get(key, ())
            if not isinstance(said, (tuple, list, dict)):
                yield self.say(ERROR, "header", None, f"{key} is {said!r}", "name fields")
                continue
            for field in said:
                if _name(str(field)) not in known:
                    yield self.say(
                        WARNING,
                        "unknown-field",
                        None,
                        f"{key} speaks of {field}, which is not matched",
                    )

    def table(self, selector: dict[str, Any]) -> Iterator[Finding]:
        for name, value in selector.items():
            if value in SPECIAL and str(self.header.get("mapping", "")).upper() == "PIPELINE":
                yield self.say(
                    WARNING, "special-instrument", None,
                    f"{name} has {value} where the rules of an instrument stand: other tools crash",
                    "leave the instrument out",
                )  # fmt: skip

    # ---------------------------------------------------------------- selectors

    def node(self, node: Node, depth: int) -> Iterator[Finding]:
        if depth >= len(self.fields):
            line = node.items[0][2] if node.items else None
            yield self.say(
                ERROR, "depth", line,
                f"selectors are nested {depth + 1} deep, parkey has {len(self.fields)} levels",
                "give parkey one tuple of fields a level",
            )  # fmt: skip
        yield from self.ragged(node, depth)
        check = {
            "Match": self.match,
            "UseAfter": self.dates,
            "ClosestTime": self.dates,
            "VersionAfter": self.versions,
            "SelectVersion": self.relations,
            "GeometricallyNearest": self.numbers,
            "Bracket": self.numbers,
        }.get(node.kind)
        if check is not None:
            yield from check(node, depth)
        for _, value, line in node.items:
            if isinstance(value, Node):
                yield from self.node(value, depth + 1)
            else:
                yield from self.answer(value, line)

    def ragged(self, node: Node, depth: int) -> Iterator[Finding]:
        kinds = {value.kind if isinstance(value, Node) else "" for _, value, _ in node.items}
        if len(kinds) > 1:
            first = _kind(node.items[0][1])
            odd = next(line for _, value, line in node.items if _kind(value) != first)
            shown = " and ".join(sorted(kind or "files" for kind in kinds))
            yield self.say(
                WARNING, "ragged", odd,
                f"rows lead to {shown} side by side: the level, not the kind, decides which "
                f"fields are read (level {depth + 2} of parkey)",
                "give every row the same levels",
            )  # fmt: skip

    def answer(self, value: Any, line: int) -> Iterator[Finding]:
        if isinstance(value, str) and value.upper() in SPECIAL and value not in SPECIAL:
            yield self.say(
                WARNING, "answer", line, f"{value!r} is no special value in lower case",
                f"write {value.upper()}",
            )  # fmt: skip
        elif isinstance(value, (tuple, list)):
            yield self.say(NOTE, "answer", line, f"the answer is {len(value)} files at once")
        elif not isinstance(value, str) and not isinstance(value, dict):
            yield self.say(ERROR, "answer", line, f"{value!r} is not the name of a file")

    def match(self, node: Node, depth: int) -> Iterator[Finding]:
        width = len(self.fields[depth]) if depth < len(self.fields) else None
        rows = [(_cells(key), value, line) for key, value, line in node.items]
        for cells, _, line in rows:
            if width is not None and len(cells) != width:
                yield self.say(
                    ERROR, "key-length", line,
                    f"{cells!r} has {len(cells)} values for {width} fields",
                    "give each field a value; N/A where it does not matter",
                )  # fmt: skip
            for cell in cells:
                for severity, fact, remedy in cell_problems(cell):
                    yield self.say(severity, "cell", line, fact, remedy)
        yield from self.equal_keys(rows)
        rows = [row for row in rows if width is None or len(row[0]) == width]
        yield from unreachable_cells(rows, self.fields[depth] if width else (), self.say)
        if len(rows) <= _MANY:
            yield from self.overlaps(rows)
            yield from shadowed_rows(rows, self.say)

    def equal_keys(self, rows: list[Row]) -> Iterator[Finding]:
        first: dict[tuple[str, ...], tuple[Any, int]] = {}
        for cells, _, line in rows:
            key = tuple(condition(str(cell)) for cell in cells)
            if key in first and repr(first[key][0]) != repr(cells):
                yield self.say(
                    ERROR, "equal-keys", line,
                    f"{cells!r} equals {first[key][0]!r} of line {first[key][1]} once numbers and "
                    "case are made alike",
                    "remove one of the two",
                )  # fmt: skip
            first.setdefault(key, (cells, line))

    def overlaps(self, rows: list[Row]) -> Iterator[Finding]:
        for row, value, line in rows:
            found: dict[tuple[str, str], list[Row]] = {}
            for other in rows:
                if is_special_case(row, other[0]) and other[1] != value:
                    found.setdefault(self.effect(value, other[1]), []).append(other)
            for (severity, effect), others in found.items():
                more = f" and {len(others) - 1} others" if len(others) > 1 else ""
                yield self.say(
                    severity, "ambiguous", line,
                    f"{row!r} is a case of {others[0][0]!r} of line {others[0][2]}{more}, and neither "
                    f"is more specific: {effect}",
                    "make the ranges apart, or write N/A in the general row: it weighs less",
                )  # fmt: skip

    def effect(self, one: Any, other: Any) -> tuple[str, str]:
        """Return how bad it is if data fit two rows of one weight, and what they get."""
        merges = str(self.header.get("merge_overlaps", "")).upper() not in {"FALSE", "0", "NO", "F"}
        kinds = {_kind(one), _kind(other)}
        if kinds == {"UseAfter"} and merges:
            return WARNING, "their dates are merged; of one date the greater name wins"
        if kinds == {""} and merges:
            return ERROR, "data they both fit get two files"
        return ERROR, "data they both fit are refused"

    def dates(self, node: Node, _: int) -> Iterator[Finding]:
        first: dict[str, tuple[Any, int]] = {}
        for key, _value, line in node.items:
            try:
                full = parse_date(str(key))
            except LightmillError:
                yield self.say(
                    ERROR, "date", line, f"{key!r} is no date", "write YYYY-MM-DD HH:MM:SS"
                )
                continue
            if full != key and node.kind == "UseAfter":
                yield self.say(
                    WARNING, "date", line,
                    f"{key!r} is not written as dates are compared: they are compared as text",
                    f"write {full!r}",
                )  # fmt: skip
            if full in first and first[full][0] != key:
                yield self.say(
                    ERROR, "equal-keys", line,
                    f"{key!r} is the moment of {first[full][0]!r} in line {first[full][1]}",
                    "remove one of the two",
                )  # fmt: skip
            first.setdefault(full, (key, line))

    def versions(self, node: Node, _: int) -> Iterator[Finding]:
        for key, _value, line in node.items:
            text = ".".join(map(str, key)) if isinstance(key, tuple) else str(key)
            if not _VERSION.match(text):
                yield self.say(
                    ERROR, "version", line, f"{key!r} is no version", "write numbers: 1.2.3"
                )
            elif _VERSION.fullmatch(text) and text.count(".") == 1 and condition(text) != text:
                yield self.say(
                    WARNING, "version", line, f"{key!r} is read as the number {condition(text)}",
                    f"write {text}.0",
                )  # fmt: skip

    def relations(self, node: Node, _: int) -> Iterator[Finding]:
        keys = [(str(key).strip(), line) for key, _value, line in node.items]
        for key, line in keys:
            if key != "default" and not re.match(r"[<>=]=?\s*\d+(\.\d+)?\Z", key):
                yield self.say(
                    WARNING,
                    "version",
                    line,
                    f"{key!r} is no relation to a version",
                    "write <5 or default",
                )
            elif key.startswith("="):
                yield self.say(
                    WARNING,
                    "version",
                    line,
                    f"{key!r} does not mean equality here",
                    "write < and a version",
                )
        if keys and not any(key == "default" for key, _line in keys):
            yield self.say(
                WARNING, "version", keys[-1][1], "versions above all of these find nothing",
                "add 'default'",
            )  # fmt: skip

    def numbers(self, node: Node, _: int) -> Iterator[Finding]:
        for key, _value, line in node.items:
            try:
                float(key)
            except (TypeError, ValueError):
                yield self.say(ERROR, "number", line, f"{key!r} is no number")


def _cells(key: Any) -> tuple[Any, ...]:
    return tuple(key) if isinstance(key, (tuple, list)) else (key,)


def _kind(value: Any) -> str:
    return str(value.kind) if isinstance(value, Node) else ""


def _name(field: str) -> str:
    return field.upper().replace(".", "_")


def _names(expression: str) -> set[str]:
    found = (one for one in _NAMES.findall(expression) if one[0] not in "'\"")
    return {_name(one) for one in found if one not in _WORDS}
