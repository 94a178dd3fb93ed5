import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from lightmill import app
from lightmill.cli import main
from lightmill.cli.process import parsed
from lightmill.errors import DataError, UsageError
from lightmill.pipeline.runner import Outcome, Status


@pytest.fixture
def called(monkeypatch):
    """What `lightmill.app.run` was called with, and what it is to answer."""
    seen = SimpleNamespace(answer=None, target=None, inputs=None)

    def run(target, inputs, **options):
        seen.target, seen.inputs, seen.options = target, inputs, options
        if seen.answer is None:
            return [
                Outcome(Status.DONE, written=[Path(f"{p.stem}_rate.fits")], input=p.name)
                for p in inputs
            ]
        return seen.answer

    monkeypatch.setattr(app, "run", run)
    return seen


def ended(capsys, *typed):
    with pytest.raises(SystemExit) as caught:
        main(["run", *typed])
    said = capsys.readouterr()
    return caught.value.code, said.out, said.err


def test_parameters_and_overrides_may_stand_anywhere():
    inputs, parameters, overrides = parsed(
        [
            "a.fits",
            "--steps.jump.rejection-threshold=5",
            "--save_results",
            "true",
            "b.fits",
            "--override_dark=d.fits",
            "--override-gain",
            "N/A",
            "--",
            "--odd.fits",
        ]
    )

    assert inputs == [Path("a.fits"), Path("b.fits"), Path("--odd.fits")]
    assert parameters == {"steps.jump.rejection_threshold": "5", "save_results": "true"}
    assert overrides == {"dark": "d.fits", "gain": "N/A"}


def test_a_value_may_hold_an_equals_sign_or_be_negative():
    _, parameters, _ = parsed(["--post-hooks=!tool --x=3 {0}", "--offset", "-3"])

    assert parameters == {"post_hooks": "!tool --x=3 {0}", "offset": "-3"}


@pytest.mark.parametrize("typed", [["--save_results"], ["--a", "--b=1"], ["-x"]])
def test_a_parameter_without_value_is_refused(typed):
    with pytest.raises(UsageError):
        parsed(typed)


def test_every_option_reaches_the_application(called, capsys):
    status, out, _ = ended(
        capsys,
        *("jwst::calwebb_detector1", "raw/a_uncal.fits", "--steps.jump.skip=true"),
        *("--skip", "ipc", "--skip", "rscd", "--start-at", "jump", "--stop_after=ramp_fit"),
        *("--resume", "--output_dir", "out", "--save-parameters", "p.asdf", "-j", "3"),
        *("--threads", "2", "--dry-run", "--cache-dir", "c", "--override-dark=d.fits"),
    )

    assert status == 0
    assert called.target == "calwebb_detector1"
    assert called.inputs == [Path("raw/a_uncal.fits")]
    assert called.options["parameters"] == {"steps.jump.skip": "true"}
    assert called.options["overrides"] == {"dark": "d.fits"}
    wanted = {
        "skip": ["ipc", "rscd"],
        "start_at": "jump",
        "stop_after": "ramp_fit",
        "resume": True,
        "output_dir": Path("out"),
        "save_parameters": Path("p.asdf"),
        "jobs": 3,
        "threads": 2,
        "dry_run": True,
        "cache_dir": Path("c"),
    }
    assert {key: called.options[key] for key in wanted} == wanted
    assert "a_uncal.fits: would run" in out


def test_the_skip_parameter_of_a_single_step_is_not_a_step_name(called, capsys):
    ended(capsys, "jump", "a.fits", "--skip=true")

    assert called.options["skip"] == []
    assert called.options["parameters"] == {"skip": "true"}


@pytest.mark.usefixtures("called")
def test_each_input_has_a_line(capsys):
    _, out, _ = ended(capsys, "jump", "a.fits", "b.fits")

    assert out.splitlines() == ["a.fits: DONE → a_rate.fits", "b.fits: DONE → b_rate.fits"]


def test_the_record_of_a_run_that_fails_names_its_steps_and_parameters(capsys, tmp_path):
    from lightmill.testing import write_exposure

    raw = write_exposure(tmp_path / "night", rate=5.0, shape=(32, 32), seed=1).path
    record = tmp_path / "record.json"

    status, *_ = ended(
        capsys, "lantern_ramps", str(raw), "--record", str(record),
        "--steps.jump.rejection_threshold=5.5", "--output-dir", str(tmp_path / "out"),
    )  # fmt: skip

    assert status != 0
    (told,) = json.loads(record.read_text())["outcomes"]
    assert (told["status"], told["error"]["code"]) == ("FAILED", "incomplete-references")
    assert told["error"]["exit_status"] == status
    steps = {step["name"]: step for step in told["record"]["steps"]}
    assert steps["jump"]["status"] == "PLANNED"
    assert steps["jump"]["parameters"]["rejection_threshold"] == {
        "value": 5.5,
        "origin": "command line",
    }


@pytest.mark.usefixtures("called")
def test_the_record_of_several_runs_has_them_all(capsys, tmp_path):
    record = tmp_path / "record.json"

    ended(capsys, "jump", "a.fits", "b.fits", "--record", str(record))

    told = json.loads(record.read_text())["outcomes"]
    assert [one["input"] for one in told] == ["a.fits", "b.fits"]


@pytest.mark.usefixtures("called")
def test_quiet_says_nothing(capsys):
    assert ended(capsys, "jump", "a.fits", "--quiet") == (0, "", "")


def test_one_failed_input_does_not_hide_the_others(called, capsys):
    error = DataError("too bright", place="b.fits")
    called.answer = [
        Outcome(Status.DONE, input="a.fits"),
        Outcome(Status.FAILED, error=error, input="b.fits"),
    ]

    status, out, err = ended(capsys, "jump", "a.fits", "b.fits")

    assert status == 3
    assert "a.fits: DONE" in out
    assert error.story() in err
    assert "1 of 2 inputs failed" in err


def test_machines_get_json(called, capsys):
    called.answer = [Outcome(Status.SKIPPED, reason="asked for", input="a.fits")]

    _, out, _ = ended(capsys, "jump", "a.fits", "--json")

    (told,) = json.loads(out)["outcomes"]
    assert (told["input"], told["status"], told["reason"]) == ("a.fits", "SKIPPED", "asked for")


def test_no_input_is_a_usage_error(called, capsys):
    assert ended(capsys, "jump")[0] == 2
    assert called.target is None


@pytest.mark.usefixtures("called")
def test_a_log_configuration_of_old_is_heeded(capsys, tmp_path):
    config = tmp_path / "log.cfg"
    config.write_text(f"[*]\nhandler = file:{tmp_path / 'run.log'}\nlevel = DEBUG\n")

    status, _, _ = ended(capsys, "jump", "a.fits", f"--logcfg={config}")

    assert status == 0
    assert (tmp_path / "run.log").exists()


def test_a_run_starts_without_what_only_failures_need(tmp_path):
    program = (
        "import os, sys\nfrom lightmill.cli import main\n"
        "try: main(['run', 'jump', sys.argv[1], '-q'])\nexcept SystemExit as end: assert end.code == 3\n"
        "print(sorted(sys.modules), sorted(os.environ))"
    )
    environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "no.fits"],
        capture_output=True,
        text=True,
        env=environment,
    )

    assert "'lightmill.pipeline.runner'" in done.stdout
    for needless in ("email", "importlib.metadata", "numpy.ma", "numpy.random", "subprocess"):
        assert f"'{needless}'" not in done.stdout
    assert "'OPENBLAS_NUM_THREADS'" not in done.stdout
