"""What every engine must fulfil, ours or a centre's own.

An engine is tested in four lines::

    from lightmill.testing.engines import EngineConformance

    class TestOurEngine(EngineConformance):
        def engine(self, cores, memory_mb):
            return OurEngine(cores, memory_mb)

Jobs wait for files that a test makes, tests wait for what jobs do; how fast either is does not
matter.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from lightmill.workflow import processes
from lightmill.workflow.engines.interface import Ended, Engine, NoRoomError, Work, claimed_by
from lightmill.workflow.worker import JOB_FILE

__all__ = ["PATIENCE", "EngineConformance", "ended_of", "make_work", "until"]

PATIENCE = 120.0  # s until a job that waits, or a test, gives up
SAYS_IT_RUNS = "import os, sys, time; open('running', 'w').write(str(os.getpid())); "
WAITS = (
    SAYS_IT_RUNS + f"end = time.monotonic() + {PATIENCE}\n"
    "while not os.path.exists('go'):\n"
    "    time.sleep(0.02)\n"
    "    assert time.monotonic() < end\n"
)
NAMES = (
    "with blanks.fits",
    'it\'s "quoted".fits',
    "two\nlines.fits",
    "-rf",
    "$(reboot).fits",
    "é.fits",
)


class EngineConformance:
    """Tests of an engine; a subclass makes it.

    Attributes
    ----------
    outlives_service : bool
        What runs goes on when the engine is let go. Where it does not, it ends with it.
    """

    outlives_service = True

    def engine(self, cores: int, memory_mb: float) -> Engine:
        """Return a new engine with this much room."""
        raise NotImplementedError

    def again(self, engine: Engine, cores: int, memory_mb: float) -> Engine:
        """Return a new engine after an old one was let go, as after a restart of the service."""
        engine.close()
        return self.engine(cores, memory_mb)

    @contextlib.contextmanager
    def _engine(self) -> Iterator[Engine]:
        engine = self.engine(2, 1000.0)
        try:
            yield engine
        finally:
            engine.close(kill=True)

    def test_a_job_that_ends_well_hands_over_what_it_made(self, tmp_path: Path) -> None:
        """Outputs have name, path, checksum and size; the end is told once."""
        work = make_work(tmp_path, 1, "print('hello'); open('out/a_rate.fits', 'w').write('light')")
        with self._engine() as engine:
            engine.submit(work)
            ended = ended_of(engine, work)

            assert engine.ended() == []
        assert (ended.exit_status, ended.reason, ended.is_lost) == (0, "", False)
        (output,) = ended.outputs
        assert (output.name, output.path, output.size) == ("a_rate.fits", "out/a_rate.fits", 5)
        assert output.sha256 == hashlib.sha256(b"light").hexdigest()
        assert ended.peak_mb is not None
        assert ended.peak_mb > 1
        assert ended.cpu_s is not None
        assert (work.folder / "log.txt").read_text(encoding="utf-8") == "hello\n"

    def test_a_job_that_fails_says_with_which_status(self, tmp_path: Path) -> None:
        """What it had made by then is no product."""
        work = make_work(tmp_path, 1, "open('out/a', 'w').close(); exit(3)")
        with self._engine() as engine:
            engine.submit(work)
            ended = ended_of(engine, work)
        assert (ended.exit_status, ended.is_lost, ended.is_out_of_memory) == (3, False, False)
        assert "3" in ended.reason
        assert ended.outputs == ()

    def test_a_command_that_is_killed_is_not_a_lost_job(self, tmp_path: Path) -> None:
        """The signal is told."""
        work = make_work(tmp_path, 1, "import os; os.kill(os.getpid(), 9)")
        with self._engine() as engine:
            engine.submit(work)
            ended = ended_of(engine, work)
        assert (ended.exit_status, ended.is_lost) == (-signal.SIGKILL, False)
        assert "SIGKILL" in ended.reason

    def test_a_worker_that_is_killed_is_a_lost_job(self, tmp_path: Path) -> None:
        """Nothing it ran outlives it."""
        work = make_work(tmp_path, 1, WAITS)
        with self._engine() as engine:
            engine.submit(work)
            command = handle_of_command(work)
            assert processes.send(claimed_by(work), signal.SIGKILL)
            ended = ended_of(engine, work)
            until(lambda: not processes.is_running(command))
        assert (ended.exit_status, ended.is_lost) == (None, True)
        assert ended.reason

    def test_a_job_over_its_memory_is_stopped_and_says_so(self, tmp_path: Path) -> None:
        """It can be tried again with more."""
        code = f"import time; kept = bytearray(300_000_000); time.sleep({PATIENCE})"
        work = make_work(tmp_path, 1, code, memory_limit_mb=100)
        with self._engine() as engine:
            engine.submit(work)
            ended = ended_of(engine, work)
        assert ended.is_out_of_memory
        assert not ended.is_lost
        assert "memory" in ended.reason
        assert ended.exit_status != 0

    def test_a_cancelled_job_stops(self, tmp_path: Path) -> None:
        """With all it started."""
        work = make_work(tmp_path, 1, WAITS)
        with self._engine() as engine:
            handle = engine.submit(work)
            command = handle_of_command(work)
            engine.cancel(handle)
            ended = ended_of(engine, work)

            assert not processes.is_running(command)
            assert (ended.reason, ended.is_lost, ended.outputs) == ("cancelled", False, ())
            engine.cancel(handle)  # once more does no harm
            assert engine.ended() == []

    def test_as_many_run_at_a_time_as_there_are_cores(self, tmp_path: Path) -> None:
        """Two on two, not three."""
        works = [make_work(tmp_path, number, WAITS) for number in (1, 2, 3)]
        with self._engine() as engine:
            assert engine.room().cores == 2
            for work in works[:2]:
                engine.submit(work)
            for work in works[:2]:
                handle_of_command(work)  # both run

            assert engine.room().cores == 0
            try:
                engine.submit(works[2])
            except NoRoomError:
                pass
            else:
                raise AssertionError("a third job was taken")
            (works[0].folder / "go").touch()
            assert ended_of(engine, works[0]).exit_status == 0
            assert engine.room().cores == 1
            (works[1].folder / "go").touch()
            assert ended_of(engine, works[1]).exit_status == 0

    def test_a_job_that_is_too_large_is_not_taken(self, tmp_path: Path) -> None:
        """There never is room for it; and what is promised is no room for others."""
        with self._engine() as engine:
            before = engine.room()
            assert before.memory_mb <= before.largest_mb
            large = make_work(tmp_path, 1, WAITS, memory_mb=before.largest_mb + 1)
            try:
                engine.submit(large)
            except NoRoomError:
                pass
            else:
                raise AssertionError("it was taken")
            assert not (large.folder / "result.json").exists()
            assert engine.room().cores == before.cores

    def test_what_runs_is_adopted_after_a_restart(self, tmp_path: Path) -> None:
        """And told when it ends; so is what ended while nobody looked."""
        runs, ends = (make_work(tmp_path, number, WAITS) for number in (1, 2))
        first = self.engine(2, 1000.0)
        handles = [first.submit(work) for work in (runs, ends)]
        command = handle_of_command(runs)
        (ends.folder / "go").touch()
        until((ends.folder / "result.json").exists)
        second = self.again(first, 2, 1000.0)
        try:
            assert second.adopt(ends, handles[1])
            assert ended_of(second, ends).exit_status == 0
            assert second.adopt(runs, handles[0]) is self.outlives_service
            if self.outlives_service:
                (runs.folder / "go").touch()
                assert ended_of(second, runs).exit_status == 0
            until(lambda: not processes.is_running(command))
            assert second.ended() == []
        finally:
            second.close(kill=True)

    def test_what_nobody_works_on_is_not_adopted(self, tmp_path: Path) -> None:
        """Neither by a handle of old, nor by none or another engine's."""
        work = make_work(tmp_path, 1, WAITS)
        with self._engine() as engine:
            for handle in ("", "1:1", "job-1-0"):
                assert not engine.adopt(work, handle)
            assert engine.ended() == []

    def test_names_of_products_are_only_names(self, tmp_path: Path) -> None:
        """Whatever is in them."""
        code = f"for name in {list(NAMES)!r}: open('out/' + name, 'w').write(name)"
        work = make_work(tmp_path, 1, code)
        with self._engine() as engine:
            engine.submit(work)
            ended = ended_of(engine, work)
        assert ended.reason == ""
        assert sorted(one.name for one in ended.outputs) == sorted(NAMES)
        for one in ended.outputs:
            content = (work.folder / one.path).read_bytes()
            assert one.sha256 == hashlib.sha256(content).hexdigest()
            assert content.decode() == one.name

    def test_a_link_is_no_product(self, tmp_path: Path) -> None:
        """It is named, and not followed."""
        (tmp_path / "secret").write_text("secret", encoding="utf-8")
        code = (
            "import os; os.symlink('../../secret', 'out/a link.fits'); open('out/b', 'w').close()"
        )
        work = make_work(tmp_path, 1, code)
        with self._engine() as engine:
            engine.submit(work)
            ended = ended_of(engine, work)
        assert "a link.fits" in ended.reason
        assert ended.outputs == ()


