"""The night of a demonstration in random orders of arrival, against the one that was undisturbed.

    lightmill demo DEMO --scene night-tiny
    python -m benchmarks orders DEMO [--runs 2] [--seed 1]

Each time the raw files are delivered in another order, some twice, half of them also in an older
generation that comes before or after, and the last two when all else is done. The pipelines are the
real ones. At the end the tasks, and what the products say, have to be those of the demonstration.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
import threading
import time
from pathlib import Path

import yaml
from astropy.io import fits
from sqlalchemy import select

from benchmarks.measure import table
from lightmill.cli.ops.place import FILE, site_of
from lightmill.cli.ops.running import service_of
from lightmill.workflow.arrivals import Gate
from lightmill.workflow.conditions import Expectations
from lightmill.workflow.engines.local import LocalEngine
from lightmill.workflow.store import Store, create_store
from lightmill.workflow.store import tables as t

OLD = "2001-01-01T00:00:00.000"
PAUSE = 0.3  # s between two deliveries, on the average
SETTLE = 0.2
QUIET = 2.0  # s without work after which the late ones come, and after those the end


def outcome(site: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return what current products say, and the states of tasks."""
    store = Store(site)
    d, k = t.datasets.c, t.tasks.c
    with store.reading() as connection:
        files = connection.execute(
            select(d.name, d.content, d.path).where(d.state == "CURRENT")
        ).all()
        tasks = connection.execute(select(k.identity, k.state).where(k.state != "SUPERSEDED")).all()
    store.close()
    return (
        {row.name: row.content or _rows(site / "archive" / row.path) for row in files},
        {row.identity: row.state for row in tasks},
    )


def _rows(path: Path) -> str:
    """Return a catalog without its comments, which tell when it was made."""
    lines = path.read_text().splitlines()
    return "\n".join(line for line in lines if not line.startswith("#"))


def delivered(path: Path, inbox: Path, *, is_old: bool) -> None:
    """Deliver a file as it is, or an older generation of it: other pixels, and a date before."""
    aside = inbox / f".{path.name}"
    shutil.copy(path, aside)
    if is_old:
        with fits.open(aside, mode="update") as hdus:
            hdus[0].header["DATE"] = OLD
            hdus["SCI"].data[..., :2, :2] += 1
    target = inbox / path.name
    while target.exists():
        time.sleep(0.05)
    aside.replace(target)


def night(demo: Path, site: Path, seed: int) -> tuple[int, dict[str, dict[str, int]]]:
    """Play a night; return how many files were delivered, and the counts of the store."""
    draw = random.Random(seed)
    raw = sorted((demo / "raw").glob("*_uncal.fits"))
    deliveries = [(path, False) for path in raw]
    deliveries += [(path, True) for path in draw.sample(raw, len(raw) // 2)]
    deliveries += draw.sample(deliveries, 2)
    draw.shuffle(deliveries)
    late = [deliveries.pop() for _ in range(2)]
    inbox = site.parent / "inbox"
    inbox.mkdir()
    site.mkdir()
    told = yaml.safe_load((demo / "site" / FILE).read_text())
    (site / FILE).write_text(yaml.safe_dump(told))
    create_store(site)
    service = service_of(
        site_of(site), gate=Gate(inbox, settle=SETTLE), engine=LocalEngine(),
        expectations=Expectations(quiet=QUIET, patience=QUIET),
    )  # fmt: skip
    worked = [time.monotonic()]
    is_over = threading.Event()
    thread = threading.Thread(
        target=service.run,
        kwargs={
            "is_over": is_over.is_set, "pause": 0.05,
            "told": lambda done: worked.append(time.monotonic()) if done else None,
        },
    )  # fmt: skip
    thread.start()
    for some in (deliveries, late):
        for path, is_old in some:
            delivered(path, inbox, is_old=is_old)
            time.sleep(draw.uniform(0, 2 * PAUSE))
        while time.monotonic() - worked[-1] < QUIET + 1 or not service.is_idle():
            time.sleep(0.1)
    is_over.set()
    thread.join()
    counts = service.store.status()
    service.close()
    return len(raw) + len(raw) // 2 + 2, counts


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks orders", description=__doc__)
    parser.add_argument("demo", type=Path)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    products, tasks = outcome(options.demo / "site")
    rows, same = [], True
    for seed in range(options.seed, options.seed + options.runs):
        with tempfile.TemporaryDirectory(prefix="lightmill-orders-") as folder:
            begin = time.perf_counter()
            count, counts = night(options.demo, Path(folder, "site"), seed)
            spent = time.perf_counter() - begin
            made, done = outcome(Path(folder, "site"))
        differ = sorted(
            name for name in products.keys() | made.keys() if products.get(name) != made.get(name)
        )
        same &= not differ and done == tasks
        rows.append([seed, count, sum(counts["jobs"].values()), len(made), len(differ),
                     "equal" if done == tasks else "DIFFER", f"{spent:.0f}"])  # fmt: skip
        print(f"order {seed}: {counts['datasets']}, {counts['jobs']}", flush=True)
        for name in differ[:10]:
            print(f"  differs: {name}")
    head = ["order", "deliveries", "jobs", "current files", "that differ", "tasks", "s"]
    print(table(head, rows))
    return 0 if same else 1
