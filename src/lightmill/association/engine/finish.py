"""What is done to associations that have all their members: the ways to finish of the rules."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lightmill.association.engine.drafts import Draft, Facts
from lightmill.association.engine.members import Numbers
from lightmill.association.records import Member

__all__ = ["finished", "too_few"]

Finish = Callable[[Draft, Mapping[str, Any], Facts], "list[Draft]"]


def finished(draft: Draft, facts: Facts) -> list[Draft]:
    """Return what comes of an association when it is finished: none, itself, or several.

    The draft given may be changed.
    """
    written = facts.shared.get("finishes", {})
    ways = [written[name] for name in draft.rule.finish]
    if any(way["do"] == "catalog" for way in ways):
        drafts = [draft]
        for way in ways:
            drafts = [one for old in drafts for one in FINISHES[way["do"]](old, way, facts)]
        return [one for one in drafts if facts.is_valid(one)]
    if not any(way["do"] == "repeat_as_background" for way in ways) and too_few(draft, facts):
        return []
    if not facts.is_valid(draft):
        return []
    drafts = [draft]
    for way in ways:
        drafts = [one for old in drafts for one in FINISHES[way["do"]](old, way, facts)]
    return drafts


def too_few(draft: Draft, facts: Facts) -> bool:
    """Say whether a candidate of several observations got members of one only."""
    wanted = facts.levels[draft.rule.level].get("several_observations")
    if wanted is None or draft.run.candidate[1].lower() not in wanted["candidates"]:
        return False
    return len(facts.found(draft, wanted["node"])) <= 1


def _numbers(members: Iterable[int]) -> Numbers[int]:
    return array("q", members)


def _in_role(draft: Draft, role: str, facts: Facts) -> list[int]:
    return [one for one in draft.members if facts.book.role(one) == role]


def _split_nods(draft: Draft, way: Mapping[str, Any], facts: Facts) -> list[Draft]:
    """Return one association for each science member, with the others as its background."""
    book = facts.book
    science = _in_role(draft, "science", facts)
    others = [one for one in draft.members if book.role(one) != "science"]
    split: list[Draft] = []
    for one in science:
        name = book.file(one)
        members = [one]
        members += [
            book.with_role(other, "background")
            for other in science
            if book.file(other) != name and not _overlap(one, other, way, facts)
        ]
        split.append(draft.copied(facts.root(name), _numbers(members + others)))
    return split


def _overlap(one: int, other: int, way: Mapping[str, Any], facts: Facts) -> bool:
    """Say whether the source of one nod lies where that of another does."""
    row, other_row = facts.book.row(one), facts.book.row(other)
    assert row is not None
    assert other_row is not None
    case = next((c for c in way["overlaps"] if facts.holds(c["where"], row)), None)
    if case is None:
        return False
    targets = [facts.raw_cell(each, way["target"]) for each in (row, other_row)]
    if targets[0] != targets[1] and None not in targets:
        return True
    steps = facts.number(row, way["steps"])
    step = [facts.number(each, way["step"]) for each in (row, other_row)]
    if steps is None or None in step:
        return bool(case["unknown"])
    sub = [facts.number(each, *way["sub_steps"]) for each in (row, other_row)]
    if not sub[0] or not sub[1]:
        return bool(case["unknown"])
    at = [(number - 1) // size for number, size in zip(step, sub, strict=True)]  # type: ignore[operator]
    if at[0] == at[1]:
        return True
    near = case.get("neighbours")
    return bool(
        near
        and facts.holds(near["where"], row)
        and steps // sub[0] == near["positions"]
        and abs(at[0] - at[1]) <= 1
    )


def _fit_imprints(draft: Draft, way: Mapping[str, Any], facts: Facts) -> list[Draft]:
    """Leave out the imprints that belong to other science members."""
    target, flag = way["target"], way["flag"]
    if not (facts.pool.has(target) and facts.pool.has(flag)):
        return [draft]

    book = facts.book

    def cell(one: int, column: str) -> str | None:
        row = book.row(one)
        return None if row is None else facts.raw_cell(row, column)

    science = _in_role(draft, "science", facts)
    targets = {cell(one, target) for one in science if book.row(one) is not None}
    state = any(cell(one, flag) == way["value"] for one in science)
    imprints = [
        one
        for one in _in_role(draft, "imprint", facts)
        if (cell(one, flag) == way["value"]) == state
    ]
    out: set[int] = set()
    same = [one for one in imprints if book.row(one) is not None and cell(one, target) in targets]
    if same:
        out.update(one for one in imprints if one not in same)
        imprints = same
    if science and len(imprints) > len(science) and facts.pool.has(way["position"]):
        places = {cell(one, way["position"]) for one in science if book.row(one) is not None}
        fit = [
            one
            for one in imprints
            if book.row(one) is not None and cell(one, way["position"]) in places
        ]
        if fit:
            out.update(one for one in imprints if one not in fit)
    if out:
        draft.members = _numbers(one for one in draft.members if one not in out)
    return [draft]


def _catalog(draft: Draft, way: Mapping[str, Any], facts: Facts) -> list[Draft]:
    """Replace the direct images by the products that are to be made of one of them."""
    book = facts.book
    direct = _in_role(draft, "direct_image", facts)
    science = _in_role(draft, "science", facts)
    if not direct or not science:
        return []
    row = book.row(_chosen(direct, science[0], way, facts))
    assert row is not None
    optics = next(
        one for one in way["optics"] if "where" not in one or facts.holds(one["where"], row)
    )
    found: list[str] = []
    for columns in optics["columns"]:
        if len(optics["columns"]) == 1:
            value = facts.raw_cell(row, columns[0])
        else:
            value = next((v for c in columns if (v := facts.cell(row, c))), None)
        if value is not None:
            found.append(value)
    root = facts.named(draft, way["product"], optics="-".join(sorted(found)) or "clear")
    members = [one for one in draft.members if book.role(one) != "direct_image"]
    members += [book.other(Member(root + ending, role)) for ending, role in way["members"]]
    draft.members = _numbers(members)
    return [draft]


def _chosen(direct: list[int], science: int, way: Mapping[str, Any], facts: Facts) -> int:
    book = facts.book
    if "prefer" in way:
        return next((one for one in direct if way["prefer"] in book.file(one)), direct[0])
    row = book.row(science)
    assert row is not None
    after = facts.number(row, way["order"])
    best: tuple[int, int] | None = None
    for one in direct:
        row = book.row(one)
        assert row is not None
        number = facts.number(row, way["order"])
        if after is None or number is None or number <= after:
            continue
        if best is None or number < best[0]:
            best = (number, one)
    return direct[0] if best is None else best[1]


def _repeat_as_background(draft: Draft, way: Mapping[str, Any], facts: Facts) -> list[Draft]:
    """List science members as background too, where each nod is the background of others."""
    book = facts.book
    science = _in_role(draft, "science", facts)
    nodded = any(way["containing"] in value for value in facts.found(draft, way["node"]))
    if nodded and len(science) >= 2:
        repeated: list[int] = []
        for one in science:
            old = book.member(one, draft.run.cell)
            name = facts.root(old.expname) + way["suffix"]
            repeated.append(book.other(Member(name, "background", old.details, old.row)))
        draft.members = draft.members + _numbers(repeated)
    return [draft]


FINISHES: dict[str, Finish] = {
    "split_nods": _split_nods,
    "fit_imprints": _fit_imprints,
    "catalog": _catalog,
    "repeat_as_background": _repeat_as_background,
}
