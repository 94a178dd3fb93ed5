"""A request: take a delivery in, do what is owed, tell how it stands; each can die and go on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lightmill.errors import NothingSelectedError
from lightmill.observatories.hst.wfpc2 import events
from lightmill.observatories.hst.wfpc2.instance import Instance
from lightmill.observatories.hst.wfpc2.maintenance import Archive, Round, maintain
from lightmill.observatories.hst.wfpc2.previews import DEFAULT_POLICY
from lightmill.observatories.hst.wfpc2.products import Products, remove_products
from lightmill.observatories.hst.wfpc2.state import State

__all__ = ["run", "status", "submit"]


def submit(
    archive: Archive, instance: Instance, deliveries: Iterable[int] | None = None
) -> dict[int, int]:
    """Take deliveries in; those taken in before are left alone.

    Parameters
    ----------
    archive : Archive
        Takes what is new.
    instance : Instance
        Where the deliveries are.
    deliveries : iterable of int, optional
        Their numbers; by default all.

    Returns
    -------
    taken : dict
        Delivery → events written. A delivery that was half taken in when a run was killed is
        completed: what is known already is not written twice.

    Raises
    ------
    NothingSelectedError
        If there is no such delivery.
    """
    wanted = instance.deliveries if deliveries is None else list(deliveries)
    if unknown := sorted(set(wanted) - set(instance.deliveries)):
        raise NothingSelectedError(
            "there is no such delivery",
            place=instance.path,
            found=unknown,
            expected=f"of {instance.deliveries}",
        )
    state, taken = archive.state, {}
    if not state.exposures or any(one not in state.deliveries for one in wanted):
        for event in instance.exposures():
            known = isinstance(event, events.Described) and event.exposure.root in state.exposures
            if not known:
                archive.record(event)
    for delivery in wanted:
        if delivery in state.deliveries:
            continue
        before = [one for one in instance.arrivals(delivery) if not state.knows(one)]
        after: list[events.Event] = [*instance.changes(delivery), events.Delivered(delivery)]
        for one in (*before, *after):
            archive.record(one)
        taken[delivery] = len(before)
    return taken


def run(
    archive: Archive,
    instance: Instance,
    *,
    products: Path | None = None,
    frames: Path | None = None,
    policy: str = DEFAULT_POLICY,
    again: bool = False,
) -> Round:
    """Do all that is owed, and remove the products of associations that are no more.

    Parameters
    ----------
    archive : Archive
        After deliveries were taken in.
    instance : Instance
        Where jitter files are.
    products : path, optional
        Where association tables go, and what is made of frames.
    frames : path, optional
        Folder of calibrated frames; without it only tables are made.
    policy : str
        By which they are owed.
    again : bool
        Also try what could not be read before.

    Returns
    -------
    round : Round
        What was done.
    """
    if products is not None:
        products.mkdir(parents=True, exist_ok=True)
    done = maintain(
        archive,
        Products(instance, products, frames, archive.state.rules),
        policies=[policy],
        again=again,
    )
    if products is not None:
        for assoc_id in archive.state.retired:
            remove_products(products, assoc_id)
    return done


def status(state: State) -> dict[str, Any]:
    """Tell how an archive stands.

    Parameters
    ----------
    state : State
        Of the archive.

    Returns
    -------
    status : dict
        Counts, what is owed, what failed and why.
    """
    flags = state.flag_counts()
    owed = [pep_id for pep_id in state.to_look_at if state.build_is_owed(pep_id)]
    return {
        "deliveries": sorted(state.deliveries),
        "exposures": len(state.exposures),
        "associations": len(state.associations),
        "members": len(state.member_of),
        "retired": len(state.retired),
        "flags": {f"CAL {one.cal!r} OMS {one.oms!r}": flags[one] for one in sorted(flags)},
        "to_extract": sorted(state.to_extract),
        "to_queue": sorted(state.to_queue),
        "to_build": sorted(owed),
        "previews_owed": {
            policy: len(some)
            for policy, some in state.owed.items()
            if policy == DEFAULT_POLICY or state.previewed[policy]
        },
        "unreadable": [
            {"dataset": state.received[root, "OMS"].dataset, "generation": generation,
             "attempts": one.attempts, "story": one.story,
             "quarantined": one.is_quarantined, "tried_at": one.at,
             "due_at": None if one.is_quarantined else one.due_at}
            for (root, generation), one in sorted(state.unreadable.items())
            if root not in state.pointings or state.pointings[root].gen_date_str < generation
        ],
        "failures": [
            {"of": str(key), "attempts": attempts, "story": story}
            for key, (attempts, story) in sorted(state.failures.items(), key=str)
        ],
        "alarms": state.alarms,
    }  # fmt: skip
