"""Whether a replay of an archive is what somebody else says it should be.

``truth.json``, where the archive has one, tells pointings, associations and what each delivery does;
``transitions.json``, there or in the folder above, tells the flags of 1997. Without them an archive
is still held against itself: built anew from all exposures at once, and read again from the log.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightmill.errors import CorruptFileError, LightmillError
from lightmill.observatories.hst.wfpc2.associations import Association
from lightmill.observatories.hst.wfpc2.events import Event
from lightmill.observatories.hst.wfpc2.flags import Flags, Happening, after
from lightmill.observatories.hst.wfpc2.fold import fold
from lightmill.observatories.hst.wfpc2.geometry import attitude_of, roll_difference, separation
from lightmill.observatories.hst.wfpc2.instance import Instance
from lightmill.observatories.hst.wfpc2.maintenance import audit
from lightmill.observatories.hst.wfpc2.replay import (
    Step,
    by_headers,
    record_of_association,
    record_of_step,
    replay,
    singles_of,
)
from lightmill.observatories.hst.wfpc2.state import Generation, State
from lightmill.observatories.hst.wfpc2.truth import Truth

__all__ = ["Check", "check", "flag_differences"]

SHIFT = 0.005  # pixel: what shifts may differ by, as the cases ask
MEAN = 2e-4  # arcsec
ROLL = 5e-4  # deg
LARGE = 20_000  # exposures; of more than that the log is not kept to be read again


@dataclass
class Check:
    """What a check looked at, and what was not as it should be.

    Parameters
    ----------
    counts : dict
        How many exposures, proposals, pairs of jitter files, associations.
    deliveries : list of dict
        How many of what each delivery did.
    differences : list of str
        Empty where all is well.
    result : dict
        All that was made, in the form of ``truth.json``, if it was to be kept.
    """

    counts: dict[str, Any] = field(default_factory=dict)
    deliveries: list[dict[str, Any]] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    result: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return counts and differences as plain values.

        Returns
        -------
        record : dict
            ``mismatches`` is the number of ``differences``, of which at most 200 are given.
        """
        return {
            **self.counts,
            "deliveries": self.deliveries,
            "mismatches": len(self.differences),
            "differences": self.differences[:200],
        }


def check(folder: Path, *, keep: bool = False) -> Check:
    """Replay an archive, and compare each step with what is known of it.

    Parameters
    ----------
    folder : path
        With ``archive.sqlite``, and perhaps ``truth.json``.
    keep : bool
        Also keep all that was made, as `Check.result`.

    Returns
    -------
    check : Check
        Counts and differences.

    Raises
    ------
    DataError
        If there is no archive, or it cannot be read.
    """
    folder = Path(folder)
    instance = Instance(folder)
    truth = _truth(folder / "truth.json")
    found = Check()
    log: list[Event] = []
    small = instance.count() <= LARGE
    state = State()
    for number, step in enumerate(replay(instance, log.append if small else None)):
        state = step.archive.state
        _note_step(found, step)
        if keep:
            _keep(found, step)
        if truth:
            found.differences += _of_step(step, truth)
        if number == 0:
            _note_headers(found, state, truth, keep=keep)
    found.differences += list(_of_state(state, log if small else None))
    if truth:
        found.differences += _of_pairs(instance, truth.get("oms_generations") or {})
    rules = _json(folder / "transitions.json") or _json(folder.parent / "transitions.json")
    found.differences += flag_differences(rules or {})
    found.counts = {
        "exposures": len(state.exposures),
        "proposals": len(state.proposals),
        "pointings": len(state.pointings),
        "associations": len(state.associations),
        "members": len(state.member_of),
        "retired": len(state.retired),
        "transitions": len((rules or {}).get("transitions", ())),
        "scenarios": len((rules or {}).get("scenarios", ())),
        "compared_with_truth": bool(truth),
        **found.counts,
    }
    return found


def flag_differences(rules: dict[str, Any]) -> list[str]:
    """Compare the flags with a table of transitions and with scenarios.

    Parameters
    ----------
    rules : dict
        ``transitions`` and ``scenarios``, each with states and events by name.

    Returns
    -------
    differences : list of str
        One line each.
    """
    found = []
    for row in rules.get("transitions", ()):
        got = after(Flags(**row["before"]), Happening(row["event"]))
        if got != Flags(**row["after"]):
            found.append(f"transition {row['id']}: {got}, not {row['after']}")
    for scenario in rules.get("scenarios", ()):
        flags = Flags(*scenario["start"])
        trace, builds = ["".join(flags)], 0
        for name in scenario["steps"]:
            builds += name.startswith("ab_ok") and flags.cal == "R"
            flags = after(flags, Happening(name))
            trace.append("".join(flags))
        if trace != scenario["trace"] or scenario["ab_runs"] not in {None, builds}:
            found.append(f"scenario {scenario['name']}: {trace}, {builds} builds")
    return found


def _truth(path: Path) -> Truth | None:
    return Truth(path, needs=("steps", "type_A", "type_B")) if path.is_file() else None


