"""The part of a report that is about mosaics and catalogs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lightmill import models
from lightmill.cli.report import charts, pictures
from lightmill.cli.report.colour import colour_picture
from lightmill.cli.report.sky import (
    Mosaic,
    Residuals,
    alignment,
    match,
    read_mosaic,
    read_sky,
)

__all__ = ["key_figures", "sky_context"]

Rows = list[tuple[str, str, str]]


def sky_context(
    given: Sequence[Mapping[str, Any]], truth: Path, steps_of: Callable[[Mapping[str, Any]], Any]
) -> dict[str, Any]:
    """Return what the template shows of some mosaics.

    Parameters
    ----------
    given : sequence of mappings
        For each mosaic the paths ``i2d``, ``cat``, ``segm``; ``members``, the pairs of paths of each
        exposure before and after stage 3; and ``record``, the run record.
    truth : Path
        The simulated sky.
    steps_of : callable
        Makes the table of steps of a run record.
    """
    tables = read_sky(truth)
    sources, pointing = tables["SOURCES"], tables["POINTING"]
    mosaics = [read_mosaic(Path(one["i2d"]), Path(one["cat"])) for one in given]
    order = np.argsort(
        [one.filter for one in mosaics]
    )  # the field's filters are named by wavelength
    shown = [_mosaic(n, mosaics[i], given[i], sources, pointing, steps_of)
             for n, i in enumerate(order, 1)]  # fmt: skip
    colour = None
    if len(mosaics) > 1:
        colour = colour_picture([mosaics[i] for i in order], key="colours")
    return {"mosaics": shown, "colour": colour}


def key_figures(sky: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the few numbers that say most about the mosaics."""
    found: list[tuple[str, str, str]] = []
    residuals: list[Residuals] = [one["residuals"] for one in sky["mosaics"]]
    scatter = [alignment(one)[2] for one in residuals]
    if np.isfinite(scatter).any():
        found.append((f"{np.nanmax(scatter):.1f} mas", "scatter of star positions", "a coordinate"))
    offset = [float(np.median(r.difference[r.bright_stars])) for r in residuals
              if r.bright_stars.any()]  # fmt: skip
    if offset:
        worst = max(offset, key=abs)
        found.append((f"{worst:+.3f} mag", "stars against the truth", "median, S/N > 50"))
    found.append(
        (f"{sum(r.found for r in residuals):,}", "sources in the catalogs",
         f"{sum(r.unmatched for r in residuals)} are near none that was simulated")
    )  # fmt: skip
    return found


def _mosaic(
    number: int,
    mosaic: Mosaic,
    given: Mapping[str, Any],
    sources: np.ndarray,
    pointing: np.ndarray,
    steps_of: Callable[[Mapping[str, Any]], Any],
) -> dict[str, Any]:
    residuals = match(mosaic, sources)
    bright = residuals.bright_stars
    run = given.get("record") or {}
    return {
        "title": f"Mosaic {mosaic.filter}",
        "file": mosaic.path.name,
        "product": mosaic.path.name,
        "facts": _facts(mosaic, given),
        "pictures": _pictures(number, mosaic, given),
        "close_ups": _close_ups(number, mosaic, given, sources),
        "magnitudes": charts.magnitude_chart(
            residuals.magnitude, residuals.difference, residuals.is_star
        ),
        "offsets": charts.offset_chart(residuals.east[bright], residuals.north[bright]),
        "completeness": charts.sources_chart(residuals.bins),
        "brightness": _brightness(residuals),
        "positions": _positions(residuals),
        "sources": _sources(residuals),
        "exposures": _exposures(given, pointing),
        "residuals": residuals,
        "steps": steps_of(run),
        "run": run,
    }


def _facts(mosaic: Mosaic, given: Mapping[str, Any]) -> list[tuple[str, str]]:
    ny, nx = mosaic.data.shape
    seen = mosaic.weight > 0
    return [
        ("filter", mosaic.filter),
        ("size", f"{nx} × {ny} pixels"),
        ("exposures", str(len(given.get("members", ())) or mosaic.exposures)),
        ("covered", f"{seen.mean():.0%} of the frame".replace("%", " %")),
        ("sources", f"{len(mosaic.catalog):,}"),
    ]


def _range(data: np.ndarray) -> tuple[float, float]:
    low, middle, high = np.nanpercentile(data, [3, 50, 99.9])
    return float(middle - 1.2 * (middle - low)), float(high)


def _pictures(number: int, mosaic: Mosaic, given: Mapping[str, Any]) -> list[pictures.Picture]:
    low, high = _range(mosaic.data)
    top = float(np.nanpercentile(mosaic.weight, 99.5))
    shown = [
        pictures.picture(
            mosaic.data, key=f"mosaic-{number}", title="Mosaic", text="surface brightness",
            alt=f"Mosaic in {mosaic.filter}", palette="sky", low=low, high=high, contrast=60,
            unit=mosaic.unit, missing="#0c0e14",
        ),
        pictures.picture(
            np.where(mosaic.weight > 0, mosaic.weight, np.nan), key=f"weight-{number}",
            title="Weight", text="inverse variance of the read noise of what contributes",
            alt="Weight of each pixel of the mosaic", palette="viridis", low=0.0, high=top,
            missing="#0c0e14",
        ),
    ]  # fmt: skip
    if given.get("segm"):
        labels = models.open(given["segm"]).data
        shown.append(_segments(number, labels))
    return shown


