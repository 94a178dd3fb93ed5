"""A worker runs one job, says how it ended, and leaves nothing behind that runs."""

import json
import os
import signal
import subprocess
import sys

import pytest

from lightmill.errors import ConfigurationError
from lightmill.testing.engines import WAITS, handle_of_command, make_work, until
from lightmill.workflow import processes, worker
from lightmill.workflow.engines.interface import NoRoomError, claimed_by, result_of
from lightmill.workflow.engines.local import LocalEngine
from lightmill.workflow.outputs import listed, written

# A command with a child; the child says who it is, and both stay.
FORKS = "import os\nif os.fork():\n    os.waitpid(-1, 0)\nelse:\n    " + WAITS.replace(
    "\n", "\n    "
)


def worked(work, *words):
    """Let a worker run a job to its end; return its result."""
    words = [sys.executable, "-P", "-m", "lightmill.workflow.worker", *words, str(work.folder)]
    subprocess.run(words, check=True)
    return json.loads((work.folder / "result.json").read_text())


@pytest.fixture
def started():
    """Start workers that a test does not wait for."""
    children = []

    def start(work, *words):
        words = [sys.executable, "-P", "-m", "lightmill.workflow.worker", *words, str(work.folder)]
        children.append(subprocess.Popen(words))
        return children[-1]

    yield start
    for child in children:
        child.kill()
        child.wait()


