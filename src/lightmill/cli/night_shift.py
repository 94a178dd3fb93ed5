"""A night that never was, as an observatory lives it: files arrive, and nobody does anything."""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightmill import simulate
from lightmill.cli.demo import write_cache_beside
from lightmill.cli.field import Clock, members_of, write_field_report
from lightmill.errors import LightmillError
from lightmill.workflow.states import TaskState

if TYPE_CHECKING:
    from lightmill.workflow.engines import Engine
    from lightmill.workflow.service import Ticked
    from lightmill.workflow.store import Store

__all__ = ["run_night"]

log = logging.getLogger("lightmill.demo")

Progress = Callable[[str, int, int], None]
SHOWN = 2  # exposures whose ramps the report shows
QUIET = 4.0  # s without an exposure after which the night's candidates are taken as they are
SETTLE = 0.5  # s
LONGEST = 1.5  # s between two deliveries
REMEDY = 'pip install "lightmill[server]"'


def run_night(
    facts: simulate.InstrumentFacts,
    directory: str | Path,
    run: Callable[[simulate.SimulatedCache | None], Any],
    *,
    scene: str,
    seed: int = 1,
    command: str = "lightmill demo",
    progress: Progress | None = None,
    engine: Callable[[Path], Engine] | None = None,
) -> Path:
    """Simulate a field, deliver its exposures one by one, and let an observatory do the rest.

    Parameters
    ----------
    facts : InstrumentFacts
        The instrument to simulate.
    directory : path
        Gets ``raw/``, ``site/`` (the observatory's folder), ``products/`` and ``report.html``.
    run : callable
        As for `run_field`; shows the ramps of two exposures in the report.
    scene : str
        Name of a scene with filters.
    seed : int
        Decides everything drawn at random, the order of deliveries too.
    command : str
        What the user typed, for the report.
    progress : callable, optional
        Told (what is done, steps done, steps in all).
    engine : callable, optional
        Returns where jobs run, given the observatory's folder; processes of this machine by default.

    Returns
    -------
    report : Path
        The page.

    Raises
    ------
    LightmillError
        If something of the night is not done at its end.
    """
    directory = Path(directory)
    clock, tell = Clock(), progress or _nothing
    observed = simulate.observe(
        facts, scene, seed=seed, directory=directory / "raw", progress=progress
    )
    cache = write_cache_beside(facts, observed, directory / "raw")
    clock.lap("simulate the raw exposures")
    said = {"observatory": str(facts.header.get("TELESCOP", "")), "run": _options(cache)}
    tasks = _passed(directory, [one.uncal for one in observed], said, seed, tell, engine)
    clock.lap("the night: from deliveries to mosaics and catalogs")
    exposures = _with_ramps(observed[:SHOWN], run(cache), directory / "shown")
    clock.lap("two exposures once more, with their ramps")
    site, products = directory / "site", directory / "products"
    mosaics = [
        _mosaic(task, site / "jobs" / str(job_id), products)
        for task, job_id in tasks
        if task.level == 3
    ]
    told = {
        "title": "A night: from deliveries to mosaics and catalogs",
        "command": command,
        "scene": scene,
        "seed": seed,
        "timings": clock.laps,
        "wall_s": clock.total,
        "count": len(observed),
        **_board(site, directory / "dashboard"),
    }
    return write_field_report(directory, exposures, mosaics, told, sky=observed[0].sky, tell=tell)


def _passed(
    directory: Path,
    exposures: Sequence[Path],
    said: Mapping[str, Any],
    seed: int,
    tell: Progress,
    engine: Callable[[Path], Engine] | None,
) -> list[tuple[Any, int]]:
    """Let a night pass over an observatory; return its tasks with the job that did each.

    What the observatory's file says (`said`) is whose it is, and words for every run.
    """
    site, inbox = directory / "site", directory / "inbox"
    for old in (site, inbox, directory / "dashboard"):
        shutil.rmtree(old, ignore_errors=True)
    inbox.mkdir()
    night = threading.Thread(target=_deliver, args=(exposures, inbox, seed), daemon=True)
    night.start()
    store = _run(site, inbox, said, night, tell, engine)
    tasks, files = _result(store)
    store.close()
    _kept(files, site / "archive", directory / "products")
    return tasks


def _with_ramps(
    observed: Sequence[simulate.SimulatedExposure], run: Any, folder: Path
) -> list[dict[str, Any]]:
    """Calibrate exposures once more, keeping the ramps for the report."""
    return [
        {"uncal": one.uncal, "truth": one.truth, "title": one.title,
         **run("calwebb_detector1", one.uncal, folder, save_calibrated_ramp=True)}
        for one in observed
    ]  # fmt: skip


def _options(cache: simulate.SimulatedCache | None) -> list[str]:
    """Return the words that tell every run where its references are."""
    words = [] if cache is None else ["--crds-path", str(cache.root.resolve())]
    if cache is not None and cache.context:
        words += ["--context", str(cache.context)]
    return words


