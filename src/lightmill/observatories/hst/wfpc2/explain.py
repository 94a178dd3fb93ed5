"""Why an exposure is in an association or in none, and what changed since the last version."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lightmill.errors import UnknownNameError
from lightmill.observatories.hst.wfpc2.associations import Association
from lightmill.observatories.hst.wfpc2.builder import Candidates, candidates, distances, leaders
from lightmill.observatories.hst.wfpc2.exposures import Exposure, root_of
from lightmill.observatories.hst.wfpc2.geometry import CHIPS
from lightmill.observatories.hst.wfpc2.rules import Rules
from lightmill.observatories.hst.wfpc2.state import State

__all__ = ["Candidate", "Explanation", "change_of", "explain_association", "explain_exposure"]

FAR = 60.0  # arcsec; what is further is counted, not listed


@dataclass(frozen=True, slots=True)
class Candidate:
    """An exposure held against a leader.

    Parameters
    ----------
    dataset : str
        The exposure, or, of an explanation of an exposure, the leader.
    distance : float or None
        Between the two [arcsec]; None where a pointing is missing.
    delta_roll : float or None
        Difference of roll [deg].
    quality : str
        Of the exposure's jitter, with its causes.
    taken : bool
        Whether it is a member.
    rule : str
        Which rule decided, and why.
    """

    dataset: str
    distance: float | None
    delta_roll: float | None
    quality: str
    taken: bool
    rule: str

    def line(self) -> str:
        """Return it as a line for a terminal.

        Returns
        -------
        line : str
            Marked + if it is a member.
        """
        away = f'{self.distance:11.4f}"' if self.distance is not None else f"{'–':>12s}"
        turned = f"{self.delta_roll:+9.4f}°" if self.delta_roll is not None else f"{'–':>10s}"
        mark = "+" if self.taken else "-"
        return f"{mark} {self.dataset:9s} {away} {turned}  {self.quality}; {self.rule}"


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why something is as it is.

    Parameters
    ----------
    subject : str
        Exposure or association.
    verdict : str
        In one sentence.
    candidates : tuple of Candidate
        Nearest first.
    facts : tuple of str
        What else there is to know: generations, flags, what changed.
    """

    subject: str
    verdict: str
    candidates: tuple[Candidate, ...] = ()
    facts: tuple[str, ...] = ()

    def text(self) -> str:
        """Return the explanation as lines for a terminal.

        Returns
        -------
        text : str
            Without a line's end after the last.
        """
        lines = [f"{self.subject}: {self.verdict}"]
        lines += [f"  {fact}" for fact in self.facts]
        if self.candidates:
            lines.append(f"  {'':9s} {'distance':>12s} {'roll':>10s}  quality, rule")
        far = [one for one in self.candidates if not one.taken and (one.distance or 0) > FAR]
        lines += [one.line() for one in self.candidates if one not in far]
        if far:
            lines.append(f"- {len(far)} more, further than {FAR:g} arcsec")
        return "\n".join(lines)


def explain_exposure(state: State, dataset: str) -> Explanation:
    """Explain which association an exposure belongs to, and why to no other.

    Parameters
    ----------
    state : State
        Of the archive.
    dataset : str
        Name of the exposure.

    Returns
    -------
    explanation : Explanation
        With every leader of the same proposal and filters.

    Raises
    ------
    UnknownNameError
        If there is no such exposure.
    """
    root = root_of(dataset)
    exposure = state.exposures.get(root)
    if exposure is None or exposure.dataset_name != dataset:
        names = (one.dataset_name for one in state.exposures.values())
        raise UnknownNameError("exposure", dataset, names)
    facts = (*_facts(state, root), *_by_header(state, exposure))
    rows = _rows_of(state, exposure.pep_id)
    names_ = [one.dataset_name for one in rows.exposures]
    if dataset not in names_:
        why = rows.alone.get(dataset, "R0: its calibrated data have not arrived")
        return Explanation(dataset, f"alone, {why}", facts=facts)
    me = names_.index(dataset)
    chief = leaders(rows, state.rules)
    group = [n for n in range(len(names_)) if rows.group[n] == rows.group[me] and n != me]
    mine = state.member_of.get(dataset)
    mine = mine if mine is not None and mine[-1] == "A" else None
    shown = [n for n in group if chief[n] == n] if mine else group
    held = _held(rows, shown, me, state.rules)
    leader = state.associations[mine].leader if mine else None
    chosen = []
    for n, away, turned, inside in held:
        taken = names_[n] == leader
        chosen.append(
            Candidate(names_[n], away, turned, _quality(state, names_[n]), taken,
                      _rule_for_leader(inside, taken, leader == dataset))
        )  # fmt: skip
    if mine is None:
        verdict = (
            "alone, R5: no other exposure of its proposal and filters is within the tolerances"
        )
        verdict = verdict if group else "alone, R2: no other exposure of its proposal and filters"
    elif leader == dataset:
        verdict = f"leads {mine}, R3: nothing deeper is within the tolerances"
    else:
        verdict = f"member of {mine}, R4: its nearest leader is {leader}"
    return Explanation(dataset, verdict, tuple(chosen), facts)


