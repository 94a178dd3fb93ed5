"""What is done to associations that have all their members: the ways to finish of the rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lightmill.association.engine.drafts import Draft, Facts
from lightmill.association.records import Member

__all__ = ["finished", "too_few"]

Finish = Callable[[Draft, Mapping[str, Any], Facts], "list[Draft]"]


def finished(draft: Draft, facts: Facts) -> list[Draft]:
    """Return what comes of an association when it is finished: none, itself, or several."""
    draft = draft.copied(draft.name, list(draft.members))
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


def _split_nods(draft: Draft, way: Mapping[str, Any], facts: Facts) -> list[Draft]:
    """Return one association for each science member, with the others as its background."""
    science = [member for member in draft.members if member.exptype == "science"]
    others = [member for member in draft.members if member.exptype != "science"]
    split: list[Draft] = []
    for one in science:
        members = [one]
        members += [
            Member(other.expname, "background", other.details, other.row)
            for other in science
            if other.expname != one.expname and not _overlap(one, other, way, facts)
        ]
        split.append(draft.copied(facts.root(one.expname), members + others))
    return split


def _overlap(one: Member, other: Member, way: Mapping[str, Any], facts: Facts) -> bool:
    """Say whether the source of one nod lies where that of another does."""
    assert one.row is not None
    assert other.row is not None
    case = next((c for c in way["overlaps"] if facts.holds(c["where"], one.row)), None)
    if case is None:
        return False
    targets = [facts.raw_cell(member.row, way["target"]) for member in (one, other) if member.row is not None]  # fmt: skip
    if targets[0] != targets[1] and None not in targets:
        return True
    steps = facts.number(one.row, way["steps"])
    step = [facts.number(member, way["step"]) for member in (one.row, other.row)]
    if steps is None or None in step:
        return bool(case["unknown"])
    sub = [facts.number(member, *way["sub_steps"]) for member in (one.row, other.row)]
    if not sub[0] or not sub[1]:
        return bool(case["unknown"])
    at = [(number - 1) // size for number, size in zip(step, sub, strict=True)]  # type: ignore[operator]
    if at[0] == at[1]:
        return True
    near = case.get("neighbours")
    return bool(
        near
        and facts.holds(near["where"], one.row)
        and steps // sub[0] == near["positions"]
        and abs(at[0] - at[1]) <= 1
    )


def _fit_imprints(draft: Draft, way: Mapping[str, Any], facts: Facts) -> list[Draft]:
    """Leave out the imprints that belong to other science members."""
    target, flag = way["target"], way["flag"]
    if not (facts.pool.has(target) and facts.pool.has(flag)):
        return [draft]

    def flagged(member: Member) -> bool:
        return member.row is not None and facts.raw_cell(member.row, flag) == way["value"]

    science = [member for member in draft.members if member.exptype == "science"]
    targets = {facts.raw_cell(member.row, target) for member in science if member.row is not None}
    state = any(map(flagged, science))
    imprints = [
        member
        for member in draft.members
        if member.exptype == "imprint" and flagged(member) == state
    ]
    out: list[Member] = []
    same = [one for one in imprints if one.row is not None and facts.raw_cell(one.row, target) in targets]  # fmt: skip
    if same:
        out += [one for one in imprints if one not in same]
        imprints = same
    if science and len(imprints) > len(science) and facts.pool.has(way["position"]):
        places = {
            facts.raw_cell(member.row, way["position"])
            for member in science
            if member.row is not None
        }
        fit = [
            one
            for one in imprints
            if one.row is not None and facts.raw_cell(one.row, way["position"]) in places
        ]
        if fit:
            out += [one for one in imprints if one not in fit]
    draft.members = [member for member in draft.members if member not in out]
    return [draft]


def _catalog(draft: Draft, way: Mapping[str, Any], facts: Facts) -> list[Draft]:
    """Replace the direct images by the products that are to be made of one of them."""
    direct = [member for member in draft.members if member.exptype == "direct_image"]
    science = [member for member in draft.members if member.exptype == "science"]
    if not direct or not science:
        return []
    chosen = _chosen(direct, science[0], way, facts)
    assert chosen.row is not None
    optics = next(
        one for one in way["optics"] if "where" not in one or facts.holds(one["where"], chosen.row)
    )
    found: list[str] = []
    for columns in optics["columns"]:
        if len(optics["columns"]) == 1:
            value = facts.raw_cell(chosen.row, columns[0])
        else:
            value = next((v for c in columns if (v := facts.cell(chosen.row, c))), None)
        if value is not None:
            found.append(value)
    root = facts.named(draft, way["product"], optics="-".join(sorted(found)) or "clear")
    members = [member for member in draft.members if member.exptype != "direct_image"]
    members += [Member(root + ending, role) for ending, role in way["members"]]
    draft.members = members
    return [draft]


def _chosen(direct: list[Member], science: Member, way: Mapping[str, Any], facts: Facts) -> Member:
    if "prefer" in way:
        return next((one for one in direct if way["prefer"] in one.expname), direct[0])
    assert science.row is not None
    after = facts.number(science.row, way["order"])
    best: tuple[int, Member] | None = None
    for one in direct:
        assert one.row is not None
        number = facts.number(one.row, way["order"])
        if after is None or number is None or number <= after:
            continue
        if best is None or number < best[0]:
            best = (number, one)
    return direct[0] if best is None else best[1]


def _repeat_as_background(draft: Draft, way: Mapping[str, Any], facts: Facts) -> list[Draft]:
    """List science members as background too, where each nod is the background of others."""
    science = [member for member in draft.members if member.exptype == "science"]
    nodded = any(way["containing"] in value for value in facts.found(draft, way["node"]))
    if nodded and len(science) >= 2:
        draft.members = draft.members + [
            Member(facts.root(one.expname) + way["suffix"], "background", one.details, one.row)
            for one in science
        ]
    return [draft]


FINISHES: dict[str, Finish] = {
    "split_nods": _split_nods,
    "fit_imprints": _fit_imprints,
    "catalog": _catalog,
    "repeat_as_background": _repeat_as_background,
}
