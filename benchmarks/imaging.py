"""Stages 2 and 3 of imaging side by side: from count rates to a mosaic and a catalog.

    python -m benchmarks imaging                  eight full-frame exposures, once each
    python -m benchmarks imaging --runs 3         best of three
    python -m benchmarks imaging --no-peer        ours only
    python -m benchmarks imaging --many 32        and the memory of so many exposures beside eight

The exposures are simulated (scene imaging-wide). Ours is two commands, `lightmill run
calwebb_image2` and `calwebb_image3`, whose costs are added; the peer is one process that imports
its package once.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from benchmarks import cases
from benchmarks.measure import Cost, best, measured, table

SCENE = "imaging-wide"
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


def run_ours(bench: cases.Bench, folder: Path, out: Path) -> tuple[Cost, list[Cost]]:
    """Run our two commands; return their sum (the larger of the memories), and each."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    rates = [str(path) for path in sorted(folder.glob("*_rate.fits"))]
    given = ["--references", str(folder), "--output-dir", str(out), "--quiet"]
    second = measured(
        [*bench.command, "run", "calwebb_image2", *rates, *given, "-j", "2"],
        bench.logs / "imaging.ours2",
    )
    cals = [path.name for path in sorted(out.glob("*_cal.fits"))]
    third = measured(
        [*bench.command, "run", "calwebb_image3", str(association(out, cals)), *given],
        bench.logs / "imaging.ours3",
    )
    total = Cost(
        max(second.status, third.status),
        second.wall + third.wall,
        second.cpu + third.cpu,
        max(second.peak_mb, third.peak_mb),
        third.load,
    )
    return total, [second, third]


def run_peer(bench: cases.Bench, folder: Path, out: Path) -> tuple[Cost, dict]:
    """Run the peer on the same exposures; return its cost and its time per step."""
    report = bench.work / "imaging-peer.json"
    script = Path(__file__).with_name("_peer_imaging.py")
    cost = measured(
        [str(bench.peer), str(script), str(folder), str(out), str(report)],
        bench.logs / "imaging.peer",
        bench.peer_environment(),
    )
    return cost, json.loads(report.read_text())


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


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks imaging", description=__doc__)
    cases.add_arguments(parser)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--many", type=int, default=0, metavar="N")
    options = parser.parse_args()
    bench = cases.Bench(options)
    folder = simulated(bench)
    out = bench.work / "imaging-ours"
    runs = [run_ours(bench, folder, out) for _ in range(options.runs)]
    ours = best([total for total, _ in runs])
    rows: list[list[object]] = [["Lightmill", ours.cpu, ours.wall, ours.peak_mb]]
    for number, stage in enumerate(("image2", "image3")):
        cost = best([parts[number] for _, parts in runs])
        rows.append([f"… {stage}", cost.cpu, cost.wall, cost.peak_mb])
    steps = our_steps(out)
    theirs: dict[str, float] = {}
    if bench.peer is not None:
        peers = [run_peer(bench, folder, bench.work / "imaging-peer") for _ in range(options.runs)]
        peer, report = best([cost for cost, _ in peers]), peers[-1][1]
        rows.append(["peer", peer.cpu, peer.wall, peer.peak_mb])
        rows.append(
            ["ratio", peer.cpu / ours.cpu, peer.wall / ours.wall, ours.peak_mb / peer.peak_mb]
        )
        for row in report["steps"]:
            if not row["top"]:
                theirs[row["step"]] = theirs.get(row["step"], 0.0) + row["cpu"]
    print(table(["8 exposures, rate → catalog", "CPU s", "wall s", "peak MB"], rows))
    print()
    names = [*steps, *(name for name in theirs if name not in steps)]
    print(table(["step", "ours CPU s", "peer CPU s"],
                [[name, steps.get(name), theirs.get(name)] for name in names]))  # fmt: skip
    if options.many:
        place = many(bench, out, options.many)
        cost = measured(
            [*bench.command, "run", "calwebb_image3", str(place), "--references", str(folder),
             "--output-dir", str(bench.work / f"imaging-{options.many}-out"), "--quiet"],
            bench.logs / "imaging.many",
        )  # fmt: skip
        eight = best([parts[1] for _, parts in runs]).peak_mb
        print(f"\nmemory of {options.many} exposures: {cost.peak_mb:.0f} MB, "
              f"{cost.peak_mb / eight:.2f} x that of 8 ({cost.cpu:.1f} CPU s)")  # fmt: skip
    return 0
