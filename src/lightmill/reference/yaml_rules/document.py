"""A YAML document as scalars, sequences and mappings that know their lines.

Nothing in it can name a Python object, refer to another part of it, or nest
deeper than rules do: such a document is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from lightmill.reference.errors import RulesFormatError

__all__ = [
    "EXACT",
    "LIST",
    "Item",
    "MappingItem",
    "Scalar",
    "Sequence",
    "compose",
    "documents",
    "refuse",
]

MAX_DEPTH = 40
EXACT = "!exact"  # a text that is not to be read as a date, a field or an expression
LIST = "!list"  # a list where a mapping file has a list, not a tuple
_STANDARD = "tag:yaml.org,2002:"
_TAGS = frozenset(
    {None, EXACT, LIST, *(f"{_STANDARD}{n}" for n in ("bool", "null", "float", "str"))}
)
_QUOTED_START = re.compile(r"(?:^|[\[,\s])([*&!%@`|>])")


@dataclass
class Scalar:
    """A text, with whether it was written without quotes."""

    text: str
    line: int
    plain: bool = True
    tag: str | None = None


@dataclass
class Sequence:
    """Some items in their order."""

    line: int
    tag: str | None = None
    items: list[Item] = field(default_factory=list)


@dataclass
class MappingItem:
    """Pairs of items in their order; no key stands twice."""

    line: int
    tag: str | None = None
    pairs: list[tuple[Item, Item]] = field(default_factory=list)
    pending: Item | None = None

    def named(self, place: str) -> Iterator[tuple[str, Item, int]]:
        """Return name, value and line of each pair.

        Raises
        ------
        RulesFormatError
            If a key is not a text, or stands twice.
        """
        seen: dict[str, int] = {}
        for key, value in self.pairs:
            if not isinstance(key, Scalar):
                raise refuse("a key here must be a word", place, key.line)
            if key.text in seen:
                raise refuse(
                    f"{key.text!r} stands twice",
                    place,
                    key.line,
                    found=f"first in line {seen[key.text]}",
                )
            seen[key.text] = key.line
            yield key.text, value, key.line


Item = Scalar | Sequence | MappingItem


def refuse(
    fact: str,
    place: str,
    line: int | None = None,
    *,
    found: object = None,
    expected: object = None,
    remedy: str | None = None,
) -> RulesFormatError:
    """Return the error that says a line of rules cannot be read."""
    return RulesFormatError(
        fact, place=place, line=line, found=found, expected=expected, remedy=remedy
    )


def compose(text: str, place: str) -> MappingItem:
    """Return the one document of a YAML text; as `documents`, which reads several."""
    found = documents(text, place)
    if len(found) > 1:
        raise refuse("this file of rules is one document", place, found[1].line)
    return found[0]


def documents(text: str, place: str) -> list[MappingItem]:
    """Return the documents of a YAML text.

    Parameters
    ----------
    text : str
        YAML; each document is a mapping.
    place : str
        Name of the file, for errors.

    Raises
    ------
    RulesFormatError
        If it is not YAML, uses anchors or unknown tags, or is nested too deeply.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    stack: list[Sequence | MappingItem] = []
    found: list[MappingItem] = []
    try:
        for event in yaml.parse(text, Loader=loader):
            mark = event.start_mark
            line = 1 if mark is None else mark.line + 1
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise refuse(
                    "anchors and aliases are not used in rules", place, line,
                    remedy="a value that begins with * or & needs quotes: '*'",
                )  # fmt: skip
            item = _item(event, line, place)
            if item is not None:
                _put(item, stack, found, place)
                if not isinstance(item, Scalar):
                    stack.append(item)
                    if len(stack) > MAX_DEPTH:
                        raise refuse("this is nested too deeply for rules", place, line)
            elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
                stack.pop()
    except yaml.YAMLError as error:
        raise _not_yaml(error, text, place) from None
    if not found:
        raise refuse("there is nothing in this file", place)
    return found


def _item(event: object, line: int, place: str) -> Item | None:
    import yaml

    if isinstance(event, (yaml.ScalarEvent, yaml.SequenceStartEvent, yaml.MappingStartEvent)):
        tag = None if event.tag == "!" else event.tag
        if tag not in _TAGS:
            raise refuse(
                f"the tag {tag} means nothing in rules", place, line,
                remedy="put quotes around a text that begins with !",
            )  # fmt: skip
        if isinstance(event, yaml.ScalarEvent):
            return Scalar(event.value, line, plain=event.style in (None, ""), tag=tag)
        if isinstance(event, yaml.SequenceStartEvent):
            return Sequence(line, tag)
        return MappingItem(line, tag)
    return None


def _put(
    item: Item, stack: list[Sequence | MappingItem], found: list[MappingItem], place: str
) -> None:
    """Put an item where it belongs: into the innermost open one, or as a document."""
    if not stack:
        if not isinstance(item, MappingItem):
            raise refuse("rules are a mapping of words to values", place, item.line)
        found.append(item)
        return
    above = stack[-1]
    if isinstance(above, Sequence):
        above.items.append(item)
    elif above.pending is None:
        above.pending = item
    else:
        above.pairs.append((above.pending, item))
        above.pending = None


def _not_yaml(error: Exception, text: str, place: str) -> RulesFormatError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line = None if mark is None else mark.line + 1
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or error
    lines = text.splitlines()
    near = lines[line - 1].strip() if line and line <= len(lines) else None
    special = _QUOTED_START.search(near) if near else None
    remedy = f"a value that begins with {special[1]} needs quotes" if special else None
    return refuse(f"this is not YAML: {problem}", place, line, found=near, remedy=remedy)
