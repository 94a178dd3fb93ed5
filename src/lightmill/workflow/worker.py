"""Run one job: ``python -m lightmill.workflow.worker FOLDER``.

The folder holds ``job.json``::

    {"command": ["words", "of", "it"], "memory_limit_mb": 2000, "expects": ["a_rate.fits"]}

The command runs in the folder, without a shell, with what it says in ``log.txt``. When it has ended,
and nothing that it started runs on, ``result.json`` is written in one go. Whoever finds that file
knows how the job ended; whoever finds the worker gone without it knows that the job is lost. A folder
is worked on once: a worker that finds another's ``worker.json`` touches nothing.

Stopped are the command and all that it started: when the worker is told to (SIGTERM, or a file
``cancel`` in the folder), when they use more memory than they may, and, by the kernel and a guard,
when the worker itself is killed. Standard library only, quick to start.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lightmill.errors import ConfigurationError
from lightmill.workflow import processes
from lightmill.workflow.outputs import listed, written

__all__ = ["CANCELLED", "CANCEL_FILE", "CLAIM_FILE", "JOB_FILE", "LOG_FILE", "RESULT_FILE", "Job",
           "Result", "main", "read_job", "run"]  # fmt: skip

JOB_FILE, LOG_FILE, RESULT_FILE = "job.json", "log.txt", "result.json"
CLAIM_FILE = "worker.json"  # who works on the folder
CANCEL_FILE = "cancel"  # if it is there, the job is to stop
CANCELLED = "cancelled"

PAUSE = 0.25  # s between two looks at the memory; longer where looking takes long
ROOM_PAUSE = 1.0  # s between two tries to write the result where the disk is full
GRACE = 10.0  # s from the request to stop to the command's end by force
FULL = 1_000_000  # bytes; with less free, the disk is why a command failed
TAIL = 4096  # bytes at the end of a log that are searched for what says "no memory"
TAIL_LINES = 10
NAMED = 5  # of what is refused, in a reason
NO_MEMORY = (
    "MemoryError", "std::bad_alloc", "Cannot allocate memory", "there is not enough memory",
    "exceeded memory limit", "Out of memory",
)  # fmt: skip
STOPS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
AWAITED = STOPS | {signal.SIGCHLD}
NOT_STARTED, NOT_FOUND, WRONG_JOB = 126, 127, 5  # exit statuses, the first two as shells have them
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Job:
    """What ``job.json`` asks for.

    Attributes
    ----------
    command : list of str
    memory_limit_mb : float or None
        That command and children may have together [1e6 byte].
    expects : list of str
        Files that must be in ``out/`` afterwards.
    """

    command: list[str]
    memory_limit_mb: float | None = None
    expects: list[str] = field(default_factory=list)


@dataclass
class Result:
    """What ``result.json`` says.

    Attributes
    ----------
    exit_status : int or None
        Of the command, minus the signal if one killed it; None if it never began.
    reason : str
        Why it did not end well; empty if it did.
    is_cancelled, is_out_of_memory, is_lost : bool
    peak_mb, cpu_s : float or None
        Of the command and its children [1e6 byte, s].
    wall_s : float
        [s]
    host : str
    outputs : list of dict
        name, path, sha256 and size of each file in ``out/``, if it ended well.
    refused : list of dict
        name of what is in ``out/`` and is no product, and why.
    """

    exit_status: int | None = None
    reason: str = ""
    is_cancelled: bool = False
    is_out_of_memory: bool = False
    is_lost: bool = False
    peak_mb: float | None = None
    cpu_s: float | None = None
    wall_s: float = 0.0
    host: str = field(default_factory=socket.gethostname)
    outputs: list[dict[str, Any]] = field(default_factory=list)
    refused: list[dict[str, str]] = field(default_factory=list)


def read_job(folder: Path) -> Job:
    """Return what a folder's ``job.json`` asks for.

    Raises
    ------
    ConfigurationError
        If it is not there, or not as it should be.
    """
    path = folder / JOB_FILE
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError("the job cannot be read", place=path, found=error) from error
    told = told if isinstance(told, dict) else {}
    words, limit = told.get("command"), told.get("memory_limit_mb")
    expects = told.get("expects") or []
    if not _are_words(words) or not words:
        raise ConfigurationError(
            "the job has no command", place=path, found=words, expected="a list of words"
        )
    if not _are_words(expects):
        raise ConfigurationError(
            "expects is no list of names", place=path, found=expects, expected="names of files"
        )
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int | float)):
        raise ConfigurationError(
            "the limit is no number", place=path, found=limit, expected="memory_limit_mb [MB]"
        )
    return Job(words, None if limit is None else float(limit), expects)


def run(folder: Path, *, cores: int | None = None, is_guest: bool = False) -> Result:
    """Run the job of a folder, and say how it ended; nothing is written but log and outputs.

    Parameters
    ----------
    folder : Path
    cores : int, optional
        Threads that numerical libraries may use, where the environment does not say.
    is_guest : bool
        The worker runs in a place that others can take from it, such as a job of a batch system:
        a signal to stop without the file ``cancel`` then is a lost job, not a cancelled one.
    """
    try:
        job = read_job(folder)
    except ConfigurationError as error:
        return Result(WRONG_JOB, str(error))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, AWAITED)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # had it been ignored, no child could be awaited
    try:
        return _Run(folder, job, before, cores, is_guest).result()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def main(words: Sequence[str] | None = None) -> None:
    """Work on the folder that the command line names.

    Parameters
    ----------
    words : sequence of str, optional
        ``[--cores N] [--parent PID] FOLDER``; with a parent, the worker does not outlive
        it, and is its guest.
    """
    import argparse

    parser = argparse.ArgumentParser(prog="python -m lightmill.workflow.worker", description=main.__doc__.splitlines()[0])  # type: ignore[union-attr]  # it has one  # fmt: skip
    parser.add_argument("--cores", type=int)
    parser.add_argument("--parent", type=int)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args(words)
    if given.parent is not None:
        processes.dies_with(given.parent)
    folder: Path = given.folder.resolve()
    if not _claimed(folder):
        return
    result = run(folder, cores=given.cores, is_guest=given.parent is not None)
    while not _told(folder, result):
        time.sleep(ROOM_PAUSE)


def _told(folder: Path, result: Result) -> bool:
    """Write the result; say whether the disk had room for it."""
    try:
        written(folder / RESULT_FILE, json.dumps(asdict(result), indent=1))
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return False  # the work is done, and need not be lost
        raise
    return True


class _Run:
    """One command, from its start to the end of the last process it left behind."""

    def __init__(
        self, folder: Path, job: Job, mask: set[Any], cores: int | None, is_guest: bool
    ) -> None:
        self.folder, self.job, self.mask = folder, job, mask
        self.cores, self.is_guest = cores, is_guest
        self.peak_mb = 0.0
        self.over_mb: float | None = None  # what it had when it was stopped for it
        self.stop_at: float | None = None  # when it is stopped by force
        self.guard: subprocess.Popen[bytes] | None = None

    def result(self) -> Result:
        """Run it."""
        if self._is_cancelled():
            return Result(reason=CANCELLED, is_cancelled=True)
        (self.folder / "out").mkdir(exist_ok=True)
        killed, began = processes.kills_for_memory(), time.monotonic()
        processes.become_reaper()
        try:
            child = self._start()
        except FileNotFoundError as error:
            return Result(NOT_FOUND, f"the command is not there: {error}")
        except (OSError, ValueError) as error:
            return Result(NOT_STARTED, f"the command cannot be started: {error}")
        self._watch(child.pid)
        status, peak_mb = self._end(child)
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        result = Result(
            status,
            peak_mb=round(max(self.peak_mb, peak_mb), 1),
            cpu_s=round(usage.ru_utime + usage.ru_stime, 3),
            wall_s=round(time.monotonic() - began, 3),
        )
        self._judge(result, killed)
        return result

    # -- start, watch, end -----------------------------------------------------------------------

    def _start(self) -> subprocess.Popen[bytes]:
        worker, mask = os.getpid(), self.mask

        def prepare() -> None:
            processes.dies_with(worker)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

        threads = {} if self.cores is None else dict.fromkeys(THREADS, str(self.cores))
        with (self.folder / LOG_FILE).open("ab") as log:
            child = subprocess.Popen(  # noqa: S603 - what the job says, without a shell
                self.job.command, cwd=self.folder, env={**threads, **os.environ},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                preexec_fn=prepare,  # noqa: PLW1509 - the worker has one thread
            )  # fmt: skip
        # The kernel kills the command with the worker; the guard, whose input ends then, the rest.
        self.guard = subprocess.Popen(  # noqa: S603 - the words are ours, and a number
            ["/bin/sh", "-c", 'read _; kill -s KILL -- "-$0"', str(child.pid)],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        return child

    def _watch(self, pid: int) -> None:
        """Wait until the command has ended, it may be by us."""
        pause = PAUSE
        while not self._has_ended(pid):
            got = signal.sigtimedwait(AWAITED, pause)
            now = time.monotonic()
            if got is not None and got.si_signo == signal.SIGCHLD:
                continue
            if self.stop_at is None and (got is not None or self._is_cancelled()):
                self.stop_at = now + GRACE
                self._kill(signal.SIGTERM)
            elif self.stop_at is not None and now >= self.stop_at:
                self._kill(signal.SIGKILL)
            self._look()
            pause = max(PAUSE, 20 * (time.monotonic() - now))

    def _is_cancelled(self) -> bool:
        return (self.folder / CANCEL_FILE).exists()

    def _has_ended(self, pid: int) -> bool:
        """Reap what ended but the command itself; say whether that has ended too."""
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        if os.waitid(os.P_PID, pid, options) is not None:
            return True
        while (one := os.waitid(os.P_ALL, 0, options)) is not None and one.si_pid != pid:
            os.waitpid(one.si_pid, 0)
        return one is not None

    def _look(self) -> None:
        """Note how much memory is in use; stop what has too much."""
        found = self._all()
        used, limit = processes.resident_mb(found), self.job.memory_limit_mb
        if limit is not None and used > limit and len(found) > 1:
            used = processes.resident_mb(found, shared_once=True)
        self.peak_mb = max(self.peak_mb, used)
        if limit is not None and used > limit and self.stop_at is None:
            self.over_mb, self.stop_at = used, time.monotonic()
            self._kill(signal.SIGKILL)

    def _all(self) -> list[processes.Process]:
        """Return the command and everything that came of it."""
        guard = self.guard.pid if self.guard is not None else 0
        found = processes.below(os.getpid(), processes.snapshot())
        return [one for one in found if one.pid != guard]

    def _kill(self, number: signal.Signals) -> None:
        for one in self._all():
            processes.send(f"{one.pid}:{one.started}", number)

    def _end(self, child: subprocess.Popen[bytes]) -> tuple[int, float]:
        """End what the command left behind; return its exit status and its peak [1e6 byte]."""
        while self._all():
            self._kill(signal.SIGKILL)
            signal.sigtimedwait({signal.SIGCHLD}, 0.05)
            self._has_ended(child.pid)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if self.guard is not None:
            self.guard.kill()
            self.guard.communicate()
        return child.returncode, usage.ru_maxrss * 1024 / 1e6

    # -- what became of it -----------------------------------------------------------------------

    def _judge(self, result: Result, killed: int | None) -> None:
        """Say why it did not end well, or list what it made."""
        status = result.exit_status
        assert status is not None
        if self.over_mb is not None:
            result.is_out_of_memory = True
            result.reason = (
                f"out of memory: it had {self.over_mb:.0f} MB and may have "
                f"{self.job.memory_limit_mb:.0f} MB"
            )
        elif self.stop_at is not None and self.is_guest and not self._is_cancelled():
            result.is_lost, result.reason = True, "stopped by the machine that it ran on"
        elif self.stop_at is not None:
            result.is_cancelled, result.reason = True, CANCELLED
        elif status != 0:
            result.reason = _ending(status)
            if shutil.disk_usage(self.folder).free < FULL:  # it may not have been able to say so
                result.reason = f"No space left on device: {result.reason}"
            if _is_for_memory(status, killed) or _says_no_memory(self.folder / LOG_FILE):
                result.is_out_of_memory = True
                result.reason = f"out of memory: {result.reason}"
        else:
            result.outputs, result.refused = listed(self.folder, "out")
            missing = [name for name in self.job.expects if not _has(result.outputs, name)]
            if result.refused:
                told = "; ".join(f"{one['name']!r}: {one['why']}" for one in result.refused[:NAMED])
                told += f"; and {more} more" if (more := len(result.refused) - NAMED) > 0 else ""
                result.reason, result.outputs = f"refused as a product: {told}", []
            elif missing:
                names = ", ".join(map(repr, missing))
                result.reason, result.outputs = f"it did not make {names}", []


def _claimed(folder: Path) -> bool:
    """Take the folder; say whether it was free."""
    told = {"pid": os.getpid(), "handle": processes.handle_of(os.getpid()), "host": socket.gethostname()}  # fmt: skip
    return written(folder / CLAIM_FILE, json.dumps(told), is_new=True)


def _are_words(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(one, str) and "\0" not in one for one in value
    )


def _has(outputs: list[dict[str, Any]], name: str) -> bool:
    return any(one["path"] == f"out/{name}" for one in outputs)


def _ending(status: int) -> str:
    """Return an exit status in words."""
    if status >= 0:
        return f"exit status {status}"
    with contextlib.suppress(ValueError):
        return f"killed by signal {-status} ({signal.Signals(-status).name})"
    return f"killed by signal {-status}"


def _is_for_memory(status: int, before: int | None) -> bool:
    """Say whether the kernel's want of memory is why it ended.

    The kernel counts whom it kills for that. Where it does not tell, a kill that nobody here asked
    for, of the command (-9) or of what it waited for (128 + 9), is taken for one.
    """
    now = processes.kills_for_memory()
    if before is None or now is None:
        return status in {-signal.SIGKILL, 128 + signal.SIGKILL}
    return now > before


def _says_no_memory(log: Path) -> bool:
    """Say whether the last lines of a log complain of memory."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL))
            lines = file.read().decode("utf-8", "replace").splitlines()[-TAIL_LINES:]
    except OSError:
        return False
    return any(words in line for line in lines for words in NO_MEMORY)


if __name__ == "__main__":
    main(sys.argv[1:])
