"""Association maintenance at the scale of the whole archive: CPU, memory, and the truth.

    python -m benchmarks wfpc2 [--archive FOLDER] [--proposals 3000]

Times are CPU seconds of one process, the least of `--repeats` where a step can be repeated.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.measure import table
from lightmill.observatories.hst.wfpc2 import demo
from lightmill.observatories.hst.wfpc2.associations import Association
from lightmill.observatories.hst.wfpc2.builder import associate
from lightmill.observatories.hst.wfpc2.events import Arrived
from lightmill.observatories.hst.wfpc2.exposures import Exposure
from lightmill.observatories.hst.wfpc2.frames import combine
from lightmill.observatories.hst.wfpc2.geometry import attitude_of, to_fiducial
from lightmill.observatories.hst.wfpc2.instance import Instance
from lightmill.observatories.hst.wfpc2.jitter import Pointing, extract
from lightmill.observatories.hst.wfpc2.maintenance import Archive, audit, maintain
from lightmill.observatories.hst.wfpc2.rays import READ_NOISE
from lightmill.observatories.hst.wfpc2.simulate_archive import dithered
from lightmill.observatories.hst.wfpc2.simulate_frames import make_field, simulate_frame
from lightmill.observatories.hst.wfpc2.state import Generation, State

HEAD = [
    "frames", "shifts off [px]", "rays out [%]", "of the worst field [%]", "good pixels out [ppm]", "cores",
    "brightness [%]", "worst [%]", "registration [px]",
]  # fmt: skip
STEPS = (
    (0, 0),
    (0.53, 0.11),
    (0.61, 0.67),
    (0.12, 0.55),
    (0.3, 0.3),
    (0.75, 0.2),
    (0.2, 0.8),
    (0.9, 0.9),
)
CASES = Path(__file__).resolve().parents[2] / "shared" / "cases" / "wfpc2"
ASKED = {
    "full rebuild": 15.0, "delivery of 1,000": 2.0, "empty round": 0.1, "pair of jitter files": 0.001,
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks wfpc2", description=__doc__.splitlines()[0])
    parser.add_argument("--archive", type=Path, help="made by make_archive.py; by default made now")
    parser.add_argument("--proposals", type=int, default=3000, help="of the archive to be made")
    parser.add_argument("--cases", type=Path, default=CASES, help="folder of the cases")
    parser.add_argument("--repeats", type=int, default=3, help="the least of so many is told")
    parser.add_argument(
        "--frames", action="store_true", help="combine frames instead: truth of products"
    )
    parser.add_argument("--seeds", type=int, default=5, help="fields, with --frames")
    given = parser.parse_args()
    if given.frames:
        cases = [(count, moved) for moved in (0.0, 0.2) for count in (2, 3, 4, 6)]
        print(table(HEAD, [combined(*one, given.seeds) for one in cases]))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        archive = given.archive or made(given.cases, Path(folder) / "archive", given.proposals)
        rows = [["pair of jitter files", *jitter(given.cases / "small", given.repeats)]]
        rows += whole(archive, given.repeats)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for row in rows:
        row.append(ASKED.get(row[0]))
    print(table(["step", "of", "CPU [s]", "asked [s]"], rows))
    print(f"\npeak memory {peak:.0f} MiB (asked 1024)")
    missed = [row[0] for row in rows if row[3] is not None and row[2] > row[3]]
    return 1 if missed or peak > 1024 else 0


def combined(count: int, moved: float, seeds: int) -> list[object]:
    """Combine frames of one chip, dithered and turned, and compare with what they were made of."""
    fields = np.array([of_field(count, moved, seed) for seed in range(seeds)])
    found, hit, lost, good, touched, cores, bright, registration = fields.T
    return [
        count, moved, 100 * found.sum() / hit.sum(), 100 * (found / hit).min(), 1e6 * lost.sum() / good.sum(),
        f"{touched.sum():.0f} of {cores.sum():.0f}", np.mean(bright), bright[np.abs(bright).argmax()],
        registration.max(),
    ]  # fmt: skip


def of_field(count: int, moved: float, seed: int) -> list[float]:
    turned = [0.01 * (number % 3) for number in range(count)]
    exposures = [
        replace(one, pa_v3_hdr=one.pa_v3_hdr + roll)
        for one, roll in zip(dithered(demo.FIELD, STEPS[:count]), turned, strict=True)
    ]
    at = to_fiducial(attitude_of(*demo.FIELD), ["UWFALL"])
    field = make_field(at, stars=1500, seed=3 + seed)
    made_ = [
        simulate_frame(one, field, seed=1000 * seed + n, chips=("WF3",))
        for n, one in enumerate(exposures)
    ]
    truths = {one.dataset_name: truth for one, (_, truth) in zip(exposures, made_, strict=True)}
    true = association_of(exposures)
    association = off_by(true, moved, seed)
    image = combine(association, [frame[2] for frame, _ in made_], "WF3")
    observed = demo.Observed(Path(), exposures, field, truths)
    rays = np.stack([truth.rays[2] for _, truth in made_])[:, 12:-12, 12:-12]
    out = image.rays[:, 12:-12, 12:-12]
    hit = rays > 5 * np.hypot(READ_NOISE, np.sqrt(field.sky * 500.0))
    touched = cores = 0
    for number, (_, truth) in enumerate(made_):
        places = np.rint(truth.places[2]).astype(int)
        inside = ((places > 12) & (places < 788)).all(axis=1) & (field.rates > 5)
        for x, y in places[inside]:
            if not truth.rays[2][y - 2 : y + 3, x - 2 : x + 3].any():
                touched += int(image.rays[number][y - 1 : y + 2, x - 1 : x + 2].sum())
                cores += 9
    ratios = demo.star_ratios(observed, true, image, "WF3", 8.0)
    return [
        (hit & out).sum(), hit.sum(), (out & (rays == 0)).sum(), (rays == 0).sum(), touched, cores,
        100 * (np.median(ratios) - 1), demo.registration(observed, true),
    ]  # fmt: skip


def association_of(exposures: list[Exposure]) -> Association:
    pointings = {
        one.root: Pointing(f"{one.root}J", "1", one.ra_hdr, one.dec_hdr, one.pa_v3_hdr, "P")
        for one in exposures
    }
    (one,) = associate(exposures, pointings, dict.fromkeys(pointings, "1")).associations.values()
    return one


def off_by(association: Association, moved: float, seed: int) -> Association:
    """Return an association with shifts that are off, as those of real jitter files are."""
    off = np.random.default_rng(seed).normal(0.0, moved, (len(association.members), 2))
    members = tuple(
        replace(one, shifts=tuple((x + dx, y + dy) for x, y in one.shifts))
        for one, (dx, dy) in zip(association.members, off.tolist(), strict=True)
    )
    return replace(association, members=members)


def made(cases: Path, folder: Path, proposals: int) -> Path:
    command = [sys.executable, cases / "make_archive.py", folder, "--proposals", proposals]
    command += ["--fits", "none", "--rearchive-frac", "0.008"]
    subprocess.run([str(one) for one in command], check=True)
    return folder


def least(what: Callable[[], object], repeats: int) -> float:
    costs = []
    for _ in range(repeats):
        began = time.process_time()
        what()
        costs.append(time.process_time() - began)
    return min(costs)


def jitter(folder: Path, repeats: int) -> tuple[str, float]:
    """Read every pair that can be read, header and table, checksums included."""
    pairs = []
    for jit in sorted((folder / "jitter").glob("*_jit.fits")):
        dataset, generation, _ = jit.name.split("_")
        if jit.stat().st_size > 2880:
            jif = jit.with_name(jit.name.replace("_jit", "_jif"))
            pairs.append((jit, jif, dataset.upper(), generation))

    def read() -> None:
        for jit, jif, dataset, generation in pairs:
            extract(jit, jif, dataset=dataset, gen_date_str=generation)

    return f"{len(pairs)} pairs, mean", least(read, repeats) / len(pairs)


def whole(folder: Path, repeats: int) -> list[list[object]]:
    """Replay the deliveries; rebuild everything from the pointings there are then."""
    instance, archive, rows = Instance(folder), Archive(State()), []
    for described in instance.exposures():
        archive.record(described)
    for delivery in instance.deliveries:
        began = time.process_time()
        count = 0
        for arrived in instance.arrivals(delivery):
            archive.record(arrived)
            count += arrived.archive_class == "OMS"
        done = maintain(archive, instance, changes=instance.changes(delivery))
        cost = time.process_time() - began
        title = "first load" if delivery == 0 else "delivery"
        rows.append([title, f"{count} OMS, {len(done.built)} proposals", cost])
    rows.append(monthly(archive))
    rows.append(["empty round", "", least(lambda: maintain(archive, instance), repeats)])
    state = archive.state
    exposures = [one for root, one in state.exposures.items() if state.generation(root)]
    generations = {one.root: state.generation(one.root) for one in exposures}
    for kind, title in (("A", "full rebuild"), ("B", "full rebuild")):
        cost = least(
            lambda kind=kind: associate(exposures, state.pointings, generations, kind=kind), repeats
        )
        rows.append([title, f"{len(exposures)} exposures, type {kind}", cost])
    rows.append(["audit", "everything", least(lambda: check(state), 1)])
    return rows


class Again:
    """Jitter files archived again, every pointing a little other than before."""

    def __init__(self, state: State) -> None:
        self.state = state

    def extract(self, dataset: str, gen_date_str: str, generation: Generation) -> Pointing:
        del generation
        old = self.state.pointings[dataset[:8]]
        dec = None if old.dec is None else old.dec + 1e-5
        return replace(old, gen_date_str=gen_date_str, dec=dec)

    def preview(self, association: Association) -> None:
        """Make nothing."""


def monthly(archive: Archive) -> list[object]:
    """Deliver jitter files of 1,000 exposures of 250 proposals again."""
    state = archive.state
    able = [pep_id for pep_id in sorted(state.proposals) if len(state.inputs(pep_id)) >= 4]
    chosen = able[:: max(1, len(able) // 250)][:250]
    roots = [root for pep_id in chosen for root in state.inputs(pep_id)[:4]]
    began = time.process_time()
    for root in roots:
        archive.record(Arrived(f"{root}J", "OMS", "209901010000"))
    done = maintain(archive, Again(state))
    cost = time.process_time() - began
    made_ = len(done.previews["content_hash"])
    return [
        "delivery of 1,000",
        f"{len(roots)} OMS, {len(done.built)} proposals, {made_} products",
        cost,
    ]


def check(state: State) -> None:
    if any(audit(state).values()):
        raise SystemExit("the audit found differences")
