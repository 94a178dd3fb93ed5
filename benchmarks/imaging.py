"""Stages 2 and 3 of imaging side by side: from count rates to a mosaic and a catalog.

    python -m benchmarks imaging                  eight full-frame exposures, once each
    python -m benchmarks imaging --runs 3         best of three
    python -m benchmarks imaging --files new      of files on disk that were never seen, alone
    python -m benchmarks imaging --no-peer        ours only
    python -m benchmarks imaging --many 32        and the memory of so many exposures beside eight

The exposures are simulated (scene imaging-wide). Ours is two commands, `lightmill run
calwebb_image2` and `calwebb_image3`, whose costs are added; the peer is one process that imports
its package once.

Both run in turn and find the same: their packages compiled, no output of an earlier run, nothing
waiting to be written to disk, and the files of the case either new (on disk, not in memory; ours
knows no checksum of them) or known (in memory; ours has their checksums from the run before).
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

from benchmarks import caches, cases
from benchmarks.measure import Cost, best, measured, table

SCENE = "imaging-wide"
STATES = {"new": "never seen", "known": "seen before"}
OURS = ("lightmill",)
PEERS = ("jwst", "stcal", "stdatamodels", "stpipe", "tweakwcs", "drizzle", "crds")
NOT_USED = {
    "assign_wcs": [
        "specwcs", "regions", "wavelengthrange", "camera", "chromcorr", "collimator", "disperser",
        "fore", "fpa", "msa", "ote", "ifupost", "ifufore", "ifuslicer",
    ],
    "flat_field": ["fflat", "sflat", "dflat"],
    "bkg_subtract": ["bkg", "wavelengthrange"],
}  # fmt: skip
USED = {
    "assign_wcs": ["distortion", "filteroffset"],
    "flat_field": ["flat"],
    "photom": ["photom", "area"],
    "source_catalog": ["apcorr", "abvegaoffset"],
}


def simulated(bench: cases.Bench) -> Path:
    """Return the folder of the exposures, simulated first if it is not there."""
    folder = bench.work / "imaging"
    if not sorted(folder.glob("*_rate.fits")):
        print(f"simulating {SCENE} …", flush=True)
        measured(
            [*bench.command, "simulate", SCENE, str(folder), "--level", "rate"],
            bench.logs / "imaging.make",
        )
    (folder / "overrides.json").write_text(json.dumps(overrides(folder), indent=1))
    return folder


def overrides(folder: Path) -> dict[str, dict[str, dict[str, str]]]:
    """Return the references the peer is given: stage → step → parameters."""
    files = {path.stem.rpartition("_")[2]: str(path) for path in folder.glob("*_full_*.*")}
    steps = {
        step: {f"override_{kind}": "N/A" for kind in NOT_USED.get(step, ())}
        | {f"override_{kind}": files[kind] for kind in USED.get(step, ())}
        for step in {*USED, *NOT_USED}
    }
    third = {"source_catalog"}
    return {
        "2": {step: given for step, given in steps.items() if step not in third},
        "3": {step: steps[step] for step in third} | {"tweakreg": {"abs_refcat": ""}},
    }


def association(folder: Path, names: list[str], *, name: str = "ours") -> Path:
    """Write an association of files of a folder; its product has a name."""
    members = [{"expname": one, "exptype": "science"} for one in names]
    path = folder / f"{name}_asn.json"
    document = {
        "asn_type": "image3",
        "asn_rule": "candidate_Asn_Lv3Image",
        "asn_id": "a3001",
        "program": "99001",
        "asn_pool": "none",
        "products": [{"name": name, "members": members}],
    }
    path.write_text(json.dumps(document))
    return path


class Ours(NamedTuple):
    """What our two commands cost."""

    both: Cost  # the sum; of memory, the larger
    second: Cost
    third: Cost


def run_ours(bench: cases.Bench, folder: Path, out: Path) -> Ours:
    """Run our two commands; return their sum (the larger of the memories), and each."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    rates = [str(path) for path in sorted(folder.glob("*_rate.fits"))]
    given = ["--references", str(folder), "--output-dir", str(out), "--quiet"]
    kept = caches.environment() | {"XDG_CACHE_HOME": str(bench.work / "cache")}
    second = measured(
        [*bench.command, "run", "calwebb_image2", *rates, *given, "-j", "2"],
        bench.logs / "imaging.ours2",
        kept,
    )
    cals = [path.name for path in sorted(out.glob("*_cal.fits"))]
    third = measured(
        [*bench.command, "run", "calwebb_image3", str(association(out, cals)), *given],
        bench.logs / "imaging.ours3",
        kept,
    )
    total = Cost(
        max(second.status, third.status),
        second.wall + third.wall,
        second.cpu + third.cpu,
        max(second.peak_mb, third.peak_mb),
        third.load,
    )
    return Ours(total, second, third)


def run_peer(bench: cases.Bench, folder: Path, out: Path) -> tuple[Cost, dict]:
    """Run the peer on the same exposures; return its cost and its time per step."""
    report = bench.work / "imaging-peer.json"
    script = Path(__file__).with_name("_peer_imaging.py")
    shutil.rmtree(out, ignore_errors=True)
    cost = measured(
        [str(bench.peer), str(script), str(folder), str(out), str(report)],
        bench.logs / "imaging.peer",
        bench.peer_environment(),
    )
    return cost, json.loads(report.read_text())


