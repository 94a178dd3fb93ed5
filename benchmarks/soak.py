"""Memory of an observatory that runs for an hour: its service, which watches the folder, and its dashboard.

    python -m benchmarks soak                        an hour
    python -m benchmarks soak --minutes 20 --to DIR  shorter; readings as a table and a figure in DIR

Headers of exposures are delivered one by one, four to an observation. The service takes them in,
associates them by the rules, and starts what follows in processes of its own; only what these jobs do
is a stand-in: they write products of a few bytes. Meanwhile somebody looks at all the dashboard's
pages after each: its process takes some 800 answers until all its threads have what they keep.

Memory is what a process has of its own: anonymous pages, in memory or swapped out. Pages of files,
such as libraries, come and go as the kernel likes.

What memory does is a straight line through the readings after the first quarter, which is that of
filling caches; its error is that of the scatter of tenths of the time about the line, as readings
one after the other are not independent. Exit status 1 if more than is asked would be gained in an
hour, by two standard errors.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.measure import table
from lightmill.workflow import processes

ASKED = 5.0  # % of a process that may be gained in an hour, by two standard errors
WARM_UP = 0.25  # of the time
PARTS = 10  # of the rest, whose means are taken for independent
TOGETHER = 4  # exposures of an observation
OBSERVATIONS = 20  # of a program
PAGES = ("/", "/tasks", "/datasets", "/jobs", "/events", "/candidates", "/api/status", "/metrics")
PATIENCE = 60.0  # s until a process must answer

JOB = """
import hashlib, pathlib, sys
parts = sorted(pathlib.Path("in").iterdir())
text = hashlib.sha256("".join(p.name for p in parts).encode()).hexdigest()
for name in sys.argv[1:]:
    pathlib.Path("out", name).write_text(text + name)
