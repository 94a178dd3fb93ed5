"""What the log adds up to: exposures, pointings, associations, and what is owed.

`State.apply` is the only thing that changes a state, so a state read from the log equals the one
that was alive while the log was written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from lightmill.errors import ValidationError
from lightmill.observatories.hst.wfpc2 import events
from lightmill.observatories.hst.wfpc2.associations import Association
from lightmill.observatories.hst.wfpc2.exposures import Exposure, root_of
from lightmill.observatories.hst.wfpc2.flags import NOTHING, Flags, Happening, after
from lightmill.observatories.hst.wfpc2.jitter import Pointing
from lightmill.observatories.hst.wfpc2.previews import POLICIES, mark_of
from lightmill.observatories.hst.wfpc2.rules import Rules

__all__ = ["Generation", "Received", "State", "Tombstone", "fold"]

_ARRIVES = {
    ("CAL", True): Happening.CAL_ARRIVES_NEWER,
    ("CAL", False): Happening.CAL_ARRIVES_OLDER,
    ("OMS", True): Happening.OMS_ARRIVES_NEWER,
    ("OMS", False): Happening.OMS_ARRIVES_OLDER,
}


@dataclass(slots=True)
class Generation:
    """One generation of a dataset: its files, and its flag when it was superseded."""

    content: str
    files: tuple[str, ...]
    flag: str = " "


@dataclass(slots=True)
class Received:
    """All generations of a dataset, and which of them is current: the newest, not the last to come."""

    dataset: str
    generations: dict[str, Generation] = field(default_factory=dict)
    current: str = ""


@dataclass(frozen=True, slots=True)
class Tombstone:
    """An association that is no more.

    Parameters
    ----------
    pep_id : int
        Its proposal.
    successor : str or None
        Association that its leader belongs to now.
    reason : str
        Why it ended.
    """

    pep_id: int
    successor: str | None
    reason: str


class State:
    """The archive's associations and what they were made of.

    Parameters
    ----------
    rules : Rules, optional
        Tolerances: part of what associations are made of.

    Attributes
    ----------
    exposures : dict
        First eight characters → Exposure.
    received : dict
        (First eight characters, class) → Received.
    flags : dict
        First eight characters → Flags, the view of 1997.
    pointings : dict
        First eight characters → Pointing in use: of the newest generation that can be read.
    unreadable : dict
        (First eight characters, generation) → (digest, attempts, story).
    associations, previous : dict
        Identity → Association, now and before its last change.
    versions : dict
        Identity → number of its version, counted from 1 over retirements.
    retired : dict
        Identity → Tombstone.
    deliveries : dict
        Numbers of the deliveries that were taken in, as keys.
    failures : dict
        Proposal, or (policy, identity) → (attempts, story), until it succeeds.
    alarms : list of str
        What a person should look at.
    """

    def __init__(self, rules: Rules | None = None) -> None:
        self.rules = rules or Rules()
        self.exposures: dict[str, Exposure] = {}
        self.received: dict[tuple[str, str], Received] = {}
        self.flags: dict[str, Flags] = {}
        self.pointings: dict[str, Pointing] = {}
        self.unreadable: dict[tuple[str, str], tuple[str, int, str]] = {}
        self.proposals: dict[int, dict[str, None]] = {}
        self.associations: dict[str, Association] = {}
        self.previous: dict[str, Association] = {}
        self.versions: dict[str, int] = {}
        self.of_proposal: dict[int, tuple[str, ...]] = {}
        self.member_of: dict[str, str] = {}
        self.retired: dict[str, Tombstone] = {}
        self.deliveries: dict[int, None] = {}
        self.failures: dict[Any, tuple[int, str]] = {}
        self.alarms: list[str] = []
        self.built: dict[int, str] = {}
        self.changes: dict[int, int] = {}
        self.to_extract: dict[str, None] = {}
        self.to_queue: dict[str, None] = {}
        self.to_look_at: dict[int, None] = {}
        self.blanked: dict[str, int] = {}
        self.previewed: dict[str, dict[str, str]] = {policy: {} for policy in POLICIES}
        self.owed: dict[str, set[str]] = {policy: set() for policy in POLICIES}
        self._touched: dict[int, dict[str, int]] = {}
        self._inputs: dict[str, bytes] = {}  # digests of what is known of each, until it changes
        self._handlers: dict[type, Callable[[Any], None]] = {
            events.Described: self._described,
            events.Arrived: self._arrived,
            events.Changed: self._changed,
            events.Delivered: self._delivered,
            events.Extracted: self._extracted,
            events.Unreadable: self._unreadable,
            events.Queued: self._queued,
            events.Built: self._built,
            events.BuildFailed: self._build_failed,
            events.Previewed: self._previewed,
            events.PreviewFailed: self._preview_failed,
        }

    def apply(self, event: events.Event) -> None:
        """Take an event into account.

        Parameters
        ----------
        event : Event
            The next of the log.
        """
        self._handlers[type(event)](event)

    # ------------------------------------------------------------------------------- questions

    def generation(self, root: str, archive_class: str = "CAL") -> str:
        """Return the current generation of a dataset, empty if there is none.

        Parameters
        ----------
        root : str
            First eight characters.
        archive_class : str
            CAL or OMS.

        Returns
        -------
        gen_date_str : str
            YYYYMMDDHHMM.
        """
        received = self.received.get((root, archive_class))
        return received.current if received else ""

    def next_to_extract(self, root: str, *, again: bool = False) -> str | None:
        """Return the generation of jitter files to be read next, or None.

        The newest that can be read is the one in use. So what is known of an exposure depends on
        which generations there are, not on the order they came in.

        Parameters
        ----------
        root : str
            First eight characters.
        again : bool
            Also look at the newest if it could not be read before.

        Returns
        -------
        gen_date_str : str or None
            None if the newest that can be read is in use, or the exposure is not there.
        """
        received = self.received.get((root, "OMS"))
        if received is None or self.flags.get(root, NOTHING).cal == "-":
            return None
        used = self.pointings.get(root)
        for generation in sorted(received.generations, reverse=True):
            if used is not None and used.gen_date_str == generation:
                return None
            if again or (root, generation) not in self.unreadable:
                return generation
        return None

    def inputs(self, pep_id: int) -> list[str]:
        """Return the exposures of a proposal that have a pointing: what its associations are made of.

        Parameters
        ----------
        pep_id : int
            Proposal.

        Returns
        -------
        roots : list of str
            In order.
        """
        return sorted(root for root in self.proposals.get(pep_id, ()) if root in self.pointings)

    def digest_of_inputs(self, pep_id: int) -> str:
        """Return the digest of all that the associations of a proposal are made of.

        Parameters
        ----------
        pep_id : int
            Proposal.

        Returns
        -------
        digest : str
            32 hexadecimal digits; empty if there is nothing to associate.
        """
        roots = self.inputs(pep_id)
        if not roots:
            return ""
        digest = hashlib.sha256(self.rules.text().encode())
        for root in roots:
            if root not in self._inputs:
                self._inputs[root] = self._digest_of_input(root)
            digest.update(self._inputs[root])
        return digest.hexdigest()[:32]

    def _digest_of_input(self, root: str) -> bytes:
        at = self.pointings[root]
        text = (
            f"{self.exposures[root]!r} {self.generation(root)} {at.gen_date_str} "
            f"{at.ra!r} {at.dec!r} {at.roll!r} {at.quality} {at.aperture}"
        )
        return hashlib.sha256(text.encode()).digest()[:16]

    def build_is_owed(self, pep_id: int) -> bool:
        """Return whether a proposal's associations were made of other inputs than there are now.

        Parameters
        ----------
        pep_id : int
            Proposal.

        Returns
        -------
        owed : bool
            Also true while an exposure carries the flag R.
        """
        if any(self.flags[root].cal == "R" for root in self.proposals.get(pep_id, ())):
            return True
        return self.digest_of_inputs(pep_id) != self.built.get(pep_id, "")

    def resolve(self, assoc_id: str) -> str | None:
        """Return the association that an identity, perhaps of one retired, leads to.

        Parameters
        ----------
        assoc_id : str
            Identity of an association there is or was.

        Returns
        -------
        assoc_id : str or None
            Of one there is; None where the trace ends.
        """
        seen: set[str] = set()
        found: str | None = assoc_id
        while found is not None and found not in self.associations and found not in seen:
            seen.add(found)
            tombstone = self.retired.get(found)
            found = tombstone.successor if tombstone else None
        return found if found in self.associations else None

    # ------------------------------------------------------------------------------- arrivals

    def _described(self, event: events.Described) -> None:
        exposure = event.exposure
        known = self.exposures.get(exposure.root)
        if known is not None and known.pep_id != exposure.pep_id:
            raise ValidationError(
                "an exposure cannot move to another proposal",
                place=exposure.dataset_name,
                found=exposure.pep_id,
                expected=known.pep_id,
            )
        self.exposures[exposure.root] = exposure
        self.flags.setdefault(exposure.root, NOTHING)
        self.proposals.setdefault(exposure.pep_id, {})[exposure.root] = None
        self._mark(exposure.root)

    def knows(self, event: events.Arrived) -> bool:
        """Return whether an arrival would change nothing: the same bytes are there already.

        Parameters
        ----------
        event : Arrived
            What came.

        Returns
        -------
        known : bool
            Then it need not be written down.
        """
        received = self.received.get((root_of(event.dataset), event.archive_class))
        known = received.generations.get(event.gen_date_str) if received else None
        return known is not None and event.content in {"", known.content}

    def _arrived(self, event: events.Arrived) -> None:
        root = root_of(event.dataset)
        received = self.received.setdefault((root, event.archive_class), Received(event.dataset))
        known = received.generations.get(event.gen_date_str)
        if known is not None:
            self._arrived_again(root, event, known)
        else:
            newer = event.gen_date_str > received.current
            flags = self.flags.get(root, NOTHING)
            if newer:
                if received.current:
                    old = flags.cal if event.archive_class == "CAL" else flags.oms
                    received.generations[received.current].flag = old
                received.current = event.gen_date_str
            received.generations[event.gen_date_str] = Generation(event.content, event.files)
            self.flags[root] = after(flags, _ARRIVES[event.archive_class, newer])
            if newer and event.archive_class == "CAL":
                self._mark(root)
        self._look(root)

    def _arrived_again(self, root: str, event: events.Arrived, known: Generation) -> None:
        """Take the same generation once more: the same bytes are nothing, others a conflict."""
        if event.content and not known.content:
            known.content, known.files = event.content, event.files
            self.unreadable.pop((root, event.gen_date_str), None)
        elif event.content and event.content != known.content:
            self.alarms.append(
                f"{event.dataset} {event.archive_class} {event.gen_date_str}: "
                "two deliveries of one generation differ"
            )
            if (root, event.gen_date_str) in self.unreadable:  # what could not be read is no loss
                known.content, known.files = event.content, event.files
                del self.unreadable[root, event.gen_date_str]

    def _changed(self, event: events.Changed) -> None:
        root = root_of(event.dataset)
        self.exposures[root] = self.exposures[root].changed(event.column, event.value)
        self.flags[root] = after(self.flags[root], Happening.CHDB)
        self._mark(root)

    def _delivered(self, event: events.Delivered) -> None:
        self.deliveries[event.delivery] = None

    # ------------------------------------------------------------------------------- pointings

    def _extracted(self, event: events.Extracted) -> None:
        root = root_of(event.pointing.dataset)
        generation = event.pointing.gen_date_str
        self.pointings[root] = event.pointing
        self.unreadable.pop((root, generation), None)
        flags = self.flags[root]
        if generation == self.generation(root, "OMS"):
            self.flags[root] = after(flags, Happening.JEP_OK)
        else:  # the newest cannot be read: the one before it serves, and the flag stays blank
            self.flags[root] = Flags("R", flags.oms)
        self._touch(root)
        self._look(root)

    def _unreadable(self, event: events.Unreadable) -> None:
        root = root_of(event.dataset)
        key = root, event.gen_date_str
        attempts = self.unreadable.get(key, ("", 0, ""))[1]
        self.unreadable[key] = event.content, attempts + 1, event.story
        self._look(root)

    def _queued(self, event: events.Queued) -> None:
        root = root_of(event.dataset)
        flags = self.flags[root]
        # Where the newest jitter files cannot be read, those before them serve again.
        self.flags[root] = (
            after(flags, Happening.SQL) if flags.oms == "Y" else Flags("R", flags.oms)
        )
        self._touch(root)
        self._look(root)

    # ------------------------------------------------------------------------------- associations

    def _built(self, event: events.Built) -> None:
        new = {one.assoc_id: one for one in event.associations}
        old = {one: self.associations[one] for one in self.of_proposal.get(event.pep_id, ())}
        self._blank_previews(event, old, new)
        for assoc_id in old.keys() - new.keys():
            self._retire(event.pep_id, old[assoc_id], new)
        for association in old.values():
            for name in association.names:
                self.member_of.pop(name, None)
        for assoc_id, association in new.items():
            if old.get(assoc_id) != association:
                self.versions[assoc_id] = self.versions.get(assoc_id, 0) + 1
                if assoc_id in self.associations:
                    self.previous[assoc_id] = self.associations[assoc_id]
                self.associations[assoc_id] = association
            self.retired.pop(assoc_id, None)
            self.member_of.update(dict.fromkeys(association.names, assoc_id))
            self._owe(assoc_id)
        self.of_proposal[event.pep_id] = tuple(new)
        self.built[event.pep_id] = event.inputs
        self.failures.pop(event.pep_id, None)
        for dataset, generation in event.read:
            root = root_of(dataset)
            if self.generation(root) == generation:  # else a newer one came meanwhile
                self.flags[root] = after(self.flags[root], Happening.AB_OK)
            self._look(root)
        if self.changes.get(event.pep_id, 0) == event.upto:
            self.to_look_at.pop(event.pep_id, None)

    def _blank_previews(
        self, event: events.Built, old: dict[str, Association], new: dict[str, Association]
    ) -> None:
        """Blank the preview field where extraction or SQL script touched a member, then or now."""
        touched = self._touched.get(event.pep_id, {})
        seen = [root for root, mark in touched.items() if mark <= event.upto]
        now = {name[:8]: one.assoc_id for one in new.values() for name in one.names}
        before = {name[:8]: one.assoc_id for one in old.values() for name in one.names}
        blank = {side[root] for root in seen for side in (now, before) if root in side}
        for assoc_id in sorted((blank & new.keys()) | (new.keys() - old.keys())):
            self.blanked[assoc_id] = self.blanked.get(assoc_id, 0) + 1
        for root in seen:
            del touched[root]

    def _retire(self, pep_id: int, one: Association, new: dict[str, Association]) -> None:
        successor = next((a.assoc_id for a in new.values() if one.leader in a.names), None)
        reason = (
            f"its leader {one.leader} is a member of {successor} now"
            if successor
            else f"its leader {one.leader} has no members any more"
        )
        self.retired[one.assoc_id] = Tombstone(pep_id, successor, reason)
        self.previous[one.assoc_id] = self.associations.pop(one.assoc_id)
        for policy in POLICIES:
            self.previewed[policy].pop(one.assoc_id, None)
            self.owed[policy].discard(one.assoc_id)

    def _build_failed(self, event: events.BuildFailed) -> None:
        attempts = self.failures.get(event.pep_id, (0, ""))[0]
        self.failures[event.pep_id] = attempts + 1, event.story

    # ------------------------------------------------------------------------------- previews

    def mark_of(self, policy: str, assoc_id: str) -> str:
        """Return what a policy compares for an association, as it is now.

        Parameters
        ----------
        policy, assoc_id : str
            Preview policy and association.

        Returns
        -------
        mark : str
            To be given with `events.Previewed`.
        """
        return mark_of(policy, self.associations[assoc_id], self.blanked.get(assoc_id, 0))

    def _owe(self, assoc_id: str) -> None:
        for policy, done in self.previewed.items():
            if done.get(assoc_id) == self.mark_of(policy, assoc_id):
                self.owed[policy].discard(assoc_id)
            else:
                self.owed[policy].add(assoc_id)

    def _previewed(self, event: events.Previewed) -> None:
        self.failures.pop((event.policy, event.assoc_id), None)
        if event.assoc_id in self.associations:
            self.previewed[event.policy][event.assoc_id] = event.mark
            self._owe(event.assoc_id)

    def _preview_failed(self, event: events.PreviewFailed) -> None:
        key = event.policy, event.assoc_id
        self.failures[key] = self.failures.get(key, (0, ""))[0] + 1, event.story

    # ------------------------------------------------------------------------------- what is owed

    def _mark(self, root: str) -> int:
        """Note that something an association may be made of has changed."""
        self._inputs.pop(root, None)
        exposure = self.exposures.get(root)
        if exposure is None:
            return 0
        self.changes[exposure.pep_id] = self.changes.get(exposure.pep_id, 0) + 1
        self.to_look_at[exposure.pep_id] = None
        return self.changes[exposure.pep_id]

    def _touch(self, root: str) -> None:
        """Note that extraction or SQL script asked for the exposure's associations."""
        mark = self._mark(root)
        if root in self.exposures:
            self._touched.setdefault(self.exposures[root].pep_id, {})[root] = mark

    def _look(self, root: str) -> None:
        """Keep the lists of what is to be extracted and to be put on the list to build."""
        if self.next_to_extract(root) is not None:
            self.to_extract[root] = None
            self.to_queue.pop(root, None)
            return
        self.to_extract.pop(root, None)
        if root in self.pointings and self.flags[root].cal == " ":
            self.to_queue[root] = None
        else:
            self.to_queue.pop(root, None)


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
        state.apply(event)
    return state
