"""Detectors watched at their own cadence: is every read taken, and how soon are the frames there?

    python -m benchmarks iris-live                             one detector, three exposures of 60 reads
    python -m benchmarks iris-live --detectors 2 --through folder

Raw exposures are simulated first, with their references and a frame of the sky (once, into --dir:
4 GB, ten minutes of CPU). Then one process plays them and another one watches, as people would
start them: ``lightmill iris play`` and ``lightmill iris live``. Times are those of the clock that both
processes read: from the moment a read is there, before it is sent or written, to the moment a frame
with it is there; from the last read to the moment the file is complete.

Exit status 1 if something that is asked is not reached.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import table

LOOK, REDUCED = 1.5, 5.0  # s: what is asked of a look, and of the reduced frame
GROWTH = 5.0  # % that memory may grow from the second exposure to the last
NAMES = ("IMG1", "IMG2", "IMG3", "IMG4", "IFU")
_COMMAND = (sys.executable, "-m", "lightmill", "iris")


@dataclass
class Memory:
    """Resident memory of a process: when [s, monotonic], and how much [1e6 byte]."""

    times: list[float] = field(default_factory=list)
    sizes: list[float] = field(default_factory=list)
    cpu: float = 0.0  # s, when it was last looked at

    def look(self, pid: int) -> None:
        """Take a reading, if the process is still there."""
        with contextlib.suppress(OSError, IndexError, ValueError):
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            spent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            self.sizes.append(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
            self.times.append(time.monotonic())
            self.cpu = (int(spent[11]) + int(spent[12])) / os.sysconf("SC_CLK_TCK")


def prepared(folder: Path, size: int, reads: int, detectors: tuple[str, ...]) -> dict[str, Any]:
    """Simulate what is played, unless it is there: a raw exposure, sky frames, the cache."""
    from lightmill.observatories.tmt.iris import simulate

    kept = folder / f"{size}-{reads}-{len(detectors)}.json"
    if kept.exists():
        found: dict[str, Any] = json.loads(kept.read_text())
        return found
    camera = simulate.Camera(size=size, rays=0.0)
    rng = np.random.default_rng(1)
    scene = simulate.Field.of(max(size // 10, 5), size * 0.9, rng, faintest=400.0)
    pixels, made = simulate.Pixels.of(camera, rng), []
    for name in detectors:
        references = simulate.write_references(folder, camera, pixels, name, "K")
        common = {"read_time": 0.72, "detector": name}
        plan = [(scene.empty(), simulate.Exposure("SKY", 101, reads=8, **common))]
        if name == detectors[0]:
            plan.append((scene, simulate.Exposure("SCI", 1, reads=reads, **common)))
        made += [
            simulate.expose(folder, one, camera, pixels, seen, seed=5, references=references)
            for seen, one in plan
        ]
    found = {"science": str(folder / made[1].uncal.name), **_skies(folder, camera, made)}
    kept.write_text(json.dumps(found))
    return found


def _skies(folder: Path, camera: Any, made: list[Any]) -> dict[str, Any]:
    """Write the cache, and sample the exposures of the sky."""
    from lightmill import app
    from lightmill.simulate.cache import write_cache

    cache = write_cache(folder / "crds", camera, made)
    given = {"crds_path": cache.root, "context": cache.context, "output_dir": folder}
    skies = []
    for one in made:
        if "_sky_" in one.title:
            (outcome,) = app.run("iris_rop", [one.uncal], **given)
            if outcome.error is not None:
                raise outcome.error
            skies += [str(path) for path in outcome.written]
            one.uncal.unlink()
    return {"skies": skies, "cache": str(cache.root), "context": cache.context}


def played(
    data: dict[str, Any], detectors: tuple[str, ...], exposures: int, cadence: float, through: str
) -> tuple[dict[str, Any], dict[str, Any], Memory]:
    """Play and watch; return the two reports and the watcher's memory."""
    raw, memory = Path(data["science"]), Memory()
    with tempfile.TemporaryDirectory(prefix="iris-live-", dir=raw.parent) as text:
        folder = Path(text)
        raws = []
        for number in range(exposures):
            raws.append(folder / raw.name.replace("_0001_", f"_{number + 1:04d}_"))
            raws[-1].symlink_to(raw)
        (folder / "reads").mkdir()
        source = {"folder": str(folder / "reads"), "unix": f"unix:{folder}/reads.sock"}.get(
            through, "tcp:9476"
        )
        watch = subprocess.Popen(
            [*_COMMAND, "live", source, "--output-dir", str(folder / "out"), "--crds-path",
             data["cache"], "--context", data["context"], "--prepare", str(raw), "--exposures",
             str(exposures * len(detectors)), "--report", str(folder / "watch.json"),
             *(part for name in detectors for part in ("--detector", name)),
             *(part for sky in data["skies"] for part in ("--sky", sky))],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert watch.stdout is not None
        while not watch.stdout.readline().startswith("watching"):
            if watch.poll() is not None:
                raise SystemExit("the watcher ended before it began")
        names = [part for name in detectors for part in ("--detector", name)]
        with (folder / "play.json").open("w") as told:
            play = subprocess.Popen(
                [*_COMMAND, "play", *map(str, raws), "--to", source, "--cadence", str(cadence),
                 *names, "--json"], stdout=told,
            )  # fmt: skip
            while watch.poll() is None and (play.poll() is None or len(memory.times) < 1 << 16):
                memory.look(watch.pid)
                time.sleep(0.2)
                if play.poll() not in {None, 0, 3}:
                    watch.terminate()
            play.wait()
        print(watch.stdout.read(), end="")
        lines = (folder / "play.json").read_text().splitlines()
        return json.loads((folder / "watch.json").read_text()), json.loads(lines[-1]), memory


def _peaks(memory: Memory, due: dict[tuple[str, int], float]) -> list[float]:
    """Return the largest memory while each exposure was read, the frame before being reduced."""
    spans: dict[str, tuple[float, float]] = {}
    for (name, _), when in due.items():
        number = name.rpartition("_")[2]
        begin, end = spans.get(number, (when, when))
        spans[number] = (min(begin, when), max(end, when))
    return [
        max(size for when, size in zip(memory.times, memory.sizes, strict=True) if a <= when <= b)
        for a, b in spans.values()
    ]


def judged(
    watch: dict[str, Any], play: dict[str, Any], memory: Memory, cadence: float
) -> tuple[list[list[object]], bool]:
    """Return a table of what is asked and what came out, and whether all was reached."""
    due = {(name, index): when for name, index, when in play["due"]}
    looks = {(name, index): when for name, index, when, _ in watch["looks"]}
    behind = np.array([when - due[one] for one, when in looks.items() if one in due])
    last: dict[str, float] = {}
    for (name, _), when in due.items():
        last[name] = max(last.get(name, 0.0), when)
    reduced = [
        when - last[name.removesuffix("_cal.fits")]
        for name, when, _ in watch["frames"]
        if name.endswith("_cal.fits")
    ]
    peaks = _peaks(memory, due)
    # While the first is read nothing is reduced: its memory says nothing of the others'.
    growth = 100 * (peaks[-1] / peaks[1] - 1) if len(peaks) > 2 else None
    lost = max(len(play["dropped"]), watch["lost"])  # what was dropped is lost to the watcher
    rows: list[list[object]] = [
        ["reads", "", str(len(due))],
        ["reads dropped or lost", "0", str(lost)],
        ["looks", "", f"{len(looks)} of {len(due)}"],
        ["look behind its read, median, largest [s]", f"< {LOOK}",
         f"{np.median(behind):.2f}, {behind.max():.2f}"],
        ["reduced frame after the last read, largest [s]", f"< {REDUCED}",
         f"{max(reduced, default=np.inf):.2f}"],
        ["resident memory, largest [MB]", "", f"{max(peaks):.0f}"],
        ["growth of its peak, from the second exposure to the last [%]", f"< {GROWTH}", None if growth is None else f"{growth:+.1f}"],
        ["CPU of the watcher, for each read [s]", "", f"{memory.cpu / len(due):.3f}"],
        ["cadence [s]", "", f"{cadence}"],
    ]  # fmt: skip
    good = (
        lost == 0 and behind.max() < LOOK and max(reduced, default=np.inf) < REDUCED
        and (growth or 0.0) < GROWTH and len(looks) == len(due)
    )  # fmt: skip
    return rows, bool(good)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=4096, help="rows and columns")
    parser.add_argument("--reads", type=int, default=60, help="of an exposure")
    parser.add_argument("--exposures", type=int, default=3, help="of each detector, 2 at least")
    parser.add_argument("--detectors", type=int, default=1, help="at the same time, 1 to 5")
    parser.add_argument("--cadence", type=float, default=0.72, help="from read to read [s]")
    parser.add_argument("--through", choices=("tcp", "unix", "folder"), default="tcp")
    parser.add_argument(
        "--dir",
        type=Path,
        default=Path(tempfile.gettempdir()) / "iris-live",
        help="of the raw data",
    )
    chosen = parser.parse_args()
    chosen.dir.mkdir(parents=True, exist_ok=True)
    detectors = NAMES[: chosen.detectors]
    data = prepared(chosen.dir, chosen.size, chosen.reads, detectors)
    before = os.getloadavg()[0]
    watch, play, memory = played(data, detectors, chosen.exposures, chosen.cadence, chosen.through)
    rows, good = judged(watch, play, memory, chosen.cadence)
    print(
        f"{', '.join(detectors)}: {chosen.exposures} exposures of {chosen.size}², {chosen.reads} reads, through {chosen.through};"
        f" load of the machine {before:.1f} before, {os.getloadavg()[0]:.1f} after"
    )
    print(table(["", "asked", "found"], rows))
    return 0 if good else 1
