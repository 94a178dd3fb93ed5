"""One round of maintenance: what is owed is looked up, done, and written in the log.

Three decisions, each a comparison of content: a pointing is extracted when the newest readable
jitter files are not the ones in use; a proposal is built when its inputs differ from those its
associations were made of; a preview is made when the policy's mark differs from the last one. No
message has to arrive for any of them, so what was lost or killed is found by the next round.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from lightmill.errors import LightmillError
from lightmill.observatories.hst.wfpc2 import events
from lightmill.observatories.hst.wfpc2.associations import Association
from lightmill.observatories.hst.wfpc2.builder import associate
from lightmill.observatories.hst.wfpc2.exposures import Exposure
from lightmill.observatories.hst.wfpc2.fold import apply, refusal
from lightmill.observatories.hst.wfpc2.jitter import Pointing
from lightmill.observatories.hst.wfpc2.previews import DEFAULT_POLICY
from lightmill.observatories.hst.wfpc2.rules import Rules
from lightmill.observatories.hst.wfpc2.state import Generation, State

__all__ = ["Archive", "Difference", "Round", "Work", "audit", "maintain", "would_change"]


class Work(Protocol):
    """What a round asks to be done; it decides nothing and remembers nothing."""

    def extract(self, dataset: str, gen_date_str: str, generation: Generation) -> Pointing:
        """Measure the pointing in a pair of jitter files, or raise a LightmillError."""

    def preview(self, association: Association) -> None:
        """Make the preview of an association, or raise a LightmillError."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What a round did to the associations, each a list of identities in order."""

    new: list[str] = field(default_factory=list)
    retired: list[str] = field(default_factory=list)
    gen_date_changed: list[str] = field(default_factory=list)
    content_changed: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Round:
    """What a round of maintenance did.

    Parameters
    ----------
    fetched, not_fetched : list of str
        Exposures whose jitter files were asked for, and came or could not be had.
    extracted, unreadable : list of str
        Exposures whose pointing was measured, and whose jitter files could not be read.
    queued, corrected : list of str
        Exposures the SQL script put on the list, and those with a value changed in the database.
    flagged : list of str
        Exposures with the flag R when associations were built.
    built, failed : list of int
        Proposals.
    associations : Difference
        What became of them.
    previews : dict
        Policy → associations whose preview was made.
    """

    fetched: list[str] = field(default_factory=list)
    not_fetched: list[str] = field(default_factory=list)
    extracted: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    queued: list[str] = field(default_factory=list)
    corrected: list[str] = field(default_factory=list)
    flagged: list[str] = field(default_factory=list)
    built: list[int] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    associations: Difference = field(default_factory=Difference)
    previews: dict[str, list[str]] = field(default_factory=dict)


class Archive:
    """A state, and the log it is the sum of.

    Parameters
    ----------
    state : State, optional
        By default of an empty archive.
    write : callable, optional
        Called with each event before it counts: writes it down.
    keep : callable, optional
        Sees to it that what was written is on disk.
    """

    def __init__(
        self,
        state: State | None = None,
        write: Callable[[events.Event], None] | None = None,
        keep: Callable[[], None] | None = None,
    ) -> None:
        self.state = state or State()
        self._write, self._keep = write, keep

    def keep(self) -> None:
        """See to it that what was recorded is on disk: between two pieces of work."""
        if self._keep is not None:
            self._keep()

    def record(self, event: events.Event) -> None:
        """Write an event in the log, and let it count; what makes no sense becomes an alarm.

        Parameters
        ----------
        event : Event
            What happened.
        """
        if (story := refusal(self.state, event)) is not None:
            event = events.Refused(story)
        if self._write is not None:
            self._write(event)
        apply(self.state, event)