def _json(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CorruptFileError("the file cannot be read", place=path, found=error) from error
    if not isinstance(content, dict):
        raise CorruptFileError(
            "the file is not what it should be",
            place=path,
            found=type(content).__name__,
            expected="an object",
        )
    return content


def _note_step(found: Check, step: Step) -> None:
    """Count what a delivery did."""
    record = record_of_step(step)
    counts = {name: len(value) for name, value in record.items() if isinstance(value, list)}
    found.deliveries.append(
        {
            "delivery": step.delivery,
            **counts,
            **{name: len(value) for name, value in record["associations"].items()},
            "previews": {name: len(value) for name, value in record["preview_runs"].items()},
        }
    )


def _keep(found: Check, step: Step) -> None:
    """Keep what a delivery did, and all associations after it."""
    state = step.archive.state
    found.result.setdefault("steps", []).append(record_of_step(step))
    everything = [record_of_association(one) for _, one in sorted(state.associations.items())]
    if "type_A" not in found.result:
        found.result["type_A"] = {"associations": everything, "singles": singles_of(state)}
    else:
        found.result[f"after_delivery_{step.delivery}"] = {"type_A": everything}


def _note_headers(found: Check, state: State, truth: Truth | None, *, keep: bool) -> None:
    built = by_headers(state)
    found.counts["associations_by_headers"] = len(built.associations)
    if keep:
        found.result["type_B"] = {
            "associations": [record_of_association(one) for one in built.associations.values()],
            "singles": built.singles,
        }
    if truth:
        wanted = truth.each("type_B", "associations")
        found.differences += _of_associations("type B", built.associations.values(), wanted)
        singles = truth.get("type_B", "singles") or []
        found.differences += _of_lists("type B singles", built.singles, singles)


def _of_step(step: Step, truth: Truth) -> list[str]:
    """Compare what a delivery did, and the associations after it."""
    found: list[str] = []
    state, place = step.archive.state, f"delivery {step.delivery}"
    wanted = next((one for one in truth.each("steps") if one["delivery"] == step.delivery), None)
    got = record_of_step(step)
    if wanted is None:
        return [f"{place}: nothing is known of it"]
    for name in got.keys() - {"delivery"}:
        if isinstance(got[name], dict):
            for part in got[name]:
                title = f"{place} {name} {part}"
                found += _of_lists(title, got[name][part], wanted[name][part])
        else:
            found += _of_lists(f"{place} {name}", got[name], wanted[name])
    after_it = f"after_delivery_{step.delivery}"
    if step.delivery == 0:
        wanted_a = truth.each("type_A", "associations")
        found += _of_associations(f"{place} type A", state.associations.values(), wanted_a)
        singles = truth.get("type_A", "singles") or []
        found += _of_lists(f"{place} singles", singles_of(state), singles)
    elif after_it in truth:
        proposals = {one["pep_id"] for one in truth.each(after_it, "type_A")}
        mine = [one for one in state.associations.values() if one.pep_id in proposals]
        found += _of_associations(f"{place} type A", mine, truth.each(after_it, "type_A"))
    return found


def _of_lists(title: str, got: list[Any], wanted: list[Any]) -> list[str]:
    if got == wanted:
        return []
    more, less = sorted(set(got) - set(wanted)), sorted(set(wanted) - set(got))
    return [f"{title}: {len(got)}, not {len(wanted)}; more {more[:5]}, less {less[:5]}"]


def _of_associations(
    title: str, got: Iterable[Association], wanted: Iterable[dict[str, Any]]
) -> Iterator[str]:
    """Compare associations with those there should be, one of which is looked at at a time."""
    mine, theirs = {one.assoc_id: one for one in got}, []
    for other in wanted:
        assoc_id = other["assoc_id"]
        theirs.append(assoc_id)
        if assoc_id not in mine:
            continue
        one = record_of_association(mine[assoc_id])
        for name in ("leader", "filter", "gen_date_str", "exptime_P", "pep_id"):
            if one[name] != other[name]:
                yield f"{title} {assoc_id}: {name} {one[name]}, not {other[name]}"
        names = [m["dataset"] for m in other["members"]]
        if [m["dataset"] for m in one["members"]] != names:
            yield f"{title} {assoc_id}: other members than {names}"
            continue
        for m, n in zip(one["members"], other["members"], strict=True):
            off = max(
                abs(a - b)
                for chip, shift in n["shifts"].items()
                for a, b in zip(m["shifts"][chip], shift, strict=True)
            )
            if off > SHIFT or abs(m["droll_deg"] - n["droll_deg"]) > ROLL or m["q"] != n["q"]:
                yield f"{title} {assoc_id} {m['dataset']}: {off:.4f} pixel, quality {m['q']}, {n['q']}"
    yield from _of_lists(title, sorted(mine), sorted(theirs))


def _of_state(state: State, log: list[Event] | None) -> Iterator[str]:
    """Compare the state with what it should be by itself."""
    for name, wrong in audit(state).items():
        if wrong:
            yield f"audit: {len(wrong)} to {name}: {wrong[:5]}"
    if log is not None:
        again = fold(log, state.rules)
        for name in ("associations", "flags", "pointings", "owed", "versions", "retired"):
            if getattr(again, name) != getattr(state, name):
                yield f"the log adds up to other {name}"


def _of_pairs(instance: Instance, generations: dict[str, Any]) -> Iterator[str]:
    """Compare the pointing of every pair of jitter files, those never current too."""
    for stem, wanted in sorted(generations.items()):
        files = wanted["jit"], wanted["jif"]
        if not all((instance.home / name).exists() for name in files):
            continue
        try:
            got = instance.extract(wanted["dataset"], wanted["gen_date_str"], Generation("", files))
        except LightmillError as error:
            if wanted["special"] != "corrupt":
                yield f"{stem}: {error}"
            continue
        if wanted["special"] == "corrupt":
            yield f"{stem}: read, though it is damaged"
        elif got.quality != wanted["quality"] or (got.ra is None) != (wanted["mean"] is None):
            yield f"{stem}: quality {got.quality}, not {wanted['quality']}"
        elif wanted["mean"]:
            mine, theirs = attitude_of(got.ra, got.dec, got.roll), attitude_of(*wanted["mean"])
            off = float(separation(mine, theirs)[0])
            if off > MEAN or abs(float(roll_difference(mine, theirs)[0])) > ROLL:
                yield f"{stem}: {off * 1000:.3f} mas from the true pointing"