def _deliver(files: Sequence[Path], inbox: Path, seed: int) -> None:
    """Bring exposures as a network would: in any order, with pauses, complete at once."""
    draw = random.Random(seed)  # noqa: S311 - an order of files is no secret
    order = list(files)
    draw.shuffle(order)
    for path in order:
        aside = inbox / f"{path.name}.part"
        shutil.copyfile(path, aside)
        aside.replace(inbox / path.name)
        time.sleep(draw.uniform(0, LONGEST))


def _run(
    site: Path,
    inbox: Path,
    said: Mapping[str, Any],
    night: threading.Thread,
    tell: Progress,
    engine: Callable[[Path], Engine] | None,
) -> Store:
    """Run an observatory until the night is over and everything is done."""
    import yaml

    from lightmill.cli.ops.engines import engine_of
    from lightmill.cli.ops.place import FILE, site_of
    from lightmill.cli.ops.running import service_of
    from lightmill.workflow.arrivals import Gate
    from lightmill.workflow.conditions import Expectations
    from lightmill.workflow.store import create_store

    site.mkdir(parents=True)
    (site / FILE).write_text(yaml.safe_dump(dict(said)), encoding="utf-8")
    create_store(site)
    service = service_of(
        site_of(site),
        gate=Gate(inbox, settle=SETTLE),
        expectations=Expectations(quiet=QUIET),
        engine=(engine or engine_of)(site),
    )
    last = [time.monotonic()]

    def told(done: Ticked) -> None:
        if done or night.is_alive():
            last[0] = time.monotonic()
        counts = service.store.status()["tasks"]
        ended = sum(counts.get(state, 0) for state in (TaskState.DONE, TaskState.FAILED))
        tell("the night", ended, max(1, sum(counts.values())))

    def is_over() -> bool:
        idle = time.monotonic() - last[0]
        return not night.is_alive() and idle > QUIET + 2 * SETTLE and service.is_idle()

    try:
        service.run(told=told, is_over=is_over, pause=0.1)
    finally:
        if service.engine is not None:
            service.engine.close()
    return service.store


def _result(store: Store) -> tuple[list[tuple[Any, int]], list[Any]]:
    """Return the tasks with the job that did each, and the current files.

    Raises
    ------
    LightmillError
        If a task is not done.
    """
    from sqlalchemy import func, select

    from lightmill.workflow.store import tables as t

    with store.reading() as connection:
        tasks = connection.execute(
            select(t.tasks)
            .where(t.tasks.c.state != TaskState.SUPERSEDED)
            .order_by(t.tasks.c.level, t.tasks.c.name)
        ).all()
        jobs = dict(
            connection.execute(
                select(t.jobs.c.task_id, func.max(t.jobs.c.id))
                .where(t.jobs.c.state == "DONE")
                .group_by(t.jobs.c.task_id)
            ).all()
        )
        files = connection.execute(
            select(t.datasets.c.name, t.datasets.c.path).where(t.datasets.c.state == "CURRENT")
        ).all()
    undone = [task for task in tasks if task.state != TaskState.DONE]
    if undone or not tasks:
        raise LightmillError(
            "the night did not end well",
            place=store.engine.url.database,
            found="; ".join(f"{one.name} {one.state} {one.reason}" for one in undone) or "no task",
            remedy="lightmill ops tasks, and lightmill ops why TASK, with --root of this folder",
        )
    return [(task, jobs[task.id]) for task in tasks], list(files)


def _kept(files: Sequence[Any], archive: Path, products: Path) -> None:
    """Show the archive's products in one folder."""
    products.mkdir(parents=True, exist_ok=True)
    for name, path in files:
        target = products / name
        target.unlink(missing_ok=True)
        try:
            os.link(archive / path, target)
        except OSError:
            shutil.copyfile(archive / path, target)


def _mosaic(task: Any, job: Path, products: Path) -> dict[str, Any]:
    """Return what the report needs of a mosaic."""
    association = products / task.name
    association.write_text(json.dumps(task.document, indent=1))
    record: Mapping[str, Any] = {}
    for path in sorted((job / "out").glob("*_run.json")):
        record = json.loads(path.read_text())
    name = task.document["products"][0]["name"]
    made = {
        suffix: path
        for suffix, ending in (("i2d", "fits"), ("cat", "ecsv"), ("segm", "fits"))
        if (path := products / f"{name}_{suffix}.{ending}").exists()
    }
    return {**made, "record": record, "members": members_of(association, products)}


def _board(site: Path, folder: Path) -> dict[str, str]:
    """Write the dashboard as pages without a server.

    Returns
    -------
    told : dict
        For the report: ``dashboard``, the first page; or ``no_dashboard``, which package misses.
    """
    try:
        from lightmill.dashboard import export
    except ImportError as problem:
        if (problem.name or "").startswith("lightmill"):
            raise
        missing = problem.name or str(problem)
        log.warning("no pages of the dashboard: %s is not installed; %s", missing, REMEDY)
        return {"no_dashboard": missing, "remedy": REMEDY}
    from lightmill.cli.ops.place import site_of

    page = export(site_of(site).place, archive=site / "archive", folder=folder)
    return {"dashboard": str(Path(page).relative_to(folder.parent))}


def _nothing(what: str, done: int, total: int) -> None:
    """Tell nobody."""
