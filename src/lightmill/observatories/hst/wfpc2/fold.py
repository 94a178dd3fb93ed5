"""How each event changes what is known of an archive.

`apply` is the only thing that changes a state, so a state read from the log equals the one that was
alive while the log was written.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from datetime import date
from typing import Any

from lightmill.errors import ValidationError
from lightmill.observatories.hst.wfpc2 import events
from lightmill.observatories.hst.wfpc2.associations import Association
from lightmill.observatories.hst.wfpc2.exposures import Exposure, root_of
from lightmill.observatories.hst.wfpc2.flags import NOTHING, Flags, Happening, after
from lightmill.observatories.hst.wfpc2.previews import POLICIES
from lightmill.observatories.hst.wfpc2.retries import Failed
from lightmill.observatories.hst.wfpc2.rules import Rules
from lightmill.observatories.hst.wfpc2.state import Generation, Received, State, Tombstone

__all__ = ["apply", "fold", "refusal"]

_ARRIVES = {
    ("CAL", True): Happening.CAL_ARRIVES_NEWER,
    ("CAL", False): Happening.CAL_ARRIVES_OLDER,
    ("OMS", True): Happening.OMS_ARRIVES_NEWER,
    ("OMS", False): Happening.OMS_ARRIVES_OLDER,
}


def apply(state: State, event: events.Event) -> None:
    """Take an event into account.

    Parameters
    ----------
    state : State
        Is changed.
    event : Event
        The next of the log.
    """
    _HANDLERS[type(event)](state, event)


def fold(log: Iterable[events.Event], rules: Rules | None = None) -> State:
    """Return the state that a log adds up to.

    Parameters
    ----------
    log : iterable of Event
        From the first on.
    rules : Rules, optional
        Tolerances.

    Returns
    -------
    state : State
        Equal to the one that was alive when the log was written.
    """
    state = State(rules)
    for event in log:
        apply(state, event)
    return state


def refusal(state: State, event: events.Event) -> str | None:
    """Return why an event that comes from outside makes no sense, or None.

    Parameters
    ----------
    state : State
        Before it.
    event : Event
        Any; those of our own always make sense.

    Returns
    -------
    story : str or None
        Where, what was found, what was expected.
    """
    try:
        match event:
            case events.Arrived():
                _check_arrival(event)
            case events.Changed():
                _check_change(state, event)
            case events.Described():
                _check_proposal(state, event.exposure)
            case events.Released():
                _check_release(state, event)
            case events.Dated():
                _check_day(event.day)
    except ValidationError as error:
        return error.story()
    return None


def _check_arrival(event: events.Arrived) -> None:
    root_of(event.dataset)
    if event.archive_class not in {"CAL", "OMS"}:
        raise ValidationError(
            "no such class of data",
            place=event.dataset,
            found=event.archive_class,
            expected="CAL or OMS",
        )
    if (event.archive_class == "OMS") != event.dataset.endswith("J"):
        raise ValidationError(
            "the name does not go with the class",
            place=f"{event.dataset} {event.archive_class}",
            expected="J at the end of a jitter dataset, and of no other",
        )
    if not (isinstance(event.gen_date_str, str) and re.fullmatch(r"\d{12}", event.gen_date_str)):
        raise ValidationError(
            "this is no generation",
            place=event.dataset,
            found=event.gen_date_str,
            expected="YYYYMMDDHHMM",
        )


def _check_change(state: State, event: events.Changed) -> None:
    known = state.exposures.get(root_of(event.dataset))
    if known is None or known.dataset_name != event.dataset:
        raise ValidationError("no such exposure is known", found=event.dataset)
    known.changed(event.column, event.value)


def _check_proposal(state: State, exposure: Exposure) -> None:
    known = state.exposures.get(exposure.root)
    if known is not None and known.pep_id != exposure.pep_id:
        raise ValidationError(
            "an exposure cannot move to another proposal",
            place=exposure.dataset_name,
            found=exposure.pep_id,
            expected=known.pep_id,
        )


def _check_release(state: State, event: events.Released) -> None:
    if (root_of(event.dataset), event.gen_date_str) not in state.unreadable:
        raise ValidationError(
            "no such pair has failed", found=f"{event.dataset} {event.gen_date_str}"
        )


def _check_day(day: str) -> None:
    try:
        date.fromisoformat(day)
    except (TypeError, ValueError):
        raise ValidationError("this is no day", found=day, expected="YYYY-MM-DD") from None


def _described(state: State, event: events.Described) -> None:
    exposure = event.exposure
    _know(state, exposure)
    state.flags.setdefault(exposure.root, NOTHING)
    state.proposals.setdefault(exposure.pep_id, {})[exposure.root] = None
    _mark(state, exposure.root)


def _know(state: State, exposure: Exposure) -> None:
    state.exposures[exposure.root] = exposure
    if state.rules.grace is not None:
        state.days.setdefault(exposure.start_time[:10], {})[exposure.pep_id] = None


def _arrived(state: State, event: events.Arrived) -> None:
    root = root_of(event.dataset)
    dataset, generation = sys.intern(event.dataset), sys.intern(event.gen_date_str)
    received = state.received.setdefault((root, event.archive_class), Received(dataset))
    known = received.generations.get(generation)
    if known is not None:
        _arrived_again(state, root, event, known)
    else:
        newer = generation > received.current
        flags = state.flags.get(root, NOTHING)
        if newer:
            if received.current:
                old = flags.cal if event.archive_class == "CAL" else flags.oms
                received.generations[received.current].flag = old
            received.current = generation
        received.generations[generation] = Generation(event.content, event.files)
        state.flags[root] = after(flags, _ARRIVES[event.archive_class, newer])
        if newer and event.archive_class == "CAL":
            _mark(state, root)
    _look(state, root)


def _arrived_again(state: State, root: str, event: events.Arrived, known: Generation) -> None:
    """Take the same generation once more: the same bytes are nothing, others a conflict."""
    if event.content and not known.content:
        known.content, known.files = event.content, event.files
        state.unreadable.pop((root, event.gen_date_str), None)
    elif event.content and event.content != known.content:
        state.alarms.append(
            f"{event.dataset} {event.archive_class} {event.gen_date_str}: "
            "two deliveries of one generation differ"
        )
        if (root, event.gen_date_str) in state.unreadable:  # what could not be read is no loss
            known.content, known.files = event.content, event.files
            del state.unreadable[root, event.gen_date_str]


def _changed(state: State, event: events.Changed) -> None:
    root = root_of(event.dataset)
    _know(state, state.exposures[root].changed(event.column, event.value))
    state.flags[root] = after(state.flags[root], Happening.CHDB)
    _mark(state, root)


def _refused(state: State, event: events.Refused) -> None:
    if event.story not in state.alarms:
        state.alarms.append(event.story)


def _adopted(state: State, event: events.Adopted) -> None:
    state.rules, state.days = event.rules, {}
    for exposure in list(state.exposures.values()) if event.rules.grace is not None else ():
        _know(state, exposure)
    for pep_id in state.proposals:
        state.changes[pep_id] = state.changes.get(pep_id, 0) + 1
        state.to_look_at[pep_id] = None


def _delivered(state: State, event: events.Delivered) -> None:
    state.deliveries[event.delivery] = None


def _extracted(state: State, event: events.Extracted) -> None:
    root = root_of(event.pointing.dataset)
    generation = event.pointing.gen_date_str
    state.pointings[root] = event.pointing
    state.unreadable.pop((root, generation), None)
    flags = state.flags[root]
    if generation == state.generation(root, "OMS"):
        state.flags[root] = after(flags, Happening.JEP_OK)
    else:  # the newest cannot be read: the one before it serves, and the flag stays blank
        state.flags[root] = Flags("R", flags.oms)
    _touch(state, root)
    _look(state, root)


def _unreadable(state: State, event: events.Unreadable) -> None:
    root = root_of(event.dataset)
    key = root, event.gen_date_str
    attempts = state.unreadable[key].attempts if key in state.unreadable else 0
    state.unreadable[key] = Failed(event.content, attempts + 1, event.story, event.at)
    _look(state, root)


def _released(state: State, event: events.Released) -> None:
    key = root_of(event.dataset), event.gen_date_str
    state.unreadable[key] = state.unreadable[key]._replace(attempts=0)


def _requested(state: State, event: events.Requested) -> None:
    state.requests[event.request] = event.pairs
    state.n_requests = max(state.n_requests, event.request)


def _closed(state: State, event: events.Closed) -> None:
    state.requests.pop(event.request, None)


def _dated(state: State, event: events.Dated) -> None:
    """Look at proposals of which an exposure may be associated by its header from now on."""
    before, state.today = state.last_day(), max(state.today, event.day)
    last = state.last_day()
    for day, proposals in state.days.items():
        if before < day <= last:
            for pep_id in proposals:
                state.changes[pep_id] = state.changes.get(pep_id, 0) + 1
                state.to_look_at[pep_id] = None


def _queued(state: State, event: events.Queued) -> None:
    root = root_of(event.dataset)
    flags = state.flags[root]
    # Where the newest jitter files cannot be read, those before them serve again.
    state.flags[root] = after(flags, Happening.SQL) if flags.oms == "Y" else Flags("R", flags.oms)
    _touch(state, root)
    _look(state, root)


def _built(state: State, event: events.Built) -> None:
    new = {one.assoc_id: one for one in event.associations}
    old = {one: state.associations[one] for one in state.of_proposal.get(event.pep_id, ())}
    _blank_previews(state, event, old, new)
    for assoc_id in old.keys() - new.keys():
        _retire(state, event.pep_id, old[assoc_id], new)
    for association in old.values():
        for name in association.names:
            state.member_of.pop(name, None)
    for assoc_id, association in new.items():
        if old.get(assoc_id) != association:
            state.versions[assoc_id] = state.versions.get(assoc_id, 0) + 1
            if assoc_id in state.associations:
                state.previous[assoc_id] = state.associations[assoc_id]
            state.associations[assoc_id] = association
        state.retired.pop(assoc_id, None)
        _owe(state, assoc_id)
    for assoc_id in sorted(new, key=lambda one: one[-1], reverse=True):  # A, where there are both
        state.member_of.update(dict.fromkeys(new[assoc_id].names, assoc_id))
    state.of_proposal[event.pep_id] = tuple(new)
    state.built[event.pep_id] = event.inputs
    state.failures.pop(event.pep_id, None)
    for dataset, generation in event.read:
        root = root_of(dataset)
        if state.generation(root) == generation:  # else a newer one came meanwhile
            state.flags[root] = after(state.flags[root], Happening.AB_OK)
        _look(state, root)
    if state.changes.get(event.pep_id, 0) == event.upto:
        state.to_look_at.pop(event.pep_id, None)


def _blank_previews(
    state: State, event: events.Built, old: dict[str, Association], new: dict[str, Association]
) -> None:
    """Blank the preview field where extraction or SQL script touched a member, then or now."""
    touched = state.touched.get(event.pep_id, {})
    seen = [root for root, mark in touched.items() if mark <= event.upto]
    touched_ones = {
        one.assoc_id
        for one in (*new.values(), *old.values())
        if any(name[:8] in touched and touched[name[:8]] <= event.upto for name in one.names)
    }
    for assoc_id in sorted((touched_ones & new.keys()) | (new.keys() - old.keys())):
        state.blanked[assoc_id] = state.blanked.get(assoc_id, 0) + 1
    for root in seen:
        del touched[root]


def _retire(state: State, pep_id: int, one: Association, new: dict[str, Association]) -> None:
    kind = one.assoc_id[-1]
    successors = [a.assoc_id for a in new.values() if one.leader in a.names]
    successor = next((name for name in successors if name[-1] == kind), None)
    reason = (
        f"its leader {one.leader} is a member of {successor} now"
        if successor
        else f"its leader {one.leader} has no members any more"
    )
    state.retired[one.assoc_id] = Tombstone(pep_id, successor, reason)
    state.previous[one.assoc_id] = state.associations.pop(one.assoc_id)
    for policy in POLICIES:
        state.previewed[policy].pop(one.assoc_id, None)
        state.owed[policy].discard(one.assoc_id)


def _build_failed(state: State, event: events.BuildFailed) -> None:
    attempts = state.failures.get(event.pep_id, (0, ""))[0]
    state.failures[event.pep_id] = attempts + 1, event.story


def _owe(state: State, assoc_id: str) -> None:
    for policy, done in state.previewed.items():
        if done.get(assoc_id) == state.mark_of(policy, assoc_id):
            state.owed[policy].discard(assoc_id)
        else:
            state.owed[policy].add(assoc_id)


def _previewed(state: State, event: events.Previewed) -> None:
    state.failures.pop((event.policy, event.assoc_id), None)
    if event.assoc_id in state.associations:
        state.previewed[event.policy][event.assoc_id] = event.mark
        _owe(state, event.assoc_id)


def _preview_failed(state: State, event: events.PreviewFailed) -> None:
    key = event.policy, event.assoc_id
    state.failures[key] = state.failures.get(key, (0, ""))[0] + 1, event.story


def _mark(state: State, root: str) -> int:
    """Note that something an association may be made of has changed."""
    state.digests.pop(root, None)
    exposure = state.exposures.get(root)
    if exposure is None:
        return 0
    state.changes[exposure.pep_id] = state.changes.get(exposure.pep_id, 0) + 1
    state.to_look_at[exposure.pep_id] = None
    return state.changes[exposure.pep_id]


def _touch(state: State, root: str) -> None:
    """Note that extraction or SQL script asked for the exposure's associations."""
    mark = _mark(state, root)
    if root in state.exposures:
        state.touched.setdefault(state.exposures[root].pep_id, {})[root] = mark


def _look(state: State, root: str) -> None:
    """Keep the lists of what is to be extracted and to be put on the list to build."""
    if state.next_to_extract(root) is not None:
        state.to_extract[root] = None
        state.to_queue.pop(root, None)
        return
    state.to_extract.pop(root, None)
    if root in state.pointings and state.flags[root].cal == " ":
        state.to_queue[root] = None
    else:
        state.to_queue.pop(root, None)


_HANDLERS: dict[type, Callable[[State, Any], None]] = {
    events.Described: _described,
    events.Arrived: _arrived,
    events.Changed: _changed,
    events.Delivered: _delivered,
    events.Refused: _refused,
    events.Adopted: _adopted,
    events.Extracted: _extracted,
    events.Unreadable: _unreadable,
    events.Queued: _queued,
    events.Built: _built,
    events.BuildFailed: _build_failed,
    events.Previewed: _previewed,
    events.PreviewFailed: _preview_failed,
    events.Released: _released,
    events.Requested: _requested,
    events.Closed: _closed,
    events.Dated: _dated,
}
