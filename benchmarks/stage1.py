"""Stage 1 side by side: the whole process, the pipeline alone, and each step.

    python -m benchmarks stage1                      one full-frame exposure, three runs of each
    python -m benchmarks stage1 --case niriss 2      two integrations
    python -m benchmarks stage1 --likelihood         the likelihood fit instead of least squares

CPU seconds are the fair figure on a shared machine: the least of the runs is compared. Bytes are
what each step would move if it were a pass of its own over the exposure (read + written, with its
reference files); a step that works on data still in the cache can therefore use more than the
memory's bandwidth.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path

from astropy.io import fits

from benchmarks import cases
from benchmarks.measure import Cost, best, measured, memory_bandwidth, table


def bytes_moved(n_ints: int, n_groups: int, n_pixels: int) -> dict[str, float]:
    """Return bytes read and written by each step as a pass of its own."""
    ramp = n_ints * n_groups * n_pixels  # elements; data are 4 bytes, group DQ 1 byte
    frame = n_pixels
    return {
        "open": 2 * ramp + 4 * ramp,
        "dq_init": ramp + 4 * frame + 4 * frame,
        "saturation": 4 * ramp + 2 * ramp + 4 * frame + 8 * frame,
        "ipc": 8 * ramp,
        "superbias": 8 * ramp + 4 * frame + 8 * frame,
        "refpix": 8 * ramp,
        "reset": 8 * ramp + 4 * frame,
        "linearity": 8 * ramp + ramp + 5 * 4 * frame + 8 * frame,
        "dark_current": 8 * ramp + 4 * n_groups * frame + 8 * frame,
        "jump": 4 * ramp + 2 * ramp + 8 * frame,
        "ramp_fit": 4 * ramp + ramp + 8 * frame + 20 * frame * (1 + n_ints),
        "save": 20 * frame * (1 + n_ints),
    }


def our_steps(report: dict) -> dict[str, tuple[float, float]]:
    """Return (wall, CPU) seconds of each step from the run record."""
    steps: dict[str, tuple[float, float]] = {}
    for row in report.get("steps", ()):
        if row.get("status") == "SKIPPED":
            continue
        wall = float(row.get("wall_s") or 0.0)
        cpu = float(row.get("cpu_s") or wall)
        old = steps.get(row["name"], (0.0, 0.0))
        steps[row["name"]] = (old[0] + wall, old[1] + cpu)
    return steps


def peer_steps(report: dict) -> dict[str, float]:
    """Return CPU seconds of each step; skipped ones too, since they cost."""
    total: dict[str, float] = {}
    for row in report["steps"]:
        if not row["top"]:
            total[row["step"]] = total.get(row["step"], 0.0) + row["cpu"]
    return total


def pipeline_seconds(report: dict, cost: Cost, start: Cost) -> tuple[float, float]:
    """Return (wall, CPU) of our pipeline: what the whole process used beyond starting up."""
    return float(report.get("wall_s", cost.wall - start.wall)), cost.cpu - start.cpu


def start_up(bench: cases.Bench) -> Cost:
    """Return what it costs to start the command and import what a run needs."""
    code = "import lightmill.cli, lightmill.app, lightmill.detector, lightmill.pipeline.runner"
    beside = Path(bench.command[0]).with_name("python")  # of the environment the command is in
    if bench.command == cases.COMMAND:
        command = [bench.command[0], "-c", code]
    elif beside.exists():
        command = [str(beside), "-c", code]
    else:
        command = [*bench.command, "--help"]
    return best([measured(command, bench.logs / "start") for _ in range(5)])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cases.add_arguments(parser)
    parser.add_argument("--instrument", default="niriss", help="as make_ramp_case.py knows it")
    parser.add_argument("--size", default="full")
    parser.add_argument("--nints", type=int, default=1)
    parser.add_argument("--ngroups", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--likelihood", action="store_true", help="fit by likelihood")
    parser.add_argument("--save", type=Path, help="write every figure to this JSON file")
    options = parser.parse_args()
    bench = cases.Bench(options)
    name = f"{options.instrument}-{options.size}-{options.nints}x{options.ngroups}-s{options.seed}"
    case = bench.case(
        name,
        "--inst",
        options.instrument,
        "--size",
        options.size,
        "--nints",
        str(options.nints),
        "--ngroups",
        str(options.ngroups),
        "--seed",
        str(options.seed),
    )
    suffix = "-likely" if options.likelihood else ""
    ours_options = ["--steps.ramp_fit.algorithm=LIKELY"] if options.likelihood else []
    peer_options = ["--alg", "LIKELY"] if options.likelihood else []
    ours, theirs = [], []
    for turn in range(options.runs):  # alternately, so that both see the same machine
        ours.append(bench.run_ours(case, f"ours{suffix}", *ours_options))
        print(
            f"lightmill {turn + 1}/{options.runs}: {ours[-1][0].cpu:.2f} CPU s, {ours[-1][0].wall:.2f} s",
            flush=True,
        )
        if bench.peer is not None:
            theirs.append(bench.run_peer(case, f"peer{suffix}", *peer_options))
            print(
                f"peer      {turn + 1}/{options.runs}: {theirs[-1][0].cpu:.2f} CPU s, {theirs[-1][0].wall:.2f} s",
                flush=True,
            )
    print()
    report(case, ours, theirs, start_up(bench))
    if options.save:
        figures = {
            "case": name,
            "machine": platform.processor() or platform.machine(),
            "ours": [(vars(c), r) for c, r in ours],
            "peer": [(vars(c), r) for c, r in theirs],
        }
        options.save.write_text(json.dumps(figures, indent=1, default=str))
    return 0


def report(
    case: Path, ours: list[tuple[Cost, dict]], theirs: list[tuple[Cost, dict]], start: Cost
) -> None:
    """Print the tables."""
    mine = best([c for c, _ in ours])
    mine_pipeline = min((pipeline_seconds(r, c, start) for c, r in ours), key=lambda t: t[1])
    if theirs:
        peer = best([c for c, _ in theirs])
        peer_pipeline = min(
            ((r["total_wall"], r["total_cpu"]) for _, r in theirs), key=lambda t: t[1]
        )
    nan = float("nan")
    rows = [
        ("whole process, CPU s", mine.cpu, peer.cpu if theirs else nan),
        ("whole process, wall s", mine.wall, peer.wall if theirs else nan),
        ("peak memory, MiB", mine.peak_mb, peer.peak_mb if theirs else nan),
        ("start-up, CPU s", start.cpu, min((r["import_cpu"] for _, r in theirs), default=nan)),
        ("pipeline alone, CPU s", mine_pipeline[1], peer_pipeline[1] if theirs else nan),
        ("pipeline alone, wall s", mine_pipeline[0], peer_pipeline[0] if theirs else nan),
    ]
    print(f"{case.name}: best of {len(ours)} runs\n")
    print(
        table(
            ["", "lightmill", "peer", "ratio"], [[n, a, b, b / a if a else nan] for n, a, b in rows]
        )
    )

    with fits.open(case / "uncal.fits") as file:
        n_columns, n_rows, n_groups, n_ints = (
            file["SCI"].header[f"NAXIS{i}"] for i in (1, 2, 3, 4)
        )
    moved = bytes_moved(n_ints, n_groups, n_rows * n_columns)
    bandwidth = memory_bandwidth()
    steps = min(
        (our_steps(r) for _, r in ours), key=lambda s: sum(v[1] for v in s.values()), default={}
    )
    peers = peer_steps(min(theirs, key=lambda t: t[1]["total_cpu"])[1]) if theirs else {}
    lines = []
    for step in [*steps, *(s for s in peers if s not in steps)]:
        wall, cpu = steps.get(step, (nan, nan))
        size = moved.get(step, nan)
        lines.append(
            [
                step,
                cpu * 1e3,
                peers.get(step, nan) * 1e3,
                peers.get(step, nan) / cpu if cpu else nan,
                size / 1e6,
                size / wall / bandwidth * 100 if wall else nan,
            ]
        )
    ours_rest = mine_pipeline[1] - sum(cpu for _, cpu in steps.values())
    peer_rest = peer_pipeline[1] - sum(peers.values()) if theirs else nan
    lines.append(
        [
            "open, read, save, record",
            ours_rest * 1e3,
            peer_rest * 1e3,
            peer_rest / ours_rest,
            nan,
            nan,
        ]
    )
    print(f"\nSteps (memory copy: {bandwidth / 1e9:.1f} GB/s)\n")
    print(
        table(
            [
                "step",
                "lightmill CPU ms",
                "peer CPU ms",
                "ratio",
                "MB moved",
                "% of memory bandwidth",
            ],
            lines,
        )
    )