def test_the_worker_needs_the_standard_library_alone():
    code = (
        "import sys, lightmill.workflow.worker; "
        "print({m.partition('.')[0] for m in sys.modules} - sys.stdlib_module_names)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    loaded = eval(answer.stdout)

    assert not {"numpy", "yaml", "click", "sqlalchemy", "astropy"} & loaded


def test_what_a_command_forked_dies_with_the_worker(tmp_path, started):
    work = make_work(tmp_path, 1, FORKS)
    child = started(work)
    forked = handle_of_command(work)

    child.kill()

    until(lambda: not processes.is_running(forked))
    assert result_of(work) is None


def test_a_worker_dies_with_the_parent_it_is_given(tmp_path):
    work = make_work(tmp_path, 1, WAITS)
    words = [sys.executable, "-P", "-m", "lightmill.workflow.worker", "--parent"]
    code = f"import os, subprocess; subprocess.run({words!r} + [str(os.getpid()), {str(work.folder)!r}])"
    parent = subprocess.Popen([sys.executable, "-c", code])
    command = handle_of_command(work)

    parent.kill()
    parent.wait()

    until(lambda: not processes.is_running(command))
    until(lambda: not processes.is_running(claimed_by(work)))
    assert result_of(work) is None


def test_what_left_the_session_is_stopped_with_the_command(tmp_path):
    lines = [
        "import os, time", "if not os.fork():", "    os.setsid()", "    if not os.fork():",
        "        open('running', 'w').write(str(os.getpid()))",
        "        time.sleep(100)", "    os._exit(0)", "while not os.path.exists('running'):",
        "    time.sleep(0.01)",
    ]  # fmt: skip
    work = make_work(tmp_path, 1, "\n".join(lines))

    result = worked(work)

    assert result["exit_status"] == 0
    pid = int((work.folder / "running").read_text())
    assert not processes.handle_of(pid) or not processes.is_running(processes.handle_of(pid))


def test_a_command_that_does_not_listen_is_stopped_by_force(tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "GRACE", 0.1)
    lines = [
        "import signal", "signal.signal(signal.SIGTERM, signal.SIG_IGN)", "open('cancel', 'w')", WAITS,
    ]  # fmt: skip
    work = make_work(tmp_path, 1, "\n".join(lines))

    result = worker.run(work.folder)

    assert (result.exit_status, result.reason) == (-signal.SIGKILL, "cancelled")


def test_a_signal_stops_the_command_and_a_result_says_so(tmp_path, started):
    work = make_work(tmp_path, 1, WAITS)
    child = started(work)
    handle_of_command(work)

    child.terminate()
    child.wait()

    ended = result_of(work)
    assert (ended.exit_status, ended.reason, ended.is_lost) == (-signal.SIGTERM, "cancelled", False)


def test_a_signal_to_a_guest_that_nobody_cancelled_is_a_lost_job(tmp_path, started):
    work = make_work(tmp_path, 1, WAITS)
    child = started(work, "--parent", str(os.getpid()))
    handle_of_command(work)

    child.terminate()
    child.wait()

    ended = result_of(work)
    assert (ended.exit_status, ended.is_lost) == (-signal.SIGTERM, True)


def test_a_job_that_is_cancelled_before_it_begins_does_not_begin(tmp_path):
    work = make_work(tmp_path, 1, "open('begun', 'w')")
    (work.folder / "cancel").touch()

    result = worked(work)

    assert (result["exit_status"], result["reason"]) == (None, "cancelled")
    assert not (work.folder / "begun").exists()


def test_a_folder_is_worked_on_once(tmp_path):
    work = make_work(tmp_path, 1, "open('count', 'a').write('.')")
    worked(work)
    (work.folder / "result.json").unlink()

    subprocess.run(
        [sys.executable, "-m", "lightmill.workflow.worker", str(work.folder)], check=True
    )

    assert (work.folder / "count").read_text() == "."
    assert not (work.folder / "result.json").exists()


def test_memory_is_that_of_all_processes_together(tmp_path):
    # Two children with 60 MB of their own: neither is above the limit, both are.
    lines = [
        "import os, time",
        "for _ in range(2):",
        "    if not os.fork():",
        "        kept = bytearray(os.urandom(1000)) * 60_000",
        "        time.sleep(100)",
        "os.wait()",
    ]
    work = make_work(tmp_path, 1, "\n".join(lines), memory_limit_mb=100)

    result = worked(work)

    assert result["is_out_of_memory"]
    assert result["peak_mb"] > 100


def test_memory_that_forked_processes_share_counts_once(tmp_path):
    # Three processes show 60 MB each, all of them the same. The command ends when the worker has
    # looked: its wish to stop, which the worker answers in the same turn, shows that it has.
    lines = [
        "import os, signal, time",
        "kept = bytearray(os.urandom(1000)) * 60_000",
        "for _ in range(2):",
        "    if not os.fork():",
        "        signal.signal(signal.SIGTERM, signal.SIG_IGN)",
        "        time.sleep(100)",
        "def stop(*_):",
        "    time.sleep(1)",
        "    os._exit(0)",
        "signal.signal(signal.SIGTERM, stop)",
        "open('cancel', 'w')",
        "while True: time.sleep(1)",
    ]
    work = make_work(tmp_path, 1, "\n".join(lines), memory_limit_mb=120)

    result = worked(work)

    assert not result["is_out_of_memory"]
    assert 60 < result["peak_mb"] < 120


@pytest.mark.parametrize(
    "words",
    ["MemoryError", "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 9 GiB",
     "terminate called after throwing an instance of 'std::bad_alloc'"],
)  # fmt: skip
def test_a_log_that_ends_with_want_of_memory_says_so(tmp_path, words):
    work = make_work(tmp_path, 1, f"print({words!r}); raise SystemExit(1)")

    assert worked(work)["is_out_of_memory"]


def test_want_of_memory_long_ago_is_not_why_it_failed(tmp_path):
    code = "print('MemoryError, trying with less'); print('next\\n' * 50); raise SystemExit(1)"
    work = make_work(tmp_path, 1, code)

    assert not worked(work)["is_out_of_memory"]


@pytest.mark.parametrize(
    ("counts", "status", "is_for_memory"),
    [((3, 3), -9, False), ((3, 4), -9, True), ((3, 4), 1, True), ((None, None), -9, True),
     ((None, None), 137, True), ((None, None), 1, False)],
)  # fmt: skip
def test_a_kill_by_the_kernel_is_told_from_another(monkeypatch, counts, status, is_for_memory):
    before, after = counts
    monkeypatch.setattr(processes, "kills_for_memory", lambda: after)

    assert worker._is_for_memory(status, before) is is_for_memory


def test_what_is_expected_must_be_there(tmp_path):
    work = make_work(tmp_path, 1, "open('out/b', 'w')", expects=["a_rate.fits", "b"])

    result = worked(work)

    assert result["exit_status"] == 0
    assert "'a_rate.fits'" in result["reason"]
    assert "'b'" not in result["reason"]
    assert result["outputs"] == []


def test_a_command_that_is_not_there_is_a_reason(tmp_path):
    work = make_work(tmp_path, 1, "")
    (work.folder / "job.json").write_text('{"command": ["no-such-program"]}')

    result = worked(work)

    assert result["exit_status"] == 127
    assert "no-such-program" in result["reason"]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"command": "ls"}', '{"command": []}', '{"command": ["a", 1]}',
     '{"command": ["a\\u0000"]}', '{"command": ["a"], "memory_limit_mb": "2 GB"}',
     '{"command": ["a"], "expects": "b"}'],
)  # fmt: skip
def test_a_job_that_cannot_be_read_is_refused(tmp_path, text):
    (tmp_path / "job.json").write_text(text)

    with pytest.raises(ConfigurationError, match=r"job\.json"):
        worker.read_job(tmp_path)
    assert worker.run(tmp_path).exit_status == 5


