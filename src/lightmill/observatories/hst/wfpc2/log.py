"""The log in an archive store: the table of events, which can only be appended to.

The store is the one of operations, SQLite or PostgreSQL; nothing is added to it. Events are written
many at a time: a state can be read from any beginning of the log, and what a killed run had done but
not written is owed still, and done again by the next.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lightmill.errors import ConfigurationError
from lightmill.observatories.hst.wfpc2.events import Event, event_of, record_of
from lightmill.observatories.hst.wfpc2.fold import apply
from lightmill.observatories.hst.wfpc2.rules import Rules
from lightmill.observatories.hst.wfpc2.state import State

__all__ = ["EventLog"]

SUBJECT = "wfpc2"
TOGETHER = 500  # events in one transaction


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

    def close(self) -> None:
        """Write what is pending, and give the connections back."""
        self.flush()
        self.engine.dispose()

    def read(self) -> Iterator[Event]:
        """Yield all events, from the first on.

        Yields
        ------
        event : Event
            As it was written.
        """
        from sqlalchemy import select

        from lightmill.workflow.store import tables as t

        query = select(t.events.c.seq, t.events.c.told).where(t.events.c.subject == SUBJECT)
        with self.engine.connect().execution_options(reads_only=True) as connection:
            rows = connection.execution_options(yield_per=1000).execute(
                query.order_by(t.events.c.seq)
            )
            for seq, told in rows:
                self.last = seq
                yield event_of(told)

    def state(self, rules: Rules | None = None) -> State:
        """Return the state the log adds up to.

        Parameters
        ----------
        rules : Rules, optional
            Tolerances.

        Returns
        -------
        state : State
            Of the archive now.
        """
        state = State(rules)
        for event in self.read():
            apply(state, event)
        return state

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
            other = connection.execute(
                select(e.seq).where(e.seq > self.last, e.subject == SUBJECT).limit(1)
            ).first()
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