def make_work(
    place: Path, job_id: int, code: str, *, memory_mb: float = 100.0, **more: Any
) -> Work:
    """Return a job that runs a piece of Python.

    Parameters
    ----------
    place : Path
        Where its folder is made.
    job_id : int
    code : str
    memory_mb : float
    **more
        For ``job.json``.
    """
    folder = place / str(job_id)
    (folder / "out").mkdir(parents=True)
    told = {"command": [sys.executable, "-c", code], **more}
    (folder / JOB_FILE).write_text(json.dumps(told), encoding="utf-8")
    return Work(job_id, folder, memory_mb)


def until(is_so: Callable[[], Any]) -> None:
    """Wait until something is so, but not for ever."""
    end = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


def ended_of(engine: Engine, work: Work) -> Ended:
    """Wait until a job has ended and no other has; return how."""
    found: list[Ended] = []

    def has_ended() -> bool:
        found.extend(engine.ended())
        return bool(found)

    until(has_ended)
    (ended,) = found
    assert ended.job_id == work.job_id
    return ended


def handle_of_command(work: Work) -> str:
    """Wait until a job's command runs that says so; return its process's handle."""
    path = work.folder / "running"
    until(lambda: path.exists() and path.read_text(encoding="utf-8"))
    handle = processes.handle_of(int(path.read_text(encoding="utf-8")))
    assert handle
    return handle