def explain_association(state: State, assoc_id: str) -> Explanation:
    """Explain why each exposure of a proposal with the same filters is in an association or not.

    Parameters
    ----------
    state : State
        Of the archive.
    assoc_id : str
        Identity; of an association retired, its tombstone is told.

    Returns
    -------
    explanation : Explanation
        With every exposure of the same filters, nearest to the leader first.

    Raises
    ------
    UnknownNameError
        If there never was such an association.
    """
    if assoc_id in state.retired:
        tombstone = state.retired[assoc_id]
        now = state.resolve(assoc_id)
        return Explanation(
            assoc_id,
            f"retired: {tombstone.reason}",
            facts=(f"leads to {now}" if now else "leads nowhere",),
        )
    one = state.associations.get(assoc_id)
    if one is None:
        raise UnknownNameError("association", assoc_id, [*state.associations, *state.retired])
    rows = _rows_of(state, one.pep_id, kind=assoc_id[-1])
    names = [exposure.dataset_name for exposure in rows.exposures]
    leader = names.index(one.leader)
    group = [n for n in range(len(names)) if rows.group[n] == rows.group[leader] and n != leader]
    chosen = []
    for n, away, turned, inside in _held(rows, group, leader, state.rules):
        taken = names[n] in one.names
        other = _association_of(state, one, names[n])
        chosen.append(
            Candidate(names[n], away, turned, _quality(state, names[n]), taken,
                      _rule_for_member(inside, taken, other))
        )  # fmt: skip
    alone = [
        Candidate(name, None, None, _quality(state, name)[0], False, why)
        for name, why in sorted(rows.alone.items())
        if state.exposures[root_of(name)].filter == one.filter
    ]
    facts = (
        f"version {state.versions[assoc_id]}, led by {one.leader}, generation {one.gen_date_str}",
        f"{one.filter}, {one.exptime:g} s of quality P, {one.kind} of {one.n_pointings} pointings",
        *(f"owed by {policy}: preview" for policy, owed in state.owed.items() if assoc_id in owed),
        *(f"since the last version: {line}" for line in _changed(state, assoc_id)),
    )
    total = len(chosen) + len(alone) + 1
    verdict = f"{len(one.members)} of {total} exposures of proposal {one.pep_id} with these filters"
    return Explanation(assoc_id, verdict, (*chosen, *alone), facts)


def change_of(before: Association, after: Association) -> list[str]:
    """Tell the difference between two versions of an association.

    Parameters
    ----------
    before, after : Association
        Versions.

    Returns
    -------
    lines : list of str
        Empty if they are the same.
    """
    lines = []
    for name in ("leader", "targname", "filter", "exptime", "gen_date_str"):
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            lines.append(f"{name} {old} → {new}")
    was = {one.dataset: one for one in before.members}
    now = {one.dataset: one for one in after.members}
    lines += [f"{name} left" for name in sorted(was.keys() - now.keys())]
    lines += [f"{name} joined" for name in sorted(now.keys() - was.keys())]
    for name in sorted(was.keys() & now.keys()):
        old_member, new_member = was[name], now[name]
        for what in ("quality", "gen_date_str", "exptime"):
            old, new = getattr(old_member, what), getattr(new_member, what)
            if old != new:
                lines.append(f"{name} {what} {old} → {new}")
        if old_member.shifts != new_member.shifts:
            moved = "; ".join(
                f"{chip} {x1 - x0:+.2f} {y1 - y0:+.2f}"
                for chip, (x0, y0), (x1, y1) in zip(
                    CHIPS, old_member.shifts, new_member.shifts, strict=True
                )
            )
            lines.append(f"{name} moved by {moved} pixel")
    if before.members == after.members and before.content != after.content:
        lines.append("made by another version of the builder")
    return lines


