"""The deliveries of an archive one after the other, and what each of them did."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from lightmill.observatories.hst.wfpc2.associations import Association
from lightmill.observatories.hst.wfpc2.builder import Built, associate
from lightmill.observatories.hst.wfpc2.events import Event
from lightmill.observatories.hst.wfpc2.geometry import CHIPS
from lightmill.observatories.hst.wfpc2.instance import Instance
from lightmill.observatories.hst.wfpc2.maintenance import Archive, Round, maintain
from lightmill.observatories.hst.wfpc2.previews import POLICIES
from lightmill.observatories.hst.wfpc2.state import State

__all__ = ["Step", "by_headers", "record_of_association", "record_of_step", "replay", "singles_of"]


@dataclass(frozen=True)
class Step:
    """A delivery, and the archive after it.

    Parameters
    ----------
    delivery : int
        Its number.
    done : Round
        What the round of maintenance after it did.
    archive : Archive
        Alive: it goes on with the next step.
    """

    delivery: int
    done: Round
    archive: Archive


def replay(instance: Instance, write: Callable[[Event], None] | None = None) -> Iterator[Step]:
    """Yield what each delivery of an archive does, from nothing.

    Parameters
    ----------
    instance : Instance
        The archive.
    write : callable, optional
        Called with every event.

    Yields
    ------
    step : Step
        In order of the deliveries; previews are made under every policy, to compare them.
    """
    archive = Archive(State(instance.rules), write)
    for described in instance.exposures():
        archive.record(described)
    for delivery in instance.deliveries:
        for arrived in instance.arrivals(delivery):
            archive.record(arrived)
        changes = instance.changes(delivery)
        yield Step(
            delivery, maintain(archive, instance, changes=changes, policies=POLICIES), archive
        )


def by_headers(state: State) -> Built:
    """Return the associations of all exposures by their headers (type B), jitter or not.

    Parameters
    ----------
    state : State
        Of the archive.

    Returns
    -------
    built : Built
        Not kept in the state.
    """
    exposures = [one for root, one in state.exposures.items() if state.generation(root)]
    generations = {one.root: state.generation(one.root) for one in exposures}
    return associate(exposures, state.pointings, generations, kind="B", rules=state.rules)


def singles_of(state: State) -> list[str]:
    """Return the exposures that belong to no association, in order.

    Parameters
    ----------
    state : State
        Of the archive.

    Returns
    -------
    names : list of str
        Of exposures whose calibrated data are there.
    """
    return sorted(
        one.dataset_name
        for root, one in state.exposures.items()
        if state.generation(root) and one.dataset_name not in state.member_of
    )


def record_of_step(step: Step) -> dict[str, Any]:
    """Return what a delivery did, as plain values with the names the processes had in 1997.

    Parameters
    ----------
    step : Step
        Of a replay.

    Returns
    -------
    record : dict
        Lists in order.
    """
    done, changed = step.done, step.done.associations
    return {
        "delivery": step.delivery,
        "jep_ok": sorted(done.extracted),
        "jep_failed": sorted(done.unreadable),
        "sql": sorted(done.queued),
        "chdb": done.corrected,
        "R_set": done.flagged,
        "ab_pep_ids": done.built,
        "associations": {
            "new": changed.new,
            "retired": changed.retired,
            "gen_date_changed": changed.gen_date_changed,
            "content_changed": changed.content_changed,
        },
        "preview_runs": done.previews,
    }


def record_of_association(one: Association) -> dict[str, Any]:
    """Return an association as plain values.

    Parameters
    ----------
    one : Association
        Any.

    Returns
    -------
    record : dict
        Distances in arcsec, rolls in degrees, shifts in pixels by chip.
    """
    return {
        "assoc_id": one.assoc_id,
        "leader": one.leader,
        "pep_id": one.pep_id,
        "targname": one.targname,
        "filter": one.filter,
        "no_members": len(one.members),
        "members": [
            {
                "dataset": m.dataset,
                "distance_arcsec": m.distance / 1000,
                "droll_deg": m.delta_roll,
                "q": m.quality,
                "exptime": m.exptime,
                "gen_date_str": m.gen_date_str,
                "shifts": dict(zip(CHIPS, map(list, m.shifts), strict=True)),
            }
            for m in one.members
        ],
        "exptime_P": one.exptime,
        "exptime_all": one.exptime_all,
        "gen_date_str": one.gen_date_str,
        "start": one.start_time,
        "n_pointings": one.n_pointings,
        "kind": one.kind,
        "content_hash": one.content,
    }
