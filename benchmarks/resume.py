"""Kill a run at random moments; every resumed product must be the same to the last byte.

    python -m benchmarks resume --kills 20

Two pipelines take turns: stage 1, whose order is a list, and `benchmarks.two_fits`, whose order is
Python and branches. After each kill every visible product is compared with that of an uninterrupted
run, and after resuming nothing may be left that the kill had interrupted.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

from benchmarks import cases
from benchmarks.measure import table

TARGETS = {
    "calwebb_detector1": ["--save-calibrated-ramp=true"],
    "benchmarks.two_fits:TwoFits": [],
}
TWO_FITS = ("dq_init", "saturation", "linearity", "dark_current", "jump", "ramp_fit", "plain_fit")


def contents(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each product."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.glob("*.fits"))
    }


def command_for(bench: cases.Bench, case: Path, target: str, out: Path) -> list[str]:
    chosen = cases.step_options(case)
    if target != "calwebb_detector1":
        steps = json.loads((case / "overrides.json").read_text())
        chosen = [
            f"--override-{name.removeprefix('override_')}={value}"
            for step, values in steps.items()
            for name, value in values.items()
            if step in TWO_FITS and name.startswith("override_")
        ]
    source = str(case / "uncal.fits")
    where = ["--output-dir", str(out), "--resume"]
    return [*bench.command, "run", target, source, *where, *TARGETS[target], *dict.fromkeys(chosen)]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cases.add_arguments(parser)
    parser.add_argument("--case", type=Path, help="a case folder (default: makes a full-frame one)")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    bench = cases.Bench(options)
    case = (
        options.case.resolve()
        if options.case
        else bench.case("niriss-full-1x8-s1", "--inst", "niriss", "--seed", "1")
    )
    work = bench.logs.parent / "resume"
    shutil.rmtree(work, ignore_errors=True)
    paths = [str(Path.cwd()), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}

    def start(target: str, out: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command_for(bench, case, target, out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
        )

    wanted, wall = {}, {}
    for target in TARGETS:
        began = time.perf_counter()
        out = work / f"whole-{len(wanted)}"
        if start(target, out).wait():
            raise SystemExit(
                f"the uninterrupted run failed: {command_for(bench, case, target, out)}"
            )
        wall[target], wanted[target] = time.perf_counter() - began, contents(out)
        print(
            f"{target}: {wall[target]:.2f} s without interruption, {len(wanted[target])} products"
        )
    dice = random.Random(options.seed)
    rows, bad = [], 0
    for turn in range(options.kills):
        target = list(TARGETS)[turn % 2]
        out = work / "killed"
        shutil.rmtree(out, ignore_errors=True)
        moment = dice.uniform(0.1, 1.0) * wall[target]
        process = start(target, out)
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        process.wait()
        visible = contents(out)
        partial = [n for n, h in visible.items() if wanted[target].get(n) != h]
        hidden = len(list(out.rglob(".*.part")))
        kept = len([p for p in out.glob(".lightmill/*") if not p.name.startswith(".")])
        began = time.perf_counter()
        failed = start(target, out).wait()
        took = time.perf_counter() - began
        same = not failed and contents(out) == wanted[target]
        left = len(list(out.rglob(".*.part")))
        bad += bool(partial) + (not same) + bool(left)
        verdict = "identical" if same else "DIFFERENT"
        rows.append(
            [turn + 1, target.rpartition(":")[2], f"{moment:.2f}", len(visible), len(partial),
             kept, hidden, f"{took:.2f}", verdict, left]
        )  # fmt: skip
    heads = ["kill", "pipeline", "at, s", "visible", "of these partial", "checkpoints",
             "left aside", "resumed, s", "products", "left then"]  # fmt: skip
    print(table(heads, rows))
    print(f"{options.kills} kills, {bad} bad")
    return 1 if bad else 0
