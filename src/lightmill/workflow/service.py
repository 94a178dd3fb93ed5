"""The loop that makes an observatory run: take in, put together, start, collect.

It holds nothing that is not in the store or on disk. Killed at any instant, it goes on where it
was: what ran on is adopted, what vanished is tried again, what was delivered is still there.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from lightmill.errors import LightmillError
from lightmill.workflow.arrivals import Delivered, Gate, archived, checksum, removed
from lightmill.workflow.conditions import Expectations
from lightmill.workflow.dispatch import RESERVE_MB, Dispatch, Maker
from lightmill.workflow.engines import Engine
from lightmill.workflow.lock import alone
from lightmill.workflow.patience import Patience, Unavailable
from lightmill.workflow.store import Arrival, Store, TaskPlan, Verdict
from lightmill.workflow.store.wholeness import expect_no_more, short_and_quiet

__all__ = ["Planner", "Service", "Ticked"]

log = logging.getLogger("lightmill.workflow")

BATCH = 200  # files taken in by one transaction
TIDY = 300.0  # s; 0.1 s of work. By itself Python waits until a quarter of all objects are garbage


class Planner(Maker, Protocol):
    """What the service asks of those who know instruments, pipelines and rules of association.

    Attributes
    ----------
    planned_from : collection of str
        Suffixes of products that `associations` looks at, beside exposures. Such a product belongs
        to a candidate, as exposures do.
    """

    planned_from: Collection[str]

    def arrivals(self, files: Sequence[Delivered]) -> list[Arrival | LightmillError]:
        """Say what files are, or what is wrong with each; `path` is left empty."""

    def first_stage(self, arrival: Arrival) -> TaskPlan | None:
        """Return the task that begins with a file by itself."""

    def associations(
        self, program: str, candidates: Sequence[str], rows: Sequence[Any]
    ) -> list[TaskPlan]:
        """Return the tasks of candidates, given what the program has: `Store.exposures_of`."""

    def is_whole(self, candidate: str, rows: Sequence[Any]) -> bool:
        """Say whether each exposure that headers announce has come, from some detector or other."""


@dataclass
class Ticked:
    """What one turn of the loop did."""

    taken: int = 0
    refused: int = 0
    planned: int = 0
    started: int = 0
    ended: int = 0

    def __bool__(self) -> bool:
        """Say whether it did anything."""
        return any((self.taken, self.refused, self.planned, self.started, self.ended))


class Service:
    """An observatory's service.

    Parameters
    ----------
    root : Path
        Folder of the observatory, with ``archive`` and ``jobs``.
    store : Store
    engine : Engine or None
        Where jobs run; None: what is delivered is taken in, and another process does the rest.
    planner : Planner
    gate : Gate, optional
        The folder where files are delivered; none: only jobs are looked after.
    expectations : Expectations, optional
        When the exposures of a candidate are taken for all.
    reserve_mb : float
        No job is started while less of the disk than this is free.
    """

    def __init__(
        self,
        root: Path,
        store: Store,
        engine: Engine | None,
        planner: Planner,
        *,
        gate: Gate | None = None,
        expectations: Expectations | None = None,
        reserve_mb: float = RESERVE_MB,
    ) -> None:
        self.root, self.store, self.engine, self.planner = root, store, engine, planner
        self.gate, self.expectations = gate, expectations or Expectations()
        self.archive = root / "archive"
        self.dispatch = (
            None
            if engine is None
            else Dispatch(root, store, engine, planner, reserve_mb=reserve_mb)
        )
        self._refused: dict[Path, tuple[int, int]] = {}
        self._not_whole: dict[int, float] = {}  # candidate → when it changed last before the look

    def close(self) -> None:
        """Let go of the engine, whose work runs on, of the store and of the folder."""
        if self.gate is not None:
            self.gate.close()
        if self.engine is not None:
            self.engine.close()
        self.store.close()

    # -- the loop --------------------------------------------------------------------------------

    def tick(self) -> Ticked:
        """Do everything that can be done now; never wait."""
        done = Ticked()
        if self.dispatch is not None:
            done.ended = self.dispatch.collect()
        if self.gate is not None:
            self._take(self.gate.complete(), done)
        if self.dispatch is not None:
            done.planned = self.associate()
            done.started = self.dispatch.start()
        return done

    def run(
        self,
        *,
        until_idle: float | None = None,
        pause: float = 0.5,
        told: Callable[[Ticked], None] | None = None,
        is_over: Callable[[], bool] = lambda: False,
    ) -> None:
        """Turn until told to end.

        While the store or the archive cannot be used, it waits: what arrives stays where it is
        delivered, what runs goes on.

        Parameters
        ----------
        until_idle : float, optional
            Seconds without anything to do after which it ends by itself.
        pause : float
            Seconds between two turns that found nothing to do.
        told : callable, optional
            Told what each turn did.
        is_over : callable
            Asked at each turn.

        Raises
        ------
        ConfigurationError
            If another process looks after the jobs of this observatory.
        """
        with contextlib.ExitStack() as stack:
            if self.dispatch is not None:
                stack.enter_context(alone(self.dispatch.jobs))
            self._run(until_idle, pause, told, is_over)

    def _run(
        self,
        until_idle: float | None,
        pause: float,
        told: Callable[[Ticked], None] | None,
        is_over: Callable[[], bool],
    ) -> None:
        patience, is_sure, idle_since = Patience(), False, time.monotonic()
        tidied = idle_since
        while not is_over():
            if time.monotonic() - tidied >= TIDY:
                self._tidy()
                tidied = time.monotonic()
            try:
                if self.dispatch is not None and not is_sure:
                    self.dispatch.recover()
                is_sure = True
                done = self.tick()
                if told is not None:
                    told(done)
                is_idle = not done and self.is_idle()
            except Unavailable as error:
                is_sure = False  # of what was written last
                patience.wait(error, is_over)
                idle_since = time.monotonic()
                continue
            patience.over()
            if not is_idle:
                idle_since = time.monotonic()
            elif until_idle is not None and time.monotonic() - idle_since >= until_idle:
                return
            if not done:
                self.gate.wait(pause) if self.gate is not None else time.sleep(pause)

    def _tidy(self) -> None:
        """Let go of what a service that runs for months would gather."""
        self._refused = {path: state for path, state in self._refused.items() if path.exists()}
        self._not_whole.clear()
        gc.collect()

    def is_idle(self) -> bool:
        """Say whether nothing is delivered, queued or running, as far as it is this process's."""
        empty = self.gate is None or all(path in self._refused for path in self.gate.waiting())
        return empty and (self.dispatch is None or self.store.is_idle())

    # -- what arrives ----------------------------------------------------------------------------

    def ingest(self, paths: Sequence[Path], *, keep: bool = True) -> dict[str, int]:
        """Take files in; return how many had which verdict.

        Parameters
        ----------
        paths : sequence of Path
        keep : bool
            Leave them where they are.
        """
        counts: dict[str, int] = {}
        for first in range(0, len(paths), BATCH):
            for verdict in self._ingest(paths[first : first + BATCH], keep=keep):
                name = verdict.value if verdict is not None else "refused"
                counts[name] = counts.get(name, 0) + 1
        return counts

    def _take(self, paths: Sequence[Path], done: Ticked) -> None:
        new = [path for path in paths if self._refused.get(path) != _state(path)]
        for first in range(0, len(new), BATCH):
            verdicts = self._ingest(new[first : first + BATCH], keep=False)
            done.taken += sum(one is not None for one in verdicts)
            done.refused += sum(one is None for one in verdicts)

    def _ingest(self, paths: Sequence[Path], *, keep: bool) -> list[Verdict | None]:
        """Take one batch in; None for what was refused."""
        delivered: list[Delivered | LightmillError] = []
        for path in paths:
            try:
                delivered.append(checksum(path))
            except LightmillError as error:
                delivered.append(error)
        good = [one for one in delivered if isinstance(one, Delivered)]
        facts = iter(self.planner.arrivals(good))
        taken: list[tuple[Path, Arrival]] = []
        verdicts: list[Verdict | None] = [None] * len(paths)
        places = []
        for number, (path, one) in enumerate(zip(paths, delivered, strict=True)):
            arrival = next(facts) if isinstance(one, Delivered) else one
            try:
                if isinstance(arrival, LightmillError):
                    raise arrival
                assert isinstance(one, Delivered)
                arrival = replace(
                    arrival, path=archived(one, self.archive, arrival.program, keep=keep)
                )
            except Unavailable:
                raise
            except LightmillError as error:
                self._refuse(path, error)
                continue
            taken.append((path, arrival))
            places.append(number)
        found = self.store.ingest([one for _, one in taken], self.planner.first_stage)
        for number, (path, _), verdict in zip(places, taken, found, strict=True):
            verdicts[number] = verdict
            if not keep:
                self.gate.take_away(path) if self.gate is not None else removed(path)
        return verdicts

    def _refuse(self, path: Path, error: LightmillError) -> None:
        """Leave a file where it is, and say so once."""
        state = _state(path)
        if self._refused.get(path) == state:
            return
        self.store.tell("FileRefused", {"path": path.name, "reason": str(error)})
        self._refused[path] = state
        log.warning("%s is not taken in: %s", path.name, error)

    # -- associations ----------------------------------------------------------------------------

    def associate(self) -> int:
        """Make the associations of candidates that are due; return how many changed."""
        made = 0
        programs: dict[str, list[Any]] = {}
        expectations, late = self.expectations, []
        self._look_for_whole()
        for row in self.store.due_candidates(expectations.quiet, expectations.waits):
            if expectations.late == "give up" and row.present < (row.expected or 0):
                late.append(row)
                continue
            programs.setdefault(row.program, []).append(row)
        if late:
            self.store.give_up(late)
        for program, rows in programs.items():
            plans = self.planner.associations(
                program,
                [row.name for row in rows],
                self.store.exposures_of(program, self.planner.planned_from),
            )
            made += len(self.store.plan(plans, candidates=rows, program=program)) or len(rows)
        return made + len(late)

    def _look_for_whole(self) -> None:
        """Find candidates that only lack what no header has announced; each is looked at once."""
        whole = []
        for row in short_and_quiet(self.store, self.expectations.whole):
            if self._not_whole.get(row.id) == row.changed_at:
                continue
            if self.planner.is_whole(row.name, self.store.exposures_of(row.program)):
                whole.append(row)
            else:
                self._not_whole[row.id] = row.changed_at
        if whole:
            expect_no_more(self.store, whole)


def _state(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (-1, -1)
    return found.st_size, found.st_mtime_ns
