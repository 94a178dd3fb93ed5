"""Put a report together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lightmill.cli.report import charts, measures, pictures
from lightmill.errors import ConfigurationError

__all__ = ["write_report"]


def write_report(
    directory: str | Path,
    exposures: Sequence[Mapping[str, Any]],
    record: Mapping[str, Any],
    *,
    mosaics: Sequence[Mapping[str, Any]] = (),
    sky: str | Path | None = None,
) -> Path:
    """Write ``report.html`` about simulated exposures and what was made of them.

    Parameters
    ----------
    directory : path
        Where the report goes.
    exposures : sequence of mappings
        For each exposure the paths ``uncal``, ``rate``, ``truth`` and, if it was
        kept, ``ramp``; ``record``, the run record of its calibration; and,
        optionally, ``title``.
    record : mapping
        Of the whole: ``title``, ``command``, ``scene``, ``seed``, ``timings``
        (label to seconds), ``wall_s``; all optional.
    mosaics : sequence of mappings
        What stage 3 made of them, if it did: see `sky_page.sky_context`.
    sky : path, optional
        The simulated sky, which mosaics are compared with.

    Returns
    -------
    path : Path
        The page, which needs no other file.

    Raises
    ------
    ConfigurationError
        If the packages that draw it are not installed.
    """
    environment = _templates()
    shown = [_exposure(number, given) for number, given in enumerate(exposures, start=1)]
    figures = _key_figures(shown, record)
    context = None
    if mosaics and sky is not None:
        from lightmill.cli.report.sky_page import key_figures, sky_context

        context = sky_context(mosaics, Path(sky), _steps)
        figures = [*key_figures(context), *figures[-1:], *figures[:-1]][:6]
    page = environment.get_template("report.html.j2").render(
        record=record,
        exposures=shown,
        key_figures=figures,
        sky=context,
        runs=[*(context["mosaics"] if context else ()), *shown],
        references_of=_references,
        changed_of=_changed,
    )
    return written(directory, page)


def written(directory: str | Path, page: str) -> Path:
    """Write a page under the name reports have; it appears complete or not at all.

    Parameters
    ----------
    directory : path
    page : str

    Returns
    -------
    path : Path
        ``report.html``.
    """
    path = Path(directory) / "report.html"
    aside = path.with_name(path.name + ".part")
    aside.write_text(page, encoding="utf-8")
    aside.replace(path)
    return path


def _templates() -> Any:
    try:
        import jinja2
        import matplotlib as mpl
    except ImportError as problem:
        raise ConfigurationError(
            "the report needs packages that are not installed",
            place="lightmill demo",
            found=problem.name,
            remedy='pip install "lightmill[demo]"',
        ) from problem
    del mpl
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["seconds"] = _seconds
    environment.filters["percent"] = _percent
    return environment


def _exposure(number: int, given: Mapping[str, Any]) -> dict[str, Any]:
    ramp = given.get("ramp")
    e = measures.read(
        Path(given["uncal"]),
        Path(given["rate"]),
        Path(given["truth"]),
        Path(ramp) if ramp else None,
    )
    found_pulls = measures.pulls(e)
    found_jumps = measures.completeness(e)
    run = given.get("record") or {}
    header = e.header
    return {
        "number": number,
        "title": given.get("title") or f"Exposure {number}",
        "file": Path(given["uncal"]).name,
        "product": Path(given["rate"]).name,
        "facts": _facts(e),
        "pictures": _pictures(number, e),
        "close_ups": _close_ups(number, e),
        "pulls": found_pulls,
        "pull_chart": charts.pull_chart(found_pulls[0]) if found_pulls else "",
        "jumps": found_jumps,
        "jump_chart": charts.completeness_chart(found_jumps) if found_jumps else "",
        "flags": measures.flag_counts(e.dq),
        "pixels": e.dq.size,
        "megabytes": Path(given["uncal"]).stat().st_size / 1e6,
        "run": run,
        "steps": _steps(run),
        "header": header,
    }


def _facts(e: measures.Exposure) -> list[tuple[str, str]]:
    h = e.header
    ny, nx = e.dq.shape
    element = [str(h[k]) for k in ("FILTER", "PUPIL") if k in h and h[k] != "CLEAR"]
    return [
        ("instrument", f"{h.get('INSTRUME', '')} {h.get('DETECTOR', '')}".strip()),
        ("filter", " + ".join(element) or "none"),
        ("window", f"{h.get('SUBARRAY', '')} {nx} × {ny}"),
        ("pattern", f"{h.get('READPATT', '')}, {h['NINTS']} × {h['NGROUPS']} groups"),
        ("group time", f"{h['TGROUP']:.3f} s"),
        ("dither", f"{h.get('XOFFSET', 0):+.1f}″, {h.get('YOFFSET', 0):+.1f}″"),
    ]


def _pictures(number: int, e: measures.Exposure) -> list[pictures.Picture]:
    raw_low, raw_high = np.percentile(e.raw, [0.5, 99.7])
    low, high = _rate_range(e.rate)
    good = e.err[e.err > 0]
    err_low, err_high = np.percentile(good, [1, 99.5])
    return [
        pictures.picture(
            e.raw,
            key=f"raw-{number}",
            title="Raw",
            text="last group, as the converter gave it",
            alt="Last raw group of the whole window",
            palette="gray",
            low=float(raw_low),
            high=float(raw_high),
            contrast=3,
            unit="DN",
        ),
        pictures.picture(
            e.rate,
            key=f"rate-{number}",
            title="Count rate",
            text="the product",
            alt="Calibrated count-rate image of the whole window",
            palette="sky",
            low=low,
            high=high,
            contrast=60,
            unit="DN/s",
        ),
        pictures.flag_picture(
            e.dq, key=f"dq-{number}", text="flags; lone pixels are drawn larger than they are"
        ),
        pictures.picture(
            np.where(e.err > 0, e.err, np.nan),
            key=f"err-{number}",
            title="Error",
            text="one standard deviation",
            alt="Error of the count rate over the whole window",
            palette="viridis",
            low=float(err_low),
            high=float(err_high),
            contrast=4,
            unit="DN/s",
        ),
    ]


def _rate_range(rate: np.ndarray) -> tuple[float, float]:
    low, middle, high = np.nanpercentile(rate, [3, 50, 99.95])
    return float(middle - 1.2 * (middle - low)), float(high)


def _close_ups(number: int, e: measures.Exposure) -> list[pictures.Picture]:
    """Show the same small square at every stage, around the most rewarding source."""
    place = _rewarding(e)
    if place is None:
        return []
    cut = pictures.close_up(*place, e.dq.shape)
    raw, rate, pull = e.raw[cut], e.rate[cut], e.pull[cut]
    low, high = _rate_range(rate)
    raw_low, raw_high = np.percentile(raw, [1, 99.5])
    return [
        pictures.picture(
            raw,
            key=f"close-raw-{number}",
            title="Raw",
            text="last group",
            alt="Close-up of a galaxy in the raw data",
            palette="gray",
            low=float(raw_low),
            high=float(raw_high),
            contrast=3,
            unit="DN",
        ),
        pictures.picture(
            rate,
            key=f"close-rate-{number}",
            title="Count rate",
            text="product",
            alt="The same galaxy in the product",
            palette="sky",
            low=low,
            high=high,
            contrast=15,
            unit="DN/s",
        ),
        pictures.picture(
            e.truth["RATE"][cut],
            key=f"close-truth-{number}",
            title="Truth",
            text="what was simulated",
            alt="The same galaxy without noise, as simulated",
            palette="sky",
            low=low,
            high=high,
            contrast=15,
            unit="DN/s",
        ),
        pictures.picture(
            pull,
            key=f"close-pull-{number}",
            title="Pull",
            text="(rate − truth) / error; a perfect product leaves only noise",
            alt="Difference from the truth in units of the error, for the same galaxy",
            palette="RdBu_r",
            low=-5,
            high=5,
            unit="σ",
            missing="#555555",
        ),
    ]


def _rewarding(e: measures.Exposure) -> tuple[float, float] | None:
    catalog = e.truth.get("CATALOG")
    if catalog is None or not len(catalog):
        return None
    ny, nx = e.dq.shape
    inside = (catalog["y"] > 0.08 * ny) & (catalog["y"] < 0.92 * ny)
    inside &= (catalog["x"] > 0.08 * nx) & (catalog["x"] < 0.92 * nx)
    inside &= catalog["radius"] > 0
    if not inside.any():
        return None
    best = catalog[inside][np.argmax(catalog["radius"][inside])]
    return float(best["y"]), float(best["x"])


def _steps(run: Mapping[str, Any]) -> dict[str, Any]:
    rows = [dict(step) for step in run.get("steps", [])]
    total = sum(float(r.get("cpu_s") or 0) for r in rows)
    largest = max((float(r.get("cpu_s") or 0) for r in rows), default=0)
    for r in rows:
        cpu = float(r.get("cpu_s") or 0)
        r["share"] = cpu / total if total else 0.0
        r["bar"] = cpu / largest if largest else 0.0
    return {
        "rows": rows,
        "cpu": total,
        "wall": sum(float(r.get("wall_s") or 0) for r in rows),
        "has_memory": any(r.get("peak_mb") for r in rows),
    }


def _references(run: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return each type of reference: its file, who takes it, and by which rule."""
    used: dict[str, dict[str, Any]] = {}
    for step in run.get("steps", []):
        for kind, given in (step.get("references") or {}).items():
            facts = {"name": given} if isinstance(given, str) else given
            if facts.get("name") in (None, "N/A"):
                continue
            shown = used.setdefault(
                kind,
                {
                    "kind": kind,
                    "name": str(facts["name"]),
                    "hash": str(facts.get("sha256", ""))[:12],
                    "rule": str(facts.get("rule", "")),
                    "steps": [],
                },
            )
            shown["steps"].append(str(step.get("name", "")))
    return [{**used[kind], "steps": ", ".join(used[kind]["steps"])} for kind in sorted(used)]


