"""The log in an archive store: the table of events, which can only be appended to.

The store is the one of operations, SQLite or PostgreSQL; nothing is added to it. Events are written
many at a time: a state can be read from any beginning of the log, and what a killed run had done but
not written is owed still, and done again by the next.

What the log adds up to is kept beside it now and then (`EventLog.keep`), so that only what came
after need be read. Such a snapshot is believed if the same code made it and the log still has the
event it ends with; else the log is read from its beginning.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lightmill.errors import ConfigurationError, CorruptFileError
from lightmill.observatories.hst.wfpc2.events import Event, event_of, record_of
from lightmill.observatories.hst.wfpc2.fold import apply, fold
from lightmill.observatories.hst.wfpc2.rules import Rules
from lightmill.observatories.hst.wfpc2.snapshot import (
    ShelvedState,
    code_digest,
    snapshot_of,
    state_of,
)
from lightmill.observatories.hst.wfpc2.state import State

__all__ = ["EventLog"]

SUBJECT = "wfpc2"
TOGETHER = 500  # events in one transaction
AT_ONCE = 5000  # numbers of events that are read together
KEEP_AFTER = 200  # events that are sooner read than what they add up to is written


class EventLog:
    """The events of an archive, in a store.

    Parameters
    ----------
    place : str or Path
        URL of the store, or its folder.
    create : bool
        Make the store's tables where there are none.
    clock : callable
        Seconds since 1970, for people to read.

    Raises
    ------
    ConfigurationError
        If there is no store, or the packages for it are missing.
    """

    def __init__(
        self,
        place: str | Path,
        *,
        create: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        from lightmill.workflow.store import create_store, open_engine
        from lightmill.workflow.store.opening import FILE

        exists = "://" in str(place) or (Path(place) / FILE).is_file()
        if not exists and not create:
            raise ConfigurationError(
                "there is no store here",
                place=place,
                expected=FILE,
                remedy="begin one with 'submit'",
            )
        if create:
            create_store(place)
        self.engine = open_engine(place)
        self.clock = clock
        self.last = 0  # number of the last event read or written
        self._pending: list[dict[str, Any]] = []
        self._rules: Rules | None = None
        self._kept = 0  # event that the snapshot in the store ends with; 0: none that is known
        self._since = 0  # events after it
        self._written: dict[str, str] = {}  # parts of the snapshot in the store → their digests
        self._is_closed = False

    def close(self) -> None:
        """Write what is pending, and give the connections back."""
        self.flush()
        self.leave()

    def leave(self) -> None:
        """Give the connections back; what is pending is not written."""
        self._is_closed = True
        self.engine.dispose()

    def read(self, after: int = 0, upto: int | None = None) -> Iterator[Event]:
        """Yield events, from the first on.

        Parameters
        ----------
        after : int
            Number of an event; those up to it are left out.
        upto : int, optional
            Number of the last.

        Yields
        ------
        event : Event
            As it was written.
        """
        from sqlalchemy import func, select

        from lightmill.workflow.store import tables as t

        e = t.events.c
        # That these events have no other number lets SQLite use all of an index.
        query = select(e.seq, e.told).where(e.subject == SUBJECT, e.subject_id.is_(None))
        query = query.order_by(e.seq)
        with self._reading() as connection:
            top = connection.execute(select(func.max(e.seq))).scalar() or 0
        top = top if upto is None else min(top, upto)
        # In pieces: a database ends a transaction in which nothing is asked for a while.
        for start in range(after, top, AT_ONCE):
            piece = query.where(e.seq > start, e.seq <= min(start + AT_ONCE, top))
            with self._reading() as connection:
                rows = connection.execute(piece).all()
            for seq, told in rows:
                self.last = max(self.last, seq)
                yield event_of(told)

    def state(self, rules: Rules | None = None, *, from_snapshot: bool = True) -> State:
        """Return the state the log adds up to.

        Parameters
        ----------
        rules : Rules, optional
            Tolerances.
        from_snapshot : bool
            Go on from the snapshot, if there is one; else read the log from its beginning.

        Returns
        -------
        state : State
            Of the archive now.
        """
        self._rules = rules
        self._kept, self._since, self._written = 0, 0, {}
        state = (self._from_snapshot() if from_snapshot else None) or State(rules)
        for event in self.read(after=self._kept):
            apply(state, event)
            self._since += 1
        return state

    def keep(self, state: State, *, at_least: int = KEEP_AFTER) -> bool:
        """Keep a state beside the log, so that it need not be read again.

        Parameters
        ----------
        state : State
            What `state` returned, after all that was written since.
        at_least : int
            Events since the last snapshot; for fewer it is not worth while.

        Returns
        -------
        kept : bool
            False also if another process has written meanwhile, or the store is of an older version.
        """
        from sqlalchemy import inspect

        from lightmill.workflow.store.snapshots import Head, read_head, write_parts

        self.flush()
        damaged = state.desk.damaged if isinstance(state, ShelvedState) else set()
        if self._since < max(at_least, 1) and not damaged:
            return False
        written = {name: one for name, one in self._written.items() if name not in damaged}
        snapshot = snapshot_of(state, written)
        with self.engine.begin() as connection:
            if not inspect(connection).has_table("snapshots"):
                return False
            there = read_head(connection, SUBJECT)
            if there is not None and there.seq > self.last:
                return False
            if self._kept and (there is None or there.seq != self._kept):
                return False  # the parts that were not fetched may be another's
            head = Head(self.last, self._made_by(connection, self.last), snapshot.head)
            gone = self._written.keys() - snapshot.digests.keys() if self._kept else None
            write_parts(connection, SUBJECT, head, snapshot.parts, gone)
        self._kept, self._since, self._written = self.last, 0, snapshot.digests
        damaged.clear()
        return True

    def compare(self) -> list[str]:
        """Compare the snapshot, and what came after it, with the whole log.

        Returns
        -------
        differs : list of str
            Parts of the state that the two do not say alike; empty if all is well, or nothing was kept.
        """
        state = self.state()
        if not isinstance(state, ShelvedState):
            return []
        state.desk.need_all()
        kept = snapshot_of(state)
        damaged = state.desk.damaged
        del state  # of a whole archive two are too many
        whole = snapshot_of(self.state(from_snapshot=False))
        both = kept.digests | whole.digests
        differs = {name for name in both if kept.digests.get(name) != whole.digests.get(name)}
        if kept.head != whole.head and not differs:
            differs.add("head")
        return sorted(differs | damaged)

    def forget(self) -> None:
        """Throw the snapshot away: the log is read from its beginning next time."""
        from sqlalchemy import delete

        from lightmill.workflow.store import tables as t

        with self.engine.begin() as connection:
            connection.execute(delete(t.snapshots).where(t.snapshots.c.subject == SUBJECT))

    def _from_snapshot(self) -> State | None:
        """Return the state of the snapshot, or None if there is none that can be believed."""
        from lightmill.workflow.store.snapshots import read_head

        with self._reading() as connection:
            head = read_head(connection, SUBJECT)
            if head is None or head.made_by != self._made_by(connection, head.seq):
                return None
        try:
            state = state_of(head.content, self._parts, lambda: self._again(head.seq))
        except CorruptFileError:
            return None
        self.last = self._kept = head.seq
        self._written = {name: one.digest for name, one in state.desk.known.items()}
        return state

    def _parts(self, digests: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
        """Yield the parts of the snapshot that are as they were when its head was read."""
        from lightmill.workflow.store.snapshots import read_parts

        with self._reading() as connection:
            yield from read_parts(connection, SUBJECT, digests)

    def _again(self, seq: int) -> State:
        """Return the state that the log adds up to at an event."""
        return fold(self.read(upto=seq), self._rules)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Any]:
        """Lend a connection that only reads."""
        try:
            with self.engine.connect().execution_options(reads_only=True) as connection:
                yield connection
        finally:
            if self._is_closed:  # a state may be looked at when its log is closed
                self.engine.dispose()

    def _made_by(self, connection: Any, seq: int) -> str:
        """Return what a snapshot that ends with an event says of itself: code, rules, the event."""
        from sqlalchemy import select

        from lightmill.workflow.store import tables as t

        e = t.events.c
        query = select(e.at, e.told).where(e.seq == seq, e.subject == SUBJECT)
        row = connection.execute(query).first()
        event = json.dumps([row.at, row.told], sort_keys=True) if row else "none"
        text = f"{code_digest()} {(self._rules or Rules()).text()} {seq} {event}"
        return hashlib.sha256(text.encode()).hexdigest()

    def append(self, event: Event) -> None:
        """Write an event, with others, when there are enough of them.

        Parameters
        ----------
        event : Event
            What happened.
        """
        self._pending.append(
            {
                "at": self.clock(),
                "kind": type(event).__name__,
                "subject": SUBJECT,
                "who": SUBJECT,
                "told": record_of(event),
            }
        )
        self._since += 1
        if len(self._pending) >= TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Write what is pending, in one transaction.

        Raises
        ------
        ConfigurationError
            If another process wrote since the log was read: what was decided here may be wrong.
        """
        if not self._pending:
            return
        from sqlalchemy import func, insert, select

        from lightmill.workflow.store import tables as t

        e = t.events.c
        with self.engine.begin() as connection:
            newer = select(e.seq).where(e.seq > self.last, e.subject == SUBJECT)
            other = connection.execute(newer.where(e.subject_id.is_(None)).limit(1)).first()
            if other is not None:
                raise ConfigurationError(
                    "another process maintains this archive now",
                    place=self.engine.url.render_as_string(hide_password=True),
                    found=f"event {other.seq}, written meanwhile",
                    remedy="let it finish; what this one did will be done again where it is owed",
                )
            connection.execute(insert(t.events), self._pending)
            self.last = int(connection.execute(select(func.max(e.seq))).scalar() or 0)
        self._pending = []
