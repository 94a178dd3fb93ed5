"""Which of several associations of the same exposures survives."""

from __future__ import annotations

import re
from collections.abc import Callable

from lightmill.association.engine.drafts import Draft

__all__ = ["pruned"]

Root = Callable[[str], str]


def pruned(drafts: list[Draft], root: Root) -> tuple[list[Draft], list[Draft]]:
    """Return the associations that stay, and those that others make superfluous.

    Parameters
    ----------
    drafts : list of Draft
        Of one level, in the order they were made.
    root : callable
        A file's name without the suffix of its product.

    Returns
    -------
    kept, removed : list of Draft
        Of equal members, the association of the candidate whose identifier sorts last is kept,
        and of those the last made; of one product's associations, the larger.
    """
    kept, removed = _same_members(drafts)
    return _same_product(kept, removed, root)


def _membership(draft: Draft) -> frozenset[tuple[str, str]] | None:
    """Return the members; None if a file is there twice: then it is equal to no other."""
    pairs = frozenset((member.expname, member.exptype) for member in draft.members)
    if len({name for name, _ in pairs}) != len(draft.members):
        return None
    return pairs


def _same_members(drafts: list[Draft]) -> tuple[list[Draft], list[Draft]]:
    equal: dict[object, list[Draft]] = {}
    for draft in sorted(drafts, key=lambda one: one.candidate):
        members = _membership(draft)
        equal.setdefault(id(draft) if members is None else members, []).append(draft)
    kept: list[Draft] = []
    removed: list[Draft] = []
    for draft in sorted(drafts, key=lambda one: one.candidate)[::-1]:  # of equal ones, the last
        members = _membership(draft)
        same = equal.pop(id(draft) if members is None else members, None)
        if same is not None:
            kept.append(same[-1])
            removed += same[:-1]
    return kept, removed


def _same_product(
    drafts: list[Draft], removed: list[Draft], root: Root
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
    doomed = [draft for group in groups.values() for draft in _condemned(group, root)]
    condemned = set(map(id, doomed))
    return [draft for draft in drafts if id(draft) not in condemned], removed + doomed


def _condemned(group: list[Draft], root: Root) -> list[Draft]:
    doomed: list[Draft] = []
    others = list(group)
    for draft in group:
        if any(_alike(draft, one, root) for one in doomed):
            continue
        best = draft
        found: list[Draft] = []
        for other in others:
            if _alike(other, best, root):
                continue
            relation = _relation(best, other, root)
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


def _relation(one: Draft, other: Draft, root: Root) -> str:
    first, second = _membership(one), _membership(other)
    if first is not None and first == second:
        return "equal"
    if len(one.members) != len(other.members) and first is not None and second is not None:
        roles, more = dict(first), dict(second)
        if all(more.get(name, role) == role for name, role in roles.items()):
            return "subset"
    return "suffixes" if _roots(one, root) == _roots(other, root) is not None else "different"


def _roots(draft: Draft, root: Root) -> frozenset[tuple[str, str]] | None:
    names = [(root(member.expname), member.exptype) for member in draft.members]
    pairs = frozenset(names)  # files made of one image differ in their suffixes only
    return pairs if len(pairs) == len(names) else None


def _alike(one: Draft, other: Draft, root: Root) -> bool:
    if one.rule.type != other.rule.type or one.candidate[:1] != other.candidate[:1]:
        return False
    if set(re.split("[_-]", one.name)) != set(re.split("[_-]", other.name)):
        return False
    roots = _roots(one, root)
    return roots is not None and roots == _roots(other, root)
