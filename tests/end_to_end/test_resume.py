"""A run that is killed goes on where it was, and ends with the same bytes."""

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from lightmill.testing import write_exposure

NAMES = ("mask", "saturation", "superbias", "linearity", "dark", "gain", "readnoise")

# A run as a process of its own. It tells how far it is, so that a test can kill it anywhere; the
# bands are small and each waits a little, so that there is something to interrupt.
RUN = textwrap.dedent(
    """
    import json, sys, time
    from lightmill import app, pipeline
    from lightmill.pipeline import bands
    from lightmill.testing.exposures import use_observatory

    use_observatory()
    path, out, overrides, target = sys.argv[1:]
    bands.BAND_BYTES = 1

    def tell(step, done, total):
        print(step, done, total, flush=True)
        time.sleep(0.01)

    overrides = json.loads(overrides)
    if target == "lantern_ramps":
        app.run(
            target, [path], parameters={"save_ramp": "true"}, overrides=overrides, output_dir=out,
            resume=True, progress=tell, threads=1,
        )
    else:
        from killed_pipeline import TwoFits
        pipeline.run(
            TwoFits, path, overrides=overrides, output_dir=out, save_results=True, resume=True,
            progress=tell, threads=1,
        )
    """
)

# An order that is not a list: the ramp is fitted as it is, and once more without its jumps.
PYTHON_PIPELINE = textwrap.dedent(
    """
    from lightmill.detector import DetectJumps, FitRamps, InitializeDq, SubtractSuperbias
    from lightmill.pipeline import Pipeline, Products


    class TwoFits(Pipeline):
        "Fit with and without the search for jumps."

        name = "two_fits"
        steps = {
            "dq_init": InitializeDq,
            "superbias": SubtractSuperbias,
            "jump": DetectJumps,
            "ramp_fit": FitRamps,
            "plain_fit": FitRamps,
        }

        def process(self, ramp):
            ramp = self.superbias(self.dq_init(ramp))
            fits = self.ramp_fit(self.jump(ramp))
            return Products(rate=fits["rate"], plain=self.plain_fit(ramp)["rate"])
    """
)


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """A raw file with its references, and a module with a pipeline."""
    folder = tmp_path_factory.mktemp("night")
    exposure = write_exposure(folder, rate=30.0, shape=(32, 32), n_ints=2, seed=4)
    (folder / "killed_pipeline.py").write_text(PYTHON_PIPELINE)
    return exposure


def start(night, out, target):
    names = NAMES if target == "lantern_ramps" else ("mask", "superbias", "gain", "readnoise")
    overrides = json.dumps({name: night.overrides[name] for name in names})
    paths = [str(night.path.parent), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [sys.executable, "-c", RUN, night.path, out, overrides, target],
        stdout=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "XDG_CACHE_HOME": str(Path(out).parent / "cache"),
        },
    )


def finished(process):
    """Let a run end; return how many bands it computed."""
    lines = process.stdout.read().splitlines()
    process.stdout.close()
    assert process.wait() == 0
    return len(lines)


def products(folder):
    return {p.name: p.read_bytes() for p in folder.glob("*.fits")}


def hidden(folder):
    return list(folder.rglob(".*.part"))


@pytest.mark.parametrize("target", ["lantern_ramps", "two_fits"])
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(night, tmp_path, target):
    whole = tmp_path / "whole"
    bands = finished(start(night, whole, target))
    wanted = products(whole)
    assert len(wanted) == (3 if target == "lantern_ramps" else 2)

    for moment in random.Random(7).sample(range(1, bands), 2):
        out = tmp_path / f"killed_{moment}"
        process = start(night, out, target)
        for _ in range(moment):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.stdout.close()
        process.wait()
        # What is visible now is whole.
        assert products(out).items() <= wanted.items()

        finished(start(night, out, target))

        assert products(out) == wanted
        assert not hidden(out)


@pytest.fixture(scope="module")
def whole(night, tmp_path_factory):
    """Products of an uninterrupted run, and how many bands it computed."""
    out = tmp_path_factory.mktemp("whole") / "out"
    return finished(start(night, out, "lantern_ramps")), products(out)


def test_a_run_killed_late_computes_only_the_rest(night, whole, tmp_path):
    out, bands = tmp_path / "out", whole[0]
    process = start(night, out, "lantern_ramps")
    for _ in range(bands):
        line = process.stdout.readline()
        if line.startswith("ramp_fit"):
            break
    process.send_signal(signal.SIGKILL)
    process.stdout.close()
    process.wait()

    again = finished(start(night, out, "lantern_ramps"))

    assert again < bands / 2


def test_two_runs_at_once_do_not_disturb_each_other(night, whole, tmp_path):
    out = tmp_path / "both"

    first = start(night, out, "lantern_ramps")
    second = start(night, out, "lantern_ramps")
    finished(first)
    finished(second)

    assert products(out) == whole[1]
