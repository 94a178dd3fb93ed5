"""What an operator is told of a task that failed or waits, and how many can be seen to at once."""

import logging
from pathlib import Path

import pytest

pytest.importorskip("alembic", reason="operations need the extra `operations`")

import yaml

from lightmill.cli.main import main
from lightmill.cli.ops.place import site_of
from lightmill.workflow.dispatch import Dispatch
from lightmill.workflow.engines.interface import Ended
from lightmill.workflow.store import Arrival, Outcome, Store, TaskPlan

RAW, RATE = "jw90001001001_02101_00001_nis_uncal.fits", "jw90001001001_02101_00001_nis_rate.fits"
ASN = "jw90001-o001_image2_00001_asn.json"
OTHER = "jw90002001001_02101_00001_nis_uncal.fits"


def run(*words):
    with pytest.raises(SystemExit) as left:
        main([*map(str, words)])
    return left.value.code or 0


@pytest.fixture
def site(tmp_path):
    """An observatory with two first stages, and an association that waits for one of them."""
    root = tmp_path / "site"
    assert run("ops", "init", "--root", root, "--observatory", "JWST") == 0
    store = Store(root)
    arrivals = [
        Arrival(name, str(n) * 64, 2880, "2026-01-01", f"{n}", "exposure", "uncal", name[2:7])
        for n, name in enumerate((RAW, OTHER))
    ]
    store.ingest(
        arrivals,
        lambda one: TaskPlan(
            f"exposure|{one.name}", one.name, "exposure", 1, "calwebb_detector1",
            {one.name: "science"}, one.program,
        ),
    )  # fmt: skip
    name = RATE.removesuffix("_rate.fits")
    document = {"products": [{"name": name, "members": [{"expname": RATE, "exptype": "science"}]}]}
    store.plan([TaskPlan("90001|o001|r|x", ASN, "image2", 2, "calwebb_image2", {RATE: "science"},
                         "90001", "o001", document=document)])  # fmt: skip
    store.close()
    return root


def fail(site, count=1, *, transient=False):
    """Let the first jobs fail, with a log."""
    store = Store(site)
    for job in store.startable()[:count]:
        folder = site / "jobs" / str(job.job_id)
        folder.mkdir(parents=True)
        (folder / "log.txt").write_text("".join(f"line {n}\n" for n in range(40)) + "\x1b[2Jend\n")
        store.start(job.job_id, "local", 400.0, ["lightmill", "run"])
        story = "exit status 3: no group is usable"
        store.finish(job.job_id, Outcome(False, story, is_transient=transient))
    store.close()


def test_a_failed_task_tells_the_end_of_its_log_and_how_to_go_on(site, capsys):
    fail(site)

    assert run("ops", "why", "1", "--root", site) == 0

    told = capsys.readouterr().out
    assert "FAILED" in told
    assert "exit status 3: no group is usable" in told
    assert "lightmill ops retry 1" in told
    assert "| line 39" in told
    assert "line 20" not in told  # the end only
    assert "\x1b" not in told  # a log cannot play with the terminal


def test_an_association_that_waits_says_which_task_is_to_blame(site, capsys):
    fail(site)

    assert run("ops", "why", "3", "--root", site) == 0

    told = capsys.readouterr().out
    assert f"MISSING {RATE}" in told
    assert "task 1 makes it: FAILED since" in told
    assert "no group is usable" in told


def test_an_exposure_that_was_set_aside_says_why_and_how_it_comes_back(site, capsys):
    store = site_of(site).opened()  # as it was made: bad exposures are set aside
    job = store.startable()[0]
    store.start(job.job_id, "local", 400.0, ["lightmill", "run"])
    story = f"exit status 3: in/{RAW}[SCI]: every pixel is flagged"
    store.finish(job.job_id, Outcome(False, story, blamed=f"in/{RAW}[SCI]", exit_status=3))
    store.close()

    assert run("ops", "why", "1", "--root", site) == 0

    told = capsys.readouterr().out
    assert f"in quarantine ({story})" in told
    assert f"lightmill ops accept {RAW}" in told
    assert "ops retry" not in told  # before the file is back there is nothing to try again


def test_all_that_failed_for_one_cause_are_tried_again_at_once(site, capsys):
    fail(site, 2)

    assert run("ops", "retry", "--state", "failed", "--program", "90002", "--root", site) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "2: READY"
    assert run("ops", "retry", "--state", "failed", "--root", site) == 0
    assert capsys.readouterr().out == "1: READY\n"
    assert run("ops", "retry", "--state", "failed", "--root", site) == 0
    assert capsys.readouterr().out == "no task is FAILED\n"


@pytest.mark.parametrize(
    "words", [(), ("1", "--state", "failed"), ("1", "--program", "90001"), ("--state", "faild")]
)
def test_an_action_on_nobody_knows_what_is_refused(site, words, capsys):
    fail(site)

    assert run("ops", "retry", *words, "--root", site) != 0

    assert capsys.readouterr().err


def test_a_state_that_does_not_exist_is_not_taken_for_none(site, capsys):
    assert run("ops", "tasks", "--state", "faild", "--root", site) != 0
    assert "did you mean 'failed'?" in capsys.readouterr().err


def test_paths_for_every_run_are_good_in_the_folders_of_jobs_too(tmp_path, monkeypatch):
    (tmp_path / "refs").mkdir()
    (tmp_path / "flat.fits").touch()
    monkeypatch.chdir(tmp_path)
    words = ("--crds-path=refs", "--override-flat=flat.fits", "--skip=refs", "--context=a/b", "x")

    assert run("ops", "init", "--root", "site", "--observatory", "JWST",
               *(f"--run={word}" for word in words)) == 0  # fmt: skip

    told = yaml.safe_load(Path("site", "observatory.yaml").read_text())["run"]
    assert told == [f"--crds-path={tmp_path}/refs", f"--override-flat={tmp_path}/flat.fits", *words[2:]]  # fmt: skip


class Ending:
    """An engine whose job ends at once, badly."""

    name = "ending"

    def ended(self):
        return [Ended(1, 3, "it is cloudy")]

    def room(self):
        raise NotImplementedError


@pytest.mark.parametrize("attempts", [1, 3])
def test_the_log_tells_of_a_task_that_somebody_has_to_see_to(site, attempts, caplog, monkeypatch):
    store = Store(site)
    store.policy = type(store.policy)(attempts=attempts)
    store.start(1, "local", 400.0, [])
    dispatch = Dispatch(site, store, Ending(), None)
    outcome = Outcome(False, "it is cloudy", is_transient=True)
    monkeypatch.setattr(dispatch, "_outcome", lambda _one: outcome)

    with caplog.at_level(logging.WARNING, "lightmill.workflow"):
        assert dispatch.collect() == 1

    store.close()
    told = "task 1 has failed: it is cloudy" in caplog.text
    assert told is (attempts == 1)  # else it is tried again by itself
