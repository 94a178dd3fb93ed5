"""What changes from some rules to others: which rows, which files.

The changes are also given as the tuples other tools print; their order is
that of keys as compared when selecting, deleted and replaced rows before
added ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from lightmill.reference.parsed import SPECIAL, Source, fields_of, key_text, leaves, opened, parsed
from lightmill.reference.rules.text import MappingText, Node

__all__ = ["Change", "difference", "differences", "file_matches"]

Pair = tuple[str, str]
Path_ = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Change:
    """One difference between two mappings.

    Parameters
    ----------
    mappings : tuple of pairs
        Old and new name of each mapping on the way, from the outermost.
    keys : tuple of tuples
        The keys of the row, as text, level by level.
    action : str
        ``added``, ``deleted``, ``replaced``; ``different`` where rows cannot be compared.
    what : str
        What came or went: ``Match rule``, ``terminal``; empty for a mapping.
    old, new : object
        Answer before and after; None where there is none.
    """

    mappings: tuple[Pair, ...]
    keys: Path_
    action: str
    what: str = ""
    old: Any = None
    new: Any = None

    @property
    def sentence(self) -> str:
        """The change in words."""
        if self.action == "replaced":
            return f"replaced {self.old!r} with {self.new!r}"
        if self.action == "different":
            return f"different {self.what} {self.old} : {self.new}"
        answer = self.new if self.action == "added" else self.old
        article = {"": "", "terminal": "terminal "}.get(self.what, f"{self.what} for ")
        return f"{self.action} {article}{answer!r}"

    def as_tuple(self) -> tuple[Any, ...]:
        """Return the change as one flat tuple: pairs of names, keys, sentence."""
        return (*self.mappings, *self.keys, self.sentence)

    def as_dict(self) -> dict[str, Any]:
        """Return the change for machines."""
        return {
            "mappings": [list(pair) for pair in self.mappings],
            "keys": [list(key) for key in self.keys],
            "action": self.action,
            "old": self.old,
            "new": self.new,
        }

    @property
    def files(self) -> tuple[set[str], set[str]]:
        """Reference files it takes away, and those it brings."""
        return set(_names(self.old)), set(_names(self.new))


def differences(
    old: str | Path,
    new: str | Path,
    *,
    old_source: Source | None = None,
    new_source: Source | None = None,
) -> list[Change]:
    """Return what changes from one file of rules to another.

    Parameters
    ----------
    old, new : path_like
        Two contexts, or two mappings of one kind.
    old_source, new_source : Source, optional
        Where the mappings they name are; by default beside them.

    Returns
    -------
    changes : list of Change
        Empty where the rules are the same.
    """
    before, below = opened(old, old_source)
    after, beside = opened(new, new_source)
    return list(difference(before, after, below, beside))


def difference(
    old: MappingText, new: MappingText, old_source: Source, new_source: Source
) -> Iterator[Change]:
    """Return what changes from one parsed mapping to another, and in what they name."""
    pair = ((_basename(old.name), _basename(new.name)),)
    if isinstance(old.selector, Node) and isinstance(new.selector, Node):
        yield from _rows(old, new, pair)
        return
    if isinstance(old.selector, Node) or isinstance(new.selector, Node):
        kinds = [str(one.header.get("mapping")) for one in (old, new)]
        yield Change(pair, (), "different", "kinds of mappings", *kinds)
        return
    before = {str(name).lower(): value for name, value in old.selector.items()}
    after = {str(name).lower(): value for name, value in new.selector.items()}
    nested: list[Change] = []
    own: list[Change] = []
    for name in sorted(before.keys() | after.keys()):
        was, now = before.get(name), after.get(name)
        if name not in after:
            own.append(Change(pair, ((name,),), "deleted", old=was))
        elif name not in before:
            own.append(Change(pair, ((name,),), "added", new=now))
        elif was != now:
            own.append(Change(pair, ((name,),), "replaced", old=was, new=now))
        if _is_mapping(was) and _is_mapping(now):
            if was == now and old_source is new_source:
                continue
            below = difference(
                parsed(was, old_source), parsed(now, new_source), old_source, new_source
            )
            nested += [
                Change(pair + one.mappings, one.keys, one.action, one.what, one.old, one.new)
                for one in below
            ]
    yield from sorted(nested, key=lambda one: one.as_tuple()[1:])
    yield from own


def file_matches(
    place: str | Path, name: str, source: Source | None = None
) -> list[tuple[tuple[tuple[str, str], ...], ...]]:
    """Return where rules name a file.

    Parameters
    ----------
    place : path_like
        A file of rules of any level.
    name : str
        A reference file.
    source : Source, optional
        Where the mappings it names are; by default beside it.

    Returns
    -------
    paths : list of tuples
        For each row: (observatory, instrument, type), then the fields and values of each
        level; sorted.
    """
    mapping, below = opened(place, source)
    return sorted(_matches(mapping, name, below))


def _matches(
    mapping: MappingText, name: str, source: Source
) -> Iterator[tuple[tuple[tuple[str, str], ...], ...]]:
    if isinstance(mapping.selector, Node):
        head = tuple(
            (key, str(mapping.header.get(key, "")).lower())
            for key in ("observatory", "instrument", "filekind")
        )
        fields = fields_of(mapping)
        for leaf in leaves(mapping.selector):
            if name in leaf.files or name in map(_basename, leaf.files):
                yield (
                    head,
                    *(
                        tuple(zip(names, key, strict=False))
                        for names, key in zip(fields, leaf.keys(fields), strict=False)
                    ),
                )
        return
    seen = dict.fromkeys(value for value in mapping.selector.values() if _is_mapping(value))
    for one in seen:
        yield from _matches(parsed(one, source), name, source)


# ------------------------------------------------------------------------- rows


def _rows(old: MappingText, new: MappingText, pair: tuple[Pair, ...]) -> Iterator[Change]:
    assert isinstance(old.selector, Node)
    assert isinstance(new.selector, Node)
    if old.selector.kind != new.selector.kind:
        yield Change(pair, (), "different", "classes", old.selector.kind, new.selector.kind)
        return
    was, now = fields_of(old), fields_of(new)
    if was[:1] != now[:1]:
        yield Change(pair, (), "different", "parameter lists ", *was[:1], *now[:1])
        return
    yield from _Rows(pair, was, now).nodes(old.selector, new.selector, ())


class _Rows:
    """Compares rows of two mappings.

    Parameters
    ----------
    pair : tuple
        Names of the mappings.
    old, new : tuple of tuples
        The fields of each level, before and after.
    """

    def __init__(self, pair: tuple[Pair, ...], old: Path_, new: Path_) -> None:
        self.pair = pair
        self.old = old
        self.new = new

    def nodes(self, old: Node, new: Node, above: Path_) -> Iterator[Change]:
        """Return what changes from one selector to another of its kind."""
        pair, depth = self.pair, len(above)
        before, after = _table(old, self.old, depth), _table(new, self.new, depth)
        for key, was in sorted(before.items(), key=_by_key):
            path = (*above, key)
            now = after.get(key)
            if key not in after:
                for rest, gone in _answers(was, self.old, depth + 1):
                    yield Change(pair, path + rest, "deleted", _what(old, above, rest), old=gone)
            elif isinstance(was, Node) and isinstance(now, Node) and was.kind == now.kind:
                yield from self.nodes(was, now, path)
            elif isinstance(was, Node) or isinstance(now, Node):
                kinds = [one.kind if isinstance(one, Node) else one for one in (was, now)]
                yield Change(pair, path, "different", "classes", *kinds)
            elif was != now:
                yield Change(pair, path, "replaced", old=was, new=now)
        for key, now in sorted(after.items(), key=_by_key):
            if key not in before:
                for rest, come in _answers(now, self.new, depth + 1):
                    yield Change(
                        pair, (*above, key, *rest), "added", _what(new, above, rest), new=come
                    )


def _table(node: Node, fields: Path_, depth: int) -> dict[tuple[str, ...], Any]:
    """Return the rows of a selector by the texts of their keys; of equal ones the last counts."""
    width = len(fields[depth]) if depth < len(fields) else 1
    return {key_text(node.kind, key, width): value for key, value, _ in node.items}


def _answers(value: Any, fields: Path_, depth: int) -> Iterator[tuple[Path_, Any]]:
    """Return every answer below a row, with the keys that lead to it."""
    if not isinstance(value, Node):
        yield (), value
        return
    for key, inner in sorted(_table(value, fields, depth).items(), key=_by_key):
        for rest, answer in _answers(inner, fields, depth + 1):
            yield (key, *rest), answer


def _what(node: Node, above: Path_, rest: Path_) -> str:
    """Return what came or went: a whole row, or one answer in a row that is in both."""
    return "terminal" if above and not rest else f"{node.kind} rule"


def _by_key(item: tuple[tuple[str, ...], Any]) -> tuple[str, ...]:
    return item[0]


def _is_mapping(name: Any) -> TypeGuard[str]:
    return isinstance(name, str) and name.upper() not in SPECIAL


def _basename(name: str) -> str:
    return name.rpartition("/")[2]


def _names(answer: Any) -> Iterator[str]:
    for one in answer if isinstance(answer, (tuple, list)) else [answer]:
        if (
            isinstance(one, str)
            and one.upper() not in SPECIAL
            and not one.endswith(("map", ".yaml"))
        ):
            yield one
