"""Which of several associations of the same exposures survives."""

from __future__ import annotations

import itertools
import re
from array import array

from lightmill.association.engine.drafts import Draft, Facts

__all__ = ["pruned"]

Membership = frozenset[tuple[str, str]]  # file and role


def pruned(drafts: list[Draft], facts: Facts) -> tuple[list[Draft], list[Draft]]:
    """Return the associations that stay, and those that others make superfluous.

    Parameters
    ----------
    drafts : list of Draft
        Of one level, in the order they were made.
    facts : Facts
        Of their pool.

    Returns
    -------
    kept, removed : list of Draft
        Of equal members, the association of the candidate whose identifier sorts last is kept,
        and of those the last made; of one product's associations, the larger.
    """
    kept, removed = _same_members(sorted(drafts, key=lambda one: one.candidate), facts)
    return _same_product(kept, removed, facts)


def _membership(draft: Draft, facts: Facts) -> Membership | None:
    """Return the members; None if a file is there twice: then it is equal to no other."""
    book = facts.book
    pairs = frozenset([(book.file(one), book.role(one)) for one in draft.members])
    if len({name for name, _ in pairs}) != len(draft.members):
        return None
    return pairs


def _same_members(drafts: list[Draft], facts: Facts) -> tuple[list[Draft], list[Draft]]:
    """Keep the last of equal associations; backwards, as the field lists them.

    Memberships are large, so only those with equal hashes are looked at together.
    """
    unequal = object()  # associations with a file twice
    hashes = array("q", [hash(_membership(one, facts) or unequal) for one in drafts])
    places = sorted(range(len(drafts)), key=hashes.__getitem__)
    last_of: dict[int, list[int]] = {}  # place of a kept one → those equal to it
    superseded = bytearray(len(drafts))
    for _, some in itertools.groupby(places, key=hashes.__getitem__):
        alike = list(some)
        if len(alike) == 1:
            continue
        equal: dict[Membership, list[int]] = {}
        for place in alike:
            members = _membership(drafts[place], facts)
            if members is not None:
                equal.setdefault(members, []).append(place)
        for *before, last in equal.values():
            if before:
                last_of[last] = before
                for place in before:
                    superseded[place] = 1
    kept: list[Draft] = []
    removed: list[Draft] = []
    for place in reversed(range(len(drafts))):
        if not superseded[place]:
            kept.append(drafts[place])
            removed += [drafts[one] for one in last_of.get(place, ())]
    return kept, removed


def _same_product(
    drafts: list[Draft], removed: list[Draft], facts: Facts
) -> tuple[list[Draft], list[Draft]]:
    named: dict[str, int] = {}
    for draft in drafts:
        named[draft.name] = named.get(draft.name, 0) + 1
    if all(count == 1 for count in named.values()):
        return drafts, removed
    drafts = sorted(drafts, key=lambda one: one.candidate)
    groups: dict[str, list[Draft]] = {name: [] for name, count in named.items() if count > 1}
    for draft in drafts:
        if draft.name in groups:
            groups[draft.name].append(draft)
    doomed = [draft for group in groups.values() for draft in _condemned(group, facts)]
    condemned = set(map(id, doomed))
    return [draft for draft in drafts if id(draft) not in condemned], removed + doomed


def _condemned(group: list[Draft], facts: Facts) -> list[Draft]:
    doomed: list[Draft] = []
    others = list(group)
    for draft in group:
        if any(_alike(draft, one, facts) for one in doomed):
            continue
        best = draft
        found: list[Draft] = []
        for other in others:
            if _alike(other, best, facts):
                continue
            relation = _relation(best, other, facts)
            if relation == "subset":
                small, large = sorted((best, other), key=lambda one: len(one.members))
                found.append(small)
                best = large
            elif relation == "equal":
                found.append(other)
            elif relation == "different":
                note = f"another association of product {best.name} has other members"
                if note not in best.notes:
                    best.notes += (note,)
        doomed += found
        others = [one for one in others if all(one is not other for other in found)]
    return list({id(one): one for one in doomed}.values())


def _relation(one: Draft, other: Draft, facts: Facts) -> str:
    first, second = _membership(one, facts), _membership(other, facts)
    if first is not None and first == second:
        return "equal"
    if len(one.members) != len(other.members) and first is not None and second is not None:
        roles, more = dict(first), dict(second)
        if all(more.get(name, role) == role for name, role in roles.items()):
            return "subset"
    return "suffixes" if _roots(one, facts) == _roots(other, facts) is not None else "different"


def _roots(draft: Draft, facts: Facts) -> frozenset[tuple[str, str]] | None:
    book = facts.book
    names = [(facts.root(book.file(one)), book.role(one)) for one in draft.members]
    pairs = frozenset(names)  # files made of one image differ in their suffixes only
    return pairs if len(pairs) == len(names) else None


def _alike(one: Draft, other: Draft, facts: Facts) -> bool:
    if one.rule.type != other.rule.type or one.candidate[:1] != other.candidate[:1]:
        return False
    if set(re.split("[_-]", one.name)) != set(re.split("[_-]", other.name)):
        return False
    roots = _roots(one, facts)
    return roots is not None and roots == _roots(other, facts)
