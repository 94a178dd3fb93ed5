"""Which exposures belong together: one pure function, whole proposals at a time.

Rules R0 to R10 of the association builder. All exposures of all proposals are one set of columns;
a loop goes over the leaders, of every group at once, not over the exposures.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from lightmill.errors import ValidationError
from lightmill.observatories.hst.wfpc2.associations import Association, Member
from lightmill.observatories.hst.wfpc2.exposures import Exposure
from lightmill.observatories.hst.wfpc2.geometry import (
    Attitude,
    attitude_of,
    chip_shifts,
    coordinates_of,
    focal_plane,
    roll_difference,
    separation,
    to_fiducial,
)
from lightmill.observatories.hst.wfpc2.jitter import Pointing
from lightmill.observatories.hst.wfpc2.rules import Rules

__all__ = [
    "Built",
    "Candidates",
    "associate",
    "candidates",
    "distances",
    "first_of_each",
    "leaders",
]

MICRO = 1e6  # distances are compared in micro-arcsec: the last bits of a sine decide nothing
NANO = 1e9  # and rolls in nano-degrees
HEADERS_ARE_GOOD = "1996-05"  # start times from which a header's pointing may confirm a shift
WF4 = 3  # place in CHIPS of the chip whose pixels tolerances are told in


@dataclass(frozen=True)
class Candidates:
    """Exposures as columns, in the order leaders are looked for; n is their number.

    Parameters
    ----------
    exposures : list of Exposure
        The rows.
    group : (n,) ndarray of int64
        Number of the pair of proposal and filters; equal ones are neighbours.
    attitude, header : Attitude
        Pointing at the fiducial, and what the headers say of it.
    quality : list of str
        P, G, B, I or R.
    gen_date_str : list of str
        Generation of the calibrated data.
    alone : dict
        Exposures that are not associated: name → why.
    kind : str
        A, by jitter files, or B, by headers.
    """

    exposures: list[Exposure]
    group: np.ndarray
    attitude: Attitude
    header: Attitude
    quality: list[str]
    gen_date_str: list[str]
    alone: dict[str, str]
    kind: str


@dataclass(frozen=True)
class Built:
    """What became of some proposals.

    Parameters
    ----------
    associations : dict
        Identity → association, in order.
    singles : list of str
        Exposures that belong to none, in order.
    """

    associations: dict[str, Association]
    singles: list[str]


def associate(
    exposures: Iterable[Exposure],
    pointings: Mapping[str, Pointing],
    generations: Mapping[str, str],
    *,
    kind: str = "A",
    rules: Rules | None = None,
) -> Built:
    """Group exposures of whole proposals into associations.

    Parameters
    ----------
    exposures : iterable of Exposure
        All current exposures of the proposals, in any order.
    pointings : mapping of str to Pointing
        By the eight characters that exposure and jitter files share.
    generations : mapping of str to str
        The same → generation of the calibrated data, the archive's sortable date.
    kind : str
        ``A``: by jitter files, where they are of quality P or G. ``B``: all exposures, by the
        science headers.
    rules : Rules, optional
        Tolerances.

    Returns
    -------
    built : Built
        The same for the same rows in any order, whatever other proposals are there.

    Raises
    ------
    ValidationError
        If the kind is neither A nor B, or two exposures have one name.
    """
    rules = rules or Rules()
    rows = candidates(exposures, pointings, generations, kind=kind, rules=rules)
    leader = leaders(rows, rules)
    size = np.bincount(leader, minlength=len(leader))
    alone = [*rows.alone, *(rows.exposures[i].dataset_name for i in np.flatnonzero(size == 1))]
    taking_part = np.flatnonzero(size[leader] > 1)
    order = _by_identity(rows, leader, taking_part)
    return Built(_associations(rows, leader[order], order, rules), sorted(alone))


def candidates(
    exposures: Iterable[Exposure],
    pointings: Mapping[str, Pointing],
    generations: Mapping[str, str],
    *,
    kind: str,
    rules: Rules,
) -> Candidates:
    """Return the exposures that may be associated, in the order leaders are looked for.

    Parameters
    ----------
    exposures : iterable of Exposure
        All current exposures of the proposals.
    pointings : mapping of str to Pointing
        By the first eight characters of the names.
    generations : mapping of str to str
        The same → generation of the calibrated data.
    kind : str
        A or B.
    rules : Rules
        Tolerances.

    Returns
    -------
    candidates : Candidates
        Deepest first in each group, then earliest, then by name (rule R3).
    """
    if kind not in {"A", "B"}:
        raise ValidationError("no such type of association", found=kind, expected="A or B")
    ordered = sorted(exposures, key=_depth)
    _check_names(ordered)
    alone: dict[str, str] = {}
    chosen: list[Exposure] = []
    for exposure in ordered:
        why = _reason_alone(exposure, pointings.get(exposure.root), kind)
        if why is None:
            chosen.append(exposure)
        else:
            alone[exposure.dataset_name] = why
    keys: dict[tuple[int, str], int] = {}
    for key in sorted({(one.pep_id, one.filter) for one in chosen}):
        keys[key] = len(keys)
    group = np.array([keys[one.pep_id, one.filter] for one in chosen], np.int64)
    order = np.argsort(group, kind="stable")
    chosen = [chosen[i] for i in order]
    quality = [_quality(one, pointings.get(one.root), kind, rules) for one in chosen]
    return Candidates(
        chosen, group[order], _attitude(chosen, pointings, kind), _attitude(chosen, {}, "B"), quality,
        [generations[one.root] for one in chosen], alone, kind,
    )  # fmt: skip


def _depth(exposure: Exposure) -> tuple[float, str, str]:
    return -exposure.exptime, exposure.start_time, exposure.dataset_name


def _check_names(exposures: list[Exposure]) -> None:
    if len({one.root for one in exposures}) < len(exposures):
        seen: set[str] = set()
        twice = next(one for one in exposures if one.root in seen or seen.add(one.root))  # type: ignore[func-returns-value]
        raise ValidationError(
            "two exposures share the first eight characters of their names",
            found=twice.dataset_name,
            expected="names that differ there: an association is called by them",
        )


def _reason_alone(exposure: Exposure, pointing: Pointing | None, kind: str) -> str | None:
    """Return why an exposure is not even looked at, or None (rules R0 and R1)."""
    if why := exposure.left_out():
        return f"R0: {why}"
    if kind == "B":
        at = exposure.ra_hdr, exposure.dec_hdr, exposure.pa_v3_hdr
        known = all(isinstance(one, (int, float)) and math.isfinite(one) for one in at)
        return _reason_aperture(exposure.aperture) if known else "R1: no pointing in the header"
    if pointing is None:
        return "R1: no jitter file (quality I)"
    if not pointing.usable:
        return f"R1: jitter of quality {pointing.quality} ({'; '.join(pointing.causes)})"
    return _reason_aperture(pointing.aperture or exposure.aperture)


def _reason_aperture(name: str) -> str | None:
    known = focal_plane().to_fiducial(name) is not None
    return None if known else f"R1: no position of aperture {name!r} is known"


def _quality(exposure: Exposure, pointing: Pointing | None, kind: str, rules: Rules) -> str:
    if pointing is None:
        return "I"
    if kind == "B" and pointing.usable:
        assert pointing.roll is not None
        turned = (pointing.roll - exposure.pa_v3_hdr + 180.0) % 360.0 - 180.0
        if abs(turned) > rules.roll_disagrees:
            return "R"
    return pointing.quality


def _attitude(exposures: list[Exposure], pointings: Mapping[str, Pointing], kind: str) -> Attitude:
    """Return where the exposures pointed, moved from their apertures to one fiducial (rule R1)."""
    if kind == "A":
        measured = [pointings[one.root] for one in exposures]
        at = [(one.ra, one.dec, one.roll) for one in measured]
        apertures = [m.aperture or e.aperture for m, e in zip(measured, exposures, strict=True)]
    else:
        at = [(one.ra_hdr, one.dec_hdr, one.pa_v3_hdr) for one in exposures]
        apertures = [one.aperture for one in exposures]
    columns = np.array(at, np.float64).reshape(len(exposures), 3).T
    return to_fiducial(attitude_of(*columns), apertures)


def distances(one: Attitude, other: Attitude) -> tuple[np.ndarray, np.ndarray]:
    """Return distances [micro-arcsec] and differences of roll [nano-degree], whole numbers."""
    with np.errstate(invalid="ignore"):
        return (
            np.rint(separation(one, other) * MICRO),
            np.rint(roll_difference(one, other) * NANO),
        )


def first_of_each(group: np.ndarray) -> np.ndarray:
    """Return where each run of equal numbers begins, (number of runs,) int64."""
    return np.flatnonzero(np.r_[True, group[1:] != group[:-1]]) if len(group) else np.zeros(0, int)


def leaders(rows: Candidates, rules: Rules) -> np.ndarray:
    """Return the row of each row's leader, its own where it leads (rules R3 to R5).

    Parameters
    ----------
    rows : Candidates
        In the order leaders are looked for.
    rules : Rules
        Tolerances.

    Returns
    -------
    leader : (n,) ndarray of int64
        The nearest of those within the tolerances; one that takes nobody leads itself alone.
    """
    count = len(rows.group)
    best = np.full(count, np.inf)
    leader = np.arange(count)
    uncovered = np.ones(count, bool)
    active = np.arange(count)  # rows of groups in which somebody is still uncovered
    while len(active):
        waiting = active[uncovered[active]]
        firsts = waiting[first_of_each(rows.group[waiting])]
        groups = rows.group[firsts]
        active = active[np.isin(rows.group[active], groups)]
        of_each = firsts[np.searchsorted(groups, rows.group[active])]
        near, away = _within(rows.attitude, active, of_each, rules)
        # Strictly nearer: of leaders at equal distance the deeper one, met first, keeps it.
        closer = near & (away < best[active])
        best[active[closer]] = away[closer]
        leader[active[closer]] = of_each[closer]
        leader[firsts], best[firsts] = firsts, -1.0  # a leader is nobody's member
        uncovered[active[near]] = False
        uncovered[firsts] = False
    return leader


def _within(
    attitude: Attitude, rows: np.ndarray, leaders: np.ndarray, rules: Rules
) -> tuple[np.ndarray, np.ndarray]:
    """Return which rows are within the tolerances of a leader, and how far from it they are."""
    away, turned = distances(attitude.take(rows), attitude.take(leaders))
    near = (away <= round(rules.radius * MICRO)) & (np.abs(turned) <= round(rules.roll * NANO))
    return near, away


def _by_identity(rows: Candidates, leader: np.ndarray, taking_part: np.ndarray) -> np.ndarray:
    """Return the members' rows, by name of the leader and then their own."""
    names = [one.dataset_name for one in rows.exposures]
    return np.array(
        sorted(taking_part, key=lambda row: (names[leader[row]], names[row])), dtype=np.int64
    )