def maintain(
    archive: Archive,
    work: Work,
    *,
    changes: Iterable[events.Changed] = (),
    policies: Iterable[str] = (DEFAULT_POLICY,),
    again: bool = False,
    now: float | None = None,
    done: Round | None = None,
    besides: Mapping[str, set[str]] | None = None,
) -> Round:
    """Do all that is owed, once.

    Parameters
    ----------
    archive : Archive
        After the arrivals of a delivery.
    work : Work
        Reads jitter files and makes previews.
    changes : iterable of Changed
        Corrections of the database that came with the delivery.
    policies : iterable of str
        By which previews are made; more than one only to compare them.
    again : bool
        Also try what could not be read before, unless it is in quarantine.
    now : float, optional
        Time of this round [s since 1970]: what failed is tried again some time after, and
        exposures are associated by their headers when their grace time is over. Without it no time
        passes. It is written with what it decides, so that the log says the same at any later time.
    done : Round, optional
        Already begun: what was fetched before.
    besides : mapping, optional
        First eight characters → generations that are tried though they failed, whatever the time:
        their files were fetched anew.

    Returns
    -------
    round : Round
        Empty lists, and nothing written, if nothing was owed.
    """
    done = done or Round()
    state = archive.state
    due = state.due(now or 0.0, everything=again) if now or again else {}
    for root, generations in (besides or {}).items():
        due[root] = due.get(root, set()) | generations
    for root in sorted({*state.to_extract, *due}):
        _extract(archive, work, root, done, again=due.get(root, ()), now=now or 0.0)
    for root in sorted(state.to_queue):
        archive.record(events.Queued(_name(state, root)))
        done.queued.append(_name(state, root))
    for change in changes:
        if refusal(state, change) is None:
            done.corrected.append(change.dataset)
        archive.record(change)
    done.corrected = sorted(set(done.corrected))
    if now is not None and (day := _day_that_counts(state, now)):
        archive.record(events.Dated(day))
    _build(archive, done)
    for policy in policies:
        done.previews[policy] = [
            one for one in sorted(state.owed[policy]) if _preview(archive, work, policy, one)
        ]
    return done


def audit(state: State) -> dict[str, list[Any]]:
    """Compare everything there is with what it should be, trusting no list of what is owed.

    Parameters
    ----------
    state : State
        After a round.

    Returns
    -------
    found : dict
        ``extract``: exposures whose newest readable jitter files are not in use; ``build``:
        proposals whose associations, built anew from all exposures at once, are not those there
        are. Both empty where the state is sound.
    """
    extract = sorted(root for root in state.flags if state.next_to_extract(root) is not None)
    fresh = _associated(state, sorted(state.proposals))
    build = []
    for pep_id in sorted(state.proposals):
        ids = state.of_proposal.get(pep_id, ())
        if tuple(state.associations[one] for one in ids) != fresh.get(pep_id, ()):
            build.append(pep_id)
    return {"extract": extract, "build": build}


def would_change(state: State, rules: Rules, today: str = "") -> Difference:
    """Tell what other tolerances would do to the associations; nothing is changed.

    Parameters
    ----------
    state : State
        Of the archive.
    rules : Rules
        Tolerances to try. Thresholds of quality count where jitter files are read, not here.
    today : str
        The day it is, YYYY-MM-DD, for a grace time; by default the latest that was told.

    Returns
    -------
    difference : Difference
        Identities that would appear, vanish and change.
    """
    found = _associated(state, sorted(state.proposals), rules, today)
    after = {one.assoc_id: one for some in found.values() for one in some}
    return _difference(state.associations, after)


def _name(state: State, root: str) -> str:
    """Return the name of the exposure with these first eight characters."""
    received = state.received.get((root, "CAL"))
    return received.dataset if received else state.exposures[root].dataset_name


def _day_that_counts(state: State, now: float) -> str:
    """Return the day it is if a grace time ended with it, else nothing."""
    day = datetime.fromtimestamp(now, UTC).date().isoformat()
    before, last = state.last_day(), state.last_day(today=day)
    return day if any(before < one <= last for one in state.days) else ""


