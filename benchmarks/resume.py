"""Kill a run at random moments; every resumed product must be bit-identical.

python -m benchmarks resume --kills 20
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

from benchmarks import cases


def identity(folder: Path) -> dict[str, str]:
    """Return the hash of the arrays of each product (dates and times in headers differ)."""
    from astropy.io import fits

    found = {}
    for file in sorted(folder.glob("*.fits")):
        digest = hashlib.sha256()
        with fits.open(file) as hdus:
            for hdu in hdus:
                if hdu.data is not None and hdu.name != "ASDF":
                    digest.update(hdu.name.encode() + hdu.data.tobytes())
        found[file.name] = digest.hexdigest()
    return found


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
    cost, _ = bench.run_ours(case, "uninterrupted", "--save-calibrated-ramp=true")
    wanted = identity(case / "uninterrupted")
    print(f"uninterrupted: {cost.wall:.2f} s, {len(wanted)} products")
    dice = random.Random(options.seed)
    out = case / "killed"
    bad = 0
    for turn in range(options.kills):
        shutil.rmtree(out, ignore_errors=True)
        command = [
            *bench.command,
            "run",
            "calwebb_detector1",
            str(case / "uncal.fits"),
            "--output-dir",
            str(out),
            "--resume",
            "--save-calibrated-ramp=true",
            *cases.step_options(case),
        ]
        moment = dice.uniform(0.1, 1.0) * cost.wall
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        process.wait()
        visible = identity(out) if out.exists() else {}  # raises if a visible file is not whole
        partial = [n for n, h in visible.items() if wanted.get(n) != h]
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        same = identity(out) == wanted
        bad += bool(partial) + (not same)
        print(
            f"{turn + 1:2d}: killed at {moment:.2f} s with {len(visible)} products visible"
            f"{' PARTIAL ' + str(partial) if partial else ''}; resumed in {time.perf_counter() - began:.2f} s,"
            f" {'identical' if same else 'DIFFERENT'}"
        )
    print(f"{options.kills} kills, {bad} bad")
    return 1 if bad else 0
