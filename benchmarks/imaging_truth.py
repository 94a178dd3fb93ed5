"""Mosaics and catalogs against the sky that was simulated, ours beside the peer's.

    python -m benchmarks imaging-truth             of what `benchmarks imaging` made (made if absent)
    python -m benchmarks imaging-truth --mosaic    of two detectors, two filters (scene mosaic), ours

Bright stars are those with S/N > 50; positions are compared after the offset that all have in
common, which no alignment between exposures can know.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np

from benchmarks import cases, imaging
from benchmarks.measure import measured, table
from lightmill import app, models
from lightmill.cli.report.sky import Mosaic, alignment, match, read_mosaic, read_sky
from lightmill.models.dq import PIXEL

RAYS = {"faint": (3.0, 10.0), "bright": (10.0, np.inf)}  # S/N
FAINTEST = 26  # AB magnitude of the last bin of completeness


def products(folder: Path) -> list[Mosaic]:
    """Return the mosaics of stage 3 in a folder, with their catalogs."""
    found = []
    for path in sorted(folder.glob("*_i2d.fits")):
        catalog = path.with_name(path.name.replace("_i2d.fits", "_cat.ecsv"))
        if catalog.exists():
            found.append(read_mosaic(path, catalog))
    return found


def rays_left(folder: Path, simulated: Path) -> dict[str, tuple[int, int]]:
    """Return how many rays that stage 1 had not flagged are used still, of how many; by S/N."""
    counts = {name: [0, 0] for name in RAYS}
    for truth in sorted(simulated.glob("*_truth.fits")):
        rays = read_sky(truth).get("RAYS")
        stem = truth.name.removesuffix("_truth.fits")
        made = sorted(folder.glob(f"{stem}*_crf.fits"))
        if rays is None or not made:
            continue
        rays = rays[rays["flagged"] == 0]
        place = rays["y"], rays["x"]
        rate = models.open(simulated / f"{stem}_rate.fits")
        snr = rays["rate"] / np.asarray(rate.array("err"))[place]
        usable = (np.asarray(rate.array("dq"))[place] & PIXEL["DO_NOT_USE"]) == 0
        left = (np.asarray(models.open(made[0]).array("dq"))[place] & PIXEL["DO_NOT_USE"]) == 0
        for name, (low, high) in RAYS.items():
            which = usable & (snr >= low) & (snr < high)
            counts[name][0] += int((which & left).sum())
            counts[name][1] += int(which.sum())
    return {name: (left, of) for name, (left, of) in counts.items()}


def cores_flagged(folder: Path, simulated: Path) -> tuple[int, int]:
    """Return how many pixels of star cores (3 x 3) are taken for outliers, rays apart, of all."""
    sources = read_sky(next(simulated.glob("*_sky.fits")))["SOURCES"]
    stars = sources[np.char.strip(sources["kind"].astype("S8")) == b"STAR"]
    flagged = total = 0
    for truth in sorted(simulated.glob("*_truth.fits")):
        made = sorted(folder.glob(f"{truth.name.removesuffix('_truth.fits')}*_crf.fits"))
        rays = read_sky(truth).get("RAYS")
        if rays is None or not made:
            continue
        exposure = models.open(made[0])
        dq = np.asarray(exposure.array("dq"))
        ny, nx = dq.shape
        hit = np.zeros(dq.shape, bool)
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                hit[np.clip(rays["y"] + dy, 0, ny - 1), np.clip(rays["x"] + dx, 0, nx - 1)] = True
        places = models.wcs_of(exposure).world_to_pixel_values(stars["ra"], stars["dec"])
        x, y = np.rint(np.nan_to_num(np.array(places), nan=-9)).astype(int)
        inside = (x > 4) & (x < nx - 5) & (y > 4) & (y < ny - 5)
        core = np.zeros(dq.shape, bool)
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                core[y[inside] + dy, x[inside] + dx] = True
        outlier = (dq & PIXEL["OUTLIER"]) != 0
        core &= ~hit & (((dq & PIXEL["DO_NOT_USE"]) == 0) | outlier)
        flagged, total = flagged + int((core & outlier).sum()), total + int(core.sum())
    return flagged, total


def rows_of(mosaic: Mosaic, sources: np.ndarray) -> list[tuple[str, str]]:
    """Return what is to be said of a mosaic and its catalog: name and value."""
    found = match(mosaic, sources)
    bright = found.bright_stars
    rows = [("stars with S/N > 50", f"{int(bright.sum())}")]
    if bright.any():
        off, scatter = _middle(found.difference[bright])
        pull, width = _middle(found.pull[bright])
        rows += [
            ("total magnitude, median", f"{off:+.4f}"),
            ("… scatter", f"{scatter:.4f}"),
            ("pulls of their fluxes: median, width", f"{pull:+.2f}, {width:.2f}"),
            ("positions, scatter a coordinate, mas", f"{alignment(found)[2]:.2f}"),
        ]
    for low, high, number, fraction in found.bins:
        if number > 9 and high <= FAINTEST:
            row = f"found of those of AB {low:.0f} to {high:.0f}"
            rows.append((row, f"{100 * fraction:.1f} % of {number}"))
    rows.append(("sources; near none simulated", f"{found.found}; {found.unmatched}"))
    return rows


def _middle(values: np.ndarray) -> tuple[float, float]:
    """Return median, and half the width of the middle 68 %."""
    low, median, high = np.percentile(values, [15.865, 50, 84.135])
    return float(median), float(high - low) / 2


def exposure_rows(folder: Path, simulated: Path) -> list[tuple[str, str]]:
    """Return what is to be said of the flags of exposures: name and value."""
    left = rays_left(folder, simulated)
    flagged, total = cores_flagged(folder, simulated)
    return [
        *(
            (f"cosmic rays left, S/N from {RAYS[name][0]:.0f}", f"{count} of {of}")
            for name, (count, of) in left.items()
        ),
        ("pixels of star cores taken for rays", f"{flagged} of {total}"),
    ]


def run_mosaic(bench: cases.Bench) -> tuple[Path, Path]:
    """Simulate two detectors and make mosaics; return the folders of both."""
    folder, out = bench.work / "mosaic", bench.work / "mosaic-ours"
    if not sorted(folder.glob("*_rate.fits")):
        command = [*bench.command, "simulate", "mosaic", str(folder), "--level", "rate"]
        measured(command, bench.logs / "mosaic.make")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    given = ["--references", str(folder), "--output-dir", str(out), "--quiet"]
    rates = [str(path) for path in sorted(folder.glob("*_rate.fits"))]
    second = [*bench.command, "run", "calwebb_image2", *rates, *given, "--skip", "resample"]
    measured(second, bench.logs / "mosaic.ours2")
    filters: dict[str, list[str]] = {}
    for path in sorted(out.glob("*_cal.fits")):
        meta = models.open(path).meta
        name = "_".join(str(meta.get(f"instrument.{key}")) for key in ("filter", "pupil"))
        filters.setdefault(name.lower(), []).append(path.name)
    for name, members in filters.items():
        asn = imaging.association(out, members, name=name)
        measured(
            [*bench.command, "run", "calwebb_image3", str(asn), *given],
            bench.logs / f"mosaic.{name}",
        )
    return folder, out


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks imaging-truth", description=__doc__)
    cases.add_arguments(parser)
    parser.add_argument("--mosaic", action="store_true")
    options = parser.parse_args()
    bench = cases.Bench(options)
    app.discover()
    if options.mosaic:
        simulated, ours = run_mosaic(bench)
        folders = [("Lightmill", ours)]
    else:
        simulated, ours = imaging.simulated(bench), bench.work / "imaging-ours"
        if not products(ours):
            imaging.run_ours(bench, simulated, ours)
        folders = [("Lightmill", ours), ("peer", bench.work / "imaging-peer")]
    sources = read_sky(next(simulated.glob("*_sky.fits")))["SOURCES"]
    columns: dict[str, dict[str, str]] = {}
    for name, folder in folders:
        for mosaic in products(folder):
            columns[f"{name}, {mosaic.filter}"] = dict(rows_of(mosaic, sources))
        if not options.mosaic and folder.exists():
            columns[f"{name}, {mosaic.filter}"] |= dict(exposure_rows(folder, simulated))
    names = list(dict.fromkeys(row for column in columns.values() for row in column))
    rows = [[row, *(column.get(row, "–") for column in columns.values())] for row in names]
    print(table(["against the truth", *columns], rows))
    return 0
