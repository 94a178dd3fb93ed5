"""Rows of which one is a special case of another and weighs the same: neither can be meant to win."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lightmill.reference.rules.mapping import TypeRules
from lightmill.reference.rules.matching import Match
from lightmill.reference.rules.selectors import Selector
from lightmill.reference.rules.values import ANY, NOT_APPLICABLE

__all__ = ["covers", "overlaps", "weights_differ"]

Key = Sequence[str]


def covers(one: Key, other: Key) -> bool:
    """Return whether the patterns of a key allow all that those of another do.

    Parameters
    ----------
    one, other : sequence of str
        Elements of two keys of one table.
    """
    return all(_covers(mine, its) for mine, its in zip(one, other, strict=True))


def weights_differ(one: Key, other: Key) -> bool:
    """Return whether two keys count differently many elements."""
    return _weight(one) != _weight(other)


def overlaps(rules: TypeRules) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Return each key with another one of equal weight that covers it.

    Parameters
    ----------
    rules : TypeRules
        The rules of one type; tables within tables are looked into.
    """
    yield from _overlaps(rules.selector)


def _overlaps(selector: Selector) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    rows = list(selector.rows())
    if isinstance(selector, Match):
        keys = [key for key, _, _ in rows]
        by_weight: dict[int, list[tuple[str, ...]]] = {}
        for key in keys:
            by_weight.setdefault(_weight(key), []).append(key)
        for key in keys:
            for other in by_weight[_weight(key)]:
                if other != key and covers(other, key):
                    yield key, other
    for _, choice, _ in rows:
        if isinstance(choice, Selector):
            yield from _overlaps(choice)


def _weight(key: Key) -> int:
    return sum(1 for element in key if element != NOT_APPLICABLE)


def _covers(mine: str, its: str) -> bool:
    if mine in {its, ANY} or its == NOT_APPLICABLE or (mine, its) == (NOT_APPLICABLE, ANY):
        return True
    return set(its.split("|")) <= set(mine.split("|"))