def test_the_command_is_not_read_by_a_shell(tmp_path):
    work = make_work(tmp_path, 1, "")
    (work.folder / "job.json").write_text(
        json.dumps({"command": ["/bin/echo", "$(touch x)", "; ls"]})
    )

    worked(work)

    assert (work.folder / "log.txt").read_text() == "$(touch x) ; ls\n"


def test_libraries_use_the_cores_a_job_has(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    work = make_work(tmp_path, 1, "import os; print(os.environ['OMP_NUM_THREADS'])")

    worked(work, "--cores", "3")

    assert (work.folder / "log.txt").read_text() == "3\n"


class TestOutputs:
    def test_files_below_are_found_and_folders_are_none(self, tmp_path):
        (tmp_path / "out/a/b").mkdir(parents=True)
        (tmp_path / "out/a/b/c.fits").write_text("c")

        outputs, refused = listed(tmp_path, "out")

        assert [one["path"] for one in outputs] == ["out/a/b/c.fits"]
        assert refused == []

    def test_pipes_links_and_names_that_are_no_text_are_refused(self, tmp_path):
        (tmp_path / "out").mkdir()
        os.mkfifo(tmp_path / "out/pipe")
        (tmp_path / "out/etc").symlink_to("/etc")
        (tmp_path / "out/hosts").symlink_to("/etc/hosts")
        (tmp_path / "out/nothing").symlink_to("nowhere")
        os.close(os.open(os.fsencode(tmp_path / "out") + b"/\xff.fits", os.O_CREAT))

        outputs, refused = listed(tmp_path, "out")

        assert outputs == []
        names = {one["name"]: one["why"] for one in refused}
        assert names == {
            "pipe": "no file", "etc": "a link", "hosts": "a link", "nothing": "a link",
            "\\xff.fits": "no text",
        }  # fmt: skip

    def test_a_folder_that_became_a_link_is_not_followed(self, tmp_path):
        (tmp_path / "out").symlink_to("/etc")

        assert listed(tmp_path, "out") == ([], [{"name": "out", "why": "no folder"}])

    def test_nothing_half_written_is_left(self, tmp_path):
        path = tmp_path / "result.json"

        assert written(path, "first", is_new=True)
        assert not written(path, "second", is_new=True)
        assert path.read_text() == "first"
        assert written(path, "third")
        assert [p.name for p in tmp_path.iterdir()] == ["result.json"]
        assert path.read_text() == "third"


class TestResults:
    @pytest.mark.parametrize(
        "text",
        ["", "{", "[]", "{}", '{"exit_status": 0}',
         json.dumps({
             "exit_status": 0, "reason": "", "is_lost": False, "is_out_of_memory": False,
             "peak_mb": 1, "cpu_s": 1,
             "outputs": [{"name": "passwd", "path": "out/../../x", "sha256": "", "size": 1}],
         })],
    )  # fmt: skip
    def test_one_that_is_damaged_is_a_lost_job(self, tmp_path, text):
        work = make_work(tmp_path, 1, "")
        (work.folder / "result.json").write_text(text)

        ended = result_of(work)

        assert ended.is_lost
        assert "cannot be read" in ended.reason


class TestProcessesOfThisMachine:
    def test_a_job_whose_handle_was_not_kept_is_adopted(self, tmp_path):
        work = make_work(tmp_path, 1, WAITS)
        first = LocalEngine(1, 500.0)
        first.submit(work)
        handle_of_command(work)
        first.close()
        second = LocalEngine(1, 500.0)
        try:
            assert second.adopt(work, "")
            assert second.room().cores == 0
        finally:
            second.close(kill=True)

    def test_memory_that_was_promised_is_no_room(self, tmp_path):
        work = make_work(tmp_path, 1, WAITS, memory_mb=300.0)
        engine = LocalEngine(2, 500.0)
        try:
            engine.submit(work)

            assert engine.room().cores == 1
            assert engine.room().memory_mb <= 200.0
            with pytest.raises(NoRoomError, match="at most 1 cores, 200 MB"):
                engine.submit(make_work(tmp_path, 2, WAITS, memory_mb=300.0))
        finally:
            engine.close(kill=True)

    def test_a_process_with_a_used_id_is_another(self):
        handle = processes.handle_of(os.getpid())
        pid, _, started = handle.partition(":")
        earlier = f"{pid}:{int(started) - 1}"

        assert processes.is_running(handle)
        assert not processes.is_running(earlier)
        assert not processes.send(earlier, signal.SIGKILL)

    def test_an_engine_without_cores_is_refused(self):
        with pytest.raises(ConfigurationError, match="a core and memory"):
            LocalEngine(0)

    def test_a_folder_without_a_job_is_refused(self, tmp_path):
        from lightmill.workflow.engines import Work

        with pytest.raises(ConfigurationError, match="holds no job"):
            LocalEngine(1, 500.0).submit(Work(1, tmp_path, 100.0))