def _associations(
    rows: Candidates, leader: np.ndarray, order: np.ndarray, rules: Rules
) -> dict[str, Association]:
    """Return the associations of member rows `order`, whose leaders are rows `leader`."""
    members, chiefs = rows.attitude.take(order), rows.attitude.take(leader)
    away, turned = distances(members, chiefs)
    # To 0.0001 pixel, as published; plus zero: the shift of a leader is 0, not -0.
    shifts = np.round(chip_shifts(members, chiefs), 4) + 0.0
    pointing = _pointings(leader, shifts[:, WF4], rules)
    proven = _proven(rows, leader, order, shifts, rules)
    distance = np.rint(away / 1000).astype(np.int64).tolist()
    roll = np.round(turned / NANO, 6).tolist()
    places = coordinates_of(chiefs)
    starts = [*first_of_each(leader).tolist(), len(order)]
    found: dict[str, Association] = {}
    for begin, end in itertools.pairwise(starts):
        chief = int(leader[begin])
        listed = shifts[begin:end].tolist()  # of all at once it is as large as what is made of it
        made = tuple(
            _member(rows, int(order[i]), chief, rules, distance[i], roll[i], int(pointing[i]),
                    listed[i - begin], bool(proven[i]))
            for i in range(begin, end)
        )  # fmt: skip
        place = [round(float(one[begin]), 9) for one in places]
        one = _association(rows, chief, [int(i) for i in order[begin:end]], made, place)
        found[one.assoc_id] = one
    return found