def _changed(run: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return step, parameter, value and origin of what is not at its default."""
    rows = []
    for step in [{"name": run.get("pipeline", "pipeline"), **run}, *run.get("steps", [])]:
        for name, given in (step.get("parameters") or {}).items():
            if not isinstance(given, Mapping) or name.startswith("override_"):
                continue
            if given.get("origin", "default") != "default":
                rows.append((step["name"], name, str(given["value"]), str(given["origin"])))
    return rows


def _key_figures(shown: list[dict[str, Any]], record: Mapping[str, Any]) -> list[tuple[str, ...]]:
    figures: list[tuple[str, ...]] = []
    walls = [float(e["run"]["wall_s"]) for e in shown if e["run"].get("wall_s")]
    if walls:
        size = sum(e["megabytes"] for e in shown) / len(shown)
        figures.append(
            (_seconds(sum(walls) / len(walls)), "to calibrate an exposure", f"{size:.0f} MB raw")
        )
    peaks = [float(e["run"]["peak_mb"]) for e in shown if e["run"].get("peak_mb")]
    if peaks:
        figures.append((f"{max(peaks):,.0f} MB", "memory at most", "of the whole process"))
    clean = [p for e in shown for p in e["pulls"] if p.name == "clean sky"]
    if clean:
        n = sum(p.count for p in clean)
        mean = sum(p.mean * p.count for p in clean) / n
        std = sum(p.std * p.count for p in clean) / n
        figures.append((f"{mean:+.3f} ± {std:.2f}", "pull of clean sky", "0 ± 1 would be perfect"))
    found = [e["jumps"] for e in shown if e["jumps"]]
    if found:
        strong = sum(f.strong for f in found) / len(found)
        false = sum(f.false_alarms for f in found) / len(found)
        note = f"false alarms {false:.1e} per {found[0].per}"
        figures.append((_percent(strong), "of hits over 5 σ found", note))
    if record.get("wall_s"):
        figures.append((_seconds(float(record["wall_s"])), "from nothing to this page", ""))
    return figures


def _seconds(value: float | None) -> str:
    if value is None:
        return "–"
    if value < 0.0005:
        return "0"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def _percent(fraction: float) -> str:
    if fraction >= 0.9995:
        return "100 %"
    return (
        f"{fraction:.1%}".replace("%", " %")
        if fraction >= 0.001
        else f"{fraction:.3%}".replace("%", " %")
    )