"""
MADE = {1: ("rate.fits",), 2: ("cal.fits",), 3: ("i2d.fits", "cat.ecsv", "segm.fits")}


@dataclass
class Watched:
    """Readings of one process: when [s], and its own memory [1e6 byte]."""

    name: str
    handle: str
    times: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Trend:
    """A straight line through readings: at the end, and what is gained in an hour, with its error."""

    start_mb: float
    end_mb: float
    slope: float
    error: float

    @property
    def is_flat(self) -> bool:
        """Whether no more is gained than asked, by two standard errors."""
        return self.slope - 2 * self.error <= ASKED / 100 * self.end_mb


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="how long [min]")
    parser.add_argument("--pause", type=float, default=2.0, help="between two exposures [s]")
    parser.add_argument("--looks", type=int, default=len(PAGES), help="pages asked for in a pause")
    parser.add_argument("--to", type=Path, metavar="DIR", help="write soak.csv and soak.png there")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        return serve(options.serve)
    with tempfile.TemporaryDirectory(prefix="lightmill-soak-") as folder:
        watched, counts = soaked(Path(folder), 60 * options.minutes, options.pause, options.looks)
    trends = {one.name: trend(one.times, one.memory) for one in watched}
    rows = [
        [name, found.start_mb, found.end_mb, f"{found.slope:+.2f} ± {found.error:.2f}",
         f"{100 * found.slope / found.end_mb:+.2f} ± {100 * found.error / found.end_mb:.2f}"]
        for name, found in trends.items()
    ]  # fmt: skip
    print(json.dumps(counts))
    print(table(["process", "MB after warm-up", "at the end", "MB an hour", "% an hour"], rows))
    if options.to is not None:
        written(options.to, watched, trends)
    return 0 if all(found.is_flat for found in trends.values()) else 1


# -- the observatory -------------------------------------------------------------------------------


def serve(root: Path) -> int:
    """Be the service of an observatory: real but for what its jobs do."""
    from lightmill import app
    from lightmill.instrument import observatories
    from lightmill.operations import Observing
    from lightmill.workflow.conditions import Conditions, Expectations
    from lightmill.workflow.engines.local import LocalEngine
    from lightmill.workflow.service import Service
    from lightmill.workflow.store import Store

    class StandIn(Observing):
        def command(self, job, folder):
            del folder
            level = {"exposure": 1}.get(job.type) or int(job.type[-1])
            names = [one["name"] for one in (job.document or {"products": []})["products"]]
            names = names or [job.name.removesuffix("_uncal.fits")]
            made = [f"{name}_{ending}" for name in names for ending in MADE[level]]
            return [sys.executable, "-I", "-S", "-c", JOB, *made], 20.0

    app.discover()
    home = next(one.home for one in observatories() if one.name.upper() == "JWST")
    is_over: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: is_over.append(number))
    service = Service(
        root, Store(root), LocalEngine(cores=2), StandIn(home),
        gate=Conditions(settle=0.5).gate(root.parent / "inbox"), expectations=Expectations(quiet=10.0),
    )  # fmt: skip
    service.run(is_over=lambda: bool(is_over), pause=0.2)
    return 0


def exposure(number: int) -> tuple[str, str]:
    """Return name and header, as a FITS file has it, of an exposure."""
    observation, dither = divmod(number, TOGETHER)
    program, observation = 90001 + observation // OBSERVATIONS, 1 + observation % OBSERVATIONS
    name = f"jw{program}{observation:03d}001_02101_{dither + 1:05d}_nis_uncal.fits"
    values = {
        "DATE": "2026-01-01T00:00:00", "FILENAME": name, "PROGRAM": str(program),
        "OBSERVTN": f"{observation:03d}", "VISIT": "001", "VISITGRP": "02", "SEQ_ID": "1",
        "ACT_ID": "01", "EXPOSURE": f"{dither + 1:05d}", "VISIT_ID": f"{program}{observation:03d}001",
        "TARGPROP": f"FIELD-{observation}", "TARGNAME": f"FIELD-{observation}", "TELESCOP": "JWST",
        "TARGTYPE": "FIXED", "VISITYPE": "PRIME_TARGETED_FIXED", "INSTRUME": "NIRISS",
        "DETECTOR": "NIS", "FILTER": "CLEAR", "PUPIL": "F200W", "EXP_TYPE": "NIS_IMAGE",
        "SUBARRAY": "FULL", "PATTTYPE": "IMAGING",
    }  # fmt: skip
    numbers = {"NUMDTHPT": TOGETHER, "PATT_NUM": dither + 1, "NINTS": 1, "NGROUPS": 8}
    cards = [f"{'SIMPLE':8s}= {'T':>20s}", f"{'BITPIX':8s}= {8:20d}", f"{'NAXIS':8s}= {0:20d}"]
    cards += [f"{key:8s}= '{value:8s}'" for key, value in values.items()]
    cards += [f"{key:8s}= {value:20d}" for key, value in numbers.items()] + ["END"]
    text = "".join(f"{card:80s}" for card in cards)
    return name, text + " " * (-len(text) % 2880)


# -- the hour --------------------------------------------------------------------------------------


def soaked(
    folder: Path, seconds: float, pause: float, looks: int = 1
) -> tuple[list[Watched], dict]:
    """Run an observatory; return readings of its processes, and what is in the store."""
    from lightmill.workflow.store import Store, create_store

    root, inbox = folder / "site", folder / "inbox"
    root.mkdir()
    inbox.mkdir()
    create_store(root)
    (root / "observatory.yaml").write_text("observatory: JWST\n")
    with started([sys.executable, "-m", "benchmarks", "soak", "--serve", str(root)]) as service:
        command = [sys.executable, "-m", "lightmill", "ops", "serve", "--root", str(root)]
        with started([*command, "--port", "0"]) as dashboard:
            address = address_of(dashboard)
            watched = [
                Watched("ops watch: intake, rules, jobs", processes.handle_of(service.pid)),
                Watched("ops serve: the dashboard", processes.handle_of(dashboard.pid)),
            ]
            turns(watched, inbox, address, seconds, pause, looks)
    store = Store(root)
    counts = store.status()
    store.close()
    return watched, counts


@contextlib.contextmanager
def started(command: list[str]) -> Iterator[subprocess.Popen]:
    """Start a process; end it as a service manager does."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        cwd=Path(__file__).parents[1],
    )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def address_of(dashboard: subprocess.Popen) -> str:
    """Wait until the dashboard says where it is."""
    assert dashboard.stdout is not None
    found = re.search(r"http://\S+", dashboard.stdout.readline())
    if found is None:
        raise SystemExit("the dashboard did not start")
    return found[0]