def _member(
    rows: Candidates, row: int, chief: int, rules: Rules,
    distance: int, roll: float, pointing: int, shifts: list[list[float]], proven: bool,
) -> Member:  # fmt: skip
    exposure = rows.exposures[row]
    source = "none" if row == chief else "jitter" if rows.kind == "A" else "wcs"
    return Member(
        exposure.dataset_name, rows.quality[row], exposure.exptime, rows.gen_date_str[row],
        exposure.start_time, distance, roll, pointing,
        tuple((x, y) for x, y in shifts), source,
        row == chief or (source == "jitter" and (proven or _alike(rows, row, chief, rules))),
    )  # fmt: skip


def _proven(
    rows: Candidates, leader: np.ndarray, order: np.ndarray, shifts: np.ndarray, rules: Rules
) -> np.ndarray:
    """Return which shifts may be used unseen: too small to matter, or confirmed by the headers."""

    def within(some: np.ndarray) -> np.ndarray:
        return np.hypot(some[..., 0], some[..., 1]).max(axis=1, initial=0.0) < rules.trust_pixels

    if rows.kind != "A":
        return np.zeros(len(order), bool)
    by_headers = chip_shifts(rows.header.take(order), rows.header.take(leader))
    begun = np.array([rows.exposures[row].start_time >= HEADERS_ARE_GOOD for row in order], bool)
    with np.errstate(invalid="ignore"):  # a header without a pointing confirms nothing
        return within(shifts) | (begun & within(shifts - by_headers))


