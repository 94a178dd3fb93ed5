"""The text of mappings as parsed, without compiling it: what tools that work on rules read."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightmill.errors import ConfigurationError, UnknownNameError
from lightmill.reference.rules.sources import FolderSource, Source
from lightmill.reference.rules.text import MappingText, Node, parse_mapping

__all__ = [
    "Leaf",
    "Source",
    "fields_of",
    "is_yaml",
    "key_text",
    "leaves",
    "opened",
    "parsed",
    "rules_for",
    "tables",
]

SPECIAL = frozenset({"N/A", "TEMP_N/A", "OMIT", "TEMP_OMIT"})  # answers that are no file


@dataclass(frozen=True)
class Leaf:
    """An answer of rules, and the way to it.

    Parameters
    ----------
    path : tuple
        Kind, key and line of each selector from the outside in.
    answer : object
        File name, special value, or several of them.
    """

    path: tuple[tuple[str, Any, int], ...]
    answer: Any

    @property
    def line(self) -> int:
        """Line of the innermost key."""
        return self.path[-1][2]

    def keys(self, fields: Sequence[Sequence[str]]) -> tuple[tuple[str, ...], ...]:
        """Return each key as the texts of its fields."""
        widths = [len(names) for names in fields[: len(self.path)]]
        widths += [1] * (len(self.path) - len(widths))
        return tuple(
            key_text(kind, key, width)
            for (kind, key, _), width in zip(self.path, widths, strict=True)
        )

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files in the answer."""
        return tuple(_files(self.answer))


def is_yaml(name: str | Path) -> bool:
    """Return whether a file holds rules in their YAML form, by its name."""
    return Path(name).suffix in {".yaml", ".yml"}


def parsed(name: str, source: Source) -> MappingText:
    """Return the parse of a mapping of a source, whichever form it is written in."""
    whole = getattr(source, "parsed_mapping", None)
    if whole is not None:
        made: MappingText = whole(name)
        return made
    text, place = source.read_mapping(name)
    if is_yaml(name):
        from lightmill.reference.yaml_rules import read_rules

        return dataclasses.replace(read_rules(text, place, name=name), name=name)
    return parse_mapping(text, name)


def opened(place: str | Path, source: Source | None = None) -> tuple[MappingText, Source]:
    """Return the parse of a file of rules, and the source of the mappings it names.

    Parameters
    ----------
    place : path_like
        A file; or, with a source, a name.
    source : Source, optional
        By default the folder of the file.

    Raises
    ------
    ConfigurationError
        If there is no such file.
    """
    if source is not None and not Path(place).is_file():
        return parsed(str(place), source), source
    path = Path(place)
    if not path.is_file():
        raise ConfigurationError(
            "there is no such file of rules", place=path,
            remedy="give the path of a .pmap, .imap, .rmap or .yaml file, or a context of the cache",
        )  # fmt: skip
    siblings = source or FolderSource(path.parent)
    return parsed(path.name, FolderSource(path.parent)), siblings


def tables(mapping: MappingText, source: Source) -> Iterator[MappingText]:
    """Return a mapping and every mapping below it, each once.

    Parameters
    ----------
    mapping : MappingText
        Of any of the three levels.
    source : Source
        Gives the mappings named.
    """
    seen: set[str] = set()
    waiting = [mapping]
    while waiting:
        one = waiting.pop(0)
        yield one
        if isinstance(one.selector, Node):
            continue
        for name in one.selector.values():
            if isinstance(name, str) and name not in SPECIAL and name not in seen:
                seen.add(name)
                waiting.append(parsed(name, source))


def rules_for(mapping: MappingText, source: Source, reference: str | Path) -> MappingText:
    """Return the rules of the type of a reference, as it says itself.

    Parameters
    ----------
    mapping : MappingText
        Rules of any level that hold those of the type.
    source : Source
        Where the mappings it names are.
    reference : path_like
        The reference.

    Raises
    ------
    UnknownNameError
        If there are none for its instrument or type.
    """
    from lightmill.reference.headers import header_of

    header = header_of(reference, ("META.INSTRUMENT.NAME", "INSTRUME", "META.REFTYPE", "REFTYPE"))
    words = {
        "PIPELINE": ("instrument", header.get("META.INSTRUMENT.NAME") or header.get("INSTRUME")),
        "INSTRUMENT": ("type", header.get("META.REFTYPE") or header.get("REFTYPE")),
    }
    while not isinstance(mapping.selector, Node):
        word, said = words[str(mapping.header.get("mapping", "")).upper()]
        table = {str(name).lower(): name for name in mapping.selector}
        named = mapping.selector.get(table.get(str(said).lower(), ""))
        if not isinstance(named, str) or named.upper() in SPECIAL:
            raise UnknownNameError(f"{word} with rules", str(said), table, place=mapping.name)
        mapping = parsed(named, source)
    return mapping


def leaves(node: Node, above: tuple[tuple[str, Any, int], ...] = ()) -> Iterator[Leaf]:
    """Return every answer of a selector, in the order of its text."""
    for key, value, line in node.items:
        path = (*above, (node.kind, key, line))
        if isinstance(value, Node):
            yield from leaves(value, path)
        else:
            yield Leaf(path, value)


def fields_of(mapping: MappingText) -> tuple[tuple[str, ...], ...]:
    """Return the fields each level of a mapping's selectors looks at."""
    parkey = mapping.header.get("parkey", ())
    levels = parkey if isinstance(parkey, (tuple, list)) else (parkey,)
    return tuple(
        tuple(map(str, level)) if isinstance(level, (tuple, list)) else (str(level),)
        for level in levels
    )


def key_text(kind: str, key: Any, fields: int) -> tuple[str, ...]:
    """Return a key as the texts of so many fields: a date as day and time where two say it."""
    if isinstance(key, (tuple, list)):
        return tuple(str(one) for one in key)
    if kind != "Match" and isinstance(key, str) and fields > 1:
        return tuple(key.split())
    return (str(key),)


def _files(answer: Any) -> Iterator[str]:
    if isinstance(answer, str):
        if answer.upper() not in SPECIAL:
            yield answer
    elif isinstance(answer, (tuple, list)):
        for one in answer:
            yield from _files(one)
    elif isinstance(answer, dict):
        for one in answer.values():
            yield from _files(one)