def turns(
    watched: Sequence[Watched], inbox: Path, address: str, seconds: float, pause: float, looks: int
) -> None:
    """Deliver, look and read until the time is over."""
    begin = time.monotonic()
    number = 0
    while (now := time.monotonic() - begin) < seconds:
        name, content = exposure(number)
        aside = inbox / f".{name}"
        aside.write_text(content)
        aside.replace(inbox / name)
        for look in range(number * looks, (number + 1) * looks):
            page = PAGES[look % len(PAGES)]
            with urllib.request.urlopen(address + page, timeout=PATIENCE) as answer:
                answer.read()
        for one in watched:
            if not processes.is_running(one.handle):
                raise SystemExit(f"{one.name} has ended by itself")
            one.times.append(now)
            one.memory.append(own_mb(int(one.handle.partition(":")[0])))
        number += 1
        time.sleep(max(0.0, begin + number * pause - time.monotonic()))


def own_mb(pid: int) -> float:
    """Return the anonymous memory of a process, also what is swapped out [1e6 byte]."""
    facts = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    kilobytes = (int(facts[name].split()[0]) for name in ("RssAnon", "VmSwap"))
    return sum(kilobytes) * 1024 / 1e6


def trend(times: Sequence[float], memory: Sequence[float]) -> Trend:
    """Return the line through readings after the warm-up.

    The readings are averaged in ten parts of the time, and the slope's error is that of an
    ordinary least-squares line through the ten means.
    """
    when, value = np.asarray(times) / 3600.0, np.asarray(memory)
    is_warm = when >= when[0] + WARM_UP * (when[-1] - when[0])
    when, value = when[is_warm], value[is_warm]
    x = np.array([part.mean() for part in np.array_split(when, PARTS)])
    y = np.array([part.mean() for part in np.array_split(value, PARTS)])
    dx = x - x.mean()
    slope = float((dx * y).sum() / (dx**2).sum())
    left = y - y.mean() - slope * dx
    error = float(np.sqrt((left**2).sum() / (PARTS - 2) / (dx**2).sum()))
    first, last = (float(y.mean() + slope * (at - x.mean())) for at in (when[0], when[-1]))
    return Trend(first, last, slope, error)


def written(folder: Path, watched: Sequence[Watched], trends: dict[str, Trend]) -> None:
    """Write the readings as a table, and as a figure."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "soak.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["seconds", *[one.name for one in watched]])
        out.writerows(zip(watched[0].times, *[one.memory for one in watched], strict=True))
    figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
    for one in watched:
        found = trends[one.name]
        minutes = np.asarray(one.times) / 60
        (line,) = axes.plot(minutes, one.memory, lw=0.8)
        ends = minutes[-1] * WARM_UP, minutes[-1]
        label = f"{one.name}: {found.slope:+.2f} ± {found.error:.2f} MB/h"
        axes.plot(ends, (found.start_mb, found.end_mb), color=line.get_color(), lw=2, label=label)
    axes.set(xlabel="minutes", ylabel="own memory [MB]", ylim=(0, None))
    axes.legend(frameon=False, fontsize="small")
    figure.savefig(folder / "soak.png", dpi=120)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main())
