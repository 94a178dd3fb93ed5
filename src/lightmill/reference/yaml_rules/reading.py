"""From the YAML form of rules to what a mapping file holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lightmill.errors import suggestion
from lightmill.reference.errors import RulesFormatError
from lightmill.reference.rules.text import Duplicate, MappingText, Node
from lightmill.reference.yaml_rules.document import (
    Item,
    MappingItem,
    Scalar,
    Sequence,
    compose,
    refuse,
)
from lightmill.reference.yaml_rules.values import read_cell, read_value
from lightmill.reference.yaml_rules.vocabulary import (
    BY_ENTRY,
    BY_LEVEL,
    DATE_FIELDS,
    EXPRESSIONS,
    FIELD_LISTS,
    HEADER_KEY,
    KINDS,
    TABLES,
    Kind,
    expression_of,
    full_date,
    key_of,
)

__all__ = ["read_document", "read_rules"]

_LEVEL_WORDS = ("match", "use_after")  # the levels that need no `select`, in this order
_OTHER = ("comment", "select", "parkey", "mapping", "header", "header_order", "without")
_KNOWN = (*HEADER_KEY, *_LEVEL_WORDS, *_OTHER, *TABLES)
_ANSWERS = ("file", "entries", "select")

Row = tuple[tuple[tuple[Kind, Any], ...], Any, int]  # levels of an entry, what it gives, its line


def read_rules(text: str, place: str, *, name: str | None = None) -> MappingText:
    """Return what a YAML text says, as the parse of a mapping file is.

    Parameters
    ----------
    text : str
        YAML.
    place : str
        The file, for errors.
    name : str, optional
        Name of the mapping, and with it the type, where the text gives none. Without it the
        text is taken as it is.

    Raises
    ------
    RulesFormatError
        With file and line, if it is not YAML or not rules.
    """
    return read_document(compose(text, place), place, name=name)


def read_document(document: MappingItem, place: str, *, name: str | None = None) -> MappingText:
    """Return what a document of rules says, as the parse of a mapping file is."""
    return _Reader(document, place).mapping(name)


class _Branch(list[Row]):
    """Rows that share the key of a level, still to become one selector."""


class _Reader:
    """Reads one document; `place` is where its errors are."""

    def __init__(self, document: MappingItem, place: str) -> None:
        self.place = place
        self.words = {word: value for word, value, _ in document.named(place)}
        for word, _, line in document.named(place):
            if word not in _KNOWN:
                raise self.wrong(
                    f"no word of rules is called {word!r}", line,
                    remedy=suggestion(word, _KNOWN) or "free keys of a header stand under `header:`",
                )  # fmt: skip
        bodies = [word for word in TABLES if word in self.words]
        if len(bodies) != 1:
            raise self.wrong(
                "a file of rules has one table", document.line,
                found=", ".join(bodies) or "none", expected="one of " + ", ".join(TABLES),
            )  # fmt: skip
        self.body = bodies[0]

    def wrong(
        self, fact: str, line: int, *, found: object = None, expected: object = None,
        remedy: str | None = None,
    ) -> RulesFormatError:  # fmt: skip
        return refuse(fact, self.place, line, found=found, expected=expected, remedy=remedy)

    def mapping(self, name: str | None) -> MappingText:
        kinds, parkey = self.levels()
        header = self.header(parkey)
        if name is not None:
            header.setdefault("name", name)
            header.setdefault("derived_from", "written as YAML")
            if self.body == "entries":
                header.setdefault("filekind", name.partition(".")[0])
        if self.body == "entries":
            selector: Node | dict[str, Any] = self.entries(kinds)
            duplicates = tuple(_duplicates(selector)) if isinstance(selector, Node) else ()
        else:
            selector, duplicates = self.table(self.words[self.body]), ()
        return MappingText(
            name=str(header.get("name", name or self.place)),
            header=self.ordered(header),
            selector=selector,
            comment=self.text("comment"),
            duplicates=duplicates,
        )

    def text(self, word: str) -> str | None:
        item = self.words.get(word)
        if item is None:
            return None
        if not isinstance(item, Scalar):
            raise self.wrong(f"{word} is a text", item.line)
        return item.text

    # ---------------------------------------------------------------- header

    def header(self, parkey: Any) -> dict[str, Any]:
        header: dict[str, Any] = {}
        for word, item in self.words.items():
            if word in HEADER_KEY:
                header[HEADER_KEY[word]] = self.header_value(word, item)
        header["mapping"] = TABLES[self.body]
        if "mapping" in self.words:
            header["mapping"] = read_value(self.words["mapping"], self.place)
        if self.body == "entries" or "parkey" in self.words:
            header["parkey"] = parkey
        free = self.words.get("header")
        if free is not None:
            if not isinstance(free, MappingItem):
                raise self.wrong("header is a mapping", free.line)
            for key, value, _ in free.named(self.place):
                header[key] = read_value(value, self.place)
        if "without" in self.words:  # such a file can be converted, though hardly used
            for key in read_value(self.words["without"], self.place):
                header.pop(key, None)
        return header

    def header_value(self, word: str, item: Item) -> Any:
        if word in EXPRESSIONS:
            return self.expression(item)
        if word in FIELD_LISTS:
            return self.fields(item)
        if word == "field_relevant_when" and isinstance(item, MappingItem):
            return {
                key_of(field).lower(): self.expression(value)
                for field, value, _ in item.named(self.place)
            }
        if word == "substitutions" and isinstance(item, MappingItem):
            return {
                key_of(field): read_value(value, self.place)
                for field, value, _ in item.named(self.place)
            }
        value = read_value(item, self.place)
        if word == "required" and isinstance(value, bool):
            return "YES" if value else "NO"
        return value

    def expression(self, item: Item) -> Any:
        if isinstance(item, Scalar) and item.tag is None:
            return expression_of(item.text)
        return read_value(item, self.place)

    def fields(self, item: Item) -> Any:
        if not isinstance(item, Sequence):
            item = Sequence(item.line, None, [item])
        return tuple(self.field(one) for one in item.items)

    def field(self, item: Item) -> Any:
        if isinstance(item, Scalar) and item.tag is None:
            return key_of(item.text)
        return read_cell(item, self.place)

    def ordered(self, header: dict[str, Any]) -> dict[str, Any]:
        """Return the header sorted, or in the order the document asks for."""
        order = sorted(header)
        if "header_order" in self.words:
            first = [str(key) for key in read_value(self.words["header_order"], self.place)]
            order = first + [key for key in order if key not in first]
        return {key: header[key] for key in order if key in header}

    # ---------------------------------------------------------------- levels

    def levels(self) -> tuple[list[Kind], Any]:
        """Return the kinds of the selectors from the outside in, and the fields of each."""
        levels = [
            (BY_LEVEL[word], self.fields(self.words[word]))
            for word in _LEVEL_WORDS
            if word in self.words
        ]
        select = self.words.get("select")
        if select is not None:
            items = select.items if isinstance(select, Sequence) else [select]
            levels += [self.level(item) for item in items]
        if "parkey" in self.words:
            return [kind for kind, _ in levels], read_value(self.words["parkey"], self.place)
        if self.body == "entries":
            return [kind for kind, _ in levels], tuple(fields for _, fields in levels)
        return [], None

    def level(self, item: Item) -> tuple[Kind, Any]:
        if isinstance(item, MappingItem) and len(item.pairs) == 1:
            word, fields, line = next(item.named(self.place))
            return self.kind(word, line), self.fields(fields)
        if isinstance(item, Scalar):
            return self.kind(item.text, item.line), DATE_FIELDS
        raise self.wrong(
            "a level is a word and its fields", item.line, expected="use_after: [DATE]"
        )

    def kind(self, word: str, line: int) -> Kind:
        if word not in BY_LEVEL:
            raise self.wrong(
                f"no kind of selection is called {word!r}", line,
                expected=", ".join(BY_LEVEL), remedy=suggestion(word, BY_LEVEL),
            )  # fmt: skip
        return BY_LEVEL[word]

    # ---------------------------------------------------------------- tables

    def table(self, item: Item) -> dict[str, Any]:
        if not isinstance(item, MappingItem):
            raise self.wrong(f"{self.body} is a mapping of names to files", item.line)
        return {key: read_value(value, self.place) for key, value, _ in item.named(self.place)}

    def entries(self, kinds: list[Kind]) -> Node:
        item = self.words["entries"]
        if not kinds:
            raise self.wrong(
                "nothing says how entries are selected", item.line, expected="match: [field, …]"
            )
        return self.node(item, kinds, [kinds[0]])

    def node(self, item: Item, kinds: list[Kind], default: list[Kind]) -> Node:
        if not isinstance(item, Sequence):
            raise self.wrong("entries are a list", item.line)
        rows = [self.row(one, kinds) for one in item.items]
        return self.built(rows, default)

    def built(self, rows: list[Row], default: list[Kind]) -> Node:
        """Return the selector of some rows; rows that name their file alone share a branch."""
        kind = rows[0][0][0][0] if rows else default[0]
        node = Node(kind.selector, [])
        branches: dict[str, _Branch] = {}
        for levels, answer, line in rows:
            (found, key), rest = levels[0], levels[1:]
            if found is not kind:
                raise self.wrong(
                    f"{kind.entry} and {found.entry} cannot select side by side", line,
                    found=f"an entry that begins with {found.entry}",
                    expected=f"{kind.entry}, as in the entries above",
                )  # fmt: skip
            if not rest:
                node.items.append((key, answer, line))
                continue
            branch = branches.get(repr(key))
            if branch is None:
                branch = branches[repr(key)] = _Branch()
                node.items.append((key, branch, line))
            branch.append((rest, answer, line))
        node.items[:] = [
            (key, self.built(value, []) if isinstance(value, _Branch) else value, line)
            for key, value, line in node.items
        ]
        return node

    def row(self, item: Item, kinds: list[Kind]) -> Row:
        if not isinstance(item, MappingItem):
            raise self.wrong("an entry is a mapping", item.line, expected="{match: […], file: …}")
        given = {word: value for word, value, _ in item.named(self.place)}
        allowed = [kind.entry for kind in kinds] + list(_ANSWERS)
        for word in given:
            if word not in allowed:
                raise self.wrong(
                    f"an entry has no {word!r} here", item.line,
                    expected=", ".join(dict.fromkeys(allowed)),
                    remedy=f"declare its fields at the top: {BY_ENTRY[word].level}: […]"
                    if word in BY_ENTRY else suggestion(word, allowed),
                )  # fmt: skip
        levels = tuple(
            (kind, self.key(kind, given[kind.entry]))
            for kind in dict.fromkeys(kinds)
            if kind.entry in given
        )
        if not levels:
            raise self.wrong("an entry says what it is for", item.line, expected=allowed[0])
        if ("file" in given) == ("entries" in given):
            raise self.wrong("an entry has a file, or entries of its own", item.line)
        if "file" in given:
            return levels, self.answer(given["file"]), item.line
        default = [kinds[min(kinds.index(levels[-1][0]) + 1, len(kinds) - 1)]]
        if "select" in given:
            default = [self.level(given["select"])[0]]
        return levels, self.node(given["entries"], kinds, default), item.line

    def key(self, kind: Kind, item: Item) -> Any:
        if kind is KINDS[0]:
            return self.match(item)
        if isinstance(item, Scalar) and item.tag is None and kind.entry in {"from", "time"}:
            value = read_cell(item, self.place)
            return full_date(value) if isinstance(value, str) else value
        return read_cell(item, self.place)

    def match(self, item: Item) -> Any:
        """Return the key of a row: its cells, or those of the fields it names, others N/A."""
        if not isinstance(item, MappingItem):
            return read_cell(item, self.place)
        declared = self.words.get("match")
        if declared is None:
            raise self.wrong("fields can be named where `match:` declares them", item.line)
        fields = self.fields(declared)
        cells = dict.fromkeys(fields, "N/A")
        for word, value, line in item.named(self.place):
            key = key_of(word)
            if key not in cells:
                raise self.wrong(
                    f"{word!r} is not among the fields matched", line,
                    expected=", ".join(map(str, fields)), remedy=suggestion(key, map(str, fields)),
                )  # fmt: skip
            cells[key] = read_cell(value, self.place)
        return tuple(cells.values())

    def answer(self, item: Item) -> Any:
        if isinstance(item, MappingItem):
            return {read_cell(key, self.place): self.answer(value) for key, value in item.pairs}
        return read_cell(item, self.place)


def _duplicates(node: Node) -> Iterator[Duplicate]:
    """Return the keys that stand twice in one selector."""
    first: dict[str, int] = {}
    for key, value, line in node.items:
        if repr(key) in first:
            yield Duplicate(key, line, first[repr(key)])
        first.setdefault(repr(key), line)
        if isinstance(value, Node):
            yield from _duplicates(value)
