"""What a campaign made, into the archive: as if the observatory's service had run its jobs."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select

from lightmill.workflow.campaign.folder import Campaign
from lightmill.workflow.engines import Ended, Work
from lightmill.workflow.engines.interface import result_of
from lightmill.workflow.jobs import Describer, outcome_of
from lightmill.workflow.machine import NotNow, Reprocess, Retry
from lightmill.workflow.states import DatasetState, JobState, TaskState
from lightmill.workflow.store import Outcome, Store
from lightmill.workflow.store import tables as t
from lightmill.workflow.store.records import chunks
from lightmill.workflow.worker import JOB_FILE

__all__ = ["ENGINE", "Taken", "take_in"]

ENGINE = "campaign"
SEEN = (JobState.DONE, JobState.FAILED, JobState.LOST, JobState.CANCELLED)
Told = tuple[str, str]


@dataclass
class Taken:
    """What became of the steps of a campaign.

    Attributes
    ----------
    counts : Counter of str
        ``taken``: recorded now; ``failed``: so were attempts that failed; ``known``: recorded before;
        ``not done``: no attempt has ended; ``passed over``: the observatory has gone on meanwhile.
    passed_over : dict of int to str
        Step → why it was passed over.
    """

    counts: Counter[str] = field(default_factory=Counter)
    passed_over: dict[int, str] = field(default_factory=dict)


def take_in(campaign: Campaign, store: Store, root: Path, describer: Describer) -> Taken:
    """Record what a campaign has made so far; doing it again does no harm.

    Parameters
    ----------
    campaign : Campaign
        It may still run.
    store : Store
    root : Path
        Folder of the observatory, with ``archive`` and ``jobs``.
    describer : Describer

    Returns
    -------
    taken : Taken
        What became of each step.
    """
    taken = Taken()
    taking = _Taking(campaign, store, root, describer)
    for number in campaign.rules:
        done = campaign.done(number)
        found = "not done"
        for attempt in campaign.attempts(number):
            if done is not None and attempt == done.attempt:
                inputs: Mapping[str, str] | None = done.inputs
            else:
                inputs = None
            verdict, why = taking.attempt(number, attempt, inputs)
            found = verdict or found
            if why:
                taken.passed_over[number] = why
        taken.counts[found] += 1
    return taken


class _Taking:
    """Attempts of a campaign into a store, one by one."""

    def __init__(self, campaign: Campaign, store: Store, root: Path, describer: Describer) -> None:
        self.campaign, self.store, self.describer = campaign, store, describer
        self.archive, self.jobs = root / "archive", root / "jobs"

    def attempt(self, number: int, attempt: int, inputs: Mapping[str, str] | None) -> Told:
        """Record one attempt; return what became of it, and why it was passed over.

        Parameters
        ----------
        number, attempt : int
        inputs : mapping of str to str or None
            Checksums of what it was made of, if the step was done by it.
        """
        handle = f"{self.campaign.identity}/{number}/{attempt}"
        if self._is_known(handle, (JobState.DONE,) if inputs is not None else SEEN):
            return "known", ""
        folder = self.campaign.job(number, attempt)
        ended = result_of(Work(number, folder, 0.0))
        is_good = ended is not None and not ended.reason and ended.exit_status == 0
        if ended is None or (is_good and inputs is None):
            return "", ""  # it runs, or nobody saw it end
        if inputs is not None:
            changed = self._changed(inputs)
            if changed:
                return "passed over", f"{changed} is not what it was when the step was done"
        job_id, why = self._job(number)
        if not job_id:
            return "passed over", why
        if not self._record(job_id, folder, ended, handle, inputs):
            return "passed over", "the observatory has begun with its task"
        return "taken" if is_good else "failed", ""

    def _is_known(self, handle: str, states: Sequence[JobState]) -> bool:
        j = t.jobs.c
        with self.store.reading() as connection:
            found = connection.execute(
                select(j.id).where(j.engine == ENGINE, j.handle == handle, j.state.in_(states))
            ).first()
        return found is not None

    def _changed(self, inputs: Mapping[str, str]) -> str:
        """Return the name of an input of which another generation is current now."""
        d = t.datasets.c
        current: dict[str, str] = {}
        with self.store.reading() as connection:
            for some in chunks(sorted(inputs)):
                query = select(d.name, d.sha256)
                is_one = d.name.in_(some) & (d.state == DatasetState.CURRENT)
                current |= {row.name: row.sha256 for row in connection.execute(query.where(is_one))}
        return next((name for name in sorted(inputs) if current.get(name) != inputs[name]), "")

    def _job(self, number: int) -> tuple[int, str]:
        """Return the job of a task that an attempt can be recorded with, else 0 and why there is none."""
        state, job_id = self._state(number)
        if state in {TaskState.READY, TaskState.RUNNING} and job_id:
            return job_id, ""
        event = {
            TaskState.FAILED: Retry(),
            TaskState.STALE: Reprocess("a campaign did it again"),
            TaskState.DONE: Reprocess("a campaign did it again"),
        }.get(state)
        if event is None or (state is not TaskState.FAILED and not self.campaign.is_again):
            return 0, f"its task is {state}"
        try:
            self.store.apply(number, event)
        except NotNow as error:
            return 0, str(error)
        state, job_id = self._state(number)
        return job_id, "" if job_id else f"its task is {state}"

    def _state(self, number: int) -> tuple[TaskState, int]:
        """Return the state of a task, and its job that is queued, or runs only for a campaign."""
        k, j = t.tasks.c, t.jobs.c
        with self.store.reading() as connection:
            state = connection.execute(select(k.state).where(k.id == number)).scalar()
            job_id = connection.execute(
                select(j.id)
                .where(
                    j.task_id == number,
                    (j.state == JobState.QUEUED)
                    | ((j.state == JobState.RUNNING) & (j.engine == ENGINE)),
                )
                .order_by(j.number.desc())
            ).scalar()
        return TaskState(state) if state else TaskState.SUPERSEDED, int(job_id or 0)

    def _record(
        self,
        job_id: int,
        folder: Path,
        ended: Ended,
        handle: str,
        inputs: Mapping[str, str] | None,
    ) -> bool:
        """Write an attempt down as the job of a task; say whether that could be."""
        told = json.loads((folder / JOB_FILE).read_text(encoding="utf-8"))
        memory = told["memory_limit_mb"] or 0.0
        if not self.store.start(job_id, ENGINE, memory, told["command"]) and not self._is_ours(
            job_id
        ):
            return False
        self.store.submitted(job_id, handle)
        used = {one.name: one.sha256 for one in self.store.inputs_of(job_id)}
        if inputs is not None and any(inputs.get(name) != used[name] for name in used):
            outcome = Outcome(False, "an input changed at this moment", is_transient=True)
        else:
            this = Ended(
                job_id, ended.exit_status, ended.reason, ended.is_lost, ended.is_out_of_memory,
                ended.peak_mb, ended.cpu_s, ended.outputs,
            )  # fmt: skip
            outcome = outcome_of(this, folder, self.archive, self.describer, self.store.inputs_of)
        _keep(folder, self.jobs / str(job_id))
        self.store.finish(job_id, outcome)
        return True

    def _is_ours(self, job_id: int) -> bool:
        """Say whether a job was begun for a campaign, by somebody who did not come to its end."""
        j = t.jobs.c
        is_so = (j.id == job_id) & (j.engine == ENGINE) & (j.state == JobState.RUNNING)
        with self.store.reading() as connection:
            return connection.execute(select(j.id).where(is_so)).first() is not None


def _keep(folder: Path, target: Path) -> None:
    """Have the folder of an attempt where those of the observatory's own jobs are."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(folder, target, symlinks=True, copy_function=_linked)


def _linked(source: str, target: str) -> str:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # another file system
        shutil.copy2(source, target, follow_symlinks=False)
    return target