def _rows_of(state: State, pep_id: int, kind: str = "A") -> Candidates:
    """Return the candidates of a proposal as the builder sees them."""
    roots = [root for root in state.proposals[pep_id] if state.generation(root)]
    if kind == "B":
        roots = state.inputs(pep_id, state.last_day())
    exposures = [state.exposures[root] for root in roots]
    generations = {one.root: state.generation(one.root) for one in exposures}
    return candidates(exposures, state.pointings, generations, kind=kind, rules=state.rules)


def _association_of(state: State, one: Association, name: str) -> str | None:
    """Return the association of the same type and proposal that an exposure is a member of."""
    others = (state.associations[other] for other in state.of_proposal.get(one.pep_id, ()))
    return next(
        (o.assoc_id for o in others if o.assoc_id[-1] == one.assoc_id[-1] and name in o.names), None
    )


def _by_header(state: State, exposure: Exposure) -> Iterator[str]:
    """Yield what there is to say of an exposure's association by its header."""
    if state.rules.grace is None:
        return
    last = state.last_day()
    if exposure.start_time[:10] > last:
        yield f"by header: not yet, {state.rules.grace:g} days of grace have not passed"
        return
    own = (one for one in state.of_proposal.get(exposure.pep_id, ()) if one[-1] == "B")
    found = [one for one in own if exposure.dataset_name in state.associations[one].names]
    yield f"by header: {', '.join(found) or 'alone'}"


def _held(
    rows: Candidates, some: list[int], against: int, rules: Rules
) -> list[tuple[int, float, float, str]]:
    """Return row, distance [arcsec], roll [deg] and what is beyond the tolerances, nearest first."""
    if not some:
        return []
    away, turned = distances(rows.attitude.take(some), rows.attitude.take([against] * len(some)))
    found = []
    for n, distance, roll in zip(some, (away / 1e6).tolist(), (turned / 1e9).tolist(), strict=True):
        beyond = []
        if distance > rules.radius:
            beyond.append(f"further than {rules.radius:g} arcsec")
        if abs(roll) > rules.roll:
            beyond.append(f"turned by more than {rules.roll:g} deg")
        found.append((n, distance, roll, " and ".join(beyond)))
    return sorted(found, key=lambda one: (one[1], rows.exposures[one[0]].dataset_name))


def _rule_for_leader(beyond: str, taken: bool, leads: bool) -> str:
    if beyond:
        return f"R3: {beyond}"
    if taken:
        return "R4: the nearest leader within the tolerances"
    return "R3: within the tolerances" if leads else "R4: within the tolerances, another is nearer"


def _rule_for_member(beyond: str, taken: bool, other: str | None) -> str:
    if beyond:
        return f"R3: {beyond}"
    if taken:
        return "R4: within the tolerances"
    return f"R4: nearer to the leader of {other}" if other else "R3: not built yet"


def _quality(state: State, dataset: str) -> str:
    at = state.pointings.get(root_of(dataset))
    if at is None:
        return "I (no jitter file)"
    return f"{at.quality} ({'; '.join(at.causes)})" if at.causes else at.quality


def _facts(state: State, root: str) -> tuple[str, ...]:
    """Return what is known of an exposure's data: generations, flags, stories."""
    exposure, flags = state.exposures[root], state.flags[root]
    facts: list[Any] = [
        f"proposal {exposure.pep_id}, {exposure.filter}, {exposure.exptime:g} s",
        f"flags: CAL {flags.cal!r} OMS {flags.oms!r}",
        f"calibrated data: {state.generation(root) or 'none'}",
    ]
    at = state.pointings.get(root)
    if at is None:
        facts.append("pointing: none, no jitter file was read")
    else:
        facts.append(f"pointing: {_quality(state, exposure.dataset_name)}, from {at.gen_date_str}")
        if at.ra is not None:
            facts.append(
                f"  RA {at.ra:.7f} Dec {at.dec:.7f} roll {at.roll:.5f} deg, "
                f"scatter {1000 * at.sigma_ra:.1f} and {1000 * at.sigma_dec:.1f} mas "
                f"in {at.valid} of {at.rows} rows"
            )
    for (other, generation), one in sorted(state.unreadable.items()):
        if other == root:
            tried = f"{one.attempts} times" + (", quarantined" if one.is_quarantined else "")
            first = one.story.splitlines()[0]
            facts.append(f"jitter files of {generation} cannot be read ({tried}): {first}")
    return tuple(facts)


def _changed(state: State, assoc_id: str) -> list[str]:
    before = state.previous.get(assoc_id)
    return change_of(before, state.associations[assoc_id]) if before else []
