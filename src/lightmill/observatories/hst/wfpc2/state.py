"""What is known of an archive: exposures, pointings, associations, and what is owed.

Nothing here changes a state; that is done by `fold.apply` alone.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from lightmill.observatories.hst.wfpc2 import events
from lightmill.observatories.hst.wfpc2.associations import Association
from lightmill.observatories.hst.wfpc2.exposures import Exposure
from lightmill.observatories.hst.wfpc2.flags import NOTHING, Flags
from lightmill.observatories.hst.wfpc2.jitter import Pointing
from lightmill.observatories.hst.wfpc2.previews import POLICIES, mark_of
from lightmill.observatories.hst.wfpc2.retries import Failed
from lightmill.observatories.hst.wfpc2.rules import Rules

__all__ = ["Generation", "Received", "State", "Tombstone"]


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
        (First eight characters, generation) → Failed: pairs that could not be fetched or read.
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
    today : str
        Latest day that was told, YYYY-MM-DD; empty if none was.
    requests : dict
        Number of each request → its pairs, until it is closed.
    """

    def __init__(self, rules: Rules | None = None) -> None:
        self.rules = rules or Rules()
        self.exposures: dict[str, Exposure] = {}
        self.received: dict[tuple[str, str], Received] = {}
        self.flags: dict[str, Flags] = {}
        self.pointings: dict[str, Pointing] = {}
        self.unreadable: dict[tuple[str, str], Failed] = {}
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
        self.touched: dict[int, dict[str, int]] = {}
        self.today = ""
        self.days: dict[str, dict[int, None]] = {}  # of exposures → proposals; with a grace time
        self.requests: dict[int, tuple[tuple[str, str], ...]] = {}
        self.n_requests = 0
        self.digests: dict[str, bytes] = {}  # digests of what is known of each, until it changes

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

    def flag_counts(self) -> Counter[Flags]:
        """Count the exposures by their flags.

        Returns
        -------
        counts : Counter
            Flags → how many exposures have them.
        """
        return Counter(self.flags.values())

    def next_to_extract(self, root: str, again: Collection[str] = ()) -> str | None:
        """Return the generation of jitter files to be read next, or None.

        The newest that can be read is the one in use. So what is known of an exposure depends on
        which generations there are, not on the order they came in.

        Parameters
        ----------
        root : str
            First eight characters.
        again : collection of str
            Generations to look at although they could not be read before.

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
            if generation in again or (root, generation) not in self.unreadable:
                return generation
        return None

    def due(self, now: float, *, everything: bool = False) -> dict[str, set[str]]:
        """Return pairs that failed and are to be tried again.

        Parameters
        ----------
        now : float
            [s since 1970].
        everything : bool
            Also those whose time has not come; not those in quarantine.

        Returns
        -------
        due : dict
            First eight characters → generations newer than the one in use.
        """
        found: dict[str, set[str]] = {}
        for (root, generation), one in self.unreadable.items():
            used = self.pointings.get(root)
            if used is not None and used.gen_date_str >= generation:
                continue
            if one.due_at <= now or (everything and not one.is_quarantined):
                found.setdefault(root, set()).add(generation)
        return found

    def last_day(self, rules: Rules | None = None, today: str = "") -> str:
        """Return the last day whose exposures are associated by their headers.

        Parameters
        ----------
        rules : Rules, optional
            Tolerances; by default those that hold.
        today : str
            The day it is; by default the latest that was told.

        Returns
        -------
        day : str
            YYYY-MM-DD; empty if no exposure is, now or ever.
        """
        rules, today = rules or self.rules, max(today, self.today)
        if rules.grace is None or not today:
            return ""
        try:
            return (date.fromisoformat(today) - timedelta(days=rules.grace)).isoformat()
        except OverflowError:  # no calendar goes so far back
            return ""

    def inputs(self, pep_id: int, last_day: str | None = None) -> list[str]:
        """Return the exposures of a proposal that its associations are made of.

        Parameters
        ----------
        pep_id : int
            Proposal.
        last_day : str, optional
            Of associations by headers: those of this day and before whose calibrated data are
            there. By default those that have a pointing.

        Returns
        -------
        roots : list of str
            In order.
        """
        proposal = self.proposals.get(pep_id, ())
        if last_day is None:
            return sorted(root for root in proposal if root in self.pointings)
        return sorted(
            root
            for root in (proposal if last_day else ())
            if self.exposures[root].start_time[:10] <= last_day and self.generation(root)
        )

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
        roots, old = self.inputs(pep_id), self.inputs(pep_id, self.last_day())
        if not roots and not old:
            return ""
        digest = hashlib.sha256(self.rules.text().encode())
        for root in old:
            digest.update(self._digest_of_header(root))
        for root in roots:
            if root not in self.digests:
                self.digests[root] = self._digest_of_input(root)
            digest.update(self.digests[root])
        return digest.hexdigest()[:32]

    def _digest_of_input(self, root: str) -> bytes:
        at = self.pointings[root]
        text = (
            f"{self.exposures[root]!r} {self.generation(root)} {at.gen_date_str} "
            f"{at.ra!r} {at.dec!r} {at.roll!r} {at.quality} {at.aperture}"
        )
        return hashlib.sha256(text.encode()).digest()[:16]

    def _digest_of_header(self, root: str) -> bytes:
        """Return the digest of what type B reads of an exposure: of its jitter, the quality."""
        at = self.pointings.get(root)
        jitter = f"{at.quality} {at.roll!r}" if at else "I"
        text = f"{self.exposures[root]!r} {self.generation(root)} {jitter}"
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
        received = self.received.get((str(event.dataset)[:8], event.archive_class))
        known = received.generations.get(event.gen_date_str) if received else None
        return known is not None and event.content in {"", known.content}

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
