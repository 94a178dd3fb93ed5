"""Throughput, latency and lineage as SVG, drawn in the page's own colours.

Text that comes from the store is escaped by `Markup.format`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

__all__ = ["lineage_chart", "rate_charts"]

_WIDTH, _HEIGHT = 560, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 10, 12, 26
_BOX, _TALL, _ACROSS, _GAP = 208, 44, 268, 56  # of the lineage: boxes, and from box to box
_COLUMN = 10  # boxes of a column at most

Bins = Sequence[Mapping[str, Any]]


def rate_charts(found: Mapping[str, Any]) -> dict[str, Markup]:
    """Return the charts of what `lightmill.dashboard.rates.rates` found.

    Parameters
    ----------
    found : mapping

    Returns
    -------
    charts : dict
        ``arrived``, ``jobs`` (throughput), ``run`` and ``wait`` (latency).
    """
    bins, by = found["bins"], found["by"]
    return {
        "arrived": _bars(bins, (("arrived", "exposures and companions", "first"),
                                ("made", "products", "second")), f"files a {by}"),
        "jobs": _bars(bins, (("done", "done", "first"), ("failed", "failed", "bad")),
                      f"jobs a {by}"),
        "run": _lines(bins, "run", "seconds a job took"),
        "wait": _lines(bins, "wait", "seconds a job waited for room"),
    }  # fmt: skip


def _bars(bins: Bins, parts: Sequence[tuple[str, str, str]], label: str) -> Markup:
    """Return stacked bars of counts, one a bin."""
    most = max((sum(row[name] for name, _, _ in parts) for row in bins), default=0)
    top = _nice(max(most, 1))

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - value / top * (_HEIGHT - _TOP - _BOTTOM)

    drawn = [_grid(y(value), f"{value:g}") for value in (0, top / 2, top)]
    wide = (_WIDTH - _LEFT - _RIGHT) / max(len(bins), 1)
    paths: dict[str, list[str]] = {kind: [] for _, _, kind in parts}
    for number, row in enumerate(bins):
        below, x = 0, _LEFT + number * wide
        for name, _, kind in parts:
            if row[name]:
                low, high = y(below), y(below + row[name])
                paths[kind].append(f"M{x:.1f} {low:.1f}V{high:.1f}h{wide * 0.86:.2f}V{low:.1f}Z")
            below += row[name]
    drawn += [
        Markup('<path class="bar {}" d="{}"/>').format(kind, "".join(path))
        for kind, path in paths.items()
        if path
    ]
    told = ", ".join(f"{sum(row[name] for row in bins)} {words}" for name, words, _ in parts)
    return _chart(drawn + _times(bins), f"{label}: {told}", parts)


def _lines(bins: Bins, name: str, label: str) -> Markup:
    """Return median and 90th percentile of durations, on a logarithmic scale."""
    known = [row[f"{name}_{part}"] for row in bins for part in (50, 90)]
    known = [value for value in known if value]
    low = math.floor(math.log10(min(known, default=1)))
    high = max(math.ceil(math.log10(max(known, default=10))), low + 1)

    def y(value: float) -> float:
        part = (math.log10(value) - low) / (high - low)
        return _HEIGHT - _BOTTOM - part * (_HEIGHT - _TOP - _BOTTOM)

    drawn = [_grid(y(10.0**power), f"{10.0**power:,g} s") for power in range(low, high + 1)]
    wide = (_WIDTH - _LEFT - _RIGHT) / max(len(bins), 1)
    parts = ((f"{name}_50", "median", "first"), (f"{name}_90", "90th percentile", "second"))
    for column, _, kind in parts:
        drawn.append(_line(bins, column, kind, wide, y))
    return _chart(drawn + _times(bins), label, parts)


def _line(
    bins: Bins, column: str, kind: str, wide: float, y: Callable[[float], float]
) -> Markup:  # fmt: skip
    """Return a line with a dot for each bin that has a value, broken where one has none."""
    path, dots, is_on = [], [], False
    for number, row in enumerate(bins):
        value = row[column]
        if value:
            at = f"{_LEFT + (number + 0.5) * wide:.1f} {y(value):.1f}"
            path.append(f"{'L' if is_on else 'M'}{at}")
            dots.append(f"M{at}h0")
        is_on = bool(value)
    return Markup('<path class="line {}" d="{}"/><path class="line dot {}" d="{}"/>').format(
        kind, "".join(path), kind, "".join(dots)
    )


def _chart(drawn: Sequence[Markup], label: str, parts: Sequence[tuple[str, str, str]]) -> Markup:
    legend = Markup("").join(
        Markup('<span><i class="{}"></i>{}</span>').format(kind, words) for _, words, kind in parts
    )
    return Markup(
        '<figure class="plot"><figcaption>{}<span class="legend">{}</span></figcaption>'
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg></figure>'
    ).format(label.partition(":")[0], legend, _WIDTH, _HEIGHT, label, Markup("").join(drawn))


def _grid(y: float, label: str) -> Markup:
    return Markup(
        '<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>'
        '<text class="tick end" x="{}" y="{:.1f}">{}</text>'
    ).format(_LEFT, _WIDTH - _RIGHT, y, y, _LEFT - 6, y + 4, label)


def _times(bins: Bins) -> list[Markup]:
    """Return marks of the time axis [UTC]."""
    number = len(bins)
    wide = (_WIDTH - _LEFT - _RIGHT) / max(number, 1)
    drawn = []
    for k in range(0, number, max(1, number // 6)):
        moment = time.gmtime(bins[k]["at"])
        is_day = number > 1 and bins[1]["at"] - bins[0]["at"] >= 3600 and moment.tm_hour == 0
        text = time.strftime("%d %b" if is_day else "%H:%M", moment)
        drawn.append(
            Markup('<text class="tick" x="{:.1f}" y="{}">{}</text>').format(
                _LEFT + (k + 0.5) * wide, _HEIGHT - 8, text
            )
        )
    return drawn


def lineage_chart(
    nodes: Sequence[Mapping[str, Any]],
    edges: Sequence[Sequence[int]],
    first: int,
    link: Callable[[int], str],
) -> Markup:
    """Return a graph of datasets, what each was made of on its left.

    Parameters
    ----------
    nodes, edges : sequences
        Of a `lightmill.dashboard.lineage.Lineage`.
    first : int
        The dataset it is about.
    link : callable
        Returns the address of a dataset's page.
    """
    columns: dict[int, list[Mapping[str, Any]]] = {}
    for node in nodes:
        columns.setdefault(node["depth"], []).append(node)
    order = sorted(columns)
    tallest = max((min(len(rows), _COLUMN + 1) for rows in columns.values()), default=1)
    place: dict[int, tuple[float, float]] = {}
    boxes: list[Markup] = []
    for number, depth in enumerate(order):
        rows = sorted(columns[depth], key=lambda row: (row["id"] != first, row["name"], row["id"]))
        shown, more = rows[:_COLUMN], len(rows) - _COLUMN
        count = len(shown) + (more > 0)
        x, top = 8 + number * _ACROSS, 8 + (tallest - count) * _GAP / 2
        for k, row in enumerate(shown):
            place[row["id"]] = (x, top + k * _GAP)
            boxes.append(_box(row, x, top + k * _GAP, link, is_first=row["id"] == first))
        if more > 0:
            boxes.append(
                Markup('<text class="more" x="{}" y="{:.1f}">and {} more</text>').format(
                    x + 10, top + len(shown) * _GAP + 20, more
                )
            )
    curves = []
    for given, made, _ in edges:
        if given in place and made in place:
            (x0, y0), (x1, y1) = place[given], place[made]
            a, b = x0 + _BOX, y0 + _TALL / 2
            c, d = x1, y1 + _TALL / 2
            curves.append(
                f"M{a:.1f} {b:.1f}C{a + 30:.1f} {b:.1f} {c - 30:.1f} {d:.1f} {c:.1f} {d:.1f}"
            )
    width, height = 16 + (len(order) - 1) * _ACROSS + _BOX, 16 + (tallest - 1) * _GAP + _TALL
    return Markup(
        '<svg class="lineage" width="{}" height="{:.0f}" viewBox="0 0 {} {:.0f}" role="group" '
        'aria-label="What the dataset was made of, and what was made of it">'
        '<path class="edge" d="{}"/>{}</svg>'
    ).format(width, height, width, height, "".join(curves), Markup("").join(boxes))


def _box(
    row: Mapping[str, Any], x: float, y: float, link: Callable[[int], str], *, is_first: bool
) -> Markup:
    name = str(row["name"])
    ending = f"_{row['suffix']}"  # it is told below the name
    stem, dot, _ = name.rpartition(".")
    brief = stem.removesuffix(ending) if dot and stem.endswith(ending) else name
    about = f"{row['suffix'] or row['kind']} · {row['state'].lower()}"
    if row["revision"] > 1:
        about += f" · revision {row['revision']}"
    return Markup(
        '<a href="{}"><title>{}</title><rect class="box {}{}" x="{:.1f}" y="{:.1f}" width="{}" '
        'height="{}" rx="9"/><text class="name" x="{:.1f}" y="{:.1f}">{}</text>'
        '<text class="about" x="{:.1f}" y="{:.1f}">{}</text></a>'
    ).format(
        link(row["id"]), name, str(row["state"]).lower(), " first" if is_first else "",
        x, y, _BOX, _TALL, x + 10, y + 18, _middle_cut(brief, 29), x + 10, y + 34, about,
    )  # fmt: skip


def _middle_cut(text: str, most: int) -> str:
    """Return a text without its middle if it is long: names differ at both ends."""
    if len(text) <= most:
        return text
    half = (most - 1) // 2
    return f"{text[: most - 1 - half]}…{text[-half:]}"


def _nice(value: float) -> float:
    """Return a round number that is as large, and even."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(
        (step * power for step in (1, 2, 4, 6, 8) if step * power >= value and step * power >= 2),
        10 * power,
    )
