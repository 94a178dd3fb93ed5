"""The folder of a job: what is put into it before, and what is taken from it afterwards."""

from __future__ import annotations

import itertools
import json
import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from lightmill.errors import DataError, LightmillError
from lightmill.workflow.arrivals import Delivered, archived
from lightmill.workflow.engines import Ended
from lightmill.workflow.patience import Unavailable
from lightmill.workflow.store.values import Arrival, Outcome, Startable
from lightmill.workflow.worker import CANCELLED, JOB_FILE, LOG_FILE

__all__ = ["LEAST_MB", "Commander", "Describer", "outcome_of", "prepared"]

NO_ROOM = ("No space left on device", "Disk quota exceeded")
TRANSIENT = ("Connection refused", "Connection reset", "Stale file")
TAIL = 4000  # bytes of a log that are looked at
LEAST_MB = 400.0  # that any job needs


class Commander(Protocol):
    """Who knows what runs a job."""

    def command(self, job: Startable, folder: Path) -> tuple[list[str], float]:
        """Write what a job needs into its folder; return words to run there, and memory [MB]."""


class Describer(Protocol):
    """Who knows what products are."""

    def products(
        self, files: Sequence[Delivered], inputs: Sequence[Arrival]
    ) -> list[Arrival | None]:
        """Say what products of a job are; None for what stays in the job's folder."""

    def made_with(self, files: Sequence[Delivered]) -> Mapping[str, Any] | None:
        """Say what products were made with: software, steps, references; None if nobody knows."""


def prepared(
    job: Startable,
    folder: Path,
    sources: Mapping[str, Path],
    commander: Commander,
    *,
    largest_mb: float = math.inf,
) -> tuple[list[str], float]:
    """Make the folder of a job anew: links to its inputs, and what it is to run.

    Parameters
    ----------
    job : Startable
    folder : Path
        What is in it is removed.
    sources : mapping of str to Path
        Name of each input → where it is.
    commander : Commander
    largest_mb : float
        That any job may have where it is to run [1e6 byte].

    Returns
    -------
    command : list of str
        Words to run in the folder.
    memory : float
        That it is promised [1e6 byte]: what the commander says that it needs, more after attempts
        that had too little. With more it is stopped.
    """
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "in").mkdir(parents=True)
    (folder / "out").mkdir()
    for name, source in sources.items():
        try:
            os.link(source, folder / "in" / name)
        except OSError:
            (folder / "in" / name).symlink_to(source.resolve())
    command, memory = commander.command(job, folder)
    memory = min(max(LEAST_MB, memory) * job.memory_factor, largest_mb)
    content = {"command": command, "memory_limit_mb": round(memory, 1)}
    (folder / JOB_FILE).write_text(json.dumps(content, indent=1))
    return command, memory


def outcome_of(
    one: Ended,
    folder: Path,
    archive: Path,
    describer: Describer,
    inputs_of: Callable[[int], Sequence[Arrival]],
    *,
    is_full: bool = False,
    is_largest: bool = False,
) -> Outcome:
    """Put the products of a job into the archive, and say how it ended.

    Parameters
    ----------
    one : Ended
    folder : Path
        Of the job.
    archive : Path
    describer : Describer
    inputs_of : callable
        Returns what a job was made of, given its number.
    is_full : bool
        There is no room on the disk, which a job may not have been able to say.
    is_largest : bool
        The job had all the memory that any may have: one that had too little is not tried again.

    Raises
    ------
    Unavailable
        If they cannot be put into the archive now.
    """
    facts: Mapping[str, Any] = {
        "exit_status": one.exit_status, "peak_mb": one.peak_mb, "cpu_s": one.cpu_s
    }  # fmt: skip
    if one.reason or one.exit_status != 0:
        failed = _failure(one, folder, is_full=is_full)
        if failed.is_out_of_memory and is_largest:
            reason = f"{failed.reason}; no job may have more here"
            failed = replace(failed, reason=reason, is_out_of_memory=False, is_transient=False)
        return replace(failed, **facts)
    files = [Delivered(folder / output.path, output.sha256, output.size) for output in one.outputs]
    try:
        products = tuple(
            replace(arrival, path=archived(file, archive, arrival.program))
            for file, arrival in zip(
                files, describer.products(files, inputs_of(one.job_id)), strict=True
            )
            if arrival is not None
        )
    except Unavailable:
        raise
    except LightmillError as error:
        return Outcome(False, str(error), is_transient=True, **facts)
    return Outcome(True, products=products, made_with=describer.made_with(files), **facts)


def _failure(one: Ended, folder: Path, *, is_full: bool) -> Outcome:
    """Say how a job ended that did not end well."""
    tail = _tail(folder / LOG_FILE)
    reason = one.reason or f"exit status {one.exit_status}"
    told = _last_words(tail)
    blamed = told.partition(": ")[0] if one.exit_status == DataError.exit_status else ""
    story = f"{reason}: {told}" if told else reason
    if one.reason == CANCELLED or not (is_full or any(words in tail + reason for words in NO_ROOM)):
        passing = one.is_lost or any(words in tail for words in TRANSIENT)
        killed = one.exit_status is None or one.exit_status < 0
        return Outcome(
            False, story, is_transient=passing or killed, is_out_of_memory=one.is_out_of_memory,
            is_lost=one.is_lost, blamed=blamed,
        )  # fmt: skip
    shutil.rmtree(folder / "out", ignore_errors=True)  # what it began to write takes room, too
    return Outcome(False, f"the disk was full: {story}", is_no_fault=True, is_lost=one.is_lost)


def _last_words(tail: str) -> str:
    """Return what a log says at its end: of a story the fact, and what was found."""
    lines = tail.rstrip().splitlines()
    if not lines:
        return ""
    indented = list(itertools.takewhile(lambda line: line.startswith("    "), reversed(lines)))
    if len(indented) == len(lines):  # it begins before what was read of the log
        return lines[-1].strip()
    found = [" ".join(line.split()) for line in indented if line.strip().startswith("found:")]
    return ", ".join([lines[-1 - len(indented)].strip(), *found])


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
