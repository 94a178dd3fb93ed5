"""Mosaics and catalogs against the sky that was simulated, ours beside the peer's.

    python -m benchmarks imaging-truth               of what `benchmarks imaging` made (made if absent)
    python -m benchmarks imaging-truth --of mosaic   of two detectors (scene mosaic), ours
    python -m benchmarks imaging-truth --of filters  of two filters, eight exposures each, ours
    python -m benchmarks imaging-truth --of demo     of two filters, four exposures each, ours

Bright stars are those simulated whose flux in the catalog has S/N > 50: all near a source of the
catalog, two near the same one too; those alone have less than one percent of their own light from
others within 0.8 arcsec. The same by `star_flux`, which a catalog of others has not; then each
source of the catalog counts once, for the brightest simulated near it; then those are left out
that the catalog itself says are blended. Widths are half of the middle 68 percent, beside the
standard deviation. Positions are compared after the offset that all have in common, which no
alignment between exposures can know.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks import cases, imaging
from benchmarks.measure import measured, table
from lightmill import app, models
from lightmill.cli.report.sky import (
    Mosaic,
    Residuals,
    alignment,
    magnitude_column,
    match,
    read_mosaic,
    read_sky,
)
from lightmill.models.dq import PIXEL
from lightmill.simulate import InstrumentFacts, Scene, observe

INSTRUMENTS = Path(app.__file__).parent / "observatories" / "jwst"
SEED = 1
RAYS = {"faint": (3.0, 10.0), "bright": (10.0, np.inf)}  # S/N
FAINTEST = 26  # AB magnitude of the last bin of completeness
NEAR, LITTLE = 0.8, 0.01  # arcsec; light of others there, over a star's, that leaves it alone
SCENES = {  # what is simulated: scene, and what of it is changed
    "mosaic": ("mosaic", {}),
    "filters": ("imaging-wide", {"filters": ("F150W", "F200W")}),
    "demo": ("imaging", {}),
}


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
    rows = _of_fluxes(found, "stars with S/N > 50", "")
    rows += _of_fluxes(match(mosaic, sources[alone(mosaic, sources)]), "those alone", "… alone: ")
    rows += _as_stars(mosaic, sources)
    if bright.any():
        rows.append(("positions, scatter a coordinate, mas", f"{alignment(found)[2]:.2f}"))
    for low, high, number, fraction in found.bins:
        if number > 9 and high <= FAINTEST:
            row = f"found of those of AB {low:.0f} to {high:.0f}"
            rows.append((row, f"{100 * fraction:.1f} % of {number}"))
    rows.append(("sources; near none simulated", f"{found.found}; {found.unmatched}"))
    return rows


def _as_stars(mosaic: Mosaic, sources: np.ndarray) -> list[tuple[str, str]]:
    """Return how the fluxes compare that know of neighbours; nothing if there are none."""
    if "star_flux" not in mosaic.catalog.colnames:
        return []
    found = match(mosaic, sources, "star")
    single = ~np.asarray(mosaic.catalog["is_blended"])[found.row]
    name = "by star_flux, S/N > 50"
    return [
        *_of_fluxes(found, name, "… "),
        *_of_fluxes(found, f"{name}, sources once", "… once: ", found.is_brightest),
        *_of_fluxes(found, f"{name}, not blended", "… not blended: ", found.is_brightest & single),
        ("windowed positions, scatter a coordinate, mas", f"{_windowed(mosaic, found)[2]:.2f}"),
    ]


def _windowed(mosaic: Mosaic, found: Residuals) -> tuple[float, float, float]:
    """Return how windowed places compare, as `alignment` does of centroids."""
    table = mosaic.catalog[found.row]
    ra, dec = mosaic.wcs.pixel_to_world_values(table["xwindowed"], table["ywindowed"])
    sky = table["sky_centroid"]
    east = (ra - sky.ra.deg) * np.cos(np.radians(dec)) * 3.6e6
    north = (dec - sky.dec.deg) * 3.6e6
    return alignment(replace(found, east=found.east + east, north=found.north + north))


def _of_fluxes(
    found: Residuals, name: str, start: str, among: np.ndarray | bool = True
) -> list[tuple[str, str]]:
    """Return how the fluxes of bright stars compare."""
    bright = found.bright_stars & among
    rows = [(name, f"{int(bright.sum())}")]
    if bright.any():
        off, scatter = _middle(found.difference[bright])
        pull, width = _middle(found.pull[bright])
        rows += [
            (f"{start}total magnitude, median", f"{off:+.4f}"),
            (f"{start}… scatter", f"{scatter:.4f}"),
            (f"{start}pulls of their fluxes: median, width", f"{pull:+.2f}, {width:.2f}"),
            (f"{start}… standard deviation", f"{found.pull[bright].std():.1f}"),
        ]
    return rows


def alone(mosaic: Mosaic, sources: np.ndarray) -> np.ndarray:
    """Say which sources have next to no light of others near them."""
    from scipy.spatial import KDTree

    light = 10 ** (-0.4 * np.asarray(sources[magnitude_column(sources, mosaic.filter)], float))
    ra, dec = sources["ra"], sources["dec"]
    east = (ra - ra[0]) * np.cos(np.radians(dec[0])) * 3600
    tree = KDTree(np.stack([east, (dec - dec[0]) * 3600], axis=1))
    near = tree.query_ball_point(tree.data, NEAR)
    others = np.array([light[which].sum() for which in near]) - light
    return others < LITTLE * light


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


def run_scene(bench: cases.Bench, name: str) -> tuple[Path, Path]:
    """Simulate a scene and make mosaics of it; return the folders of both."""
    folder, out = bench.work / f"truth-{name}", bench.work / f"truth-{name}-ours"
    if not sorted(folder.glob("*_rate.fits")):
        scene, changes = SCENES[name]
        leaf = INSTRUMENTS / (Scene.named(scene).instrument or "NIRISS").lower()
        facts = InstrumentFacts.from_yaml(leaf / "simulate.yaml")
        observe(facts, scene, seed=SEED, directory=folder, level="rate", **changes)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    given = ["--references", str(folder), "--output-dir", str(out), "--quiet"]
    rates = [str(path) for path in sorted(folder.glob("*_rate.fits"))]
    second = [*bench.command, "run", "calwebb_image2", *rates, *given, "--skip", "resample"]
    measured(second, bench.logs / f"truth-{name}.ours2")
    filters: dict[str, list[str]] = {}
    for path in sorted(out.glob("*_cal.fits")):
        meta = models.open(path).meta
        wheels = "_".join(str(meta.get(f"instrument.{key}")) for key in ("filter", "pupil"))
        filters.setdefault(wheels.lower(), []).append(path.name)
    for wheels, members in filters.items():
        asn = imaging.association(out, members, name=wheels)
        measured(
            [*bench.command, "run", "calwebb_image3", str(asn), *given],
            bench.logs / f"truth-{name}.{wheels}",
        )
    return folder, out


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks imaging-truth", description=__doc__)
    cases.add_arguments(parser)
    parser.add_argument("--of", choices=SCENES, help="what is simulated instead")
    options = parser.parse_args()
    bench = cases.Bench(options)
    app.discover()
    if options.of:
        simulated, ours = run_scene(bench, options.of)
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
        if not options.of and folder.exists():
            columns[f"{name}, {mosaic.filter}"] |= dict(exposure_rows(folder, simulated))
    names = list(dict.fromkeys(row for column in columns.values() for row in column))
    rows = [[row, *(column.get(row, "–") for column in columns.values())] for row in names]
    print(table(["against the truth", *columns], rows))
    return 0