def prepare(bench: cases.Bench, folder: Path, state: str, *, everything: bool) -> None:
    """Make the files of the case new or known, for the run that follows."""
    files = sorted({*folder.glob("*_rate.fits"), *folder.glob("*_full_*.*")})
    if state == "new":
        shutil.rmtree(bench.work / "cache", ignore_errors=True)
        caches.forget(files, everything=everything)
    else:
        caches.remember(files)


def our_steps(out: Path) -> dict[str, float]:
    """Return the CPU seconds of each of our steps, all exposures together."""
    steps: dict[str, float] = {}
    for path in out.glob("*_run.json"):
        for note in json.loads(path.read_text()).get("steps", ()):
            steps[note["name"]] = steps.get(note["name"], 0.0) + float(note.get("cpu_s") or 0)
    return steps


def many(bench: cases.Bench, out: Path, count: int) -> Path:
    """Return a folder with `count` calibrated exposures: those of `out`, under several names."""
    target = bench.work / f"imaging-{count}"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    cals = sorted(out.glob("*_cal.fits"))
    for number in range(count):
        source = cals[number % len(cals)]
        (target / f"x{number:03d}_{source.name}").hardlink_to(source)
    return target


def compared(bench: cases.Bench, folder: Path, state: str, options: argparse.Namespace) -> Cost:
    """Run both in turn, print what they cost; return the cost of our stage 3."""
    ours, theirs, reports = [], [], []
    if state == "known" and not (bench.work / "cache").exists():
        run_ours(bench, folder, bench.work / "imaging-ours")  # its checksums are kept
    for _ in range(options.runs):
        prepare(bench, folder, state, everything=options.drop_caches)
        ours.append(run_ours(bench, folder, bench.work / "imaging-ours"))
        if bench.peer is None:
            continue
        prepare(bench, folder, state, everything=options.drop_caches)
        cost, report = run_peer(bench, folder, bench.work / "imaging-peer")
        theirs.append(cost)
        reports.append(report)
    parts = dict(
        zip(Ours._fields, (best(list(part)) for part in zip(*ours, strict=True)), strict=True)
    )
    names = {"both": "Lightmill", "second": "… image2", "third": "… image3"}
    rows: list[list[object]] = [
        [names[part], cost.cpu, cost.wall, cost.peak_mb] for part, cost in parts.items()
    ]
    steps = our_steps(bench.work / "imaging-ours")
    other: dict[str, float] = {}
    if theirs:
        peer, own = best(theirs), parts["both"]
        rows.append(["peer", peer.cpu, peer.wall, peer.peak_mb])
        rows.append(["ratio", peer.cpu / own.cpu, peer.wall / own.wall, own.peak_mb / peer.peak_mb])
        for row in reports[-1]["steps"]:
            if not row["top"]:
                other[row["step"]] = other.get(row["step"], 0.0) + row["cpu"]
    head = f"8 exposures, rate → catalog, files {STATES[state]}"
    print(table([head, "CPU s", "wall s", "peak MB"], rows), end="\n\n")
    names_of_steps = [*steps, *(name for name in other if name not in steps)]
    print(table(["step", "ours CPU s", "peer CPU s"],
                [[name, steps.get(name), other.get(name)] for name in names_of_steps]))  # fmt: skip
    print(f"load {ours[-1].both.load:.1f}\n", flush=True)
    return parts["third"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks imaging", description=__doc__)
    cases.add_arguments(parser)
    parser.add_argument("--runs", type=int, default=1, help="runs of each; the least cost counts")
    parser.add_argument(
        "--files",
        choices=(*STATES, "both"),
        default="both",
        help="files never seen, or seen before",
    )
    parser.add_argument(
        "--drop-caches",
        action="store_true",
        help="before files never seen, let the system forget all files, libraries too (root only)",
    )
    parser.add_argument(
        "--many", type=int, default=0, metavar="N", help="memory of N exposures in stage 3, too"
    )
    options = parser.parse_args()
    bench = cases.Bench(options)
    folder = simulated(bench)
    if not options.lightmill:
        caches.compile_packages(sys.executable, OURS)
    if bench.peer is not None:
        caches.compile_packages(bench.peer, PEERS)
    states = STATES if options.files == "both" else (options.files,)
    for state in states:
        third = compared(bench, folder, state, options)
    if options.many:
        place = many(bench, bench.work / "imaging-ours", options.many)
        cost = measured(
            [*bench.command, "run", "calwebb_image3", str(place), "--references", str(folder),
             "--output-dir", str(bench.work / f"imaging-{options.many}-out"), "--quiet"],
            bench.logs / "imaging.many",
            caches.environment(),
        )  # fmt: skip
        print(f"memory of {options.many} exposures: {cost.peak_mb:.0f} MB, "
              f"{cost.peak_mb / third.peak_mb:.2f} x that of 8 ({cost.cpu:.1f} CPU s)")  # fmt: skip
    return 0