def _alike(rows: Candidates, row: int, chief: int, rules: Rules) -> bool:
    """Return whether two good pointings are near enough in time to be of the same guide stars."""
    if rows.quality[row] != "P" or rows.quality[chief] != "P":
        return False
    seconds = rows.exposures[row].start_time_dmf - rows.exposures[chief].start_time_dmf
    return abs(seconds) <= rules.trust_hours * 3600


def _association(
    rows: Candidates, chief: int, taken: list[int], members: tuple[Member, ...], place: list[float]
) -> Association:
    exposures = [rows.exposures[i] for i in taken]
    leader = rows.exposures[chief]
    apart = [m.distance for m in members if m.dataset != leader.dataset_name]
    begun = [one.start_time_dmf for one in exposures]
    n_pointings = 1 + max(m.pointing for m in members)
    kinds = {1: "CR", len(members): "DITHER"}
    return Association(
        assoc_id=leader.root + rows.kind,
        leader=leader.dataset_name,
        pep_id=leader.pep_id,
        targname=leader.targname,
        filter=leader.filter,
        ra=place[0],
        dec=place[1],
        roll=place[2],
        exptime=math.fsum(m.exptime for m in members if m.quality == "P"),
        exptime_all=math.fsum(m.exptime for m in members),
        min_distance=min(apart),
        max_distance=max(apart),
        max_time_span=max(begun) - min(begun),
        start_time=min(one.start_time for one in exposures),
        start_time_dmf=min(begun),
        release_date_dmf=max(one.release_date_dmf for one in exposures),
        gen_date_str=max(m.gen_date_str for m in members),
        n_pointings=n_pointings,
        kind=kinds.get(n_pointings, "DITHER+CR"),
        members=members,
        content=Association.digest(rows.kind, leader.filter, members),
    )


def _pointings(leader: np.ndarray, shifts: np.ndarray, rules: Rules) -> np.ndarray:
    """Return the number of each member's pointing in its association (rule R7).

    Parameters
    ----------
    leader : (n,) ndarray
        Equal for the members of one association, which are neighbours.
    shifts : (n, 2) ndarray
        On WF4 [pixel].
    """
    pointing = np.full(len(leader), -1)
    number = 0
    while (waiting := np.flatnonzero(pointing < 0)).size:
        first = first_of_each(leader[waiting])
        length = np.diff(np.r_[first, len(waiting)])
        apart = shifts[waiting] - shifts[np.repeat(waiting[first], length)]
        pointing[waiting[np.hypot(apart[:, 0], apart[:, 1]) < rules.split]] = number
        number += 1
    return pointing
