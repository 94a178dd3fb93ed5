"""The loop that makes an observatory run: take in, put together, start, collect.

It holds nothing that is not in the store or on disk. Killed at any instant, it goes on where it
was: what ran on is adopted, what vanished is tried again, what was delivered is still there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from lightmill.errors import LightmillError
from lightmill.workflow.arrivals import Delivered, Gate, archived, checksum, removed
from lightmill.workflow.engines import Ended, Engine, Work
from lightmill.workflow.jobs import outcome_of, prepared
from lightmill.workflow.store import Arrival, Outcome, Startable, Store, TaskPlan, Verdict

__all__ = ["Planner", "Service", "Ticked"]

log = logging.getLogger("lightmill.workflow")

BATCH = 200  # files taken in by one transaction


class Planner(Protocol):
    """What the service asks of those who know instruments, pipelines and rules of association."""

    def arrivals(self, files: Sequence[Delivered]) -> list[Arrival | LightmillError]:
        """Say what files are, or what is wrong with each; `path` is left empty."""

    def products(
        self, files: Sequence[Delivered], inputs: Sequence[Arrival]
    ) -> list[Arrival | None]:
        """Say what products of a job are; None for what stays in the job's folder."""

    def first_stage(self, arrival: Arrival) -> TaskPlan | None:
        """Return the task that begins with a file by itself."""

    def associations(
        self, program: str, candidates: Sequence[str], rows: Sequence[Any]
    ) -> list[TaskPlan]:
        """Return the tasks of candidates, given all exposures of the program."""

    def command(self, job: Startable, folder: Path) -> tuple[list[str], float]:
        """Write what a job needs into its folder; return words to run there, and memory [MB]."""


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
    engine : Engine
        Where jobs run.
    planner : Planner
    gate : Gate, optional
        The folder where files are delivered; none: only jobs are looked after.
    quiet : float
        Seconds without an arrival after which a candidate is taken as it is.
    """

    def __init__(
        self,
        root: Path,
        store: Store,
        engine: Engine,
        planner: Planner,
        *,
        gate: Gate | None = None,
        quiet: float = 60.0,
    ) -> None:
        self.root, self.store, self.engine, self.planner = root, store, engine, planner
        self.gate, self.quiet = gate, quiet
        self.archive, self.jobs = root / "archive", root / "jobs"
        self._refused: dict[Path, tuple[int, int]] = {}

    # -- the loop --------------------------------------------------------------------------------

    def recover(self) -> int:
        """Adopt the jobs that run since before this service began; return how many were lost."""
        lost = 0
        for job in self.store.unfinished():
            work = Work(job.id, self.jobs / str(job.id), job.memory_mb)
            if self.engine.adopt(work, job.handle):
                continue
            reason = "its process vanished while nobody looked after it"
            self.store.finish(job.id, Outcome(False, reason, is_transient=True, is_lost=True))
            lost += 1
        return lost

    def tick(self) -> Ticked:
        """Do everything that can be done now; never wait."""
        done = Ticked()
        done.ended = self._collect()
        if self.gate is not None:
            self._take(self.gate.complete(), done)
        done.planned = self.associate()
        done.started = self._start()
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
        """
        self.recover()
        idle_since = time.monotonic()
        while not is_over():
            done = self.tick()
            if told is not None:
                told(done)
            if done or not self.is_idle():
                idle_since = time.monotonic()
            elif until_idle is not None and time.monotonic() - idle_since >= until_idle:
                return
            if not done:
                time.sleep(pause)

    def is_idle(self) -> bool:
        """Say whether nothing is delivered, queued or running."""
        empty = self.gate is None or all(path in self._refused for path in self.gate.waiting())
        return empty and self.store.is_idle()

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
            except LightmillError as error:
                self._refuse(path, error)
                continue
            taken.append((path, arrival))
            places.append(number)
        found = self.store.ingest([one for _, one in taken], self.planner.first_stage)
        for number, (path, _), verdict in zip(places, taken, found, strict=True):
            verdicts[number] = verdict
            if not keep:
                removed(path, self.gate.sentinel if self.gate is not None else "")
        return verdicts

    def _refuse(self, path: Path, error: LightmillError) -> None:
        """Leave a file where it is, and say so once."""
        state = _state(path)
        if self._refused.get(path) == state:
            return
        self._refused[path] = state
        self.store.tell("FileRefused", {"path": path.name, "reason": str(error)})
        log.warning("%s is not taken in: %s", path.name, error)

    # -- associations ----------------------------------------------------------------------------

    def associate(self) -> int:
        """Make the associations of candidates that are due; return how many changed."""
        made = 0
        programs: dict[str, list[Any]] = {}
        for row in self.store.due_candidates(self.quiet):
            programs.setdefault(row.program, []).append(row)
        for program, rows in programs.items():
            plans = self.planner.associations(
                program, [row.name for row in rows], self.store.exposures_of(program)
            )
            made += len(self.store.plan(plans, candidates=rows, program=program)) or len(rows)
        return made

    # -- jobs ------------------------------------------------------------------------------------

    def _start(self) -> int:
        room = self.engine.room()
        if room.cores < 1:
            return 0
        started = 0
        for job in self.store.startable(max(1, room.cores)):
            folder = self.jobs / str(job.job_id)
            try:
                command, memory = self._prepared(job, folder)
            except (LightmillError, OSError) as error:
                if self.store.start(job.job_id, self.engine.name, 0.0, []):
                    is_transient = isinstance(error, OSError)
                    outcome = Outcome(False, str(error), is_transient=is_transient)
                    self.store.finish(job.job_id, outcome)
                continue
            room = self.engine.room()
            memory = min(memory, room.largest_mb)
            if room.cores < 1 or room.memory_mb < memory:
                break  # the next of this priority must not be overtaken for ever
            if not self.store.start(job.job_id, self.engine.name, memory, command):
                continue
            try:
                handle = self.engine.submit(Work(job.job_id, folder, memory, 1, job.priority))
            except (LightmillError, OSError) as error:
                outcome = Outcome(False, f"it could not be started: {error}", is_transient=True)
                self.store.finish(job.job_id, outcome)
                continue
            self.store.submitted(job.job_id, handle)
            started += 1
        return started

    def _prepared(self, job: Startable, folder: Path) -> tuple[list[str], float]:
        """Make the job's folder, from the archive."""
        sources = {name: self.archive / path for name, path in job.inputs.items()}
        return prepared(job, folder, sources, self.planner)

    def _collect(self) -> int:
        for job in self.store.unfinished():
            if job.is_cancelled and job.handle:
                self.engine.cancel(job.handle)
        count = 0
        for one in self.engine.ended():
            self.store.finish(one.job_id, self._outcome(one))
            count += 1
        return count

    def _outcome(self, one: Ended) -> Outcome:
        """Put the products of a job into the archive, and say how it ended."""
        folder = self.jobs / str(one.job_id)
        return outcome_of(one, folder, self.archive, self.planner, self.store.inputs_of)


def _state(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (-1, -1)
    return found.st_size, found.st_mtime_ns
