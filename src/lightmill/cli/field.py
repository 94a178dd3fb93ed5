"""A field that never was: raw exposures in several filters, to mosaics and catalogs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightmill import simulate
from lightmill.cli.demo import write_cache_beside
from lightmill.cli.report import write_report
from lightmill.errors import LightmillError

__all__ = ["Clock", "associations_of", "members_of", "run_field", "write_field_report"]

Progress = Callable[[str, int, int], None]
Run = Callable[..., Mapping[str, Any]]
"""Runs a pipeline on one input: ``(pipeline, path, folder, progress=…)`` → suffix → path, and ``record``."""

STAGES = {1: "calwebb_detector1", 2: "calwebb_image2", 3: "calwebb_image3"}
SHOWN = 2  # exposures shown in full; the others are in the tables of their mosaics


def run_field(
    facts: simulate.InstrumentFacts,
    directory: str | Path,
    run: Callable[[simulate.SimulatedCache | None], Run],
    *,
    scene: str,
    seed: int = 1,
    command: str = "lightmill demo",
    progress: Progress | None = None,
) -> Path:
    """Simulate a field, take it from raw exposures to mosaics and catalogs, and write the report.

    Which exposures belong together is not told: a pool is made of their headers, and the
    observatory's rules of association say what is processed with what.

    Parameters
    ----------
    facts : InstrumentFacts
        The instrument to simulate.
    directory : path
        Gets ``raw/`` with the cache ``raw/crds``, ``products/`` and ``report.html``.
    run : callable
        Given the cache of references, returns what runs a pipeline on one input.
    scene : str
        Name of a scene with filters.
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
    directory, products = Path(directory), Path(directory) / "products"
    clock = Clock()
    observed = simulate.observe(
        facts, scene, seed=seed, directory=directory / "raw", progress=progress
    )
    runs = run(write_cache_beside(facts, observed, directory / "raw"))
    products.mkdir(parents=True, exist_ok=True)
    clock.lap("simulate the raw exposures")
    tell = progress or _nothing
    exposures = []
    for number, one in enumerate(observed):
        tell(f"calibrate {one.uncal.name}", number, len(observed))
        made = runs(STAGES[1], one.uncal, products, save_calibrated_ramp=number < SHOWN)
        exposures.append({"uncal": one.uncal, "truth": one.truth, "title": one.title, **made})
    clock.lap("stage 1: ramps to count rates")
    associations = associations_of([one.uncal for one in observed], products)
    clock.lap("associate the exposures")
    of_level = {
        level: [path for path in associations if f"_image{level}_" in path.name] for level in (2, 3)
    }
    for number, path in enumerate(of_level[2]):
        tell(f"calibrate {path.name}", number, len(of_level[2]))
        runs(STAGES[2], path, products)
    clock.lap("stage 2: count rates to calibrated images")
    mosaics = []
    for path in of_level[3]:
        made = runs(STAGES[3], path, products, progress=progress)
        mosaics.append({**made, "members": members_of(path, products)})
    clock.lap("stage 3: mosaics and catalogs")
    return write_field_report(
        directory,
        exposures,
        mosaics,
        {
            "title": "From raw readouts to mosaics and catalogs",
            "command": command,
            "scene": scene,
            "seed": seed,
            "timings": clock.laps,
            "wall_s": clock.total,
            "count": len(exposures),
        },
        sky=observed[0].sky,
        tell=tell,
    )


def write_field_report(
    directory: Path,
    exposures: list[dict[str, Any]],
    mosaics: list[dict[str, Any]],
    facts: Mapping[str, Any],
    *,
    sky: Path | None,
    tell: Progress,
) -> Path:
    """Write the report of a field.

    Parameters
    ----------
    directory : Path
        Gets the page.
    exposures : list of dict
        As `lightmill.cli.report.write_report` takes them; the first with ramps are shown in full.
    mosaics : list of dict
        Products by suffix, ``record`` and ``members`` of each.
    facts : mapping
        Title, command, scene, seed, timings, count.
    sky : Path or None
        Truth of the field.
    tell : callable
        Told (what is done, steps done, steps in all).

    Returns
    -------
    report : Path
        The page.
    """
    tell("write the report", 0, 1)
    report = write_report(directory, _in_full(exposures), facts, mosaics=mosaics, sky=sky)
    tell("write the report", 1, 1)
    return report


class Clock:
    """What took how long."""

    def __init__(self) -> None:
        self.begin = self.mark = time.perf_counter()
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        """Note what the time since the last lap went into."""
        now = time.perf_counter()
        self.laps[name], self.mark = now - self.mark, now

    @property
    def total(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self.begin


def associations_of(files: Sequence[Path], folder: Path) -> list[Path]:
    """Write the associations of exposures beside their products.

    Parameters
    ----------
    files : sequence of Path
        Raw exposures.
    folder : Path
        Gets the associations, and the pool they are made of.

    Returns
    -------
    paths : list of Path
        Of the associations.
    """
    from lightmill.association.engine import associate
    from lightmill.association.output import write_associations
    from lightmill.association.pool import write_pool
    from lightmill.association.pool_maker import make_pool
    from lightmill.cli.asn.making import definitions
    from lightmill.cli.asn.observatory import checked_pool, rules_of

    made = make_pool(list(files), definitions(), name="pool.csv")
    write_pool(made.pool, folder / "pool.csv")
    rules = rules_of(None, (), ignore_default=False, pool=folder / "pool.csv")
    pool = checked_pool(folder / "pool.csv", "|", rules, quiet=True)
    written = write_associations(
        associate(pool, rules),
        folder,
        **({"pattern": p} if (p := rules.shared.get("file_name")) else {}),
    )
    for refused in written.refused:
        raise refused
    return list(written.paths)


def members_of(association: Path, folder: Path) -> list[tuple[Path, Path]]:
    """Return each exposure of an association before and after stage 3."""
    document = json.loads(association.read_text())
    pairs = []
    for member in document["products"][0]["members"]:
        before = folder / member["expname"]
        stem = before.stem.rpartition("_")[0]
        after = folder / f"{stem}_{document['asn_id']}_crf.fits"
        if after.exists():
            pairs.append((before, after))
    return pairs


def _in_full(exposures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the exposures that the report shows in full: the first, whose ramps were kept."""
    chosen = [one for one in exposures if "ramp" in one][:SHOWN]
    if not chosen:
        raise LightmillError("no exposure was calibrated", found=len(exposures))
    return chosen


def _nothing(what: str, done: int, total: int) -> None:
    """Tell nobody."""
