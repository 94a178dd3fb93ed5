"""From what a mapping file holds to the YAML form of the same rules."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from lightmill.reference.errors import RulesFormatError
from lightmill.reference.rules.text import MappingText, Node
from lightmill.reference.yaml_rules.document import compose
from lightmill.reference.yaml_rules.reading import read_document
from lightmill.reference.yaml_rules.values import quoted, spell, spell_cell, spell_exact
from lightmill.reference.yaml_rules.vocabulary import (
    BY_SELECTOR,
    EXPRESSIONS,
    FIELD_LISTS,
    HEADER_KEY,
    TABLES,
    WORD_OF_KEY,
    Kind,
    date_word,
    expression_word,
    field_word,
    full_date,
)

__all__ = ["entry", "write_rules"]

_MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\Z")
_STANDARD = ["match", "use_after"]
_BOOLEANS = {"YES": "true", "NO": "false"}


def write_rules(mapping: MappingText) -> str:
    """Return the YAML form of a mapping file.

    Parameters
    ----------
    mapping : MappingText
        The parse of a ``.pmap``, ``.imap`` or ``.rmap``.

    Returns
    -------
    text : str
        YAML that `read_rules` reads back to the same header (its checksum apart: that
        is one of a text), the same selectors in the same order, and the same comment.
    """
    return "\n".join(_Writer(mapping).lines()) + "\n"


class _Writer:
    """Writes one mapping."""

    def __init__(self, mapping: MappingText) -> None:
        self.mapping = mapping
        self.header = {k: v for k, v in mapping.header.items() if k != "sha1sum"}
        self.selector = mapping.selector
        implied = {value: word for word, value in TABLES.items()}
        if isinstance(self.selector, Node):
            self.body = "entries"
        else:
            self.body = implied.get(str(self.header.get("mapping")), "types")
            self.body = "types" if self.body == "entries" else self.body
        self.kinds = _kinds(self.selector, self.header)

    def lines(self) -> Iterator[str]:
        known = [key for key in HEADER_KEY.values() if key in self.header]
        for key in known:
            written = self.known(WORD_OF_KEY[key], self.header[key])
            if written is not None:
                yield written
        if self.header.get("mapping", TABLES[self.body]) != TABLES[self.body]:
            yield f"mapping: {spell(self.header['mapping'])}"
        usual = ("mapping", "parkey") if self.body == "entries" else ("mapping",)
        missing = tuple(key for key in usual if key not in self.header)
        if missing:
            yield f"without: {spell(missing)}"
        if self.mapping.comment is not None:
            yield f"comment: {_block(self.mapping.comment)}"
        yield from self.levels()
        free = self.free()
        if free:
            yield "header:"
            yield from (f"  {spell_cell(key)}: {spell(value)}" for key, value in free.items())
        order = list(self.header)
        if order != sorted(order):
            yield f"header_order: {spell(tuple(order))}"
        yield from self.table()

    # ---------------------------------------------------------------- header

    def known(self, word: str, value: Any) -> str | None:
        """Return the lines of a header key that has a word, None where it must stand as it is.

        That is where they would not come back as they are.
        """
        lines = self.worded(word, value)
        if lines is None:
            return None
        try:
            document = compose(f"{lines}\nmatch: [A]\nentries: []\n", word)
            again = read_document(document, word).header.get(HEADER_KEY[word])
        except RulesFormatError:
            return None
        return lines if repr(again) == repr(value) else None

    def worded(self, word: str, value: Any) -> str | None:
        """Return the lines of a header key in words; None where no words fit it."""
        if word in EXPRESSIONS:
            return f"{word}: {_expression(value)}" if isinstance(value, str) else None
        if word in FIELD_LISTS:
            return f"{word}: {_fields(value)}" if _is_fields(value) else None
        if word == "field_relevant_when":
            return self.relevance(value)
        if word == "substitutions":
            return self.substitutions(value)
        if word == "required" and isinstance(value, str) and value in _BOOLEANS:
            return f"{word}: {_BOOLEANS[value]}"
        return f"{word}: {spell(value)}"

    def relevance(self, value: Any) -> str | None:
        if not isinstance(value, dict):
            return None
        lines = ["field_relevant_when:" if value else "field_relevant_when: {}"]
        for key, expression in value.items():
            field = field_word(str(key).upper())
            if field is None or not isinstance(expression, str):
                return None
            lines.append(f"  {spell_cell(field)}: {_expression(expression)}")
        return "\n".join(lines)

    def substitutions(self, value: Any) -> str | None:
        if not isinstance(value, dict):
            return None
        lines = ["substitutions:" if value else "substitutions: {}"]
        for key, table in value.items():
            field = field_word(key) if isinstance(key, str) else None
            if field is None:
                return None
            lines.append(f"  {spell_cell(field)}: {spell(table)}")
        return "\n".join(lines)

    def free(self) -> dict[str, Any]:
        """Return what must stand under `header:`: free keys, and values that fit no word."""
        own = {"mapping"} if "mapping" in self.header else set()
        if self.body == "entries" or "parkey" in self.header:
            own.add("parkey")
        return {
            key: value
            for key, value in self.header.items()
            if key not in own
            and (key not in WORD_OF_KEY or self.known(WORD_OF_KEY[key], value) is None)
        }

    # ---------------------------------------------------------------- levels

    def levels(self) -> Iterator[str]:
        parkey = self.header.get("parkey")
        fields = parkey if isinstance(parkey, tuple) else ()
        if self.body != "entries":
            if "parkey" in self.header:
                yield f"parkey: {spell(parkey)}"
            return
        words = [kind.level for kind in self.kinds]
        if len(fields) != len(words) or not all(_is_fields(level) for level in fields):
            yield f"select: [{', '.join(words)}]"
            if "parkey" in self.header:
                yield f"parkey: {spell(parkey)}"
        elif words == [word for word in _STANDARD if word in words]:
            for word, level in zip(words, fields, strict=True):
                yield f"{word}: {_fields(level)}"
        else:
            yield "select:"
            for word, level in zip(words, fields, strict=True):
                yield f"  - {word}: {_fields(level)}"

    # ---------------------------------------------------------------- tables

    def table(self) -> Iterator[str]:
        if isinstance(self.selector, Node):
            if not self.selector.items:
                yield "entries: []"
                return
            yield "entries:"
            yield from self.entries(self.selector, "  ")
            return
        yield f"{self.body}:" if self.selector else f"{self.body}: {{}}"
        for name, value in self.selector.items():
            yield f"  {spell_cell(name)}: {spell(value)}"

    def entries(self, node: Node, indent: str) -> Iterator[str]:
        """Return the lines of a selector: one a file, or a row and below it its files."""
        kind = BY_SELECTOR[node.kind]
        often = Counter(repr(key) for key, _, _ in node.items)
        for key, value, _ in node.items:
            words = f"{kind.entry}: {_key(kind, key)}"
            chain = self.chain(kind, value) if often[repr(key)] == 1 else None
            if not isinstance(value, Node):
                yield f"{indent}- {{{words}, file: {spell_cell(value)}}}"
            elif chain is not None:
                below, answer = chain
                words = ", ".join([words, *(f"{k.entry}: {_key(k, one)}" for k, one in below)])
                yield f"{indent}- {{{words}, file: {spell_cell(answer)}}}"
            elif not value.items:
                empty = BY_SELECTOR[value.kind].level
                yield f"{indent}- {{{words}, select: {empty}, entries: []}}"
            else:
                yield f"{indent}- {words}"
                yield f"{indent}  entries:"
                yield from self.entries(value, indent + "    ")

    def chain(self, kind: Kind, value: Any) -> tuple[list[tuple[Kind, Any]], Any] | None:
        """Return the keys below and the one file they lead to, None where there are several.

        The levels have to follow each other as they are declared: an entry names them in
        one breath.
        """
        below: list[tuple[Kind, Any]] = []
        while isinstance(value, Node):
            inner = BY_SELECTOR[value.kind]
            if len(value.items) != 1 or self.kinds.index(inner) <= self.kinds.index(kind):
                return None
            key, value, _ = value.items[0]
            below.append((inner, key))
            kind = inner
        return below, value


def _kinds(selector: Any, header: dict[str, Any]) -> list[Kind]:
    """Return the kinds of selectors from the outside in, as the longest branch has them."""
    if not isinstance(selector, Node):
        return []
    branches = sorted(set(_branches(selector)), key=lambda branch: (-len(branch), branch))
    longest = branches[0]
    parkey = header.get("parkey")
    classes = header.get("classes", ("Match", "UseAfter"))
    both = isinstance(parkey, tuple) and isinstance(classes, tuple) and len(parkey) == len(classes)
    if both and classes[: len(longest)] == longest and set(classes) <= set(BY_SELECTOR):
        longest = classes
    others = dict.fromkeys(kind for branch in branches for kind in branch if kind not in longest)
    return [BY_SELECTOR[kind] for kind in (*longest, *others)]


def _branches(node: Node) -> Iterator[tuple[str, ...]]:
    inner = {
        branch
        for _, value, _ in node.items
        if isinstance(value, Node)
        for branch in _branches(value)
    }
    for branch in inner or {()}:
        yield (node.kind, *branch)


def _key(kind: Kind, key: Any) -> str:
    """Return the key of an entry; a date loses its midnight, and needs no quotes."""
    if kind.entry not in {"from", "time"} or not isinstance(key, str):
        return spell_cell(key)
    word = date_word(key)
    if word is None:
        return spell_exact(key)
    return word if full_date(word) != word or _MOMENT.match(word) else spell_cell(word)


def _is_fields(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(key, str) for key in value)


def _fields(keys: tuple[str, ...]) -> str:
    return f"[{', '.join(_field(key) for key in keys)}]"


def _field(key: str) -> str:
    word = field_word(key)
    return spell_exact(key) if word is None else spell_cell(word)


def _expression(text: str) -> str:
    word = expression_word(text)
    return spell_exact(text) if word is None else spell_cell(word)


def _block(text: str) -> str:
    """Return a text of several lines as YAML shows it best."""
    lines = text.split("\n")
    if not text.strip() or not all(line.replace("\t", " ").isprintable() for line in lines):
        return quoted(text)
    ends = len(text) - len(text.rstrip("\n"))
    sign = {0: "-", 1: ""}.get(ends, "+")
    shown = lines[:-1] if ends else lines
    return "\n".join([f"|2{sign}", *(f"  {line}" if line else "" for line in shown)])


def entry(keys: tuple[tuple[str, Any], ...], answer: str) -> str:
    """Return one entry of the YAML form.

    Parameters
    ----------
    keys : tuple
        Kind, as mapping files call it, and key of each level.
    answer : str
        The file.
    """
    kinds = [(BY_SELECTOR[kind], key) for kind, key in keys]
    words = ", ".join(f"{kind.entry}: {_key(kind, key)}" for kind, key in kinds)
    return f"- {{{words}, file: {spell_cell(answer)}}}"
