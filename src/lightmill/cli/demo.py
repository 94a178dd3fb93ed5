"""A night that never was: simulate it, calibrate it, report on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightmill import simulate
from lightmill.cli.report import write_report

__all__ = ["run_demo", "write_cache_beside"]

Calibrate = Callable[
    [simulate.SimulatedExposure, simulate.SimulatedCache | None, Path], Mapping[str, Any]
]
Progress = Callable[[str, int, int], None]


def run_demo(
    facts: simulate.InstrumentFacts,
    directory: str | Path,
    calibrate: Calibrate,
    *,
    scene: str = "demo",
    seed: int = 1,
    command: str = "lightmill demo",
    progress: Progress | None = None,
) -> Path:
    """Simulate a scene, calibrate its exposures by the rules beside them and write the report.

    Parameters
    ----------
    facts : InstrumentFacts
        The instrument to simulate.
    directory : path
        Gets ``raw/`` with the cache ``raw/crds``, ``products/`` and ``report.html``.
    calibrate : callable
        Given an exposure, the cache of its references (None for an instrument whose
        rules are not known) and a folder, makes the products there and returns ``rate`` (path), ``record`` (the run record)
        and, if it was kept, ``ramp`` (path).
    scene : str
        Name of a scene.
    seed : int
        Decides everything drawn at random.
    command : str
        What the user typed, for the report.
    progress : callable, optional
        Told (what is done, steps done, steps in all).

    Returns
    -------
    report : Path
        The page.
    """
    directory = Path(directory)
    begin = time.perf_counter()
    timings: dict[str, float] = {}
    tell = progress or _nothing
    observed = simulate.observe(
        facts, scene, seed=seed, directory=directory / "raw", progress=progress
    )
    cache = write_cache_beside(facts, observed, directory / "raw")
    timings["simulate the raw exposures"] = time.perf_counter() - begin
    products = directory / "products"
    products.mkdir(parents=True, exist_ok=True)
    exposures = []
    mark = time.perf_counter()
    for number, one in enumerate(observed):
        tell(f"calibrate {one.uncal.name}", number, len(observed))
        made = calibrate(one, cache, products)
        exposures.append({"uncal": one.uncal, "truth": one.truth, "title": one.title, **made})
    timings["calibrate them"] = time.perf_counter() - mark
    tell("write the report", 0, 1)
    record = {
        "title": "From raw readouts to count rates",
        "command": command,
        "scene": scene,
        "seed": seed,
        "timings": timings,
        "wall_s": time.perf_counter() - begin,
    }
    report = write_report(directory, exposures, record)
    tell("write the report", 1, 1)
    return report


def write_cache_beside(
    facts: simulate.InstrumentFacts,
    exposures: Sequence[simulate.SimulatedExposure],
    directory: Path,
) -> simulate.SimulatedCache | None:
    """Write the references of exposures, and rules that choose them, to the folder ``crds``.

    Parameters
    ----------
    facts : InstrumentFacts
        The instrument.
    exposures : sequence of SimulatedExposure
        What was simulated.
    directory : Path
        Where the exposures are.

    Returns
    -------
    cache : SimulatedCache or None
        None for an instrument of which it is not known how references are chosen.
    """
    return simulate.write_cache(directory / "crds", facts, exposures) if facts.rules else None


def _nothing(what: str, done: int, total: int) -> None:
    """Tell nobody."""
