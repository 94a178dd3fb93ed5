"""A reference's place in the rules: the row its metadata belong to, and the new tree with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lightmill.errors import ConfigurationError, ValidationError
from lightmill.reference.parsed import fields_of
from lightmill.reference.rules.expressions import UnknownFieldError, compile_expression
from lightmill.reference.rules.text import MappingText, Node
from lightmill.reference.rules.values import condition, parse_date

__all__ = ["Place", "header_keys", "insert", "pattern_keyword", "place_of"]

_DATES = ("UseAfter",)
_KEYWORD = 8  # characters a FITS keyword has at most


@dataclass(frozen=True)
class Place:
    """Where a reference belongs.

    Parameters
    ----------
    keys : tuple
        Kind and key of each level, from the outside in.
    """

    keys: tuple[tuple[str, Any], ...]

    def as_entry(self, name: str) -> str:
        """Return the entry of the YAML form."""
        from lightmill.reference.yaml_rules.writing import entry

        return entry(self.keys, name)


def pattern_keyword(key: str) -> str:
    """Return the name of the metadata that gives a pattern of values for a key of rules.

    ``DETECTOR`` → ``P_DETECT``; ``META.INSTRUMENT.DETECTOR`` → ``META.INSTRUMENT.P_DETECTOR``.
    """
    above, dot, last = key.rpartition(".")
    return f"{above}.P_{last}" if dot else f"P_{last}"[:_KEYWORD]


def header_keys(mapping: MappingText) -> list[str]:
    """Return what has to be known of a reference to insert it into a mapping."""
    other = {str(theirs): str(ours) for ours, theirs in _translations(mapping).items()}
    keys: dict[str, None] = {}
    for level in fields_of(mapping):
        for key in level:
            keys.update(dict.fromkeys((key, pattern_keyword(key), other.get(key, key))))
            keys.update(dict.fromkeys((pattern_keyword(key.rpartition(".")[2]),)))
    extra = mapping.header.get("extra_keys") or ()
    keys.update(dict.fromkeys((extra,) if isinstance(extra, str) else extra))
    return [*keys, "META.USEAFTER", "USEAFTER"]


def place_of(mapping: MappingText, header: Mapping[str, Any], place: str) -> Place:
    """Return where a reference belongs in the rules of its type.

    Parameters
    ----------
    mapping : MappingText
        Rules of the type.
    header : mapping
        What the reference says, for `header_keys`.
    place : str
        The reference, for errors.

    Raises
    ------
    ConfigurationError
        If the rules select by something else than matching and dates: no metadata say
        where in them a reference belongs.
    ValidationError
        If the reference says nothing of any field, or has no date.
    """
    if not isinstance(mapping.selector, Node):
        raise ConfigurationError("these are no rules of a type", place=mapping.name)
    kinds = _kinds(mapping)
    fields = fields_of(mapping)
    values = {str(key).upper(): value for key, value in header.items()}
    keys: list[tuple[str, Any]] = []
    for kind, names in zip(kinds, fields, strict=False):
        if kind == "Match":
            cells = tuple(_cell(mapping, name, values) for name in names)
            if names and all(cell is None for cell in cells):
                raise ValidationError(
                    "the reference says nothing of what its type is selected by", place=place,
                    expected=", ".join(names),
                    remedy="set at least one of them; N/A where it does not matter",
                )  # fmt: skip
            keys.append((kind, tuple("N/A" if cell is None else cell for cell in cells)))
        elif kind in _DATES:
            said = values.get("META.USEAFTER") or values.get("USEAFTER")
            if not said:
                raise ValidationError(
                    "the reference does not say from when it is to be used", place=place,
                    expected="USEAFTER (meta.useafter), YYYY-MM-DDTHH:MM:SS",
                )  # fmt: skip
            keys.append((kind, parse_date(str(said))))
        else:
            raise ConfigurationError(
                f"rules that select by {kind} take no reference by its metadata", place=mapping.name,
                remedy="write the row by hand, then: lightmill refs certify, refs checksum --write",
            )  # fmt: skip
    return Place(tuple(keys))


def insert(mapping: MappingText, place: Place, name: str) -> MappingText:
    """Return rules with a reference in its place; rows that are missing are made.

    Parameters
    ----------
    mapping : MappingText
        Rules of a type; they are not changed.
    place : Place
        As `place_of` found it.
    name : str
        The reference.
    """
    assert isinstance(mapping.selector, Node)
    return replace(mapping, selector=_inserted(mapping.selector, place.keys, name))


def _inserted(node: Node, keys: tuple[tuple[str, Any], ...], name: str) -> Node:
    (kind, key), below = keys[0], keys[1:]
    if node.kind != kind:
        raise ConfigurationError(f"a {node.kind} stands where rows of {kind} belong")
    wanted = _compared(key)
    items = list(node.items)
    for index, (there, value, line) in enumerate(items):
        if _compared(there) != wanted:
            continue
        if below and not isinstance(value, Node):
            raise ConfigurationError(
                f"the row {there!r} has {value!r} for all dates",
                remedy="write the row by hand: no rule says what becomes of it",
            )
        items[index] = (there, _inserted(value, below, name) if below else name, line)
        return Node(node.kind, items)
    new: Any = _branch(below, name) if below else name
    order = [_compared(there) for there, _, _ in items]
    index = len(order)
    if order == sorted(order):
        index = sum(one < wanted for one in order)
    items.insert(index, (key, new, 0))
    return Node(node.kind, items)


def _branch(keys: tuple[tuple[str, Any], ...], name: str) -> Node:
    (kind, key), below = keys[0], keys[1:]
    return Node(kind, [(key, _branch(below, name) if below else name, 0)])


def _compared(key: Any) -> tuple[str, ...]:
    cells = key if isinstance(key, (tuple, list)) else (key,)
    return tuple(_parts(str(cell)) for cell in cells)


def _parts(cell: str) -> str:
    """Return a cell in one of its spellings: alternatives sorted, numbers and case alike."""
    if cell.startswith(("(", "{", "#")) or "|" not in cell:
        return condition(cell)
    return "|".join(sorted(condition(part) for part in cell.split("|") if part.strip()))


def _kinds(mapping: MappingText) -> list[str]:
    """Return the kinds of selectors, from the first branch, or as the header declares them."""
    kinds = []
    node: Any = mapping.selector
    while isinstance(node, Node):
        kinds.append(node.kind)
        node = node.items[0][1] if node.items else None
    declared = mapping.header.get("classes", ("Match", "UseAfter"))
    if len(kinds) < len(fields_of(mapping)) and isinstance(declared, (tuple, list)):
        kinds += [str(kind) for kind in declared[len(kinds) :]]
    return kinds[: len(fields_of(mapping))]


def _translations(mapping: MappingText) -> dict[str, str]:
    found = mapping.header.get("reference_to_dataset") or {}
    return {str(ours).upper(): str(theirs).upper() for ours, theirs in dict(found).items()}


def _cell(mapping: MappingText, key: str, values: Mapping[str, Any]) -> str | None:
    """Return what a reference says of a field: a pattern, its value under either name, or None."""
    relevance = {
        str(one).upper(): text
        for one, text in (mapping.header.get("parkey_relevance") or {}).items()
    }
    if key in relevance and not _is_relevant(relevance[key], mapping, key, values):
        return "N/A"
    names = [pattern_keyword(key), pattern_keyword(key.rpartition(".")[2])]
    for ours, theirs in _translations(mapping).items():
        if theirs == key:
            names += [pattern_keyword(ours), ours]
    for name in [*names, key]:
        value = values.get(name.upper())
        if value is not None and str(value).strip():
            text = str(value).strip().upper()
            return "|".join(part.strip() for part in text.split("|") if part.strip()) or None
    return None


def _is_relevant(text: Any, mapping: MappingText, key: str, values: Mapping[str, Any]) -> bool:
    """Return whether a field matters for a reference; where that cannot be told, it does."""
    known = {name: condition(value) for name, value in values.items()}
    known |= {name.replace(".", "_"): value for name, value in known.items()}
    try:
        return compile_expression(text, mapping.name, key)(known)
    except UnknownFieldError:
        return True
