"""A request: take a delivery in, fetch and do what is owed, tell how it stands; each can die and go on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lightmill.errors import NothingSelectedError
from lightmill.observatories.hst.wfpc2 import events
from lightmill.observatories.hst.wfpc2.fetching import Fetching, Wanted
from lightmill.observatories.hst.wfpc2.instance import Instance
from lightmill.observatories.hst.wfpc2.maintenance import Archive, Round, maintain
from lightmill.observatories.hst.wfpc2.previews import DEFAULT_POLICY
from lightmill.observatories.hst.wfpc2.products import Products, remove_products
from lightmill.observatories.hst.wfpc2.state import State

__all__ = ["owed_pairs", "run", "status", "submit"]


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
    fetching: Fetching | None = None,
    now: float | None = None,
) -> Round:
    """Do all that is owed, and remove the products of associations that are no more.

    In pieces: what is owed is selected and asked for, fetched, worked off pair by pair, and then,
    once, built and made; last the request is closed. Killed anywhere, the next run goes on there.

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
        Also try what could not be fetched or read before.
    fetching : Fetching, optional
        Where jitter files that are missing or cannot be read are fetched from.
    now : float, optional
        The time [s since 1970], see `maintain`.

    Returns
    -------
    round : Round
        What was done.
    """
    if products is not None:
        products.mkdir(parents=True, exist_ok=True)
    done, anew = Round(), None
    if fetching is not None:
        anew = _fetch(archive, fetching, done, again=again, now=now or 0.0)
    maintain(
        archive,
        Products(instance, products, frames, archive.state.rules),
        policies=[policy],
        again=again and fetching is None,  # else it was tried a moment ago
        now=now,
        done=done,
        besides=anew,
    )
    if products is not None:
        for assoc_id in archive.state.retired:
            remove_products(products, assoc_id)
    for request in sorted(archive.state.requests) if fetching is not None else ():
        archive.record(events.Closed(request))
    return done


def owed_pairs(state: State, folder: Path, *, now: float, again: bool = False) -> list[Wanted]:
    """Return the pairs of jitter files that have to be fetched before their pointing can be measured.

    Parameters
    ----------
    state : State
        Of the archive.
    folder : path
        Where jitter files lie.
    now : float
        The time [s since 1970]: what failed is asked for again some time after.
    again : bool
        Also ask for what failed before its time has come.

    Returns
    -------
    wanted : list of Wanted
        Those of which a file is missing, and those that could not be read.
    """
    found, due = [], state.due(now, everything=again)
    for root in sorted({*state.to_extract, *due}):
        generation = state.next_to_extract(root, due.get(root, ()))
        if generation is None:
            continue
        received = state.received[root, "OMS"]
        wanted = Wanted(received.dataset, generation, received.generations[generation].files)
        is_there = all((folder / name).exists() for name in wanted.places)
        if not is_there or (root, generation) in state.unreadable:
            found.append(wanted)
    return found


def _fetch(
    archive: Archive, fetching: Fetching, done: Round, *, again: bool, now: float
) -> dict[str, set[str]]:
    """Ask for what is owed, and fetch it; what cannot be had fails alone.

    Returns
    -------
    anew : dict
        First eight characters → generations that failed before, and came with the bytes they had.
    """
    state = archive.state
    anew: dict[str, set[str]] = {}
    wanted = owed_pairs(state, fetching.folder, now=now, again=again)
    asked = {pair for pairs in state.requests.values() for pair in pairs}
    new = tuple(
        (w.dataset, w.gen_date_str) for w in wanted if (w.dataset, w.gen_date_str) not in asked
    )
    if new:
        archive.record(events.Requested(state.n_requests + 1, new))
        archive.keep()
    for one in fetching.pairs(wanted):
        dataset, generation, _ = one.wanted
        name = (
            state.exposures[dataset[:8]].dataset_name if dataset[:8] in state.exposures else dataset
        )
        if one.error is not None:
            archive.record(events.Unreadable(dataset, generation, "", one.error.story(), now))
            done.not_fetched.append(name)
            continue
        done.fetched.append(name)
        arrived = events.Arrived(dataset, "OMS", generation, one.content, one.wanted.places)
        if not state.knows(arrived):
            archive.record(arrived)
        if (dataset[:8], generation) in state.unreadable:
            anew.setdefault(dataset[:8], set()).add(generation)
    done.fetched.sort()
    done.not_fetched.sort()
    archive.keep()
    return anew


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
        "requests": [
            {"request": number, "pairs": len(pairs),
             "waiting": sum(dataset[:8] in state.to_extract for dataset, _ in pairs)}
            for number, pairs in sorted(state.requests.items())
        ],
        "today": state.today,
    }  # fmt: skip