def _extract(
    archive: Archive, work: Work, root: str, done: Round, *, again: Collection[str], now: float
) -> None:
    """Read jitter files of an exposure, newest first, until a pair can be read."""
    state, again = archive.state, set(again)
    while (generation := state.next_to_extract(root, again)) is not None:
        again.discard(generation)
        received = state.received[root, "OMS"]
        pair = received.generations[generation]
        try:
            pointing = work.extract(received.dataset, generation, pair)
        except LightmillError as error:
            archive.record(
                events.Unreadable(received.dataset, generation, pair.content, error.story(), now)
            )
            done.unreadable.append(_name(state, root))
        else:
            archive.record(events.Extracted(pointing))
            done.extracted.append(_name(state, root))


def _build(archive: Archive, done: Round) -> None:
    """Build the associations of every proposal whose inputs are not those they were made of."""
    state = archive.state
    looked_at = sorted(state.to_look_at)
    done.flagged = sorted(
        _name(state, root)
        for pep_id in looked_at
        for root in state.proposals[pep_id]
        if state.flags[root].cal == "R"
    )
    owed = [pep_id for pep_id in looked_at if state.build_is_owed(pep_id)]
    for pep_id in set(looked_at) - set(owed):
        del state.to_look_at[pep_id]
    before = {
        one: state.associations[one] for pep_id in owed for one in state.of_proposal.get(pep_id, ())
    }
    for pep_id, associations in _built(archive, owed, done):
        roots = state.inputs(pep_id)
        archive.record(
            events.Built(
                pep_id,
                tuple((_name(state, root), state.generation(root)) for root in roots),
                state.changes.get(pep_id, 0),
                state.digest_of_inputs(pep_id),
                associations,
            )
        )
        done.built.append(pep_id)
    after = {
        one: state.associations[one] for pep_id in owed for one in state.of_proposal.get(pep_id, ())
    }
    done.associations = _difference(before, after)


def _built(
    archive: Archive, owed: list[int], done: Round
) -> Iterable[tuple[int, tuple[Association, ...]]]:
    """Return the associations of each proposal: of all at once, or one by one if that fails."""
    try:
        found = _associated(archive.state, owed)
        return [(pep_id, found.get(pep_id, ())) for pep_id in owed]
    except LightmillError:
        pass
    each = []
    for pep_id in owed:
        try:
            each.append((pep_id, _associated(archive.state, [pep_id]).get(pep_id, ())))
        except LightmillError as error:
            archive.record(events.BuildFailed(pep_id, error.story()))
            done.failed.append(pep_id)
    return each


def _associated(
    state: State, pep_ids: Collection[int], rules: Rules | None = None, today: str = ""
) -> dict[int, tuple[Association, ...]]:
    """Return the associations of proposals as their inputs are now, by proposal."""
    rules = rules or state.rules
    last_day = state.last_day(rules, today)
    found: dict[int, list[Association]] = {}
    for kind, until in (("A", None), ("B", last_day)) if last_day else (("A", None),):
        exposures: list[Exposure] = []
        for pep_id in pep_ids:
            exposures += (state.exposures[root] for root in state.inputs(pep_id, until))
        generations = {one.root: state.generation(one.root) for one in exposures}
        built = associate(exposures, state.pointings, generations, kind=kind, rules=rules)
        for one in built.associations.values():
            found.setdefault(one.pep_id, []).append(one)
    return {pep_id: tuple(some) for pep_id, some in found.items()}


def _difference(before: dict[str, Association], after: dict[str, Association]) -> Difference:
    both = sorted(before.keys() & after.keys())
    return Difference(
        new=sorted(after.keys() - before.keys()),
        retired=sorted(before.keys() - after.keys()),
        gen_date_changed=[k for k in both if before[k].gen_date_str != after[k].gen_date_str],
        content_changed=[k for k in both if before[k].content != after[k].content],
    )


def _preview(archive: Archive, work: Work, policy: str, assoc_id: str) -> bool:
    state = archive.state
    mark = state.mark_of(policy, assoc_id)
    try:
        work.preview(state.associations[assoc_id])
    except LightmillError as error:
        archive.record(events.PreviewFailed(policy, assoc_id, error.story()))
        return False
    archive.record(events.Previewed(policy, assoc_id, mark))
    return True
