"""``lightmill demo --scene iris``: a field and its sky, from the reads of the detectors to a mosaic."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lightmill import models
from lightmill.models import wcs_of
from lightmill.observatories.tmt.iris.simulate import Camera, observe
from lightmill.simulate.made import SimulatedExposure
from lightmill.simulate.story import Chapter, Plate, Story, Tools

__all__ = ["play"]

SIZE = 256  # [pixel] of the detectors that are simulated: 4096 in truth
DETECTORS = ("IMG1", "IMG2")
DITHERS = ((0.0, 0.0), (9.3, -6.6), (-7.5, 8.1))
APERTURE = 12.0  # [pixel]
INSIDE = 34  # [pixel] further from the edge than a star's image reaches
SKY = 20.0  # [DN/s]

Run = Callable[..., Mapping[str, Any]]


class _Reduced(NamedTuple):
    """A frame before and after, and what is true of it."""

    exposure: SimulatedExposure
    rop: Path
    cal: Path
    record: Mapping[str, Any]


def play(tools: Tools, directory: Path) -> Story:
    """Observe, calibrate as the association rules say, and compare with the truth.

    Parameters
    ----------
    tools : Tools
    directory : Path
        Gets ``raw/`` with the cache ``raw/crds``, and ``products/``.

    Returns
    -------
    story : Story
        What came out.
    """
    raw, products = directory / "raw", directory / "products"
    products.mkdir(parents=True, exist_ok=True)
    tools.tell("observe", 0, 1)
    observed, cache = observe(
        raw, camera=Camera(size=SIZE), detectors=DETECTORS, dithers=DITHERS, skies=3, darks=3,
        flats=3, stars=24, faintest=400.0, sky=SKY, seed=tools.seed,
    )  # fmt: skip
    run = tools.run(cache)
    rops = {}
    for number, one in enumerate(observed):
        tools.tell(f"sample {one.uncal.name}", number, len(observed))
        rops[one.title] = run("iris_rop", one.uncal, products)
    made = _by_associations(tools, run, [one.uncal for one in observed], products)
    frames = [
        _Reduced(
            one, Path(rops[one.title]["rop"]), made[one.title]["cal"], made[one.title]["record"]
        )
        for one in observed
        if "_sci_" in one.title
    ]
    (mosaic,) = [one for one in made.values() if "i2d" in one]
    return _told(observed, frames, made, mosaic)


def _by_associations(
    tools: Tools, run: Run, files: Sequence[Path], folder: Path
) -> dict[str, dict[str, Any]]:
    """Run what the associations of exposures ask for; return what each product became."""
    made: dict[str, dict[str, Any]] = {}
    found = {path: json.loads(path.read_text()) for path in tools.associate(files, folder)}
    for number, path in enumerate(sorted(found, key=lambda one: found[one]["asn_type"])):
        document = found[path]  # darks and flats first, then frames, then the mosaic
        tools.tell(f"calibrate {path.name}", number, len(found))
        made[document["products"][0]["name"]] = dict(
            run(f"iris_{document['asn_type']}", path, folder)
        )
    return made


def _told(
    observed: Sequence[SimulatedExposure],
    frames: Sequence[_Reduced],
    made: Mapping[str, Mapping[str, Any]],
    mosaic: Mapping[str, Any],
) -> Story:
    first = frames[0]
    stars, offset = _stars(frames)
    chi2 = float(np.mean([_chi2(one) for one in frames]))
    mosaic_path = Path(mosaic["i2d"])
    image = models.open(mosaic_path)
    return Story(
        title="IRIS: from the reads of its detectors to a mosaic",
        lead=f"{len(observed)} simulated exposures of {len(DETECTORS)} of the imager's detectors, cut"
        f" to {SIZE} × {SIZE} pixels: three dithers of a field, its changing sky, darks and flats. Pools"
        " and association rules said what belongs together, rules in the published form which references"
        " serve. Nothing here was observed.",
        figures=[
            (f"{stars[0] - 1:+.2%}", "brightness of the stars", f"known to {stars[1]:.2%}"),
            (f"{chi2:.3f}", "χ² of the reduced frames", "1 if errors are what they say"),
            (f"{offset * 1e3:.2g} mpix", "largest offset of a star's place", "in world coordinates"),
            (f"{_seconds(made):.1f} s", "CPU for all associations", ""),
        ],
        chapters=[
            _reads(first),
            _frame(first),
            Chapter(
                "The mosaic",
                "Dithered frames of both detectors, resampled to one grid. Pixels that are bad in one"
                " are seen by another.",
                [
                    Plate(np.asarray(image.data), "Mosaic", mosaic_path.name, "DN/s", -4, 80, 20),
                    Plate(
                        np.asarray(image.exptime), "Exposure time", "of each pixel", "s",
                        palette="viridis",
                    ),
                ],
            ),
            _table(frames),
        ],
        records={first.cal.name: first.record, mosaic_path.name: mosaic["record"]},
        product=mosaic_path,
    )  # fmt: skip


def _reads(one: _Reduced) -> Chapter:
    uncal, rate = models.open(one.exposure.uncal), models.open(one.rop)
    return Chapter(
        "From reads to a raw frame",
        "Ten reads of a detector, up the ramp: saturation, non-linearity, cosmic rays, and a line"
        " through what is left. The frame has its error and its flags.",
        [
            Plate(
                np.asarray(uncal.data[0, -1], float), "Last read", "counts", "DN", palette="gray"
            ),
            Plate(np.asarray(rate.data), "Raw frame", one.rop.name, "DN/s", 12, 120, 20),
        ],
    )


def _frame(one: _Reduced) -> Chapter:
    cal, truth = models.open(one.cal), models.open(one.exposure.truth)
    light = np.asarray(truth.light, float) - SKY
    pull = np.where((cal.dq & 1) == 0, (cal.data - light) / cal.err, np.nan)
    return Chapter(
        "Without dark and sky, and flat",
        "The sky of the exposures beside the field was up to 18 % brighter than that of the frame; it"
        " is scaled to the frame's own before it is subtracted.",
        [
            Plate(np.asarray(cal.data), "Reduced frame", one.cal.name, "DN/s", -6, 100, 20),
            Plate(light, "Truth", "what was simulated, without noise", "DN/s", -6, 100, 20),
            Plate(
                pull, "Pull", "(frame − truth) / error; a perfect frame leaves only noise", "σ",
                -5, 5, palette="RdBu_r",
            ),
            Plate(np.asarray(cal.err), "Error", "one standard deviation", "DN/s", palette="viridis"),
        ],
    )  # fmt: skip


def _table(frames: Sequence[_Reduced]) -> Chapter:
    rows = [("frame", "sky [DN/s]", "χ²", "pixels that cannot be used")]
    for one in frames:
        cal = models.open(one.cal)
        bad = f"{np.mean((cal.dq & 1) != 0):.2%}"
        level = f"{cal.meta.get('background.level'):.3f}"
        rows.append((one.cal.name, level, f"{_chi2(one):.3f}", bad))
    return Chapter("Every frame", f"The sky was {SKY:g} DN/s.", table=rows)


def _chi2(one: _Reduced) -> float:
    """Return the mean square of the pulls of pixels without flags."""
    cal, truth = models.open(one.cal), models.open(one.exposure.truth)
    good = cal.dq == 0
    pull = (cal.data - (np.asarray(truth.light) - SKY))[good] / cal.err[good]
    return float(np.mean(pull**2))


def _stars(frames: Sequence[_Reduced]) -> tuple[tuple[float, float], float]:
    """Return mean and error of measured over true brightness, and the largest offset [pixel]."""
    ratios, weights, offset = [], [], 0.0
    for one in frames:
        cal, truth = models.open(one.cal), models.open(one.exposure.truth)
        light = np.asarray(truth.light, float) - SKY
        wcs = wcs_of(cal)
        y, x = np.indices(light.shape)
        usable = (cal.dq & 1) == 0
        for star in _catalog(one.exposure.truth):
            if not all(INSIDE < star[axis] < SIZE - 1 - INSIDE for axis in "xy"):
                continue
            at = wcs.world_to_pixel_values(star["ra"], star["dec"])
            offset = max(offset, float(np.hypot(at[0] - star["x"], at[1] - star["y"])))
            aperture = (np.hypot(x - star["x"], y - star["y"]) < APERTURE) & usable
            expected = light[aperture].sum()
            ratios.append(cal.data[aperture].sum(dtype=float) / expected)
            weights.append(expected**2 / (cal.err[aperture].astype(float) ** 2).sum())
    mean = float(np.average(ratios, weights=weights))
    return (mean, float(np.sum(weights) ** -0.5)), offset


def _catalog(path: Path) -> np.ndarray:
    """Return the stars that were simulated."""
    from astropy.io import fits

    return np.asarray(fits.getdata(path, "CATALOG"))


def _seconds(made: Mapping[str, Mapping[str, Any]]) -> float:
    """Return the CPU time of the steps of all runs."""
    return sum(
        step.get("cpu_s") or 0.0 for one in made.values() for step in one["record"].get("steps", ())
    )