def _segments(number: int, labels: np.ndarray) -> pictures.Picture:
    """Paint each source in one of some colours that neighbours hardly share."""
    mixed = (labels.astype(np.int64) * 7919) % 17 + 1  # 7919 is prime: neighbours scatter
    shown = pictures.picture(
        np.where(labels > 0, mixed, np.nan).astype(float), key=f"segments-{number}",
        title="Sources", text="each source of the catalog in a colour; alike ones mean nothing",
        alt="Segmentation map: the pixels of each source", palette="turbo", low=0.0, high=18.0,
        missing="#0c0e14", average=False,
    )  # fmt: skip
    shown.scale = None  # the colours are no measure
    return shown


def _close_ups(
    number: int, mosaic: Mosaic, given: Mapping[str, Any], sources: np.ndarray
) -> list[pictures.Picture]:
    """Show a galaxy in one exposure and in the mosaic."""
    members = given.get("members") or []
    if not members:
        return []
    _, after = members[0]
    model = models.open(after)
    wcs = models.wcs_of(model)
    x, y = wcs.world_to_pixel_values(sources["ra"], sources["dec"])
    ny, nx = model.data.shape
    inside = (x > 0.1 * nx) & (x < 0.9 * nx) & (y > 0.1 * ny) & (y < 0.9 * ny)
    if not inside.any():
        return []
    best = np.flatnonzero(inside)[np.argmax(sources["radius"][inside])]
    place = (float(sources["ra"][best]), float(sources["dec"][best]))
    low, high = _range(mosaic.data)
    shown = []
    for label, text, data, place_of in (
        ("One exposure", "calibrated; white: flagged", _without_flagged(model), wcs),
        ("All exposures", "mosaic", mosaic.data, mosaic.wcs),
    ):
        px, py = place_of.world_to_pixel_values(*place)
        cut = pictures.close_up(float(py), float(px), data.shape)
        shown.append(
            pictures.picture(
                data[cut], key=f"close-{label[:3].lower()}-{number}", title=label, text=text,
                alt=f"Close-up of a galaxy: {label.lower()}", palette="sky", low=low, high=high,
                contrast=25, unit=mosaic.unit, missing="#e8e8e8",
            )
        )  # fmt: skip
    return shown


def _without_flagged(model: Any) -> np.ndarray:
    unusable = (np.asarray(model.array("dq")) & 1) != 0
    return np.where(unusable, np.nan, np.asarray(model.array("data")))


def _brightness(residuals: Residuals) -> Rows:
    bright = residuals.bright_stars
    if not bright.any():
        return []
    difference = residuals.difference[bright]
    moderate = residuals.is_star & (residuals.snr > 5) & np.isfinite(residuals.pull)
    pull = residuals.pull[moderate]
    width = 1.4826 * np.median(np.abs(pull - np.median(pull))) if pull.size else np.nan
    return [
        ("stars with S/N > 50", f"{int(bright.sum()):,}", ""),
        ("median difference", f"{np.median(difference):+.4f} mag", "0 would be perfect"),
        ("scatter", f"{1.4826 * np.median(np.abs(difference - np.median(difference))):.4f} mag",
         "from the median absolute deviation"),
        ("width of the pulls", f"{width:.2f}", f"{pull.size:,} stars with S/N > 5; 1 would be perfect"),
    ]  # fmt: skip


def _positions(residuals: Residuals) -> Rows:
    east, north, scatter = alignment(residuals)
    if not np.isfinite(scatter):
        return []
    return [
        ("scatter a coordinate", f"{scatter:.2f} mas", "alignment and centroids together"),
        ("mean offset", f"{east:+.1f}, {north:+.1f} mas",
         "east, north: what all pointings have in common; only a catalog of known positions tells"),
    ]  # fmt: skip


def _sources(residuals: Residuals) -> Rows:
    return [
        ("in the catalog", f"{residuals.found:,}", ""),
        ("near none simulated", f"{residuals.unmatched:,}", "noise, artefacts, parts of large galaxies"),
    ]  # fmt: skip


def _exposures(given: Mapping[str, Any], pointing: np.ndarray) -> list[dict[str, str]]:
    """Return how wrong the pointing of each exposure was, and what is left of it."""
    found: list[dict[str, Any]] = []
    said = {_key(row["exposure"]): row for row in pointing}
    for before, after in given.get("members", ()):
        row = said.get(_key(Path(before).name))
        if row is None:
            continue
        first, second = models.open(before), models.open(after)
        x, y = models.wcs_of(first).world_to_pixel_values(row["ra_said"], row["dec_said"])
        ra, dec = models.wcs_of(second).pixel_to_world_values(x, y)
        cosine = np.cos(np.radians(row["dec_true"]))
        level = second.meta.get("background.level")
        found.append(
            {
                "name": Path(before).stem,
                "error": np.hypot(row["east"], row["north"]) * 1000,
                "left": ((ra - row["ra_true"]) * cosine * 3.6e6, (dec - row["dec_true"]) * 3.6e6),
                "level": "" if level is None else f"{level:+.4f}",
            }
        )
    if not found:
        return []
    middle = np.mean([one["left"] for one in found], axis=0)
    for one in found:
        one["left"] = f"{np.hypot(*(np.asarray(one['left']) - middle)):.1f} mas"
        one["error"] = f"{one['error']:.0f} mas"
    return found


def _key(name: Any) -> str:
    """Return what an exposure's files share: the name without the kind of product."""
    text = name.decode() if isinstance(name, bytes) else str(name)
    return text.strip().rpartition("_")[0]
